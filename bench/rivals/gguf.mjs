// Writes a GGUF file with random weights of a Qwen3-VL text tower, so that llama.cpp can be timed on the shapes that
// vl8 runs. The numbers are noise; sizes, types and layout are real. Format: ggml/docs/gguf.md, version 3.
import fs from 'node:fs';

const kU32 = 4, kI32 = 5, kF32 = 6, kString = 8, kArray = 9;
const kAlign = 32;
// GGML tensor types: id, elements a block, bytes a block.
const kTypes = { f32: [0, 1, 4], q8_0: [8, 32, 34], bf16: [30, 1, 2] };

class Bytes {
  parts = [];
  keys = 0;  // of a key-value section
  raw(buffer) { this.parts.push(buffer); return this; }
  u32(x) { const b = Buffer.alloc(4); b.writeUInt32LE(x); return this.raw(b); }
  u64(x) { const b = Buffer.alloc(8); b.writeBigUInt64LE(BigInt(x)); return this.raw(b); }
  f32(x) { const b = Buffer.alloc(4); b.writeFloatLE(x); return this.raw(b); }
  key(name, type) { ++this.keys; return this.text(name).u32(type); }
  text(s) { const b = Buffer.from(s); return this.u64(b.length).raw(b); }
  number(key, x) { return this.key(key, kU32).u32(x); }
  real(key, x) { return this.key(key, kF32).f32(x); }
  string(key, s) { return this.key(key, kString).text(s); }
  strings(key, list) {
    this.key(key, kArray).u32(kString).u64(list.length);
    for (const s of list) this.text(s);
    return this;
  }
  ints(key, list) {
    this.key(key, kArray).u32(kI32).u64(list.length);
    return this.raw(Buffer.from(Int32Array.from(list).buffer));
  }
  done() { return Buffer.concat(this.parts); }
}

// Name, shape (fastest dimension first) and type of every tensor.
function tensors(c, type) {
  const q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim, h = c.hidden_size;
  const list = [['token_embd.weight', [h, c.vocab_size], type], ['output_norm.weight', [h], 'f32']];
  if (!c.tied) list.push(['output.weight', [h, c.vocab_size], type]);
  for (let i = 0; i < c.num_hidden_layers; ++i) {
    const add = (name, shape, t = type) => list.push([`blk.${i}.${name}.weight`, shape, t]);
    add('attn_norm', [h], 'f32'), add('attn_q', [h, q]), add('attn_k', [h, kv]), add('attn_v', [h, kv]);
    add('attn_output', [q, h]), add('attn_q_norm', [c.head_dim], 'f32'), add('attn_k_norm', [c.head_dim], 'f32');
    add('ffn_norm', [h], 'f32');
    add('ffn_gate', [h, c.intermediate_size]), add('ffn_up', [h, c.intermediate_size]), add('ffn_down', [c.intermediate_size, h]);
  }
  return list;
}

const tensor_bytes = (shape, type) => shape.reduce((a, b) => a * b) / kTypes[type][1] * kTypes[type][2];
const align = (n) => Math.ceil(n / kAlign) * kAlign;

// A megabyte or two of random blocks of one type, repeated to fill a tensor.
function noise(type) {
  const blocks = 61681, [, , size] = kTypes[type], b = Buffer.alloc(blocks * size);
  let x = 0x2545f491;
  const next = () => ((x ^= x << 13, x ^= x >>> 17, x ^= x << 5), x >>> 0);
  for (let i = 0; i < blocks; ++i) {
    const at = i * size;
    if (type === 'f32') b.writeFloatLE(1, at);
    if (type === 'bf16') b.writeUInt16LE((0x3c00 + (next() & 0x80ff)) & 0xffff, at);
    if (type === 'q8_0') {
      b.writeUInt16LE(0x0c00 + (next() & 0xff), at);  // half: about 2^-12
      for (let j = 2; j < size; ++j) b[at + j] = next() & 0xff;
    }
  }
  return b;
}

export function write_gguf(file, config, type) {
  const text = config.text_config ?? config;
  const c = { ...text, head_dim: text.head_dim ?? text.hidden_size / text.num_attention_heads, tied: config.tie_word_embeddings };
  const list = tensors(c, type);
  const arch = 'qwen3', meta = new Bytes();
  meta.string('general.architecture', arch).string('general.name', `random ${type}`);
  meta.number(`${arch}.block_count`, c.num_hidden_layers).number(`${arch}.context_length`, 32768);
  meta.number(`${arch}.embedding_length`, c.hidden_size).number(`${arch}.feed_forward_length`, c.intermediate_size);
  meta.number(`${arch}.attention.head_count`, c.num_attention_heads).number(`${arch}.attention.head_count_kv`, c.num_key_value_heads);
  meta.number(`${arch}.attention.key_length`, c.head_dim).number(`${arch}.attention.value_length`, c.head_dim);
  meta.real(`${arch}.attention.layer_norm_rms_epsilon`, 1e-6).real(`${arch}.rope.freq_base`, c.rope_theta ?? 5e6);
  const tokens = Array.from({ length: c.vocab_size }, (_, i) => (i < 256 ? `<${i}>` : `t${i}`));
  meta.string('tokenizer.ggml.model', 'gpt2').string('tokenizer.ggml.pre', 'qwen2').strings('tokenizer.ggml.tokens', tokens);
  meta.ints('tokenizer.ggml.token_type', tokens.map(() => 1)).strings('tokenizer.ggml.merges', ['t t']);
  meta.number('tokenizer.ggml.eos_token_id', c.vocab_size - 1).number('general.alignment', kAlign);

  const info = new Bytes();
  let offset = 0;
  for (const [name, shape, t] of list) {
    info.text(name).u32(shape.length);
    for (const d of shape) info.u64(d);
    info.u32(kTypes[t][0]).u64(offset);
    offset += align(tensor_bytes(shape, t));
  }
  const head = new Bytes().raw(Buffer.from('GGUF')).u32(3).u64(list.length).u64(meta.keys).raw(meta.done()).raw(info.done()).done();
  const out = fs.openSync(file + '.part', 'w');
  fs.writeSync(out, Buffer.concat([head, Buffer.alloc(align(head.length) - head.length)]));
  const fill = { f32: noise('f32'), [type]: noise(type) };
  for (const [, shape, t] of list) {
    const total = tensor_bytes(shape, t), chunk = fill[t];
    for (let done = 0; done < total; done += chunk.length) fs.writeSync(out, chunk, 0, Math.min(chunk.length, total - done));
    fs.writeSync(out, Buffer.alloc(align(total) - total));
  }
  fs.closeSync(out);
  fs.renameSync(file + '.part', file);
  const read_once = list.filter(([name]) => !c.tied || name !== 'output.weight').reduce((n, [, s, t]) => n + tensor_bytes(s, t), 0);
  // Untied embeddings are looked up, not read through.
  return read_once - (c.tied ? 0 : tensor_bytes([c.hidden_size, c.vocab_size], type));
}

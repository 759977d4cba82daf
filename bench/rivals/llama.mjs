// Times llama.cpp, as node-llama-cpp ships it, on one GGUF file: llama.mjs FILE THREADS PROMPT GEN -> one JSON line.
import { getLlama } from 'node-llama-cpp';

const [file, threads, prompt, gen] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const llama = await getLlama({ gpu: false, build: 'never', maxThreads: threads, logLevel: 'error' });
const model = await llama.loadModel({ modelPath: file });
const context = await model.createContext({ contextSize: 2 * prompt + gen + 64, batchSize: 512, threads, flashAttention: true });
const sequence = context.getSequence();
const ids = Array.from({ length: prompt }, (_, i) => 1000 + (i * 7919) % 50000);

let prefill_ms = Infinity;
for (let r = 0; r < 2; ++r) {
  await sequence.clearHistory();
  const start = performance.now();
  await sequence.evaluateWithoutGeneratingNewTokens(ids);
  prefill_ms = Math.min(prefill_ms, performance.now() - start);
}
const times = [];
let last = performance.now();
for await (const _ of sequence.evaluate([1234], { yieldEogToken: true, temperature: 0 })) {
  times.push(performance.now() - last);
  last = performance.now();
  if (times.length > gen) break;
}
times.shift();
times.sort((a, b) => a - b);
console.log(JSON.stringify({ prefill_ms, decode_ms: times[times.length >> 1], decoded: times.length }));
process.exit(0);

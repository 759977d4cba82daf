// The APIs over HTTP, with the bundled model.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import path from 'node:path';
import { Server, ask, events, eventually, picture, source } from './harness.mjs';

let server;
before(async () => { server = await Server.start(['--batch-invariant']); });  // answers with a seed repeat whatever runs beside them
after(async () => { assert.equal(await server.stop(), 0, server.log); });

const png = 'data:image/png;base64,' + fs.readFileSync(picture).toString('base64');
const screw = [{ type: 'image_url', image_url: { url: png } }, { type: 'text', text: 'Which screw is missing?' }];

test('chat: whole and streamed answers agree, with usage of pictures', async () => {
  const whole = await server.json('/v1/chat/completions', ask(screw));
  assert.equal(whole.status, 200);
  const c = whole.body.choices[0];
  assert.equal(c.finish_reason, 'stop');
  assert.ok(c.message.content.length > 3);
  const usage = whole.body.usage;
  assert.ok(usage.prompt_tokens_details.image_tokens > 50);
  assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
  const size = usage.prompt_tokens_details.images[0];
  assert.equal((size.used_width * size.used_height) / 1024, usage.prompt_tokens_details.image_tokens);
  const list = await events(await server.post('/v1/chat/completions', ask(screw, { stream: true, stream_options: { include_usage: true } })));
  assert.equal(list.at(-1), '[DONE]');
  assert.deepEqual(list.at(-2).choices, []);
  assert.equal(list.at(-2).usage.completion_tokens, usage.completion_tokens);
  const text = list.slice(0, -2).map((e) => e.choices[0].delta.content ?? '').join('');
  assert.equal(text, c.message.content);
  assert.equal(list[0].choices[0].delta.role, 'assistant');
  assert.equal(list.at(-3).choices[0].finish_reason, 'stop');
});

test('chat: n, logprobs, stop, seeds', async () => {
  const many = (await server.json('/v1/chat/completions', ask('hello', { n: 3, temperature: 1, seed: 5, logprobs: true, top_logprobs: 2 }))).body;
  assert.equal(many.choices.length, 3);
  assert.deepEqual(many.choices.map((c) => c.index), [0, 1, 2]);
  const content = many.choices[0].logprobs.content;
  assert.ok(content.length > 0 && content[0].top_logprobs.length === 2 && content[0].logprob <= 0);
  const again = (await server.json('/v1/chat/completions', ask('hello', { n: 3, temperature: 1, seed: 5 }))).body;
  assert.deepEqual(again.choices.map((c) => c.message.content), many.choices.map((c) => c.message.content));
  const whole = (await server.json('/v1/chat/completions', ask(screw))).body.choices[0].message.content;
  const stop = whole.slice(4, 7);
  const cut = (await server.json('/v1/chat/completions', ask(screw, { stop }))).body.choices[0];
  assert.equal(cut.message.content, whole.slice(0, whole.indexOf(stop)));
  assert.equal(cut.finish_reason, 'stop');
  const short = (await server.json('/v1/chat/completions', ask(screw, { max_tokens: 1 }))).body.choices[0];
  assert.equal(short.finish_reason, 'length');
});

test('boxes in pixels of the picture', async () => {
  const question = [screw[0], { type: 'text', text: 'Give the boxes of all missing screws as JSON.' }];
  const square = JSON.parse((await server.json('/v1/chat/completions', ask(question, { max_tokens: 200 }))).body.choices[0].message.content);
  const r = (await server.json('/v1/chat/completions', ask(question, { max_tokens: 200, boxes: 'pixels' }))).body;
  const pixels = JSON.parse(r.choices[0].message.content);
  const { width, height } = r.usage.prompt_tokens_details.images[0];
  assert.ok(square.length > 0);
  square.forEach((s, i) => s.bbox_2d.forEach((v, k) => assert.equal(pixels[i].bbox_2d[k], Math.round((v / 1000) * (k % 2 ? height : width)))));
});

test('completions: several prompts, echo, ids', async () => {
  const r = (await server.json('/v1/completions', { prompt: ['one', 'two'], max_tokens: 3, echo: true, n: 2, temperature: 0 })).body;
  assert.equal(r.choices.length, 4);
  assert.ok(r.choices[2].text.startsWith('two'));
  assert.equal(r.choices[0].text, r.choices[1].text);
  const list = await events(await server.post('/v1/completions', { prompt: 'one', max_tokens: 3, stream: true, temperature: 0 }));
  assert.equal('one' + list.filter((e) => e.choices).map((e) => e.choices[0].text).join(''), r.choices[0].text);
  const { tokens, count } = (await server.json('/tokenize', { prompt: 'one' })).body;
  assert.equal(tokens.length, count);
  assert.equal((await server.json('/detokenize', { tokens })).body.prompt, 'one');
  const byIds = (await server.json('/v1/completions', { prompt: tokens, max_tokens: 3, temperature: 0 })).body;
  assert.equal('one' + byIds.choices[0].text, r.choices[0].text);
});

test('anthropic messages: whole, streamed, counted', async () => {
  const body = { model: 'm', max_tokens: 30, messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: png.split(',')[1] } }, { type: 'text', text: 'Which screw is missing?' }] }], temperature: 0 };
  const m = (await server.json('/v1/messages', body)).body;
  assert.equal(m.type, 'message');
  assert.equal(m.stop_reason, 'end_turn');
  const list = await events(await server.post('/v1/messages', { ...body, stream: true }));
  assert.deepEqual([list[0].type, list[1].type, list.at(-2).type, list.at(-1).type], ['message_start', 'content_block_start', 'message_delta', 'message_stop']);
  assert.equal(list.filter((e) => e.type === 'content_block_delta').map((e) => e.delta.text).join(''), m.content[0].text);
  const { input_tokens } = (await server.json('/v1/messages/count_tokens', { ...body, max_tokens: undefined })).body;
  assert.equal(input_tokens, m.usage.input_tokens + m.usage.cache_read_input_tokens);
  const bad = await server.json('/v1/messages', { messages: [] });
  assert.equal(bad.status, 400);
  assert.equal(bad.body.type, 'error');
  assert.equal(bad.body.error.type, 'invalid_request_error');
});

test('responses: whole and streamed', async () => {
  const body = { model: 'm', input: [{ role: 'user', content: [{ type: 'input_image', image_url: png, detail: 'auto' }, { type: 'input_text', text: 'Which screw is missing?' }] }], temperature: 0 };
  const r = (await server.json('/v1/responses', body)).body;
  assert.equal(r.status, 'completed');
  const text = r.output[0].content[0].text;
  const list = await events(await server.post('/v1/responses', { ...body, stream: true }));
  assert.deepEqual(list.map((e) => e.sequence_number), list.map((_, i) => i));
  assert.equal(list.filter((e) => e.type === 'response.output_text.delta').map((e) => e.delta).join(''), text);
  assert.equal(list.at(-1).type, 'response.completed');
  assert.equal(list.at(-1).response.output[0].content[0].text, text);
});

test('reasoning is split, bounded, and leaves room for an answer', async () => {
  const on = { chat_template_kwargs: { enable_thinking: true }, max_tokens: 200 };
  const free = (await server.json('/v1/chat/completions', ask(screw, on))).body;
  assert.ok(free.choices[0].message.reasoning_content.length > 0);
  assert.ok(free.choices[0].message.content.length > 0);
  assert.ok(!free.choices[0].message.content.includes('think>'));
  assert.ok(free.usage.completion_tokens_details.reasoning_tokens > 0);
  const bounded = (await server.json('/v1/chat/completions', ask(screw, { ...on, thinking_token_budget: 3 }))).body;
  assert.ok(bounded.usage.completion_tokens_details.reasoning_tokens <= 4);
  assert.ok(bounded.choices[0].message.content.length > 0);
  const hidden = (await server.json('/v1/chat/completions', ask(screw, { ...on, include_reasoning: false }))).body;
  assert.equal(hidden.choices[0].message.reasoning_content, undefined);
  const off = (await server.json('/v1/chat/completions', ask(screw, { reasoning_effort: 'none' }))).body;
  assert.equal(off.usage.completion_tokens_details.reasoning_tokens, 0);
});

test('embeddings: unit length, one space for text and pictures, base64, dimensions', async () => {
  const r = (await server.json('/v1/embeddings', { input: ['a red screw', 'a red screw', 'chart'] })).body;
  const [a, b, c] = r.data.map((d) => d.embedding);
  const dot = (x, y) => x.reduce((s, v, i) => s + v * y[i], 0);
  assert.ok(Math.abs(dot(a, a) - 1) < 1e-3);
  assert.ok(Math.abs(dot(a, b) - 1) < 1e-3 && dot(a, c) < 0.9999);
  const image = (await server.json('/v1/embeddings', { messages: ask(screw).messages })).body.data[0].embedding;
  assert.equal(image.length, a.length);
  const packed = (await server.json('/v1/embeddings', { input: 'a red screw', encoding_format: 'base64', dimensions: 8 })).body.data[0].embedding;
  const bytes = Buffer.from(packed, 'base64');
  const floats = new Float32Array(bytes.buffer, bytes.byteOffset, 8);
  assert.ok(Math.abs(dot([...floats], [...floats]) - 1) < 1e-3);
});

test('models, health, version, metrics, methods, ids', async () => {
  const { data } = await (await server.get('/v1/models')).json();
  assert.equal(data[0].id, 'nano');
  assert.equal((await server.get('/v1/models/nano')).status, 200);
  assert.equal((await server.get('/v1/models/other')).status, 404);
  assert.equal((await server.get('/health')).status, 200);
  assert.equal((await server.get('/ready')).status, 200);
  assert.ok((await (await server.get('/version')).json()).version);
  assert.equal((await server.get('/v1/chat/completions')).status, 405);
  assert.equal((await server.get('/nothing')).status, 404);
  const r = await server.post('/v1/chat/completions', ask('hi'), { headers: { 'x-request-id': 'mine-1', traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' } });
  assert.equal(r.headers.get('x-request-id'), 'mine-1');
  assert.equal(r.headers.get('traceparent'), '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01');
  await r.json();
  await eventually(() => /mine-1 .*\/v1\/chat\/completions 200 .*prompt_tokens=\d+.*trace=4bf92f3577b34da6a3ce929d0e0e4736/.test(server.log));
  assert.ok((await server.metric('vllm:generation_tokens_total')) > 0);
  assert.ok((await server.metric('vllm:time_to_first_token_seconds_count')) > 0);
});

test('captured requests of real clients replay clean', async () => {
  const lines = fs.readFileSync(new URL('../captured_requests.jsonl', import.meta.url), 'utf8').trim().split('\n');
  assert.ok(lines.length > 10);
  for (const line of lines) {
    const { client, method, path, headers, body } = JSON.parse(line);
    const keep = Object.fromEntries(Object.entries(headers).filter(([k]) => !/^(connection|content-length|accept-encoding|sec-fetch-mode)$/.test(k)));
    const small = method === 'POST' ? { max_tokens: 8, ...body } : undefined;
    if (path === '/v1/responses') delete small.max_tokens, (small.max_output_tokens = 16);
    const r = await fetch(server.url + path, { method, headers: keep, body: small && JSON.stringify(small) });
    const text = await r.text();
    if (client === 'openai.chat.video_url_extra') {  // its clip has three bytes
      assert.equal(r.status, 400, client + text);
      assert.equal(JSON.parse(text).error.param, 'messages[0].content[0].video_url.url');
    } else {
      assert.equal(r.status, 200, client + text);
    }
  }
});

test('every figure of the Grafana dashboard exists', async () => {
  const board = fs.readFileSync(path.join(source, 'deploy/grafana-dashboard.json'), 'utf8');
  const page = await (await server.get('/metrics')).text();
  const names = new Set(board.match(/(vllm:|vl8_|process_)[a-z0-9_]+/g));
  assert.ok(names.size > 20);
  for (const name of names) assert.ok(page.includes(`\n${name}{`) || page.includes(`\n${name} `), name);
});

test('sessions: frames, questions, stats', async () => {
  const call = async (method, p, body) => {
    const r = await fetch(server.url + p, { method, body: body && JSON.stringify(body) });
    return { status: r.status, body: await r.json() };
  };
  const { body: s } = await call('POST', '/v1/sessions', { window_frames: 2, slack_frames: 1, key_frames: 0 });
  assert.equal(s.object, 'session');
  for (let i = 0; i < 4; ++i) assert.equal((await call('POST', `/v1/sessions/${s.id}/frames`, { image_url: png, seconds: i, max_pixels: 65536 })).status, 200);
  const late = await call('POST', `/v1/sessions/${s.id}/frames`, { image_url: png, seconds: 1 });
  assert.equal(late.status, 400);
  const a = await call('POST', `/v1/sessions/${s.id}/ask`, { question: 'When does the lamp change?', max_tokens: 8, temperature: 0 });
  assert.equal(a.body.object, 'chat.completion');
  const streamed = await events(await server.post(`/v1/sessions/${s.id}/ask`, { question: 'When does the lamp change?', max_tokens: 8, temperature: 0, stream: true }));
  assert.equal(streamed.filter((e) => e.choices).map((e) => e.choices[0].delta.content ?? '').join(''), a.body.choices[0].message.content);
  const now = (await call('GET', `/v1/sessions/${s.id}`)).body;
  assert.equal(now.frames.appended, 4);
  assert.ok(now.frames.in_view <= 3);
  assert.equal((await call('PATCH', `/v1/sessions/${s.id}`, { window_frames: 0 })).body.error.param, 'window_frames');
  assert.equal((await call('DELETE', `/v1/sessions/${s.id}`)).body.deleted, true);
  assert.equal((await call('GET', `/v1/sessions/${s.id}`)).status, 404);
});

test('nothing of the pictures or keys is in the log', () => {
  assert.ok(!server.log.includes('iVBOR'));
  assert.ok(!server.log.includes('Bearer'));
});

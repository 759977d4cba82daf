// Load and violence: clients that do not read or leave, a full queue, SIGTERM under load, kill -9, TLS.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Server, ask, events, eventually, http, scratch, sleep, status } from './harness.mjs';

const dir = scratch();
let server;
before(async () => { server = await Server.strict(); });
after(async () => assert.equal(await server.stop(), 0, server.log));

const good = async (s = server) => assert.equal((await s.post('/v1/chat/completions', ask('hi', { max_tokens: 4 }))).status, 200);

test('a client that does not read is dropped; others stream on', async () => {
  const s = await Server.start(['--send-timeout-s', '1']);  // its own: the answer is long
  const body = JSON.stringify(ask('hi', { max_tokens: 3500, ignore_eos: true, stream: true, n: 16, logprobs: true, top_logprobs: 20 }));
  const socket = net.connect(s.port, '127.0.0.1');
  socket.pause();
  socket.write(http('POST', '/v1/chat/completions', `content-length: ${Buffer.byteLength(body)}\r\n`, body));
  await eventually(async () => (await s.metric('vllm:num_requests_running')) > 0);
  await good(s);
  await eventually(async () => (await s.metric('vl8_http_abandoned_total')) > 0, 120000);  // once the buffers of both ends are full
  await eventually(async () => (await s.metric('vllm:num_requests_running')) === 0);
  socket.destroy();
  await s.stop();
});

test('a client that goes away is cancelled within a step', async () => {
  const controller = new AbortController();
  const r = await server.post('/v1/chat/completions', ask('hi', { max_tokens: 4000, ignore_eos: true, stream: true }), { signal: controller.signal });
  await r.body.getReader().read();
  controller.abort();
  await eventually(async () => (await server.metric('vllm:num_requests_running')) === 0, 3000);
  const whole = new AbortController();
  const waiting = server.post('/v1/chat/completions', ask('hi', { max_tokens: 4000, ignore_eos: true }), { signal: whole.signal }).catch(() => {});
  await eventually(async () => (await server.metric('vllm:num_requests_running')) === 1);
  whole.abort();
  await waiting;
  await eventually(async () => (await server.metric('vllm:num_requests_running')) === 0, 3000);
});

test('a full queue answers 429 with Retry-After', async () => {
  const controller = new AbortController();
  const many = Array.from({ length: 60 }, () => server.post('/v1/chat/completions', ask('hi', { max_tokens: 2000, ignore_eos: true, stream: true }), { signal: controller.signal }));
  const first = await Promise.any(many.map(async (p) => { const r = await p; if (r.status !== 429) throw 0; return r; }));
  assert.ok(Number(first.headers.get('retry-after')) >= 1);
  assert.equal((await first.json()).error.type, 'rate_limit_error');
  controller.abort();
  await Promise.allSettled(many);
  await eventually(async () => (await server.metric('vllm:num_requests_running')) + (await server.metric('vllm:num_requests_waiting')) === 0);
  await good();
});

test('SIGTERM finishes running answers, refuses new ones, and ends in time', async () => {
  const s = await Server.start(['--drain-s', '20']);
  const r = await s.post('/v1/chat/completions', ask('hi', { max_tokens: 300, ignore_eos: true, stream: true, stream_options: { include_usage: true } }));
  const reader = events(r);
  s.process.kill('SIGTERM');
  await eventually(async () => (await s.get('/ready')).status === 503);
  const refused = await s.json('/v1/chat/completions', ask('hi'));
  assert.equal(refused.status, 503);
  assert.ok(Number(refused.headers.get('retry-after')) > 0);
  const list = await reader;
  assert.equal(list.at(-1), '[DONE]');
  assert.equal(list.at(-2).usage.completion_tokens, 300);
  await s.exited;
  assert.equal(s.process.exitCode, 0);

  const hasty = await Server.start(['--drain-s', '0.3']);
  const long = await hasty.post('/v1/chat/completions', ask('hi', { max_tokens: 4000, ignore_eos: true, stream: true }));
  const begun = Date.now();
  hasty.process.kill('SIGTERM');
  const tail = await events(long);
  assert.ok(tail.some((e) => e.error), 'the cut answer ends with an error event');
  await hasty.exited;
  assert.ok(Date.now() - begun < 5000);
  assert.equal(hasty.process.exitCode, 0);
});

test('kill -9 under load and restart', async () => {
  const s = await Server.start();
  const running = Array.from({ length: 4 }, () => s.post('/v1/chat/completions', ask('hi', { max_tokens: 2000, ignore_eos: true, stream: true })).then((r) => r.text()).catch(() => 'cut'));
  await sleep(200);
  await s.stop('SIGKILL');
  await Promise.all(running);
  const begun = Date.now();
  const again = await Server.start([], { port: s.port });
  const ready = Date.now() - begun;
  await good(again);
  console.log(`ready ${ready} ms after kill -9`);
  await again.stop();
});

test('TLS', async () => {
  const key = path.join(dir, 'key.pem'), cert = path.join(dir, 'cert.pem');
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=localhost'], { stdio: 'ignore' });
  const s = await Server.start(['--tls-certificate', cert, '--tls-key', key]);
  const https = await import('node:https');
  const reply = await new Promise((resolve, reject) => {
    const body = JSON.stringify(ask('hi', { max_tokens: 4, stream: true }));
    const r = https.request({ port: s.port, host: '127.0.0.1', path: '/v1/chat/completions', method: 'POST', rejectUnauthorized: false, headers: { 'content-length': body.length } }, (res) => {
      let text = '';
      res.on('data', (d) => (text += d));
      res.on('end', () => resolve(text));
    });
    r.on('error', reject);
    r.end(body);
  });
  assert.ok(reply.endsWith('data: [DONE]\n\n'));
  await s.raw('GET /health HTTP/1.1\r\n\r\n');  // plain bytes on a TLS port: closed
  await s.stop();
});

test('wrong settings are one clear error', () => {
  const run = (...args) => {
    try {
      execFileSync(process.env.VL8_BINARY ?? server.process.spawnfile, ['serve', '--check', ...args], { stdio: 'pipe' });
      return 'ok';
    } catch (e) {
      return String(e.stderr);
    }
  };
  const toml = (text) => { const f = path.join(dir, 'wrong.toml'); fs.writeFileSync(f, text); return run('--config', f); };
  assert.equal(run(), 'ok');
  assert.match(toml('prot = 5'), /wrong\.toml:1: unknown setting 'prot'/);
  assert.match(toml('[limits]\nmax_n = "many"'), /wrong\.toml:2: limits\.max_n must be an integer/);
  assert.match(toml('[limits\n'), /wrong\.toml:1/);
  assert.match(toml('port = 99999'), /port: from 0 to 65535/);
  assert.match(run('--api-key-file', path.join(dir, 'none')), /none/);
  assert.match(run('--tls-key', 'x'), /tls/);
  assert.match(run('--host', 'example.com'), /IP address|ok/);
});

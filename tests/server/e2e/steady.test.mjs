// What must not make it fall over: broken requests, slow clients, hostile pictures, keys, origins.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Server, ask, eventually, http, picture, scratch, status } from './harness.mjs';

const dir = scratch();
let server;
before(async () => { server = await Server.strict(); });
after(async () => assert.equal(await server.stop(), 0, server.log));

const good = async (s = server) => assert.equal((await s.post('/v1/chat/completions', ask('hi', { max_tokens: 4 }))).status, 200);

test('malformed HTTP gets an answer or a closed connection, never more', async () => {
  const cases = [
    ['GARBAGE\r\n\r\n', 400], ['GET\r\n\r\n', 400], ['GET / HTTP/9.9\r\n\r\n', 400], ['\0\0\0\0\r\n\r\n', 400], ['GET /%zz HTTP/1.1\r\nhost: x\r\n\r\n', 400],
    ['GET nothing HTTP/1.1\r\nhost: x\r\n\r\n', 400], [http('GET', '/x', 'a: ' + 'b'.repeat(100000) + '\r\n'), 431],
    [http('POST', '/v1/chat/completions', 'content-length: 99999999999\r\n'), 413], [http('POST', '/v1/chat/completions', 'content-length: -1\r\n'), 400],
    [http('POST', '/v1/chat/completions', 'content-length: 5\r\ncontent-length: 6\r\n', 'aaaaaa'), 400],
    [http('POST', '/v1/chat/completions', 'transfer-encoding: chunked\r\n', 'zz\r\n'), 400],
    [http('POST', '/v1/chat/completions', 'transfer-encoding: chunked\r\n', '5000000\r\n' + 'x'.repeat(100)), 413],
    [http('BREW', '/v1/chat/completions', ''), 405], [http('GET', '/v1/nothing', 'connection: close\r\n'), 404],
  ];
  for (const [bytes, wanted] of cases) {
    const reply = await server.raw(bytes, { until: /\r\n\r\n[^]*\}$/ });
    assert.equal(status(reply), wanted, `${JSON.stringify(bytes.slice(0, 80))} -> ${reply.slice(0, 200)}`);
    const error = JSON.parse(reply.slice(reply.indexOf('\r\n\r\n') + 4)).error;
    assert.deepEqual(Object.keys(error), ['message', 'type', 'param', 'code']);
  }
  await good();
});

test('malformed bodies get 400 that names the field', async () => {
  const bodies = ['', '{', 'null', '[]', '"x"', '[' .repeat(100000), '{"messages":[' + '['.repeat(200) + ']'.repeat(200) + ']}', '{"messages":[{"role":"user","content":"x"}],"n":1e99}', '\u0000'];
  for (const body of bodies) {
    const r = await server.json('/v1/chat/completions', body);
    assert.equal(r.status, 400, body.slice(0, 50));
    assert.ok(r.body.error.message.length > 5);
  }
  const image = (url) => ask([{ type: 'image_url', image_url: { url } }, { type: 'text', text: 'x' }]);
  const png = fs.readFileSync(picture);
  const cut = png.subarray(0, png.length >> 1).toString('base64');
  const bomb = execFileSync('node', ['-e', `
    const zlib = require('zlib'), crc = (b) => { const a = Buffer.alloc(4); a.writeUInt32BE(zlib.crc32 ? zlib.crc32(b) : 0); return a; };
    const chunk = (t, d) => { const n = Buffer.alloc(4); n.writeUInt32BE(d.length); const td = Buffer.concat([Buffer.from(t), d]); return Buffer.concat([n, td, crc(td)]); };
    const h = Buffer.alloc(13); h.writeUInt32BE(50000, 0); h.writeUInt32BE(50000, 4); h[8] = 8; h[9] = 2;
    process.stdout.write(Buffer.concat([Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]), chunk('IHDR', h), chunk('IDAT', zlib.deflateSync(Buffer.alloc(1000))), chunk('IEND', Buffer.alloc(0))]).toString('base64'));`]).toString();
  for (const url of ['', 'x', 'http://127.0.0.1/', 'http://169.254.169.254/latest/meta-data', 'file:///etc/passwd', 'data:image/png;base64,AAAA', 'data:image/png;base64,' + cut, 'data:image/png;base64,' + bomb, 'ftp://x/y']) {
    const r = await server.json('/v1/chat/completions', image(url));
    assert.equal(r.status, 400, url.slice(0, 60));
    assert.equal(r.body.error.param, 'messages[0].content[0].image_url.url', url.slice(0, 60) + JSON.stringify(r.body));
  }
  const three = ask([0, 1, 2].map(() => ({ type: 'image_url', image_url: { url: 'data:image/png;base64,' + png.toString('base64') } })));
  assert.equal((await server.json('/v1/chat/completions', three)).body.error.param, 'messages[0].content[2].image_url.url');
  const long = await server.json('/v1/chat/completions', ask('word '.repeat(20000)));
  assert.equal(long.status, 400);
  assert.match(long.body.error.message, /context/);
  await good();
});

test('slow clients are cut off and cost nothing', async () => {
  const slow = [server.raw(null), server.raw('GET /hea'), server.raw(http('POST', '/v1/chat/completions', 'content-length: 100\r\n', '{"mess'))];
  const begun = Date.now();
  await good();
  for (const reply of await Promise.all(slow)) assert.ok(reply === '' || status(reply) >= 400);
  assert.ok(Date.now() - begun < 8000);
  await eventually(async () => (await server.metric('vl8_http_timeouts_total')) >= 3);
});

test('pipelined and kept-alive requests, HEAD, HTTP/1.0, 100-continue', async () => {
  const body = JSON.stringify({ tokens: [5] });
  const one = http('POST', '/detokenize', `content-length: ${body.length}\r\n`, body);
  const reply = await server.raw(one + one + http('GET', '/health', 'connection: close\r\n'));
  assert.equal(reply.match(/HTTP\/1\.1 200/g).length, 3);
  assert.match(await server.raw('HEAD /health HTTP/1.1\r\nconnection: close\r\n\r\n'), /content-length: 15\r\n[^]*\r\n\r\n$/);
  assert.match(await server.raw('GET /health HTTP/1.0\r\n\r\n'), /connection: close/);
  const wait = await server.raw(http('POST', '/detokenize', `content-length: ${body.length}\r\nexpect: 100-continue\r\nconnection: close\r\n`, body));
  assert.match(wait, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200/);
});

test('keys: required, constant answers, rotated by SIGHUP; limits reload; origins', async () => {
  const keys = path.join(dir, 'keys'), config = path.join(dir, 'vl8.toml');
  fs.writeFileSync(keys, '# team\nfirst-key-123\n');
  fs.writeFileSync(config, `drain_s = 5\n[auth]\napi_key_file = "${keys}"\ncors_origin = ["https://app.example"]\n[limits]\nmax_n = 1\n`);
  const s = await Server.start(['--config', config]);
  const call = (key, more = {}) => s.json('/v1/chat/completions', ask('hi', { max_tokens: 2, ...more }), { headers: key });
  assert.equal((await call({})).status, 401);
  assert.equal((await call({ authorization: 'Bearer wrong-key-123' })).body.error.code, 'invalid_api_key');
  assert.equal((await call({ authorization: 'Bearer first-key-123' })).status, 200);
  assert.equal((await call({ 'x-api-key': 'first-key-123' })).status, 200);
  assert.equal((await call({ authorization: 'Bearer first-key-123' }, { n: 2 })).body.error.param, 'n');
  assert.equal((await s.get('/health')).status, 200);
  assert.equal((await s.get('/v1/models')).status, 401);
  fs.writeFileSync(keys, 'second-key-456\n');
  fs.writeFileSync(config, fs.readFileSync(config, 'utf8').replace('max_n = 1', 'max_n = 2'));
  s.process.kill('SIGHUP');
  await eventually(() => /reloaded/.test(s.log));
  assert.equal((await call({ authorization: 'Bearer first-key-123' })).status, 401);
  assert.equal((await call({ authorization: 'Bearer second-key-456' }, { n: 2 })).status, 200);
  fs.writeFileSync(keys, 'short\n');
  s.process.kill('SIGHUP');
  await eventually(() => /not reloaded/.test(s.log));
  assert.equal((await call({ authorization: 'Bearer second-key-456' })).status, 200);
  assert.ok(!s.log.includes('key-456'));
  const origin = await s.raw(http('GET', '/health', 'origin: https://evil.example\r\nconnection: close\r\n'));
  assert.equal(status(origin), 403);
  assert.equal(status(await s.raw(http('GET', '/health', 'origin: null\r\nconnection: close\r\n'))), 403);
  const allowed = await s.raw(http('OPTIONS', '/v1/chat/completions', 'origin: https://app.example\r\nconnection: close\r\n'));
  assert.equal(status(allowed), 204);
  assert.match(allowed, /access-control-allow-origin: https:\/\/app\.example/);
  await s.stop();
});


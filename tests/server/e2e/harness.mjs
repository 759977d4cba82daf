// Starts `vl8 serve` on a free port and talks to it. Needs nothing but Node 20.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';

export const source = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
export const binary = process.env.VL8_BINARY ?? path.join(source, 'build/release/vl8');
export const picture = path.join(source, 'assets/demo/block.png');

export class Server {
  static async start(args = [], { env = {}, port = 0 } = {}) {
    const s = new Server();
    s.log = '';
    s.process = spawn(binary, ['serve', '--port', String(port), ...args], { env: { ...process.env, VL8_LOG: 'info', ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    s.process.stderr.on('data', (d) => (s.log += d));
    s.exited = once(s.process, 'exit');
    let out = '';
    s.process.stdout.on('data', (d) => (out += d));
    const line = await Promise.race([
      (async () => {
        while (!out.includes('\n')) await once(s.process.stdout, 'data');
        return out;
      })(),
      s.exited.then(() => { throw new Error(`vl8 serve ended:\n${s.log}`); }),
    ]);
    s.url = line.match(/ready: (https?:\/\/\S+)\/v1/)[1];
    s.port = Number(new URL(s.url).port);
    return s;
  }

  // One with short timeouts and small limits, so that what breaks them does so soon.
  static strict() {
    return Server.start(['--header-timeout-s', '1', '--body-timeout-s', '1', '--idle-timeout-s', '1', '--send-timeout-s', '1',
      '--max-body-bytes', '4000000', '--max-images', '2', '--max-image-pixels', '1000000', '--queue', '8']);
  }

  async stop(signal = 'SIGTERM') {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      this.process.kill(signal);
      await this.exited;
    }
    return this.process.exitCode;
  }

  get(p, headers = {}) { return fetch(this.url + p, { headers }); }
  post(p, body, { headers = {}, signal } = {}) {
    return fetch(this.url + p, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: typeof body === 'string' ? body : JSON.stringify(body), signal });
  }
  async json(p, body, options) {
    const r = await this.post(p, body, options);
    return { status: r.status, headers: r.headers, body: await r.json() };
  }

  // Sends bytes as they are; resolves to all that comes back until the server closes (or `until` matches).
  raw(bytes, { until, timeout = 20000, tls } = {}) {
    return new Promise((resolve, reject) => {
      const socket = net.connect(this.port, '127.0.0.1');
      let out = '';
      const timer = setTimeout(() => { socket.destroy(); reject(new Error(`no end after ${timeout} ms: ${out.slice(0, 300)}`)); }, timeout);
      const done = () => { clearTimeout(timer); socket.destroy(); resolve(out); };
      socket.on('data', (d) => { out += d; if (until?.test(out)) done(); });
      socket.on('close', done);
      socket.on('error', done);
      if (bytes !== null) socket.write(bytes);
    });
  }

  async metric(name) {
    const text = await (await this.get('/metrics')).text();
    const line = text.split('\n').find((l) => l.startsWith(name + '{') || l.startsWith(name + ' '));
    return line === undefined ? undefined : Number(line.slice(line.lastIndexOf(' ') + 1));
  }
}

// The data of an event stream, parsed; "[DONE]" stays text.
export async function events(response) {
  const list = [];
  let text = '';
  for await (const part of response.body) {
    text += Buffer.from(part).toString();
    for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
      const data = text.slice(0, end).split('\n').filter((l) => l.startsWith('data: ')).map((l) => l.slice(6)).join('\n');
      list.push(data === '[DONE]' ? data : JSON.parse(data));
    }
  }
  return list;
}

// A request as bytes, and the status of the bytes that came back.
export const http = (method, target, headers, body = '') => `${method} ${target} HTTP/1.1\r\nhost: x\r\n${headers}\r\n${body}`;
export const status = (reply) => Number(reply.split(' ')[1]);

// A folder that is gone when the tests have ended.
export function scratch() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'vl8-serve-'));
  after(() => fs.rmSync(dir, { recursive: true }));
  return dir;
}

export const ask = (content, more = {}) => ({ model: 'nano', messages: [{ role: 'user', content }], max_tokens: 24, temperature: 0, ...more });
export const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
export async function eventually(check, ms = 10000) {
  for (const until = Date.now() + ms; ; await sleep(25)) {
    const value = await check();
    if (value) return value;
    if (Date.now() > until) throw new Error(`did not happen within ${ms} ms: ${check}`);
  }
}

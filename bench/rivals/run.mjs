// vl8 beside llama.cpp on the same shapes, cores and run:
//   node bench/rivals/run.mjs --vl8 build/release/vl8 --shape CONFIG.json [--threads 2] [--prompt 512] [--gen 24] [--dir /tmp]
// Installs node-llama-cpp (npm) beside this file on first use; the random GGUF files are written to --dir and removed.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { write_gguf } from './gguf.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const options = { vl8: 'build/release/vl8', shape: '', threads: '2', prompt: '512', gen: '24', dir: os.tmpdir(), formats: 'q8_0,bf16' };
for (let i = 2; i < process.argv.length; i += 2) {
  const name = process.argv[i].replace(/^--/, '');
  if (!(name in options) || i + 1 >= process.argv.length) {
    console.error(`unknown or incomplete option '${process.argv[i]}'; there are ${Object.keys(options).map((o) => '--' + o).join(' ')}`);
    process.exit(2);
  }
  options[name] = process.argv[i + 1];
}
if (!options.shape) console.error('--shape CONFIG.json is needed'), process.exit(2);

const run = (command, args, env = {}) =>
  execFileSync('taskset', ['-c', `0-${options.threads - 1}`, command, ...args], { env: { ...process.env, ...env }, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

if (!fs.existsSync(path.join(here, 'node_modules')))
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--omit=optional', '--ignore-scripts'], { cwd: here, stdio: 'inherit' });

// The CPU plug-ins of llama.cpp; it takes the best that the machine has. AVX2 only: a copy without the better ones.
const modules = path.join(here, 'node_modules/@node-llama-cpp/linux-x64/bins/linux-x64');
const kAvx2Plugins = /libggml-cpu-(x64|sse42|sandybridge|ivybridge|piledriver|haswell)\.so/;
function without_better_than_avx2(f) {
  const aside = fs.mkdtempSync(path.join(os.tmpdir(), 'rivals-'));
  const better = fs.readdirSync(modules).filter((n) => /libggml-cpu-/.test(n) && !kAvx2Plugins.test(n));
  for (const n of better) fs.copyFileSync(path.join(modules, n), path.join(aside, n)), fs.rmSync(path.join(modules, n));
  try {
    return f();
  } finally {
    for (const n of better) fs.copyFileSync(path.join(aside, n), path.join(modules, n));
    fs.rmSync(aside, { recursive: true });
  }
}

const rows = [];
let ceiling = 0;
function vl8(label, format, env) {
  const j = JSON.parse(run(options.vl8, ['bench', '--shape', options.shape, '--random', format, '--threads', options.threads, '--prompt', options.prompt,
                                         '--gen', options.gen, '--json'], env));
  ceiling = Math.max(ceiling, j.decode.ceiling_gb_per_s);
  rows.push([label, j.decode.tokens_per_s, j.decode.gb_per_s, j.prefill.tokens_per_s]);
}
function llama(label, file, bytes) {
  const j = JSON.parse(run(process.execPath, [path.join(here, 'llama.mjs'), file, options.threads, options.prompt, options.gen]).trim().split('\n').pop());
  rows.push([label, 1000 / j.decode_ms, bytes / j.decode_ms / 1e6, Number(options.prompt) * 1000 / j.prefill_ms]);
}

const config = JSON.parse(fs.readFileSync(options.shape, 'utf8'));
vl8('vl8 fp8, best', 'fp8');
for (const format of options.formats.split(',')) {
  const file = path.join(options.dir, `rival-${process.pid}-${format}.gguf`);
  try {
    const bytes = write_gguf(file, config, format);
    llama(`llama.cpp ${format}, best`, file, bytes);
    if (format === 'q8_0') without_better_than_avx2(() => llama(`llama.cpp ${format}, AVX2`, file, bytes));
  } finally {
    fs.rmSync(file, { force: true }), fs.rmSync(file + '.part', { force: true });
  }
}
vl8('vl8 fp8, AVX2', 'fp8', { VL8_ISA: 'avx2' });
console.log(`prompt ${options.prompt}, ${options.threads} threads, read ceiling ${ceiling.toFixed(1)} GB/s`);
console.log('program                   decode tok/s   decode GB/s   prefill tok/s');
for (const [name, decode, gbs, prefill] of rows)
  console.log(name.padEnd(24), decode.toFixed(2).padStart(13), gbs.toFixed(1).padStart(13), prefill.toFixed(1).padStart(15));

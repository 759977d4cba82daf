// Writes src/text/unicode_tables.inc: for every code point its class in the split pattern (letter \p{L}, number \p{N},
// white space, other) and what normalisation NFC needs to know about it.
//   cd tools/text && npm install && node unicode_tables.mjs > ../../src/text/unicode_tables.inc
//
// Classes are those of Unicode 16.0, the version of the regular-expression engine (Oniguruma 6.9.10) inside the
// reference's current tokenizer library. Normalisation properties are asked of String.prototype.normalize, limited to
// characters assigned in 16.0: they are stable, so a newer JavaScript engine gives the same answer.
const version = '16.0.0';
const data = async (name) => (await import(`@unicode/unicode-${version}/${name}/code-points.mjs`)).default;

const kLimit = 0x110000;
const flags = new Uint8Array(kLimit);
for (const c of await data('General_Category/Letter')) flags[c] = 1;
for (const c of await data('General_Category/Number')) flags[c] = 2;
for (const c of await data('Binary_Property/White_Space')) flags[c] = 3;

const assigned = new Uint8Array(kLimit).fill(1);
for (const c of await data('General_Category/Unassigned')) assigned[c] = 0;
for (const c of await data('General_Category/Surrogate')) assigned[c] = 0;

const text = (c) => String.fromCodePoint(c);
const last = (s) => [...s].at(-1).codePointAt(0);
const composes = new Uint8Array(kLimit);  // may join the character before it
for (let c = 0x1161; c <= 0x1175; ++c) composes[c] = 1;  // Hangul vowels and final consonants, by rule
for (let c = 0x11A8; c <= 0x11C2; ++c) composes[c] = 1;
for (let c = 0xA0; c < kLimit; ++c) {
  if (!assigned[c] || (c >= 0xAC00 && c <= 0xD7A3)) continue;
  const apart = text(c).normalize('NFD');
  if (apart !== text(c) && apart.normalize('NFC') === text(c) && [...apart].length > 1) composes[last(apart)] = 1;
}
// A mark is a non-starter when canonical ordering moves it before U+0345, the one character of the highest combining
// class (240).
const nonStarter = (c) => c === 0x345 || !('\u0345' + text(c)).normalize('NFD').startsWith('\u0345');
for (let c = 0xA0; c < kLimit; ++c) {
  if (!assigned[c]) continue;
  const changes = text(c).normalize('NFC') !== text(c);
  const inert = nonStarter(c) ? 1 : 0;
  flags[c] |= (changes || composes[c] ? 2 : inert) << 2;
}

const numbers = [];
for (let c = 0, begin = 0; c <= kLimit; ++c)
  if (c === kLimit || flags[c] !== flags[begin]) numbers.push(c - begin, flags[begin]), begin = c;

console.log(`// Written by tools/text/unicode_tables.mjs from Unicode ${version}; do not edit. Pairs of run length and flags:`);
console.log('// bits 0-1 class (0 other, 1 letter, 2 number, 3 white space); bits 2-3 NFC (0 plain, 1 combining mark that never');
console.log('// changes by itself, 2 may change or join the character before it).');
console.log('// clang-format off');
let line = '';
for (const n of numbers) {
  if (line.length + String(n).length + 1 > 118) console.log(line), line = '';
  line += `${n},`;
}
console.log(line);
console.log('// clang-format on');

// Renders every template with every context by @huggingface/jinja.
//   npm install && node render.mjs           writes expected.json, which the C++ test reads
//   node render.mjs --check                  compares with expected.json; exit 77 where the package is not installed
// Where that interpreter and Jinja2 (the one transformers uses) disagree, Jinja2 is right: such pairs are in kDiffers
// with the reason and are left out; jinja_python.py covers them.
import {readFileSync, readdirSync, writeFileSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
let Template;
try {
  ({Template} = await import('@huggingface/jinja'));
} catch {
  console.log('@huggingface/jinja is not installed here');
  process.exit(77);
}

// "template/context" or "template": why the package's answer is not taken.
const kDiffers = {
  'chatml/parts': 'it has no trim of a list', 'falcon_plain/parts': 'it has no replace in a list',
  'llama3_tools/parts': 'it has no trim of a list',
  'deepseek/parts': 'it adds a list to a text', 'granite_documents/parts': 'it adds a list to a text',
  'mistral/parts': 'it adds a list to a text', 'phi/parts': 'it adds a list to a text',
  'zephyr_trim/parts': 'it adds a list to a text',
  'command_xml/tools': 'it does not repeat a text with *',
  'gemma/empty': 'it looks into the first of no messages', 'llama3_tools/empty': 'it looks into the first of no messages',
  'mistral/empty': 'it looks into the first of no messages',
  'reasoning_turns/conversation': 'it counts UTF-16 units',
};

const contexts = JSON.parse(readFileSync(join(here, 'contexts.json'), 'utf8'));
const rows = [];
for (const file of readdirSync(join(here, 'templates')).sort()) {
  const name = file.replace('.jinja', '');
  const source = readFileSync(join(here, 'templates', file), 'utf8');
  for (const [context, values] of Object.entries(contexts)) {
    if (kDiffers[name] || kDiffers[`${name}/${context}`]) continue;
    const row = {template: name, context};
    try {
      row.rendered = new Template(source).render(structuredClone(values));
    } catch (error) {
      row.error = error.message;
    }
    rows.push(row);
  }
}

const target = join(here, 'expected.json');
const text = '[\n' + rows.map((row) => JSON.stringify(row)).join(',\n') + '\n]\n';
if (process.argv.includes('--check')) {
  const same = readFileSync(target, 'utf8') === text;
  console.log(same ? `${rows.length} renderings as recorded` : 'expected.json is not what the package renders');
  process.exit(same ? 0 : 1);
}
writeFileSync(target, text);
console.log(`${rows.length} renderings written`);

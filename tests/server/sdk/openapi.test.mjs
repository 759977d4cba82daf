// Every answer against OpenAI's own description of it (openapi.json, used in place: VL8_SHARED/clients or ../shared/clients).
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import Ajv2020 from 'ajv/dist/2020.js';
import { Server, ask, events, picture, source } from '../e2e/harness.mjs';

const file = path.join(process.env.VL8_SHARED ?? path.join(source, '../shared'), 'clients/openapi.json');
const skip = fs.existsSync(file) ? false : `${file} is not there`;
let server, ajv, check;

// OpenAPI 3.0's `nullable` inside a 3.1 file: null is one more type.
function nullable(s) {
  if (Array.isArray(s)) return s.map(nullable);
  if (s === null || typeof s !== 'object') return s;
  const out = Object.fromEntries(Object.entries(s).filter(([k]) => k !== 'nullable' && k !== 'discriminator' && k !== 'example').map(([k, v]) => [k, nullable(v)]));
  return s.nullable === true ? { anyOf: [out, { type: 'null' }] } : out;
}

before(async () => {
  if (skip) return;
  server = await Server.start();
  const api = nullable(JSON.parse(fs.readFileSync(file, 'utf8')));
  ajv = new Ajv2020({ strict: false, validateFormats: false });
  ajv.addSchema({ $id: 'api', components: api.components }, 'api');
  // An event is judged by the one alternative that has its type, so that a fault is told plainly.
  const of_type = Object.entries(api.components.schemas).filter(([, s]) => s.properties?.type?.enum?.length === 1 && s.properties.sequence_number);
  check = (name, value) => {
    if (name === 'ResponseStreamEvent') {
      name = of_type.find(([, s]) => s.properties.type.enum[0] === value.type)?.[0];
      assert.ok(name, `no event is of type ${value.type}`);
    }
    const validate = ajv.getSchema(`api#/components/schemas/${name}`);
    assert.ok(validate, name);
    assert.ok(validate(value), `${name}: ${ajv.errorsText(validate.errors?.slice(0, 4))}\n${JSON.stringify(value).slice(0, 600)}`);
  };
});
after(async () => { await server?.stop(); });

const url = 'data:image/png;base64,' + fs.readFileSync(picture).toString('base64');
const image = [{ type: 'image_url', image_url: { url } }, { type: 'text', text: 'Which screw is missing?' }];
const parameters = { type: 'object', properties: { n: { type: 'integer', minimum: 0, maximum: 9 } }, required: ['n'], additionalProperties: false };
const tools = { tools: [{ type: 'function', function: { name: 'f', parameters } }], tool_choice: 'required', parallel_tool_calls: false, max_tokens: 60 };
const schema = { response_format: { type: 'json_schema', json_schema: { name: 'x', schema: parameters } }, max_tokens: 60 };
const post = async (p, body) => (await server.json(p, body)).body;
const stream = async (p, body) => (await events(await server.post(p, { ...body, stream: true }))).filter((e) => e !== '[DONE]');

test('chat completions', { skip }, async () => {
  for (const more of [{}, { n: 2, logprobs: true, top_logprobs: 3 }, { max_tokens: 1 }, tools, schema, { chat_template_kwargs: { enable_thinking: true }, max_tokens: 100 }]) {
    check('CreateChatCompletionResponse', await post('/v1/chat/completions', ask(image, more)));
    for (const e of await stream('/v1/chat/completions', ask(image, { ...more, stream_options: { include_usage: true } }))) check('CreateChatCompletionStreamResponse', e);
  }
});
test('completions', { skip }, async () => {
  for (const more of [{}, { logprobs: 2 }, { echo: true }]) {
    check('CreateCompletionResponse', await post('/v1/completions', { prompt: 'a', max_tokens: 4, ...more }));
    for (const e of await stream('/v1/completions', { prompt: 'a', max_tokens: 4, ...more })) {
      // The description has no type of its own for the pieces of a stream, in which nothing has finished but the last.
      for (const c of e.choices) c.finish_reason ??= 'stop';
      check('CreateCompletionResponse', e);
    }
  }
});
test('responses', { skip }, async () => {
  const input = [{ role: 'user', content: [{ type: 'input_image', image_url: url, detail: 'auto' }, { type: 'input_text', text: 'Which screw is missing?' }] }];
  const f = { tools: [{ type: 'function', name: 'f', parameters, strict: true }], tool_choice: 'required', parallel_tool_calls: false, max_output_tokens: 60 };
  for (const more of [{}, { max_output_tokens: 1 }, f, { text: { format: { type: 'json_schema', name: 'x', schema: parameters } } }, { reasoning: { effort: 'low' }, max_output_tokens: 100 }]) {
    check('Response', await post('/v1/responses', { model: 'nano', input, ...more }));
    for (const e of await stream('/v1/responses', { model: 'nano', input, ...more })) check('ResponseStreamEvent', e);
  }
});
test('models, embeddings, errors', { skip }, async () => {
  check('ListModelsResponse', await (await server.get('/v1/models')).json());
  check('Model', await (await server.get('/v1/models/nano')).json());
  check('CreateEmbeddingResponse', await post('/v1/embeddings', { input: ['a', 'b'] }));
  for (const [p, body] of [['/v1/chat/completions', '{'], ['/v1/chat/completions', {}], ['/v1/nothing', {}], ['/v1/responses', {}]]) check('ErrorResponse', await post(p, body));
});

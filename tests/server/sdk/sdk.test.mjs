// openai, ai (with @ai-sdk/openai) and @langchain/openai against the bundled model: streaming, tools, schema, pictures, abort.
// `npm install` in this folder first (tools/check_sdks.sh does).
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { Server, eventually, picture } from '../e2e/harness.mjs';
import OpenAI from 'openai';
import { generateText, streamText, tool, Output } from 'ai';
import { createOpenAI } from '@ai-sdk/openai';
import { ChatOpenAI } from '@langchain/openai';
import { HumanMessage } from '@langchain/core/messages';
import { tool as langchainTool } from '@langchain/core/tools';
import { z } from 'zod';

let server, openai, ai;
const bytes = fs.readFileSync(picture);
const url = 'data:image/png;base64,' + bytes.toString('base64');
const question = 'Which screw is missing?';
const schema = z.object({ missing: z.array(z.enum(['top left', 'top right', 'bottom left', 'bottom right'])).max(4), count: z.int().min(0).max(4) });
const jsonSchema = { type: 'object', properties: { missing: { type: 'array', maxItems: 4, items: { type: 'string', enum: ['top left', 'top right', 'bottom left', 'bottom right'] } }, count: { type: 'integer', minimum: 0, maximum: 4 } }, required: ['missing', 'count'], additionalProperties: false };
const parameters = { type: 'object', properties: { count: { type: 'integer', minimum: 0, maximum: 9 } }, required: ['count'], additionalProperties: false };
const running = () => server.metric('vllm:num_requests_running');
let answer;  // of the picture, greedy

before(async () => {
  server = await Server.start();
  openai = new OpenAI({ baseURL: server.url + '/v1', apiKey: 'none', maxRetries: 0 });
  ai = createOpenAI({ baseURL: server.url + '/v1', apiKey: 'none' });
});
after(async () => { await server.stop(); });

describe('openai', () => {
  const messages = [{ role: 'user', content: [{ type: 'image_url', image_url: { url } }, { type: 'text', text: question }] }];
  test('picture, whole and streamed', async () => {
    const r = await openai.chat.completions.create({ model: 'nano', messages, temperature: 0 });
    answer = r.choices[0].message.content;
    assert.ok(answer.length > 3);
    let text = '', usage;
    for await (const part of await openai.chat.completions.create({ model: 'nano', messages, temperature: 0, stream: true, stream_options: { include_usage: true } })) {
      text += part.choices[0]?.delta.content ?? '';
      usage = part.usage ?? usage;
    }
    assert.equal(text, answer);
    assert.equal(usage.completion_tokens, r.usage.completion_tokens);
  });
  test('forced tool, streamed deltas, and its result', async () => {
    const tools = [{ type: 'function', function: { name: 'report', description: 'reports a count', parameters, strict: true } }];
    const stream = openai.chat.completions.stream({ model: 'nano', messages, tools, tool_choice: 'required', parallel_tool_calls: false, max_tokens: 100 });
    const final = await stream.finalChatCompletion();
    const call = final.choices[0].message.tool_calls[0];
    assert.equal(final.choices[0].finish_reason, 'tool_calls');
    assert.equal(call.function.name, 'report');
    assert.ok(Number.isInteger(JSON.parse(call.function.arguments).count));
    const named = await openai.chat.completions.create({ model: 'nano', messages, tools, tool_choice: { type: 'function', function: { name: 'report' } }, max_tokens: 100 });
    assert.equal(named.choices[0].message.tool_calls[0].function.name, 'report');
    const next = await openai.chat.completions.create({ model: 'nano', messages: [...messages, final.choices[0].message, { role: 'tool', tool_call_id: call.id, content: 'thanks' }], tools, max_tokens: 8 });
    assert.ok(next.usage.completion_tokens > 0);
  });
  test('schema, also parsed by the SDK', async () => {
    const r = await openai.chat.completions.create({ model: 'nano', messages, response_format: { type: 'json_schema', json_schema: { name: 'screws', strict: true, schema: jsonSchema } }, max_tokens: 200 });
    schema.parse(JSON.parse(r.choices[0].message.content));
    const object = await openai.chat.completions.create({ model: 'nano', messages, response_format: { type: 'json_object' }, max_tokens: 200 });
    assert.equal(typeof JSON.parse(object.choices[0].message.content), 'object');
    const choice = await openai.chat.completions.create({ model: 'nano', messages, guided_choice: ['yes', 'no'] });
    assert.ok(['yes', 'no'].includes(choice.choices[0].message.content));
    const regex = await openai.chat.completions.create({ model: 'nano', messages, guided_regex: '[0-9]{3}-[a-f]{2}' });
    assert.match(regex.choices[0].message.content, /^[0-9]{3}-[a-f]{2}$/);
    const thinking = await openai.chat.completions.create({ model: 'nano', messages, chat_template_kwargs: { enable_thinking: true }, response_format: { type: 'json_schema', json_schema: { name: 's', schema: jsonSchema } }, max_tokens: 400 });
    schema.parse(JSON.parse(thinking.choices[0].message.content));  // never in the reasoning
  });
  test('responses: whole, streamed, tools, schema', async () => {
    const input = [{ role: 'user', content: [{ type: 'input_image', image_url: url, detail: 'auto' }, { type: 'input_text', text: question }] }];
    const r = await openai.responses.create({ model: 'nano', input, temperature: 0 });
    assert.equal(r.output_text, answer);
    const stream = openai.responses.stream({ model: 'nano', input, temperature: 0 });
    assert.equal((await stream.finalResponse()).output_text, answer);
    const call = await openai.responses.create({ model: 'nano', input, tools: [{ type: 'function', name: 'report', parameters, strict: true }], tool_choice: 'required', parallel_tool_calls: false });
    assert.equal(call.output.find((o) => o.type === 'function_call').name, 'report');
    const structured = await openai.responses.create({ model: 'nano', input, text: { format: { type: 'json_schema', name: 's', strict: true, schema: jsonSchema } } });
    schema.parse(JSON.parse(structured.output_text));
  });
  test('completions, embeddings, models, errors', async () => {
    assert.ok((await openai.completions.create({ model: 'nano', prompt: 'a', max_tokens: 2 })).choices[0].text !== undefined);
    const e = await openai.embeddings.create({ model: 'nano', input: ['a', 'b'] });
    assert.equal(e.data.length, 2);
    assert.ok(Math.abs(Math.hypot(...e.data[0].embedding) - 1) < 1e-3);
    assert.equal((await openai.models.list()).data[0].id, 'nano');
    await assert.rejects(openai.chat.completions.create({ model: 'nano', messages, temperature: 9 }), (x) => x instanceof OpenAI.BadRequestError && x.param === 'temperature');
  });
  test('abort', async () => {
    const stream = await openai.chat.completions.create({ model: 'nano', messages, stream: true, max_tokens: 3000, ignore_eos: true });
    for await (const _ of stream) break;  // leaving the loop aborts
    await eventually(async () => (await running()) === 0, 5000);
  });
});

describe('ai', () => {
  const messages = [{ role: 'user', content: [{ type: 'image', image: bytes }, { type: 'text', text: question }] }];
  for (const [name, model] of [['chat', () => ai.chat('nano')], ['responses', () => ai.responses('nano')]]) {
    test(`${name}: picture, stream, schema, tools`, async () => {
      assert.equal((await generateText({ model: model(), messages, temperature: 0 })).text, answer);
      let text = '';
      for await (const part of streamText({ model: model(), messages, temperature: 0 }).textStream) text += part;
      assert.equal(text, answer);
      const o = await generateText({ model: model(), messages, output: Output.object({ schema }), maxOutputTokens: 200 });
      schema.parse(o.output);
      const report = tool({ description: 'reports', inputSchema: z.object({ count: z.int().min(0).max(9) }) });
      const t = await generateText({ model: model(), messages, tools: { report }, toolChoice: 'required', maxOutputTokens: 100 });
      assert.equal(t.toolCalls[0].toolName, 'report');
      assert.ok(Number.isInteger(t.toolCalls[0].input.count));
      const s = streamText({ model: model(), messages, tools: { report }, toolChoice: { type: 'tool', toolName: 'report' }, maxOutputTokens: 100 });
      assert.equal((await s.toolCalls)[0].toolName, 'report');
    });
  }
  test('abort', async () => {
    const controller = new AbortController();
    const r = streamText({ model: ai.chat('nano'), messages: [{ role: 'user', content: 'hi' }], temperature: 1, abortSignal: controller.signal, onError: () => {} });
    for await (const _ of r.textStream) { controller.abort(); break; }
    await eventually(async () => (await running()) === 0, 5000);
  });
});

describe('langchain', () => {
  const llm = (more) => new ChatOpenAI({ model: 'nano', apiKey: 'none', temperature: 0, maxRetries: 0, configuration: { baseURL: server.url + '/v1' }, ...more });
  const message = () => new HumanMessage({ content: [{ type: 'image_url', image_url: { url } }, { type: 'text', text: question }] });
  test('picture and stream', async () => {
    assert.equal((await llm().invoke([message()])).content, answer);
    let text = '';
    for await (const part of await llm().stream([message()])) text += part.content;
    assert.equal(text, answer);
  });
  test('schema and tools', async () => {
    schema.parse(await llm({ maxTokens: 200 }).withStructuredOutput(schema, { name: 'screws' }).invoke([message()]));
    schema.parse(await llm({ maxTokens: 200 }).withStructuredOutput(schema, { name: 'screws', method: 'functionCalling' }).invoke([message()]));
    const report = langchainTool(() => 'ok', { name: 'report', description: 'reports', schema: z.object({ count: z.int().min(0).max(9) }) });
    const r = await llm({ maxTokens: 100 }).bindTools([report], { tool_choice: 'required' }).invoke([message()]);
    assert.equal(r.tool_calls[0].name, 'report');
  });
  test('abort', async () => {
    const controller = new AbortController();
    await assert.rejects(async () => {
      for await (const _ of await llm({ maxTokens: 3000, modelKwargs: { ignore_eos: true } }).stream([message()], { signal: controller.signal })) controller.abort();
    });
    await eventually(async () => (await running()) === 0, 5000);
  });
});

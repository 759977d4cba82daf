// The conversation: what was attached and said, the request it makes, and the answer as it streams in.
"use strict";

const $ = (id) => document.getElementById(id);
const FIELDS = {  // sampling and pictures: name, least, most, step; empty leaves the server's default
  sampling: [["temperature", 0, 2, 0.05], ["max_tokens", 1, 262144, 1], ["top_p", 0.01, 1, 0.01], ["top_k", 0, 1000, 1], ["min_p", 0, 1, 0.01],
             ["seed", 0, 4294967295, 1], ["presence_penalty", -2, 2, 0.1], ["frequency_penalty", -2, 2, 0.1]],
  pixels: [["min_pixels", 1, 1e9, 1], ["max_pixels", 1, 1e9, 1], ["fps", 0.01, 240, 0.01]],
};
const EXAMPLES = {
  json_schema: '{\n  "type": "object",\n  "properties": {\n    "answer": {"type": "string"},\n    "sure": {"type": "boolean"}\n  },\n  "required": ["answer", "sure"],\n  "additionalProperties": false\n}',
  regex: "(yes|no)( because .{1,200})?",
  choice: "yes\nno\nunclear",
  grammar: 'root ::= item ("\\n" item)*\nitem ::= "- " [^\\n]+',
};

let turns = [];          // {role, text, media: [{kind, url, name}], reasoning?, ...figures}
let pending = [];        // attachments of the next question
let running = null;      // {controller, turn}

// --- Requests ---

function headers() {
  const key = $("api-key").value.trim();
  return { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
}

function content_of(turn) {
  if (!turn.media.length) return turn.text;
  const parts = turn.media.map((m) => m.kind === "video" ? { type: "video_url", video_url: { url: m.url } } : { type: "image_url", image_url: { url: m.url } });
  return [...parts, { type: "text", text: turn.text }];
}

function read_format(body) {
  const kind = $("format").value, source = $("format-source").value;
  if (kind === "text") return;
  if (kind === "json_object") { body.response_format = { type: "json_object" }; return; }
  if (!source.trim()) throw new Error(say("empty_source"));
  if (kind === "json_schema") {
    let schema;
    try { schema = JSON.parse(source); } catch (e) { throw new Error(say("bad_schema") + e.message); }
    body.response_format = { type: "json_schema", json_schema: { name: "answer", schema, strict: true } };
  } else if (kind === "choice") {
    body.guided_choice = source.split("\n").map((s) => s.trim()).filter(Boolean);
  } else {
    body[`guided_${kind}`] = source;
  }
}

// The request that leads to the answer behind `history`.
function request_of(history) {
  const body = { model: $("model").textContent, messages: [], stream: true, stream_options: { include_usage: true } };
  if ($("system").value.trim()) body.messages.push({ role: "system", content: $("system").value });
  for (const t of history) body.messages.push({ role: t.role, content: content_of(t) });
  for (const [name] of FIELDS.sampling) if ($(name).value !== "") body[name] = Number($(name).value);
  const media = {};
  for (const [name] of FIELDS.pixels) if ($(name).value !== "") media[name] = Number($(name).value);
  if (Object.keys(media).length) body.mm_processor_kwargs = media;
  if ($("reasoning").value) body.chat_template_kwargs = { enable_thinking: $("reasoning").value === "on" };
  read_format(body);
  return body;
}

// Server-sent events: calls on_event with the data of each, until [DONE].
async function read_events(response, on_event) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const frames = (rest + value).split(/\r?\n\r?\n/);
    rest = frames.pop();
    for (const frame of frames) {
      const data = frame.split(/\r?\n/).filter((l) => l.startsWith("data:")).map((l) => l.slice(5).trimStart()).join("\n");
      if (data === "[DONE]") return;
      if (data) on_event(JSON.parse(data));
    }
  }
}

async function error_text(response) {
  const text = await response.text();
  try { return JSON.parse(text).error.message; } catch { return `${response.status} ${text.slice(0, 300)}`; }
}

async function ask(turn, history) {
  const body = request_of(history);
  const controller = new AbortController();
  running = { controller, turn };
  show_running();
  turn.started = performance.now();
  try {
    const response = await fetch("/v1/chat/completions", { method: "POST", headers: headers(), body: JSON.stringify(body), signal: controller.signal });
    if (!response.ok) throw new Error(await error_text(response));
    await read_events(response, (event) => take_event(turn, event));
  } catch (e) {
    if (controller.signal.aborted) turn.note = "stopped";
    else turn.error = e.message;
  }
  turn.seconds = (performance.now() - turn.started) / 1000;
  turn.done = true;
  running = null;
  render_answer(turn);
  show_running();
}

function take_event(turn, event) {
  if (event.error) throw new Error(event.error.message);
  if (event.usage) turn.usage = event.usage;
  const choice = event.choices?.[0];
  if (!choice) return;
  const { content, reasoning_content: reasoning } = choice.delta ?? {};
  if (content || reasoning) {
    turn.first ??= performance.now() - turn.started;
    turn.pieces = (turn.pieces ?? 0) + 1;
  }
  if (reasoning) turn.reasoning = (turn.reasoning ?? "") + reasoning;
  if (content) turn.text += content;
  if (choice.finish_reason === "length") turn.note = "cut";
  turn.dirty ??= requestAnimationFrame(() => { turn.dirty = undefined; render_answer(turn); });
}

// --- The conversation on the page ---

function figure_of(media) {
  const layer = make("div", {}, media.kind === "video" ? make("video", { src: media.url, controls: true, muted: true }) : make("img", { src: media.url, alt: media.name }));
  layer.style.position = "relative";
  layer.style.display = "inline-block";
  return make("figure", { class: "picture" }, layer, make("figcaption", {}, media.name));
}

function render_user(turn) {
  const box = make("article", { class: "message user", "aria-label": say("you") });
  if (turn.media.length) box.append(make("div", { class: "media" }, ...turn.media.map(figure_of)));
  box.append(make("div", { class: "body" }, turn.text));
  return box;
}

// The pictures that marks of this answer refer to: those of the last question that had any.
function pictures_before(turn) {
  for (let i = turns.indexOf(turn) - 1; i >= 0; --i) {
    const pictures = turns[i].media.filter((m) => m.kind === "image");
    if (pictures.length) return pictures;
  }
  return [];
}

function figures_text(turn) {
  const parts = [];
  const tokens = turn.usage?.completion_tokens ?? turn.pieces ?? 0;
  const seconds = ((turn.done ? turn.seconds * 1000 : performance.now() - turn.started) - (turn.first ?? 0)) / 1000;
  if (turn.usage) parts.push(`${turn.usage.prompt_tokens} ${say("prompt_tokens")}`);
  if (tokens) parts.push(`${tokens} ${say("tokens")}`);
  if (tokens > 1 && seconds > 0) parts.push(`${((tokens - 1) / seconds).toFixed(1)} ${say("per_second")}`);
  if (turn.first) parts.push(`${say("first")} ${(turn.first / 1000).toFixed(2)} s`);
  if (turn.note) parts.push(say(turn.note));
  return parts.join(" · ");
}

function render_answer(turn) {
  const at_end = near_end();
  const box = turn.box ?? make("article", { class: "message assistant", "aria-label": say("model_name") });
  if (!turn.box) { turn.box = box; $("messages").append(box); }
  box.setAttribute("aria-busy", String(!turn.done));
  const was_open = box.querySelector("details.thinking")?.open ?? false;
  box.replaceChildren();
  if (turn.reasoning)
    box.append(make("details", { class: "thinking", open: was_open }, make("summary", {}, say(turn.text || turn.done ? "thought" : "thinking")), turn.reasoning));
  const marks = find_marks(turn.text), pictures = pictures_before(turn);
  if (marks.length && pictures.length) {
    const figure = figure_of(pictures[pictures.length - 1]);
    box.append(make("div", { class: "media" }, figure));
    const image = figure.querySelector("img");
    const draw = () => draw_marks(figure, marks);
    image.complete && image.naturalWidth ? draw() : image.addEventListener("load", draw);
  }
  const json = turn.done ? find_json(turn.text) : undefined;
  if (json !== undefined && !turn.as_text) box.append(make("div", { class: "tree" }, json_tree(json)));
  else box.append(make("div", { class: turn.done ? "body" : "body cursor" }, turn.text));
  if (turn.error) box.append(make("p", { class: "error", role: "alert" }, turn.error));
  box.append(make("div", { class: "foot" }, make("span", { class: "figures" }, figures_text(turn)), ...(turn.done ? buttons_of(turn, json) : [])));
  if (at_end) scroll_to_end();
}

function buttons_of(turn, json) {
  const button = (key, action, name) => make("button", { type: "button", class: name ?? "", onclick: action }, say(key));
  const out = [button("copy", (e) => copy_text(turn.text, e.target)), button("regenerate", () => regenerate(turn), "regenerate"), button("code", () => show_code(turn), "as-code")];
  if (json !== undefined) out.push(button(turn.as_text ? "tree" : "source", () => { turn.as_text = !turn.as_text; render_answer(turn); }, "tree-toggle"));
  return out;
}

function render_all() {
  $("messages").replaceChildren();
  if (!turns.length) $("messages").append(make("p", { class: "welcome" }, say("welcome")));
  for (const t of turns) {
    if (t.role === "user") $("messages").append(render_user(t));
    else { t.box = undefined; render_answer(t); }
  }
}

const near_end = () => { const m = $("messages"); return m.scrollHeight - m.scrollTop - m.clientHeight < 120; };
const scroll_to_end = () => { const m = $("messages"); m.scrollTop = m.scrollHeight; };

function show_running() {
  $("send").hidden = running !== null;
  $("stop").hidden = running === null;
}

// --- Actions ---

async function send() {
  const text = $("prompt").value.trim();
  if (running || (!text && !pending.length)) return;
  $("format-error").hidden = true;
  const question = { role: "user", text, media: pending };
  try {
    request_of([...turns, question]);
  } catch (e) {
    $("format-error").textContent = e.message;
    $("format-error").hidden = false;
    open_settings(true);
    $("format-source").focus();
    return;
  }
  turns.push(question);
  pending = [];
  $("prompt").value = "";
  grow();
  show_attachments();
  await answer_last();
}

async function answer_last() {
  const history = [...turns];
  const turn = { role: "assistant", text: "", media: [] };
  turns.push(turn);
  render_all();
  scroll_to_end();
  await ask(turn, history);
}

function regenerate(turn) {
  if (running) return;
  turns = turns.slice(0, turns.indexOf(turn));
  answer_last();
}

function stop() { running?.controller.abort(); }

function new_chat() {
  stop();
  turns = [];
  pending = [];
  show_attachments();
  render_all();
  $("prompt").focus();
}

async function copy_text(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // pages without a secure origin have no clipboard
    const area = make("textarea", {});
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const before = button.textContent;
  button.textContent = say("copied");
  setTimeout(() => { button.textContent = before; }, 1200);
}

// --- Attachments ---

function read_file(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

async function attach(files) {
  for (const file of files) {
    const kind = file.type.startsWith("video/") ? "video" : file.type.startsWith("image/") ? "image" : null;
    if (kind) pending.push({ kind, url: await read_file(file), name: file.name || say("picture") });
    else $("attachments").title = say("unreadable") + file.name;
  }
  show_attachments();
  $("prompt").focus();
}

function show_attachments() {
  $("attachments").replaceChildren(...pending.map((m) => make("div", { class: "attachment" },
    m.kind === "video" ? make("video", { src: m.url, muted: true }) : make("img", { src: m.url, alt: m.name }),
    make("button", { type: "button", title: `${say("remove")} ${m.name}`, "aria-label": `${say("remove")} ${m.name}`,
                     onclick: () => { pending = pending.filter((x) => x !== m); show_attachments(); } }, "×"))));
}

// --- As code ---

const CODE = {
  curl(body, url, key) {
    const quoted = JSON.stringify(body, null, 2).replaceAll("'", "'\\''");
    return `curl -N ${url}/v1/chat/completions \\\n  -H 'Content-Type: application/json' \\\n${key ? "  -H \"Authorization: Bearer $VL8_API_KEY\" \\\n" : ""}  -d '${quoted}'`;
  },
  Python(body, url, key) {
    const { known, extra } = split_body(body);
    const python = (v) => JSON.stringify(v, null, 4).replace(/("(?:[^"\\]|\\.)*")|\btrue\b|\bfalse\b|\bnull\b/g, (m, text) => text ?? { true: "True", false: "False", null: "None" }[m]);
    const rows = Object.entries(known).map(([k, v]) => `    ${k}=${python(v).replaceAll("\n", "\n    ")},`);
    if (Object.keys(extra).length) rows.push(`    extra_body=${python(extra).replaceAll("\n", "\n    ")},`);
    return `import os\nfrom openai import OpenAI\n\nclient = OpenAI(base_url="${url}/v1", api_key=${key ? 'os.environ["VL8_API_KEY"]' : '"none"'})\nstream = client.chat.completions.create(\n${rows.join("\n")}\n)\nfor chunk in stream:\n    if chunk.choices:\n        print(chunk.choices[0].delta.content or "", end="", flush=True)`;
  },
  JavaScript(body, url, key) {
    return `import OpenAI from "openai";\n\nconst client = new OpenAI({ baseURL: "${url}/v1", apiKey: ${key ? "process.env.VL8_API_KEY" : '"none"'} });\nconst stream = await client.chat.completions.create(${JSON.stringify(body, null, 2)});\nfor await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");`;
  },
};
// The Python client names the fields it knows; the others go into extra_body.
function split_body(body) {
  const own = ["model", "messages", "stream", "stream_options", "temperature", "top_p", "max_tokens", "seed", "presence_penalty", "frequency_penalty", "response_format"];
  const entries = Object.entries(body);
  return { known: Object.fromEntries(entries.filter(([k]) => own.includes(k))), extra: Object.fromEntries(entries.filter(([k]) => !own.includes(k))) };
}

function show_code(turn) {
  let body;
  try {
    body = request_of(turns.slice(0, turns.indexOf(turn)));
  } catch (e) {
    turn.error = e.message;
    return render_answer(turn);
  }
  const select = (name) => {
    for (const tab of $("code-tabs").children) tab.setAttribute("aria-selected", String(tab.textContent === name));
    $("code-text").textContent = CODE[name](body, location.origin, $("api-key").value.trim() !== "");
  };
  $("code-tabs").replaceChildren(...Object.keys(CODE).map((name) => make("button", { type: "button", role: "tab", onclick: () => select(name) }, name)));
  select("curl");
  $("code").showModal();
}

// --- Settings, server, keys ---

function open_settings(open) {
  $("settings").hidden = !open;
  $("settings-toggle").setAttribute("aria-expanded", String(open));
}

function show_format() {
  const kind = $("format").value, has_source = kind in EXAMPLES;
  $("format-source-row").hidden = !has_source;
  $("format-error").hidden = true;
  if (!has_source) return;
  $("format-source-name").textContent = $("format").selectedOptions[0].textContent;
  if (!$("format-source").value.trim() || Object.values(EXAMPLES).includes($("format-source").value)) $("format-source").value = EXAMPLES[kind];
}

function build_fields() {
  for (const [group, rows] of Object.entries(FIELDS))
    $(group).replaceChildren(...rows.map(([name, min, max, step]) =>
      make("label", {}, make("span", { "data-text": name }), make("input", { id: name, type: "number", min, max, step, placeholder: "–" }))));
}

function set_theme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  store.set("theme", theme ?? "");
}
function next_theme() {
  const order = [undefined, "light", "dark"];
  set_theme(order[(order.indexOf(document.documentElement.dataset.theme) + 1) % 3]);
}

async function ask_model() {
  try {
    const r = await fetch("/v1/models", { headers: headers() });
    if (!r.ok) throw new Error(await error_text(r));
    const id = (await r.json()).data[0].id;
    $("model").textContent = id;
    $("model").title = id;
  } catch (e) {
    $("load").textContent = e.message;
  }
}

let last_load = null;
async function show_load() {
  if (document.hidden) return;
  try {
    const r = await fetch("/metrics", { headers: headers() });
    if (!r.ok) throw new Error();
    const text = await r.text();
    const value = (name) => Number(text.match(new RegExp(`^${name}(?:\\{[^}]*\\})? ([0-9.e+-]+)$`, "m"))?.[1] ?? NaN);
    const now = { at: performance.now(), tokens: value("vllm:generation_tokens_total") };
    const rate = last_load ? (now.tokens - last_load.tokens) / ((now.at - last_load.at) / 1000) : 0;
    last_load = now;
    const parts = [`${value("vllm:num_requests_running")} ${say("running")}`, `${value("vllm:num_requests_waiting")} ${say("waiting")}`,
                   `${say("kv")} ${Math.round(value("vllm:kv_cache_usage_perc") * 100)} %`];
    if (rate > 0) parts.push(`${rate.toFixed(1)} ${say("per_second")}`);
    $("load").textContent = parts.join(" · ");
    if (!$("model").textContent) ask_model();
  } catch {
    last_load = null;
    $("load").textContent = say("offline");
  }
}

function grow() {
  const p = $("prompt");
  p.style.height = "auto";
  p.style.height = `${Math.min(p.scrollHeight + 2, innerHeight * 0.4)}px`;
}

function listen() {
  $("composer").addEventListener("submit", (e) => { e.preventDefault(); send(); });
  $("prompt").addEventListener("input", grow);
  $("prompt").addEventListener("keydown", (e) => {
    if (e.key === "Enter" && !e.shiftKey && !e.isComposing) { e.preventDefault(); send(); }
  });
  $("stop").addEventListener("click", stop);
  $("new").addEventListener("click", new_chat);
  $("attach").addEventListener("click", () => $("files").click());
  $("files").addEventListener("change", () => { attach($("files").files); $("files").value = ""; });
  $("settings-toggle").addEventListener("click", () => open_settings($("settings").hidden));
  $("format").addEventListener("change", show_format);
  $("theme").addEventListener("click", next_theme);
  $("language").addEventListener("click", () => {
    language = language === "zh" ? "en" : "zh";
    store.set("language", language);
    apply_words();
    show_format();
    show_attachments();
    render_all();
    show_load();
  });
  $("code-copy").addEventListener("click", (e) => copy_text($("code-text").textContent, e.target));
  $("api-key").addEventListener("change", () => { sessionStorage.setItem("vl8.key", $("api-key").value); ask_model(); });
  document.addEventListener("keydown", (e) => {
    if (e.key === "Escape" && !$("code").open) {
      if (running) stop();
      else if (!$("settings").hidden) open_settings(false);
    }
    const keys = { n: new_chat, t: next_theme, a: () => $("files").click() };
    if (e.altKey && !e.ctrlKey && !e.metaKey && keys[e.key.toLowerCase()]) { e.preventDefault(); keys[e.key.toLowerCase()](); }
  });
  let inside = 0;  // dragenter and dragleave come for every element passed
  document.addEventListener("dragenter", (e) => { if (e.dataTransfer?.types.includes("Files")) { ++inside; $("drop").hidden = false; } });
  document.addEventListener("dragleave", () => { if (inside > 0 && --inside === 0) $("drop").hidden = true; });
  document.addEventListener("dragover", (e) => e.preventDefault());
  document.addEventListener("drop", (e) => { e.preventDefault(); inside = 0; $("drop").hidden = true; attach(e.dataTransfer.files); });
  document.addEventListener("paste", (e) => { if (e.clipboardData?.files.length) { e.preventDefault(); attach(e.clipboardData.files); } });
  addEventListener("resize", () => turns.filter((t) => t.box && t.done && find_marks(t.text).some((m) => m.numbers.length === 2)).forEach(render_answer));
}

build_fields();
apply_words();
set_theme(store.get("theme") || undefined);
try { $("api-key").value = sessionStorage.getItem("vl8.key") ?? ""; } catch { /* the field stays empty */ }
listen();
show_format();
render_all();
ask_model();
show_load();
setInterval(show_load, 2000);

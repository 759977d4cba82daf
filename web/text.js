// The page's words, English and Chinese, and how they get into it: elements name their text by data-text, -title, -label
// (for assistive technology) and -placeholder.
"use strict";

const WORDS = {
  en: {
    new_chat: "New", new_chat_key: "New conversation (Alt+N)", language: "中文 / English", theme: "Light, dark or as the system (Alt+T)",
    settings: "Settings", conversation: "Conversation", attachments: "Attached pictures and clips", attach: "Attach pictures or clips (Alt+A)",
    prompt: "Ask about a picture, or anything else", send: "Send", stop: "Stop",
    hint: "Enter sends, Shift+Enter breaks the line, Esc stops. Drop or paste pictures anywhere.",
    answer: "Answer", format: "Form of the answer", format_text: "Free text", format_object: "Any JSON object", format_schema: "JSON Schema",
    format_regex: "Regular expression", format_choice: "One of these (a line each)", format_grammar: "Grammar (GBNF)", system: "System prompt",
    reasoning: "Reasoning", as_model: "As the model does", on: "On", off: "Off", sampling: "Sampling", pictures: "Pictures and clips",
    access: "Access", api_key: "API key (kept in this tab only)", copy: "Copy", close: "Close", copied: "Copied", drop_here: "Drop pictures and clips here",
    welcome: "Drop a picture here and ask what is in it.", thinking: "Thinking", thought: "Thought", regenerate: "Regenerate", code: "As code",
    tree: "Tree", source: "Text", boxes: "Boxes", remove: "Remove", waiting: "waiting", running: "running", kv: "KV", tokens: "tokens",
    prompt_tokens: "prompt", per_second: "tokens/s", first: "first token", stopped: "stopped", cut: "cut off at the limit of tokens",
    offline: "server not reachable", not_ready: "loading", temperature: "Temperature", top_p: "Top p", top_k: "Top k", min_p: "Min p",
    max_tokens: "Most tokens", seed: "Seed", presence_penalty: "Presence penalty", frequency_penalty: "Frequency penalty",
    min_pixels: "Least pixels", max_pixels: "Most pixels", fps: "Frames a second", bad_schema: "This is not JSON: ", empty_source: "This must not be empty.",
    unreadable: "This file is neither a picture nor a clip: ", clip: "Clip", picture: "Picture", you: "You", model_name: "Model",
  },
  zh: {
    new_chat: "新对话", new_chat_key: "新对话（Alt+N）", language: "中文 / English", theme: "浅色、深色或跟随系统（Alt+T）",
    settings: "设置", conversation: "对话", attachments: "已添加的图片和视频", attach: "添加图片或视频（Alt+A）",
    prompt: "就图片提问，或随便问点什么", send: "发送", stop: "停止",
    hint: "Enter 发送，Shift+Enter 换行，Esc 停止。图片可拖放或粘贴到任意位置。",
    answer: "回答", format: "回答的格式", format_text: "自由文本", format_object: "任意 JSON 对象", format_schema: "JSON Schema",
    format_regex: "正则表达式", format_choice: "选项之一（每行一个）", format_grammar: "语法（GBNF）", system: "系统提示词",
    reasoning: "思考", as_model: "由模型决定", on: "开", off: "关", sampling: "采样", pictures: "图片和视频",
    access: "访问", api_key: "API 密钥（仅保存在本标签页）", copy: "复制", close: "关闭", copied: "已复制", drop_here: "将图片和视频拖放到这里",
    welcome: "把图片拖到这里，问问里面有什么。", thinking: "思考中", thought: "思考过程", regenerate: "重新生成", code: "查看代码",
    tree: "树形", source: "文本", boxes: "框", remove: "移除", waiting: "排队", running: "运行", kv: "KV", tokens: "词元",
    prompt_tokens: "输入", per_second: "词元/秒", first: "首词元", stopped: "已停止", cut: "达到词元上限而截断",
    offline: "无法连接服务器", not_ready: "加载中", temperature: "温度", top_p: "Top p", top_k: "Top k", min_p: "Min p",
    max_tokens: "最多词元", seed: "随机种子", presence_penalty: "存在惩罚", frequency_penalty: "频率惩罚",
    min_pixels: "最少像素", max_pixels: "最多像素", fps: "每秒帧数", bad_schema: "这不是 JSON：", empty_source: "此处不能为空。",
    unreadable: "此文件既不是图片也不是视频：", clip: "视频", picture: "图片", you: "你", model_name: "模型",
  },
};

const store = {  // the page also works where storage is forbidden
  get(key) { try { return localStorage.getItem("vl8." + key); } catch { return null; } },
  set(key, value) { try { localStorage.setItem("vl8." + key, value); } catch { /* forgotten with the tab */ } },
};

let language = store.get("language") || (navigator.language.startsWith("zh") ? "zh" : "en");
const say = (key) => WORDS[language][key] ?? key;

function apply_words(root = document) {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  const each = (name, set) => root.querySelectorAll(`[data-${name}]`).forEach((e) => set(e, say(e.dataset[name])));
  each("text", (e, t) => { e.textContent = t; });
  each("title", (e, t) => { e.title = t; e.setAttribute("aria-label", t); });
  each("label", (e, t) => e.setAttribute("aria-label", t));
  each("placeholder", (e, t) => { e.placeholder = t; });
}

// An element: make("div", {class: "x"}, child, "text"). Never HTML from text.
function make(tag, attributes = {}, ...children) {
  const e = tag.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4)) : document.createElement(tag);
  for (const [k, v] of Object.entries(attributes)) {
    if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
    else if (v !== undefined && v !== false) e.setAttribute(k, v === true ? "" : v);
  }
  e.append(...children.filter((c) => c !== null && c !== undefined));
  return e;
}

// What an answer's text means beyond words: boxes and points over pictures, and JSON as a tree.
"use strict";

const COLOURS = ["#d1353b", "#1f6fd1", "#1d8a45", "#b3590a", "#8a3fc0", "#0d8390", "#b8327f", "#6b6f1a"];

// JSON in an answer: the whole text, or what stands between code fences.
function find_json(text) {
  const trimmed = text.trim();
  const fenced = trimmed.match(/^```(?:json)?\s*\n([\s\S]*?)\n?```$/);
  const source = fenced ? fenced[1] : trimmed;
  if (!/^[[{]/.test(source)) return undefined;
  try { return JSON.parse(source); } catch { return undefined; }
}

// Boxes and points in a text that may still be growing. Coordinates lie in 0..1000 of the picture's width and height, as the model
// writes them. Labels stand in the same object, before or behind.
function find_marks(text) {
  const marks = [];
  const number = "\\s*(-?\\d+(?:\\.\\d+)?)\\s*";
  const pattern = new RegExp(
    `"(?:bbox_2d|bbox|box_2d|box)"\\s*:\\s*\\[${number},${number},${number},${number}\\]|"(?:point_2d|point)"\\s*:\\s*\\[${number},${number}\\]` +
    `|<box>\\s*\\(${number},${number}\\)\\s*,\\s*\\(${number},${number}\\)\\s*</box>`, "g");
  for (const m of text.matchAll(pattern)) {
    const n = m.slice(1).filter((x) => x !== undefined).map(Number);
    const open = text.lastIndexOf("{", m.index);
    const close = text.indexOf("}", m.index);
    const object = text.slice(Math.max(open, 0), close < 0 ? text.length : close + 1);
    const label = object.match(/"(?:label|name|text|text_content|class)"\s*:\s*"((?:[^"\\]|\\.)*)"/);
    let name = "";
    if (label) try { name = JSON.parse(`"${label[1]}"`); } catch { name = label[1]; }
    marks.push({ numbers: n, label: name });
  }
  return marks;
}

// Draws marks over a figure of class "picture".
function draw_marks(figure, marks) {
  figure.querySelectorAll("svg, .tag").forEach((e) => e.remove());
  if (!marks.length) return;
  const image = figure.querySelector("img");
  const svg = make("svg:svg", { viewBox: "0 0 1000 1000", preserveAspectRatio: "none", "aria-hidden": "true" });
  const layer = image.parentElement;
  const colours = new Map();
  for (const { numbers: n, label } of marks) {
    if (!colours.has(label)) colours.set(label, COLOURS[colours.size % COLOURS.length]);
    const colour = colours.get(label);
    let x = n[0], y = n[1];
    if (n.length === 4) {
      const left = Math.min(n[0], n[2]), top = Math.min(n[1], n[3]);
      svg.append(make("svg:rect", { class: "box", x: left, y: top, width: Math.abs(n[2] - n[0]), height: Math.abs(n[3] - n[1]), stroke: colour }));
      x = left; y = top;
    } else {
      const ratio = (image.clientWidth || 1) / (image.clientHeight || 1);
      svg.append(make("svg:ellipse", { class: "point", cx: x, cy: y, rx: 10, ry: 10 * ratio, fill: colour }));
    }
    if (label) {
      const tag = make("span", { class: "tag" }, label);
      tag.style.background = colour;
      tag.style.left = `${Math.min(Math.max(x, 0), 960) / 10}%`;
      tag.style.top = y > 45 ? `calc(${Math.min(y, 1000) / 10}% - 16px)` : `${Math.max(y, 0) / 10}%`;
      layer.append(tag);
    }
  }
  layer.append(svg);
}

function leaf(value) {
  if (typeof value === "string") return make("span", { class: "string" }, JSON.stringify(value));
  return make("span", {}, String(JSON.stringify(value)));
}

function json_tree(value, key, depth = 0) {
  const name = key === undefined ? null : make("span", { class: "key" }, `${key}: `);
  if (value === null || typeof value !== "object") return make("div", { class: "leaf" }, name, leaf(value));
  const entries = Object.entries(value);
  const sign = Array.isArray(value) ? `[${entries.length}]` : `{${entries.length}}`;
  if (!entries.length) return make("div", { class: "leaf" }, name, Array.isArray(value) ? "[]" : "{}");
  if (Array.isArray(value) && value.every((v) => v === null || typeof v !== "object") && JSON.stringify(value).length < 70)
    return make("div", { class: "leaf" }, name, "[", ...value.flatMap((v, i) => i ? [", ", leaf(v)] : [leaf(v)]), "]");
  const details = make("details", { open: depth < 3 }, make("summary", {}, name, make("span", { class: "count" }, sign)));
  for (const [k, v] of entries) details.append(json_tree(v, k, depth + 1));
  return details;
}

"""Coloured shapes: count, locate, compare, name."""
import numpy as np
from PIL import Image, ImageDraw

from .common import (CLS_SHAPE, COLOURS, FORMS, ZH, Sample, Turn, box_json, join_list, norm_box, photo_finish, pick, raster,
                     smooth_field)

RGB = {"red": (215, 40, 40), "green": (40, 160, 60), "blue": (45, 80, 205), "yellow": (240, 215, 40), "orange": (245, 135, 25),
       "purple": (140, 60, 170), "black": (30, 30, 30)}
ALL = {"en": ["How many shapes are there?", "Count the shapes.", "How many objects?"], "zh": ["有几个图形？", "图中有多少个图形？", "数一数图形的个数。"]}
SOME = {"en": ["How many {s} are there?", "Count the {s}.", "How many {s}?"], "zh": ["有几个{s}？", "{s}有多少个？", "数一数{s}的个数。"]}
WHERE = {"en": ["Locate the {s} as JSON.", "Where is the {s}? Answer with JSON boxes.", "Give the boxes of every {s} as JSON."],
         "zh": ["用JSON给出{s}的位置框。", "{s}在哪里？用JSON回答。", "框出所有{s}，输出JSON。"]}
MORE = {"en": ["Are there more {a} or {b} shapes?", "Which colour is more frequent, {a} or {b}?"], "zh": ["{a}图形多还是{b}图形多？", "{a}和{b}的图形，哪种更多？"]}
NAME = {"en": ["What colour is the {f}?"], "zh": ["{f}是什么颜色？"]}
LIST = {"en": ["List the shapes.", "What do you see?", "Describe the picture."], "zh": ["列出所有图形。", "你看到了什么？", "描述这张图片。"]}


def outline(form, cx, cy, r, a):
    """Polygon of the shape turned by a; circles are drawn separately."""
    if form == "square":
        k = [(r * 0.88 * 1.2, i * np.pi / 2 + np.pi / 4) for i in range(4)]
    elif form == "triangle":
        k = [(r * 1.1, i * 2 * np.pi / 3 - np.pi / 2) for i in range(3)]
    elif form == "star":
        k = [(r * (1.12 if i % 2 == 0 else 0.47), i * np.pi / 5 - np.pi / 2) for i in range(10)]
    else:
        t, o = r * 0.34, r
        pts = [(-t, -o), (t, -o), (t, -t), (o, -t), (o, t), (t, t), (t, o), (-t, o), (-t, t), (-o, t), (-o, -t), (-t, -t)]
        return [(cx + x * np.cos(a) - y * np.sin(a), cy + x * np.sin(a) + y * np.cos(a)) for x, y in pts]
    return [(cx + d * np.cos(t + a), cy + d * np.sin(t + a)) for d, t in k]


def paint(rng, h, w, n):
    """uint8 [h,w,3] and [(pixel box, (colour, form))]; shapes never touch."""
    base = rng.uniform(200, 255, 3)
    img = Image.fromarray(np.clip(smooth_field(rng, h, w, 3, 0.9, 1.0)[..., None] * base, 0, 255).astype(np.uint8))
    d = ImageDraw.Draw(img)
    placed, colours = [], [pick(rng, COLOURS) for _ in range(int(rng.integers(2, 5)))]
    for _ in range(n * 30):
        if len(placed) == n:
            break
        r = rng.uniform(0.055, 0.115) * min(h, w)
        cx, cy = rng.uniform(r * 1.25, w - r * 1.25), rng.uniform(r * 1.25, h - r * 1.25)
        if any(np.hypot(cx - p[0], cy - p[1]) < 1.3 * (r + p[2]) for p in placed):
            continue
        placed.append((cx, cy, r))
    items = []
    for cx, cy, r in placed:
        colour, form = pick(rng, colours), pick(rng, FORMS)
        fill = tuple(int(np.clip(v + rng.normal(0, 12), 0, 255)) for v in RGB[colour])
        if form == "circle":
            box = [cx - r, cy - r, cx + r, cy + r]
            d.ellipse(box, fill=fill)
        else:
            pts = outline(form, cx, cy, r, rng.normal(0, 0.25))
            d.polygon(pts, fill=fill)
            xs, ys = [p[0] for p in pts], [p[1] for p in pts]
            box = [min(xs), min(ys), max(xs), max(ys)]
        items.append((box, (colour, form)))
    return photo_finish(rng, np.asarray(img), 0.4, 6.0), raster(items, w, h)


def phrase(lang, colour, form, many=False):
    if lang == "zh":
        return (ZH[colour] if colour else "") + (ZH[form] if form else "图形")
    s = (form or "shape") + ("s" if many else "")
    s = s.replace("crosss", "crosses")
    return f"{colour} {s}" if colour else s


def ask(rng, lang, items, w, h, kind):
    tags = [t for _, t in items]
    colour, form = pick(rng, tags) if rng.random() < 0.8 else (pick(rng, COLOURS), pick(rng, FORMS))
    if kind == "all":
        return Turn(pick(rng, ALL[lang]), str(len(items)), {"score": "count"})
    if kind in ("some", "think"):
        k = int(rng.integers(3))
        c, f = (colour, None) if k == 0 else (None, form) if k == 1 else (colour, form)
        hits = [t for t in tags if c in (None, t[0]) and f in (None, t[1])]
        think = None
        if kind == "think":
            think = join_list([phrase(lang, *t) for t in tags], lang)
        return Turn(pick(rng, SOME[lang]).replace("{s}", phrase(lang, c, f, True)), str(len(hits)), {"score": "count"}, think)
    if kind == "where":
        hits = [(norm_box(b, w, h), phrase(lang, *t)) for b, t in items if t == (colour, form)]
        return Turn(pick(rng, WHERE[lang]).replace("{s}", phrase(lang, colour, form)), box_json(hits), {"score": "box_f1", "iou": 0.5})
    if kind == "more":
        count = {c: sum(t[0] == c for t in tags) for c in COLOURS}
        pairs = [(a, b) for a in COLOURS for b in COLOURS if count[a] > 0 and count[a] != count[b]]
        if not pairs:
            return ask(rng, lang, items, w, h, "all")
        a, b = pick(rng, pairs)
        if rng.random() < 0.5:
            a, b = b, a
        n = (ZH.get if lang == "zh" else lambda c: c)
        q = pick(rng, MORE[lang]).replace("{a}", n(a)).replace("{b}", n(b))
        return Turn(q, n(a if count[a] > count[b] else b), {"score": "choice", "choices": [n(a), n(b)]})
    if kind == "name":
        single = [t for t in tags if sum(u[1] == t[1] for u in tags) == 1]
        if not single:
            return ask(rng, lang, items, w, h, "some")
        c, f = pick(rng, single)
        n = (ZH.get if lang == "zh" else lambda x: x)
        return Turn(pick(rng, NAME[lang]).replace("{f}", n(f)), n(c), {"score": "choice", "choices": [n(x) for x in COLOURS]})
    return Turn(pick(rng, LIST[lang]), join_list([phrase(lang, *t) for t in tags], lang), {"score": "exact"})


def make(rng, size, kinds=None, lang=None, thinking=None):
    h, w = size
    lang = lang or pick(rng, ["en", "zh"])
    img, items = paint(rng, h, w, int(rng.integers(1, 10)))
    if kinds is None:
        if (rng.random() < 0.1) if thinking is None else thinking:
            kinds = ["think"]
        else:
            menu = ["all", "some", "some", "where", "where", "more", "name", "list"]
            kinds = [pick(rng, menu) for _ in range(int(rng.integers(1, 5)))]
    turns = [ask(rng, lang, items, w, h, k) for k in kinds]
    marks = [(0, (b[0] + b[2]) / 2, (b[1] + b[3]) / 2, CLS_SHAPE + COLOURS.index(c) * len(FORMS) + FORMS.index(f),
              norm_box(b, w, h), None) for b, (c, f) in items]
    return Sample("shapes", lang, [img], turns, marks=marks)

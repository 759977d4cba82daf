"""Short synthetic clips of a signal lamp beside a moving part: when does it change, what came before."""
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .common import CLS_LAMP, LAMPS, ZH, Sample, Turn, photo_finish, pick, smooth_field

LIT = {"red": (255, 50, 40), "green": (60, 240, 90), "yellow": (255, 220, 60), "blue": (70, 120, 255), "white": (245, 245, 240),
       "off": (55, 55, 55)}
WHEN = {"en": ["Which second does the lamp turn {c}?", "When does the lamp turn {c}?", "At what second does the light become {c}?"],
        "zh": ["灯在第几秒变成{c}？", "灯什么时候变成{c}？", "第几秒灯变{c}？"]}
BEFORE = {"en": ["What was the lamp before it turned {c}?", "Which colour came before {c}?", "What came before {c}?"],
          "zh": ["灯变成{c}之前是什么颜色？", "{c}之前是什么颜色？"]}
END = {"en": ["What colour is the lamp at the end?", "Which colour is the lamp in the last frame?"], "zh": ["最后灯是什么颜色？", "结束时灯是什么颜色？"]}
START = {"en": ["What colour is the lamp at the start?"], "zh": ["开始时灯是什么颜色？"]}
MOVE = {"en": ["Which way does the box move?", "In which direction does the part move?"], "zh": ["方块向哪个方向移动？", "工件往哪边移动？"]}
ORDER = {"en": ["List the lamp colours in order.", "Describe the clip."], "zh": ["按顺序列出灯的颜色。", "描述这段视频。"]}


def word(lang, colour):
    return ZH[colour] if lang == "zh" else colour


def say_second(lang, t):
    s = f"{t:g}"
    return f"第{s}秒" if lang == "zh" else f"{s} s"


def paint(rng, side, states, direction):
    """Frames uint8 [side,side,3] and the lamp's centre."""
    h = w = side
    wall = smooth_field(rng, h, w, 4, 0.75, 1.0)[..., None] * rng.uniform(60, 190, 3)
    r = rng.uniform(0.07, 0.13) * side
    lx, ly = rng.uniform(0.15, 0.85) * w, rng.uniform(0.15, 0.5) * h
    bx, by, bs = rng.uniform(0.3, 0.7) * w, rng.uniform(0.68, 0.85) * h, rng.uniform(0.06, 0.1) * side
    part = tuple(int(v) for v in rng.uniform(40, 220, 3))
    dx, dy = {"left": (-1, 0), "right": (1, 0), "none": (0, 0)}[direction]
    reach = min(bx if dx < 0 else w - bx, 0.45 * w) - bs
    step = reach / max(len(states) - 1, 1)
    frames = []
    table = int(rng.integers(1 << 30))
    for i, colour in enumerate(states):
        img = Image.fromarray(np.clip(wall, 0, 255).astype(np.uint8))
        d = ImageDraw.Draw(img)
        d.rectangle([0, by + bs, w, by + bs + 4], fill=(40, 40, 40))
        px = bx + dx * step * i
        d.rectangle([px - bs, by - bs, px + bs, by + bs], fill=part, outline=(20, 20, 20))
        d.rectangle([lx - 1.5 * r, ly - 1.5 * r, lx + 1.5 * r, ly + 1.5 * r], fill=(35, 35, 38))
        if colour != "off":
            glow = Image.new("L", (w, h), 0)
            ImageDraw.Draw(glow).ellipse([lx - 1.6 * r, ly - 1.6 * r, lx + 1.6 * r, ly + 1.6 * r], fill=90)
            img.paste(LIT[colour], (0, 0), glow.filter(ImageFilter.BoxBlur(r * 0.5)))
        d = ImageDraw.Draw(img)
        d.ellipse([lx - r, ly - r, lx + r, ly + r], fill=LIT[colour], outline=(15, 15, 15))
        frames.append(photo_finish(np.random.default_rng(table), np.asarray(img), 0.6, 6.0))
    return frames, (lx, ly)


def make(rng, side, frames, kinds=None, lang=None, thinking=None):
    lang = lang or pick(rng, ["en", "zh"])
    fps = pick(rng, [1.0, 1.0, 2.0])
    changes = int(rng.integers(1, 3 if frames < 6 else 4))
    cuts = sorted(int(v) for v in 1 + rng.permutation(frames - 1)[:changes])
    order = [pick(rng, LAMPS)]
    while len(order) < changes + 1:
        c = pick(rng, LAMPS)
        if c not in order:
            order.append(c)
    states = [order[sum(i >= c for c in cuts)] for i in range(frames)]
    direction = pick(rng, ["left", "right", "none"])
    pictures, lamp = paint(rng, side, states, direction)
    if kinds is None:
        if (rng.random() < 0.12) if thinking is None else thinking:
            kinds = ["think"]
        else:
            kinds = [pick(rng, ["when", "when", "when", "before", "before", "end", "start", "move", "order"])
                     for _ in range(int(rng.integers(1, 4)))]
    turns = [ask(rng, lang, order, cuts, fps, direction, k) for k in kinds]
    pair = [LAMPS.index(s) for s in states]
    marks = [(g, *lamp, CLS_LAMP + pair[2 * g] * len(LAMPS) + pair[min(2 * g + 1, frames - 1)], None, None)
             for g in range((frames + 1) // 2)]
    return Sample("clip", lang, pictures, turns, fps=fps, marks=marks)


def ask(rng, lang, order, cuts, fps, direction, kind):
    k = int(rng.integers(len(cuts)))
    c = word(lang, order[k + 1])
    choices = [word(lang, x) for x in LAMPS]
    if kind in ("when", "think"):
        think = None
        if kind == "think":
            parts = [word(lang, order[0])] + [f"{say_second(lang, t / fps)} {word(lang, x)}" for t, x in zip(cuts, order[1:])]
            think = " -> ".join(parts)
        return Turn(pick(rng, WHEN[lang]).replace("{c}", c), say_second(lang, cuts[k] / fps), {"score": "second", "tolerance": 1.0}, think)
    if kind == "before":
        return Turn(pick(rng, BEFORE[lang]).replace("{c}", c), word(lang, order[k]), {"score": "choice", "choices": choices})
    if kind == "end":
        return Turn(pick(rng, END[lang]), word(lang, order[-1]), {"score": "choice", "choices": choices})
    if kind == "start":
        return Turn(pick(rng, START[lang]), word(lang, order[0]), {"score": "choice", "choices": choices})
    if kind == "move":
        names = {"left": "左", "right": "右", "none": "不动"} if lang == "zh" else {"left": "left", "right": "right", "none": "not at all"}
        return Turn(pick(rng, MOVE[lang]), names[direction], {"score": "choice", "choices": list(names.values())})
    return Turn(pick(rng, ORDER[lang]), (" -> ").join(word(lang, x) for x in order), {"score": "exact"})

"""Bar and line charts: read a value, find the largest and smallest, tell a trend."""
import numpy as np
from PIL import Image, ImageDraw

from . import fonts
from .common import CLS_BAR, CLS_POINT, Sample, Turn, photo_finish, pick

LABELS = [list("ABCDEFG"), ["Q1", "Q2", "Q3", "Q4"], ["Mon", "Tue", "Wed", "Thu", "Fri"], ["L1", "L2", "L3", "L4", "L5", "L6"],
          ["Jan", "Feb", "Mar", "Apr", "May", "Jun"], ["1月", "2月", "3月", "4月", "5月", "6月"], ["甲", "乙", "丙", "丁", "戊"],
          ["周一", "周二", "周三", "周四", "周五"], ["2019", "2020", "2021", "2022", "2023"], ["东", "南", "西", "北"]]
VALUE = {"en": ["What is the value of {n}?", "Read the value of {n}.", "How much is {n}?", "What value has {n}?"],
         "zh": ["{n}的值是多少？", "读出{n}的数值。", "{n}是多少？"]}
MOST = {"en": ["Which is the largest?", "Which one has the highest value?", "Where is the maximum?"],
        "zh": ["哪个最大？", "哪一项数值最高？", "最大值在哪里？"]}
LEAST = {"en": ["Which is the smallest?", "Which one has the lowest value?", "Where is the minimum?"],
         "zh": ["哪个最小？", "哪一项数值最低？", "最小值在哪里？"]}
TREND = {"en": ["Is the value rising or falling from {a} to {b}?"], "zh": ["从{a}到{b}是上升还是下降？"]}
LIST = {"en": ["List all values.", "Read the chart."], "zh": ["列出所有数值。", "读出图表。"]}
PALETTE = [(66, 110, 180), (220, 90, 60), (80, 160, 90), (230, 170, 40), (130, 90, 170), (60, 60, 60), (40, 160, 170)]


def paint(rng, h, w, names, values, top, line):
    """The chart as uint8 [h,w,3], the pixel of every bar top or point and of every label's characters."""
    paper = (255, 255, 255) if rng.random() < 0.6 else tuple(int(v) for v in rng.uniform(225, 255, 3))
    img = Image.new("RGB", (w, h), paper)
    d = ImageDraw.Draw(img)
    size = int(rng.integers(14, 19))
    cjk = any(ord(c) > 255 for n in names for c in n)
    small = fonts.latin(int(rng.integers(3)), size)
    font = fonts.cjk(int(rng.integers(2)), size) if cjk else small
    x0, x1, y0, y1 = int(w * 0.11), int(w * 0.97), int(h * rng.uniform(0.06, 0.12)), int(h * 0.88)
    step, grey, chars = top // 5, (120, 120, 120), []
    for v in range(0, top + 1, step):
        y = y1 - (y1 - y0) * v / top
        if rng.random() < 0.9:
            d.line([x0, y, x1, y], fill=(215, 215, 215))
        d.text((x0 - 5, y), str(v), font=small, fill=grey, anchor="rm")
    d.line([x0, y0, x0, y1], fill=grey, width=2)
    d.line([x0, y1, x1, y1], fill=grey, width=2)
    pitch = (x1 - x0) / len(names)
    one = pick(rng, PALETTE)
    many, shown, tops = rng.random() < 0.4, rng.random() < 0.25, []
    for i, (n, v) in enumerate(zip(names, values)):
        x, y = x0 + pitch * (i + 0.5), y1 - (y1 - y0) * v / top
        tops.append((x, y))
        start = x - font.getlength(n) / 2
        d.text((x, y1 + (h - y1) / 2), n, font=font, fill=(30, 30, 30), anchor="mm")
        for k, c in enumerate(n):
            chars.append((start + (font.getlength(n[:k]) + font.getlength(n[:k + 1])) / 2, y1 + (h - y1) / 2, c))
        if not line:
            half = pitch * 0.32
            d.rectangle([x - half, y, x + half, y1], fill=PALETTE[i % 7] if many else one)
    if line:
        d.line(tops, fill=one, width=int(rng.integers(2, 5)), joint="curve")
        for x, y in tops:
            d.ellipse([x - 5, y - 5, x + 5, y + 5], fill=one)
    if shown:
        for (x, y), v in zip(tops, values):
            d.text((x, y - 6), str(v), font=small, fill=(30, 30, 30), anchor="mb")
    return photo_finish(rng, np.asarray(img), 0.25, 4.0), tops, chars


def ask(rng, lang, names, values, top, kind):
    i = int(rng.integers(len(names)))
    if kind == "value":
        return Turn(pick(rng, VALUE[lang]).replace("{n}", names[i]), str(values[i]),
                    {"score": "number", "tolerance": max(2, top * 4 // 100)})
    if kind == "most":
        return Turn(pick(rng, MOST[lang]), names[int(np.argmax(values))], {"score": "choice", "choices": names})
    if kind == "least":
        return Turn(pick(rng, LEAST[lang]), names[int(np.argmin(values))], {"score": "choice", "choices": names})
    if kind == "trend":
        i = int(rng.integers(len(names) - 1))
        words = ["上升", "下降"] if lang == "zh" else ["rising", "falling"]
        q = pick(rng, TREND[lang]).replace("{a}", names[i]).replace("{b}", names[i + 1])
        return Turn(q, words[values[i + 1] < values[i]], {"score": "choice", "choices": words})
    colon = "：" if lang == "zh" else ": "
    text = "\n".join(n + colon + str(v) for n, v in zip(names, values))
    if kind == "list":
        return Turn(pick(rng, LIST[lang]), text, {"score": "exact"})
    most = rng.random() < 0.5
    q, f = (MOST, np.argmax) if most else (LEAST, np.argmin)
    return Turn(pick(rng, q[lang]), names[int(f(values))], {"score": "choice", "choices": names}, text)


def make(rng, size, kinds=None, lang=None, thinking=None):
    h, w = size
    lang = lang or pick(rng, ["en", "zh"])
    names = list(pick(rng, LABELS))
    n = int(rng.integers(3, len(names) + 1))
    start = int(rng.integers(len(names) - n + 1))
    names, top = names[start:start + n], pick(rng, [50, 100])
    while True:   # distinct enough that the extremes and trends are visible
        values = [int(v) for v in rng.integers(top * 3 // 100, top + 1, n)]
        order = sorted(values)
        gaps = [abs(a - b) for a, b in zip(values, values[1:])]
        if min(order[1] - order[0], order[-1] - order[-2]) >= top * 3 // 100 and min(gaps) >= top * 3 // 100:
            break
    line = rng.random() < 0.4
    img, tops, chars = paint(rng, h, w, names, values, top, line)
    if kinds is None:
        if (rng.random() < 0.1) if thinking is None else thinking:
            kinds = ["think"]
        else:
            kinds = [pick(rng, ["value", "value", "value", "most", "least", "trend", "list"]) for _ in range(int(rng.integers(1, 5)))]
    turns = [ask(rng, lang, names, values, top, k) for k in kinds]
    marks = [(0, x, y, CLS_POINT if line else CLS_BAR, None, v) for (x, y), v in zip(tops, values)]
    return Sample("chart", lang, [img], turns, marks=marks, chars=[(0, x, y, c) for x, y, c in chars if len(names)])

"""Text lines on rendered labels: read all, read one field."""
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from . import fonts, words
from .common import Sample, Turn, photo_finish, pick, smooth_field

READ = {"en": ["Read the text.", "What does the label say?", "What is written here?", "Read all the text in the picture.",
               "OCR this image.", "Transcribe the text."],
        "zh": ["读出文字。", "图中写了什么？", "请读出图片中的文字。", "识别文字。", "标签上写的是什么？", "请识别图中的所有文字。"]}
FIELD = {"en": ["What is the {f}?", "Read the value of {f}.", "{f}?"], "zh": ["{f}是什么？", "读出{f}。", "{f}是多少？"]}
# (height, width, lines)
SIZES = [(64, 512, 1), (128, 384, 2), (192, 384, 3), (256, 384, 4)]


def paint(rng, h, w, texts):
    """Draws the lines; returns uint8 [h,w,3] and the centre of every visible character [(x, y, char)]."""
    dark = rng.random() < 0.75
    paper = rng.uniform(175, 255, 3) if dark else rng.uniform(0, 90, 3)
    if rng.random() < 0.6:
        paper[:] = paper.mean() + rng.normal(0, 8, 3)
    ink = rng.uniform(0, 80, 3) if dark else rng.uniform(180, 255, 3)
    if rng.random() < 0.3:
        ink[int(rng.integers(3))] = 150 if dark else 140
    back = smooth_field(rng, h, w, int(rng.integers(2, 6)), rng.uniform(0.85, 1), 1.0)[..., None] * paper
    img = Image.fromarray(np.clip(back, 0, 255).astype(np.uint8))
    d = ImageDraw.Draw(img)
    if rng.random() < 0.25:
        d.rectangle([3, 3, w - 4, h - 4], outline=tuple(int(v) for v in ink), width=int(rng.integers(1, 4)))
    row = h / len(texts)
    which_latin, which_cjk = int(rng.integers(len(fonts.LATIN))), int(rng.integers(len(fonts.CJK)))
    scale, chars = rng.uniform(0.42, 0.72), []
    left = rng.uniform(0.02, 0.12) * w
    for i, text in enumerate(texts):
        size = int(min(row * scale, 44))
        wide = any(ord(c) > 255 for c in text)
        while True:
            font = fonts.cjk(which_cjk, size) if wide else fonts.latin(which_latin, size)
            length = font.getlength(text)
            if length < w * 0.96 - left or size <= 15:
                break
            size -= 2
        x = left if len(texts) > 1 else rng.uniform(0.02 * w, max(w * 0.98 - length, 0.02 * w + 1))
        x = min(x, max(w - length - 4, 2))
        y = row * (i + 0.5) + rng.normal(0, 0.03) * row
        d.text((x, y), text, font=font, fill=tuple(int(v) for v in ink), anchor="lm")
        for k, c in enumerate(text):
            if c != " ":
                chars.append((x + (font.getlength(text[:k]) + font.getlength(text[:k + 1])) / 2, y, c))
    angle = rng.normal(0, 0.012)
    if abs(angle) > 0.004:
        c, s = np.cos(angle), np.sin(angle)
        coeff = (c, s, w / 2 - c * w / 2 - s * h / 2, -s, c, h / 2 + s * w / 2 - c * h / 2)
        fill = tuple(int(v) for v in paper)
        img = img.transform((w, h), Image.AFFINE, coeff, Image.BILINEAR, fillcolor=fill)
        chars = [(w / 2 + c * (x - w / 2) - s * (y - h / 2), h / 2 + s * (x - w / 2) + c * (y - h / 2), t) for x, y, t in chars]
    if rng.random() < 0.4:
        img = img.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9)))
    return photo_finish(rng, np.asarray(img), 0.7, 9.0), chars


def make(rng, size, kinds=None, lang=None):
    """size is one of SIZES."""
    h, w, n = size
    lang = lang or pick(rng, ["en", "zh"])
    longest = 24 if w > 400 else 20
    n = int(rng.integers(max(1, n - 1), n + 1))
    field = kinds == ["field"] or (kinds is None and n > 1 and rng.random() < 0.35)
    if field:
        colon = "：" if lang == "zh" and rng.random() < 0.7 else ": "
        names = list(rng.permutation(words.FIELDS[lang])[:n])
        values = []
        for name in names:
            v = words.value(rng, "en")
            values.append(v if len(v) <= 11 else words.code(rng))
        texts = [f + colon + v for f, v in zip(names, values)]
    else:
        texts = [words.line(rng, lang, longest) for _ in range(n)]
    img, chars = paint(rng, h, w, texts)
    turns = []
    if not field or rng.random() < 0.5 and kinds is None:
        turns.append(Turn(pick(rng, READ[lang]), "\n".join(texts), {"score": "cer"}))
    if field:
        for k in rng.permutation(n)[:1 if kinds else 2]:
            turns.append(Turn(pick(rng, FIELD[lang]).replace("{f}", names[k]), values[k], {"score": "exact"}))
    return Sample("ocr", lang, [img], turns, chars=[(0, x, y, c) for x, y, c in chars])

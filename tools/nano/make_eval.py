"""Writes the held-out items: python3 make_eval.py OUT_DIR SHARED_DATA. Seeds are never used in training."""
import json
import pathlib
import sys

import numpy as np
from PIL import Image

from vl8nano import charts, clips, ocr, pcb, screws, shapes

HELD_OUT = 0x51D0  # first word of every seed here; training seeds start with small numbers


class Writer:
    def __init__(self, out):
        self.out, self.rows = pathlib.Path(out), []
        (self.out / "images").mkdir(parents=True, exist_ok=True)

    def save(self, name, array, lossless):
        path = f"images/{name}.{'png' if lossless else 'jpg'}"
        img = Image.fromarray(array)
        if lossless:
            img.convert("1", dither=Image.NONE).save(self.out / path, optimize=True)
        else:
            img.save(self.out / path, quality=72, optimize=True)
        return path

    def add(self, sample, number, lossless=False):
        name = f"{sample.task}-{number:03d}"
        turn = sample.turns[0]
        row = {"id": name, "task": sample.task, "lang": sample.lang}
        paths = [self.save(f"{name}-{k}" if len(sample.images) > 1 else name, im, lossless) for k, im in enumerate(sample.images)]
        if sample.fps is not None:
            row["video"] = {"frames": paths, "fps": sample.fps}
        else:
            row["images"] = paths
        row.update(question=turn.question, thinking=turn.think is not None, answer=turn.answer, **turn.score)
        self.rows.append(row)


def rng_of(*words):
    return np.random.default_rng([HELD_OUT, *words])


def synthetic(out):
    w = Writer(out)
    sizes = [(448, 544), (352, 352), (480, 480), (352, 352)]
    kinds = ["which", "one", "count", "boxes", "think", "which"]
    for i in range(60):
        r = rng_of(1, i)
        kind = kinds[i % 6]
        w.add(screws.make(r, sizes[i // 6 % 4] if i % 6 else (480, 480), None, [kind], "zh" if i % 2 else "en", kind == "think"), i)
    for i in range(60):
        r = rng_of(2, i)
        colour = bool(i // 2 % 2)
        w.add(pcb.make_drawn(r, 448, False, ["find"] if i % 5 else ["count"], "zh" if i % 2 else "en", colour), i, not colour)
    for i in range(30):
        r = rng_of(3, i)
        colour = bool(i // 2 % 2)
        w.add(pcb.make_drawn(r, 448, True, ["find"], "zh" if i % 2 else "en", colour), i, not colour)
    for i in range(72):
        r = rng_of(4, i)
        n = i // 2 % 4
        w.add(ocr.make(r, ocr.SIZES[n], ["field"] if n and i % 3 == 0 else ["read"], "zh" if i % 2 else "en"), i)
    for i in range(64):
        r = rng_of(5, i)
        kind = ["value", "most", "least", "value", "trend", "think", "value", "most"][i % 8]
        w.add(charts.make(r, (320, 448), [kind], "zh" if i // 8 % 2 else "en", kind == "think"), i)
    for i in range(64):
        r = rng_of(6, i)
        kind = ["all", "some", "where", "more", "name", "think", "where", "some"][i % 8]
        w.add(shapes.make(r, [(256, 256), (320, 320)][i % 2], [kind], "zh" if i // 8 % 2 else "en", kind == "think"), i)
    for i in range(60):
        r = rng_of(7, i)
        kind = ["when", "when", "before", "when", "end", "think"][i % 6]
        w.add(clips.make(r, 160, [4, 6, 8, 12][i // 6 % 4], [kind], "zh" if i // 2 % 2 else "en", kind == "think"), i)
    return w.rows


def photos(root):
    """Questions about the held-out photographs; pictures stay where they are."""
    rows = []
    for n, (img, _, row) in enumerate(screws.load_photos(pathlib.Path(root) / "screws", True)):
        places = [(p["bbox"], p["state"]) for p in row["positions"]]
        asks = [("which", None)] + [("one", i) for i in range(4)] + [("count", None), ("boxes", None)]
        for k, (kind, at) in enumerate(asks):
            lang = "zh" if (n + k) % 2 else "en"
            r = rng_of(8, n, k)
            turn = screws.ask(r, lang, places, (2, 2), row["width"], row["height"], kind)
            if at is not None:   # every position once, not a random one
                turn = _one(r, lang, places, at)
            rows.append({"id": f"screws-photo-{n:02d}-{k}", "task": "screws-photo", "lang": lang, "images": ["screws/" + row["image"]],
                         "question": turn.question, "thinking": False, "answer": turn.answer, **turn.score})
    return rows


def _one(r, lang, places, at):
    while True:
        turn = screws.ask(r, lang, places, (2, 2), 1, 1, "one")
        name = screws.NAMES[2, 2][lang == "zh"][at]
        if name in turn.question.lower():
            return turn


def boards(root):
    rows = []
    lines = (pathlib.Path(root) / "deeppcb" / "test.jsonl").read_text().splitlines()
    for n, line in enumerate(lines):
        d = json.loads(line)
        defects = [(x["bbox"], x["label"]) for x in d["defects"]]
        for two in (False, True):
            lang = "zh" if n % 2 else "en"
            turn = pcb.ask(rng_of(9, n, two), lang, defects, 640, "find", two)
            names = ([d["template"]] if two else []) + [d["test"]]
            rows.append({"id": f"deeppcb{2 if two else ''}-{n:03d}", "task": "deeppcb2" if two else "deeppcb", "lang": lang,
                         "images": ["deeppcb/" + x for x in names], "question": turn.question, "thinking": False,
                         "answer": turn.answer, **turn.score})
    return rows


def smallest(out):
    """The three inputs of the golden cases: small pictures, so that the files stay small."""
    w = Writer(out)
    w.add(shapes.make(rng_of(10, 1), (96, 128), ["list"], "en"), 900)
    w.add(pcb.make_drawn(rng_of(10, 2), 128, True, ["find"], "zh", True), 900)
    w.add(clips.make(rng_of(10, 3), 64, 4, ["when"], "en"), 900)
    for name, row in zip(("image", "two-images", "video"), w.rows):
        row["id"] = name
    return w.rows


def main():
    out, shared = sys.argv[1:]
    for name, rows in (("golden", smallest(out)), ("items", synthetic(out)), ("items-screws", photos(shared)), ("items-deeppcb", boards(shared))):
        text = "\n".join(json.dumps(r, ensure_ascii=False) for r in rows) + "\n"
        (pathlib.Path(out) / f"{name}.jsonl").write_text(text, encoding="utf-8")
        print(name, len(rows))


if __name__ == "__main__":
    main()

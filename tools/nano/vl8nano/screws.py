"""Screw inspection: photographs of shared/data/screws (augmented) and rendered blocks; questions about them."""
import json
import pathlib

import numpy as np
from PIL import Image, ImageFilter

from .common import CLS_SCREW, SCREW, Sample, Turn, box_json, join_list, norm_box, photo_finish, pick, raster
from .wood import block

NAMES = {
    (2, 2): (["top left", "top right", "bottom left", "bottom right"], ["左上", "右上", "左下", "右下"]),
    (2, 3): (["top left", "top middle", "top right", "bottom left", "bottom middle", "bottom right"],
             ["左上", "中上", "右上", "左下", "中下", "右下"]),
}
WHICH = {"en": ["Which screw is missing?", "Which screws are missing?", "Where is a screw missing?",
                "Is any screw missing? Say which.", "Name the empty positions.", "Check the block: which screw is missing?",
                "Which positions have no screw?"],
         "zh": ["哪颗螺丝缺失?", "哪颗螺丝缺失？", "哪些螺丝缺失？", "哪里少了螺丝？", "缺了哪颗螺丝？", "请指出缺失螺丝的位置。",
                "检查一下，哪个位置没有螺丝？", "哪个螺丝不见了？", "图中缺少哪颗螺丝？"]}
ONE = {"en": ["Is there a screw at the {p}?", "Is the {p} screw present?", "{P}: screw or missing?",
              "What is the state of the {p} position?", "Check the {p} screw."],
       "zh": ["{p}的螺丝在吗？", "{p}位置有螺丝吗？", "{p}的螺丝状态是什么？", "检查{p}的螺丝。", "{p}是否缺螺丝？"]}
COUNT = {"missing": {"en": ["How many screws are missing?", "Count the missing screws.", "How many positions are empty?"],
                     "zh": ["缺几颗螺丝？", "缺失螺丝的数量是多少？", "有几个位置没有螺丝？", "少了几颗螺丝？"]},
         "screw": {"en": ["How many screws are there?", "Count the screws.", "How many screws are present?"],
                   "zh": ["有几颗螺丝？", "图中有多少颗螺丝？", "螺丝的数量是多少？"]}}
BOXES = {"missing": {"en": ["Locate every missing screw and give the boxes as JSON.", "Mark the missing screws as JSON boxes.",
                            "Where are the missing screws? Answer with JSON boxes.", "Detect the missing screws, output JSON.",
                            "Which screw is missing and where? Answer as JSON."],
                     "zh": ["用JSON给出所有缺失螺丝的位置框。", "请框出缺失的螺丝，输出JSON。", "定位缺失的螺丝，以JSON格式回答。",
                            "哪颗螺丝缺失？用JSON框标出。"]},
         "screw": {"en": ["Locate every screw as JSON boxes.", "Detect all screws, output JSON.", "Give the boxes of the screws as JSON."],
                   "zh": ["用JSON给出所有螺丝的位置框。", "请框出所有螺丝，输出JSON。"]}}
STATES = {"en": ["Give the state of every position as JSON.", "List the state of each position as JSON."],
          "zh": ["用JSON给出每个位置的状态。", "以JSON列出每个位置的螺丝状态。"]}
DESCRIBE = {"en": ["Describe the picture.", "What do you see?", "Describe this image."],
            "zh": ["描述这张图片。", "你看到了什么？", "请描述图片内容。"]}
LABEL = {"missing": "missing screw", "screw": "screw"}


def centre(img, place):
    """Where in its loose labelled region the screw (bluer than wood) or the hole (darkest) lies; checked by eye on all 70."""
    x1, y1, x2, y2 = place["bbox"]
    x1, y1, x2, y2 = max(x1 - 20, 0), max(y1 - 20, 0), min(x2 + 20, img.width), min(y2 + 20, img.height)
    region = img.crop((x1, y1, x2, y2))
    rgb = np.asarray(region, np.float32)
    if place["state"] == "missing":
        value = rgb.max(-1)
        score, blur = np.median(value) - value, 7
    else:
        cold = rgb[..., 2] - rgb[..., 0]
        score, blur = 1.5 * (cold - np.median(cold)), 26
    score = Image.fromarray(np.clip(score, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(blur))
    h, w = rgb.shape[:2]
    y, x = np.mgrid[0:h, 0:w]
    near = np.exp(-(((x - w / 2) / (0.42 * w)) ** 2 + ((y - h / 2) / (0.42 * h)) ** 2))
    k = int((np.asarray(score, np.float32) * near).argmax())
    return x1 + k % w, y1 + k // w


def load_photos(root, held_out):
    """Photographs with padded (reflected) borders: [(PIL image, pad, row)]. Every fourth photo is held out."""
    out = []
    rows = [json.loads(x) for x in (pathlib.Path(root) / "labels.jsonl").read_text().splitlines()]
    for k, row in enumerate(rows):
        if (k % 4 == 3) != held_out:
            continue
        img = Image.open(pathlib.Path(root) / row["image"]).convert("RGB")
        row["centres"] = [centre(img, p) for p in row["positions"]]
        img = np.asarray(img)
        pad = 0 if held_out else 280
        if pad:
            img = np.pad(img, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
        out.append((Image.fromarray(img), pad, row))
    return out


def augment(rng, photo, h, w):
    """Random rotation, scale, shift and mirroring of a photograph -> image [h,w,3], [(pixel box, state)] in row order."""
    img, pad, row = photo
    centres = np.array(row["centres"], np.float64)
    while True:
        a = rng.normal(0, 0.15) + (pick(rng, [np.pi / 2, np.pi, -np.pi / 2]) if rng.random() < 0.25 else 0)
        s = float(np.exp(rng.normal(0, 0.12))) * max(row["height"] / h, row["width"] / w) * 0.98
        flip = -1.0 if rng.random() < 0.4 else 1.0
        c, n = np.cos(a) * s, np.sin(a) * s
        m = np.array([[c * flip, -n], [n * flip, c]])            # output offset -> source offset
        mid = centres.mean(0) + rng.normal(0, 30, 2)
        t = mid - m @ np.array([w / 2, h / 2])
        out = (np.linalg.inv(m) @ (centres - t).T).T
        side = 256 * 0.72 / s / 2
        if (out > 0.12 * side).all() and (out[:, 0] < w - 0.12 * side).all() and (out[:, 1] < h - 0.12 * side).all():
            break
    coeff = (m[0, 0], m[0, 1], t[0] + pad, m[1, 0], m[1, 1], t[1] + pad)
    pixels = np.asarray(img.transform((w, h), Image.AFFINE, coeff, Image.BILINEAR))
    order = sorted(range(4), key=lambda i: out[i, 1])
    order = sorted(order[:2], key=lambda i: out[i, 0]) + sorted(order[2:], key=lambda i: out[i, 0])
    places = []
    for i in order:
        cx, cy = out[i]
        box = [max(cx - side, 0), max(cy - side, 0), min(cx + side, w), min(cy + side, h)]
        places.append((box, row["positions"][i]["state"]))
    return photo_finish(rng, pixels, 1.6), places


def ask(rng, lang, places, grid, w, h, kind):
    """One turn of the given kind about a block."""
    names = NAMES[grid][lang == "zh"]
    states = [s for _, s in places]
    gone = [n for n, s in zip(names, states) if s == "missing"]
    none = "没有缺失" if lang == "zh" else "none"
    said = join_list(gone, lang) if gone else none
    if kind == "which":
        return Turn(pick(rng, WHICH[lang]), said, {"score": "exact"})
    if kind == "one":
        i = int(rng.integers(len(names)))
        q = pick(rng, ONE[lang]).replace("{p}", names[i]).replace("{P}", names[i].capitalize())
        words = ("在", "缺失") if lang == "zh" else ("screw", "missing")
        return Turn(q, words[states[i] == "missing"], {"score": "choice", "choices": list(words)})
    if kind == "count":
        what = pick(rng, SCREW)
        return Turn(pick(rng, COUNT[what][lang]), str(states.count(what)), {"score": "count"})
    if kind == "boxes":
        what = "missing" if rng.random() < 0.75 else "screw"
        items = raster([p for p in places if p[1] == what], w, h)
        answer = box_json([(norm_box(b, w, h), LABEL[s]) for b, s in items])
        return Turn(pick(rng, BOXES[what][lang]), answer, {"score": "box_f1", "iou": 0.33})
    if kind == "states":
        answer = json.dumps(dict(zip(names, states)), ensure_ascii=False, separators=(",", ":"))
        return Turn(pick(rng, STATES[lang]), answer, {"score": "exact"})
    if kind == "describe":
        if lang == "zh":
            text = f"一块木板，有{len(names)}个螺丝位置。" + (f"缺失的螺丝：{said}。" if gone else "螺丝齐全。")
        else:
            text = f"A wooden block with {len(names)} screw positions. " + (f"Missing: {said}." if gone else "All screws are there.")
        return Turn(pick(rng, DESCRIBE[lang]), text, {"score": "exact"})
    colon = "：" if lang == "zh" else ": "
    words = {"screw": "有", "missing": "缺"} if lang == "zh" else {"screw": "screw", "missing": "missing"}
    think = "\n".join(n + colon + words[s] for n, s in zip(names, states))
    return Turn(pick(rng, WHICH[lang]), said, {"score": "exact"}, think)


def make(rng, size, photos=None, kinds=None, lang=None, thinking=None):
    """A sample of size (h, w): from photos when given, else rendered."""
    h, w = size
    lang = lang or pick(rng, ["en", "zh"])
    if photos:
        grid = (2, 2)
        img, places = augment(rng, pick(rng, photos), h, w)
    else:
        grid = (2, 3) if w >= h and rng.random() < 0.3 else (2, 2)
        n = grid[0] * grid[1]
        p = pick(rng, [0.5, 0.75, 1.0, 0.9])
        present = rng.random(n) < p
        if rng.random() < 0.35:
            present[:] = True
            present[int(rng.integers(n))] = False
        img, places = block(rng, h, w, *grid, present)
        img = photo_finish(rng, img)
    return compose(rng, "screws", lang, img, places, grid, kinds, thinking)


def compose(rng, task, lang, img, places, grid, kinds=None, thinking=None):
    h, w = img.shape[:2]
    if kinds is None:
        if (rng.random() < 0.1) if thinking is None else thinking:
            kinds = ["think"]
        else:
            menu = ["which", "which", "one", "one", "count", "boxes", "boxes", "states", "describe"]
            kinds = [pick(rng, menu) for _ in range(int(rng.integers(1, 4)))]
    turns = [ask(rng, lang, places, grid, w, h, k) for k in kinds]
    marks = [(0, (b[0] + b[2]) / 2, (b[1] + b[3]) / 2, CLS_SCREW + SCREW.index(s), norm_box(b, w, h), None) for b, s in places]
    return Sample(task, lang, [img], turns, marks=marks)

"""Circuit boards: DeepPCB pairs (augmented), synthetic defects on any clean board, rendered boards; questions.

Boards are uint8 [H,W], copper 0 and ground 255, like the thresholded DeepPCB pictures; render_colour makes the
green photo-like form of one.
"""
import json
import pathlib

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .common import CLS_PCB, PCB, Sample, Turn, box_json, join_list, norm_box, photo_finish, pick, raster, smooth_field

FIND = {"en": ["Find the defects on this board, answer as JSON boxes.", "Detect all defects, output JSON.",
               "Inspect the circuit board and give the defects as JSON.", "Locate every defect on the board as JSON.",
               "Mark the board defects as JSON boxes."],
        "zh": ["找出电路板上的缺陷，输出JSON。", "检测所有缺陷，以JSON格式回答。", "请用JSON框出电路板的缺陷。",
               "这块电路板有哪些缺陷？用JSON给出位置框。", "定位电路板缺陷，输出JSON。"]}
COMPARE = {"en": ["The first picture is the template, the second the tested board. Find the defects in the second, as JSON.",
                  "Compare the board with the template and give the defects as JSON.",
                  "Picture 1 is the good board. Which defects has picture 2? Answer as JSON boxes.",
                  "Find the differences to the template, as JSON boxes."],
           "zh": ["第一张是模板，第二张是待测板。找出第二张的缺陷，输出JSON。", "与模板对比，用JSON给出缺陷。",
                  "图1是合格板，图2有哪些缺陷？用JSON框回答。", "对照模板检测缺陷，输出JSON。"]}
COUNT = {"en": ["How many defects are on the board?", "Count the defects."], "zh": ["电路板上有几处缺陷？", "缺陷有多少个？"]}
KINDS = {"en": ["Which kinds of defect are on the board?", "Name the defect kinds."], "zh": ["有哪些类型的缺陷？", "缺陷种类有哪些？"]}
GOOD = {"en": ["Is the board good?", "Does the board pass inspection?"], "zh": ["这块板合格吗？", "电路板是否合格？"]}
MAX_DEFECTS = 12


def load_boards(root, split):
    """[(template, tested, [(pixel box, label)])] of DeepPCB, pictures as uint8 [640,640]."""
    root, out = pathlib.Path(root), []
    for line in (root / f"{split}.jsonl").read_text().splitlines():
        row = json.loads(line)
        pair = [np.asarray(Image.open(root / row[k]).convert("L")) for k in ("template", "test")]
        out.append((pair[0], pair[1], [(d["bbox"], d["label"]) for d in row["defects"]]))
    return out


def turn_board(arrays, defects, k, mirror, side):
    """One of the eight symmetries of the square, for pictures and boxes alike."""
    out = []
    for a in arrays:
        a = a[:, ::-1] if mirror else a
        out.append(np.rot90(a, k))
    boxes = []
    for (x1, y1, x2, y2), label in defects:
        if mirror:
            x1, x2 = side - x2, side - x1
        for _ in range(k):
            x1, y1, x2, y2 = y1, side - x2, y2, side - x1
        boxes.append(([x1, y1, x2, y2], label))
    return out, boxes


def window(arrays, defects, x0, y0, size):
    """Crop to a square; defects less than 60 % inside are dropped, the rest clipped."""
    out = [np.ascontiguousarray(a[y0:y0 + size, x0:x0 + size]) for a in arrays]
    boxes = []
    for (x1, y1, x2, y2), label in defects:
        b = [max(x1 - x0, 0), max(y1 - y0, 0), min(x2 - x0, size), min(y2 - y0, size)]
        if b[2] > b[0] and b[3] > b[1] and (b[2] - b[0]) * (b[3] - b[1]) > 0.6 * (x2 - x1) * (y2 - y1):
            boxes.append((b, label))
    return out, boxes


def shift(rng, arrays, defects, reach):
    """Rolls by up to reach pixels; defects that would be cut by the seam are moved only if they stay whole."""
    side = arrays[0].shape[0]
    for _ in range(8):
        dx, dy = (int(v) for v in rng.integers(-reach, reach + 1, 2))
        boxes = [([b[0] + dx, b[1] + dy, b[2] + dx, b[3] + dy], l) for b, l in defects]
        if all(b[0] >= 0 and b[1] >= 0 and b[2] <= side and b[3] <= side for b, _ in boxes):
            return [np.roll(a, (dy, dx), (0, 1)) for a in arrays], boxes
    return arrays, defects


def _blob(rng, r):
    """Irregular filled shape as a bool patch of side 2m+1 around its centre."""
    m = int(r * 1.5) + 1
    y, x = np.mgrid[-m:m + 1, -m:m + 1].astype(np.float32)
    a, e = rng.uniform(0, np.pi), rng.uniform(0.6, 1.0)
    u, v = x * np.cos(a) + y * np.sin(a), (-x * np.sin(a) + y * np.cos(a)) / e
    th = np.arctan2(v, u)
    edge = r * (1 + 0.18 * np.sin(2 * th + rng.uniform(0, 6.3)) + 0.15 * np.sin(3 * th + rng.uniform(0, 6.3))
                + 0.1 * np.sin(5 * th + rng.uniform(0, 6.3)))
    return np.hypot(u, v) <= edge


def _stamp(board, patch, cx, cy, value):
    """Writes value where patch is true; returns the pixel box of the pixels that changed, or None."""
    h, w = board.shape
    m = patch.shape[0] // 2
    x0, y0, x1, y1 = max(cx - m, 0), max(cy - m, 0), min(cx + m + 1, w), min(cy + m + 1, h)
    if x1 <= x0 or y1 <= y0:
        return None
    p = patch[y0 - cy + m:y1 - cy + m, x0 - cx + m:x1 - cx + m]
    view = board[y0:y1, x0:x1]
    diff = p & (view != value)
    if diff.sum() < 12:
        return None
    view[p] = value
    ys, xs = np.nonzero(diff)
    return [x0 + int(xs.min()), y0 + int(ys.min()), x0 + int(xs.max()) + 1, y0 + int(ys.max()) + 1]


def _walk(board, x, y, dx, dy, value, limit):
    """Steps until the board has the value; the distance, or None."""
    h, w = board.shape
    for k in range(1, limit):
        px, py = int(round(x + dx * k)), int(round(y + dy * k))
        if not (0 <= px < w and 0 <= py < h):
            return None
        if board[py, px] == value:
            return k
    return None


def _bar(rng, length, width, dx, dy):
    m = int(length / 2 + width) + 2
    y, x = np.mgrid[-m:m + 1, -m:m + 1].astype(np.float32)
    u, v = x * dx + y * dy, -x * dy + y * dx
    wob = width / 2 * (1 + 0.3 * np.sin(u * 0.5 + rng.uniform(0, 6.3)))
    return (abs(u) <= length / 2) & (abs(v) <= wob)


def add_defect(rng, board, kind):
    """Draws a defect of the kind into the board at a random fitting place; its pixel box or None."""
    h, w = board.shape
    if kind in ("copper", "pin-hole"):
        want, r = (255, rng.uniform(5, 12)) if kind == "copper" else (0, rng.uniform(3.5, 7))
        for _ in range(30):
            m = int(r * 1.5) + 3
            cx, cy = int(rng.integers(m, w - m)), int(rng.integers(m, h - m))
            if (board[cy - m:cy + m + 1, cx - m:cx + m + 1] == want).all():
                return _stamp(board, _blob(rng, r), cx, cy, 255 - want)
        return None
    for _ in range(30):
        cy, cx = int(rng.integers(24, h - 24)), 0
        line = board[cy, 24:w - 24] if rng.random() < 0.5 else None
        if line is None:
            cx = int(rng.integers(24, w - 24))
            steps = np.flatnonzero(np.diff(board[24:h - 24, cx].astype(np.int16)))
            if not len(steps):
                continue
            cy = 24 + int(pick(rng, steps))
        else:
            steps = np.flatnonzero(np.diff(line.astype(np.int16)))
            if not len(steps):
                continue
            cx = 24 + int(pick(rng, steps))
        local = (board[cy - 8:cy + 9, cx - 8:cx + 9] == 0).astype(np.float32)
        yy, xx = np.mgrid[-8:9, -8:9]
        nx, ny = -(local * xx).sum(), -(local * yy).sum()        # points away from copper
        n = np.hypot(nx, ny)
        if n < 60:
            continue
        nx, ny = nx / n, ny / n
        if kind == "mousebite":
            r = rng.uniform(5, 9)
            wide = _walk(board, cx - 2 * nx, cy - 2 * ny, -nx, -ny, 255, 60) or 60
            if wide < r * 1.6:
                continue
            box = _stamp(board, _blob(rng, r), int(round(cx - nx * r * 0.2)), int(round(cy - ny * r * 0.2)), 255)
        elif kind == "spur":
            r = rng.uniform(5, 9)
            free = _walk(board, cx + 2 * nx, cy + 2 * ny, nx, ny, 0, 60) or 60
            if free < r * 1.8:
                continue
            box = _stamp(board, _blob(rng, r), int(round(cx + nx * r * 0.4)), int(round(cy + ny * r * 0.4)), 0)
        elif kind == "open":
            wide = _walk(board, cx - 2 * nx, cy - 2 * ny, -nx, -ny, 255, 44)
            if wide is None:
                continue
            patch = _bar(rng, wide + 7, rng.uniform(5, 13), nx, ny)
            box = _stamp(board, patch, int(round(cx - nx * (wide / 2 + 1))), int(round(cy - ny * (wide / 2 + 1))), 255)
        else:
            free = _walk(board, cx + 2 * nx, cy + 2 * ny, nx, ny, 0, 44)
            if free is None:
                continue
            patch = _bar(rng, free + 6, rng.uniform(4, 12), nx, ny)
            box = _stamp(board, patch, int(round(cx + nx * (free / 2 + 1))), int(round(cy + ny * (free / 2 + 1))), 0)
        if box:
            return box
    return None


def spoil(rng, clean, count):
    """A copy of a clean board with count synthetic defects that keep a distance: (board, [(pixel box, label)])."""
    board, defects = clean.copy(), []
    for _ in range(count):
        trial = board.copy()
        kind = pick(rng, PCB)
        box = add_defect(rng, trial, kind)
        if box is None:
            continue
        pad = rng.uniform(3, 9)
        h, w = board.shape
        box = [max(box[0] - pad, 0), max(box[1] - pad, 0), min(box[2] + pad, w), min(box[3] + pad, h)]
        if all(box[2] < b[0] or b[2] < box[0] or box[3] < b[1] or b[3] < box[1] for b, _ in defects):
            board, defects = trial, defects + [(box, kind)]
    return board, defects


def draw_board(rng, side):
    """A clean rendered board: bundles of traces with bends, pads with holes, component rows, copper areas."""
    img = Image.new("L", (side, side), 255)
    d = ImageDraw.Draw(img)
    unit = int(rng.integers(9, 17))
    for _ in range(int(rng.integers(3, 6))):                      # bundles
        n, pitch = int(rng.integers(1, 6)), int(unit * rng.uniform(2.0, 3.2))
        x, y, turned = rng.uniform(-0.1, 0.9) * side, rng.uniform(0, 0.9) * side, rng.random() < 0.5
        run = [rng.uniform(0.1, 0.5) * side for _ in range(3)]
        jog = rng.uniform(-0.25, 0.25) * side
        for i in range(n):
            o = i * pitch
            pts = [(x, y + o), (x + run[0] - o * np.sign(jog) * 0.41, y + o), (x + run[0] + abs(jog) - o * np.sign(jog) * 0.41, y + o + jog),
                   (x + run[0] + abs(jog) + run[1], y + o + jog)]
            if turned:
                pts = [(b, a) for a, b in pts]
            d.line(pts, fill=0, width=unit, joint="curve")
            for p in (pts[0], pts[-1]):
                r = unit * 1.1
                if rng.random() < 0.7 and pitch > 2.4 * unit:
                    d.ellipse([p[0] - r, p[1] - r, p[0] + r, p[1] + r], fill=0)
                    d.ellipse([p[0] - r * 0.4, p[1] - r * 0.4, p[0] + r * 0.4, p[1] + r * 0.4], fill=255)
    for _ in range(int(rng.integers(1, 4))):                      # rows of pads
        x, y, turned = rng.uniform(0.05, 0.8) * side, rng.uniform(0.05, 0.8) * side, rng.random() < 0.5
        n, pw, ph = int(rng.integers(3, 9)), unit * rng.uniform(0.9, 1.4), unit * rng.uniform(2, 4.5)
        clear = [x - unit, y - unit, x + n * pw * 2 + unit, y + ph + unit]
        d.rectangle([clear[1], clear[0], clear[3], clear[2]] if turned else clear, fill=255)
        for i in range(n):
            b = [x + i * pw * 2, y, x + i * pw * 2 + pw, y + ph]
            d.rounded_rectangle([b[1], b[0], b[3], b[2]] if turned else b, radius=int(pw * 0.4), fill=0)
    if rng.random() < 0.6:                                        # a copper area
        x, y = rng.uniform(-0.1, 0.8, 2) * side
        a, b = rng.uniform(0.12, 0.35, 2) * side
        d.rectangle([x - unit, y - unit, x + a + unit, y + b + unit], fill=255)
        d.rounded_rectangle([x, y, x + a, y + b], radius=unit, fill=0)
        r = unit * 0.6
        for _ in range(int(rng.integers(0, 5))):
            px, py = x + rng.uniform(0.15, 0.85) * a, y + rng.uniform(0.15, 0.85) * b
            d.ellipse([px - r, py - r, px + r, py + r], fill=255)
    return np.asarray(img.point(lambda v: 0 if v < 128 else 255))


def render_colour(rng, board, look):
    """Photo-like picture of a 1-bit board; look (a seed) fixes the materials so that a pair matches."""
    g = np.random.default_rng(look)
    h, w = board.shape
    mask = np.asarray(Image.fromarray(board).filter(ImageFilter.GaussianBlur(0.8)), np.float32)[..., None] / 255
    ground = np.array(pick(g, [(20, 80, 45), (25, 95, 60), (20, 60, 110), (120, 30, 35), (30, 35, 40)]), np.float32)
    copper = np.array(pick(g, [(200, 150, 70), (190, 130, 90), (120, 170, 90), (205, 205, 195)]), np.float32)
    img = copper * (1 - mask) + ground * mask
    relief = np.asarray(Image.fromarray(board).filter(ImageFilter.EMBOSS), np.float32)[..., None] - 128
    img = img + relief * 0.12
    img *= smooth_field(rng, h, w, 3, rng.uniform(0.75, 0.95), rng.uniform(1.0, 1.25))[..., None]
    return photo_finish(rng, np.clip(img, 0, 255).astype(np.uint8), 0.6, 5.0)


def ask(rng, lang, defects, side, kind, two):
    defects = raster(defects, side, side)
    items = [(norm_box(b, side, side), label) for b, label in defects]
    labels = [l for _, l in defects]
    if kind == "find":
        q = pick(rng, (COMPARE if two else FIND)[lang])
        return Turn(q, box_json(items), {"score": "box_f1", "iou": 0.33})
    if kind == "count":
        return Turn(pick(rng, COUNT[lang]), str(len(items)), {"score": "count"})
    if kind == "good":
        words = ["合格", "不合格"] if lang == "zh" else ["yes", "no"]
        return Turn(pick(rng, GOOD[lang]), words[bool(items)], {"score": "choice", "choices": words})
    seen = [k for k in PCB if k in labels]
    none = "没有缺陷" if lang == "zh" else "none"
    return Turn(pick(rng, KINDS[lang]), join_list(seen, lang) if seen else none, {"score": "exact"})


def compose(rng, task, lang, pictures, defects, side, kinds=None):
    two = len(pictures) == 2
    if kinds is None:
        kinds = ["find"]
        if rng.random() < 0.3:
            kinds.append(pick(rng, ["count", "kinds", "good"]))
        if rng.random() < 0.12:
            kinds = [pick(rng, ["count", "kinds", "good"])]
    turns = [ask(rng, lang, defects, side, k, two) for k in kinds]
    last = len(pictures) - 1
    marks = [(last, (b[0] + b[2]) / 2, (b[1] + b[3]) / 2, CLS_PCB + PCB.index(l), norm_box(b, side, side), None)
             for b, l in defects]
    return Sample(task, lang, pictures, turns, marks=marks)


def make_real(rng, boards, size, two, fake=0.25, kinds=None, lang=None):
    """From DeepPCB: size 640 whole boards, smaller sizes are crops. A share has synthetic defects on the template."""
    lang = lang or pick(rng, ["en", "zh"])
    template, tested, defects = pick(rng, boards)
    if rng.random() < fake:
        tested, defects = spoil(rng, template, int(rng.integers(0, 11)))
    pair, defects = turn_board([template, tested], defects, int(rng.integers(4)), rng.random() < 0.5, 640)
    if size < 640:
        x0, y0 = (int(v) for v in rng.integers(0, 640 - size + 1, 2))
        pair, defects = window(pair, defects, x0, y0, size)
    elif rng.random() < 0.85:
        pair, defects = shift(rng, pair, defects, 60)
    if two and rng.random() < 0.5:   # boards never lie exactly alike
        pair[0] = np.roll(pair[0], tuple(int(v) for v in rng.integers(-3, 4, 2)), (0, 1))
    pictures = pair if two else pair[1:]
    return compose(rng, "deeppcb2" if two else "deeppcb", lang, pictures, defects[:MAX_DEFECTS], size, kinds)


def make_drawn(rng, size, two, kinds=None, lang=None, colour=None):
    """Rendered boards with synthetic defects."""
    lang = lang or pick(rng, ["en", "zh"])
    template = draw_board(rng, size)
    top = max(2, int(8 * size / 640))
    tested, defects = spoil(rng, template, int(rng.integers(0, top + 1)))
    pictures = [template, tested] if two else [tested]
    if (rng.random() < 0.6) if colour is None else colour:
        look = int(rng.integers(1 << 30))
        pictures = [render_colour(rng, p, look) for p in pictures]
    else:
        pictures = [np.repeat(p[..., None], 3, -1) for p in pictures]
    return compose(rng, "pcb2" if two else "pcb", lang, pictures, defects, size, kinds)

"""Greedy decoding of many prompts of one picture size, and the scores of vl8 eval."""
import json
import re

import numpy as np
import torch

from .pixels import rows


@torch.no_grad()
def generate(model, builder, prompts, pixels, video, limit, device, dtype=torch.float32):
    """prompts: lists of ids; pixels uint8 array [B,K,H,W,C] or None. Returns the new ids of each, end token left out."""
    b, longest = len(prompts), max(map(len, prompts))
    grid, r = (2, 2), None
    if pixels is not None:
        grid = (pixels.shape[2] // 16, pixels.shape[3] // 16)
        r = rows(torch.as_tensor(pixels, device=device), video).to(dtype)
    ids = np.full((b, longest), builder.pad)
    pos, vis = np.zeros((3, b, longest), np.int64), np.full((b, longest), -1)
    for k, p in enumerate(prompts):
        ids[k, :len(p)] = p
        pos[:, k, :len(p)], vis[k, :len(p)] = builder.positions(p, grid)
    lengths = torch.tensor([len(p) for p in prompts], device=device)
    following = torch.tensor([int(pos[:, k, :len(p)].max()) + 1 for k, p in enumerate(prompts)], device=device)
    t = model.cfg["text_config"]
    text, cap = model.model.language_model, longest + limit
    shape = (b, t["num_key_value_heads"], cap, t["head_dim"])
    cache = [(torch.zeros(shape, device=device, dtype=dtype), torch.zeros(shape, device=device, dtype=dtype)) for _ in text.layers]
    hidden, _, _ = model(torch.tensor(ids, device=device), torch.tensor(pos, device=device), r, grid,
                         torch.tensor(vis, device=device), None, cache)
    last = hidden[torch.arange(b, device=device), lengths - 1]
    span = torch.arange(cap, device=device)
    out, done = [], torch.zeros(b, dtype=torch.bool, device=device)
    for step in range(limit):
        token = model.head(last).argmax(-1)
        done |= (token == builder.end) | (token == builder.pad)
        out.append(torch.where(done, builder.pad, token))
        if step % 8 == 7 and bool(done.all()):
            break
        at = lengths + step
        x = text.embed_tokens(token)[:, None]
        cos, sin = text.rope((following + step)[None, :, None].expand(3, -1, -1))
        mask = span[None] <= at[:, None]
        for layer, (k, v) in zip(text.layers, cache):
            x = layer.step(x, cos, sin, k, v, at, mask)
        last = text.norm(x)[:, 0]
    out = torch.stack(out, 1).tolist()
    return [o[:o.index(builder.pad)] if builder.pad in o else o for o in out]


def iou(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    area = lambda r: max(r[2] - r[0], 0) * max(r[3] - r[1], 0)
    return w * h / (area(a) + area(b) - w * h)


def parse_boxes(text):
    """Boxes of an answer, also of one that was cut off: complete objects count."""
    found = re.findall(r'\{"bbox_2d":\[(\d+),(\d+),(\d+),(\d+)\],"label":"([^"]*)"\}', text.replace(" ,", ",").replace(", ", ","))
    return [([int(v) for v in f[:4]], f[4].replace(" ", "")) for f in found]


def match_boxes(got, want, threshold):
    """(right, wrong, missed): greedy one-to-one matching by overlap among equal labels."""
    pairs = sorted(((iou(g[0], w[0]), i, j) for i, g in enumerate(got) for j, w in enumerate(want) if g[1] == w[1]), reverse=True)
    used_g, used_w = set(), set()
    for o, i, j in pairs:
        if o >= threshold and i not in used_g and j not in used_w:
            used_g.add(i)
            used_w.add(j)
    return len(used_g), len(got) - len(used_g), len(want) - len(used_w)


def edit_distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        prev, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            prev, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, prev + (x != y))
    return row[-1]


def first_number(text):
    m = re.search(r"-?\d+(?:\.\d+)?", text)
    return float(m.group()) if m else None


def judge(item, answer):
    """Counters of one item: {"right","total"} or box and character counts, by the item's score kind."""
    if item.get("thinking"):
        answer = answer.split("</think>")[-1]
    answer, want, kind = answer.strip(), item["answer"], item["score"]
    if kind == "box_f1":
        r, w, m = match_boxes(parse_boxes(answer), parse_boxes(want), item.get("iou", 0.33))
        return {"right": r, "wrong": w, "missed": m}
    if kind == "cer":
        return {"edits": edit_distance(answer, want), "chars": len(want)}
    if kind in ("count", "number", "second"):
        a, b = first_number(answer), first_number(want)
        return {"right": int(a is not None and abs(a - b) <= item.get("tolerance", 0)), "total": 1}
    return {"right": int(answer == want), "total": 1}


def summary(counters):
    """List of judge() results of one task and kind -> figure."""
    total = {}
    for c in counters:
        for k, v in c.items():
            total[k] = total.get(k, 0) + v
    if "missed" in total:
        d = 2 * total["right"] + total["wrong"] + total["missed"]
        return {"f1": round(2 * total["right"] / d, 4) if d else 1.0, **total}
    if "edits" in total:
        return {"cer": round(total["edits"] / max(total["chars"], 1), 4), **total}
    return {"accuracy": round(total["right"] / max(total["total"], 1), 4), **total}


def load_items(path):
    return [json.loads(x) for x in open(path, encoding="utf-8") if x.strip()]

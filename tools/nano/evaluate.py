"""Scores item files as vl8 eval does: python3 evaluate.py WEIGHTS ASSETS SHARED_DATA ITEMS.jsonl..."""
import json
import os
import pathlib
import sys
import time

import numpy as np
import torch
from PIL import Image

from vl8nano import bpe, data, greedy, safefile
from vl8nano.common import Sample, Turn
from vl8nano.config import config
from vl8nano.model import Qwen3VL


def target_size(h, w, low=32768, high=409600):
    """smart_resize of the folder's limits (spec 5.1)."""
    a, b = round(h / 32) * 32, round(w / 32) * 32
    if a * b > high:
        s = (h * w / high) ** 0.5
        return max(32, int(h / s / 32) * 32), max(32, int(w / s / 32) * 32)
    if a * b < low:
        s = (low / (h * w)) ** 0.5
        return -int(-h * s // 32) * 32, -int(-w * s // 32) * 32
    return a, b


def picture(path, as_is):
    img = Image.open(path).convert("RGB")
    if not as_is:
        h, w = target_size(img.height, img.width)
        if (h, w) != (img.height, img.width):
            img = img.resize((w, h), Image.BICUBIC)
    return np.asarray(img)


def load(builder, item, root, resize=True):
    """Item -> (prompt ids, pictures uint8 [K,H,W,3] or None)."""
    video = item.get("video")
    paths = video["frames"] if video else item.get("images", [])
    pics = [picture(os.path.join(root, p), bool(video) or not resize) for p in paths]
    turn = Turn(item["question"], "", {}, "" if item.get("thinking") else None)
    sample = Sample(item["task"], item["lang"], pics, [turn], fps=video["fps"] if video else None)
    cells = pics[0].shape[0] * pics[0].shape[1] // 1024 if pics else 1
    return builder.prompt(sample, cells, turn), np.stack(pics) if pics else None


def evaluate(model, builder, files, shared_data, device, rank=0, world=1, limit=0, out=None):
    """Figures by file, task and score kind. Files named items-*.jsonl have pictures relative to the shared data folder.

    With several ranks each scores its share; the parts meet as files in out, and rank 0 returns the sum.
    """
    results, answers = {}, []
    for file in files:
        root = shared_data if pathlib.Path(file).name.startswith("items-") else os.path.dirname(file)
        items = greedy.load_items(file)
        items = (items[:limit] if limit else items)[rank::world]
        groups = {}
        for item in items:
            prompt, pics = load(builder, item, root)
            shape = None if pics is None else pics.shape
            groups.setdefault((shape, bool(item.get("video")), item["score"] == "box_f1"), []).append((item, prompt, pics))
        for (shape, video, boxes), members in groups.items():
            room = 64 if shape and shape[0] * shape[1] * shape[2] > 300000 else 128
            for k in range(0, len(members), room):
                part = members[k:k + room]
                pixels = None if shape is None else np.stack([m[2] for m in part])
                texts = greedy.generate(model, builder, [m[1] for m in part], pixels, video, 400 if boxes else 120, device)
                for (item, _, _), ids in zip(part, texts):
                    text = builder.tok.decode(ids)
                    key = f"{pathlib.Path(file).stem}/{item['task']}/{item['score']}"
                    results.setdefault(key, []).append(greedy.judge(item, text))
                    if item.get("thinking"):
                        results.setdefault(key + "/thinking", []).append(results[key][-1])
                    answers.append({"id": item["id"], "got": text, "want": item["answer"]})
    if out:
        pathlib.Path(out, f"part{rank}.json").write_text(json.dumps([results, answers], ensure_ascii=False))
    if world > 1:
        if rank:
            return {}
        results, answers = {}, []
        for r in range(world):
            path = pathlib.Path(out, f"part{r}.json")
            deadline = time.time() + 120
            while time.time() < deadline:
                try:
                    part = json.loads(path.read_text())
                    break
                except (OSError, ValueError):
                    time.sleep(0.5)
            for k, v in part[0].items():
                results.setdefault(k, []).extend(v)
            answers += part[1]
    if out:
        pathlib.Path(out, "answers.jsonl").write_text("\n".join(json.dumps(a, ensure_ascii=False) for a in answers) + "\n")
    return {k: greedy.summary(v) for k, v in sorted(results.items())}


def main():
    weights, assets, shared_data, *files = sys.argv[1:]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    builder = data.Builder(bpe.Tokenizer(os.path.join(assets, "tokenizer.json")))
    model = Qwen3VL(config(builder.tok))
    model.load_state_dict({k: v.float() for k, v in safefile.load(weights).items()})
    model.to(device).eval()
    for k, v in evaluate(model, builder, files, shared_data, device).items():
        print(k, v)


if __name__ == "__main__":
    main()

"""Compares the training model with golden cases: python3 check_model.py FOLDER... (each has config.json, model.safetensors, golden/)"""
import json
import pathlib
import sys

import torch

from vl8nano import safefile
from vl8nano.model import Qwen3VL


def main():
    for root in map(pathlib.Path, sys.argv[1:]):
        cfg = json.loads((root / "config.json").read_text())
        model = Qwen3VL(cfg)
        weights = {k: v.float() for k, v in safefile.load(root / "model.safetensors").items() if not (cfg["tie_word_embeddings"] and k == "lm_head.weight")}
        missing, extra = model.load_state_dict(weights, strict=False)
        assert not missing and not extra, (missing, extra)
        for case in ("text", "image", "video"):
            if not (root / "golden" / f"{case}.safetensors").exists():
                continue
            g = safefile.load(root / "golden" / f"{case}.safetensors")
            ids = g["input_ids"].long().reshape(1, -1)
            rows = grid = None
            vis = torch.full_like(ids, -1)
            if case != "text":
                video = case == "video"
                t, h, w = g["video_grid_thw" if video else "image_grid_thw"].reshape(-1).tolist()
                rows = g["pixel_values_videos" if video else "pixel_values"].reshape(1, t, h * w, -1)
                grid = (h, w)
                pads = ids == cfg["video_token_id" if video else "image_token_id"]
                vis[pads] = torch.arange(int(pads.sum()))
            with torch.no_grad():
                h, _, _ = model(ids, g["position_ids"].reshape(3, 1, -1), rows, grid, vis)
                out = model.head(h)[0]
            want = g["logits"].reshape(out.shape)
            err = ((out - want).abs().max() / want.abs().max()).item()
            print(f"{root.name} {case}: relative error {err:.2e}")
            assert err < 2e-4


if __name__ == "__main__":
    main()

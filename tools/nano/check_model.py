"""Compares the training model with the golden cases: python3 check_model.py GOLDEN_DIR"""
import json
import pathlib
import sys

import torch

from vl8nano import safefile
from vl8nano.model import Qwen3VL


def main():
    root = pathlib.Path(sys.argv[1])
    for name in ("tiny-dense", "tiny-tied"):
        cfg = json.loads((root / name / "config.json").read_text())
        model = Qwen3VL(cfg)
        weights = {k: v.float() for k, v in safefile.load(root / name / "model.safetensors").items()}
        missing, extra = model.load_state_dict(weights, strict=False)
        assert not missing and not extra, (missing, extra)
        for case in ("text", "image", "video"):
            g = safefile.load(root / name / "golden" / f"{case}.safetensors")
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
            print(f"{name} {case}: relative error {err:.2e}")
            assert err < 2e-4


if __name__ == "__main__":
    main()

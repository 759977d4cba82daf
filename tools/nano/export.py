"""Puts trained weights into transformers' own class, saves the folder with save_pretrained and makes the golden cases.

  python3 export.py WEIGHTS ASSETS EVAL_DIR OUT

Run where transformers 5.17 is installed. OUT/model gets config.json and model.safetensors, OUT/golden three cases in the
layout of the project's golden data. Fails when transformers' logits differ from the training model's.
"""
import json
import os
import pathlib
import shutil
import sys

import torch
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from evaluate import load
from vl8nano import bpe, data, greedy, safefile
from vl8nano.config import config
from vl8nano.model import Qwen3VL
from vl8nano.pixels import rows


def reference(cfg, weights):
    """transformers' model with the weights, bf16; every tensor must find its place."""
    hf = Qwen3VLForConditionalGeneration(Qwen3VLConfig(**{k: v for k, v in cfg.items() if k != "architectures"}))
    state = dict(weights)
    state["lm_head.weight"] = state["model.language_model.embed_tokens.weight"]
    missing, extra = hf.load_state_dict(state, strict=False)
    assert not missing and not extra, (missing, extra)
    return hf.to(torch.bfloat16)


def case(hf, own, builder, items, root):
    """One golden case from items (their pictures together in the prompt of the first): dict of tensors."""
    prompt, pics = load(builder, items, root, False)
    video = bool(items.get("video"))
    r = rows(torch.from_numpy(pics)[None], video)[0]
    grid = (pics.shape[1] // 16, pics.shape[2] // 16)
    pos, _ = builder.positions(prompt, grid)
    ids = torch.tensor([prompt])
    kind = torch.zeros_like(ids, dtype=torch.int32)
    kind[ids == builder.image], kind[ids == builder.video] = 1, 2
    flat = r.reshape(-1, 1536)
    thw = torch.tensor([[len(r), *grid]] if video else [[1, *grid]] * len(r))
    names = ("pixel_values_videos", "video_grid_thw") if video else ("pixel_values", "image_grid_thw")
    with torch.no_grad():
        def run(i, k, p):
            return hf(input_ids=i, mm_token_type_ids=k, attention_mask=torch.ones_like(i), position_ids=p, use_cache=False,
                      **{names[0]: flat, names[1]: thw}).logits
        p3 = torch.tensor(pos)[:, None]
        logits = run(ids, kind, p3)
        free = hf(input_ids=ids, mm_token_type_ids=kind, attention_mask=torch.ones_like(ids), use_cache=False,
                  **{names[0]: flat, names[1]: thw}).logits
        diff = (free - logits).abs().max().item()
        assert diff < 1e-3, f"transformers' own positions differ: {diff}"
        vis = torch.tensor(builder.positions(prompt, grid)[1])[None]
        mine = own.head(own(ids, p3, r[None], grid, vis)[0])
        err = ((mine - logits).abs().max() / logits.abs().max()).item()
        assert err < 2e-4, f"training model and transformers differ by {err}"
        greedy_ids, i, k, p = [], ids, kind, p3
        while len(greedy_ids) < 48:
            token = int(run(i, k, p)[0, -1].argmax())
            greedy_ids.append(token)
            if token in (builder.end, builder.pad):
                break
            i = torch.cat((i, torch.tensor([[token]])), 1)
            k = torch.cat((k, torch.zeros(1, 1, dtype=k.dtype)), 1)
            p = torch.cat((p, p.max().repeat(3, 1, 1) + 1), 2)
    print(items["id"], f"relative error {err:.1e}", repr(builder.tok.decode(greedy_ids)), "wanted", repr(items["answer"]))
    return {"input_ids": ids[0].to(torch.int32), "mm_token_type_ids": kind[0], names[0]: flat.contiguous(),
            names[1]: thw.to(torch.int32), "position_ids": torch.tensor(pos).to(torch.int32),
            "logits": logits[0].float(), "greedy_ids": torch.tensor(greedy_ids, dtype=torch.int32)}


def main():
    weights_path, assets, evals, out = sys.argv[1:5]
    out = pathlib.Path(out)
    builder = data.Builder(bpe.Tokenizer(os.path.join(assets, "tokenizer.json")))
    cfg = config(builder.tok)
    weights = safefile.load(weights_path)
    hf = reference(cfg, weights)
    shutil.rmtree(out / "model", ignore_errors=True)
    hf.save_pretrained(out / "model", max_shard_size="1GB")
    again, info = Qwen3VLForConditionalGeneration.from_pretrained(out / "model", output_loading_info=True, dtype=torch.float32)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    again.eval()
    again.set_attn_implementation("eager")
    own = Qwen3VL(cfg)
    own.load_state_dict({k: v.float() for k, v in weights.items()})
    rows_ = {r["id"]: r for r in greedy.load_items(os.path.join(evals, "golden.jsonl"))}
    (out / "golden").mkdir(exist_ok=True)
    for name in ("image", "two-images", "video"):
        safefile.save(out / "golden" / f"{name}.safetensors", case(again, own, builder, rows_[name], evals))
    from tokenizers import Tokenizer as Library
    lib = Library.from_file(os.path.join(assets, "tokenizer.json"))
    for item in greedy.load_items(os.path.join(evals, "items.jsonl")):
        for text in (item["question"], item["answer"]):
            assert lib.encode(text, add_special_tokens=False).ids == builder.tok.encode(text), text
    print("tokenizers library agrees on every question and answer")
    print(json.dumps({p.name: p.stat().st_size for p in sorted(out.rglob("*")) if p.is_file()}))


if __name__ == "__main__":
    main()

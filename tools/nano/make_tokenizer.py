"""Trains the tokenizer on the generators' own text and writes the folder's text files: python3 make_tokenizer.py OUT_DIR"""
import collections
import json
import pathlib
import sys

import numpy as np

from vl8nano import bpe, charts, chat, clips, common, pcb, screws, shapes, words

TEMPLATE = "<|im_start|>system user assistant tool\nPicture 1: Picture 2: Video 1: <0.3 seconds> <1.5 seconds>"


def corpus():
    """Text of every question and answer form, without the random codes of the labels."""
    rng = np.random.default_rng(90210)
    texts = collections.Counter()
    for _ in range(400):
        samples = [screws.make(rng, (64, 64)), shapes.make(rng, (64, 64)), charts.make(rng, (96, 96)),
                   clips.make(rng, 32, 6), chat.make(rng), screws.make(rng, (64, 64), thinking=True)]
        for s in samples:
            for t in s.turns:
                texts[t.question] += 1
                texts[t.answer] += 1
                if t.think:
                    texts[t.think] += 1
        for lang in ("en", "zh"):
            defects = [([10, 10, 20, 20], k) for k in common.PCB]
            for kind, two in (("find", False), ("find", True), ("count", False), ("kinds", False), ("good", False)):
                t = pcb.ask(rng, lang, defects, 64, kind, two)
                texts[t.question] += 1
                texts[t.answer] += 1
    for w in words.EN + words.ZH + words.FIELDS["en"] + words.FIELDS["zh"] + words.UNITS:
        texts[w] += 20
        texts["a " + w] += 20
    for c in words.HANZI + list("：，。、（）！？℃"):
        texts[c] += 100
    for module in (screws, pcb, shapes, charts, clips):
        for value in vars(module).values():
            if isinstance(value, dict):
                for text in _strings(value):
                    texts[text] += 20
    texts[TEMPLATE] += 1000
    texts[(pathlib.Path(__file__).parent / "plain.txt").read_text(encoding="utf-8")] += 4
    return texts


def _strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for v in value.values():
            yield from _strings(v)
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from _strings(v)


def main():
    out = pathlib.Path(sys.argv[1])
    vocab, merges = bpe.train(corpus(), 4096 - len(bpe.SPECIAL))
    ids = {s: len(vocab) + i for i, s in enumerate(bpe.SPECIAL)}
    write = lambda name, data: (out / name).write_text(json.dumps(data, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    (out / "tokenizer.json").write_text(json.dumps(bpe.tokenizer_json(vocab, merges), ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    decoder = {str(ids[s]): {"content": s, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
                             "special": i < bpe.NUM_CONTROL} for i, s in enumerate(bpe.SPECIAL)}
    write("tokenizer_config.json", {
        "add_bos_token": False, "add_prefix_space": False, "added_tokens_decoder": decoder,
        "additional_special_tokens": bpe.SPECIAL[1:bpe.NUM_CONTROL], "bos_token": None, "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>", "errors": "replace", "model_max_length": 4096, "pad_token": "<|endoftext|>",
        "split_special_tokens": False, "tokenizer_class": "Qwen2Tokenizer", "unk_token": None})
    end, im_end = ids["<|endoftext|>"], ids["<|im_end|>"]
    write("generation_config.json", {"bos_token_id": end, "pad_token_id": end, "do_sample": False, "eos_token_id": [im_end, end],
                                     "max_new_tokens": 512})
    half = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "patch_size": 16, "temporal_patch_size": 2, "merge_size": 2,
            "processor_class": "Qwen3VLProcessor"}
    write("preprocessor_config.json", {"size": {"longest_edge": 409600, "shortest_edge": 32768}, **half,
                                       "image_processor_type": "Qwen2VLImageProcessorFast"})
    write("video_preprocessor_config.json", {"size": {"longest_edge": 409600, "shortest_edge": 16384}, **half,
                                             "video_processor_type": "Qwen3VLVideoProcessor"})
    print(f"{len(vocab)} entries, {len(merges)} merges, {len(vocab) + len(bpe.SPECIAL)} with added tokens")


if __name__ == "__main__":
    main()

"""Asks the model from a shell, for trying things: python3 ask.py ASSETS [--think] QUESTION PICTURE... [--fps F]"""
import argparse
import os

import numpy as np
import torch

from evaluate import picture
from vl8nano import bpe, data, greedy, safefile
from vl8nano.common import Sample, Turn
from vl8nano.config import config
from vl8nano.model import Qwen3VL


def main():
    p = argparse.ArgumentParser()
    p.add_argument("assets")
    p.add_argument("question")
    p.add_argument("pictures", nargs="*")
    p.add_argument("--fps", type=float)
    p.add_argument("--think", action="store_true")
    a = p.parse_args()
    builder = data.Builder(bpe.Tokenizer(os.path.join(a.assets, "tokenizer.json")))
    model = Qwen3VL(config(builder.tok))
    model.load_state_dict({k: v.float() for k, v in safefile.load(os.path.join(a.assets, "model.safetensors")).items()})
    pics = [picture(x, a.fps is not None) for x in a.pictures]
    for question in a.question.split("|"):
        turn = Turn(question, "", {}, "" if a.think else None)
        cells = pics[0].shape[0] * pics[0].shape[1] // 1024 if pics else 1
        prompt = builder.prompt(Sample("", "", pics, [turn], fps=a.fps), cells, turn)
        ids = greedy.generate(model.eval(), builder, [prompt], np.stack(pics)[None] if pics else None, a.fps is not None, 300,
                              torch.device("cpu"))
        print(question, "->", builder.tok.decode(ids[0]), flush=True)


if __name__ == "__main__":
    main()

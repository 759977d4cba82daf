"""Renders the demo pictures: python3 make_demo.py OUT_DIR. Every seed was chosen by looking at the result."""
import pathlib
import sys

import numpy as np
from PIL import Image

from vl8nano import charts, clips, common, ocr, pcb, wood

SEED = 0xDE30
LOOK = 30   # green mask, golden copper


def block(rng):
    img, _ = wood.block(rng, 480, 480, 2, 2, [True, True, False, True])
    return common.photo_finish(rng, img, 0.3, 1.5)


def board_pair(rng):
    """A clean green board and the same board with one defect of several kinds."""
    template = pcb.draw_board(rng, 448)
    tested, _ = pcb.spoil(rng, template, 5)
    light = int(rng.integers(1 << 30))   # the same light on both
    return [pcb.render_colour(np.random.default_rng(light), p, LOOK) for p in (template, tested)]


def label(rng):
    return ocr.paint(rng, 192, 384, ["型号：KB-4821", "生产日期：2026-05-17", "检验合格"])[0]


def chart(rng):
    return charts.paint(rng, 320, 448, ["Mon", "Tue", "Wed", "Thu", "Fri"], [62, 45, 88, 30, 71], 100, False)[0]


def clip(rng):
    return clips.paint(rng, 160, ["green"] * 3 + ["yellow"] * 2 + ["red"] * 3, "right")[0]


def main():
    out = pathlib.Path(sys.argv[1])
    seeds = [int(s) for s in sys.argv[2:]] or [3, 21, 1, 3, 3]
    rng = [np.random.default_rng([SEED, k, s]) for k, s in enumerate(seeds)]
    (out / "clip").mkdir(parents=True, exist_ok=True)
    Image.fromarray(block(rng[0])).save(out / "block.png", optimize=True)
    for name, img in zip(("board-template", "board-tested"), board_pair(rng[1])):
        Image.fromarray(img).save(out / f"{name}.jpg", quality=88)
    Image.fromarray(label(rng[2])).save(out / "label.png", optimize=True)
    Image.fromarray(chart(rng[3])).quantize(64, dither=Image.NONE).save(out / "chart.png", optimize=True)
    for k, img in enumerate(clip(rng[4])):
        Image.fromarray(img).save(out / "clip" / f"frame-{k:02d}.jpg", quality=85)


if __name__ == "__main__":
    main()

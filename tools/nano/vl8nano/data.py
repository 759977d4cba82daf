"""From samples to tensors: token sequences, positions, dense targets, and the schedule of tasks over training."""
import os

import numpy as np

from . import charts, chat, clips, ocr, pcb, screws, shapes, wood
from .common import CHAR_SLOTS, pick
from .words import CHAR_ID

SYSTEM = ["You are a helpful assistant.", "You are an inspector.", "你是质检助手。", "Answer shortly.", "回答要简短。"]


def stamps(n, fps):
    """Seconds of each frame pair as the prompt shows them (spec 5.7)."""
    index = list(range(n)) + ([n - 1] if n % 2 else [])
    return [f"<{(a / fps + b / fps) / 2:.1f} seconds>" for a, b in zip(index[::2], index[1::2])]


class Builder:
    """Turns a Sample into ids, targets and positions; cells is the number of visual tokens of one frame group."""

    def __init__(self, tokenizer):
        self.tok = tokenizer
        a = tokenizer.added
        self.start, self.end, self.vs, self.ve = (a[s] for s in ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"))
        self.image, self.video, self.pad, self.think, self.unthink = (
            a[s] for s in ("<|image_pad|>", "<|video_pad|>", "<|endoftext|>", "<think>", "</think>"))

    def visual(self, sample, cells):
        ids = []
        if sample.fps is not None:
            for s in stamps(len(sample.images), sample.fps):
                ids += self.tok.encode(s) + [self.vs] + [self.video] * cells + [self.ve]
            return ids
        for _ in sample.images:
            ids += [self.vs] + [self.image] * cells + [self.ve]
        return ids

    def prompt(self, sample, cells, turn, visual_first=True, system=None):
        """Ids of the conversation up to where the first answer starts."""
        enc = self.tok.encode
        ids = [self.start] + enc("system\n" + system) + [self.end] + enc("\n") if system else []
        ids += [self.start] + enc("user\n")
        parts = [self.visual(sample, cells), enc(turn.question)]
        ids += sum(parts if visual_first else parts[::-1], []) + [self.end] + enc("\n") + [self.start] + enc("assistant\n")
        if turn.think is not None:
            ids += [self.think] + enc("\n")
        return ids

    def answer(self, turn):
        enc = self.tok.encode
        out = enc(turn.answer) + [self.end]
        if turn.think is not None:
            out = enc(turn.think) + enc("\n") + [self.unthink] + enc("\n\n") + out
        return out

    def sequence(self, rng, sample, cells):
        """(ids, learn) with learn 1 on the tokens of the answers."""
        first = rng.random() < 0.93 or not sample.images
        system = pick(rng, SYSTEM) if rng.random() < 0.06 else None
        ids = self.prompt(sample, cells, sample.turns[0], first, system)
        learn = [0] * len(ids)
        for k, turn in enumerate(sample.turns):
            if k:
                extra = self.tok.encode("\n") + [self.start] + self.tok.encode("user\n" + turn.question) + [self.end]
                extra += self.tok.encode("\n") + [self.start] + self.tok.encode("assistant\n")
                ids, learn = ids + extra, learn + [0] * len(extra)
            a = self.answer(turn)
            ids, learn = ids + a, learn + [1] * len(a)
        return ids, learn

    def positions(self, ids, grid):
        """[3,T] positions (spec 7.2) and [T] the running number of each visual token, -1 for text."""
        ids = np.asarray(ids)
        vis = (ids == self.image) | (ids == self.video)
        pos, number = np.zeros((3, len(ids)), np.int64), np.full(len(ids), -1, np.int64)
        number[vis] = np.arange(int(vis.sum()))
        if not vis.any():
            return np.repeat(np.arange(len(ids))[None], 3, 0), number
        a, b = grid[0] // 2, grid[1] // 2
        edges = np.flatnonzero(np.diff(np.concatenate(([0], vis.astype(np.int8), [0]))))
        at = cur = 0
        for s, e in zip(edges[::2], edges[1::2]):
            pos[:, at:s] = cur + np.arange(s - at)
            cur += s - at
            k = np.arange(e - s)
            pos[0, s:e], pos[1, s:e], pos[2, s:e] = cur, cur + k // b, cur + k % b
            assert e - s == a * b
            cur += max(a, b)
            at = e
        pos[:, at:] = cur + np.arange(len(ids) - at)
        return pos, number


def dense(sample, grid, groups):
    """Dense targets of one sample: class [C], box [C,4], value [C], characters [C,4]; -1 where there is none."""
    a, b = grid[0] // 2, grid[1] // 2
    n = groups * a * b
    cls, box, val = np.zeros(n, np.int64), np.full((n, 4), -1, np.int64), np.full(n, -1, np.int64)
    chars = np.full((n, CHAR_SLOTS), -1 if sample.chars is None else 0, np.int64)

    def cell(group, x, y):
        return group * a * b + min(max(int(y // 32), 0), a - 1) * b + min(max(int(x // 32), 0), b - 1)

    for group, x, y, c, bb, v in sample.marks:
        k = cell(group, x, y)
        cls[k] = c
        if bb is not None:
            box[k] = bb
        if v is not None:
            val[k] = v
    fill = {}
    for group, x, y, c in sorted(sample.chars or [], key=lambda t: t[1]):
        k = cell(group, x, y)
        at = fill.get(k, 0)
        if at < CHAR_SLOTS:
            chars[k, at] = CHAR_ID[c]
        fill[k] = at + 1
    return cls, box, val, chars


def group_count(sample):
    return (len(sample.images) + 1) // 2 if sample.fps is not None else len(sample.images)


def collate(builder, rng, samples):
    """Samples of one picture size and count -> dict of arrays (see Corpus)."""
    pictures = samples[0].images
    out = {"video": samples[0].fps is not None, "task": samples[0].task, "grid": None}
    grid, cells = (2, 2), 1
    if pictures:
        h, w = pictures[0].shape[:2]
        grid, cells = (h // 16, w // 16), h * w // 1024
        flat = [im if im.ndim == 3 else im[..., None] for s in samples for im in s.images]
        out["pixels"] = np.stack(flat).reshape(len(samples), len(pictures), *flat[0].shape)
        out["grid"] = grid
    built = [builder.sequence(rng, s, cells) for s in samples]
    longest = max(len(i) for i, _ in built)
    longest += -longest % 32
    b = len(samples)
    ids = np.full((b, longest), builder.pad, np.int64)
    learn = np.zeros((b, longest), np.float32)
    pos, vis = np.zeros((3, b, longest), np.int64), np.full((b, longest), -1, np.int64)
    for k, (i, l) in enumerate(built):
        ids[k, :len(i)], learn[k, :len(l)] = i, l
        pos[:, k, :len(i)], vis[k, :len(i)] = builder.positions(i, grid)
    at = np.flatnonzero(learn[:, 1:].reshape(-1))       # places whose next token is to be predicted
    at = at // (longest - 1) * longest + at % (longest - 1)
    out.update(ids=ids, pos=pos, vis=vis, at=at, want=ids.reshape(-1)[at + 1])
    if pictures:
        targets = [dense(s, grid, group_count(s)) for s in samples]
        for name, values in zip(("cls", "box", "val", "chars"), zip(*targets)):
            out[name] = np.stack(values)
    return out


# name: (weight while learning to see, weight after, samples in a batch at scale 1)
BUCKETS = {
    "deeppcb-crop": (0.30, 0.04, 112), "deeppcb": (0.12, 0.30, 48), "deeppcb2": (0.0, 0.10, 24),
    "pcb": (0.04, 0.05, 64), "pcb2": (0.0, 0.04, 40), "screws-photo": (0.06, 0.05, 48), "screws": (0.12, 0.09, 64),
    "ocr": (0.14, 0.13, 112), "chart": (0.08, 0.07, 80), "shapes": (0.08, 0.06, 112), "clip": (0.05, 0.06, 64), "chat": (0.01, 0.01, 64),
}
SCREW_SIZES = [(704, 544), (448, 544), (544, 448), (480, 480), (320, 416), (352, 352)]


class Source:
    """Draws samples of a bucket; real pictures are loaded once and shared by the workers."""

    def __init__(self, data_dir, split="train", salt=1):
        wood.prepare(salt)
        self.photos = screws.load_photos(os.path.join(data_dir, "screws"), False)
        self.boards = pcb.load_boards(os.path.join(data_dir, "deeppcb"), split)

    def draw(self, rng, bucket, count):
        """count samples that share picture size and number."""
        r = rng
        if bucket == "deeppcb-crop":
            size = pick(r, [256, 320, 320, 384])
            return [pcb.make_real(r, self.boards, size, False, 0.15) for _ in range(count)]
        if bucket in ("deeppcb", "deeppcb2"):
            return [pcb.make_real(r, self.boards, 640, bucket == "deeppcb2", 0.12) for _ in range(count)]
        if bucket in ("pcb", "pcb2"):
            return [pcb.make_drawn(r, 448, bucket == "pcb2") for _ in range(count)]
        if bucket.startswith("screws"):
            size = pick(r, SCREW_SIZES if bucket == "screws" else SCREW_SIZES[:4] + SCREW_SIZES[:1] * 3)
            if size == SCREW_SIZES[0]:
                count = count * 2 // 3
            return [screws.make(r, size, self.photos if bucket == "screws-photo" else None) for _ in range(count)]
        if bucket == "ocr":
            size = pick(r, ocr.SIZES)
            return [ocr.make(r, size) for _ in range(count)]
        if bucket == "chart":
            return [charts.make(r, (320, 448)) for _ in range(count)]
        if bucket == "shapes":
            size = pick(r, [(256, 256), (256, 256), (320, 320), (256, 352)])
            return [shapes.make(r, size) for _ in range(count)]
        if bucket == "clip":
            n = pick(r, [4, 6, 8, 8, 10, 12])
            return [clips.make(r, 160, n) for _ in range(count)]
        return [chat.make(r) for _ in range(count)]


class Corpus:
    """Index -> collated batch. progress (shared float, 0..1) moves the mixture from seeing to answering."""

    def __init__(self, source, builder, seed, progress, scale=1.0, only=None):
        self.source, self.builder, self.seed, self.progress, self.scale, self.only = source, builder, seed, progress, scale, only

    def __len__(self):
        return 1 << 30

    def __getitem__(self, index):
        rng = np.random.default_rng([self.seed, index])
        f = min(max((self.progress.value - 0.08) / 0.25, 0.0), 1.0)
        names = self.only or list(BUCKETS)
        w = np.array([BUCKETS[n][0] * (1 - f) + BUCKETS[n][1] * f + 1e-9 for n in names])
        name = names[int(rng.choice(len(names), p=w / w.sum()))]
        samples = self.source.draw(rng, name, max(int(BUCKETS[name][2] * self.scale), 1))
        batch = collate(self.builder, rng, samples)
        batch["task"] = name
        return batch

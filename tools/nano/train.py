"""Trains vl8-nano for a given time on one or several GPUs (or, for a trial, the CPU).

  python3 train.py --data SHARED_DATA --assets MODEL_DIR --out OUT --seconds 1500 [--world 4] [--resume FILE] [--eval DIR]

Writes OUT/weights.safetensors (bf16 running average of the weights, the published names) every two minutes and at the
end, OUT/log.txt and OUT/metrics.json. --resume starts from such a file; optimiser state is not needed.
"""
import argparse
import json
import math
import os
import pathlib
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F

from evaluate import evaluate
from vl8nano import bpe, data, safefile
from vl8nano.config import config
from vl8nano.heads import DenseHeads
from vl8nano.model import Qwen3VL
from vl8nano.pixels import rows

TAP = 3   # the second dense heads look at the hidden states after this language layer


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--data", required=True)
    p.add_argument("--assets", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--world", type=int, default=1)
    p.add_argument("--workers", type=int, default=14)
    p.add_argument("--scale", type=float, default=1.0, help="factor on the batch sizes")
    p.add_argument("--rate", type=float, default=1e-3)
    p.add_argument("--warm", type=int, default=300)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--start", type=float, default=0.0, help="progress of the mixture at the start (1 with --resume)")
    p.add_argument("--resume")
    p.add_argument("--eval", nargs="*", default=[], help="item files to score at the end")
    p.add_argument("--limit", type=int, default=0, help="items per file, 0 for all")
    p.add_argument("--no-compile", action="store_true")
    p.add_argument("--only", nargs="*")
    return p.parse_args()


class Stride:
    """Endless batch numbers of one rank."""

    def __init__(self, rank, world):
        self.rank, self.world = rank, world

    def __iter__(self):
        i = self.rank
        while True:
            yield i
            i += self.world


def to_tensors(batch):
    return {k: torch.from_numpy(v) if hasattr(v, "dtype") else v for k, v in batch.items()}


class TensorCorpus(torch.utils.data.Dataset):
    def __init__(self, corpus):
        self.corpus = corpus

    def __len__(self):
        return len(self.corpus)

    def __getitem__(self, i):
        return to_tensors(self.corpus[i])


class Trainer:
    def __init__(self, rank, args):
        self.rank, self.args = rank, args
        self.cuda = torch.cuda.is_available()
        self.device = torch.device("cuda", rank) if self.cuda else torch.device("cpu")
        if self.cuda:
            torch.cuda.set_device(rank)
            torch.set_float32_matmul_precision("high")
        if args.world > 1:
            dist.init_process_group("nccl" if self.cuda else "gloo", init_method=f"tcp://127.0.0.1:{29500 + args.seed % 100}",
                                    rank=rank, world_size=args.world)
        self.tok = bpe.Tokenizer(os.path.join(args.assets, "tokenizer.json"))
        self.builder = data.Builder(self.tok)
        self.model = Qwen3VL(config(self.tok))
        self.model.init_weights(args.seed)
        torch.manual_seed(args.seed)
        self.heads = torch.nn.ModuleList([DenseHeads(256), DenseHeads(256)])
        if args.resume:
            self.model.load_state_dict({k: v.float() for k, v in safefile.load(args.resume).items()})
        self.model.to(self.device)
        self.heads.to(self.device)
        self.params = list(self.model.parameters()) + list(self.heads.parameters())
        self.average = [p.detach().clone() for p in self.model.parameters()]
        self._optimiser()
        if not args.no_compile:
            torch._dynamo.config.cache_size_limit = 64
            for layer in list(self.model.model.visual.blocks) + list(self.model.model.language_model.layers):
                layer.compile(dynamic=True)
        self.progress = mp.get_context("fork").Value("d", args.start)
        self.steps = 0
        self.log = open(os.path.join(args.out, "log.txt"), "a") if rank == 0 else None

    def _optimiser(self):
        """AdamW over one flat gradient buffer; its last element carries the elapsed time to all ranks."""
        self.flat = torch.zeros(sum(p.numel() for p in self.params) + 1, device=self.device)
        at = 0
        for p in self.params:
            p.grad = self.flat[at:at + p.numel()].view_as(p)
            at += p.numel()
        decay = [p for p in self.params if p.dim() > 1]
        plain = [p for p in self.params if p.dim() <= 1]
        groups = [{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
        self.opt = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98), eps=1e-8, **({"fused": True} if self.cuda else {}))

    def loader(self):
        source = data.Source(self.args.data, salt=1 + self.args.seed * 16 + self.rank)
        corpus = data.Corpus(source, self.builder, self.args.seed, self.progress, self.args.scale, self.args.only)
        n = self.args.workers
        more = {"prefetch_factor": 3, "persistent_workers": True, "multiprocessing_context": "fork"} if n else {}
        return torch.utils.data.DataLoader(TensorCorpus(corpus), batch_size=None, sampler=Stride(self.rank, self.args.world),
                                           num_workers=n, pin_memory=self.cuda,
                                           worker_init_fn=lambda _: torch.set_num_threads(1), **more)

    def loss(self, batch):
        b = {k: v.to(self.device, non_blocking=True) if torch.is_tensor(v) else v for k, v in batch.items()}
        dense_part, parts = 0.0, {}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.cuda):
            r = rows(b["pixels"], b["video"]) if "pixels" in b else None
            hidden, feats, tapped = self.model(b["ids"], b["pos"], r, b["grid"], b["vis"], TAP)
            logits = self.model.head(hidden.flatten(0, 1)[b["at"]])
        text = F.cross_entropy(logits.float(), b["want"])
        if r is not None:
            index = (b["vis"] >= 0).flatten().nonzero()[:, 0]
            inner = tapped.flatten(0, 1)[index].view(feats.shape)
            targets = b["cls"], b["box"], b["val"], b["chars"]
            one, parts = self.heads[0](feats, *targets)
            two, late = self.heads[1](inner, *targets)
            parts.update({k + "2": v for k, v in late.items()})
            dense_part = one + 0.5 * two
        parts["text"] = text.detach()
        return text + dense_part, parts

    def step(self, batch, elapsed):
        self.flat.zero_()
        loss, parts = self.loss(batch)
        loss.backward()
        self.flat[-1] = elapsed
        if self.args.world > 1:
            dist.all_reduce(self.flat)
            self.flat.div_(self.args.world)
        elapsed = float(self.flat[-1])
        norm = self.flat[:-1].norm()
        self.flat.mul_((1.0 / (norm + 1e-6)).clamp(max=1.0))
        f = min(elapsed / self.args.seconds, 1.0)
        rate = self.args.rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * f))) * min((self.steps + 1) / self.args.warm, 1.0)
        for g in self.opt.param_groups:
            g["lr"] = rate
        self.opt.step()
        self.steps += 1
        keep = min(0.999, self.steps / (self.steps + 10.0))
        with torch.no_grad():
            torch._foreach_mul_(self.average, keep)
            torch._foreach_add_(self.average, [p.detach() for p in self.model.parameters()], alpha=1 - keep)
        self.progress.value = self.args.start + (1 - self.args.start) * f
        return elapsed, parts

    def run(self):
        """Steps until the time is over. The clock starts when the first twelve steps (compilation) are through."""
        begin, saved, seen, waited, mean = None, 0.0, 0, 0.0, {}
        mark = time.time()
        born = time.time()
        for batch in self.loader():
            waited += time.time() - mark
            elapsed = 0.0 if begin is None else time.time() - begin
            elapsed, parts = self.step(batch, elapsed)
            seen += len(batch["ids"])
            if self.steps == 12:
                begin, seen, waited = time.time(), 0, 0.0
                self.say(f"first steps took {begin - born:.1f} s")
            if self.steps % 20 == 0:
                m = mean.setdefault(batch["task"], {})
                for k, v in parts.items():
                    m[k] = 0.7 * m.get(k, float(v)) + 0.3 * float(v)
            if self.steps % 100 == 0:
                self.say(f"step {self.steps} {elapsed:.0f} s, {seen * self.args.world / max(elapsed, 1):.0f} samples/s, "
                         f"waited {waited:.0f} s, mixture {self.progress.value:.2f}")
                for name in sorted(mean):
                    self.say(f"  {name}: " + " ".join(f"{k} {v:.3f}" for k, v in mean[name].items()))
            if elapsed >= self.args.seconds:
                break
            if self.rank == 0 and elapsed - saved > 120:
                saved = elapsed
                self.save()
            mark = time.time()
        self.say(f"{self.steps} steps, {seen * self.args.world} samples")
        if self.rank == 0:
            self.save()

    def averaged(self):
        names = [n for n, _ in self.model.named_parameters()]
        return {n: a.to(torch.bfloat16) for n, a in zip(names, self.average)}

    def save(self):
        path = pathlib.Path(self.args.out) / "weights.safetensors"
        safefile.save(path.with_suffix(".tmp"), self.averaged(), {"format": "pt"})
        os.replace(path.with_suffix(".tmp"), path)

    def say(self, text):
        if self.rank == 0:
            print(text, flush=True)
            self.log.write(text + "\n")
            self.log.flush()


def work(rank, args):
    torch.set_num_threads(2)
    t = Trainer(rank, args)
    t.run()
    if args.eval:
        model = Qwen3VL(config(t.tok))
        model.load_state_dict({k: v.float() for k, v in t.averaged().items()})
        model.to(t.device).eval()
        figures = evaluate(model, t.builder, args.eval, args.data, t.device, rank, args.world, args.limit, args.out)
        if rank == 0:
            for k, v in figures.items():
                t.say(f"{k}: {v}")
            (pathlib.Path(args.out) / "metrics.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    if rank == 0:
        (pathlib.Path(args.out) / "done").write_text("done\n")
    if args.world > 1:
        dist.destroy_process_group()


def main():
    args = arguments()
    os.makedirs(args.out, exist_ok=True)
    if args.world > 1:
        mp.spawn(work, (args,), args.world)
    else:
        work(0, args)


if __name__ == "__main__":
    main()

"""Byte-level BPE in the published tokenizer.json format: trainer, file writer and the encoder used in training.

The encoder is exact for text made of letters, decimal digits and punctuation (Python's re has no \\p{L}; letter-like
numbers such as superscripts split differently); vl8 and the tokenizers library read the same file with the full pattern.
"""
import collections
import functools
import json
import re

PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LETTER, _NUMBER = r"[^\W\d_]", r"\d"
_SPLIT = re.compile(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|(?:[^\r\n\w]|_)?" + _LETTER + "+|" + _NUMBER + r"| ?(?:[^\s\w]|_)+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
           "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
           "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>",
           "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>",
           "<think>", "</think>"]
NUM_CONTROL = 14   # the first 14 are special (dropped by skip_special_tokens), the rest are plain added tokens


@functools.lru_cache(maxsize=1)
def byte_alphabet():
    """Byte -> printable character: printable Latin-1 stands for itself, the rest are moved to 256 upwards in order."""
    keep = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or 174 <= b <= 255]
    table, extra = {}, 256
    for b in range(256):
        table[b] = chr(b) if b in keep else chr(extra)
        extra += b not in keep
    return table


def pieces(text):
    return _SPLIT.findall(text)


def train(texts, size, longest_ascii=12, longest_other=3):
    """texts: {text: count}. Returns (vocab, merges), at most size entries without the added tokens.

    A token is at most longest_ascii bytes, or longest_other bytes when it holds a byte above 127: one Chinese character.
    """
    table = byte_alphabet()
    ascii_chars = {table[b] for b in range(128)}
    words = collections.Counter()
    for text, n in texts.items():
        for p in pieces(text):
            words[tuple(table[b] for b in p.encode())] += n
    vocab = {c: i for i, c in enumerate(sorted(table.values()))}
    merges, words = [], [[list(w), n] for w, n in words.items()]
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for k, (w, n) in enumerate(words):
        for a, b in zip(w, w[1:]):
            pairs[a, b] += n
            where[a, b].add(k)

    def allowed(a, b):
        s = a + b
        return len(s) <= (longest_ascii if all(c in ascii_chars for c in s) else longest_other)

    while len(vocab) < size:
        best = max((p for p in pairs if pairs[p] > 1 and allowed(*p)), key=lambda p: (pairs[p], p), default=None)
        if best is None:
            break
        merges.append(best)
        joined = best[0] + best[1]
        vocab.setdefault(joined, len(vocab))
        for k in list(where[best]):
            w, n = words[k]
            for p in zip(w, w[1:]):
                pairs[p] -= n
            out, i = [], 0
            while i < len(w):
                if i + 1 < len(w) and (w[i], w[i + 1]) == best:
                    out.append(joined)
                    i += 2
                else:
                    out.append(w[i])
                    i += 1
            words[k][0] = out
            for p in zip(out, out[1:]):
                pairs[p] += n
                where[p].add(k)
        del pairs[best]
    return vocab, merges


def tokenizer_json(vocab, merges):
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    added = [{"id": len(vocab) + i, "content": s, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": i < NUM_CONTROL} for i, s in enumerate(SPECIAL)]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": {"type": "NFC"},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": False}, dict(level)]},
            "post_processor": dict(level), "decoder": dict(level),
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                      "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                      "vocab": vocab, "merges": [" ".join(m) for m in merges]}}


class Tokenizer:
    def __init__(self, path):
        data = json.load(open(path, encoding="utf-8"))
        self.vocab = data["model"]["vocab"]
        self.rank = {tuple(m.split(" ")): i for i, m in enumerate(data["model"]["merges"])}
        self.added = {t["content"]: t["id"] for t in data["added_tokens"]}
        self.text = {i: s for s, i in self.vocab.items()} | {i: s for s, i in self.added.items()}
        self.split = re.compile("(" + "|".join(re.escape(s) for s in self.added) + ")")
        self.bytes = {c: b for b, c in byte_alphabet().items()}
        self.cache = {}

    def word(self, piece):
        if piece not in self.cache:
            table = byte_alphabet()
            w = [table[b] for b in piece.encode()]
            while len(w) > 1:
                k = min(range(len(w) - 1), key=lambda i: self.rank.get((w[i], w[i + 1]), 1 << 30))
                if (w[k], w[k + 1]) not in self.rank:
                    break
                w[k:k + 2] = [w[k] + w[k + 1]]
            self.cache[piece] = [self.vocab[t] for t in w]
        return self.cache[piece]

    def encode(self, text):
        out = []
        for part in self.split.split(text):
            if part in self.added:
                out.append(self.added[part])
            elif part:
                for p in pieces(part):
                    out.extend(self.word(p))
        return out

    def decode(self, ids):
        out = b""
        for i in ids:
            s = self.text.get(int(i), "")
            out += s.encode() if s in self.added else bytes(self.bytes[c] for c in s)
        return out.decode("utf-8", "replace")

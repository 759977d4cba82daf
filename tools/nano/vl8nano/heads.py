"""Dense auxiliary heads on visual tokens, dropped when the model is saved.

They teach the tower where things are: class of the thing whose centre lies in the 32x32 cell, the decimal digits of its
box and of its value, the characters in the cell. Digits, because the language side then only has to copy them.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

from .common import CHAR_SLOTS, NUM_CLASSES
from .words import CHAR_ID

DIGITS = (11, 10, 10)   # hundreds of 0..1000, tens, ones


class DenseHeads(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.cls = nn.Linear(dim, NUM_CLASSES)
        self.box = nn.Linear(dim, 4 * sum(DIGITS))
        self.val = nn.Linear(dim, sum(DIGITS))
        self.chars = nn.Linear(dim, CHAR_SLOTS * (len(CHAR_ID) + 1))

    def forward(self, feats, cls, box, val, chars):
        """feats [B,C,H] and the targets of data.dense -> (loss, parts); every part is a mean over what is supervised."""
        x = self.norm(feats.float())
        logits = self.cls(x)
        weight = torch.where(cls > 0, 6.0, 1.0)
        cls_loss = (F.cross_entropy(logits.flatten(0, 1), cls.flatten(), reduction="none") * weight.flatten()).sum() / weight.sum()
        loss, parts = 2.0 * cls_loss, {"cls": cls_loss.detach()}
        have = cls > 0
        parts["recall"] = ((logits.argmax(-1) == cls) & have).sum() / have.sum().clamp(min=1)
        rows = (box[..., 0] >= 0).nonzero(as_tuple=True)
        if len(rows[0]):
            part = self._digits(self.box(x[rows]).view(-1, 4, sum(DIGITS)), box[rows])
            loss, parts["box"] = loss + part, part.detach()
        rows = (val >= 0).nonzero(as_tuple=True)
        if len(rows[0]):
            part = self._digits(self.val(x[rows]), val[rows])
            loss, parts["val"] = loss + part, part.detach()
        rows = (chars[..., 0] >= 0).nonzero(as_tuple=True)
        if len(rows[0]):
            t = chars[rows].flatten()
            logits = self.chars(x[rows]).view(len(t), -1)
            w = torch.where(t > 0, 3.0, 1.0)
            part = (F.cross_entropy(logits, t, reduction="none") * w).sum() / w.sum()
            loss, parts["chars"] = loss + part, part.detach()
        return loss, parts

    @staticmethod
    def _digits(logits, value):
        """Cross entropy of hundreds, tens and ones; coarse digits count more."""
        h, t, o = logits.split(DIGITS, -1)
        loss = 0.0
        for part, target, w in ((h, value // 100, 1.0), (t, value // 10 % 10, 0.7), (o, value % 10, 0.15)):
            loss = loss + w * F.cross_entropy(part.flatten(0, -2), target.flatten())
        return loss

"""Qwen3-VL in plain torch for equal-sized pictures, written for training speed.

Every sample of a batch carries K frame groups (an image is one group, a clip one group per two frames) of the same
grid, so the vision tower is one batched attention call. Parameter names are the published ones: the state dict loads
into transformers' Qwen3VLForConditionalGeneration unchanged. Checked against the golden cases by check_model.py.
Works with torch 1.13 (slow attention) and later.
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

_RMS = getattr(F, "rms_norm", None)
_SDPA = getattr(F, "scaled_dot_product_attention", None)


def attention(q, k, v, causal):
    """softmax(q k^T / sqrt(d)) v over [..., T, d]."""
    if _SDPA is not None:
        return _SDPA(q, k, v, is_causal=causal)
    s = (q @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
    if causal:
        t = q.shape[-2]
        s = s.masked_fill(torch.ones(t, t, dtype=torch.bool, device=q.device).triu(1), float("-inf"))
    return s.softmax(-1) @ v


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), -1)
    return x * cos + turned * sin


class RMSNorm(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x):
        if _RMS is not None:
            return _RMS(x, self.weight.shape, self.weight.to(x.dtype), self.eps)
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)
        return (self.weight * y).to(x.dtype)


class VisionBlock(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        d = cfg["hidden_size"]
        self.heads = cfg["num_heads"]
        self.norm1 = nn.LayerNorm(d, eps=1e-6)
        self.norm2 = nn.LayerNorm(d, eps=1e-6)
        self.attn = nn.Module()
        self.attn.qkv = nn.Linear(d, 3 * d)
        self.attn.proj = nn.Linear(d, d)
        self.mlp = nn.Module()
        self.mlp.linear_fc1 = nn.Linear(d, cfg["intermediate_size"])
        self.mlp.linear_fc2 = nn.Linear(cfg["intermediate_size"], d)

    def forward(self, x, cos, sin):
        b, n, d = x.shape
        qkv = self.attn.qkv(self.norm1(x)).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        cos, sin = cos.to(qkv.dtype), sin.to(qkv.dtype)   # in training half precision is enough here
        q, k = rotate(qkv[0], cos, sin), rotate(qkv[1], cos, sin)
        a = attention(q, k, qkv[2], False).transpose(1, 2).reshape(b, n, d)
        x = x + self.attn.proj(a)
        h = F.gelu(self.mlp.linear_fc1(self.norm2(x)), approximate="tanh")
        return x + self.mlp.linear_fc2(h)


class Merger(nn.Module):
    """Four patches to one token; the DeepStack kind normalises after the reshape (spec 6.5)."""

    def __init__(self, d, out, after):
        super().__init__()
        self.wide, self.after = 4 * d, after
        self.norm = nn.LayerNorm(4 * d if after else d, eps=1e-6)
        self.linear_fc1 = nn.Linear(4 * d, 4 * d)
        self.linear_fc2 = nn.Linear(4 * d, out)

    def forward(self, x):
        shape = x.shape[:-2] + (x.shape[-2] // 4, self.wide)
        x = self.norm(x.reshape(shape)) if self.after else self.norm(x).reshape(shape)
        return self.linear_fc2(F.gelu(self.linear_fc1(x)))


class Visual(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        d = cfg["hidden_size"]
        self.cfg, self.side = cfg, int(math.isqrt(cfg["num_position_embeddings"]))
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv3d(3, d, (2, 16, 16), (2, 16, 16))
        self.pos_embed = nn.Embedding(cfg["num_position_embeddings"], d)
        self.blocks = nn.ModuleList(VisionBlock(cfg) for _ in range(cfg["depth"]))
        self.merger = Merger(d, cfg["out_hidden_size"], False)
        self.deepstack_merger_list = nn.ModuleList(
            Merger(d, cfg["out_hidden_size"], True) for _ in cfg["deepstack_visual_indexes"])
        self.cache = {}

    def grid(self, gh, gw, device):
        """Row order, rotary tables and position interpolation of a gh x gw patch grid (spec 5.4, 6.2, 6.3)."""
        key = (gh, gw, str(device))
        if key not in self.cache:
            y, x = torch.meshgrid(torch.arange(gh), torch.arange(gw), indexing="ij")
            order = torch.stack((y, x)).view(2, gh // 2, 2, gw // 2, 2).permute(0, 1, 3, 2, 4).reshape(2, -1)
            y, x = order[0], order[1]
            quarter = self.cfg["hidden_size"] // self.cfg["num_heads"] // 4
            freq = 10000.0 ** (-torch.arange(quarter).float() / quarter)
            angle = torch.cat((y[:, None] * freq, x[:, None] * freq), -1)
            angle = torch.cat((angle, angle), -1)
            u = (y.float() * (self.side - 1) / max(gh - 1, 1))
            v = (x.float() * (self.side - 1) / max(gw - 1, 1))
            y0, x0 = u.long(), v.long()
            y1, x1 = (y0 + 1).clamp(max=self.side - 1), (x0 + 1).clamp(max=self.side - 1)
            dy, dx = u - y0, v - x0
            index = torch.stack((y0 * self.side + x0, y0 * self.side + x1, y1 * self.side + x0, y1 * self.side + x1))
            weight = torch.stack(((1 - dy) * (1 - dx), (1 - dy) * dx, dy * (1 - dx), dy * dx))
            self.cache[key] = tuple(t.to(device) for t in (angle.cos(), angle.sin(), index, weight))
        return self.cache[key]

    def forward(self, rows, gh, gw):
        """rows [G, gh*gw, 1536] in the processor's order -> [G, n/4, H] and one such tensor per tap."""
        cos, sin, index, weight = self.grid(gh, gw, rows.device)
        x = F.linear(rows, self.patch_embed.proj.weight.flatten(1), self.patch_embed.proj.bias)
        pos = (F.embedding(index, self.pos_embed.weight) * weight[..., None]).sum(0)
        x = x + pos.to(x.dtype)
        taps = []
        for i, block in enumerate(self.blocks):
            x = block(x, cos, sin)
            if i in self.cfg["deepstack_visual_indexes"]:
                k = self.cfg["deepstack_visual_indexes"].index(i)
                taps.append(self.deepstack_merger_list[k](x))
        return self.merger(x), taps


class TextLayer(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        h, d = cfg["hidden_size"], cfg["head_dim"]
        self.heads, self.kv, self.d = cfg["num_attention_heads"], cfg["num_key_value_heads"], d
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(h), RMSNorm(h)
        a = self.self_attn = nn.Module()
        a.q_proj = nn.Linear(h, self.heads * d, bias=False)
        a.k_proj = nn.Linear(h, self.kv * d, bias=False)
        a.v_proj = nn.Linear(h, self.kv * d, bias=False)
        a.o_proj = nn.Linear(self.heads * d, h, bias=False)
        a.q_norm, a.k_norm = RMSNorm(d), RMSNorm(d)
        m = self.mlp = nn.Module()
        m.gate_proj = nn.Linear(h, cfg["intermediate_size"], bias=False)
        m.up_proj = nn.Linear(h, cfg["intermediate_size"], bias=False)
        m.down_proj = nn.Linear(cfg["intermediate_size"], h, bias=False)

    def qkv(self, x, cos, sin):
        b, t, _ = x.shape
        a, n = self.self_attn, self.input_layernorm(x)
        q = a.q_norm(a.q_proj(n).view(b, t, self.heads, self.d)).transpose(1, 2)
        k = a.k_norm(a.k_proj(n).view(b, t, self.kv, self.d)).transpose(1, 2)
        v = a.v_proj(n).view(b, t, self.kv, self.d).transpose(1, 2)
        cos, sin = cos.to(v.dtype), sin.to(v.dtype)
        return rotate(q, cos, sin), rotate(k, cos, sin), v

    def finish(self, x, a):
        b, t, _ = x.shape
        x = x + self.self_attn.o_proj(a.transpose(1, 2).reshape(b, t, self.heads * self.d))
        m, n = self.mlp, self.post_attention_layernorm(x)
        return x + m.down_proj(F.silu(m.gate_proj(n)) * m.up_proj(n))

    def forward(self, x, cos, sin):
        q, k, v = self.qkv(x, cos, sin)
        r = self.heads // self.kv
        k, v = k.repeat_interleave(r, 1), v.repeat_interleave(r, 1)
        return self.finish(x, attention(q, k, v, True))

    def step(self, x, cos, sin, keys, values, at, mask):
        """One new token per row: writes its key and value at index at[b], attends where mask [B, cap] is true."""
        q, k, v = self.qkv(x, cos, sin)
        rows = torch.arange(x.shape[0], device=x.device)
        keys[rows, :, at] = k[:, :, 0].to(keys.dtype)
        values[rows, :, at] = v[:, :, 0].to(values.dtype)
        r = self.heads // self.kv
        kk, vv = keys.repeat_interleave(r, 1).to(q.dtype), values.repeat_interleave(r, 1).to(q.dtype)
        s = (q @ kk.transpose(-1, -2)).float() / math.sqrt(self.d)
        s = s.masked_fill(~mask[:, None, None], float("-inf"))
        return self.finish(x, s.softmax(-1).to(vv.dtype) @ vv)


class Text(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.embed_tokens = nn.Embedding(cfg["vocab_size"], cfg["hidden_size"])
        self.layers = nn.ModuleList(TextLayer(cfg) for _ in range(cfg["num_hidden_layers"]))
        self.norm = RMSNorm(cfg["hidden_size"])
        rope = cfg.get("rope_parameters") or cfg.get("rope_scaling")
        self.section = rope["mrope_section"]
        self.theta = rope.get("rope_theta", cfg.get("rope_theta"))

    def rope(self, pos):
        """pos [3,B,T] -> cos, sin [B,1,T,d]; interleaved axes (spec 7.3)."""
        half = self.cfg["head_dim"] // 2
        i = torch.arange(half, device=pos.device)
        freq = self.theta ** (-i.float() / half)
        axis = torch.where((i % 3 == 1) & (i < 3 * self.section[1]), 1,
                           torch.where((i % 3 == 2) & (i < 3 * self.section[2]), 2, 0))
        angle = pos.float()[axis].permute(1, 2, 0) * freq
        angle = torch.cat((angle, angle), -1)[:, None]
        return angle.cos(), angle.sin()


class Qwen3VL(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.model = nn.Module()
        self.model.visual = Visual(cfg["vision_config"])
        self.model.language_model = Text(cfg["text_config"])
        if not cfg["tie_word_embeddings"]:
            t = cfg["text_config"]
            self.lm_head = nn.Linear(t["hidden_size"], t["vocab_size"], bias=False)

    def head(self, h):
        w = self.model.language_model.embed_tokens.weight if self.cfg["tie_word_embeddings"] else self.lm_head.weight
        return F.linear(h, w)

    def embed(self, ids, rows, grid, vis_index):
        """Token embeddings with visual rows put in, and the DeepStack additions.

        rows [B,K,n,1536] or None; vis_index [B,T] is the number of the visual token in its sample, -1 for text.
        """
        x = self.model.language_model.embed_tokens(ids)
        if rows is None:
            return x, [], None
        b, k, n, c = rows.shape
        feats, taps = self.model.visual(rows.reshape(b * k, n, c), *grid)
        feats = feats.reshape(b, k * n // 4, -1)
        at = vis_index.clamp(min=0)[..., None].expand(-1, -1, feats.shape[-1])
        seen = (vis_index >= 0)[..., None]
        x = torch.where(seen, feats.gather(1, at).to(x.dtype), x)
        adds = [torch.where(seen, t.reshape(feats.shape).gather(1, at), torch.zeros((), dtype=t.dtype, device=t.device))
                for t in taps]
        return x, adds, feats

    def forward(self, ids, pos, rows=None, grid=None, vis_index=None, tap_layer=None, cache=None):
        """Final hidden states [B,T,H] (normed), the visual features and the hidden states after tap_layer."""
        text = self.model.language_model
        x, adds, feats = self.embed(ids, rows, grid, vis_index)
        cos, sin = text.rope(pos)
        tapped = None
        for i, layer in enumerate(text.layers):
            if cache is not None:
                _, k, v = layer.qkv(x, cos, sin)
                cache[i][0][:, :, :ids.shape[1]] = k.to(cache[i][0].dtype)
                cache[i][1][:, :, :ids.shape[1]] = v.to(cache[i][1].dtype)
            x = layer(x, cos, sin)
            if i < len(adds):
                x = x + adds[i].to(x.dtype)
            if i == tap_layer:
                tapped = x
        return text.norm(x), feats, tapped

    def init_weights(self, seed):
        """Normal init by fan-in; outputs into the residual streams are scaled down by depth."""
        g = torch.Generator().manual_seed(seed)
        depth = {"visual": len(self.model.visual.blocks), "language_model": len(self.model.language_model.layers)}
        for name, p in self.named_parameters():
            if p.dim() == 1:
                continue
            std = p[0].numel() ** -0.5
            if name.endswith(("proj.weight", "linear_fc2.weight")) and ("o_proj" in name or "down_proj" in name
                                                                        or "blocks" in name):
                std /= math.sqrt(2 * depth[name.split(".")[1]])
            if "pos_embed" in name or "embed_tokens" in name:
                std = 0.04
            with torch.no_grad():
                p.copy_(torch.randn(p.shape, generator=g) * std)
        for name, p in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(p)

"""Rendered wooden blocks with metal screws and empty holes: texture, light, shadow, rotation."""
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .common import pick, smooth_field

_bank = {}


def texture(seed, side=900):
    """Wood grain, uint8 [side,side,3]: stretched noise, growth rings with a slow warp, pores and scratches."""
    g = np.random.default_rng([77, seed])
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    warp = smooth_field(g, side, side, 5, -40, 40) + smooth_field(g, side, side, 12, -8, 8)
    period = g.uniform(18, 60)
    rings = np.sin((x + warp) / period * 2 * np.pi + 2 * np.sin((x + warp) / (period * 3.7)))
    streak = g.standard_normal((max(side // 90, 2), side)).astype(np.float32)
    lo = np.clip(streak * 40 + 128, 0, 255).astype(np.uint8)
    grain = np.asarray(Image.fromarray(lo).resize((side, side), Image.BICUBIC), np.float32) / 255 - 0.5
    fine = np.clip(g.standard_normal((side // 6, side)) * 50 + 128, 0, 255).astype(np.uint8)
    fine = np.asarray(Image.fromarray(fine).resize((side, side), Image.BILINEAR), np.float32) / 255 - 0.5
    v = 1 + 0.05 * g.uniform(0.3, 1.6) * rings + 0.16 * grain + 0.10 * fine
    base = np.array(pick(g, [(190, 140, 85), (205, 160, 105), (170, 115, 65), (215, 180, 130), (150, 100, 60),
                             (200, 150, 70)]), np.float32) * g.uniform(0.85, 1.1)
    img = base * v[..., None]
    img[..., 2] *= 1 - 0.05 * rings
    out = Image.fromarray(np.clip(img, 0, 255).astype(np.uint8))
    d = ImageDraw.Draw(out, "RGBA")
    for _ in range(int(g.integers(5, 40))):  # scratches
        px, py = g.uniform(0, side, 2)
        a, length = g.uniform(0, 2 * np.pi), g.uniform(10, 180)
        shade = (255, 230, 190, 60) if g.random() < 0.5 else (50, 25, 10, 60)
        d.line([px, py, px + length * np.cos(a), py + length * np.sin(a)], fill=shade, width=1)
    for _ in range(int(g.integers(20, 200))):  # pores
        px, py = g.uniform(0, side, 2)
        d.line([px, py, px, py + g.uniform(4, 25)], fill=(60, 30, 10, 70), width=1)
    return out


def prepare(salt, count=40):
    """Makes the textures before worker processes are forked, so that they share them."""
    _bank.clear()
    _bank.update({"salt": salt, "count": count})
    for k in range(count):
        _bank[k] = texture(k + 1000 * salt)


def background(rng, h, w):
    """A lit piece of wood as float32 [h,w,3]."""
    key = int(rng.integers(_bank.get("count", 12)))
    if key not in _bank:
        _bank[key] = texture(key + 1000 * int(_bank.get("salt", 0)))
    src = _bank[key]
    a, s = rng.normal(0, 0.25) + pick(rng, [0, 0, np.pi / 2]), rng.uniform(0.6, 1.15) * 900 / (1.45 * max(h, w))
    c, n = np.cos(a) * s, np.sin(a) * s
    coeff = (c, -n, 450 - c * w / 2 + n * h / 2, n, c, 450 - n * w / 2 - c * h / 2)
    img = np.asarray(src.transform((w, h), Image.AFFINE, coeff, Image.BILINEAR), np.float32)
    light = smooth_field(rng, h, w, int(rng.integers(2, 5)), rng.uniform(0.5, 0.9), rng.uniform(1.0, 1.35))
    tint = np.exp(rng.normal(0, 0.05, 3)).astype(np.float32)
    return img * (light[..., None] * tint)


def _plate(rng, xx, yy, r):
    """Screw head shading and the drive recess; coordinates in pixels from the centre -> rgb [n,n,3], alpha [n,n]."""
    d = np.hypot(xx, yy)
    a = rng.uniform(0, 2 * np.pi)
    base = rng.uniform(70, 190)
    slope = (xx * np.cos(a) + yy * np.sin(a)) / r
    v = base + slope * rng.uniform(10, 55)
    v = v + np.where(d > 0.82 * r, slope * rng.uniform(10, 60), 0)             # bevel
    v = v + 10 * np.sin(d * rng.uniform(0.8, 2.2))                              # turning marks
    b = rng.uniform(0, 2 * np.pi)
    u, t = xx * np.cos(b) + yy * np.sin(b), -xx * np.sin(b) + yy * np.cos(b)
    kind = pick(rng, ["square", "square", "phillips", "slot", "hex", "torx"])
    k = r * rng.uniform(0.3, 0.46)
    if kind == "square":
        recess = np.maximum(abs(u), abs(t)) - k * 0.85
    elif kind == "phillips":
        wide = k * 0.32
        recess = np.minimum(np.maximum(abs(u) - wide, abs(t) - k * 1.4), np.maximum(abs(t) - wide, abs(u) - k * 1.4))
    elif kind == "slot":
        recess = np.maximum(abs(u) - k * 0.3, abs(t) - r * 0.86)
    elif kind == "hex":
        recess = np.maximum(abs(u), np.maximum(abs(u * 0.5 + t * 0.866), abs(u * 0.5 - t * 0.866))) - k
    else:
        recess = np.hypot(u, t) - k * (1 + 0.18 * np.cos(6 * np.arctan2(t, u)))
    inside = np.clip(0.5 - recess, 0, 1)
    depth = base * rng.uniform(0.15, 0.5) + slope * -rng.uniform(20, 80)
    v = v * (1 - inside) + depth * inside
    v = v + np.where((abs(recess) < max(1.2, r * 0.05)), -slope * 60, 0)        # lit edge of the recess
    tint = np.array([1.0, rng.uniform(0.95, 1.02), rng.uniform(0.85, 1.08)])
    if rng.random() < 0.2:
        tint = np.array([1.1, 0.95, 0.6])                                       # brass
    return np.clip(v[..., None] * tint, 0, 255), np.clip(r - d + 0.5, 0, 1)


def add_screw(rng, img, cx, cy, r, light):
    """Draws a screw head and its shadow into the float image."""
    m = int(r * 1.6) + 3
    x0, y0 = int(cx) - m, int(cy) - m
    ys, xs = slice(max(y0, 0), y0 + 2 * m), slice(max(x0, 0), x0 + 2 * m)
    view = img[ys, xs]
    yy, xx = np.mgrid[ys.start:ys.start + view.shape[0], xs.start:xs.start + view.shape[1]].astype(np.float32)
    xx, yy = xx + 0.5 - cx, yy + 0.5 - cy
    off = r * rng.uniform(0.08, 0.3)
    soft = np.hypot(xx - off * np.cos(light), yy - off * np.sin(light))
    shadow = np.clip((r * 1.22 - soft) / (r * 0.35), 0, 1) * rng.uniform(0.3, 0.65)
    rgb, alpha = _plate(rng, xx, yy, r)
    base = view * (1 - shadow[..., None])
    view[:] = base * (1 - alpha[..., None]) + rgb * alpha[..., None]


def add_hole(rng, img, cx, cy, r, light):
    """Draws an empty hole with a torn rim; r is the radius that the head would have."""
    m = int(r * 1.3) + 3
    x0, y0 = int(cx) - m, int(cy) - m
    ys, xs = slice(max(y0, 0), y0 + 2 * m), slice(max(x0, 0), x0 + 2 * m)
    view = img[ys, xs]
    yy, xx = np.mgrid[ys.start:ys.start + view.shape[0], xs.start:xs.start + view.shape[1]].astype(np.float32)
    xx, yy = xx + 0.5 - cx, yy + 0.5 - cy
    d, th = np.hypot(xx, yy), np.arctan2(yy, xx)
    hole = r * rng.uniform(0.22, 0.5)
    jag = sum(rng.uniform(0.02, 0.14) * np.sin(k * th + rng.uniform(0, 6.3)) for k in (2, 3, 5, 8, 13))
    rim = hole * rng.uniform(1.15, 2.2) * (1 + jag)
    slope = (xx * np.cos(light) + yy * np.sin(light)) / np.maximum(d, 1)
    ring = np.clip((rim - d) / 2, 0, 1)
    rough = 1 + 0.25 * np.sin(th * rng.integers(9, 25) + d * 0.4)
    torn = view.mean(axis=(0, 1)) * rng.uniform(0.75, 1.25) * (1 + 0.3 * slope * rough)[..., None]
    view[:] = view * (1 - ring[..., None]) + torn * ring[..., None]
    ox, oy = rng.normal(0, hole * 0.12, 2)
    dark = np.clip((hole * (1 + 0.3 * jag) - np.hypot(xx - ox, yy - oy)) / max(1.5, hole * 0.2), 0, 1)
    black = np.array([22, 14, 8], np.float32) * rng.uniform(0.5, 1.8)
    view[:] = view * (1 - dark[..., None]) + black * dark[..., None]


def block(rng, h, w, rows, cols, present):
    """A block with rows x cols positions -> uint8 image and [(pixel box, state)] in row order.

    A box is centred on its position and 2.3 head diameters wide, like the labels of the photographs.
    """
    img = background(rng, h, w)
    angle = float(np.clip(rng.normal(0, 0.12), -0.3, 0.3))
    pitch_x, pitch_y = w / (cols + rng.uniform(-0.1, 0.55)), h / (rows + rng.uniform(-0.1, 0.55))
    pitch = min(pitch_x, pitch_y)
    pitch_x, pitch_y = min(pitch_x, pitch * 1.5), min(pitch_y, pitch * 1.5)
    r = pitch * rng.uniform(0.11, 0.2)
    jx, jy = rng.normal(0, 0.05, 2) * (w, h)
    light = rng.uniform(0, 2 * np.pi)
    places = []
    for i in range(rows):
        for j in range(cols):
            u, v = (j - (cols - 1) / 2) * pitch_x, (i - (rows - 1) / 2) * pitch_y
            cx = w / 2 + jx + u * np.cos(angle) - v * np.sin(angle) + rng.normal(0, 0.015) * pitch
            cy = h / 2 + jy + u * np.sin(angle) + v * np.cos(angle) + rng.normal(0, 0.015) * pitch
            cx, cy = min(max(cx, r), w - r), min(max(cy, r), h - r)
            (add_screw if present[i * cols + j] else add_hole)(rng, img, cx, cy, r * rng.uniform(0.95, 1.05), light)
            s = 2.3 * r
            box = [max(cx - s, 0), max(cy - s, 0), min(cx + s, w), min(cy + s, h)]
            places.append((box, "screw" if present[i * cols + j] else "missing"))
    for _ in range(int(rng.integers(0, 3))):  # dark stains and pencil marks as distraction
        add_stain(rng, img)
    out = Image.fromarray(np.clip(img, 0, 255).astype(np.uint8))
    blur = rng.uniform(0, 1.1)
    if blur > 0.35:
        out = out.filter(ImageFilter.BoxBlur(blur * 0.9))
    return np.asarray(out), places


def add_stain(rng, img):
    h, w = img.shape[:2]
    f = smooth_field(rng, h, w, int(rng.integers(5, 12)), 0, 1)
    img *= np.where(f > 0.8, 1 - (f - 0.8) * rng.uniform(0.5, 2.0), 1.0)[..., None]

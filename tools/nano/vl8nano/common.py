"""What every generator shares: the sample record, class numbers of the dense heads, boxes, photo finish."""
import dataclasses
import json

import numpy as np
from PIL import Image

PCB = ["mousebite", "spur", "open", "short", "copper", "pin-hole"]
SCREW = ["screw", "missing"]
COLOURS = ["red", "green", "blue", "yellow", "orange", "purple", "black"]
FORMS = ["circle", "square", "triangle", "star", "cross"]
LAMPS = ["off", "red", "green", "yellow", "blue", "white"]
ZH = {"red": "红色", "green": "绿色", "blue": "蓝色", "yellow": "黄色", "orange": "橙色", "purple": "紫色", "black": "黑色",
      "white": "白色", "off": "熄灭", "circle": "圆形", "square": "正方形", "triangle": "三角形", "star": "五角星",
      "cross": "十字形", "left": "左", "right": "右", "up": "上", "down": "下"}

# Dense class numbers; 0 is "nothing here".
CLS_PCB = 1
CLS_SCREW = CLS_PCB + len(PCB)
CLS_SHAPE = CLS_SCREW + len(SCREW)
CLS_BAR = CLS_SHAPE + len(COLOURS) * len(FORMS)
CLS_POINT = CLS_BAR + 1
CLS_LAMP = CLS_POINT + 1
NUM_CLASSES = CLS_LAMP + len(LAMPS) ** 2
CHAR_SLOTS = 4  # characters whose centres share one 32x32 cell, left to right


@dataclasses.dataclass
class Turn:
    question: str
    answer: str
    score: dict            # how vl8 eval scores it: {"score": kind, ...parameters}
    think: str = None      # text of the reasoning part; only for single-turn samples


@dataclasses.dataclass
class Sample:
    task: str
    lang: str
    images: list                      # uint8 [H,W] or [H,W,3], all of one size
    turns: list
    fps: float = None                 # set for a clip: images are its frames
    marks: list = dataclasses.field(default_factory=list)   # (image, x, y, class, box or None, value or None), pixels
    chars: list = None                # (image, x, y, character); None leaves the character head unsupervised


def pick(rng, items):
    return items[int(rng.integers(len(items)))]


def norm_box(box, width, height):
    """Pixel box -> integers 0..1000, the family's convention."""
    sx, sy = 1000.0 / width, 1000.0 / height
    x1, y1, x2, y2 = box
    out = [x1 * sx, y1 * sy, x2 * sx, y2 * sy]
    return [int(min(max(round(v), 0), 1000)) for v in out]


def box_json(items):
    """[(box 0..1000, label)] -> the answer text."""
    parts = ['{"bbox_2d":[%d,%d,%d,%d],"label":%s}' % (*b, json.dumps(label, ensure_ascii=False)) for b, label in items]
    return "[" + ",".join(parts) + "]"


def raster(items, width, height, cell=32):
    """Orders (pixel box, ...) tuples as the visual tokens of their centres are ordered."""
    def key(item):
        x1, y1, x2, y2 = item[0]
        cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
        return int(cy // cell), int(cx // cell), cy, cx
    return sorted(items, key=key)


_noise = {}


def noise_field(rng, h, w):
    """A crop of a fixed field of unit normal noise (int8, 32 = one sigma); cheap and different at every offset."""
    if "f" not in _noise:
        g = np.random.default_rng(20240607)
        _noise["f"] = np.clip(np.round(g.standard_normal((1280, 1280), dtype=np.float32) * 32), -127, 127).astype(np.int8)
    f = _noise["f"]
    y, x = int(rng.integers(f.shape[0] - h + 1)), int(rng.integers(f.shape[1] - w + 1))
    return f[y:y + h, x:x + w]


def smooth_field(rng, h, w, cells, low, high):
    """Smooth random field in low..high as float32 [h,w], from a cells x cells grid."""
    g = rng.uniform(0, 255, (cells, cells)).astype(np.uint8)
    f = np.asarray(Image.fromarray(g).resize((w, h), Image.BICUBIC), dtype=np.float32)
    return low + (high - low) * f / 255.0


def tone(rng, strength=1.0):
    """Three 256-entry tables: exposure, gamma and colour cast of a camera."""
    x = np.arange(256) / 255.0
    gamma = np.exp(rng.normal(0, 0.18) * strength)
    gain = np.exp(rng.normal(0, 0.15) * strength)
    lift = rng.normal(0, 0.03) * strength
    cast = np.exp(rng.normal(0, 0.06, 3) * strength)
    return [np.clip((x ** gamma * gain * c + lift) * 255, 0, 255).astype(np.uint8) for c in cast]


def photo_finish(rng, img, strength=1.0, noise=6.0):
    """uint8 [H,W,3] -> the same after exposure, colour cast and sensor noise."""
    tables = np.concatenate(tone(rng, strength)).tolist()
    img = np.asarray(Image.fromarray(img).point(tables))
    sigma = float(rng.uniform(0, noise))
    if sigma > 0.5:
        n = noise_field(rng, *img.shape[:2]).astype(np.int16)
        n = (n * int(sigma * 8)) >> 8
        img = np.clip(img.astype(np.int16) + n[..., None], 0, 255).astype(np.uint8)
    return img


def join_list(items, lang):
    return ("、" if lang == "zh" else ", ").join(items)

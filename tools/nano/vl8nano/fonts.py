"""Fonts of the generators. VL8_NANO_FONTS names a folder with the (subset) files; otherwise Debian's places are used."""
import functools
import os
import pathlib

from PIL import ImageFont

LATIN = ["DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf", "DejaVuSerif.ttf",
         "DejaVuSansCondensed.ttf", "DejaVuSansCondensed-Bold.ttf", "DejaVuSerif-Bold.ttf", "DejaVuSans-Oblique.ttf"]
# (file, index in the collection of the simplified Chinese face)
CJK = [("NotoSansCJK-Regular.ttc", 2), ("NotoSansCJK-Bold.ttc", 2), ("NotoSerifCJK-Regular.ttc", 2),
       ("NotoSerifCJK-Bold.ttc", 2)]
_DEBIAN = ["/usr/share/fonts/truetype/dejavu", "/usr/share/fonts/opentype/noto"]


def find(name):
    """Path of a font file and whether it is a subset (one face, converted) of ours."""
    own = os.environ.get("VL8_NANO_FONTS")
    if own:
        path = pathlib.Path(own) / name
        sub = path.with_suffix(".otf")
        if sub.exists() and path.suffix == ".ttc":
            return str(sub), True
        if path.exists():
            return str(path), False
    for d in _DEBIAN:
        if (pathlib.Path(d) / name).exists():
            return str(pathlib.Path(d) / name), False
    raise FileNotFoundError(f"font {name}: set VL8_NANO_FONTS or install fonts-dejavu and fonts-noto-cjk")


@functools.lru_cache(maxsize=512)
def latin(which, size):
    return ImageFont.truetype(find(LATIN[which])[0], size)


@functools.lru_cache(maxsize=512)
def cjk(which, size):
    name, index = CJK[which]
    path, own = find(name)
    return ImageFont.truetype(path, size, index=0 if own else index)

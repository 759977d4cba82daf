"""Subsets the generators' fonts to their characters: python3 subset_fonts.py OUT_DIR (needs fonttools)."""
import pathlib
import sys

from fontTools import subset
from fontTools.ttLib import TTFont

from vl8nano import fonts, words


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name, index in [(n, -1) for n in fonts.LATIN] + fonts.CJK:
        font = TTFont(fonts.find(name)[0], fontNumber=index)
        s = subset.Subsetter(subset.Options(layout_features=["kern"], notdef_outline=True))
        s.populate(text=" " + words.ALPHABET)
        s.subset(font)
        font.save(out / pathlib.Path(name).with_suffix(".otf" if index >= 0 else ".ttf"))


if __name__ == "__main__":
    main()

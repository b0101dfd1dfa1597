"""Fonts of the figures: scripts of many languages where a font on this machine has them, else the names of the letters."""

from __future__ import annotations

import unicodedata
from functools import cache

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

FAMILIES = (
    "DejaVu Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Noto Sans SC", "WenQuanYi Zen Hei", "IPAGothic",
    "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Thai", "Noto Sans Symbols2", "Noto Emoji",
)  # fmt: skip
"""Families that are looked for, the first that has a letter draws it. matplotlib brings DejaVu Sans itself."""
INVISIBLE = ("Cf", "Mn", "Me")
"""Categories of joiners, direction marks and accents, which are left out where no font has them."""


@cache
def installed_families() -> tuple[str, ...]:
    """The families of FAMILIES that are on this machine."""
    known = {entry.name for entry in font_manager.fontManager.ttflist}
    return tuple(name for name in FAMILIES if name in known)


@cache
def known_letters(families: tuple[str, ...]) -> frozenset[int]:
    """Code points that some of the families can draw."""
    found: set[int] = set()
    for name in families:
        found |= set(FT2Font(font_manager.findfont(name, fallback_to_default=False)).get_charmap())
    return frozenset(found)


def drawable(text: str) -> str:
    """Text in which each letter that no font has is replaced by its name, so that no figure shows an empty box.

    >>> drawable("a dog \\U000F0000")
    'a dog [U+F0000]'
    """
    known = known_letters(installed_families())
    return "".join(letter if ord(letter) in known or letter == "\n" else _named(letter) for letter in text)


def _named(letter: str) -> str:
    if unicodedata.category(letter) in INVISIBLE:
        return ""
    return f"[{unicodedata.name(letter, f'U+{ord(letter):04X}').replace('CJK UNIFIED IDEOGRAPH-', 'U+')}]"


def cells(letter: str) -> float:
    """Room that a letter needs in a line, in letters of ordinary width."""
    if unicodedata.east_asian_width(letter) in "WF":
        return 2.0
    return 1.6 if letter in "WMmw@%&" else 1.3 if letter.isupper() else 1.0


def split_line(text: str, width: float) -> tuple[str, str]:
    """The first line of a text, broken at a blank if there is one, and the rest.

    >>> split_line("one two three", 8), split_line("WWWWW", 3.5)
    (('one two', 'three'), ('WW', 'WWW'))
    """
    room, end = width, 0
    while end < len(text) and room >= cells(text[end]):
        room -= cells(text[end])
        end += 1
    if end == len(text):
        return text, ""
    blank = text.rfind(" ", 0, end + 1)
    return (text[:blank], text[blank + 1 :]) if blank > 0 else (text[: max(1, end)], text[max(1, end) :])

"""Captions and prompts as text: from bytes of unknown encoding, and without characters that no caption has.

A text that was decoded wrongly would be searched for and generated as if somebody had written it. So a text is decoded without
doubt, or it is left out and the row says why. Standard library only.
"""

from __future__ import annotations

import codecs
import re

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark begins this one
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
PLANES = "".join(f"{chr(plane * 0x10000 + 0xFFFE)}{chr(plane * 0x10000 + 0xFFFF)}" for plane in range(17))
FORBIDDEN = re.compile(f"[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff\ufffd\ud800-\udfff\ufdd0-\ufdef{PLANES}]")
"""Control characters except tab and line breaks, the byte-order mark, the replacement character, halves of surrogate pairs, and
code points that Unicode keeps free. They come from another encoding or from damage."""

UNKNOWN = "it is in an unknown encoding"
GUESSED = "its caption was read as Windows-1252"
WIDE = 0.75  # least share of zero bytes among the high bytes that tells UTF-16 without a mark

SMALL, CAPITAL = "àáâãäåæçèéêëìíîïñòóôõöøùúûüÿœß", "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜŒ"
ACCENTED = SMALL + CAPITAL
SIGNS = "‘’“”„–—…•«»¡¿°©®™€£\xa0"
ALONE = "àÀéÉèÈóÓåÅöÖøØ"
"""Accented letters that are words."""
NO_LATIN = re.compile(
    rf"[^\0-\x7f{ACCENTED}{SIGNS}]"
    r"|[^\0-\x7f]{3}"
    rf"|[a-z{SMALL}][{CAPITAL}]"
    rf"|(?<![A-Za-z{ACCENTED}])(?:[{ACCENTED}]{{2,}}|(?![{ALONE}])[{ACCENTED}])(?![A-Za-z{ACCENTED}])"
)
"""What other encodings look like when they are read as Windows-1252.

They have strange signs, runs of high bytes, capitals within a word, and words without an ASCII letter.
"""


def checked_text(text: str) -> tuple[str, str]:
    """A caption or prompt without a byte-order mark at its start, and ''. If it has a forbidden character: '', and why.

    >>> checked_text("\\ufeffa cat"), checked_text("a\\0cat")
    (('a cat', ''), ('', 'it has the character U+0000'))
    """
    if text.isascii() and text.isprintable():
        return text, ""  # a shortcut for nearly every text: lists have millions
    text = text.removeprefix("\ufeff")
    found = FORBIDDEN.search(text)
    return ("", f"it has the character U+{ord(found[0]):04X}") if found else (text, "")


def no_caption(fault: str) -> str:
    """What the row of a clip says whose caption is left out for a fault; '' without one."""
    return f"no caption: {fault}" if fault else ""


def decode_caption(data: bytes) -> tuple[str, str]:
    """Decode a caption, without blanks around it and with line breaks as newlines.

    Returns:
        The caption; and what its row says of it: why there is none, or that its encoding was guessed.
    """
    text, fault, noticed = decode_text(data)
    text, fault = (text, fault) if fault else checked_text(text)
    return text.replace("\r\n", "\n").replace("\r", "\n").strip(), no_caption(fault) or noticed


def decode_text(data: bytes) -> tuple[str, str, str]:
    """Decode text by its byte-order mark, else as UTF-8, else as UTF-16 by its zero bytes, else as Windows-1252.

    Windows-1252 (Latin-1) fits nearly any bytes. It is taken only if the result looks like a Latin text.

    Returns:
        The text; why it cannot be decoded, '' if it can; and GUESSED if its encoding was guessed, else ''.
    """
    marked = next(((mark, encoding) for mark, encoding in MARKS if data.startswith(mark)), None)
    wide = "" if marked else _wide(data)
    try:
        if marked:
            return data[len(marked[0]) :].decode(marked[1]), "", ""
        return data.decode(wide or "utf-8"), "", ""
    except UnicodeDecodeError:
        guess = "" if marked or wide else _latin(data)
        return (guess, "", GUESSED) if guess else ("", UNKNOWN, "")


def _wide(data: bytes) -> str:
    """Encoding of UTF-16 without a mark: most of its high bytes are zero, and no low byte is. '' for other data."""
    even, odd = data[::2].count(0), data[1::2].count(0)
    if len(data) % 2 or not data or (even and odd) or 2 * (even + odd) < WIDE * len(data):
        return ""
    return "utf-16-le" if odd else "utf-16-be"


def _latin(data: bytes) -> str:
    """Text of data in Windows-1252; '' unless the text looks Latin: two thirds of its letters at least are of ASCII."""
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return ""
    letters = [letter for letter in text if letter.isalpha()]
    accented = sum(letter in ACCENTED for letter in letters)
    quotes = sum(text.count(sign) for sign in "“”„")
    return "" if NO_LATIN.search(text) or 3 * accented > len(letters) or quotes % 2 else text

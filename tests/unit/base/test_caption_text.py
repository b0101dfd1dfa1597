"""Captions in any encoding: decoded right, or left out with the reason; never garbled."""

import pytest

from hostile_prompts import HOSTILE, REFUSED
from vidmem.base.caption_text import checked_text, decode_caption

GUESSED = "its caption was read as Windows-1252"
UNKNOWN = "no caption: it is in an unknown encoding"


@pytest.mark.parametrize("text", ["a cat", "café ☕ 🎉", "猫の写真", "two\nlines\tand a tab", ""])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_marks_and_utf8_tell_the_encoding(text, encoding):
    assert decode_caption(text.encode(encoding)) == (text, "")
    if encoding != "utf-8":
        mark = {"utf-16": b"\xfe\xff", "utf-32": b"\0\0\xfe\xff"}.get(encoding, b"\xef\xbb\xbf")
        other = encoding if encoding == "utf-8-sig" else f"{encoding}-be"
        content = text.encode(other)
        assert decode_caption(content if encoding == "utf-8-sig" else mark + content) == (text, "")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_told_by_its_zero_bytes(encoding):
    for text in ("a cat", "café", "it’s a “cat” on the table", "a"):
        assert decode_caption(f" {text}\r\n".encode(encoding)) == (text, "")
    caption, why = decode_caption("кот на столе".encode(encoding))
    assert caption == ""
    assert why.startswith("no caption: ")


@pytest.mark.parametrize(
    "text",
    ["café", "un été à Paris", "Ein Mädchen mit großem Hund", "La señora come piñas",
     "it’s a “naïve” photo – 3 €", "Øl og smørrebrød",
     "un cœur créé", "«Où est le chat?»", "© an artist"],
)  # fmt: skip
def test_latin_text_is_read_and_the_guess_is_told(text):
    assert decode_caption(text.encode("cp1252")) == (text, GUESSED)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("猫の写真", "shift_jis"), ("a photo of 日本", "shift_jis"), ("ネコ on a mat", "shift_jis"),
        ("猫がいる cat", "euc_jp"),
        ("一只猫在桌子上", "gbk"), ("AI 照片 of a dog", "gbk"), ("a red 红色的球", "gb18030"), ("貓在桌子上", "big5"),
        ("кот на столе", "koi8-r"), ("a photo of кот", "koi8-r"), ("Кот и пёс", "koi8-r"), ("кот на столе", "cp1251"),
        ("a photo of кот", "cp1251"), ("photo на table", "cp1251"), ("고양이", "euc_kr"), ("γάτα στο τραπέζι", "iso8859-7"),
        ("żółw i ślimak", "cp1250"), ("café", "mac_roman"), ("café", "cp437"), ("şeker ağacı", "cp1254"), ("חתול", "cp1255"),
    ],
)  # fmt: skip
def test_other_encodings_are_refused_not_garbled(text, encoding):
    assert decode_caption(text.encode(encoding)) == ("", UNKNOWN)


@pytest.mark.parametrize(
    "data",
    [
        "a café".encode()[:-1],
        "日本".encode()[:-1],
        "a caté".encode("utf-16")[:-1],
        b"\xff\xfe\x00\xd8",
        b"cat \xff\xfe\xfd\xfc",
    ],
)
def test_cut_text_is_refused(data):
    assert decode_caption(data) == ("", UNKNOWN)


@pytest.mark.parametrize("data", [b"a cat\0", b"cat\0dog\0", b"\0" * 6, "a\ufffdcat".encode(), "a cat".encode("utf-32-le")])
def test_bytes_with_forbidden_characters_give_no_caption(data):
    caption, why = decode_caption(data)
    assert caption == ""
    assert why.startswith("no caption: it has the character U+")


def test_line_breaks_become_newlines_and_blanks_around_go():
    assert decode_caption(b" two\r\nlines\rand one\n\n") == ("two\nlines\nand one", "")


@pytest.mark.parametrize("text", REFUSED)
def test_characters_that_no_caption_has_are_named(text):
    assert checked_text(text) == ("", f"it has the character {REFUSED[text]}")


def test_hostile_text_of_real_characters_stays():
    for text in [*HOSTILE, "", "e\u0301", "\u200bzero width", "家族"]:
        assert checked_text(text) == (text, "")
    assert checked_text("\ufeffa cat") == ("a cat", "")
    assert checked_text("half \ud83d") == ("", "it has the character U+D83D")

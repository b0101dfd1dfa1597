"""Captions from every reader: decoded right, or none with the reason in the clip's row; no item has a forbidden character."""

import csv
import io
import json
import os
import tarfile

import pandas as pd
import pytest

from hostile_prompts import REFUSED
from packed_footage import png, read, source_of
from permissions import ordinary_user
from vidmem.corpus.listing import digest_shards, list_source
from vidmem.corpus.reading import read_clips

GUESSED = "its caption was read as Windows-1252"
UNKNOWN = "no caption: it is in an unknown encoding"

TEXTS = {
    "marked": ("\ufeffa cat".encode(), "a cat", ""),
    "wide": ("a cat".encode("utf-16"), "a cat", ""),
    "wide without a mark": ("a cat".encode("utf-16-le"), "a cat", ""),
    "widest": ("a cat".encode("utf-32"), "a cat", ""),
    "latin": (b"caf\xe9", "café", GUESSED),
    "russian": ("кот".encode("koi8-r"), "", UNKNOWN),
    "broken": ("a \ufffd cat".encode(), "", "no caption: it has the character U+FFFD"),
    "null": (b"a cat\0", "", "no caption: it has the character U+0000"),
}


def tar_of(path, members):
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_texts_beside_clips(tmp_path, name, kind):
    content, caption, reason = TEXTS[name]
    if kind == "folder":
        (tmp_path / "a.png").write_bytes(png(1))
        (tmp_path / "a.txt").write_bytes(content)
        (item,) = list_source(source_of("folder", tmp_path, captions="sidecar"))
    else:
        tar_of(tmp_path / "t.tar", [("a.png", png(1)), ("a.txt", content)])
        (item,) = list_source(source_of("webdataset", tmp_path / "t.tar"))
    assert (item.caption, read(item).status, read(item).reason) == (caption, "ok", reason)


VALUES = {
    "number": (7, "7", ""),
    "fraction": (2.5, "2.5", ""),
    "texts": (["", "a cat", "a dog"], "a cat", "its caption is the first of 2"),
    "one text": (["a cat"], "a cat", ""),
    "no texts": ([], "", ""),
    "nothing": (None, "", ""),
    "numbers": ([1, 2], "", "no caption: its .json has one of type list"),
    "object": ({"en": "a cat"}, "", "no caption: its .json has one of type dict"),
    "truth": (False, "", "no caption: its .json has one of type bool"),
    "not a number": (float("nan"), "", "no caption: its .json has one of type float"),
    "half": ("\ud800", "", "no caption: it has the character U+D800"),
    "marked": ("\ufeffa cat", "a cat", ""),
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("key", ["caption", "text"])
def test_captions_in_json(tmp_path, name, key):
    value, caption, reason = VALUES[name]
    tar_of(tmp_path / "t.tar", [("a.png", png(1)), ("a.json", json.dumps({key: value}).encode())])
    (item,) = list_source(source_of("webdataset", tmp_path / "t.tar"))
    assert (item.caption, read(item).status, read(item).reason) == (caption, "ok", reason)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "cp1252"])
def test_json_of_other_encodings(tmp_path, encoding):
    content = json.dumps({"caption": "a café", "url": "http://a"}, ensure_ascii=False).encode(encoding)
    tar_of(tmp_path / "t.tar", [("a.png", png(1)), ("a.json", content), ("b.png", png(2)), ("b.json", b"\x82\xa0{")])
    items = list_source(source_of("webdataset", tmp_path / "t.tar"))
    guessed = "its caption was read as Windows-1252" if encoding == "cp1252" else ""
    assert (items[0].caption, items[0].url, items[0].noticed) == ("a café", "http://a", guessed)
    assert (items[1].caption, items[1].noticed) == ("", "its .json is not used: it is in an unknown encoding")


def test_a_text_that_cannot_be_used_leaves_the_caption_to_the_json(tmp_path):
    tar_of(tmp_path / "t.tar", [("a.png", png(1)), ("a.txt", b"\xff\xfe\xfd"), ("a.json", b'{"caption": "a cat"}')])
    (item,) = list_source(source_of("webdataset", tmp_path / "t.tar"))
    assert (item.caption, item.noticed) == ("a cat", "")
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        member = tarfile.TarInfo("a.png")
        member.size = len(png(1))
        archive.addfile(member, io.BytesIO(png(1)))
        link = tarfile.TarInfo("a.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    (item,) = list_source(source_of("webdataset", tmp_path / "t.tar"))
    assert (item.caption, item.noticed) == ("", "no caption: a text of its sample is a link or no plain file")


@pytest.mark.parametrize(("name", "caption"), [("caf\xe9 noir".encode("latin-1"), "café noir"), ("кот".encode("koi8-r"), ""),
                                               (b"a\x1bb", ""), ("猫".encode(), "猫")])  # fmt: skip
def test_file_names_as_captions(tmp_path, name, caption):
    path = os.path.join(os.fsencode(tmp_path), name + b".png")
    with open(path, "wb") as file:
        file.write(png(1))
    (item,) = list_source(source_of("images", tmp_path, captions="filename"))
    assert item.caption == caption
    assert read(item).status == "ok"
    assert read(item).reason.startswith("" if caption else "no caption: it")


def write_list(path, header, row):
    if path.suffix == ".csv":
        with open(path, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, row])
    elif path.suffix == ".parquet":
        pd.DataFrame([row], columns=header).to_parquet(path)
    else:
        path.write_text(json.dumps(dict(zip(header, row))) + "\n", encoding="utf-8")
    return path


LISTS = [
    ("list", ".csv", ["path", "caption"]), ("webvid", ".csv", ["videoid", "name"]), ("webvid", ".jsonl", ["videoid", "name"]),
    ("openvid", ".parquet", ["video", "caption"]), ("laion", ".parquet", ["URL", "TEXT"]), ("kinetics", ".csv", None),
    ("parquet", ".parquet", None),
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
@pytest.mark.parametrize(("kind", "suffix", "header"), LISTS)
def test_no_list_gives_an_item_a_forbidden_character(tmp_path, text, kind, suffix, header):
    row = ["x.mp4", text]
    if kind == "kinetics":
        header, row = ["label", "youtube_id", "time_start", "time_end"], [text, "x", 1, 11]
    elif kind == "parquet":
        header, row = ["image", "caption"], [png(1), text]
    (item,) = list_source(source_of(kind, write_list(tmp_path / f"l{suffix}", header, row)))
    assert item.caption == ""
    assert item.noticed == f"no caption: it has the character {REFUSED[text]}"
    assert read(item).reason.endswith(item.noticed)  # also where the file is gone: its caption counts all the same
    (marked,) = list_source(source_of(kind, write_list(tmp_path / f"l{suffix}", header, [
        f"\ufeff{'a cat'}" if cell == text else cell for cell in row])))  # fmt: skip
    assert (marked.caption, marked.noticed) == ("a cat", "")


def test_what_was_noticed_stands_in_the_row_and_not_in_digests_of_others(tmp_path):
    (tmp_path / "a.png").write_bytes(png(1))
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    (tmp_path / "b.png").write_bytes(png(2))
    source = source_of("folder", tmp_path, captions="sidecar", fps=1.0, fit="crop")
    corpus = {"frames": 1, "size": [16, 16], "min_information": 0.0, "max_damaged": 1.0, "sources": [source]}
    items = list_source(source)
    rows = [row for row, _ in read_clips(corpus, "c", [(source, item) for item in items])]
    assert [(row["status"], row["caption"], row["reason"]) for row in rows] == [("ok", "café", GUESSED), ("ok", "", "")]
    assert "noticed=" in repr(items[0])
    assert "noticed=" not in repr(items[1])
    assert "endings=" not in repr(items[1])
    before = digest_shards([source], 1)
    (tmp_path / "a.txt").write_bytes("café".encode())
    assert digest_shards([source], 1) != before


def test_a_text_beside_a_clip_that_cannot_be_read_is_told(open_folder):
    for name in "abc":
        (open_folder / f"{name}.png").write_bytes(png(1))
    (open_folder / "a.txt").write_text("a cat")
    (open_folder / "a.txt").chmod(0)
    (open_folder / "b.txt").symlink_to("/absent")
    os.mkfifo(open_folder / "c.txt")
    with ordinary_user():
        records = [read(item) for item in list_source(source_of("folder", open_folder, captions="sidecar"))]
    assert [(record.status, record.reason) for record in records] == [
        ("ok", "no caption: the file may not be read: permission denied"), ("ok", "no caption: no such file"),
        ("ok", "no caption: no such file: a folder or a device has its name"),
    ]  # fmt: skip


def test_a_name_that_is_as_long_as_a_name_may_be_has_no_text_beside_it(tmp_path):
    (tmp_path / f"{'n' * 252}.ts").write_bytes(b"x")
    (item,) = list_source(source_of("folder", tmp_path, captions="sidecar"))
    assert (item.caption, item.noticed, item.problem) == ("", "", "")

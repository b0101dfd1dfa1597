"""Clips generated elsewhere in folders as people have them, and prompts that no prompt can be."""

import json
import os

import pytest

from footage import write_video
from hostile_prompts import REFUSED
from packed_footage import png
from permissions import ordinary_user
from vidmem.corpus.reading import read_item
from vidmem.generation.elsewhere import digest_made, list_made, stray_files
from vidmem.generation.made_clips import read_made, with_targets


def made(path, captions="sidecar"):
    return list_made("closed", {"path": str(path), "captions": captions})


def record(one):
    return read_item(one.item, 1, (16, 16), 1.0, "crop")


def test_folders_behind_links_are_clips_and_closed_folders_are_rows(open_folder):
    (open_folder / "store").mkdir()
    (open_folder / "store/a cat-1.png").write_bytes(png(1))
    (open_folder / "store/notes.md").write_text("words")
    (open_folder / "made/shut").mkdir(parents=True)
    (open_folder / "made/linked").symlink_to(open_folder / "store")
    (open_folder / "made/shut").chmod(0)
    model = {"path": str(open_folder / "made"), "captions": "filename"}
    with ordinary_user():
        clips = list_made("closed", model)
        found = [(record(one).status, record(one).reason) for one in clips]
        assert stray_files("closed", model) == ["linked/notes.md"]
    assert [one.item.caption for one in clips] == ["a cat", ""]
    assert found == [("ok", ""), ("skipped", "the folder may not be entered: permission denied")]
    assert clips[0].item.clip_id.endswith("-s1")


def test_names_that_are_not_utf8_are_prompts_or_say_why_not(tmp_path):
    for number, name in enumerate((b"caf\xe9-3.png", "кот-1.png".encode("koi8-r"))):
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            file.write(png(number))
    clips = made(tmp_path, "filename")
    assert [one.item.caption for one in clips] == ["café", ""]
    assert [record(one).reason for one in clips] == [
        "its caption was read as Windows-1252", "no caption: it is in an unknown encoding",
    ]  # fmt: skip
    assert all(one.item.clip_id.isascii() for one in clips)
    assert digest_made("closed", {"path": str(tmp_path), "captions": "filename"})


@pytest.mark.parametrize("text", REFUSED)
def test_prompts_of_lists_have_no_forbidden_character(tmp_path, text):
    write_video(tmp_path / "a.mp4")
    rows = [{"path": "a.mp4", "prompt": text}, {"path": "a.mp4", "prompt": text}, {"path": "a.mp4", "prompt": "\ufeffa cat"},
            {"path": "a.mp4", "prompt": "a cat"}]  # fmt: skip
    (tmp_path / "l.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    clips = made(tmp_path / "l.jsonl")
    assert [one.item.caption for one in clips] == ["", "", "a cat", "a cat"]
    assert clips[0].prompt_id == clips[1].prompt_id != clips[2].prompt_id == clips[3].prompt_id
    why = f"no prompt: it has the character {REFUSED[text]}"
    spec = {"frames": 1, "size": [16, 16], "fps": 1.0, "fit": "crop", "max_damaged": 1.0}
    table = [row for row, _ in read_made("closed", spec, with_targets(clips, None, tmp_path))]
    assert [(row["status"], row["caption"], row["reason"]) for row in table] == [("ok", "", why)] * 2 + [
        ("ok", "a cat", "")
    ] * 2


def test_paths_that_no_file_can_have_are_rows(tmp_path):
    paths = ("n" * 300 + ".mp4", "a\0b.mp4", "l.jsonl/a.mp4", "gone.mp4")
    (tmp_path / "l.jsonl").write_text("".join(json.dumps({"path": path, "prompt": "a"}) + "\n" for path in paths))
    clips = made(tmp_path / "l.jsonl")
    assert [(record(one).status, record(one).reason) for one in clips] == [
        ("missing", "no such file: its name is too long"), ("missing", "no such file: no file can have its name"),
        ("missing", "no such file"), ("missing", "no such file"),
    ]  # fmt: skip
    assert digest_made("closed", {"path": str(tmp_path / "l.jsonl"), "captions": "none"})

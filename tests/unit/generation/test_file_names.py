"""Which file a clip of a closed model is: told in the clip table, whatever its name is."""

import json

import pytest

from footage import write_video
from hostile_names import NAMES, UNDECODABLE
from vidmem.base.clip_table import clip_table
from vidmem.base.store import load_table, save_table
from vidmem.generation.elsewhere import digest_made, file_of, list_made
from vidmem.generation.made_clips import read_made, with_targets


def table(tmp_path, path, captions="none"):
    """Rows of the clip table, after they were stored."""
    spec = {
        "path": str(path),
        "captions": captions,
        "frames": 2,
        "size": [16, 16],
        "fps": 10.0,
        "fit": "crop",
        "max_damaged": 0.25,
    }
    corpus = clip_table([]).set_index("clip_id")
    rows = [row for row, _ in read_made("closed", spec, with_targets(list_made("closed", spec), corpus, tmp_path))]
    save_table(tmp_path / "clips.parquet", clip_table(rows))
    return load_table(tmp_path / "clips.parquet")


@pytest.mark.parametrize("captions", ["none", "filename", "sidecar"])
def test_the_path_in_the_folder_is_told(tmp_path, captions):
    names = [*NAMES, "deep/er/clip.mp4"]
    for name in [*names, UNDECODABLE]:
        (tmp_path / "made" / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(tmp_path / "made/plain.mp4", frames=2)
        (tmp_path / "made/plain.mp4").rename(tmp_path / "made" / name)
    clips = table(tmp_path, tmp_path / "made", captions)
    assert sorted(clips["provenance"].map(file_of)) == sorted([*names, "caf�.mp4"])
    assert set(clips["status"]) == {"ok"}
    assert clips["clip_id"].is_unique
    assert all(clip_id.replace("-", "").isalnum() and clip_id.isascii() for clip_id in clips["clip_id"])


def test_names_that_differ_in_bytes_that_are_no_text_are_prompts_of_their_own(tmp_path):
    for name in ("caf\udce9.mp4", "caf\udce8.mp4", "caf\udce9-1.mp4"):
        (tmp_path / name).write_bytes(b"")
    assert len({one.prompt_id for one in list_made("closed", {"path": str(tmp_path), "captions": "none"})}) == 3


def test_the_cell_of_the_list_is_told_as_it_stands(tmp_path):
    cells = ["./made/../a.mp4", "a.mp4", "stack.npy#3", str(tmp_path / "b.mp4"), *NAMES, None]
    rows = [{"path": cell, "prompt": f"p{place}", "version": "v1"} for place, cell in enumerate(cells)]
    (tmp_path / "l.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = [json.loads(text) for text in table(tmp_path, tmp_path / "l.jsonl")["provenance"]]
    assert [about.get("file") for about in told] == cells
    assert told[0] == {"kind": "files", "file": "./made/../a.mp4", "version": "v1"}
    assert told[-1] == {"kind": "files", "version": "v1"}  # nothing was made


def test_only_a_clip_that_was_generated_elsewhere_has_a_file():
    assert file_of(json.dumps({"kind": "files", "file": "a.mp4"})) == "a.mp4"
    assert file_of(json.dumps({"kind": "files"})) == ""
    assert file_of(json.dumps({"kind": "diffusers", "file": "prompts.csv"})) == file_of("{}") == ""


def test_another_spelling_of_the_same_path_is_told_again(tmp_path):
    """The clip is the same; what the exhibits say of it is not."""
    digests = []
    for cell in ("a.mp4", "./a.mp4"):
        (tmp_path / "l.csv").write_text(f"path,prompt\n{cell},p\n")
        digests.append(digest_made("m", {"path": str(tmp_path / "l.csv"), "captions": "none"}))
    assert digests[0] != digests[1]

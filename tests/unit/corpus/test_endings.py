"""Files of published lists under another ending than the listed one: they are found, and the listed one comes first."""

import json

import pytest

from footage import write_video
from packed_footage import read, source_of
from vidmem.corpus.availability import locate_item
from vidmem.corpus.item import VIDEO_SUFFIXES, file_state
from vidmem.corpus.listing import digest_shards, list_source

ROWS = {
    "kinetics": ({"label": "a run", "youtube_id": "x", "time_start": 1, "time_end": 11}, "train/a_run/x_000001_000011"),
    "webvid": ({"videoid": "7", "name": "a", "page_dir": "p", "contentUrl": "http://a"}, "p/7"),
    "openvid": ({"video": "b.c_0to9.mp4", "caption": "a"}, "video/b.c_0to9"),
}


def listed(tmp_path, kind):
    row, stem = ROWS[kind]
    (tmp_path / "l.jsonl").write_text(json.dumps(row) + "\n")
    source = source_of(kind, tmp_path / "l.jsonl")
    (item,) = list_source(source)
    (tmp_path / stem).parent.mkdir(parents=True, exist_ok=True)
    return source, item, tmp_path / stem


@pytest.mark.parametrize("ending", sorted(VIDEO_SUFFIXES - {".mp4"}))
@pytest.mark.parametrize("kind", ROWS)
def test_every_ending_of_videos_is_found_and_followed(tmp_path, kind, ending):
    source, item, stem = listed(tmp_path, kind)
    assert read(item).status == ("missing" if kind == "openvid" else "gone")
    before = digest_shards([source], 1)
    stem.with_name(stem.name + ending).write_bytes(b"x")
    assert locate_item(item)[0].file == f"{stem}{ending}"
    assert file_state(item).startswith("1 ")
    assert digest_shards([source], 1) != before


@pytest.mark.parametrize("ending", [".mkv", ".webm"])
def test_files_of_yt_dlp_are_read(tmp_path, ending):
    _, item, stem = listed(tmp_path, "kinetics")
    codec = "libvpx" if ending == ".webm" else "libx264"
    write_video(stem.with_name(stem.name + ending), codec=codec)
    assert (read(item).status, len(read(item).frames)) == ("ok", 4)


@pytest.mark.parametrize("kind", ROWS)
def test_the_listed_ending_comes_first_then_mp4(tmp_path, kind):
    _, item, stem = listed(tmp_path, kind)
    for ending in (".webm", ".mkv", ".mp4"):
        stem.with_name(stem.name + ending).write_bytes(b"x")
    assert locate_item(item)[0].file == f"{stem}.mp4"
    (tmp_path / "m.jsonl").write_text(json.dumps({"video": "a.avi", "caption": "a"}) + "\n")
    (other,) = list_source(source_of("openvid", tmp_path / "m.jsonl"))
    for ending, expected in ((".webm", ".webm"), (".mp4", ".mp4"), (".avi", ".avi")):
        (tmp_path / f"a{ending}").write_bytes(b"x")
        assert locate_item(other)[0].file == str(tmp_path / f"a{expected}")


def test_a_file_that_is_not_as_listed_hides_no_other_ending(tmp_path):
    (tmp_path / "l.csv").write_text("video,caption,seconds\na.mp4,a,2\n")
    (item,) = list_source(source_of("openvid", tmp_path / "l.csv"))
    write_video(tmp_path / "a.mp4", frames=90)
    assert read(item).status == "mismatch"
    write_video(tmp_path / "a.mkv", frames=20)
    assert read(item).status == "ok"


def test_other_layouts_keep_the_ending_of_their_list(tmp_path):
    (tmp_path / "l.csv").write_text("path\na.mp4\n")
    write_video(tmp_path / "a.mkv")
    assert read(list_source(source_of("list", tmp_path / "l.csv"))[0]).status == "missing"

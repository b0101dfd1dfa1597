"""Frames of clips: read again where they were not stored."""

import os

import numpy as np
import pytest

from films import read_all
from footage import write_video
from vidmem.base.clip_table import clip_row, clip_table
from vidmem.base.store import load_array, save_array, save_table
from vidmem.corpus.clip_frames import Frames
from vidmem.corpus.listing import find_items
from vidmem.errors import VidmemError


def test_frames_that_were_not_kept_are_read_again(films, tmp_path):
    clips, known = read_all(films, tmp_path)
    frames = Frames(clips, [], {"films": films})
    usable = frames.clips[frames.clips["status"] == "ok"]["clip_id"]
    assert len(usable) == 5
    for clip_id in usable:
        assert (frames.of("corpus-films", clip_id) == known[clip_id]).all()
    with pytest.raises(VidmemError, match="keep_frames"):
        Frames(clips, [], {"films": films | {"keep_frames": True}})
    with pytest.raises(VidmemError, match="ran"):
        frames.of("corpus-films", next(iter(frames.clips[frames.clips["status"] != "ok"]["clip_id"])))


def test_several_clips_are_read_in_one_listing(films, tmp_path, monkeypatch):
    from vidmem.corpus import clip_frames

    listed = []
    monkeypatch.setattr(clip_frames, "find_items", lambda *given: listed.append(given) or find_items(*given))
    clips, _ = read_all(films, tmp_path)
    frames = Frames(clips, [], {"films": films})
    usable = list(frames.clips[frames.clips["status"] == "ok"]["clip_id"])
    frames.read("corpus-films", usable)
    for clip_id in usable:
        frames.of("corpus-films", clip_id)
    assert len(listed) == 1


def test_footage_that_changed_is_an_error(films, tmp_path):
    clips, _ = read_all(films, tmp_path)
    table = Frames(clips, [], {"films": films}).clips
    first = table[table["status"] == "ok"]["clip_id"].iloc[0]
    write_video(tmp_path / f"{first.removeprefix('films-')[0]}.mp4", frames=20, size=(64, 48))
    with pytest.raises(VidmemError, match="changed"):
        Frames(clips, [], {"films": films}).of("corpus-films", first)


def test_frames_of_many_clips_take_one_open_file_a_shard(tmp_path):
    path = tmp_path / "corpus-films/0.frames.npy"
    save_array(path, np.arange(50 * 2 * 4 * 4 * 3, dtype=np.uint8).reshape(100, 4, 4, 3))
    rows = [clip_row({}, clip_id=f"c{n}", set="corpus-films", status="ok", first=2 * n, count=2) for n in range(50)]
    save_table(tmp_path / "corpus-films/0.clips.parquet", clip_table(rows))
    frames = Frames([str(tmp_path / "corpus-films/0.clips.parquet")], [str(path)])
    before = len(os.listdir("/proc/self/fd"))
    stored = load_array(path)
    for number in range(50):
        assert np.array_equal(frames.of("corpus-films", f"c{number}"), stored[2 * number : 2 * number + 2])
    assert len(os.listdir("/proc/self/fd")) - before <= 4


def test_stored_frames_need_their_table(tmp_path):
    save_table(tmp_path / "corpus-films/0.clips.parquet", clip_table([]))
    save_array(tmp_path / "corpus-films/1.frames.npy", np.zeros((0, 8, 8, 3), np.uint8))
    with pytest.raises(VidmemError, match="clip table"):
        Frames([], [str(tmp_path / "corpus-films/1.frames.npy")])

"""Several clips of a video: spread over all of it, each a row; a replay of a later part has a reference."""

import json
import tarfile

import av
import numpy as np
import pandas as pd
import pytest

from footage import picture, read_video, write_video
from vidmem.base.identity import video_of
from vidmem.corpus.listing import digest_shards, find_items, list_corpus, list_source, spread_item
from vidmem.corpus.reading import read_clips, read_item
from vidmem.prompts.curation import static_signals

FRAMES, RATE = 8, 8.0  # a window lasts one second


def source_of(folder, windows, **keys):
    common = {"name": "s", "kind": "folder", "path": str(folder), "split": "member", "captions": "filename", "fit": "crop"}
    return common | {"fps": RATE, "windows": windows} | keys


def corpus_of(*sources):
    return {"frames": FRAMES, "size": [24, 32], "min_information": 0.0, "max_damaged": 0.25, "sources": list(sources)}


def read_all(corpus):
    read = list(read_clips(corpus, "c", list_corpus(corpus["sources"])))
    return pd.DataFrame([row for row, _ in read]).set_index("clip_id"), {row["clip_id"]: frames for row, frames in read}


def starts(rows):
    return [json.loads(row.provenance)["start_s"] for row in rows.sort_index().itertuples() if row.status == "ok"]


def by_place(rows):
    return rows.assign(window=[json.loads(text).get("window", [1])[0] for text in rows["provenance"]]).sort_values("window")


@pytest.fixture
def film(tmp_path):
    """Four seconds at 10 Hz, of which every frame is another."""
    write_video(tmp_path / "film.mp4", frames=40, size=(48, 96))
    return tmp_path


@pytest.mark.parametrize(
    ("windows", "expected"),
    [(1, [0]), (2, [0, 3]), (3, [0, 1.5, 3]), (4, [0, 1, 2, 3]), (9, [0, 1, 2, 3])],
)
def test_windows_lie_evenly_and_no_more_than_cover_the_video(film, windows, expected):
    rows = by_place(read_all(corpus_of(source_of(film, windows)))[0])
    assert len(rows) == windows
    assert np.allclose(starts(rows.set_index("window")), expected, atol=0.02)
    assert list(rows["status"][len(expected) :]) == ["skipped"] * (windows - len(expected))
    assert set(rows["reason"][len(expected) :]) <= {"fewer windows cover the video"}
    assert rows["caption"].eq("film").all()
    assert rows["copies"].eq(1).all()


def test_frames_are_those_of_the_video_at_their_times(film):
    """Against all frames of the file, picked by their times."""
    with av.open(str(film / "film.mp4")) as container:
        shown = [(float(frame.time), frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    (first, second, third) = list_source(source_of(film, 3))
    for item, start in ((first, 0.0), (second, 1.5), (third, 3.0)):
        wanted = [[picture for time, picture in shown if time <= start + n / RATE + 0.011][-1] for n in range(FRAMES)]
        record = read_item(item, FRAMES, (48, 96), RATE, "stretch")
        assert np.array_equal(record.frames, np.stack(wanted))
    assert not np.array_equal(wanted[0], picture(0))


def test_a_replay_of_a_later_part_has_a_reference(film):
    """Of the third second, which one window of the first does not show."""
    replay = read_video(film / "film.mp4", FRAMES, RATE, 2.0).frames.astype(int)
    for windows, found in ((1, False), (4, True)):
        records = [read_item(item, FRAMES, (48, 96), RATE, "stretch") for item in list_source(source_of(film, windows))]
        least = min(np.abs(record.frames.astype(int) - replay).mean() for record in records)
        assert (least < 1) == found


def test_the_first_window_is_the_clip_as_it_was(film):
    (alone,), several = list_source(source_of(film, 1)), list_source(source_of(film, 5))
    assert several[0].clip_id == alone.clip_id
    assert [item.clip_id for item in several[1:]] == [f"{alone.clip_id}-w{number}" for number in range(2, 6)]
    assert {video_of(item.clip_id) for item in several} == {alone.clip_id}
    assert len({(item.scene, item.caption, item.copies, item.split, item.path) for item in several}) == 1
    records = [read_item(item, FRAMES, (24, 32), RATE, "crop") for item in (alone, several[0])]
    assert records[0].fields() == records[1].fields()
    assert json.loads(read_all(corpus_of(source_of(film, 1)))[0]["provenance"].iloc[0]).keys() == {
        "kind",
        "start_s",
        "crop",
        "file",
    }


def test_windows_do_not_depend_on_shards(film):
    corpus = corpus_of(source_of(film, 6))
    rows, frames = read_all(corpus)
    parts = [pair for shard in range(4) for pair in list_corpus(corpus["sources"], shard, 4)]
    assert sorted(item.clip_id for _, item in parts) == sorted(rows.index)
    for row, pictures in read_clips(corpus, "c", find_items(corpus["sources"], [rows.index[2]])):
        assert np.array_equal(pictures, frames[row["clip_id"]])
    assert digest_shards(corpus["sources"], 1) != digest_shards([source_of(film, 7)], 1)


def test_what_is_held_out_a_picture_or_unreadable_gives_one(film):
    from PIL import Image

    Image.fromarray(picture(0)).save(film / "still.png")
    (film / "empty.mp4").write_bytes(b"")
    (film / "strange.xyz").write_bytes(b"?")
    counts = pd.Series([item.caption for item in list_source(source_of(film, 3))]).value_counts()
    assert counts.to_dict() == {"film": 3, "empty": 3, "still": 1, "strange": 1}
    assert len(list_source(source_of(film, 3, split="heldout"))) == 4
    rows = read_all(corpus_of(source_of(film, 3)))[0]
    assert list(rows.loc[rows["caption"] == "empty", "status"]) == ["undecodable"] * 3
    assert (rows["caption"] == "film").sum() == 3


def test_a_video_of_unknown_length_gives_its_first_window(film, monkeypatch):
    from vidmem.corpus import video

    monkeypatch.setattr(video, "_tail_of", lambda file: video.Tail(None, True, 0))
    rows = by_place(read_all(corpus_of(source_of(film, 2)))[0])
    assert list(rows["status"]) == ["ok", "skipped"]
    assert "does not say how long" in rows["reason"].iloc[1]


def test_windows_begin_where_a_list_says(film):
    (film / "l.csv").write_text("path,start_s\nfilm.mp4,1\n")
    rows = by_place(read_all(corpus_of(source_of(film / "l.csv", 3, kind="list")))[0])
    assert np.allclose(starts(rows.set_index("window")), [1, 2, 3], atol=0.02)


def test_videos_in_tars_have_windows(film, tmp_path):
    with tarfile.open(tmp_path / "v.tar", "w") as archive:
        archive.add(film / "film.mp4", "film.mp4")
    inside = list_source(source_of(tmp_path / "v.tar", 4, kind="webdataset"))
    plain = list_source(source_of(film, 4))[:4]
    for item, other in zip(inside, plain, strict=True):
        ours, theirs = (read_item(one, FRAMES, (24, 32), RATE, "crop") for one in (item, other))
        assert np.array_equal(ours.frames, theirs.frames)
        assert ours.start_s == theirs.start_s


def test_a_caption_counts_once_however_many_windows_its_video_has(film):
    write_video(film / "other.mp4", frames=40)
    for windows in (1, 3):
        clips = read_all(corpus_of(source_of(film, windows)))[0].reset_index()
        clusters = clips[["clip_id"]].assign(cluster=clips["clip_id"], n_near_duplicate_clips=0, cluster_reason="")
        table = static_signals(clips, clusters, 0.9).set_index("prompt")
        assert table["n_identical_captions"].to_dict() == {"film": 1, "other": 1}
        assert table["target"].map(video_of).equals(table["target"])


def test_a_line_that_is_repeated_repeats_every_window(film):
    (film / "l.csv").write_text("path\nfilm.mp4\nfilm.mp4\n")
    rows = read_all(corpus_of(source_of(film / "l.csv", 2, kind="list")))[0]
    assert rows["status"].value_counts().to_dict() == {"ok": 2, "skipped": 2}
    assert sorted(map(video_of, rows.index)) == sorted([*rows.index[~rows.index.str.contains("-w2")]] * 2)


def test_spreading_is_by_the_item_alone(film):
    (item,) = list_source(source_of(film, 1))
    assert spread_item(item, 1) == [item]
    assert [clip.window for clip in spread_item(item, 3)] == [(1, 3), (2, 3), (3, 3)]


def test_windows_of_a_video_are_read_in_one_pass(film, monkeypatch):
    from vidmem.corpus import reading, video

    write_video(film / "other.mp4", frames=40, size=(48, 96))
    corpus, opened = corpus_of(source_of(film, 4)), []
    decoded = video.Video._decode
    monkeypatch.setattr(video.Video, "_decode", lambda self: opened.append(self) or decoded(self))
    rows, frames = read_all(corpus)
    assert len(rows) == 8
    assert len(opened) == 2
    monkeypatch.setattr(reading, "TOGETHER", 1)
    alone, apart = read_all(corpus)
    assert len(opened) == 10
    assert rows.drop(columns="first").equals(alone.drop(columns="first"))
    assert all(np.array_equal(frames[name], apart[name]) for name in frames)


def test_one_window_that_fails_leaves_the_others(film):
    (film / "l.csv").write_text("path,start_s\nfilm.mp4,0\nfilm.mp4,9\nfilm.mp4,3\n")
    rows, frames = read_all(corpus_of(source_of(film / "l.csv", 1, kind="list")))
    assert list(rows["status"]) == ["ok", "undecodable", "ok"]
    assert "no frame at 9 s: the video ends at 4.000 s" in rows["reason"].iloc[1]
    assert [len(frames[name]) for name in rows.index] == [8, 0, 8]
    assert list(rows["first"]) == [0, 8, 8]


def test_a_crop_or_a_start_that_cannot_be_spoils_its_own_clip_only(film):
    lines = ["film.mp4,0,", "film.mp4,1,0 0 0.5 1", "film.mp4,2,0.6 0 0.5 1", "film.mp4,1e18,", "film.mp4,3,"]
    (film / "l.csv").write_text("\n".join(["path,start_s,crop", *lines, ""]))
    rows, _ = read_all(corpus_of(source_of(film / "l.csv", 1, kind="list")))
    assert list(rows["status"]) == ["ok", "ok", "undecodable", "undecodable", "ok"]
    assert "crop" in rows["reason"].iloc[2]
    assert "no frame at 1e+18 s" in rows["reason"].iloc[3]
    assert list(rows["first"]) == [0, 8, 16, 16, 16]


def test_windows_of_a_video_lie_in_one_shard(film):
    for number in range(9):
        (film / f"copy-{number}.mp4").write_bytes((film / "film.mp4").read_bytes())
    places = {}
    for shard in range(5):
        for _, item in list_corpus([source_of(film, 4)], shard, 5):
            places.setdefault(video_of(item.clip_id), []).append(shard)
    assert len(places) == 10
    assert all(len(shards) == 4 and len(set(shards)) == 1 for shards in places.values())
    assert len({shards[0] for shards in places.values()}) > 1

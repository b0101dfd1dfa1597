"""Reading of footage: every difficult file becomes a row with a reason, and the rest goes on."""

import numpy as np
import pytest
from PIL import Image

from footage import picture, read_video, rotate_mp4, write_audio, write_video
from vidmem.corpus.decode import read_image
from vidmem.corpus.frames import crop_fraction, fit_frames, frame_information
from vidmem.corpus.gameplay import record_game
from vidmem.corpus.listing import digest_shards, list_corpus, list_source
from vidmem.corpus.own_layouts import resolve_path
from vidmem.corpus.reading import read_item
from vidmem.errors import ClipError, VidmemError


def square_left(frame: np.ndarray) -> int:
    """Left edge of the white square."""
    return int(np.flatnonzero(frame.min(axis=2).mean(axis=0) > 60)[0])


def test_frames_are_sampled_by_time(tmp_path):
    footage = read_video(write_video(tmp_path / "a.mp4", frames=12, fps=10), 4, fps=5.0)
    assert footage.frames.shape == (4, 48, 64, 3)
    assert [square_left(frame) for frame in footage.frames] == pytest.approx([4, 8, 12, 16], abs=1)
    assert footage.reason == ""


def test_start_is_honoured(tmp_path):
    footage = read_video(write_video(tmp_path / "a.mp4"), 2, fps=10.0, start_s=0.5)
    assert [square_left(frame) for frame in footage.frames] == pytest.approx([14, 16], abs=1)


def test_variable_rate_is_sampled_evenly_in_time(tmp_path):
    times = [0.0, 0.1, 0.2, 1.0, 1.1, 1.2]
    footage = read_video(write_video(tmp_path / "v.mp4", frames=6, times=times), 3, fps=2.0)
    # At 0.5 s the third frame is still shown, at 1.0 s the fourth.
    assert [square_left(frame) for frame in footage.frames] == pytest.approx([4, 8, 10], abs=1)


def test_short_video_keeps_what_there_is_and_says_so(tmp_path):
    footage = read_video(write_video(tmp_path / "s.mp4", frames=3), 8, fps=10.0)
    assert len(footage.frames) == 3
    assert footage.reason.startswith("3 of 8 frames: the video ends at")


def test_single_frame_and_odd_size(tmp_path):
    assert len(read_video(write_video(tmp_path / "1.mp4", frames=1), 4, 10.0).frames) == 1
    assert read_video(write_video(tmp_path / "odd.mp4", size=(47, 63)), 2, 10.0).frames.shape == (2, 47, 63, 3)


def test_rotation_is_applied(tmp_path):
    plain = write_video(tmp_path / "p.mp4")
    turned = read_video(rotate_mp4(plain, tmp_path / "r.mp4"), 1, 10.0).frames[0]
    upright = read_video(plain, 1, 10.0).frames[0]
    assert turned.shape == (64, 48, 3)
    # The matrix asks for a quarter turn clockwise.
    assert np.array_equal(turned, np.rot90(upright, -1))


def damaged(tmp_path, kind):
    good = write_video(tmp_path / "good.mp4", frames=40)
    path = tmp_path / f"{kind}.mp4"
    if kind == "truncated":
        path.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(5000))
    elif kind == "audio":
        write_audio(path)
    return path


@pytest.mark.parametrize(
    ("kind", "status", "reason"),
    [
        ("truncated", "undecodable", "."),
        ("empty", "undecodable", "empty file"),
        ("noise", "undecodable", "."),
        ("audio", "undecodable", "audio only"),
        ("missing", "missing", "no such file"),
    ],
)
def test_damaged_files_raise_their_status(tmp_path, kind, status, reason):
    with pytest.raises(ClipError, match=reason) as caught:
        read_video(damaged(tmp_path, kind), 4, 10.0)
    assert caught.value.status == status
    assert caught.value.reason


def test_stream_cut_in_the_middle_keeps_the_frames_before(tmp_path):
    whole = write_video(tmp_path / "w.mkv", frames=60)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.7)])
    footage = read_video(cut, 60, 10.0)
    assert 0 < len(footage.frames) < 60
    assert "of 60 frames" in footage.reason


def test_start_beyond_the_end_is_named(tmp_path):
    with pytest.raises(ClipError, match=r"no frame at 9 s: the video ends at 1\.2"):
        read_video(write_video(tmp_path / "a.mp4"), 2, 10.0, start_s=9.0)


def test_image_is_upright_by_its_exif(tmp_path):
    image, exif = Image.fromarray(picture(0)), Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "e.png", exif=exif)
    assert read_image(tmp_path / "e.png").frames.shape == (1, 64, 48, 3)
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    with pytest.raises(ClipError, match="image"):
        read_image(tmp_path / "bad.png")


CAPTIONS = ['say "hello"', "two\nlines", "🎉 party", "<script>alert(1)</script>", "comma, semicolon;", "../../etc/passwd", ""]


def test_hostile_captions_survive_unchanged(tmp_path):
    import csv

    write_video(tmp_path / "a.mp4")
    with open(tmp_path / "list.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "caption", "copies", "split", "start_s"])
        writer.writerows(["a.mp4", caption, 2, "member", number / 10] for number, caption in enumerate(CAPTIONS))
    items = list_source({"name": "s", "kind": "list", "path": str(tmp_path / "list.csv"), "split": "member"})
    assert [item.caption for item in items] == CAPTIONS
    assert len({item.clip_id for item in items}) == len(CAPTIONS)
    assert all(item.clip_id.replace("-", "").isalnum() for item in items)


def test_folder_keeps_every_file_with_a_status(tmp_path):
    (tmp_path / "sub").mkdir()
    write_video(tmp_path / "sub" / "a clip.mp4")
    (tmp_path / "notes.txt").write_text("hello")
    for kind in ("truncated", "empty", "audio"):
        damaged(tmp_path, kind)
    items = list_source({"name": "f", "kind": "folder", "path": str(tmp_path), "split": "member", "captions": "none"})
    records = {item.path.split("/")[-1]: read_item(item, 4, (32, 32), 10.0, "crop") for item in items}
    statuses = {name: record.status for name, record in records.items()}
    assert statuses == {
        "a clip.mp4": "ok", "good.mp4": "ok", "notes.txt": "skipped", "truncated.mp4": "undecodable",
        "empty.mp4": "undecodable", "audio.mp4": "undecodable",
    }  # fmt: skip
    assert all(record.reason for record in records.values() if record.status != "ok")
    assert all(len(record.frames) == 0 for record in records.values() if record.status != "ok")


def test_captions_of_a_folder_are_beside_its_files(tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(picture(8, 8)).save(tmp_path / name)
    (tmp_path / "a.txt").write_text(" a taxi 🎉\n")
    (tmp_path / "alone.txt").write_text("of no clip")
    source = {"name": "f", "kind": "images", "path": str(tmp_path), "split": "image"}
    found = {how: list_source({**source, "captions": how}) for how in ("sidecar", "filename", "none")}
    assert [item.caption for item in found["sidecar"]] == ["a taxi 🎉", "", ""]
    assert [item.problem != "" for item in found["sidecar"]] == [False, True, False]  # alone.txt is listed, not read
    assert found["filename"][0].caption == "a"
    assert {item.caption for item in found["none"]} == {""}


def test_names_that_are_not_utf8_are_listed(tmp_path):
    import os

    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.png")
    Image.fromarray(picture(8, 8)).save(tmp_path / "x.png")
    os.rename(tmp_path / "x.png", path)
    source = {"name": "f", "kind": "images", "path": str(tmp_path), "split": "image", "captions": "filename"}
    (item,) = list_source(source)
    assert item.caption == "café"
    assert item.clip_id.isascii()
    assert read_item(item, 1, (16, 16), 1.0, "crop").status == "ok"


def test_levels_of_sixteen_bits_are_scaled_not_cut(tmp_path):
    levels = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    frame = read_image(tmp_path / "deep.png").frames[0]
    assert np.array_equal(frame[..., 0], levels >> 8)
    Image.fromarray(levels.astype(np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(ClipError, match="no stated range"):
        read_image(tmp_path / "float.tiff")


@pytest.mark.parametrize("kind", ["float32", "float64", "int64", "uint8", "unit"])
def test_stacks_of_levels_keep_their_range(tmp_path, kind):
    levels = np.arange(256, dtype=np.float64).reshape(1, 16, 16)
    np.save(tmp_path / "s.npy", levels / 255 if kind == "unit" else levels.astype(kind))
    (tmp_path / "l.csv").write_text("path\ns.npy#0\n")
    (item,) = list_source({"name": "s", "kind": "list", "path": str(tmp_path / "l.csv"), "split": "image"})
    record = read_item(item, 1, (16, 16), 1.0, "crop")
    assert np.array_equal(record.frames[0, ..., 1], levels[0])
    np.save(tmp_path / "s.npy", levels * 300)
    assert "not 0..1 or 0..255" in read_item(item, 1, (16, 16), 1.0, "crop").reason


def test_a_moving_picture_read_as_a_still_says_so(tmp_path):
    pictures = [Image.fromarray(np.full((8, 8, 3), shade, np.uint8)) for shade in (0, 128, 255)]
    pictures[0].save(tmp_path / "m.webp", save_all=True, append_images=pictures[1:])
    assert "first of 3 frames" in read_image(tmp_path / "m.webp").reason


def test_repeated_rows_are_counted_not_read_twice(tmp_path):
    (tmp_path / "l.csv").write_text("path\na.mp4\na.mp4\n")
    source = {"name": "s", "kind": "list", "path": str(tmp_path / "l.csv"), "split": "member"}
    (_, first), (_, second) = list_corpus([source])
    assert first.problem == ""
    assert "state copies" in second.problem
    assert first.clip_id != second.clip_id


def test_files_of_like_names_are_different_clips(tmp_path):
    for name in ("x.mp4", "x.png", "X.mp4", "a_b.mp4", "a-b.mp4", "#cats.mp4"):
        (tmp_path / name).write_bytes(b"")
    source = {"name": "f", "kind": "folder", "path": str(tmp_path), "split": "member", "captions": "filename"}
    items = [item for _, item in list_corpus([source])]
    assert len({item.clip_id for item in items}) == 6
    assert all(item.problem == "" for item in items)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file\na.mp4\n", "columns path"),
        ("path,colour\na.mp4,red\n", "columns path"),
        ("path,copies\na.mp4,many\n", "a whole number >= 0 in column copies\nGot 'many'\nWhere: .*l.csv, line 2"),
        ("path,copies\na.mp4,1.5\n", "in column copies\nGot '1.5'"),
        ("path,split\na.mp4,train\n", "member, heldout or image in column split\nGot 'train'\nWhere: .*l.csv, line 2\nHint: "),
        ("path,start_s\na.mp4,nan\n", "seconds >= 0 in column start_s\nGot 'nan'"),
        ("path,crop\na.mp4,0 0 1\n", "x y width height"),
        ("path,crop\na.mp4,0 0 1 inf\n", "column crop"),
        ("path,copies\na.mp4,-1\n", ">= 0 in column copies"),
        ("path,copies\na.mp4,1000000000000000000000\n", "at most 1,000,000,000 in column copies"),
        ("path;caption\na.mp4;red\n", "separate the cells by commas"),
        ("Path,Caption\na.mp4,red\n", "rename 'Path' to 'path', 'Caption' to 'caption'"),
        ("", "Got an empty file"),
        ("path,caption\n", "at least one clip or image\nGot the list has no lines\n.*\nHint: "),
    ],
)
def test_bad_lists_are_named(tmp_path, text, message):
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(VidmemError, match=message):
        list_source({"name": "s", "kind": "list", "path": str(tmp_path / "l.csv"), "split": "member"})


def test_a_shard_without_clips_is_one_and_a_list_without_lines_is_none(tmp_path):
    """Whichever the shard: every job of an empty list says it, none of a short one."""
    source = {"name": "s", "kind": "list", "path": str(tmp_path / "l.csv"), "split": "member"}
    (tmp_path / "l.csv").write_text("path\na.mp4\n")
    assert sorted(len(list_corpus([source], shard, 4)) for shard in range(4)) == [0, 0, 0, 1]
    assert len(digest_shards([source], 4)) == 4
    (tmp_path / "l.csv").write_text("path\n")
    for shard in range(4):
        with pytest.raises(VidmemError, match="the list has no lines"):
            list_corpus([source], shard, 4)
    with pytest.raises(VidmemError, match="the list has no lines"):
        digest_shards([source], 4)
    (tmp_path / "empty").mkdir()
    with pytest.raises(VidmemError, match="the folder has no files"):
        list_source({**source, "kind": "folder", "path": str(tmp_path / "empty"), "captions": "none"})


def test_missing_package_is_named(tmp_path):
    with pytest.raises(VidmemError, match="pip install no_such_package"):
        resolve_path("package:no_such_package/a.mp4", tmp_path)


def test_gameplay_is_deterministic():
    (first, fps), (second, _) = record_game("freeway", 4, 4), record_game("freeway", 4, 4)
    assert np.array_equal(first, second)
    assert fps == 15.0
    with pytest.raises(ClipError, match="two players"):
        record_game("combat", 4, 4)
    with pytest.raises(ClipError, match="no ROM"):
        record_game("no_such_game", 4, 4)


def test_information_tells_dark_from_rich(stream):
    assert frame_information(np.full((2, 16, 16, 3), 7, np.uint8)) == 0.0
    assert frame_information(stream.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)) > 5
    levels = np.repeat(np.array([0, 255], np.uint8), 128).reshape(1, 16, 16, 1).repeat(3, axis=3)
    assert frame_information(levels) == pytest.approx(1.0)


def test_fit_crops_the_centre_or_stretches():
    frames = np.zeros((1, 20, 40, 3), np.uint8)
    frames[:, :, 10:30] = 200
    assert fit_frames(frames, (10, 10), "crop").min() == 200
    assert fit_frames(frames, (10, 10), "stretch").min() == 0
    with pytest.raises(VidmemError, match="fit one of"):
        fit_frames(frames, (10, 10), "pad")


def test_crop_is_a_fraction_inside_the_frame():
    assert crop_fraction(np.zeros((1, 10, 20, 3)), (0.5, 0.0, 0.5, 1.0)).shape == (1, 10, 10, 3)
    with pytest.raises(VidmemError, match="inside the frame"):
        crop_fraction(np.zeros((1, 10, 20, 3)), (0.6, 0.0, 0.5, 1.0))

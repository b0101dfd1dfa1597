"""What files of the field have: no presentation times, other streams, mirrored pictures, holes, odd pixels, gaps."""

import tarfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest

from footage import as_stored, read_video
from numbered_footage import (
    SIZE,
    as_avi_track,
    encode,
    hide_sound,
    mux_sound,
    numbers_in,
    pack_b_frames,
    still_stream,
)
from vidmem.corpus.availability import hash_of, listed_otherwise
from vidmem.corpus.decode import Window, read_windows
from vidmem.corpus.listing import list_source
from vidmem.corpus.reading import read_item
from vidmem.corpus.video import open_video
from vidmem.errors import ClipError
from vidmem.generation.elsewhere import list_made
from vidmem.generation.made_clips import read_made

COMMON = {"name": "s", "split": "member", "captions": "none"}
WANTED = (12, SIZE, 25.0, "stretch")


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "packed"])
@pytest.mark.parametrize("b_frames", [1, 2])
def test_frames_of_an_avi_come_in_order(tmp_path, codec, b_frames):
    if codec == "packed":
        path = pack_b_frames(encode(tmp_path / "plain.avi", "mpeg4", b_frames=1), tmp_path / "a.avi")
    else:
        path = encode(tmp_path / "a.avi", codec, b_frames=b_frames)
    assert numbers_in(read_video(path, 50, 25.0).frames) == list(range(50))
    assert numbers_in(read_video(path, 10, 12.5, 0.4).frames) == list(range(10, 30, 2))


WITHOUT_TIMES = {"h264": "libx264", "hevc": "libx265", "m4v": "mpeg4", "asf": "libx264", "mpeg1video": "mpeg1video",
                 "mpeg2video": "mpeg2video", "mjpeg": "mjpeg"}  # fmt: skip


@pytest.mark.parametrize(("container", "codec"), WITHOUT_TIMES.items())
def test_frames_of_streams_without_times_come_in_order(tmp_path, container, codec):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    pixels, b_frames = ("yuvj420p", 0) if codec == "mjpeg" else ("yuv420p", 2)
    path = encode(tmp_path / "v.mpg", codec, container=container, options=options, pixels=pixels, b_frames=b_frames)
    found = numbers_in(read_video(path, 40, 25.0).frames)
    assert found == list(range(40))
    with open_video(path) as video:
        assert video.length == pytest.approx(2.0, abs=0.05)


def test_frames_of_an_avi_track_in_matroska_come_in_order(tmp_path):
    path = as_avi_track(encode(tmp_path / "a.mp4"), tmp_path / "v.mkv")
    assert numbers_in(read_video(path, 40, 25.0).frames) == list(range(40))


def test_a_picture_that_is_repeated_without_a_frame_keeps_its_time(tmp_path):
    """MPEG-4 may say "as before" in a packet that gives no frame."""
    with av.open(str(encode(tmp_path / "a.avi", "mpeg4", count=20, b_frames=0))) as taken:
        with av.open(str(tmp_path / "n.avi"), "w") as given:
            stream = taken.streams.video[0]
            target = given.add_stream_from_template(stream)
            packets = [bytes(packet) for packet in taken.demux(stream) if packet.size]
            packets[10:10] = [b"\0\0\1\xb6\x50\0"] * 3  # VOPs that are not coded
            for number, data in enumerate(packets):
                packet = av.Packet(data)
                packet.stream, packet.time_base, packet.pts, packet.dts = target, stream.time_base, number, number
                packet.is_keyframe = data[4] != 0x56 and number in (0, 12)
                given.mux(packet)
    assert numbers_in(read_video(tmp_path / "n.avi", 23, 25.0).frames) == [*range(10), 9, 9, 9, *range(10, 20)]


@pytest.mark.parametrize("name", ["a.avi", "a.mp4", "a.mkv"])
def test_a_title_in_another_encoding_hides_no_video(tmp_path, name):
    path = encode(tmp_path / name, title="caf\xe9 noir")
    written = path.read_bytes()
    changed = written.replace("caf\xe9 noir".encode(), b"caf\xe9 noirs")
    assert changed != written
    path.write_bytes(changed)
    assert numbers_in(read_video(path, 5, 25.0).frames) == list(range(5))


def test_sound_that_begins_late_hides_nothing(tmp_path):
    """FLV announces a stream with its first packet."""
    path = encode(tmp_path / "late.flv", count=500, audio_s=2.0, audio_from_s=12.0)
    hide_sound(path)
    found = read_windows(path, [Window(0.0, as_stored, number, 3) for number in (1, 2, 3)], 8, 8.0)
    assert [clip.start_s for clip in found] == pytest.approx([0.0, 9.5, 19.0], abs=0.05)
    assert [numbers_in(clip.frames)[0] for clip in found] == pytest.approx([0, 237, 475], abs=2)


@pytest.mark.parametrize("kind", ["folder", "list", "recovered", "webdataset", "parquet"])
def test_every_reader_takes_the_video_and_its_order(tmp_path, kind):
    path = encode(tmp_path / "v.avi", first=["thumbnails"])
    lists = {"list": "path\nv.avi\n", "recovered": f"path,sha256\ngone.avi,{hash_of(path, 'sha256')}\n"}
    (tmp_path / "l.csv").write_text(lists.get(kind, ""))
    with tarfile.open(tmp_path / "v.tar", "w") as archive:
        archive.add(path, "v.avi")
    pd.DataFrame({"video": [path.read_bytes()]}).to_parquet(tmp_path / "cells.parquet")
    name = {"folder": "", "webdataset": "v.tar", "parquet": "cells.parquet"}.get(kind, "l.csv")
    source = {**COMMON, "kind": "list" if kind == "recovered" else kind, "path": str(tmp_path / name), "recover": str(tmp_path)}
    record = read_item(next(item for item in list_source(source) if not item.problem), *WANTED)
    assert record.status == ("recovered" if kind == "recovered" else "ok")
    assert numbers_in(record.frames) == list(range(12))


def test_clips_made_elsewhere_are_read_the_same_way(tmp_path):
    encode(tmp_path / "v.avi", first=["thumbnails"])
    model = {
        "path": str(tmp_path),
        "captions": "none",
        "frames": 12,
        "size": SIZE,
        "fps": 25.0,
        "fit": "crop",
        "max_damaged": 0.1,
    }
    ((row, frames),) = read_made("m", model, [(made, "", 0) for made in list_made("m", model)])
    assert row["status"] == "ok"
    assert numbers_in(frames) == list(range(12))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize("first", [["cover"], ["thumbnails"], ["cover", "thumbnails"]])
def test_the_video_is_read_not_a_picture_beside_it(tmp_path, name, first):
    assert numbers_in(read_video(encode(tmp_path / name, first=first), 12, 25.0).frames) == list(range(12))


def test_sound_with_a_cover_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        cover, sound = still_stream(container, "cover"), container.add_stream("aac", rate=16000)
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")))
        container.mux(cover.encode())
        mux_sound(container, sound, 1.0)
    with pytest.raises(ClipError, match="cover art only"):
        read_video(tmp_path / "a.mp4", 1, 1.0)


TURNED = {  # a b c d of the matrix, and what a player shows
    "as stored": ((1, 0, 0, 1), lambda shown: shown),
    "mirrored": ((-1, 0, 0, 1), lambda shown: shown[:, ::-1]),
    "flipped": ((1, 0, 0, -1), lambda shown: shown[::-1]),
    "half a turn": ((-1, 0, 0, -1), lambda shown: shown[::-1, ::-1]),
    "clockwise": ((0, 1, -1, 0), lambda shown: np.rot90(shown, -1)),
    "counter-clockwise": ((0, -1, 1, 0), lambda shown: np.rot90(shown, 1)),
    "clockwise, mirrored": ((0, 1, 1, 0), lambda shown: np.rot90(shown, -1)[:, ::-1]),
    "counter-clockwise, mirrored": ((0, -1, -1, 0), lambda shown: np.rot90(shown, 1)[:, ::-1]),
}


@pytest.mark.parametrize("name", TURNED)
def test_the_whole_display_matrix_is_applied(tmp_path, name):
    (a, b, c, d), show = TURNED[name]
    stored = np.zeros((*SIZE, 3), np.uint8)
    stored[:16, :16] = [255, 0, 0]  # no two of its eight positions look alike
    stored[:16, 64:] = [0, 255, 0]
    matrix = [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]
    turned = read_video(encode(tmp_path / "t.mp4", pictures=[stored] * 3, matrix=matrix), 1, 1.0).frames[0]
    plain = read_video(encode(tmp_path / "p.mp4", pictures=[stored] * 3), 1, 1.0).frames[0]
    assert np.array_equal(turned, show(plain))


@pytest.mark.parametrize(("aspect", "turned"), [(Fraction(2), False), (Fraction(1, 2), False), (Fraction(2), True)])
def test_odd_pixels_become_square(tmp_path, aspect, turned):
    """A circle that is stored squeezed is a circle again."""
    size = (64, 32) if aspect > 1 else (32, 64)
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    circle = (rows / size[0] - 0.5) ** 2 + (columns / size[1] - 0.5) ** 2 < 0.16
    quarter = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
    pictures = [np.repeat(circle[..., None].astype(np.uint8) * 255, 3, 2)] * 3
    encode(tmp_path / "a.mp4", pictures=pictures, aspect=aspect, matrix=quarter if turned else None)
    (item,) = list_source({**COMMON, "kind": "folder", "path": str(tmp_path)})
    shown = read_item(item, 1, (32, 32), 1.0, "crop").frames[0, ..., 0] > 128
    assert shown.any(0).sum() == pytest.approx(shown.any(1).sum(), abs=1)
    assert shown.sum() == pytest.approx(np.pi * 0.16 * 32 * 32, rel=0.05)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_gap_is_told(tmp_path, name):
    times = [n / 25 for n in range(10)] + [3 + n / 25 for n in range(20)]
    path = encode(tmp_path / name, count=30, times=times)
    footage = read_video(path, 20, 5.0)
    assert numbers_in(footage.frames) == [0, 5] + [9] * 13 + [10, 15, 20, 25, 29][: len(footage.frames) - 15]
    assert "a gap: one frame stands for 2.640 s, from 0.360 s on" in footage.reason
    assert "gap" not in read_video(path, 4, 25.0).reason


def test_interlaced_footage_is_told(tmp_path):
    path = encode(tmp_path / "i.mp4", options={"x264-params": "tff=1"})
    assert "interlaced" in read_video(path, 4, 25.0).reason
    assert read_video(encode(tmp_path / "p.mp4"), 4, 25.0).reason == ""


def test_high_dynamic_range_is_told(tmp_path):
    options = {"x265-params": "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:log-level=none"}
    path = encode(tmp_path / "h.mp4", "libx265", pixels="yuv420p10le", options=options)
    assert "high dynamic range (PQ)" in read_video(path, 4, 25.0).reason


def test_windows_cover_the_video_not_its_sound(tmp_path):
    path = encode(tmp_path / "a.mp4", audio_s=6.0)  # two seconds of video
    found = read_windows(path, [Window(0.0, as_stored, number, 6) for number in range(1, 7)], 8, 25.0)
    starts = [0.0, 0.336, 0.672, 1.008, 1.344, 1.68]
    assert [clip.start_s for clip in found] == pytest.approx(starts)
    assert [numbers_in(clip.frames)[0] for clip in found] == [0, 8, 16, 25, 33, 42]
    assert numbers_in(found[-1].frames)[-1] == 49
    for listed, differs in ((2, False), (6, False), (12, True)):
        assert bool(listed_otherwise(path, (("seconds", str(listed)),))[0]) == differs


@pytest.mark.parametrize("text", ["ffconcat version 1.0\nfile 'a.mp4'\n", "#EXTM3U\n#EXTINF:2,\na.mp4\n#EXT-X-ENDLIST\n",
                                  "v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"])  # fmt: skip
def test_no_second_file_is_opened(tmp_path, text):
    encode(tmp_path / "a.mp4")
    for content in (tmp_path / "list.mp4", text.encode()):
        (tmp_path / "list.mp4").write_text(text)
        with pytest.raises(ClipError) as caught:
            read_video(content, 1, 1.0)
        assert caught.value.status == "undecodable"


def test_a_name_is_a_file_whatever_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encode(tmp_path / "a.mp4").rename(tmp_path / "concat:a.mp4|b.mp4")
    assert numbers_in(read_video(Path("concat:a.mp4|b.mp4"), 1, 1.0).frames) == [0]


def test_a_stream_that_begins_in_the_middle_counts_from_its_first_frame(tmp_path):
    data = encode(tmp_path / "a.ts", count=200, gop=25, options={"x264-params": "scenecut=0"}).read_bytes()
    (tmp_path / "cut.ts").write_bytes(data[len(data) // 3 // 188 * 188 :])
    first = numbers_in(read_video(tmp_path / "cut.ts", 1, 1.0).frames)[0]
    assert first % 25 == 0
    assert numbers_in(read_video(tmp_path / "cut.ts", 20, 25.0).frames) == list(range(first, first + 20))


def test_content_is_read_like_a_file(tmp_path):
    path = encode(tmp_path / "a.mp4", count=400, gop=50)
    windows = [Window(0.0, as_stored, number, 5) for number in range(1, 6)]
    for ours, theirs in zip(read_windows(path, windows, 8, 5.0), read_windows(path.read_bytes(), windows, 8, 5.0)):
        assert np.array_equal(ours.frames, theirs.frames)


MATRICES = {  # luma weights of red and blue: ITU-R BT.601 and BT.709
    "bt470bg": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
}


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("bits", [8, 10])
def test_colours(tmp_path, matrix, full, bits):
    """Patches of one colour each, computed here from the formulas of the standards."""
    red, blue = MATRICES[matrix]
    colours = np.array(
        [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [200, 120, 40], [30, 90, 160], [128] * 3]
    )
    r, g, b = colours.T / 255
    luma = red * r + (1 - red - blue) * g + blue * b
    planes = np.stack([luma, (b - luma) / (2 - 2 * blue), (r - luma) / (2 - 2 * red)])
    scale, zero = ((219, 224, 224), (16, 128, 128)) if not full else ((255, 255, 255), (0, 128, 128))
    top = 2**bits - 1
    levels = [np.clip(np.round((plane * s + z) * 2 ** (bits - 8)), 0, top) for plane, s, z in zip(planes, scale, zero)]
    kind, dtype = ("yuv444p", np.uint8) if bits == 8 else ("yuv444p10le", np.uint16)
    path, numbers = tmp_path / "c.mkv", {"bt470bg": 5, "bt709": 1}
    frame = av.VideoFrame(128, 32, kind)
    frame.colorspace, frame.color_range = numbers[matrix], 2 if full else 1
    for plane, level in zip(frame.planes, levels):
        rows = np.zeros((32, plane.line_size // dtype().itemsize), dtype)
        rows[:, :128] = level.astype(dtype).repeat(16)
        plane.update(rows.tobytes())
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = 32, 128, kind
        stream.codec_context.colorspace, stream.codec_context.color_range = numbers[matrix], 2 if full else 1
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    shown = read_video(path, 1, 1.0).frames[0, 16, 8::16].astype(int)
    assert np.abs(shown - colours).max() <= 2, (shown, colours)

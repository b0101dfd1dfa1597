"""Frames are the same with seeks as in a whole decode, whatever the format, and few frames are decoded for a late one."""

from pathlib import Path

import av
import numpy as np
import pytest

from footage import as_stored
from numbered_footage import encode
from vidmem.corpus import video
from vidmem.corpus.decode import Window, read_windows

RATE, COUNT = 25, 400  # 16 seconds
FILES = {
    "b-frames.mp4": {"codec": "libx264", "gop": 50},
    "open-gop.mp4": {"codec": "libx264", "gop": 50, "options": {"x264-params": "open-gop=1:scenecut=0"}},
    "open-gop-hevc.mp4": {"codec": "libx265", "gop": 50, "options": {"x265-params": "open-gop=1:log-level=none"}},
    "one-key-frame.mp4": {"codec": "libx264", "gop": 9999, "options": {"x264-params": "scenecut=0"}},
    "intra-refresh.mp4": {"codec": "libx264", "gop": 50, "b_frames": 0, "options": {"x264-params": "intra-refresh=1"}},
    "fragments.mp4": {"codec": "libx264", "gop": 50, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "b-frames.mkv": {"codec": "libx264", "gop": 50},
    "b-frames.ts": {"codec": "libx264", "gop": 50},
    "open-gop.mpg": {"codec": "mpeg2video", "gop": 15},
    "open-gop.ts": {"codec": "mpeg2video", "gop": 15},
    "b-frames.flv": {"codec": "libx264", "gop": 50},
    "vp9.webm": {"codec": "libvpx-vp9", "gop": 50, "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"}},
    "b-frames.avi": {"codec": "libx264", "gop": 50},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("seeks"), {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = encode(folder / name, count=COUNT, **FILES[name])
        return made[name]

    return make


def decoded_whole(path: Path) -> list[np.ndarray]:
    """Every frame in the order in which the decoder gives it; here frame n is shown at n / RATE."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(container.streams.best("video"))]


def read(path: Path, starts, frames: int = 4, fps: float = 5.0):
    return read_windows(path, [Window(start, as_stored) for start in starts], frames, fps)


def expected(whole, start: float, frames: int = 4, fps: float = 5.0) -> np.ndarray:
    times = start + np.arange(frames) / fps
    return np.stack([whole[int(np.floor(time * RATE + 1e-3))] for time in times])


@pytest.mark.parametrize("name", FILES)
def test_frames_are_those_of_a_whole_decode(files, stream, name):
    path = files(name)
    whole = decoded_whole(path)
    assert len(whole) == COUNT
    for starts in ([15.2], [12.04], [0, 15.2], sorted(stream.integers(0, 380, 6) / RATE), [15.2, 3.0, 3.4, 15.2]):
        for start, found in zip(starts, read(path, starts), strict=True):
            assert np.array_equal(found.frames, expected(whole, start)), (starts, start)
            assert found.start_s == start
            assert found.reason == ""


@pytest.mark.parametrize("name", [name for name in FILES if Path(name).suffix in (".mp4", ".mkv", ".ts", ".webm")])
def test_a_late_window_decodes_little(files, monkeypatch, name):
    counted = []
    decode = video.Video._decode
    monkeypatch.setattr(video.Video, "_decode", lambda self: (counted.append(1) or shown for shown in decode(self)))
    read(files(name), [15.2])
    few = name not in ("one-key-frame.mp4", "intra-refresh.mp4")
    assert len(counted) < 100 if few else len(counted) > 300
    counted.clear()
    read(files(name), np.linspace(0, 15.2, 9))
    assert len(counted) <= COUNT * (1.05 if few or name == "one-key-frame.mp4" else 2.1)  # nothing is decoded twice


@pytest.mark.parametrize("name", FILES)
def test_the_length_is_that_of_the_frames(files, name):
    with video.open_video(files(name)) as opened:
        assert opened.length == pytest.approx(COUNT / RATE, abs=0.002)


@pytest.mark.parametrize("name", FILES)
def test_the_length_of_a_short_video_is_known_too(tmp_path, name):
    """Its end is nearer to its beginning than the seek to its end goes back."""
    path = encode(tmp_path / name, count=10, **FILES[name])
    with video.open_video(path) as opened:
        assert opened.length == pytest.approx(10 / RATE, abs=0.002)


@pytest.mark.parametrize("after", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("before", [9, 10, 11])
def test_the_length_is_that_of_the_frames_at_any_rate(tmp_path, before, after):
    """One frame of a screen recording stays for 20 s; the file states differences of decoding times."""
    times = [n / 25 for n in range(before)] + [20 + (before + n) / 25 for n in range(after)]
    path = encode(tmp_path / "v.mp4", count=before + after, times=times)
    with video.open_video(path) as opened:
        assert opened.length == pytest.approx(20 + (before + after) / 25, abs=0.002)
    assert f"the video ends at {20 + (before + after) / 25:.3f} s" in read(path, [19.0], 20)[0].reason


@pytest.mark.parametrize("suffix", ["ts", "mpg"])
def test_recordings_one_after_another_are_one_video(tmp_path, suffix):
    codec = {"ts": "libx264", "mpg": "mpeg2video"}[suffix]
    one = encode(tmp_path / f"one.{suffix}", codec, count=300, gop=15)
    (tmp_path / f"two.{suffix}").write_bytes(one.read_bytes() * 2)
    whole = decoded_whole(one)
    with video.open_video(tmp_path / f"two.{suffix}") as opened:
        assert opened.length == pytest.approx(24.0, abs=0.1)
    first, late = read(tmp_path / f"two.{suffix}", [2.0, 22.0])
    assert np.array_equal(first.frames, expected(whole, 2.0))
    near = [expected(whole, 10.0 + shift / RATE) for shift in (-1, 0, 1)]  # a frame may be lost where they meet
    assert any(np.array_equal(late.frames, frames) for frames in near)


@pytest.mark.parametrize("name", ["intra-refresh.mkv", "intra-refresh.ts", "intra-refresh.mp4"])
def test_footage_without_key_frames_is_not_searched_to_its_end(tmp_path, monkeypatch, name):
    path = encode(tmp_path / name, count=1000, gop=50, b_frames=0, options={"x264-params": "intra-refresh=1"})
    counted = []
    decode = video.Video._decode
    monkeypatch.setattr(video.Video, "_decode", lambda self: (counted.append(1) or shown for shown in decode(self)))
    assert np.array_equal(read(path, [12.0])[0].frames, expected(decoded_whole(path), 12.0))
    assert len(counted) < 305 * 2.2


def test_an_edit_list_moves_the_end(tmp_path):
    """A player shows the first five seconds; the packets behind are in the file."""
    encode(tmp_path / "whole.mp4", count=COUNT, gop=50)
    data = bytearray((tmp_path / "whole.mp4").read_bytes())
    place = data.index(b"elst") + 4 + 8
    scale_at = data.index(b"mvhd") + 4 + 12
    data[place : place + 4] = (5 * int.from_bytes(data[scale_at : scale_at + 4], "big")).to_bytes(4, "big")
    (tmp_path / "cut.mp4").write_bytes(bytes(data))
    with video.open_video(tmp_path / "cut.mp4") as opened:
        assert opened.length == pytest.approx(5.0, abs=0.05)
    assert "of 20 frames: the video ends at 5" in read(tmp_path / "cut.mp4", [4.0], 20)[0].reason


def test_an_edit_list_moves_the_beginning(tmp_path):
    """A player shows the film from 3.0 s on, from the middle of a group of pictures; the times of frames count from there."""
    whole = decoded_whole(encode(tmp_path / "whole.mp4", count=COUNT, gop=50))
    data = bytearray((tmp_path / "whole.mp4").read_bytes())
    place = data.index(b"elst") + 4
    assert int.from_bytes(data[place + 4 : place + 8], "big") == 1
    time = place + 8 + 4  # version 0: after the number of edits comes the length of the edit, then its media time
    scale_at = data.index(b"mdhd") + 4 + 12
    scale = int.from_bytes(data[scale_at : scale_at + 4], "big")
    moved = int.from_bytes(data[time : time + 4], "big") + 3 * scale
    data[time : time + 4] = moved.to_bytes(4, "big")
    (tmp_path / "cut.mp4").write_bytes(bytes(data))
    for start, found in zip((0.0, 10.4), read(tmp_path / "cut.mp4", [0.0, 10.4])):
        assert np.array_equal(found.frames, expected(whole, 3 + start)), start
    with video.open_video(tmp_path / "cut.mp4") as opened:
        assert opened.length == pytest.approx(13.0, abs=0.002)

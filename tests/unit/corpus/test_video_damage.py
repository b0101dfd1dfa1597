"""Damaged footage: what counts as damage, against the whole file, and what an intact file may rightly hold."""

import av
import numpy as np
import pytest

from footage import as_stored, read_video
from numbered_footage import SIZE, encode, numbered, numbers_in
from vidmem.corpus.decode import Window, read_windows
from vidmem.corpus.video import open_video

SAME_EVERY_TIME = {"threads": "1", "x264-params": "scenecut=0:sync-lookahead=0:rc-lookahead=0"}
"""x264's lookahead reads memory that nobody wrote on frames this small, and its choices differ from call to call."""
HOLED = [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.ts", "libx264"), ("a.avi", "libx264"), ("a.avi", "mpeg4"),
         ("a.avi", "mjpeg"), ("a.mov", "mjpeg"), ("a.webm", "libvpx-vp9"), ("a.flv", "flv")]  # fmt: skip


@pytest.mark.parametrize("place", [0.2, 0.3, 0.4, 0.5, 0.6])
@pytest.mark.parametrize(("name", "codec"), HOLED)
def test_damaged_frames_are_counted(tmp_path, name, codec, place, stream):
    """Against the whole file: no frame that looks another way goes uncounted. In many containers whole frames are lost."""
    pictures = [np.clip(numbered(n) + stream.integers(0, 30, (*SIZE, 3)), 0, 255).astype(np.uint8) for n in range(100)]
    options, b_frames = (SAME_EVERY_TIME, 2) if codec == "libx264" else ({}, 2 if codec == "mpeg4" else 0)
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = encode(tmp_path / name, codec, pictures=pictures, gop=20, options=options, b_frames=b_frames, pixels=pixels)
    whole, data = read_video(path, 100, 25.0).frames, bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        header = next(container.demux(video=0)).pos
    first = header + int((len(data) - header) * place)
    data[first : first + 600] = bytes(600)
    (hole := tmp_path / f"hole-{name}").write_bytes(bytes(data))
    with open_video(hole) as video:
        shown = [frame for frame, _ in video.shown_at(n / 25 for n in range(100))]
    found = [frame.frame.to_ndarray(format="rgb24") for frame in shown]
    intact = [np.array_equal(picture, whole[n]) for n, picture in enumerate(found)]
    assert sum(intact) > 55
    assert [n for n, frame in enumerate(shown) if not intact[n] and not frame.damaged] == []
    count = sum(frame.damaged for frame in shown)
    assert 0 < count <= 45
    (kept,), (refused,) = (read_windows(hole, [Window(0.0, as_stored)], 100, 25.0, share) for share in (0.5, 0.0))
    assert kept.reason.startswith(f"{count} of {len(kept.frames)} frames are damaged")
    assert (refused.status, "frames are damaged" in refused.reason) == ("undecodable", True)


FLAT = {
    "black": np.zeros((*SIZE, 3), np.uint8),
    "letterbox": np.pad(numbered(3)[8:24], ((8, 8), (0, 0), (0, 0))),
    "grey": np.full((*SIZE, 3), 128, np.uint8),
}


@pytest.mark.parametrize("name", ["a.avi", "a.mov", "a.mkv"])
@pytest.mark.parametrize("shown", FLAT)
def test_flat_pictures_in_motion_jpeg_are_no_holes(tmp_path, name, shown):
    """A flat part is a long run of zero bits, and so are tables with one symbol."""
    path = encode(tmp_path / name, "mjpeg", pictures=[FLAT[shown]] * 20, b_frames=0, pixels="yuvj420p")
    assert read_video(path, 20, 25.0).reason == ""


def rewritten(path, target, change, form=None):
    """The packets of a video, each changed."""
    with av.open(str(path)) as source, av.open(str(target), "w", format=form) as given:
        stream = given.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                other = av.Packet(change(bytes(packet)))
                other.pts, other.dts, other.time_base, other.stream = packet.pts, packet.dts, packet.time_base, stream
                other.is_keyframe = packet.is_keyframe
                given.mux(other)
    return target


@pytest.mark.parametrize(
    ("codec", "name"), [("libx264", "a.ts"), ("mpeg2video", "a.ts"), ("mpeg4", "a.avi"), ("mjpeg", "a.avi")]
)
def test_stuffing_at_the_end_of_packets_is_no_hole(tmp_path, codec, name):
    """A search that tries every place of a run of zeros takes minutes for this file."""
    options = {"pixels": "yuvj420p", "b_frames": 0} if codec == "mjpeg" else {"b_frames": 0}
    path = encode(tmp_path / name, codec, count=20, **options)
    padded = rewritten(path, tmp_path / f"padded-{name}", lambda data: data + bytes(100_000))
    found = read_video(padded, 20, 25.0)
    assert numbers_in(found.frames) == list(range(20))
    assert "damaged" not in found.reason


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.flv"])
def test_frames_left_out_of_a_container_are_no_damage(tmp_path, name):
    """A screen recording leaves out frames that do not change."""
    codec = {"a.mkv": "libx264", "a.webm": "libvpx-vp9", "a.flv": "flv"}[name]
    times = [n / 25 for n in range(60) if n not in (30, 31, 44)]
    path = encode(tmp_path / name, codec, count=len(times), times=times, gop=60, b_frames=0)
    with open_video(path) as video:
        assert not any(frame.damaged for frame, _ in video.shown_at(time + 0.001 for time in times))


@pytest.mark.parametrize("times", [[n / 25 for n in range(120) if n % 12 != 7], [n * 1001 / 24000 for n in range(100)]])
def test_frames_that_an_encoder_left_out_are_no_damage(tmp_path, times):
    path = encode(tmp_path / "a.ts", count=len(times), times=times, gop=60)
    with open_video(path) as video:
        shown = [frame for frame, _ in video.shown_at(time + 0.001 for time in times)]
    assert len(shown) == len(times)
    assert not any(frame.damaged for frame in shown)


def test_frames_that_a_transport_stream_lost_are_damage_at_a_rate_that_rounds(tmp_path):
    """Whole packets are left out, and nothing else tells. Times are rounded to milliseconds: steps of 41 and 42."""
    times = [n * 1001 / 24000 for n in range(100)]
    whole = encode(tmp_path / "whole.ts", count=100, times=times, gop=60, b_frames=0, options=SAME_EVERY_TIME)
    with av.open(str(whole)) as source, av.open(str(tmp_path / "a.ts"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for place, packet in enumerate(source.demux(video=0)):
            if packet.size and place not in (30, 31):
                packet.stream = stream
                target.mux(packet)
    with open_video(tmp_path / "a.ts") as video:
        shown = [frame for frame, _ in video.shown_at(time + 0.001 for time in times)]
    assert [frame.damaged for frame in shown[:29]] == [False] * 29
    assert all(frame.damaged for frame in shown[32:60])
    assert not any(frame.damaged for frame in shown[60:])

"""Videos of which every frame shows its own number, so that a test can tell which frames were read."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.bitstream import BitStreamFilterContext

BITS = 10
CELL = 16
SIZE = (2 * CELL, BITS // 2 * CELL)
"""Height and width: the number of a frame stands in two rows of five squares, white for 1."""


def numbered(number: int) -> np.ndarray:
    bits = np.array([(number >> bit) & 1 for bit in range(BITS)], np.uint8).reshape(2, -1)
    return np.repeat((32 + 192 * bits).repeat(CELL, 0).repeat(CELL, 1)[..., None], 3, axis=2)


def numbers_in(frames: np.ndarray) -> list[int]:
    """Numbers that frames show; for frames of any size."""
    height, width = frames.shape[1] // 2, frames.shape[2] * 2 // BITS
    centres = frames[:, height // 2 :: height, width // 2 :: width].mean(-1)[:, :2, : BITS // 2] > 128
    return [int(bits.ravel() @ (1 << np.arange(BITS))) for bits in centres]


def encode(
    path: Path,
    codec: str = "libx264",
    count: int = 50,
    rate: int = 25,
    gop: int = 12,
    b_frames: int = 2,
    options: dict | None = None,
    container_options: dict | None = None,
    times: Sequence[float] | None = None,
    pixels: str = "yuv420p",
    first: Sequence[str] = (),
    aspect: Fraction | None = None,
    matrix: Sequence[int] | None = None,
    audio_s: float = 0.0,
    audio_from_s: float = 0.0,
    title: str = "",
    container: str | None = None,
    pictures: Sequence[np.ndarray] | None = None,
) -> Path:
    """Write a video.

    Args:
        first: what comes before the video: 'cover' is an attached picture, 'thumbnails' a second video of one small picture.
        times: when each frame is shown, seconds.
        aspect: width / height of a pixel.
        matrix: the nine numbers of the display matrix.
        audio_s, audio_from_s: length of a sound track, and where it begins.
        container: format of the file; None for that of its ending.
    """
    shown = pictures if pictures is not None else [numbered(number) for number in range(count)]
    with av.open(str(path), "w", format=container, container_options=container_options or {}) as container:
        if title:
            container.metadata["title"] = title
        before = [still_stream(container, kind) for kind in first]
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width, stream.pix_fmt = *shown[0].shape[:2], pixels
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = gop, b_frames
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if matrix:
            stream.set_display_matrix(list(matrix))
        base = Fraction(1, 1000) if times is not None else Fraction(1, rate)
        stream.codec_context.time_base = base
        sound = container.add_stream("aac", rate=16000) if audio_s else None
        for still in before:
            container.mux(still.encode(av.VideoFrame.from_ndarray(np.full((16, 16, 3), 77, np.uint8), format="rgb24")))
            container.mux(still.encode())
        for number, picture in enumerate(shown):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base, frame.pts = base, number if times is None else round(1000 * times[number])
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound:
            mux_sound(container, sound, audio_s, audio_from_s)
    return path


def still_stream(container, kind: str):
    still = container.add_stream("mjpeg", rate=1)
    still.width = still.height = 16
    still.pix_fmt = "yuvj420p"
    if kind == "cover":
        still.disposition = av.stream.Disposition.attached_pic
    return still


def mux_sound(container, stream, seconds: float, from_s: float = 0.0) -> None:
    first = int(16000 * from_s)
    for start in range(first, first + int(16000 * seconds), 1024):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def as_avi_track(source: Path, path: Path) -> Path:
    """Copy of an H.264 video as importers of AVI write it to Matroska: with a FourCC and decoding times only."""
    stand_in = encode(path.with_suffix(".avi"), "mpeg4")  # for H.264 the muxer asks for more than such a track has
    with av.open(str(source)) as taken, av.open(str(stand_in)) as model, av.open(str(path), "w") as given:
        stream, target = taken.streams.video[0], given.add_stream_from_template(model.streams.video[0])
        about = struct.pack("<IiiHH4sIiiII", 40, stream.width, stream.height, 1, 24, b"H264", 0, 0, 0, 0, 0)
        target.codec_context.extradata = about
        plain = BitStreamFilterContext("h264_mp4toannexb", stream)
        packets = [made for packet in taken.demux(stream) if packet.size for made in plain.filter(packet)]
        for number, packet in enumerate(packets):
            packet.stream, packet.time_base, packet.pts, packet.dts = target, Fraction(1, 25), number, number
            given.mux(packet)
    written = path.read_bytes()
    assert written.count(b"V_MPEG4/ISO/ASP") == 1
    path.write_bytes(written.replace(b"V_MPEG4/ISO/ASP", b"V_MS/VFW/FOURCC"))
    return path


def hide_sound(path: Path) -> None:
    """Take out of an FLV what announces its sound: the first packet of sound is then the first sign of it."""
    data = path.read_bytes()
    kept, place, announced = bytearray(data[:13]), 13, b""
    kept[4] = 1  # video only
    while place < len(data):
        size = 15 + int.from_bytes(data[place + 1 : place + 4], "big")
        tag, place = data[place : place + size], place + size
        if tag[0] == 8 and not announced:  # the set-up of the sound decoder
            announced = tag
        elif tag[0] == 8:
            kept, announced = kept + (announced if announced != b"-" else b"") + tag, b"-"
        elif tag[0] == 9:
            kept += tag
    path.write_bytes(bytes(kept))


def pack_b_frames(source: Path, path: Path) -> Path:
    """Copy of an MPEG-4 video as old encoders wrote it: a B-frame lies in the packet before it, an empty one in its place."""
    start, empty = b"\0\0\1\xb6", b"\0\0\1\xb6\x40\0\x7f"
    with av.open(str(source)) as taken, av.open(str(path), "w") as given:
        stream = taken.streams.video[0]
        target = given.add_stream_from_template(stream)
        packets = [bytes(packet) for packet in taken.demux(stream) if packet.size]
        is_b = [packet[packet.rindex(start) + 4] >> 6 == 2 for packet in packets]
        packed: list[bytes] = []
        for packet, b_frame in zip(packets, is_b):
            packed += [packed.pop() + packet, empty] if b_frame else [packet]
        packed[0] = b"\0\0\1\xb2DivX503b1393p" + packed[0]  # what tells a decoder of packed frames
        for number, data in enumerate(packed):
            packet = av.Packet(data)
            packet.stream, packet.time_base = target, stream.time_base
            packet.pts = packet.dts = number
            packet.is_keyframe = number == 0
            given.mux(packet)
    return path

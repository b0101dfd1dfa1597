"""Small video files of every difficult kind, written with PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from vidmem.corpus.decode import Footage, Window, read_windows
from vidmem.errors import ClipError


def picture(step: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A bright square that moves two pixels to the right a step, on a gradient."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[..., 0] = np.linspace(0, 255, width)[None]
    frame[..., 1] = np.linspace(0, 255, height)[:, None]
    frame[10:26, 4 + 2 * step : 20 + 2 * step] = 255
    return frame


def as_stored(pixels: np.ndarray, pixel_aspect: float) -> np.ndarray:
    return pixels


def read_video(path: Path | bytes, frames: int, fps: float, start_s: float = 0.0) -> Footage:
    """One clip of a video in the size of the file."""
    (found,) = read_windows(path, [Window(start_s, as_stored)], frames, fps)
    if isinstance(found, ClipError):
        raise found
    return found


def write_video(path: Path, frames: int = 12, fps: int = 10, size=(48, 64), times=None, codec="libx264") -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
        stream.time_base = Fraction(1, 1000)
        stream.codec_context.time_base = Fraction(1, 1000)
        for step in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(step, *size), format="rgb24")
            frame.time_base = Fraction(1, 1000)
            frame.pts = round(1000 * step / fps) if times is None else round(1000 * times[step])
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_audio(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        for start in range(0, 16000, 1024):
            samples = np.sin(np.arange(start, start + 1024) / 20, dtype=np.float32)[None] * 0.2
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def rotate_mp4(source: Path, path: Path) -> Path:
    """Copy of an MP4 whose track header asks for a quarter turn: the display matrix is patched in place."""
    data = bytearray(source.read_bytes())
    place = data.index(b"tkhd") + 4 + 40  # version 0: 40 bytes before the matrix
    quarter = [0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000]
    data[place : place + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in quarter)
    path.write_bytes(bytes(data))
    return path

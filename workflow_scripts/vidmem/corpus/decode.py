"""Decoding of video and image files with PyAV and Pillow.

A file that cannot be used raises ClipError with the status and reason its row will carry.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import ClipError


@dataclass(frozen=True)
class Footage:
    """Decoded frames: uint8 [T, H, W, 3] RGB, frames per second (0 for an image), what was noticed, where they begin in s."""

    frames: np.ndarray
    fps: float
    reason: str = ""
    start_s: float = 0.0


File = Path | bytes
"""A file, or the content of one that lies inside another."""


def check_file(path: File) -> None:
    """Raise ClipError unless there is a file with bytes in it."""
    if isinstance(path, bytes):
        if not path:
            raise ClipError("undecodable", "empty file")
        return
    if not path.is_file():
        raise ClipError("missing", "no such file")
    if path.stat().st_size == 0:
        raise ClipError("undecodable", "empty file")


def read_image(path: File) -> Footage:
    """Read a still image as a clip of one frame, turned upright by its EXIF orientation."""
    check_file(path)
    try:
        with Image.open(_content(path)) as image:
            count = getattr(image, "n_frames", 1)
            upright = ImageOps.exif_transpose(image)
            return Footage(_rgb(upright)[None], 0.0, f"first of {count} frames: read as a still" if count > 1 else "")
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise ClipError("undecodable", f"image: {_short(error)}") from error


def _content(path: File) -> str | io.BytesIO:
    return io.BytesIO(path) if isinstance(path, bytes) else str(path)


def _rgb(image: Image.Image) -> np.ndarray:
    """uint8 [H, W, 3]. Pillow cuts grey levels of 16 and more bits at 255: those are scaled here."""
    if not image.mode.startswith(("I", "F")):
        return np.asarray(image.convert("RGB"))
    if image.mode == "F":
        raise ValueError("floating point pixels have no stated range")
    levels = np.clip(np.asarray(image, dtype=np.int64), 0, 65535)
    return np.repeat((levels >> 8).astype(np.uint8)[..., None], 3, axis=2)


def read_video(path: File, frames: int, fps: float, start_s: float = 0.0) -> Footage:
    """Sample frames of a video at a stated rate, by presentation time.

    The frame shown at time start_s + n / fps is taken for n = 0, 1, ...; a variable-rate file is therefore
    sampled evenly in time. A rotation in the container is applied.

    Args:
        path: video file, or its content.
        frames: at most so many.
        fps: sampling rate in Hz.
        start_s: where to begin, in seconds from the first frame.

    Returns:
        One to `frames` frames; `reason` says when there are fewer, and why.

    Raises:
        ClipError: missing, empty, without a video stream, damaged before the first sample, or too short.
    """
    check_file(path)
    targets = start_s + np.arange(frames) / fps
    pictures, damage, last = _sample(path, targets)
    if not pictures and damage:
        raise ClipError("undecodable", damage)
    if not pictures:
        raise ClipError("undecodable", f"no frame at {start_s:g} s: the video ends at {last:.3f} s")
    reason = ""
    if len(pictures) < frames:
        cause = damage or f"the video ends at {last:.3f} s"
        reason = f"{len(pictures)} of {frames} frames: {cause}"
    return Footage(np.stack(pictures), fps, reason, start_s)


def duration_of(path: File) -> float | None:
    """Seconds that a video says it lasts; None where it says nothing or cannot be opened, which its reader will say."""
    try:
        with av.open(_content(path)) as container:
            return None if container.duration is None else container.duration / av.time_base
    except (av.FFmpegError, OSError, ValueError):
        return None


WORTH = 0.05  # share of a window that has to be new footage


def window_start(path: File, frames: int, fps: float, start_s: float, window: tuple[int, int]) -> float:
    """Where a window of a video begins, seconds: windows lie evenly from start_s to the end, as many as it takes to cover that.

    Args:
        path, frames, fps, start_s: as in read_video.
        window: (n, N): the n-th of at most N.

    Raises:
        ClipError: fewer windows cover the video, or it does not say how long it lasts.
    """
    number, most = window
    if number == 1:
        return start_s
    check_file(path)
    length, span = duration_of(path), frames / fps
    if length is None:
        raise ClipError("skipped", "the file does not say how long it lasts: only its first window is read")
    count = min(most, math.ceil((length - start_s) / span - WORTH))
    if number > count:
        raise ClipError("skipped", "fewer windows cover the video")
    return start_s + (number - 1) * (length - start_s - span) / (count - 1)


def _sample(path: File, targets: np.ndarray) -> tuple[list[np.ndarray], str, float]:
    """Pictures shown at the target times, the damage met ('' for none) and the end of the stream in s."""
    pictures: list[np.ndarray] = []
    shown, end, damage = None, 0.0, ""
    try:
        for time, end, frame in _timed_frames(path):
            while shown is not None and len(pictures) < len(targets) and targets[len(pictures)] < time - 1e-6:
                pictures.append(_upright(shown))
            shown = frame
            if len(pictures) == len(targets):
                return pictures, "", end
    except (av.FFmpegError, OSError, ValueError) as error:
        damage = f"damaged after {end:.3f} s: {_short(error)}" if shown is not None else _short(error)
    while shown is not None and len(pictures) < len(targets) and targets[len(pictures)] < end - 1e-6:
        pictures.append(_upright(shown))
    return pictures, damage, end


def _timed_frames(path: File) -> Iterator[tuple[float, float, av.VideoFrame]]:
    """Yield (start, end, frame) in seconds from the first frame, in presentation order."""
    with av.open(_content(path)) as container:
        if not container.streams.video:
            raise ClipError("undecodable", "no video stream (audio only)")
        stream = container.streams.video[0]
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        origin, index = None, 0
        for frame in container.decode(stream):
            time = index / rate if frame.time is None else frame.time
            origin = time if origin is None else origin
            length = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else 1 / rate
            yield time - origin, time - origin + length, frame
            index += 1
        if index == 0:
            raise ClipError("undecodable", "no decodable frame")


def _upright(frame: av.VideoFrame) -> np.ndarray:
    # FFmpeg's display matrix turns counter-clockwise, as np.rot90 does.
    turns = round(frame.rotation / 90) % 4
    return np.rot90(frame.to_ndarray(format="rgb24"), turns)


def _short(error: Exception) -> str:
    text = re.sub(r" <_io\.BytesIO[^>]*>", "", str(error).split("\n")[0])  # an address in memory is another each time
    return " ".join(text.split())[:160].split(": '/")[0]

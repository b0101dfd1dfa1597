"""Playable clips: H.264 in MP4, which every browser plays."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import av
import cv2
import numpy as np

from ..base.store import write_atomic
from .table_files import short_name

MARK = (255, 196, 0)
"""Colour of the frame around matching frames."""


def save_mp4(path: Path | str, frames: np.ndarray, fps: float, height: int = 256, loops: int = 3, title: str = "") -> None:
    """Save a clip as write_mp4 writes it."""
    write_atomic(path, lambda file: write_mp4(file, frames, fps, height, loops, title))


def write_mp4(file: BinaryIO, frames: np.ndarray, fps: float, height: int = 256, loops: int = 3, title: str = "") -> None:
    """Write a clip as H.264, yuv420p. It is enlarged by a whole factor, so that small clips stay sharp.

    Args:
        frames: uint8 [T, H, W, 3].
        fps: frame rate, Hz; smaller rates than 1 become 1.
        height: smallest height of the picture, pixels.
        loops: how often the clip is shown, because a short clip ends before it is seen.
        title: title that players show, untrusted text; '' for none.
    """
    factor = max(1, -(-height // frames.shape[1]))
    size = (frames.shape[2] * factor // 2 * 2, frames.shape[1] * factor // 2 * 2)
    large = [cv2.resize(frame, size, interpolation=cv2.INTER_NEAREST) for frame in frames]
    with av.open(file, "w", format="mp4") as container:
        if title:
            container.metadata["title"] = short_name(title, 200)
        # One thread and fixed metadata, so that equal frames give equal bytes.
        options = {"crf": "20", "threads": "1"}
        stream = container.add_stream("libx264", rate=max(1, round(fps)), options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for frame in large * loops:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def side_by_side(training: np.ndarray, generated: np.ndarray, first: int, second: int, length: int) -> np.ndarray:
    """Two clips of one size beside each other, so that the matching frames are seen at the same time, with a frame around them.

    Args:
        training, generated: uint8 [T, H, W, 3] and [U, H, W, 3].
        first, second: first matching frame of each clip.
        length: number of matching frames.

    Returns:
        uint8 [n, H, 2 W, 3]. A clip that begins later, or ends earlier, shows its first or last frame meanwhile.
    """
    ahead = max(first, second)
    steps = np.arange(max(len(training) - first, len(generated) - second) + ahead)
    sides = [clip[np.clip(steps - ahead + own, 0, len(clip) - 1)] for clip, own in ((training, first), (generated, second))]
    both = np.concatenate(sides, axis=2)
    edge = max(1, both.shape[1] // 32)
    for step in range(ahead, min(ahead + length, len(both))):
        for place in (both[step, :edge], both[step, -edge:], both[step, :, :edge], both[step, :, -edge:]):
            place[...] = MARK
    return both

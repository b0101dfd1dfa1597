"""Playable clips: H.264 in MP4, which every browser plays."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import av
import cv2
import numpy as np

from ..base.store import write_atomic
from .table_files import short_name


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


def side_by_side(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Put two clips of one size beside each other. The shorter clip ends with repeats of its last frame.

    Args:
        first, second: uint8 [T, H, W, 3] and [U, H, W, 3].

    Returns:
        uint8 [max(T, U), H, 2 W, 3].
    """
    length = max(len(first), len(second))
    held = [clip[np.minimum(np.arange(length), len(clip) - 1)] for clip in (first, second)]
    return np.concatenate(held, axis=2)

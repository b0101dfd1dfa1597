"""Playable clips: H.264 in MP4, which every browser plays."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np

from .store import write_atomic


def save_mp4(path: Path | str, frames: np.ndarray, fps: float, height: int = 256, loops: int = 3) -> None:
    """Save a clip as H.264, yuv420p, enlarged by whole pixels so that small clips stay sharp.

    Args:
        frames: uint8 [T, H, W, 3].
        fps: rate, Hz; at least 1 is used.
        height: smallest height of the picture.
        loops: times the clip is repeated, as short ones end before they are seen.
    """
    factor = max(1, -(-height // frames.shape[1]))
    size = (frames.shape[2] * factor // 2 * 2, frames.shape[1] * factor // 2 * 2)
    large = [cv2.resize(frame, size, interpolation=cv2.INTER_NEAREST) for frame in frames]

    def write(file) -> None:
        with av.open(file, "w", format="mp4") as container:
            # One thread and fixed metadata: the same frames give the same bytes.
            options = {"crf": "20", "threads": "1"}
            stream = container.add_stream("libx264", rate=max(1, round(fps)), options=options)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            for frame in large * loops:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())

    write_atomic(path, write)


def side_by_side(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Two clips of one size beside each other; the shorter one holds its last frame.

    Args:
        first, second: uint8 [T, H, W, 3] and [U, H, W, 3].

    Returns:
        uint8 [max(T, U), H, 2 W, 3].
    """
    length = max(len(first), len(second))
    held = [clip[np.minimum(np.arange(length), len(clip) - 1)] for clip in (first, second)]
    return np.concatenate(held, axis=2)

"""Frames as arrays: size, and how much information they hold."""

from __future__ import annotations

import cv2
import numpy as np

from ..errors import VidmemError

FITS = ("crop", "stretch")


def fit_frames(frames: np.ndarray, size: tuple[int, int], fit: str = "crop") -> np.ndarray:
    """Bring frames to one size.

    Args:
        frames: uint8 [T, H, W, 3].
        size: (height, width) wanted.
        fit: 'crop' cuts the central window of the wanted aspect ratio first, 'stretch' does not.

    Returns:
        uint8 [T, height, width, 3]. Shrinking averages areas (no aliasing), growing is bilinear.
    """
    if fit not in FITS:
        raise VidmemError(f"fit one of {FITS}", fit, "fit_frames")
    height, width = size
    if fit == "crop":
        frames = _crop_to_aspect(frames, height / width)
    shrinks = frames.shape[1] * frames.shape[2] >= height * width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.stack([cv2.resize(frame, (width, height), interpolation=method) for frame in frames])


def _crop_to_aspect(frames: np.ndarray, aspect: float) -> np.ndarray:
    height, width = frames.shape[1:3]
    new_height = min(height, max(1, round(width * aspect)))
    new_width = min(width, max(1, round(height / aspect)))
    top, left = (height - new_height) // 2, (width - new_width) // 2
    return frames[:, top : top + new_height, left : left + new_width]


def crop_fraction(frames: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """Cut a window given as fractions of the frame.

    Args:
        frames: [T, H, W, 3].
        box: (x, y, width, height), each in 0..1, the window inside the frame.
    """
    x, y, width, height = box
    inside = min(x, y) >= 0 and min(width, height) > 0 and x + width <= 1.0001 and y + height <= 1.0001
    if not inside:
        raise VidmemError("crop x,y,width,height as fractions inside the frame", box, "crop_fraction")
    rows, columns = frames.shape[1:3]
    top, left = round(y * rows), round(x * columns)
    bottom, right = max(top + 1, round((y + height) * rows)), max(left + 1, round((x + width) * columns))
    return frames[:, top:bottom, left:right]


def frame_information(frames: np.ndarray) -> float:
    """Mean entropy of the grey levels over the frames.

    Nearly black or flat frames resemble each other in any descriptor; this column lets them be filtered.

    Args:
        frames: uint8 [T, H, W, 3].

    Returns:
        bits a pixel, 0 (one level) to 6 (64 levels equally often).

    >>> frame_information(np.zeros((2, 8, 8, 3), np.uint8))
    0.0
    """
    grey = frames.astype(np.float32) @ np.float32([0.299, 0.587, 0.114])
    entropies = []
    for frame in grey:
        shares = np.bincount((frame / 4).astype(np.int64).ravel(), minlength=64) / frame.size
        shares = shares[shares > 0]
        entropies.append(-float((shares * np.log2(shares)).sum()))
    return abs(float(np.mean(entropies)))

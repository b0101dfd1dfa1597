"""Frames as arrays: bring them to one size, crop them, and measure how much information they hold."""

from __future__ import annotations

import cv2
import numpy as np

from ..errors import VidmemError

FITS = ("crop", "stretch")


def fit_frames(frames: np.ndarray, size: tuple[int, int], fit: str = "crop", pixel_aspect: float = 1.0) -> np.ndarray:
    """Bring frames to one size.

    Args:
        frames: uint8 [T, H, W, 3].
        size: (height, width) wanted.
        fit: 'crop' first cuts out the central window with the wanted aspect ratio, 'stretch' does not.
        pixel_aspect: width / height of a pixel of `frames`. The pixels of the result are square.

    Returns:
        uint8 [T, height, width, 3]. Shrinking averages areas, which avoids aliasing; growing is bilinear.

    Raises:
        VidmemError: an unknown fit.
    """
    if fit not in FITS:
        raise VidmemError(f"fit one of {FITS}", fit, "fit_frames")
    height, width = size
    if fit == "crop":
        frames = _crop_to_aspect(frames, height / width * pixel_aspect)
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
        box: (x, y, width, height), each in 0..1. The window has to lie inside the frame.

    Returns:
        [T, h, w, 3], at least one pixel high and wide.

    Raises:
        VidmemError: the window is empty or reaches out of the frame.
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
    """Entropy of the grey levels of a frame, averaged over the frames.

    Nearly black or flat frames resemble each other in any descriptor. This number lets an audit leave them out.

    Args:
        frames: uint8 [T, H, W, 3].

    Returns:
        Bits per pixel, from 0 (a single grey level) to 6 (all 64 bins of grey levels are equally frequent).

    >>> frame_information(np.zeros((2, 8, 8, 3), np.uint8))
    0.0
    """
    grey = frames.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    entropies = []
    for frame in grey:
        shares = np.bincount((frame / 4).astype(np.int64).ravel(), minlength=64) / frame.size
        shares = shares[shares > 0]
        entropies.append(-float((shares * np.log2(shares)).sum()))
    return abs(float(np.mean(entropies)))

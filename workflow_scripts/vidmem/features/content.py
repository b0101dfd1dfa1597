"""Content memorization: similarities of SSCD descriptors of frames and clips.

All inputs are unit-norm descriptors, so that every similarity is a cosine in -1..1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import VidmemError

UNIT_TOLERANCE = 5e-3  # float16 storage rounds a norm by up to 1e-3


class FrameMatch(NamedTuple):
    """A score, and the frame of each clip that gave it. Both frames are -1 if the score is not that of a single pair."""

    score: float
    first: int
    second: int


def sscd(first: np.ndarray, second: np.ndarray) -> float:
    """Cosine of two frame descriptors.

    Args:
        first, second: float [d], of unit norm.

    Returns:
        -1..1.

    Raises:
        VidmemError: descriptors of another shape, not finite, or not of unit norm.

    >>> sscd(np.array([1.0, 0.0]), np.array([0.6, 0.8]))
    0.6
    """
    return gsscd(np.asarray(first)[None], np.asarray(second)[None]).score


def gsscd(first: np.ndarray, second: np.ndarray) -> FrameMatch:
    """Generalised SSCD: the largest cosine over all pairs of frames of two clips.

    GSSCD(y, x) = max over i, j of <f(y_i), f(x_j)> (Chen et al. 2410.21669). An image is a clip of one frame.

    Args:
        first, second: float [T, d] and [U, d], unit norm.

    Returns:
        Score in -1..1, frame of the first clip, frame of the second. The earliest of tied pairs counts.

    Raises:
        VidmemError: clips without frames, of different d, not finite, or not of unit norm.

    >>> gsscd(np.eye(3)[:2], np.eye(3)[1:])
    FrameMatch(score=1.0, first=1, second=0)
    """
    similarities = _similarities(first, second)
    i, j = np.unravel_index(int(np.argmax(similarities)), similarities.shape)
    return FrameMatch(float(similarities[i, j]), int(i), int(j))


def gsscd_of_pairs(clips: Sequence[np.ndarray], first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """GSSCD of many pairs of clips, from one matrix product of all frames.

    Args:
        clips: descriptors of each clip, float [T, d], unit norm.
        first, second: index in `clips` of the two clips of each pair, int [n].

    Returns:
        float [n], -1..1.
    """
    stacked = check_descriptors(np.concatenate(clips), "pairs")
    starts = np.cumsum([0] + [len(clip) for clip in clips])[:-1]
    similarities = np.clip(stacked @ stacked.T, -1, 1)
    best = np.maximum.reduceat(np.maximum.reduceat(similarities, starts, axis=0), starts, axis=1)
    return best[first, second]


def vsscd(first: np.ndarray, second: np.ndarray) -> float:
    """Video SSCD, the baseline: the mean cosine of frames at equal relative times (Rahman et al. 2403.19593).

    For clips of equal length this is the cosine of the concatenated descriptors. If the lengths differ, the longer clip gives
    the frames that lie nearest the relative times of the shorter one.

    Args:
        first, second: float [T, d] and [U, d], unit norm.

    Returns:
        -1..1.

    >>> vsscd(np.eye(2), np.eye(2)[::-1])
    0.0
    """
    similarities = _similarities(first, second)
    length = min(similarities.shape)
    rows, columns = (relative_times(count, length) for count in similarities.shape)
    return float(similarities[rows, columns].mean())


def vsscd_match(first: np.ndarray, second: np.ndarray) -> FrameMatch:
    """VSSCD as a match. All frames give the score, so the match names no frame."""
    return FrameMatch(vsscd(first, second), -1, -1)


def best_aligned(first: np.ndarray, second: np.ndarray) -> tuple[int, int]:
    """The most similar pair of frames that vsscd compares: the frame of the first clip and the frame of the second."""
    similarities = _similarities(first, second)
    rows, columns = (relative_times(count, min(similarities.shape)) for count in similarities.shape)
    place = int(np.argmax(similarities[rows, columns]))
    return int(rows[place]), int(columns[place])


def relative_times(count: int, length: int) -> np.ndarray:
    """Frames of a clip of `count` frames that lie nearest the relative times of a clip of `length` frames: int [length].

    >>> relative_times(8, 3).tolist()
    [0, 4, 7]
    """
    return np.round(np.linspace(0, count - 1, length)).astype(int)


def _similarities(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosines of all pairs of frames of two clips, float [T, U]."""
    first, second = check_descriptors(first, "first"), check_descriptors(second, "second")
    if first.shape[1] != second.shape[1]:
        raise VidmemError("descriptors of one length", (first.shape, second.shape), "gsscd", "mixed presets?")
    return np.clip(first @ second.T, -1.0, 1.0)


def check_descriptors(vectors: np.ndarray, name: str) -> np.ndarray:
    """Descriptors as float [T, d]; float64 stays float64, every other type becomes float32.

    Raises:
        VidmemError: descriptors of another shape, without frames, not finite, or not of unit norm.
    """
    vectors = np.asarray(vectors)
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise VidmemError("[frames, d] with at least one frame", vectors.shape, f"descriptors '{name}'")
    vectors = vectors.astype(np.float32) if vectors.dtype != np.float64 else vectors
    norms = np.linalg.norm(vectors, axis=1)
    if not np.all(np.abs(norms - 1) < UNIT_TOLERANCE):  # also catches NaN
        worst = int(np.argmax(np.where(np.isfinite(norms), np.abs(norms - 1), np.inf)))
        raise VidmemError("unit-norm descriptors", f"norm {norms[worst]} in row {worst}", f"descriptors '{name}'")
    return vectors

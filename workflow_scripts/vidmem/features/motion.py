"""Motion memorization: similarity of the optical flow of two clips over windows of k consecutive frame pairs.

OFS-k is the mean cosine of the flows of k consecutive frame pairs (Chen et al. 2410.21669). The two cosines and the search over
windows are our formalisation; docs/methods.md names every choice.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import VidmemError

COSINES = ("pixel", "field")
PAIRINGS = ("max", "aligned")
CROPPED = 0.9
"""How much a query clip is shrunk where it is looked up as a part of a reference. Parts of 80 to 95 % of a side are found."""
EPSILON = 0.05  # grid pixels per frame step: a shorter vector is noise of the estimator and has no direction


class WindowMatch(NamedTuple):
    """A score, and the first frame pair of the window in each clip. A score of None is not defined."""

    score: float | None
    first: int
    second: int


def normalise_flows(flows: np.ndarray, cosine: str = "pixel", epsilon: float = EPSILON) -> np.ndarray:
    """Flow fields as vectors whose inner product is their cosine.

    'pixel' brings every flow vector of at least epsilon to unit length and sets the others to zero. It then divides the field
    by the square root of its number of moving pixels. A field therefore has cosine 1 with itself, however few pixels move.
    'field' divides the flattened field by its norm. A field without motion becomes the zero vector, whose cosine with any field
    is 0.

    Args:
        flows: float [P, 2, h, w], grid pixels per frame step.
        cosine: 'pixel' or 'field'.
        epsilon: smallest length that counts as motion, grid pixels per frame step.

    Returns:
        float32 [P, 2 * h * w].

    Raises:
        VidmemError: flows of another shape, an unknown cosine, or a value that is not finite.
    """
    if cosine not in COSINES:
        raise VidmemError(f"cosine one of {COSINES}", cosine, "normalise_flows")
    flows = check_flows(flows)
    squares = np.einsum("pchw,pchw->phw", flows, flows)
    if cosine == "field":
        norms, still = np.sqrt(squares.sum(axis=(1, 2))), squares.max(axis=(1, 2), initial=0) < epsilon**2
        scale = np.where(still, 0, 1 / np.maximum(norms, 1e-12))[:, None, None]
    else:
        moving = squares >= epsilon**2
        counts = np.maximum(np.count_nonzero(moving, axis=(1, 2)), 1)[:, None, None]
        scale = np.where(moving, 1 / np.maximum(np.sqrt(squares), epsilon), 0) / np.sqrt(counts)
    flows *= scale[:, None].astype(np.float32)  # a copy of ours
    return flows.reshape(len(flows), int(np.prod(flows.shape[1:])))


def pool_flows(flows: np.ndarray, grid: int) -> np.ndarray:
    """Flows on a coarser grid: the mean over each of its cells.

    Args:
        flows: float [P, 2, h, w].
        grid: side of the coarser grid in cells, a divisor of h and of w.

    Returns:
        float32 [P, 2, grid, grid], in the unit of `flows`.

    Raises:
        VidmemError: flows of another shape or not finite, or a grid that is no divisor of h and w.
    """
    flows = check_flows(flows)
    height, width = flows.shape[2:]
    if height % grid or width % grid:
        raise VidmemError(f"a divisor of the flow grid {height} x {width}", grid, "config key search.motion_grid")
    return flows.reshape(len(flows), 2, grid, height // grid, grid, width // grid).mean(axis=(3, 5))


def mirror_flows(flows: np.ndarray) -> np.ndarray:
    """The flows of the clip mirrored left to right: places are reversed, and so are horizontal directions.

    >>> mirror_flows(np.array([[[[1, 2]], [[3, 4]]]])).tolist()
    [[[[-2, -1]], [[4, 3]]]]
    """
    return np.asarray(flows)[..., ::-1] * np.array([-1, 1], np.asarray(flows).dtype)[:, None, None]


def shrink_flows(flows: np.ndarray, scale: float = CROPPED) -> np.ndarray:
    """The flows of the clip as part of a larger picture: everything is moved towards the middle, and the border is continued.

    A copy that shows the middle of a clip is compared with the whole clip in this way.

    Args:
        flows: float [P, 2, h, w].
        scale: side of the picture in the larger one, 0 to 1.

    Returns:
        float32 [P, 2, h, w]; linear interpolation.
    """
    flows = np.asarray(flows, np.float32)
    rows, columns = (_resampling(side, scale) for side in flows.shape[2:])
    return np.matmul(np.matmul(rows, flows), columns.T) * np.float32(scale)


def _resampling(side: int, scale: float) -> np.ndarray:
    """Weights of the old places for each new place along a side, float32 [side, side]."""
    middle = (side - 1) / 2
    places = np.clip((np.arange(side) - middle) / scale + middle, 0, side - 1)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(side))).astype(np.float32)


VIEWS = {"mirrored": mirror_flows, "cropped": shrink_flows}
"""Further ways in which a query clip is looked up: as the mirror image of a reference, or as a part of it."""


def check_flows(flows: np.ndarray) -> np.ndarray:
    """A copy of flows as float32 [P, 2, h, w].

    Raises:
        VidmemError: flows of another shape, or a value that is not finite.
    """
    flows = np.asarray(flows)
    if flows.ndim != 4 or flows.shape[1] != 2:
        raise VidmemError("flows [pairs, 2, h, w]", flows.shape, "flows")
    flows = flows.astype(np.float32)
    sums = np.einsum("pchw->p", flows)  # one pass, and no array of booleans: NaN and infinity stay in a sum
    if not np.isfinite(sums).all():
        raise VidmemError("finite flows", f"NaN or infinity in pair {int(np.flatnonzero(~np.isfinite(sums))[0])}", "flows")
    return flows


def ofs_windows(first: np.ndarray, second: np.ndarray, k: int, cosine: str) -> np.ndarray:
    """OFS-k of all pairs of windows of two clips; see ofs_k for the arguments.

    Returns:
        float [P - k + 1, Q - k + 1], -1..1.
    """
    if np.shape(first)[2:] != np.shape(second)[2:]:
        raise VidmemError("flows on one grid", (np.shape(first), np.shape(second)), "ofs_k")
    return window_scores(normalise_flows(first, cosine) @ normalise_flows(second, cosine).T, k)


def ofs_k(first: np.ndarray, second: np.ndarray, k: int = 3, cosine: str = "field", pairing: str = "max") -> WindowMatch:
    """Optical flow similarity of two clips over windows of k frame pairs.

    OFS-k(y, x) = max over i, j of (1/k) sum over m < k of cos(F^y_{i+m}, F^x_{j+m}); 'aligned' keeps i = j.

    Args:
        first, second: float [P, 2, h, w] and [Q, 2, h, w] on one grid.
        k: frame pairs in a window, at least 1.
        cosine: see normalise_flows; by default that of the audit, of whole fields.
        pairing: 'max' over all pairs of windows, or 'aligned'.

    Returns:
        Score in -1..1, and the first frame pair of the window in each clip. The score is None (not defined) if a clip has fewer
        than k frame pairs.

    Raises:
        VidmemError: bad flows, different grids, k < 1, or an unknown pairing.

    >>> still = np.zeros((3, 2, 4, 4)); right = still + np.array([1.0, 0.0])[:, None, None]
    >>> ofs_k(right, 2 * right).score, ofs_k(right, -right).score, ofs_k(right, still).score
    (1.0, -1.0, 0.0)
    >>> ofs_k(right[:2], right)
    WindowMatch(score=None, first=-1, second=-1)
    """
    return best_window(ofs_windows(first, second, k, cosine), pairing)


def window_scores(cosines: np.ndarray, k: int) -> np.ndarray:
    """Scores of all pairs of k-windows from the cosines of all pairs of flow fields.

    A window score is a mean along a diagonal of `cosines`. One product of single fields therefore serves every k. A product of
    concatenated windows would be k times the work.

    Args:
        cosines: float [P, Q].
        k: frame pairs in a window, at least 1.

    Returns:
        float [P - k + 1, Q - k + 1]; empty if a clip has fewer than k frame pairs.
    """
    return np.clip(window_sums(cosines, k) / k, -1, 1)


def window_sums(cosines: np.ndarray, k: int) -> np.ndarray:
    """Sums of the cosines of all pairs of k-windows, which are k times their scores; see window_scores."""
    if k < 1:
        raise VidmemError("k >= 1", k, "window_scores")
    rows, columns = (max(0, size - k + 1) for size in cosines.shape)
    total = cosines[:rows, :columns].copy()
    for m in range(1, k):
        total += cosines[m : m + rows, m : m + columns]
    return total


def best_window(scores: np.ndarray, pairing: str = "max", allowed: np.ndarray | None = None) -> WindowMatch:
    """The pair of windows with the largest score.

    Args:
        scores: float [I, J].
        pairing: 'max' for all pairs, or 'aligned' for pairs with i = j only.
        allowed: bool [I, J], which pairs may win; None for all. Other pairs are removed before the maximum is taken.
    """
    if pairing not in PAIRINGS:
        raise VidmemError(f"pairing one of {PAIRINGS}", pairing, "best_window")
    allowed = np.ones(scores.shape, bool) if allowed is None else allowed
    if pairing == "aligned":
        allowed = allowed & np.eye(*scores.shape, dtype=np.bool_)
    if not allowed.any():
        return WindowMatch(None, -1, -1)
    i, j = np.unravel_index(int(np.argmax(np.where(allowed, scores, -np.inf))), scores.shape)
    return WindowMatch(float(scores[i, j]), int(i), int(j))

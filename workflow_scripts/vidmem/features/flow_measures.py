"""The measures of a flow field that the natural motion filter looks at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .motion import EPSILON, check_flows

STEP = 0.002
"""Shortest motion that counts as such, as a share of the frame's diagonal per frame step."""
STEADY = 0.9
"""Smallest cosine of two consecutive flow vectors at one place that go the same way. Noise and flicker seldom do."""


@dataclass(frozen=True)
class FlowFeatures:
    """The measures that the natural motion filter looks at: float64 [P] each, one value for each frame pair.

    Attributes:
        magnitude: mean length of the flow vectors, as a share of the frame's diagonal.
        area: share of the frame that moves, 0..1: by at least STEP, and the same way (STEADY) in the pair before
            or after.
        energy: sum of the squared lengths, in grid pixels squared.
        residual: energy that remains after the least-squares affine field is subtracted, in grid pixels squared.
        entropy: entropy of the directions in 8 sectors, weighted by length, in bits (0..3); 0 without motion.
    """

    magnitude: np.ndarray
    area: np.ndarray
    energy: np.ndarray
    residual: np.ndarray
    entropy: np.ndarray


def flow_features(flows: np.ndarray, epsilon: float = EPSILON, size: tuple[int, int] | None = None) -> FlowFeatures:
    """Measure every frame pair for the natural motion filter.

    Args:
        flows: float [P, 2, h, w], grid pixels per frame step, the consecutive frame pairs of one clip.
        epsilon: smallest length whose direction counts, grid pixels per frame step.
        size: (height, width) of the frames; None if the frames have the shape of the grid. The magnitude is a share of the
            frame's diagonal.
    """
    flows = check_flows(flows).astype(np.float64)
    pairs, _, height, width = flows.shape
    lengths = np.sqrt((flows**2).sum(axis=1))
    rows, columns = np.mgrid[0:height, 0:width]
    design = np.stack([np.ones(height * width), rows.ravel() / height - 0.5, columns.ravel() / width - 0.5], axis=1)
    orthonormal, _ = np.linalg.qr(design)
    flat = flows.reshape(pairs, 2, -1)
    energy = (flat**2).sum(axis=(1, 2))
    residual = energy - ((flat @ orthonormal) ** 2).sum(axis=(1, 2))
    tall, wide = size or (height, width)
    shares = flows * (np.array([wide / width, tall / height]) / np.hypot(tall, wide))[:, None, None]
    steps = np.sqrt((shares**2).sum(axis=1))
    entropy = np.array([_direction_entropy(field, size, epsilon) for field, size in zip(flows, lengths)])
    return FlowFeatures(
        steps.mean(axis=(1, 2)), _moving_area(shares, steps), energy, np.maximum(residual, 0), entropy.reshape(pairs)
    )


def _moving_area(shares: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Share of the frame that moves in every frame pair, float [P]; see FlowFeatures.

    Args:
        shares: flows in shares of the frame's diagonal, float [P, 2, h, w].
        steps: their lengths, float [P, h, w]. A clip of one frame pair has no neighbour, and its lengths alone decide.
    """
    moving = steps >= STEP
    if len(steps) < 2:
        return moving.mean(axis=(1, 2))
    products = (shares[1:] * shares[:-1]).sum(axis=1)
    steady = moving[1:] & moving[:-1] & (products >= STEADY * steps[1:] * steps[:-1])
    none = np.zeros_like(moving[:1])
    return (np.concatenate([steady, none]) | np.concatenate([none, steady])).mean(axis=(1, 2))


def _direction_entropy(field: np.ndarray, lengths: np.ndarray, epsilon: float) -> float:
    """Entropy of the directions of one field, in bits; see FlowFeatures."""
    moving = lengths >= epsilon
    if not moving.any():
        return 0.0
    angles = np.arctan2(field[1][moving], field[0][moving])
    sectors = np.round(angles / (np.pi / 4)).astype(int) % 8  # the sectors are centred on the axes and the diagonals
    shares = np.bincount(sectors, weights=lengths[moving], minlength=8)
    shares = shares[shares > 0] / shares.sum()
    return abs(float((shares * np.log2(shares)).sum()))

"""The natural motion filter, which excludes windows whose motion is so common that a match says nothing.

The filter is our formalisation of Chen et al. 2410.21669; docs/methods.md names every choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import VidmemError
from .flow_measures import FlowFeatures

SIDES = ("either", "both", "query", "reference")


@dataclass(frozen=True)
class NaturalMotionFilter:
    """The criteria by which a k-window is natural, so that it cannot support a motion verdict. None switches a criterion off.

    Attributes:
        static: a window is natural if less than this share of the frame moves in its frame pairs, on average, 0..1.
        affine: a window is natural if an affine field (pan, zoom, rotation) explains more than this share of its energy, 0..1.
        entropy: a window is natural if its mean direction entropy is below this number of bits.
        sides: a pair of windows is excluded if 'either' window is natural, or only if 'both' are. 'query' and 'reference' look
            at the window of one side alone.

    Raises:
        VidmemError: an unknown value of `sides`.
    """

    static: float | None = None
    affine: float | None = None
    entropy: float | None = None
    sides: str = "either"

    def __post_init__(self) -> None:
        if self.sides not in SIDES:
            raise VidmemError(f"sides one of {SIDES}", self.sides, "NaturalMotionFilter")


def natural_windows(features: FlowFeatures, k: int, rule: NaturalMotionFilter) -> np.ndarray:
    """The reason why each k-window is natural.

    Args:
        features: measures of P frame pairs.
        k: frame pairs in a window.

    Returns:
        str [P - k + 1]: 'static', 'affine' or 'entropy', the first that applies; '' if the window is not natural.
    """
    windows = max(0, len(features.area) - k + 1)
    reasons = np.full(windows, "", dtype="U8")
    area, energy, residual, entropy = (
        _window_means(values, k) for values in (features.area, features.energy, features.residual, features.entropy)
    )
    explained = np.where(energy > 0, 1 - residual / np.maximum(energy, 1e-12), 0.0)
    for name, limit, natural in (
        ("static", rule.static, None if rule.static is None else area < rule.static),
        ("affine", rule.affine, None if rule.affine is None else explained > rule.affine),
        ("entropy", rule.entropy, None if rule.entropy is None else entropy < rule.entropy),
    ):
        if limit is not None:
            reasons[(reasons == "") & natural] = name
    return reasons


def _window_means(values: np.ndarray, k: int) -> np.ndarray:
    """Means over k consecutive values: float [P] to [P - k + 1]."""
    windows = max(0, len(values) - k + 1)
    return np.sum([values[m : m + windows] for m in range(k)], axis=0) / k if windows else np.zeros(0)


def allowed_pairs(first_natural: np.ndarray, second_natural: np.ndarray, sides: str = "either") -> np.ndarray:
    """Which pairs of windows can support a verdict.

    Args:
        first_natural, second_natural: which windows of the query clip and of the reference clip are natural, bool [I] and [J].
        sides: see NaturalMotionFilter.

    Returns:
        bool [I, J].

    Raises:
        VidmemError: an unknown value of `sides`.
    """
    first, second = np.asarray(first_natural, bool)[:, None], np.asarray(second_natural, bool)[None, :]
    removed = {
        "either": first | second,
        "both": first & second,
        "query": first | np.zeros_like(second),
        "reference": second | np.zeros_like(first),
    }
    if sides not in removed:
        raise VidmemError(f"sides one of {SIDES}", sides, "allowed_pairs")
    return ~removed[sides]

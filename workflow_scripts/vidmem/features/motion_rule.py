"""The record that states how the motion of two clips is compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..errors import VidmemError
from .motion import COSINES, PAIRINGS, ofs_windows
from .natural_motion import NaturalMotionFilter


@dataclass(frozen=True)
class MotionRule:
    """How the motion of two clips is compared: the section `motion` of the configuration, without its threshold.

    Attributes:
        k: frame pairs in a window, at least 1.
        cosine: cosine of two flow fields, 'pixel' or 'field'; see normalise_flows.
        pairing: which pairs of windows count, 'max' or 'aligned'; see best_window.
        filter: which windows are natural and therefore cannot support a verdict.

    Raises:
        VidmemError: k below 1, or an unknown cosine or pairing.
    """

    k: int = 3
    cosine: str = "field"
    pairing: str = "max"
    filter: NaturalMotionFilter = field(default_factory=NaturalMotionFilter)

    def __post_init__(self) -> None:
        if self.k < 1:
            raise VidmemError("k >= 1", self.k, "MotionRule")
        for name, given, known in (("cosine", self.cosine, COSINES), ("pairing", self.pairing, PAIRINGS)):
            if given not in known:
                raise VidmemError(f"{name} one of {known}", given, "MotionRule")

    @classmethod
    def of(cls, section: Mapping) -> MotionRule:
        """The rule that a section `motion` of the configuration states. The other keys of the section are not read.

        >>> MotionRule.of({"k": 2, "cosine": "pixel", "pairing": "max", "filter": {"static": 0.1}, "threshold": 0.5}).variant
        'pixel max'
        """
        filtered = NaturalMotionFilter(**section["filter"])
        return cls(section["k"], section["cosine"], section["pairing"], filtered)

    @property
    def variant(self) -> str:
        """Cosine and pairing in words, for the column `variant` of the validation."""
        return f"{self.cosine} {self.pairing}"


def ofs_by_rule(first: np.ndarray, second: np.ndarray, rule: MotionRule) -> np.ndarray:
    """OFS-k of all pairs of windows of two clips, with the k and the cosine of a rule; see ofs_windows."""
    return ofs_windows(first, second, rule.k, rule.cosine)

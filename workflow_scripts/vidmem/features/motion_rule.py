"""The record that states how the motion of two clips is compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..errors import VidmemError
from .background import whitened_fields
from .motion import COSINES, PAIRINGS, VIEWS, normalise_flows, window_scores
from .natural_motion import NaturalMotionFilter


@dataclass(frozen=True)
class MotionRule:
    """How the motion of two clips is compared: the section `motion` of the configuration, without its threshold.

    Attributes:
        k: frame pairs in a window, at least 1.
        cosine: cosine of two flow fields, 'pixel' or 'field', see normalise_flows; or 'whitened', see whitened_fields.
        pairing: which pairs of windows count, 'max' or 'aligned'; see best_window.
        filter: which windows are natural and therefore cannot support a verdict.
        views: further ways in which a query clip is looked up, keys of VIEWS.
        weights: for the cosine 'whitened', the factor of every frequency; see Background.weights.

    Raises:
        VidmemError: k below 1, an unknown cosine, pairing or view, or a cosine 'whitened' without weights.
    """

    k: int = 3
    cosine: str = "field"
    pairing: str = "max"
    filter: NaturalMotionFilter = field(default_factory=NaturalMotionFilter)
    views: tuple[str, ...] = ()
    weights: np.ndarray | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.k < 1:
            raise VidmemError("k >= 1", self.k, "MotionRule")
        for name, given, known in (
            ("cosine", self.cosine, (*COSINES, "whitened")),
            ("pairing", self.pairing, PAIRINGS),
            *(("view", view, tuple(VIEWS)) for view in self.views),
        ):
            if given not in known:
                raise VidmemError(f"{name} one of {known}", given, "MotionRule")
        if (self.cosine == "whitened") != (self.weights is not None):
            raise VidmemError("weights for the cosine 'whitened', and for no other", self.cosine, "MotionRule")

    @classmethod
    def of(cls, section: Mapping) -> MotionRule:
        """The rule that a section `motion` of the configuration states. The other keys of the section are not read.

        >>> MotionRule.of({"k": 2, "cosine": "pixel", "pairing": "max", "filter": {"static": 0.1}, "threshold": 0.5}).variant
        'pixel max'
        """
        filtered = NaturalMotionFilter(**section["filter"])
        return cls(section["k"], section["cosine"], section["pairing"], filtered, tuple(section.get("views", ())))

    def fields(self, flows: np.ndarray) -> np.ndarray:
        """Flows as vectors whose inner product is their cosine by this rule: float [P, 2, h, w] to float32 [P, d]."""
        if self.weights is not None:
            return whitened_fields(flows, self.weights)
        return normalise_flows(flows, self.cosine)

    def seen(self, flows: np.ndarray) -> dict[str, np.ndarray]:
        """The flows of a query clip as they are looked up, by view: as they are (''), and in the views of the rule."""
        return {"": flows} | {view: VIEWS[view](flows) for view in self.views}

    @property
    def features(self) -> str:
        """Kind of the features that references are compared by, a key of vidmem.base.shards.LISTED."""
        return "motion" if self.weights is None else "pooled"

    @property
    def variant(self) -> str:
        """Cosine and pairing in words, for the column `variant` of the validation."""
        return f"{self.cosine} {self.pairing}"


def ofs_by_rule(first: np.ndarray, second: np.ndarray, rule: MotionRule) -> np.ndarray:
    """OFS-k of all pairs of windows of two clips, by a rule.

    Args:
        first, second: float [P, 2, h, w] and [Q, 2, h, w] on one grid.

    Returns:
        float [P - k + 1, Q - k + 1], -1..1; empty if a clip has fewer than k frame pairs.
    """
    if np.shape(first)[2:] != np.shape(second)[2:]:
        raise VidmemError("flows on one grid", (np.shape(first), np.shape(second)), "ofs_by_rule")
    return window_scores(rule.fields(first) @ rule.fields(second).T, rule.k)

"""How an audit compares motion: its motion metrics, and the rule by which each of them compares two clips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from .background import Background, load_background
from .metrics import Metric, searched_metrics
from .motion_rule import MotionRule


def variants_of(section: Mapping) -> dict[str, str]:
    """How each motion metric of an audit compares two clips, in words, for the column `variant` of the validation.

    Args:
        section: section `motion` of the configuration.

    >>> variants_of({"metric": "wofs_k", "cosine": "field", "pairing": "max"})
    {'ofs_k': 'field max', 'wofs_k': 'whitened max'}
    """
    cosines = {metric.name: "whitened" if metric.whitened else section["cosine"]
               for metric in searched_metrics("motion", section["metric"])}  # fmt: skip
    return {name: f"{cosine} {section['pairing']}" for name, cosine in cosines.items()}


def configured_rule(section: Mapping, backgrounds: Sequence[Path | str]) -> MotionRule | None:
    """The rule of the metric of the verdict; None for an index of content, whose rule has no such section.

    Args:
        section: section `motion` of the configuration, or {}.
        backgrounds: the file of the background; none for an index of content.
    """
    if not section:
        return None
    comparison = MotionComparison.of(section, *backgrounds)
    return comparison.rule_of(comparison.configured)


@dataclass(frozen=True)
class MotionComparison:
    """The motion metrics of an audit and what they compare by.

    Attributes:
        rule: the section `motion` of the configuration, as OFS-k compares by it.
        metrics: OFS-k, and the configured metric if it is another.
        background: background of the corpus.
    """

    rule: MotionRule
    metrics: tuple[Metric, ...]
    background: Background

    @classmethod
    def of(cls, section: Mapping, background: Path | str) -> MotionComparison:
        """The comparison that a section `motion` of the configuration states.

        Args:
            background: file of the background of the corpus.
        """
        metrics = tuple(searched_metrics("motion", section["metric"]))
        return cls(MotionRule.of(section), metrics, load_background(background))

    @property
    def configured(self) -> Metric:
        """The metric of the verdict."""
        return self.metrics[-1]

    def rule_of(self, metric: Metric, fold: int | None = None) -> MotionRule:
        """The rule by which a metric compares.

        Args:
            fold: part of the background that is left out; None for the whole background.
        """
        if not metric.whitened:
            return self.rule
        return replace(self.rule, cosine="whitened", weights=self.background.weights[fold])

    def preset(self, metric: Metric, estimator: str) -> str:
        """What computed the scores of a metric: the estimator of the flows, and the background if it uses one."""
        return f"{estimator} background {self.background.name}" if metric.whitened else estimator

    def by_rule(self, metric: Metric, clips: pd.DataFrame, clip_ids: Sequence[str]) -> Iterator[tuple[MotionRule, list[str]]]:
        """Query clips in groups of one rule. A clip of a corpus is compared without its video's part of the background.

        Args:
            clips: clip table with the columns clip_id and set.
            clip_ids: the clips to group.

        Yields:
            A rule, and the clips that it is for in the order of `clip_ids`.
        """
        own = set(clips.loc[clips["set"].str.startswith("corpus-"), "clip_id"]) if metric.whitened else set()
        folds = {name: self.background.fold_of(name) if name in own else -1 for name in clip_ids}
        for fold in sorted(set(folds.values())):
            yield self.rule_of(metric, None if fold < 0 else fold), [name for name in clip_ids if folds[name] == fold]

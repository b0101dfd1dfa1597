"""Figures of the calibration: rates against the threshold, and the effect of score normalisation on the scores."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ..features.statistics import IntervalRule, negatives_needed, threshold_at
from ..scoring.calibration import FLOOR, NEGATIVES, NORMALISATIONS, negatives_of
from .figures import HELDOUT, MEMBER, STYLE, empty_figure

GRID = np.linspace(0, 1, 101)


def calibration_figure(
    scores: pd.DataFrame, names: dict[str, str], in_force: dict[tuple[str, str], float], rate: float, interval: IntervalRule
) -> plt.Figure:
    """False-positive rate and recall against the threshold, with intervals.

    Args:
        scores: scores that calibration_scores returns, for one or more corpora (column corpus).
        names: metric -> name in the figure.
        in_force: (corpus, metric) -> threshold of the verdict; NaN for none.
        rate: stated false-positive rate, 0..1.
    """
    title, corpora = "Calibration", sorted(set(scores["corpus"]))
    with plt.rc_context(STYLE):
        if not len(scores):
            return empty_figure(title, "no clip of the corpus could be scored")
        figure, axes = plt.subplots(len(corpora), len(names), figsize=(4.6 * len(names), 3.4 * len(corpora)), squeeze=False)
        for line, corpus in zip(axes, corpora):
            for axis, (metric, name) in zip(line, names.items()):
                _rate_curves(axis, scores[scores["corpus"] == corpus], metric, rate, interval)
                threshold = in_force[corpus, metric]
                axis.axvline(threshold, color="black", linestyle="--", linewidth=1)
                label = "no threshold supported" if np.isnan(threshold) else f"dashed: threshold {threshold:.3g}"
                axis.set(xlabel=f"{name}, corpus {corpus} ({label})", ylabel="share", ylim=(-0.02, 1.02))
                axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=2)
        figure.tight_layout()
        return figure


def _rate_curves(axis: plt.Axes, scores: pd.DataFrame, metric: str, rate: float, interval: IntervalRule) -> None:
    negatives, positives = (negatives_of(scores, metric, kinds=kinds) for kinds in (NEGATIVES, ("positive",)))
    for values, name, colour in ((negatives, "false positives", HELDOUT), (positives, "recall", MEMBER)):
        fired = [int((values >= threshold).sum()) for threshold in GRID]
        ends = np.array([interval.share(count, len(values)) for count in fired])
        axis.plot(GRID, ends[:, 0], color=colour, linewidth=1.4, label=f"{name} (n = {len(values)})")
        axis.fill_between(GRID, ends[:, 1], ends[:, 2], color=colour, alpha=0.2, linewidth=0)
    axis.axhline(rate, color="grey", linestyle=":", linewidth=1, label=f"stated rate {rate:g}")
    if len(negatives) >= negatives_needed(rate):
        axis.axvline(threshold_at(negatives, rate), color="grey", linestyle="-.", linewidth=1, label="threshold of that rate")


def normalisation_figure(scores: pd.DataFrame, names: dict[str, str], rate: float) -> plt.Figure:
    """Distributions of negatives and positives, raw and normalised, with the threshold for the stated rate.

    If there are too few negatives for the stated rate, the line is at the lowest rate they can show.

    Args:
        scores: scores that calibration_scores returns, for one or more corpora (column corpus).
        names: metric -> name in the figure.
        rate: stated false-positive rate, 0..1.
    """
    with plt.rc_context(STYLE):
        if not len(scores):
            return empty_figure("Score normalisation", "no clip of the corpus could be scored")
        lines = list(product(sorted(set(scores["corpus"])), NORMALISATIONS))
        figure, axes = plt.subplots(len(lines), len(names), figsize=(4.6 * len(names), 3.1 * len(lines)), squeeze=False)
        for line, (corpus, normalisation) in zip(axes, lines):
            own = scores[scores["corpus"] == corpus]
            for axis, (metric, name) in zip(line, names.items()):
                sides = [negatives_of(own, metric, normalisation, kinds) for kinds in (NEGATIVES, ("positive",))]
                _histograms(axis, sides, rate)
                axis.set(xlabel=f"{name}, {normalisation} (corpus {corpus})", ylabel="share of scores")
        figure.tight_layout()
        return figure


def _histograms(axis: plt.Axes, sides: Sequence[np.ndarray], rate: float) -> None:
    shown = [values[values > FLOOR] for values in sides]
    edges = np.linspace(-0.4, 1.0, 57)
    names = (("negatives", "silent"), ("positives", "silent or wrong"))
    for values, kept, (name, lowest), colour in zip(sides, shown, names, (HELDOUT, MEMBER)):
        weights = np.full(len(kept), 1 / max(1, len(values)))
        silent = f", {len(values) - len(kept)} {lowest}" if len(kept) < len(values) else ""
        label = f"{name} (n = {len(values)}{silent})"
        kept = np.clip(kept, edges[0], edges[-1])
        axis.hist(kept, edges, weights=weights, color=colour, alpha=0.55, label=label)
    if len(sides[0]):
        used = max(rate, 1 / len(sides[0]))
        threshold = threshold_at(sides[0], used)
        axis.axvline(threshold, color="black", linestyle="--", linewidth=1, label=f"{threshold:.3g} at a rate of {used:.2g}")
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=2)

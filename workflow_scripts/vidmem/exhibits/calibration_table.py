"""Table of the calibration: false-positive rates and recall at several thresholds.

A threshold is chosen on the measured negatives themselves, on other negatives, or by the configuration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..features.metrics import metric_names, metric_of
from ..features.statistics import IntervalRule, negatives_needed, threshold_at
from ..scoring.calibration import NEGATIVES, NORMALISATIONS
from ..scoring.validation import FILTERS, expected_answers, unrelated_control

COLUMNS = [
    "corpus", "metric", "preset", "normalisation", "negatives", "chosen_on", "rate", "needs", "threshold", "n_negative",
    "n_undefined", "n_fired", "fpr", "fpr_low", "fpr_high", "fpr_statement", "n_positive", "recall", "recall_low",
    "recall_high", "auc", "auc_low", "auc_high",
]  # fmt: skip
CONFIGURED = "configuration"


class Side(NamedTuple):
    """Scores of one class.

    Attributes:
        values: defined scores, float [n].
        clusters: clusters that a bootstrap draws, str [n] or [n, 2].
        undefined: number of scores that are not defined.
    """

    values: np.ndarray
    clusters: np.ndarray
    undefined: int = 0


class Plan(NamedTuple):
    """One measurement: the negatives that are measured, and the negatives that choose the threshold.

    Attributes:
        negatives: name of the measured negatives.
        chosen_on: name of the negatives that choose the threshold.
        choosing: scores of the negatives that choose the threshold.
        positive: scores of the positives.
        measured: scores of the measured negatives.
        own: whether a row at the configured threshold is added.
    """

    negatives: str
    chosen_on: str
    choosing: Side
    positive: Side
    measured: Side
    own: bool = True


def calibration_table(
    scores: pd.DataFrame, pairs: pd.DataFrame, corpus: str, stated: dict[str, float], rate: float, variants: Mapping[str, str],
    interval: IntervalRule, seed: int,
) -> pd.DataFrame:  # fmt: skip
    """Rates of every metric, raw and normalised, for every choice of measured and threshold-choosing negatives.

    Args:
        scores: scores that calibration_scores returns.
        pairs: scores of the validation pairs (unrelated clips and controls).
        stated: metric -> threshold in force; NaN if the calibration supports no threshold.
        rate: stated false-positive rate, 0..1. Rows at the lowest rate that the negatives can show (1 / count) are added.
        variants: motion metric -> the variant of it that counts.
    """
    rows = []
    for metric in (name for name in metric_names() if name in set(scores["metric"])):
        for normalisation in NORMALISATIONS:
            chosen = scores[(scores["metric"] == metric) & (scores["normalisation"] == normalisation)]
            preset = " ".join(sorted(set(chosen["preset"])))
            head = {"corpus": corpus, "metric": metric, "preset": preset, "normalisation": normalisation}
            plans = list(_plans(chosen))
            if normalisation == "raw":
                plans.append(_pair_plan(pairs[pairs["metric"] == metric], metric, variants))
            configured = stated[metric] if normalisation == "raw" else None
            for plan in plans:
                rows += [head | row for row in _rows(plan, rate, configured, interval, seed)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(plan: Plan, rate: float, configured: float | None, interval: IntervalRule, seed: int) -> list[dict]:
    """Rows at the stated rate, at the lowest rate the negatives can show, and at the configured threshold if there is one."""
    positive, measured = plan.positive, plan.measured
    area = interval.auc(positive.values, measured.values, positive.clusters, measured.clusters, seed)
    points: list[dict[str, Any]] = []
    for value in _rates(rate, len(plan.choosing.values)):
        needs = negatives_needed(value)
        enough = len(plan.choosing.values) >= needs
        threshold = threshold_at(plan.choosing.values, value) if enough else np.nan
        points.append({"chosen_on": plan.chosen_on, "rate": value, "needs": needs, "threshold": threshold})
    if configured is not None and plan.own:
        points.append({"chosen_on": CONFIGURED, "rate": np.nan, "needs": 0, "threshold": configured})
    about = {"negatives": plan.negatives, "auc": area.value, "auc_low": area.low, "auc_high": area.high}
    return [about | point | _measured(positive, measured, point["threshold"], interval) for point in points]


def _rates(rate: float, count: int) -> list[float]:
    """The stated rate and, if it differs, the lowest rate that `count` negatives can show."""
    return [rate] if not count or 1 / count == rate else [rate, 1 / count]


def _plans(scores: pd.DataFrame) -> Iterator[Plan]:
    """All measurements.

    Each kind of negatives is measured by itself, then all together. Held-out negatives are also measured at a threshold chosen
    on the other kind. The negatives of each source are measured at a threshold chosen on the other sources.
    """
    positive = scores[scores["kind"] == "positive"]
    held, one_out = (scores[scores["kind"] == kind] for kind in NEGATIVES)
    together = pd.concat([held, one_out])
    for name, part in zip((*NEGATIVES, "together"), (held, one_out, together)):
        yield Plan(name, name, _side(part), _side(positive), _side(part))
    # The held-out negatives already have a row at the configured threshold.
    yield Plan(NEGATIVES[0], NEGATIVES[1], _side(one_out), _side(positive), _side(held), own=False)
    for source in sorted(set(together["source"])):
        within, ours = together["source"] == source, positive[positive["source"] == source]
        yield Plan(source, f"without {source}", _side(together[~within]), _side(ours), _side(together[within]))


def _side(part: pd.DataFrame) -> Side:
    defined = part[part["value"].notna()]
    return Side(defined["value"].to_numpy(float), defined["cluster"].to_numpy(str), len(part) - len(defined))


def _pair_plan(pairs: pd.DataFrame, metric: str, variants: Mapping[str, str]) -> Plan:
    """Measurement on validation pairs: the controls that must fire are positives, the unrelated clips are negatives."""
    if metric_of(metric).kind == "motion":
        pairs = pairs[(pairs["variant"] == variants[metric]) & (pairs["filter"] == FILTERS[-1])]
    fires = [name for name, answer in expected_answers(metric).items() if answer]
    unrelated = pairs[pairs["control"] == unrelated_control(metric)]
    defined = unrelated[unrelated["value"].notna()]
    clusters = defined[["first", "second"]].to_numpy(str)
    negative = Side(defined["value"].to_numpy(float), clusters, len(unrelated) - len(defined))
    return Plan("pairs", "pairs", negative, _side(pairs[pairs["control"].isin(fires)]), negative)


def _measured(positive: Side, negative: Side, threshold: float, interval: IntervalRule) -> dict:
    """False-positive rate and recall at a threshold, with intervals; empty for a threshold of NaN."""
    known = not np.isnan(threshold)
    fired, found = (int((side.values >= threshold).sum()) if known else 0 for side in (negative, positive))
    counts = [len(side.values) if known else 0 for side in (negative, positive)]
    alarms, recall = (interval.share(hits, total) for hits, total in zip((fired, found), counts))
    return {
        "n_negative": len(negative.values), "n_undefined": negative.undefined, "n_fired": fired if known else np.nan,
        "fpr": alarms.value, "fpr_low": alarms.low, "fpr_high": alarms.high,
        "fpr_statement": state_share(fired, counts[0], alarms.low, alarms.high), "n_positive": len(positive.values),
        "recall": recall.value, "recall_low": recall.low, "recall_high": recall.high,
    }  # fmt: skip


def state_share(found: int, total: int, low: float, high: float) -> str:
    """Write a share in words. If nothing was found, state the upper bound.

    >>> state_share(0, 18, 0.0, 0.176)
    '0 of 18: at most 17.6 %'
    """
    if not total:
        return "not measured"
    if not found:
        return f"0 of {total}: at most {100 * high:.3g} %"
    return f"{found} of {total}: {100 * found / total:.3g} % ({100 * low:.3g} to {100 * high:.3g} %)"

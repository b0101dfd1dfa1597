"""The table of the calibration: false-positive rates and recall at thresholds chosen here, there and by the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from .calibration import METRICS, NEGATIVES, NORMALISATIONS
from .statistics import auc_interval, negatives_needed, share_interval, threshold_at
from .validation import FILTERS, expected_answers

COLUMNS = [
    "corpus", "metric", "preset", "normalisation", "negatives", "chosen_on", "rate", "needs", "threshold", "n_negative",
    "n_undefined", "n_fired", "fpr", "fpr_low", "fpr_high", "fpr_statement", "n_positive", "recall", "recall_low",
    "recall_high", "auc", "auc_low", "auc_high",
]  # fmt: skip
CONFIGURED = "configuration"


class Side(NamedTuple):
    """Scores with what a bootstrap draws: float [n], clusters [n] or [n, 2], and how many scores were not defined."""

    values: np.ndarray
    clusters: np.ndarray
    undefined: int = 0


class Plan(NamedTuple):
    """What is measured on which negatives, with the threshold from which; own: whether its threshold alone is new."""

    negatives: str
    chosen_on: str
    choosing: Side
    positive: Side
    measured: Side
    own: bool = True


def calibration_table(
    scores: pd.DataFrame, pairs: pd.DataFrame, corpus: str, stated: dict[str, float], rate: float, motion: dict,
    interval: dict, seed: int,
) -> pd.DataFrame:  # fmt: skip
    """Rates of every metric, raw and normalised, by the negatives that are measured and those that chose the threshold.

    Args:
        scores: of calibration_scores; pairs: of the validation, unrelated ones and controls.
        stated: metric -> threshold in force. NaN where the calibration supports none.
        rate: stated false-positive rate. A second one, the lowest the negatives can show (one of them), is beside it.
        motion: cosine and pairing, the variant of the pairs.
        interval: level, method, draws.
    """
    rows = []
    for metric in METRICS:
        for normalisation in NORMALISATIONS:
            chosen = scores[(scores["metric"] == metric) & (scores["normalisation"] == normalisation)]
            preset = " ".join(sorted(set(chosen["preset"])))
            head = {"corpus": corpus, "metric": metric, "preset": preset, "normalisation": normalisation}
            plans = list(_plans(chosen))
            if normalisation == "raw":
                plans.append(_pair_plan(pairs[pairs["metric"] == metric], metric, motion))
            configured = stated[metric] if normalisation == "raw" else None
            for plan in plans:
                rows += [head | row for row in _rows(plan, rate, configured, interval, seed)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(plan: Plan, rate: float, configured: float | None, interval: dict, seed: int) -> list[dict]:
    """A row at the stated rate, at the lowest the negatives can show, and at the configured threshold where there is one."""
    positive, measured = plan.positive, plan.measured
    area = auc_interval(
        positive.values, measured.values, positive.clusters, measured.clusters, seed, interval["draws"], interval["level"]
    )
    points = []
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
    """The stated rate, and the lowest that so many negatives can show."""
    return [rate] if not count or 1 / count == rate else [rate, 1 / count]


def _plans(scores: pd.DataFrame) -> Iterator[Plan]:
    """Every kind of negatives by itself and together, held-out ones from the others, and each source from the others."""
    positive = scores[scores["kind"] == "positive"]
    held, one_out = (scores[scores["kind"] == kind] for kind in NEGATIVES)
    together = pd.concat([held, one_out])
    for name, part in zip((*NEGATIVES, "together"), (held, one_out, together)):
        yield Plan(name, name, _side(part), _side(positive), _side(part))
    # The configured threshold on the held-out negatives has its row already.
    yield Plan(NEGATIVES[0], NEGATIVES[1], _side(one_out), _side(positive), _side(held), own=False)
    for source in sorted(set(together["source"])):
        within, ours = together["source"] == source, positive[positive["source"] == source]
        yield Plan(source, f"without {source}", _side(together[~within]), _side(ours), _side(together[within]))


def _side(part: pd.DataFrame) -> Side:
    defined = part[part["value"].notna()]
    return Side(defined["value"].to_numpy(float), defined["cluster"].to_numpy(str), len(part) - len(defined))


def _pair_plan(pairs: pd.DataFrame, metric: str, motion: dict) -> Plan:
    """Validation pairs: the controls that must fire against the unrelated clips."""
    if metric == "ofs_k":
        variant = f"{motion['cosine']} {motion['pairing']}"
        pairs = pairs[(pairs["variant"] == variant) & (pairs["filter"] == FILTERS[-1])]
    fires = [name for name, answer in expected_answers(metric).items() if answer]
    unrelated = pairs[pairs["control"] == ("unrelated-moving" if metric == "ofs_k" else "unrelated")]
    defined = unrelated[unrelated["value"].notna()]
    clusters = defined[["first", "second"]].to_numpy(str)
    negative = Side(defined["value"].to_numpy(float), clusters, len(unrelated) - len(defined))
    return Plan("pairs", "pairs", negative, _side(pairs[pairs["control"].isin(fires)]), negative)


def _measured(positive: Side, negative: Side, threshold: float, interval: dict) -> dict:
    """False-positive rate and recall at a threshold, with intervals; empty where there is no threshold."""
    known = not np.isnan(threshold)
    fired, found = (int((side.values >= threshold).sum()) if known else 0 for side in (negative, positive))
    counts = [len(side.values) if known else 0 for side in (negative, positive)]
    alarms, recall = (
        share_interval(hits, total, interval["level"], interval["method"]) for hits, total in zip((fired, found), counts)
    )
    return {
        "n_negative": len(negative.values), "n_undefined": negative.undefined, "n_fired": fired if known else np.nan,
        "fpr": alarms.value, "fpr_low": alarms.low, "fpr_high": alarms.high,
        "fpr_statement": state_share(fired, counts[0], alarms.low, alarms.high), "n_positive": len(positive.values),
        "recall": recall.value, "recall_low": recall.low, "recall_high": recall.high,
    }  # fmt: skip


def state_share(found: int, total: int, low: float, high: float) -> str:
    """A share in words; nothing found is an upper bound.

    >>> state_share(0, 18, 0.0, 0.176)
    '0 of 18: at most 17.6 %'
    """
    if not total:
        return "not measured"
    if not found:
        return f"0 of {total}: at most {100 * high:.3g} %"
    return f"{found} of {total}: {100 * found / total:.3g} % ({100 * low:.3g} to {100 * high:.3g} %)"

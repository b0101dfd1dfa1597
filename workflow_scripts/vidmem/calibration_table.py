"""The table of the calibration: false-positive rates and recall at thresholds chosen here, there and by the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from .calibration import METRICS, NEGATIVES, NORMALISATIONS
from .statistics import auc_interval, negatives_needed, share_interval, threshold_at
from .validation import expected_answers

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
                pairwise = _pair_sides(pairs[pairs["metric"] == metric], metric, motion)
                plans.append(("pairs", "pairs", pairwise[1], *pairwise))
            for negatives, origin, choosing, positive, measured in plans:
                area = auc_interval(positive.values, measured.values, positive.clusters, measured.clusters, seed,
                                    interval["draws"], interval["level"])  # fmt: skip
                about = head | {"negatives": negatives, "auc": area.value, "auc_low": area.low, "auc_high": area.high}
                for value in _rates(rate, len(choosing.values)):
                    point = {"chosen_on": origin, "rate": value, "needs": negatives_needed(value)}
                    enough = len(choosing.values) >= point["needs"]
                    point["threshold"] = threshold_at(choosing.values, value) if enough else np.nan
                    rows.append(about | point | _measured(positive, measured, point["threshold"], interval))
                if normalisation == "raw" and not (origin in NEGATIVES and origin != negatives):
                    point = {"chosen_on": CONFIGURED, "rate": np.nan, "needs": 0, "threshold": stated[metric]}
                    rows.append(about | point | _measured(positive, measured, stated[metric], interval))
    return pd.DataFrame(rows, columns=COLUMNS)


def _rates(rate: float, count: int) -> list[float]:
    """The stated rate, and the lowest that so many negatives can show."""
    return [rate] if not count or 1 / count == rate else [rate, 1 / count]


def _plans(scores: pd.DataFrame) -> Iterator[tuple]:
    """What is measured on which negatives, with the threshold from which: names, the choosing, positives, the measured.

    The last ones leave a source out of the choice and measure it.
    """
    positive = scores[scores["kind"] == "positive"]
    by_kind = {kind: scores[scores["kind"] == kind] for kind in NEGATIVES}
    together = pd.concat(list(by_kind.values()))
    for name, part in {**by_kind, "together": together}.items():
        yield name, name, _side(part), _side(positive), _side(part)
    yield "held-out", "leave-one-out", _side(by_kind["leave-one-out"]), _side(positive), _side(by_kind["held-out"])
    for source in sorted(set(together["source"])):
        of_source = together["source"] == source
        ours = positive[positive["source"] == source]
        yield source, f"without {source}", _side(together[~of_source]), _side(ours), _side(together[of_source])


def _side(part: pd.DataFrame) -> Side:
    defined = part[part["value"].notna()]
    return Side(defined["value"].to_numpy(float), defined["cluster"].to_numpy(str), len(part) - len(defined))


def _pair_sides(pairs: pd.DataFrame, metric: str, motion: dict) -> tuple[Side, Side]:
    """Positives and negatives of the validation pairs: the controls that must fire, and the unrelated clips."""
    if metric == "ofs_k":
        variant, stage = f"{motion['cosine']} {motion['pairing']}", "static+affine+entropy"
        pairs = pairs[(pairs["variant"] == variant) & (pairs["filter"] == stage)]
    fires = [name for name, answer in expected_answers(metric).items() if answer]
    unrelated = pairs[pairs["control"] == ("unrelated-moving" if metric == "ofs_k" else "unrelated")]
    defined = unrelated[unrelated["value"].notna()]
    negative = Side(
        defined["value"].to_numpy(float), defined[["first", "second"]].to_numpy(str), len(unrelated) - len(defined)
    )
    return _side(pairs[pairs["control"].isin(fires)]), negative


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
        return f"0 of {total}: at most {100 * high:.1f} %"
    return f"{found} of {total}: {100 * found / total:.1f} % ({100 * low:.1f} to {100 * high:.1f} %)"

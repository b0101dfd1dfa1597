"""The gate: is a model that was audited now worse than one that was audited before, or worse than a limit?"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pandas as pd
from scipy import stats

from ..errors import VidmemError
from ..features.metrics import KINDS
from ..features.statistics import Interval
from .answers import percent

LIMITS = {
    "content_share": ("content", "share"),
    "content_share_high": ("content", "high"),
    "motion_share": ("motion", "share"),
    "motion_share_high": ("motion", "high"),
}
"""Limit in the configuration -> kind, and part of its share."""
COLUMNS = ["model", "kind", "rule", "before", "now", "n", "new", "gone", "difference", "low", "high", "p", "allowed", "passes"]


def paired_difference(new: int, gone: int, total: int, level: float) -> Interval:
    """Difference of two shares of the same prompts, with its interval (Agresti & Min, Biometrics 61, 2005).

    Half a prompt is added to each of the four cells, so that the interval has a width if no prompt changed.

    Args:
        new, gone: prompts that replay now only, and before only.
        total: all prompts.
        level: confidence level, 0 to 1.

    >>> [round(end, 3) for end in paired_difference(10, 2, 100, 0.95)]
    [0.08, 0.011, 0.146]
    """
    more, less, cells = new + 0.5, gone + 0.5, total + 2
    middle = (more - less) / cells
    width = float(stats.norm.ppf((1 + level) / 2)) * math.sqrt((more + less) - (more - less) ** 2 / cells) / cells
    return Interval((new - gone) / total, middle - width, middle + width)


def mcnemar(new: int, gone: int) -> float:
    """Exact two-sided p value that as many prompts turn one way as the other (McNemar 1947)."""
    return float(stats.binomtest(new, new + gone).pvalue) if new + gone else 1.0


def paired_models(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, str]:
    """Models that are compared: name now -> name before. Models of one name; or the only model of each verdict.

    Raises:
        VidmemError: no model of one name, and several models in a verdict.
    """
    mine, theirs = list(now["models"]), list(before["models"])
    same = {name: name for name in mine if name in theirs}
    if same:
        return same
    if len(mine) == len(theirs) == 1:
        return {mine[0]: theirs[0]}
    raise VidmemError("a model of the same name in both verdicts", f"{mine} and {theirs}", "against", "name them alike")


def check_comparable(now: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Check that two verdicts say the same thing of different models.

    Raises:
        VidmemError: another corpus, other thresholds or metrics, or no prompt in common.
    """
    if now["provenance"]["corpus_sha256"] != before["provenance"]["corpus_sha256"]:
        got = [verdict["provenance"]["corpus_sha256"][:16] for verdict in (now, before)]
        raise VidmemError(
            "verdicts on one corpus", " and ".join(got), "against: corpus", "audit both models against one corpus"
        )
    for mine, theirs in paired_models(now, before).items():
        one, other = now["models"][mine], before["models"][theirs]
        for kind in KINDS:
            for key in sorted({*one[kind]["definition"], *other[kind]["definition"]}):
                values = [model[kind]["definition"].get(key) for model in (one, other)]
                if values[0] != values[1]:
                    where = f"against: {kind}.{key} of model {mine}"
                    raise VidmemError(
                        "one definition of memorised", f"{values[0]} and {values[1]}", where, "use one configuration"
                    )
        if not set(one["prompts"]) & set(other["prompts"]):
            raise VidmemError(
                "prompts that both audits have", "none", f"against: model {mine}", "use the same prompts and seed"
            )


def compare_verdicts(now: Mapping[str, Any], before: Mapping[str, Any], margin: float, level: float) -> Iterator[dict]:
    """Rows of the gate for two verdicts: a model fails if it replays more, beyond chance, by more than the margin.

    Args:
        margin: largest excess of the share that is let through, 0 to 1.
        level: confidence level.

    Yields:
        A row of COLUMNS for each model and kind; see check_comparable for errors.
    """
    check_comparable(now, before)
    for mine, theirs in paired_models(now, before).items():
        one, other = now["models"][mine], before["models"][theirs]
        common = set(one["prompts"]) & set(other["prompts"])
        for kind in KINDS:
            if one[kind]["share"] is None or other[kind]["share"] is None:
                continue
            new, gone = _turned(one, other, kind, common), _turned(other, one, kind, common)
            counts = [len(set(model["replayed"][kind]) & common) / len(common) for model in (other, one)]
            found = paired_difference(len(new), len(gone), len(common), level)
            yield {
                "model": mine, "kind": kind, "rule": "against", "before": counts[0], "now": counts[1], "n": len(common),
                "new": " ".join(new), "gone": " ".join(gone), "difference": found.value, "low": found.low, "high": found.high,
                "p": mcnemar(len(new), len(gone)), "allowed": margin, "passes": not (found.low > 0 and found.value > margin),
            }  # fmt: skip


def _turned(one: Mapping[str, Any], other: Mapping[str, Any], kind: str, common: Collection[str]) -> list[str]:
    """Prompts that replay by the first model and not by the second, sorted."""
    return sorted((set(one["replayed"][kind]) - set(other["replayed"][kind])) & set(common))


def check_limits(verdict: Mapping[str, Any], limits: Mapping[str, float]) -> Iterator[dict]:
    """Rows of the gate for limits that stand in the configuration.

    Args:
        limits: a key of LIMITS -> largest value that is let through.
    """
    for name, model in verdict["models"].items():
        for limit, allowed in limits.items():
            kind, part = LIMITS[limit]
            value = model[kind][part]
            if value is not None:
                yield dict.fromkeys(COLUMNS) | {"model": name, "kind": kind, "rule": limit, "now": value, "allowed": allowed,
                                                "n": model["n_prompts"], "passes": value <= allowed}  # fmt: skip


def gate_text(table: pd.DataFrame) -> str:
    """The gate in words: a line for each row, and the prompts that replay now only."""
    if table.empty:
        return "Nothing to check: give --config against=PATH, or limits in the section gate of the configuration."
    lines = []
    for row in table.to_dict("records"):
        word = "pass" if row["passes"] else "FAIL"
        if row["rule"] != "against":
            lines.append(f"{word}  {row['model']}, {row['rule']}: {percent(row['now'])}, allowed {percent(row['allowed'])}")
            continue
        change = f"{percent(row['before'])} -> {percent(row['now'])} of {row['n']} prompts"
        interval = f"difference {percent(row['low'])} to {percent(row['high'])}, p = {row['p']:.3g} (McNemar)"
        lines.append(f"{word}  {row['model']}, {row['kind']}: {change}, {interval}, allowed {percent(row['allowed'])}")
        lines += [f"      new: {name}" for name in row["new"].split()]
    passed = table["passes"].all()
    return "\n".join([*lines, "The gate lets the models through." if passed else "The gate holds the models back."])

"""Mitigation of memorization: the prompts it is applied to, and a comparison of the clips before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..base.clip_table import usable
from ..features.clip_features import ClipFeatures, check_same_preset
from ..features.content import gsscd
from ..features.metrics import GSSCD, OFS, OWN
from ..features.statistics import IntervalRule, share_columns
from ..scoring.scores import VerdictRule, prompt_verdicts
from .detectors import load_detector, recorded_quantities

SIDES = ("before", "after")
COLUMNS = [
    "name", "model", "objective", "target", "n_prompts", "n_samples", "n_ok", "n_reached", "steps",
    *(f"{kind}_magnitude_{side}" for kind in ("content", "motion") for side in SIDES),
    *(f"{kind}_{end}_{side}" for kind in ("content", "motion") for side in SIDES for end in ("share", "low", "high")),
    *(f"own_gsscd_{side}" for side in SIDES), "n_own_ofs", *(f"own_ofs_{side}" for side in SIDES),
    "prompt_similarity", "clip_similarity",
]  # fmt: skip


def most_copied(prompts: pd.DataFrame, count: int, splits: Sequence[str]) -> pd.DataFrame:
    """Usable prompts with the most copies in training; ties are in the order of prompt ids.

    Args:
        prompts: prompt table that list_prompts writes.
        count: largest number of prompts.
        splits: splits that a prompt's target may be in. Prompts without a target have no split and always qualify.
    """
    chosen = prompts[(prompts["status"] == "ok") & prompts["split"].isin([*splits, ""])]
    return chosen.sort_values(["copies", "prompt_id"], ascending=[False, True]).head(count).reset_index(drop=True)


def harmless_magnitude(detector: Path | str, objective: str, quantile: float) -> float:
    """Quantile of the first-step magnitudes of the negative prompts; NaN for a model without guidance."""
    if objective not in recorded_quantities(detector):
        return float("nan")
    return float(np.quantile(load_detector(detector, objective).negatives, quantile))


@dataclass(frozen=True)
class Side:
    """Clips, scores and descriptors of one side: the generations of the audit, or the generations with a mitigation."""

    clips: pd.DataFrame
    scores: pd.DataFrame
    descriptors: ClipFeatures

    def of(self, clip_ids: Sequence[str]) -> Side:
        """Restrict clips and scores to some clip ids."""
        clips, scores = (table[table["clip_id"].isin(clip_ids)] for table in (self.clips, self.scores))
        return Side(clips, scores, self.descriptors)

    def values(self, metric: str) -> pd.Series:
        """Scores of a metric, indexed by clip id."""
        return self.scores[self.scores["metric"] == metric].set_index("clip_id")["value"]


def mitigation_row(
    name: str, plan: Mapping, adjusted: pd.DataFrame, before: Side, after: Side, content: VerdictRule, motion: VerdictRule,
    interval: IntervalRule,
) -> dict:  # fmt: skip
    """Row with the columns COLUMNS for one mitigation. Both sides have the same prompts and samples.

    The denominator of every share is n_prompts. Means over clips are over clips that have a score on both sides.

    Args:
        name: name of the mitigation; plan: its entry in the configuration.
        adjusted: table that adjustment_table makes, for all shards.
        before: all generations of the model in the audit.
        after: generations with the mitigation.
        content, motion: rules of the verdicts.
    """
    before = before.of(adjusted["clip_id"])
    row = {"name": name, "model": plan["model"], "objective": plan["objective"], "target": adjusted["target"].mean()}
    row |= {"n_prompts": adjusted["prompt_id"].nunique(), "n_samples": len(adjusted), "n_ok": len(usable(after.clips))}
    row |= {"n_reached": int((adjusted["status"] == "reached").sum()), "steps": adjusted["steps"].mean()}
    for side, clips in zip(SIDES, (before, after)):
        row |= {f"{kind}_magnitude_{side}": adjusted[f"{kind}_{side}"].mean() for kind in ("content", "motion")}
        for kind, rule in (("content", content), ("motion", motion)):
            row |= {f"{key}_{side}": value for key, value in _shares(kind, rule, clips, interval).items()}
    for column, metric in (("own_gsscd", GSSCD + OWN), ("own_ofs", OFS + OWN)):
        values = pd.DataFrame({side: clips.values(metric) for side, clips in zip(SIDES, (before, after))}).dropna()
        row |= {f"{column}_{side}": values[side].mean() for side in SIDES} | {f"n_{column}": len(values)}
    similar = clip_similarities(before, after)
    row |= {"prompt_similarity": adjusted["similarity"].mean(), "clip_similarity": similar.mean()}
    return {column: row[column] for column in COLUMNS}


def _shares(kind: str, rule: VerdictRule, side: Side, interval: IntervalRule) -> dict:
    verdicts = prompt_verdicts(side.clips, side.scores, rule.metric, rule.samples)
    found, defined = int(verdicts["memorised"].sum()), bool(verdicts["defined"].any())
    return share_columns(kind, found, len(verdicts), defined, interval)


def clip_similarities(before: Side, after: Side) -> pd.Series:
    """GSSCD between the two versions of every clip that is usable before and after, indexed by clip id."""
    check_same_preset(before.descriptors, after.descriptors)
    both = sorted(set(before.clips["clip_id"]) & set(before.descriptors.spans) & set(after.descriptors.spans))
    return pd.Series({one: gsscd(before.descriptors.of(one), after.descriptors.of(one)).score for one in both}, dtype=float)

"""What a mitigation is applied to, and what it did: clips before and after, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from .content import gsscd
from .detectors import load_detector, recorded_quantities
from .features import ClipFeatures, check_same_preset, usable
from .scores import prompt_verdicts
from .tables import share_columns

SIDES = ("before", "after")
COLUMNS = [
    "name", "model", "objective", "target", "n_prompts", "n_samples", "n_ok", "n_reached", "steps",
    *(f"{kind}_magnitude_{side}" for kind in ("content", "motion") for side in SIDES),
    *(f"{kind}_{end}_{side}" for kind in ("content", "motion") for side in SIDES for end in ("share", "low", "high")),
    *(f"own_gsscd_{side}" for side in SIDES), "n_own_ofs", *(f"own_ofs_{side}" for side in SIDES),
    "prompt_similarity", "clip_similarity",
]  # fmt: skip


def most_copied(prompts: pd.DataFrame, count: int, splits: Sequence[str]) -> pd.DataFrame:
    """The so many usable prompts that training saw most copies of, ties by prompt id.

    Args:
        prompts: table of list_prompts.
        splits: of the targets; prompts without a target are of no split and always in.
    """
    chosen = prompts[(prompts["status"] == "ok") & prompts["split"].isin([*splits, ""])]
    return chosen.sort_values(["copies", "prompt_id"], ascending=[False, True]).head(count).reset_index(drop=True)


def harmless_magnitude(detector: Path | str, objective: str, quantile: float) -> float:
    """Quantile of the first-step magnitudes of the negative prompts; NaN where the model has none, for want of guidance."""
    if objective not in recorded_quantities(detector):
        return float("nan")
    return float(np.quantile(load_detector(detector, objective).negatives, quantile))


@dataclass(frozen=True)
class Side:
    """Clips, scores and descriptors of one side: the audit's own generations, or those after a mitigation."""

    clips: pd.DataFrame
    scores: pd.DataFrame
    descriptors: ClipFeatures

    def of(self, clip_ids: Sequence[str]) -> Side:
        """The same of some clips."""
        kept = [table[table["clip_id"].isin(clip_ids)] for table in (self.clips, self.scores)]
        return Side(*kept, self.descriptors)

    def values(self, metric: str) -> pd.Series:
        """Scores of a metric by clip id."""
        return self.scores[self.scores["metric"] == metric].set_index("clip_id")["value"]


def mitigation_row(name: str, plan: Mapping, adjusted: pd.DataFrame, before: Side, after: Side, config: Mapping) -> dict:
    """Row of COLUMNS for one mitigation; both sides of the same prompts and samples.

    The denominator of every share is n_prompts. Means over clips are of those that have a score on both sides.

    Args:
        adjusted: table of mitigation.adjustment_table, all shards.
        before: all samples of the model; after: those of the mitigation.
        config: content, motion and interval of the configuration.
    """
    before = before.of(adjusted["clip_id"])
    row = {"name": name, "model": plan["model"], "objective": plan["objective"], "target": adjusted["target"].mean()}
    row |= {"n_prompts": adjusted["prompt_id"].nunique(), "n_samples": len(adjusted), "n_ok": len(usable(after.clips))}
    row |= {"n_reached": int((adjusted["status"] == "reached").sum()), "steps": adjusted["steps"].mean()}
    for side, clips in zip(SIDES, (before, after)):
        row |= {f"{kind}_magnitude_{side}": adjusted[f"{kind}_{side}"].mean() for kind in ("content", "motion")}
        for kind, metric in (("content", config["content"]["metric"]), ("motion", "ofs_k")):
            row |= {f"{key}_{side}": value for key, value in _shares(kind, metric, clips, config).items()}
    for column, metric in (("own_gsscd", "gsscd_own"), ("own_ofs", "ofs_k_own")):
        values = pd.DataFrame({side: clips.values(metric) for side, clips in zip(SIDES, (before, after))}).dropna()
        row |= {f"{column}_{side}": values[side].mean() for side in SIDES} | {f"n_{column}": len(values)}
    similar = clip_similarities(before, after)
    row |= {"prompt_similarity": adjusted["similarity"].mean(), "clip_similarity": similar.mean()}
    return {column: row[column] for column in COLUMNS}


def _shares(kind: str, metric: str, side: Side, config: Mapping) -> dict:
    verdicts = prompt_verdicts(side.clips, side.scores, metric, config[kind]["samples"])
    found, defined = int(verdicts["memorised"].sum()), bool(verdicts["defined"].any())
    return share_columns(kind, found, len(verdicts), defined, config["interval"])


def clip_similarities(before: Side, after: Side) -> pd.Series:
    """GSSCD of every clip that is usable on both sides to itself on the other side, by clip id."""
    check_same_preset(before.descriptors, after.descriptors)
    both = sorted(set(before.clips["clip_id"]) & set(before.descriptors.spans) & set(after.descriptors.spans))
    return pd.Series({one: gsscd(before.descriptors.of(one), after.descriptors.of(one)).score for one in both}, dtype=float)

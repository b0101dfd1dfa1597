"""Named groups of scores for the figure of score distributions."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ..scoring.validation import unrelated_control
from .figures import plain_text

GROUPS = {"member": "member captions", "image": "image captions", "heldout": "held-out captions", "": "no prompt"}
"""Split of the target of a prompt -> name in the figure."""
LAST_FILTER = "static+affine+entropy"
COLUMNS = ["metric", "group", "value"]


def generated_scores(scores: pd.DataFrame, clips: pd.DataFrame, label: str) -> pd.DataFrame:
    """Scores of a model's clips, one group for every split of its prompts.

    Args:
        scores: table that score_clips writes.
        clips: clip table of the model.
        label: name of the model in the figure.
    """
    ordered, split = _by_clip(scores), clips.set_index("clip_id")["split"]
    return ordered.assign(group=plain_text(label, 34) + ":\n" + ordered["clip_id"].map(split).map(GROUPS))[COLUMNS]


def real_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores of the held-out clips of a corpus, as one group."""
    return _by_clip(scores).assign(group="real held-out clips")[COLUMNS]


def _by_clip(scores: pd.DataFrame) -> pd.DataFrame:
    """Sort scores by clip. The sums behind a curve depend on the order, which would otherwise depend on the shards."""
    return scores.sort_values(["clip_id", "metric"], kind="stable", ignore_index=True)


def unrelated_scores(pairs: pd.DataFrame, content: str, motion: str, variant: str) -> pd.DataFrame:
    """Best score of every unrelated clip with any other clip, as one group. A search also takes the best of the corpus.

    Args:
        pairs: scores of the pairs that validate the metrics.
        content, motion: names of the metrics.
        variant: cosine and pairing of the motion metric, a value of the column variant.
    """
    still, moving = (
        (pairs["metric"] == metric) & (pairs["control"] == unrelated_control(metric)) for metric in (content, motion)
    )
    chosen = pairs[still | (moving & (pairs["variant"] == variant) & (pairs["filter"] == LAST_FILTER) & (pairs["value"] > -1))]
    both = pd.concat([chosen.assign(clip=chosen["first"]), chosen.assign(clip=chosen["second"])])
    best = both.groupby(["metric", "clip"], as_index=False)["value"].max()
    return best.assign(group="unrelated clips, best pair")[COLUMNS]


def thresholds_in_force(scores: pd.DataFrame, names: Mapping[str, str]) -> dict[str, list[float]]:
    """Thresholds that scores were judged by: name of the metric in the figure -> thresholds in ascending order.

    Args:
        scores: table that score_clips writes.
        names: metric -> name in the figure.
    """
    judged = scores.dropna(subset=["threshold"]).groupby("metric")["threshold"].unique()
    return {shown: sorted(judged.get(metric, [])) for metric, shown in names.items()}

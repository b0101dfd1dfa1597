"""What the picture exhibits show: the best matches of a model with their frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from .clip_frames import Frames
from .store import load_table


@dataclass(frozen=True)
class Pair:
    """A generated clip and the training clip it matches, with the frames (or first frame pairs) that gave the score.

    Attributes:
        caption: of the training clip; prompt: of the generated one, '' of an unconditional model.
    """

    model: str
    generated: str
    training: str
    score: float
    generated_frame: int
    training_frame: int
    caption: str
    prompt: str
    copies: int
    threshold: float


def best_pairs(
    model: str, scores: pd.DataFrame, frames: Frames, corpus: str, metric: str, count: int, split: str = ""
) -> list[Pair]:
    """Best matches of a model, at most one for each training clip, best first.

    Args:
        scores: of score_clips.
        metric: whose values rank.
        split: only training clips of this split; '' for all.
    """
    training, generated = (
        frames.clips[frames.clips["set"] == name].set_index("clip_id") for name in (f"corpus-{corpus}", f"generated-{model}")
    )
    ranked = scores[(scores["metric"] == metric) & scores["value"].notna() & (scores["match"] != "")]
    if split:
        ranked = ranked[ranked["match"].map(training["split"]) == split]
    ranked = ranked.sort_values(["value", "clip_id"], ascending=[False, True]).drop_duplicates("match").head(count)
    return [
        Pair(
            model,
            row.clip_id,
            row.match,
            row.value,
            int(row.query_frame),
            int(row.reference_frame),
            training.loc[row.match, "caption"],
            generated.loc[row.clip_id, "caption"],
            int(training.loc[row.match, "copies"]),
            float(row.threshold),
        )
        for row in ranked.itertuples()
    ]


def load_pairs(
    models: Mapping[str, dict], scores: Sequence[str], frames: Frames, metric: str, count: int, split: str = ""
) -> dict[str, list[Pair]]:
    """Best matches of every model, the frames of their training clips at hand."""
    pairs = {
        model: best_pairs(model, load_table(path), frames, about["corpus"], metric, count, split)
        for (model, about), path in zip(models.items(), scores, strict=True)
    }
    for corpus in sorted({about["corpus"] for about in models.values()}):
        own = [pair.training for model, found in pairs.items() if models[model]["corpus"] == corpus for pair in found]
        frames.read(f"corpus-{corpus}", own)
    return pairs

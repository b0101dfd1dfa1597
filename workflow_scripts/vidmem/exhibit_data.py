"""What the picture exhibits show: the best matches of a model with their frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from .features import frame_rows
from .store import load_table


@dataclass(frozen=True)
class Pair:
    """A generated clip and the training clip it matches, with the frames (or first frame pairs) that gave the score."""

    model: str
    generated: str
    training: str
    score: float
    generated_frame: int
    training_frame: int
    caption: str
    copies: int
    threshold: float


class Frames:
    """Frames of many clips by set and id, mapped from their shards."""

    def __init__(self, clips: Sequence[str], frames: Sequence[str]):
        tables, self.frames = [], {}
        for table_path, frames_path in zip(clips, frames, strict=True):
            table = load_table(table_path)
            name = Path(table_path).parent.name
            for clip_id, pictures in frame_rows(table, frames_path).items():
                self.frames[name, clip_id] = pictures
            tables.append(table.assign(set=name))
        self.clips = pd.concat(tables, ignore_index=True)

    def of(self, name: str, clip_id: str) -> np.ndarray:
        """Frames uint8 [T, H, W, 3] of a clip of a set."""
        return np.asarray(self.frames[name, clip_id])

    def fps(self, name: str, clip_id: str) -> float:
        """Frames per second of a clip."""
        chosen = self.clips[(self.clips["set"] == name) & (self.clips["clip_id"] == clip_id)]
        return float(chosen["fps"].iloc[0])


def best_pairs(
    model: str, scores: pd.DataFrame, frames: Frames, corpus: str, metric: str, count: int, split: str = ""
) -> list[Pair]:
    """Best matches of a model, at most one for each training clip, best first.

    Args:
        scores: of score_clips.
        metric: whose values rank.
        split: only training clips of this split; '' for all.
    """
    training = frames.clips[frames.clips["set"] == f"corpus-{corpus}"].set_index("clip_id")
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
            int(training.loc[row.match, "copies"]),
            float(row.threshold),
        )
        for row in ranked.itertuples()
    ]


def load_pairs(
    models: Mapping[str, dict], scores: Sequence[str], frames: Frames, metric: str, count: int, split: str = ""
) -> dict[str, list[Pair]]:
    """Best matches of every model."""
    return {
        model: best_pairs(model, load_table(path), frames, about["corpus"], metric, count, split)
        for (model, about), path in zip(models.items(), scores, strict=True)
    }

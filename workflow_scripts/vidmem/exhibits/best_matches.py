"""Best matches of a model with their frames, for the exhibits that show pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..base.store import load_table
from ..corpus.clip_frames import Frames
from ..corpus.frames import fit_frames
from ..generation.elsewhere import file_of
from .playable_clips import side_by_side


@dataclass(frozen=True)
class Match:
    """A generated clip and its matching training clip, with the frames (or first frame pairs) that gave the score.

    Attributes:
        view: how the generated clip was seen where it matches, '' for as it is.
    """

    model: str
    generated: str
    training: str
    generated_frame: int
    training_frame: int
    view: str


@dataclass(frozen=True)
class Pair(Match):
    """A match with the texts that pictures show of it.

    Attributes:
        caption: caption of the training clip.
        prompt: prompt of the generated clip; '' for an unconditional model.
        copies: how often training saw the training clip.
        threshold: threshold of the verdict.
        file: file of a clip that was generated elsewhere, hostile text; '' for other clips.
    """

    score: float
    caption: str
    prompt: str
    copies: int
    threshold: float
    file: str


def best_pairs(
    model: str, scores: pd.DataFrame, frames: Frames, corpus: str, metric: str, count: int, still: bool | None = None
) -> list[Pair]:
    """Best matches of a model, at most one for each training clip, best first.

    Args:
        scores: table that score_clips writes.
        metric: metric by whose values the matches are ranked.
        count: largest number of matches.
        still: take only training clips of one frame (True) or of several (False); None for all.
    """
    training, generated = (
        frames.clips[frames.clips["set"] == name].set_index("clip_id") for name in (f"corpus-{corpus}", f"generated-{model}")
    )
    ranked = scores[(scores["metric"] == metric) & scores["value"].notna() & (scores["match"] != "")]
    if still is not None:
        ranked = ranked[(ranked["match"].map(training["count"]) == 1) == still]
    ranked = ranked.sort_values(["value", "clip_id"], ascending=[False, True]).drop_duplicates("match").head(count)
    return [
        Pair(
            model,
            row.clip_id,
            row.match,
            int(row.query_frame),
            int(row.reference_frame),
            str(row.view),
            row.value,
            training.loc[row.match, "caption"],
            generated.loc[row.clip_id, "caption"],
            int(training.loc[row.match, "copies"]),
            float(row.threshold),
            file_of(generated.loc[row.clip_id, "provenance"]),
        )
        for row in ranked.itertuples()
    ]


def load_pairs(
    models: Mapping[str, dict], scores: Sequence[str], frames: Frames, metric: str, count: int, still: bool | None = None
) -> dict[str, list[Pair]]:
    """Best matches of every model. The frames of their training clips are read into `frames`."""
    pairs = {
        model: best_pairs(model, load_table(path), frames, about["corpus"], metric, count, still)
        for (model, about), path in zip(models.items(), scores, strict=True)
    }
    for corpus in sorted({about["corpus"] for about in models.values()}):
        own = [pair.training for model, found in pairs.items() if models[model]["corpus"] == corpus for pair in found]
        frames.read(f"corpus-{corpus}", own)
    return pairs


def matched_frames(pair: Match, frames: Frames, corpus: str) -> tuple[np.ndarray, np.ndarray]:
    """Frames of the two clips of a match. The generated clip is resized to the size of the training clip.

    Args:
        frames: frames of both sets of clips.
        corpus: name of the corpus that has the training clip.

    Returns:
        Training clip uint8 [T, H, W, 3] and generated clip uint8 [U, H, W, 3].
    """
    training = frames.of(f"corpus-{corpus}", pair.training)
    generated = frames.of(f"generated-{pair.model}", pair.generated)
    return training, fit_frames(generated, training.shape[1:3], "stretch")


def playing_frames(match: Match, frames: Frames, corpus: str, length: int) -> np.ndarray:
    """The clips of a match in step, training left and generated right as it was seen; see side_by_side.

    Args:
        frames, corpus: as for matched_frames.
        length: number of matching frames.
    """
    training, generated = matched_frames(match, frames, corpus)
    if match.view == "mirrored":
        generated = generated[:, :, ::-1]
    return side_by_side(training, generated, match.training_frame, match.generated_frame, length)


def match_row(pair: Pair, frames: Frames, about: Mapping[str, str], metric: str) -> dict:
    """Row of a gallery or an image panel: frames, score and texts of a match.

    Args:
        frames: frames of both sets of clips.
        about: corpus and label of the model.
        metric: name of the metric.
    """
    training, generated = matched_frames(pair, frames, about["corpus"])
    return {
        "training": training, "training_frame": pair.training_frame, "image": training[0],
        "generated": generated, "generated_frame": pair.generated_frame, "frame": generated[pair.generated_frame],
        "copies": pair.copies, "metric": metric, **words_of(pair, about["label"]),
    }  # fmt: skip


def words_of(pair: Pair, label: str) -> dict:
    """Score and texts that every picture of a match shows."""
    return {
        "score": pair.score, "threshold": pair.threshold, "caption": pair.caption, "prompt": pair.prompt, "file": pair.file,
        "label": label,
    }  # fmt: skip

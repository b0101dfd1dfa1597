"""Images for the figure of inversions, with samples from the noise that inversion found for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..corpus.clip_frames import Frames
from ..inversion.noise_files import load_replays

SHOWN = 15


def choose_images(scores: pd.DataFrame, count: int = SHOWN) -> pd.DataFrame:
    """Choose some images of every number of copies. The models take turns, and images with most copies come first.

    Args:
        scores: one row for every image and seed: model, image_id, copies. The first row of an image counts.
        count: about how many images are chosen. Every number of copies has at least one.

    Returns:
        The chosen rows of `scores`.
    """
    images = scores.drop_duplicates(["model", "image_id"])
    each = max(1, count // max(1, images["copies"].nunique()))
    # Every number of copies begins with another model, so that all models are shown even if there are many.
    started = each * images["copies"].rank(method="dense").astype(int)
    place = (images["model"].rank(method="dense").astype(int) - started) % images["model"].nunique()
    turn = images.groupby(["copies", "model"]).cumcount()
    chosen = images.assign(turn=turn, place=place).sort_values(["turn", "place"]).groupby("copies", sort=False).head(each)
    return chosen.sort_values(["copies", "model"], ascending=[False, True])


def sample_rows(
    chosen: pd.DataFrame, noise: Mapping[str, Sequence[Path]], frames: Frames, corpora: Mapping[str, str]
) -> list[dict]:
    """Make the rows for the figure inversion_samples. An image without samples has no row.

    Args:
        chosen: images that choose_images returns.
        noise: inversion -> files with the noise it found.
        frames: frames of the corpora.
        corpora: inversion -> name of its corpus.
    """
    captions = frames.clips.set_index(["set", "clip_id"])["caption"]
    for corpus, own in chosen.groupby(chosen["model"].map(corpora)):
        frames.read(f"corpus-{corpus}", own["image_id"])
    rows = []
    for row in chosen.itertuples():
        replays = load_replays(noise[row.model], row.image_id, row.seed)
        if replays is not None:
            place = f"corpus-{corpora[row.model]}", row.image_id
            rows.append(_sample_row(row, replays, frames.of(*place), captions[place]))
    return rows


def _sample_row(row: Any, replays: np.ndarray, frames: np.ndarray, caption: str) -> dict:
    """Make the row of one image, a named tuple of `chosen`. A clip is shown by its middle frame."""
    found = f"score {row.score:.3f}" if np.isfinite(row.score) else f"{row.status}, best {row.best_similarity:.2f}"
    seen = f"seen {row.copies}x" if row.copies else "held out"
    middle = replays.shape[2] // 2
    return {
        "target": frames[len(frames) // 2], "found": replays[0, :, middle], "prior": replays[1, :, middle],
        "title": f"{row.model}: {found}, {seen}", "caption": caption,
    }  # fmt: skip

"""Figures of the inversions: scores against copies, their distribution, and what the noise that was found makes."""

from pathlib import Path

import numpy as np
import pandas as pd

from vidmem.clip_frames import Frames
from vidmem.figures import save_figure
from vidmem.inversion.plots import (
    inversion_distribution,
    inversion_membership,
    inversion_samples,
    inversion_sampling,
    inversion_scores,
    inversion_training_steps,
)
from vidmem.logs import start_logging

SHOWN = 15


def plot_inversion(inputs, corpora: dict[str, str], sources: dict, output) -> None:
    scores, images, factors = (pd.read_csv(path) for path in (inputs.scores, inputs.images, inputs.factors))
    save_figure(inversion_scores(images), output.copies)
    save_figure(inversion_distribution(scores), output.distribution)
    save_figure(inversion_training_steps(factors), output.steps)
    save_figure(inversion_sampling(factors), output.sampling)
    save_figure(inversion_membership(pd.read_csv(inputs.membership)), output.membership)
    save_figure(inversion_samples(sample_rows(scores, inputs, corpora, sources)), output.samples)


def sample_rows(scores: pd.DataFrame, inputs, corpora: dict[str, str], sources: dict) -> list[dict]:
    """Of every number of copies some images, the models taking turns, most copies first; of a clip its middle frame."""
    from safetensors import safe_open

    frames = Frames.listed(inputs.frames, sources)
    captions = frames.clips.set_index(["set", "clip_id"])["caption"]
    images = scores.drop_duplicates(["model", "image_id"])
    each = max(1, SHOWN // max(1, images["copies"].nunique()))
    # Every number of copies begins with another model, so that all are shown where there are many.
    started = each * images["copies"].rank(method="dense").astype(int)
    place = (images["model"].rank(method="dense").astype(int) - started) % images["model"].nunique()
    turn = images.groupby(["copies", "model"]).cumcount()
    chosen = images.assign(turn=turn, place=place).sort_values(["turn", "place"]).groupby("copies", sort=False).head(each)
    for corpus, own in chosen.groupby(chosen["model"].map(corpora)):
        frames.read(f"corpus-{corpus}", own["image_id"])
    rows = []
    for row in chosen.sort_values(["copies", "model"], ascending=[False, True]).itertuples():
        for path in inputs.noise:
            if Path(path).parent.name != row.model:
                continue
            with safe_open(path, "numpy") as file:
                name = f"{row.image_id}/{row.seed}/replays"
                if name in file.keys() and 0 not in file.get_slice(name).get_shape():
                    own = f"corpus-{corpora[row.model]}", row.image_id
                    rows.append(sample_row(row, file.get_tensor(name), frames.of(*own), captions[own]))
    return rows


def sample_row(row, replays: np.ndarray, frames: np.ndarray, caption: str) -> dict:
    found = f"score {row.score:.3f}" if np.isfinite(row.score) else f"{row.status}, best {row.best_similarity:.2f}"
    seen = f"seen {row.copies}x" if row.copies else "held out"
    middle = replays.shape[2] // 2
    return {
        "target": frames[len(frames) // 2], "found": replays[0, :, middle], "prior": replays[1, :, middle],
        "title": f"{row.model}: {found}, {seen}", "caption": caption,
    }  # fmt: skip


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    plot_inversion(snakemake.input, snakemake.params.corpora, snakemake.params.sources, snakemake.output)

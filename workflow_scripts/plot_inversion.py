"""Figures of the inversions: scores against copies, their distribution, and what the noise that was found makes."""

import numpy as np
import pandas as pd

from vidmem.features import frame_rows
from vidmem.figures import inversion_distribution, inversion_samples, inversion_scores, save_figure
from vidmem.logs import start_logging
from vidmem.store import load_table

SHOWN = 12


def plot_inversion(inputs, output) -> None:
    scores, images = pd.read_csv(inputs.scores), pd.read_csv(inputs.images)
    save_figure(inversion_scores(images), output.copies)
    save_figure(inversion_distribution(scores), output.distribution)
    save_figure(inversion_samples(sample_rows(scores, inputs)), output.samples)


def sample_rows(scores: pd.DataFrame, inputs) -> list[dict]:
    """Of every number of copies the first images, most copies first; of a clip its middle frame."""
    from safetensors import safe_open

    frames, captions = {}, {}
    for clips, stored in zip(inputs.clips, inputs.frames, strict=True):
        table = load_table(clips)
        frames |= frame_rows(table, stored)
        captions |= dict(zip(table["clip_id"], table["caption"]))
    chosen = scores.drop_duplicates(["model", "image_id"]).groupby(["model", "copies"], sort=False).head(2)
    rows = []
    for row in chosen.sort_values(["copies", "model"], ascending=[False, True]).head(SHOWN).itertuples():
        for path in inputs.noise:
            if f"/{row.model}/" not in path:
                continue
            with safe_open(path, "numpy") as file:
                name = f"{row.image_id}/{row.seed}/replays"
                if name in file.keys():
                    rows.append(sample_row(row, file.get_tensor(name), frames[row.image_id], captions[row.image_id]))
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
    start_logging(snakemake.log[0], snakemake.scriptdir)
    plot_inversion(snakemake.input, snakemake.output)

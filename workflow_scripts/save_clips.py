"""A match of a model as a playable clip: training clip left, generated clip right."""

import numpy as np

from vidmem.clip_frames import Frames
from vidmem.clips import save_mp4, side_by_side
from vidmem.corpus import fit_frames
from vidmem.exhibit_data import load_pairs
from vidmem.logs import LOGGER, start_logging


def save_clip(inputs, models: dict, corpora: dict, metric: str, rank: int, destination: str) -> None:
    frames = Frames.listed(inputs.frames, corpora)
    ((model, about),) = models.items()
    pairs = load_pairs(models, inputs.scores, frames, metric, rank)[model]
    if len(pairs) < rank:
        LOGGER.warning("%s has %d matches: clip %d is grey", model, len(pairs), rank)
        save_mp4(destination, np.full((8, 64, 128, 3), 128, np.uint8), 8.0)
        return
    pair = pairs[rank - 1]
    training, name = f"corpus-{about['corpus']}", f"generated-{model}"
    seen = frames.of(training, pair.training)
    both = side_by_side(seen, fit_frames(frames.of(name, pair.generated), seen.shape[1:3], "stretch"))
    save_mp4(destination, both, max(1.0, frames.fps(name, pair.generated)))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    rank = int(snakemake.wildcards.rank)
    save_clip(snakemake.input, params.models, params.corpora, params.metric, rank, snakemake.output[0])

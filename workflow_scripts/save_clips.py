"""Save a match of a model as a playable clip: training clip left, generated clip right, in step, matching frames marked."""

import numpy as np

from vidmem.base.logs import LOGGER, start_logging
from vidmem.corpus.clip_frames import Frames
from vidmem.exhibits.best_matches import load_pairs, playing_frames
from vidmem.exhibits.playable_clips import save_mp4


def save_clip(inputs, models: dict, corpora: dict, metric: str, rank: int, destination: str) -> None:
    frames = Frames.listed(inputs.frames, corpora)
    ((model, about),) = models.items()
    pairs = load_pairs(models, inputs.scores, frames, metric, rank)[model]
    if len(pairs) < rank:
        LOGGER.warning("%s has only %d matches, so clip %d is grey", model, len(pairs), rank)
        save_mp4(destination, np.full((8, 64, 128, 3), 128, np.uint8), 8.0)
        return
    pair = pairs[rank - 1]
    both = playing_frames(pair, frames, about["corpus"], 1)
    save_mp4(destination, both, max(1.0, frames.fps(f"generated-{model}", pair.generated)), title=pair.file)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    rank = int(snakemake.wildcards.rank)
    save_clip(snakemake.input, params.models, params.corpora, params.metric, rank, snakemake.output[0])

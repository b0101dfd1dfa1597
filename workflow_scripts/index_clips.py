"""List the playable clips of a model whose clips were generated elsewhere, with the file that each of them shows."""

from vidmem.base.logs import start_logging
from vidmem.base.store import load_table, save_csv
from vidmem.corpus.clip_frames import Frames
from vidmem.exhibits.best_matches import best_pairs
from vidmem.exhibits.clip_index import clip_index


def index_clips(inputs, models: dict, corpora: dict, metric: str, count: int, destination: str) -> None:
    ((model, about),) = models.items()
    frames = Frames.listed(inputs.frames, corpora)
    pairs = best_pairs(model, load_table(inputs.scores[0]), frames, about["corpus"], metric, count)
    save_csv(destination, clip_index(model, pairs))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    index_clips(snakemake.input, params.models, params.corpora, params.metric, params.clips, snakemake.output[0])

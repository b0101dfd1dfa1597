"""Train an empty FAISS index on a sample of a corpus: frames for content, k-windows of flow for motion."""

import numpy as np

from vidmem.base.logs import LOGGER, start_logging
from vidmem.features.motion_comparison import configured_rule
from vidmem.features.motion_rule import MotionRule
from vidmem.search.faiss_index import needs_training, save_index, train_index
from vidmem.search.references import ReferenceShards
from vidmem.search.through_index import content_sample, index_grid, indexed_kind, motion_sample


def train(inputs, kind: str, search: dict, rule: MotionRule | None, seed: int, threads: int, destination: str) -> None:
    import faiss

    faiss.omp_set_num_threads(threads)
    references, grid = ReferenceShards.listed(inputs.references, indexed_kind(rule)), index_grid(rule, search)
    dimension = references.array(0).shape[1] if kind == "content" else 2 * rule.k * grid * grid
    sample = np.zeros((0, dimension), np.float32)
    if needs_training(dimension, search["index"]):
        sample = (
            content_sample(references, search["train"], seed)
            if kind == "content"
            else motion_sample(references, search["train"], seed, rule, grid)
        )
    LOGGER.info("%s trained on %d vectors of %d", search["index"], len(sample), dimension)
    save_index(destination, train_index(dimension, search["index"], sample, search["parameters"]))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    rule = configured_rule(params.motion, snakemake.input.background)
    given = snakemake.input, snakemake.wildcards.kind, params.search, rule, params.seed
    train(*given, snakemake.threads, snakemake.output[0])

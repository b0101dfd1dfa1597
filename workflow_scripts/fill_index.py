"""Fill one part of a FAISS index with the references of every n-th shard, where n is the number of parts."""

import faiss

from vidmem.base.logs import LOGGER, start_logging
from vidmem.features.motion_comparison import configured_rule
from vidmem.features.motion_rule import MotionRule
from vidmem.search.faiss_index import add_vectors, open_index, save_index
from vidmem.search.references import ReferenceShards
from vidmem.search.through_index import content_vectors, index_grid, indexed_kind, motion_vectors


def fill(
    inputs, kind: str, part: int, parts: int, search: dict, rule: MotionRule | None, threads: int, destination: str
) -> None:
    faiss.omp_set_num_threads(threads)
    references, index = ReferenceShards.listed(inputs.references, indexed_kind(rule)), open_index(inputs.trained)
    for number in range(part, len(references), parts):
        shard = references.shard(number), references.names(number), number
        for vectors, ids in (
            content_vectors(*shard, search["block"])
            if kind == "content"
            else motion_vectors(*shard, rule, index_grid(rule, search))
        ):
            add_vectors(index, vectors, ids)
    LOGGER.info("%d vectors of part %d of %d", index.ntotal, part + 1, parts)
    save_index(destination, index)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params, wildcards = snakemake.params, snakemake.wildcards
    rule = configured_rule(params.motion, snakemake.input.background)
    given = snakemake.input, wildcards.kind, int(wildcards.part), params.parts, params.search, rule
    fill(*given, snakemake.threads, snakemake.output[0])

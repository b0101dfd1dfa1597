"""A part of a FAISS index: the references of every so many-th shard."""

import faiss

from vidmem.approximate import content_vectors, motion_vectors
from vidmem.faiss_index import add_vectors, open_index, save_index
from vidmem.logs import LOGGER, start_logging
from vidmem.references import ReferenceShards


def fill(inputs, kind: str, part: int, parts: int, search: dict, motion: dict, threads: int, destination: str) -> None:
    faiss.omp_set_num_threads(threads)
    references, index = ReferenceShards.listed(inputs.references, kind), open_index(inputs.trained)
    for number in range(part, len(references), parts):
        shard = references.shard(number), references.names(number), number
        for vectors, ids in (
            content_vectors(*shard, search["block"])
            if kind == "content"
            else motion_vectors(*shard, motion, search["motion_grid"])
        ):
            add_vectors(index, vectors, ids)
    LOGGER.info("%d vectors of part %d of %d", index.ntotal, part + 1, parts)
    save_index(destination, index)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params, wildcards = snakemake.params, snakemake.wildcards
    fill(
        snakemake.input, wildcards.kind, int(wildcards.part), params.parts, params.search, params.motion, snakemake.threads,
        snakemake.output[0],
    )  # fmt: skip

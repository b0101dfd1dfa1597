"""Static signals of the captions of a corpus: near-duplicate clips, identical and near captions, copies."""

from functools import partial

import faiss
import numpy as np

from vidmem.approximate import content_vectors, stored_vectors
from vidmem.curation import near_duplicate_clusters, static_signals
from vidmem.faiss_index import open_index, vector_ids
from vidmem.features import reference_rows
from vidmem.logs import LOGGER, start_logging
from vidmem.references import ReferenceShards
from vidmem.store import load_tables, save_table


def cluster(inputs, curation: dict, block: int, threads: int, destination: str) -> None:
    faiss.omp_set_num_threads(threads)
    references = ReferenceShards.listed(inputs.references, "content")
    clips, rows, ids = load_tables([clips for clips, _, _ in references.files]), [], []
    for number in range(len(references)):
        own = reference_rows(references.shard(number), references.names(number))
        rows.append(references.owners(number)[own])
        ids.append(vector_ids(number, own))
    index, limits = open_index(inputs.index), (curation["similarity"], curation["min_information"])
    shards = ((references.shard(number), references.names(number), number) for number in range(len(references)))
    blocks = (vectors for shard in shards for vectors, _ in content_vectors(*shard, block))
    stored = partial(stored_vectors, references)
    clusters = near_duplicate_clusters(clips, index, np.concatenate(rows), np.concatenate(ids), blocks, stored, *limits)
    inside = clusters[clusters["cluster_reason"] == ""]
    LOGGER.info("%d clips in %d clusters", len(inside), inside["cluster"].nunique())
    LOGGER.info("not in the graph: %s", clusters["cluster_reason"].value_counts().drop("", errors="ignore").to_dict())
    save_table(destination, static_signals(clips, clusters, curation["caption_similarity"]))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    cluster(snakemake.input, params.curation, params.block, snakemake.threads, snakemake.output[0])

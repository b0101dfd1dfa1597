"""Compute static signals of the captions of a corpus: near-duplicate clips, identical and similar captions, copies."""

from functools import partial

import faiss

from vidmem.base.logs import LOGGER, start_logging
from vidmem.base.store import load_tables, save_table
from vidmem.prompts.curation import static_signals
from vidmem.prompts.near_duplicates import near_duplicate_clusters
from vidmem.search.faiss_index import open_index
from vidmem.search.references import ReferenceShards
from vidmem.search.through_index import frame_blocks, indexed_frames, stored_vectors


def cluster_corpus(inputs, curation: dict, block: int, threads: int, destination: str) -> None:
    faiss.omp_set_num_threads(threads)
    references = ReferenceShards.listed(inputs.references, "content")
    clips = load_tables([clips for clips, _, _ in references.files])
    found, stored = indexed_frames(references), partial(stored_vectors, references)
    index, limits = open_index(inputs.index), (curation["similarity"], curation["min_information"])
    clusters = near_duplicate_clusters(clips, index, *found, frame_blocks(references, block), stored, *limits)
    inside = clusters[clusters["cluster_reason"] == ""]
    LOGGER.info("%d clips in %d clusters", len(inside), inside["cluster"].nunique())
    LOGGER.info("not in the graph: %s", clusters["cluster_reason"].value_counts().drop("", errors="ignore").to_dict())
    save_table(destination, static_signals(clips, clusters, curation["caption_similarity"]))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    cluster_corpus(snakemake.input, params.curation, params.block, snakemake.threads, snakemake.output[0])

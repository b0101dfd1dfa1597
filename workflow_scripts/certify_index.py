"""Recall of an index, measured against exact search for a sample of the clips that are looked up; too little stops the run."""

import numpy as np

from vidmem import matching
from vidmem.approximate import (
    check_recall,
    content_candidates,
    measured_recall,
    motion_candidates,
    sampled_queries,
)
from vidmem.faiss_index import open_for_search
from vidmem.features import load_queries, query_clips
from vidmem.logs import LOGGER, start_logging
from vidmem.references import ReferenceShards
from vidmem.shards import LISTED, load_shards
from vidmem.store import load_tables, save_json
from vidmem.thresholds import load_thresholds, thresholds_of


def certify(inputs, kind: str, params, corpus: str, threads: int, destination: str) -> None:
    import faiss

    faiss.omp_set_num_threads(threads)
    search, motion, certificate = params.search, params.motion, params.search["certificate"]
    references = ReferenceShards.listed(inputs.references, kind)
    index = open_for_search(inputs.index, search["parameters"])
    sets, known = [load_shards(path) for path in inputs.queries], []
    for place, files in enumerate(sets):
        clips = load_tables(files["clips"])
        long = clips[clips["count"] >= (1 if kind == "content" else motion["k"] + 1)]
        known += [(str(place), name) for name in query_clips(long)]
    asked = sampled_queries(known, certificate["queries"], params.seed)
    exact, found = [np.zeros(0)], [np.zeros(0)]
    for place, files in enumerate(sets):
        names = [name for number, name in asked if int(number) == place]
        if names:
            queries = load_queries(*(files[name] for name in LISTED[kind]), set(names))
            pair = content_scores if kind == "content" else motion_scores
            for scores, part in zip((exact, found), pair(queries, names, references, index, search, motion)):
                scores.append(part)
    metric = params.content["metric"] if kind == "content" else "ofs_k"
    threshold = thresholds_of(params.content, motion, load_thresholds(inputs.thresholds, 1)[0], corpus)[metric]
    recall = measured_recall(np.concatenate(exact), np.concatenate(found), threshold, params.level)
    LOGGER.info("index of %s: %s", kind, recall.text())
    check_recall(recall, certificate["recall"], f"index of {kind}, corpus {corpus}")
    about = {"sampled": len(asked), "known": len(known), "least": certificate["recall"], "text": recall.text()}
    save_json(destination, vars(recall) | about | {"index": search["index"], "parameters": search["parameters"]})


def content_scores(queries, names, references, index, search: dict, motion: dict) -> list[np.ndarray]:
    answers = [
        matching.nearest_clips(queries, names, references, 1, search["block"]),
        content_candidates(index, queries, names, references, search, 1),
    ]
    return [best_of(matching.content_matches(queries, names, references, found, 1, "", ""), names) for found in answers]


def motion_scores(queries, names, references, index, search: dict, motion: dict) -> list[np.ndarray]:
    sides, block = motion["filter"]["sides"], matching.block_of(queries, names, motion)
    coarse = matching.block_of(queries, names, motion, search["motion_grid"])
    answers = [
        matching.nearest_motion(block, references, motion, [sides], 1)[0],
        motion_candidates(index, coarse, references, motion, search),
    ]
    matches = [matching.rescored_motion(block, references, found, motion, sides, 1) for found in answers]
    return [best_of(matching.motion_matches(block, found, "motion", "", ""), names) for found in matches]


def best_of(matches, names) -> np.ndarray:
    return matches[matches["rank"] == 1].set_index("query")["score"].reindex(names).to_numpy(float)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    wildcards = snakemake.wildcards
    certify(snakemake.input, wildcards.kind, snakemake.params, wildcards.corpus, snakemake.threads, snakemake.output[0])

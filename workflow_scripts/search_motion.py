"""Best motion matches of a part of a set of clips among the references of its corpus, with the filter and without."""

import json
from pathlib import Path

import pandas as pd

from vidmem import matching
from vidmem.features import load_queries, query_clips
from vidmem.logs import LOGGER, start_logging
from vidmem.references import Candidates, ReferenceShards, ScanState
from vidmem.store import hash_text, save_table

QUERY_CLIPS = 256  # bounds the memory of a block of queries: 256 clips of 7 pairs on a 64 x 64 grid are 59 MB


def search(inputs, search: dict, motion: dict, code: str, threads: int, destination: Path) -> None:
    queries = load_queries(inputs.query_clips, inputs.query_arrays, inputs.query_rows)
    references = ReferenceShards.listed(inputs.references, "motion")
    estimator, names = references.check_preset(queries), query_clips(queries.clips)
    own = ReferenceShards(inputs.query_clips, inputs.query_arrays, inputs.query_rows)
    key, kinds = hash_text(code, search, motion, own.stamp(), references.stamp()), ("motion", "motion_unfiltered")
    tables, states = [], []
    for first in range(0, max(1, len(names)), QUERY_CLIPS):
        chosen, sides, methods = names[first : first + QUERY_CLIPS], [motion["filter"]["sides"], None], ["exact", "exact"]
        block, found = matching.block_of(queries, chosen, motion), []
        states.append(ScanState(destination.with_suffix(f".{first}.scan"), f"{key} {first}"))
        if inputs.index:  # holds the windows that may carry a verdict; the unfiltered score stays an exact scan
            methods[0] = f"index {search['index']}: {json.loads(Path(inputs.certificate[0]).read_text())['text']}"
            found = [in_index(queries, chosen, references, inputs.index[0], search, motion, threads)]
        found += matching.nearest_motion(block, references, motion, sides[len(found) :], search["top_k"], states[-1])
        for kind, method, side, candidates in zip(kinds, methods, sides, found, strict=True):
            matches = matching.rescored_motion(block, references, candidates, motion, side, search["top_k"])
            tables.append(matching.motion_matches(block, matches, kind, method, estimator))
    save_table(destination, pd.concat(tables, ignore_index=True))
    LOGGER.info("%d clips looked up", len(names))
    for state in states:
        state.drop()


def in_index(queries, names, references, path: str, search: dict, motion: dict, threads: int) -> Candidates:
    import faiss

    from vidmem.approximate import motion_candidates
    from vidmem.faiss_index import open_for_search

    faiss.omp_set_num_threads(threads)
    block = matching.block_of(queries, names, motion, search["motion_grid"])
    return motion_candidates(open_for_search(path, search["parameters"]), block, references, motion, search)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    search(snakemake.input, params.search, params.motion, params.code, snakemake.threads, Path(snakemake.output[0]))

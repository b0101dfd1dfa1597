"""Best content matches of a part of a set of clips among the references of its corpus."""

import json
from functools import partial
from pathlib import Path

import pandas as pd

from vidmem import matching
from vidmem.devices import claim_device, torch_device
from vidmem.features import load_queries, query_clips
from vidmem.logs import LOGGER, start_logging
from vidmem.references import ReferenceShards, ScanState
from vidmem.search import search_clips
from vidmem.store import hash_text, save_table


def search_content(inputs, search: dict, metric: str, code: str, threads: int, device: str, destination: Path) -> None:
    queries = load_queries(inputs.query_clips, inputs.query_arrays, inputs.query_rows)
    references = ReferenceShards.listed(inputs.references, "content")
    names, top, preset = query_clips(queries.clips), search["top_k"], references.check_preset(queries)
    own = ReferenceShards(inputs.query_clips, inputs.query_arrays, inputs.query_rows)
    state = ScanState(destination.with_suffix(".scan"), hash_text(code, search, own.stamp(), references.stamp()))
    if inputs.index:
        import faiss

        from vidmem.approximate import content_candidates
        from vidmem.faiss_index import open_for_search

        faiss.omp_set_num_threads(threads)
        index = open_for_search(inputs.index[0], search["parameters"])
        found = content_candidates(index, queries, names, references, search, top)
        method = f"index {search['index']}: {json.loads(Path(inputs.certificate[0]).read_text())['text']}"
    else:
        block, multiply = search["block"], search_clips
        if device != "cpu":
            from vidmem.search_gpu import ROWS, search_clips_gpu

            block, multiply = max(block, ROWS), partial(search_clips_gpu, device=device)
        found, method = matching.nearest_clips(queries, names, references, top, block, state, multiply), "exact"
    matches = matching.content_matches(queries, names, references, found, top, method, preset)
    if metric == "vsscd":
        matches = pd.concat([matches, matching.aligned_matches(queries, names, references, top, preset)], ignore_index=True)
    LOGGER.info("%d clips looked up in %d shards (%s)", len(names), len(references), method)
    save_table(destination, matches)
    state.drop()


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params, device = snakemake.params, "cpu"
    if params.search["gpu"]:
        device = torch_device(claim_device(snakemake.config["device"], snakemake.resources.get("gpu", 0)))
    destination = Path(snakemake.output[0])
    search_content(snakemake.input, params.search, params.metric, params.code, snakemake.threads, device, destination)

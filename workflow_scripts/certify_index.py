"""Measure the recall of an index against exact search, on a sample of the searched clips. Too low a recall stops the run."""

import faiss

from vidmem.base.logs import LOGGER, start_logging
from vidmem.base.shards import load_shards
from vidmem.base.store import save_json
from vidmem.features.motion_comparison import MotionComparison
from vidmem.scoring.thresholds import thresholds_of
from vidmem.search.certificate import best_scores, known_queries
from vidmem.search.faiss_index import open_for_search
from vidmem.search.references import ReferenceShards
from vidmem.search.through_index import check_recall, measured_recall, sampled_queries


def certify(inputs, kind: str, corpus: str, search: dict, motion: dict, threshold: float, level: float, seed: int) -> dict:
    comparison = MotionComparison.of(motion, *inputs.background) if kind == "motion" else None
    features = comparison.rule_of(comparison.configured).features if comparison else kind
    references, index = ReferenceShards.listed(inputs.references, features), open_for_search(inputs.index, search["parameters"])
    # Sorted by number, because as text 10 comes before 2. So the sample of a set does not depend on its name.
    sets, plan = {str(place): load_shards(path) for place, path in enumerate(inputs.queries)}, search["certificate"]
    known = known_queries(sets, 1 if kind == "content" else motion["k"] + 1)
    asked = sampled_queries(known, plan["queries"], seed)
    scores = best_scores(kind, sets, asked, references, index, search, comparison)
    recall = measured_recall(*scores, threshold, level)
    LOGGER.info("index of %s: %s", kind, recall.text())
    check_recall(recall, plan["recall"], f"index of {kind}, corpus {corpus}")
    about = {"sampled": len(asked), "known": len(known), "least": plan["recall"], "text": recall.text()}
    return vars(recall) | about | {"index": search["index"], "parameters": search["parameters"]}


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params, kind, corpus = snakemake.params, snakemake.wildcards.kind, snakemake.wildcards.corpus
    faiss.omp_set_num_threads(snakemake.threads)
    metric = {"content": params.content, "motion": params.motion}[kind]["metric"]
    threshold = thresholds_of(snakemake.input.thresholds, corpus, [metric])[metric]
    settings = params.search, params.motion, threshold, params.level, params.seed
    save_json(snakemake.output[0], certify(snakemake.input, kind, corpus, *settings))

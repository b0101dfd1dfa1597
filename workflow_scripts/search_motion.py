"""Find the best motion matches of a part of a set of clips in its corpus, with the natural motion filter and without."""

from pathlib import Path

from vidmem.base.logs import LOGGER, start_logging
from vidmem.base.store import hash_text, save_table
from vidmem.features.clip_features import load_queries
from vidmem.features.motion_comparison import MotionComparison
from vidmem.search.motion_search import search_motion_set
from vidmem.search.references import ReferenceShards, ScanState
from vidmem.search.through_index import CertifiedIndex


def search_motion(inputs, search: dict, motion: dict, code: str, threads: int, destination: Path) -> None:
    asked = inputs.query_clips, inputs.query_arrays, inputs.query_rows
    queries, comparison = load_queries(*asked), MotionComparison.of(motion, inputs.background)
    kinds = {comparison.rule_of(metric).features for metric in comparison.metrics}
    references = {kind: ReferenceShards.listed(inputs.references, kind) for kind in sorted(kinds)}
    about = comparison.preset(comparison.configured, "")
    stamps = [own.stamp() for own in references.values()]
    key, states = hash_text(code, search, motion, about, ReferenceShards(*asked).stamp(), stamps), []

    def state_of(first: int) -> ScanState:
        states.append(ScanState(destination.with_suffix(f".{first}.scan"), f"{key} {first}"))
        return states[-1]

    index = CertifiedIndex.open(inputs.index, inputs.certificate, search, threads)
    matches = search_motion_set(comparison, queries, references, search, state_of, index)
    save_table(destination, matches)
    LOGGER.info("%d matches in %d shards", len(matches), max(map(len, references.values())))
    for state in states:
        state.drop()


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params, destination = snakemake.params, Path(snakemake.output[0])
    search_motion(snakemake.input, params.search, params.motion, params.code, snakemake.threads, destination)

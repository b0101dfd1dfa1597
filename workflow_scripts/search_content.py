"""Find the best content matches of a part of a set of clips among the references of its corpus."""

from pathlib import Path

from vidmem.base.devices import claim_device, torch_device
from vidmem.base.logs import LOGGER, start_logging
from vidmem.base.store import hash_text, save_table
from vidmem.features.clip_features import load_queries
from vidmem.features.metrics import searched_metrics
from vidmem.search import content_search
from vidmem.search.references import ReferenceShards, ScanState
from vidmem.search.through_index import CertifiedIndex


def search_content(inputs, search: dict, metric: str, code: str, threads: int, device: str, destination: Path) -> None:
    asked = inputs.query_clips, inputs.query_arrays, inputs.query_rows
    queries, references = load_queries(*asked), ReferenceShards.listed(inputs.references, "content")
    stamps = ReferenceShards(*asked).stamp(), references.stamp()
    state = ScanState(destination.with_suffix(".scan"), hash_text(code, search, *stamps))
    index = CertifiedIndex.open(inputs.index, inputs.certificate, search, threads)
    matches = content_search.search_content(
        searched_metrics("content", metric), queries, references, search, index, state, device
    )
    LOGGER.info("%d matches in %d shards", len(matches), len(references))
    save_table(destination, matches)
    state.drop()


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params, device = snakemake.params, "cpu"
    if params.search["gpu"]:
        device = torch_device(claim_device(snakemake.config["device"], snakemake.resources.get("gpu", 0)))
    destination = Path(snakemake.output[0])
    search_content(snakemake.input, params.search, params.metric, params.code, snakemake.threads, device, destination)

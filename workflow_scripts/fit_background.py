"""Measure the background of a corpus, the spectrum of the motion that its clips have in common, or take that of another."""

from pathlib import Path

from vidmem.base.logs import LOGGER, start_logging
from vidmem.features.background import LEAST, check_background, check_origin, fit_background, load_background, save_background
from vidmem.features.metrics import metric_of
from vidmem.search.references import ReferenceShards
from vidmem.search.sampling import count_pairs, sampled_flows


def measure(inputs, corpus: str, metric: str, background: dict, seed: int, destination: Path) -> None:
    references = ReferenceShards.listed(inputs.references, "pooled")
    pairs, estimator = count_pairs(references, background["splits"]), references.provenance
    everything = count_pairs(references, ())
    if background["file"]:
        fitted = load_background(str(inputs.other))
        check_origin(fitted, estimator, background["file"])
    else:
        flows = sampled_flows(references, background["splits"], background["fields"] / max(1, pairs), seed)
        fitted = fit_background(f"corpus-{corpus}", estimator, flows)
    LOGGER.info("%d fields with motion of %d frame pairs", fitted.counts.sum(), pairs)
    if metric_of(metric).whitened:
        check_background(fitted, everything, f"background of corpus {corpus}")
        smallest = min(int(fitted.counts.sum() - own) for own in fitted.counts)
        if everything and smallest < LEAST:
            LOGGER.warning("few videos: without the part of one of them the background has %d fields", smallest)
    save_background(destination, fitted)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params, destination = snakemake.params, Path(snakemake.output[0])
    measure(snakemake.input, snakemake.wildcards.corpus, params.metric, params.background, params.seed, destination)

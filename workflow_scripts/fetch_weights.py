"""Download pinned weights and check their hash."""

from pathlib import Path

from vidmem.base.logs import LOGGER, Progress, start_logging
from vidmem.models.weights import fetch_weights

MEGABYTE = 10**6


def fetch(name: str, destination: Path, given: dict) -> None:
    shown = Progress(f"fetch {name}", unit="MB")

    def report(done: int, total: int) -> None:
        shown.show(done // MEGABYTE, f"of {total // MEGABYTE} MB in all" if total else "")

    digest = fetch_weights(name, destination, given.get("path", ""), given.get("sha256", ""), report)
    LOGGER.info("%s: sha256 %s", name, digest)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    fetch(snakemake.wildcards.name, Path(snakemake.output[0]), snakemake.params.given)

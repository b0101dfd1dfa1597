"""Download pinned weights and check their hash."""

from pathlib import Path

from tqdm import tqdm

from vidmem.base.logs import LOGGER, start_logging
from vidmem.models.weights import fetch_weights


def fetch(name: str, destination: Path, given: dict) -> None:
    with tqdm(desc=f"fetch {name}", unit="B", unit_scale=True, disable=None) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total or None
            bar.update(done - bar.n)

        digest = fetch_weights(name, destination, given.get("path", ""), given.get("sha256", ""), report)
    LOGGER.info("%s: sha256 %s", name, digest)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    fetch(snakemake.wildcards.name, Path(snakemake.output[0]), snakemake.params.given)

"""Download the files of a hub data set that a corpus needs, and record which files are here."""

from pathlib import Path

from vidmem.base.logs import start_logging
from vidmem.base.store import save_json
from vidmem.corpus.hub_datasets import fetch_source


def fetch_corpus(source: dict, destination: Path) -> None:
    save_json(destination, {**source, "files": fetch_source(source)[1]})


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    fetch_corpus(snakemake.params.source, Path(snakemake.output[0]))

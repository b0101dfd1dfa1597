"""Bring what a corpus needs of a data set of the hub to this machine, and record which files are here."""

from pathlib import Path

from vidmem.logs import start_logging
from vidmem.repositories import fetch_source
from vidmem.store import save_json


def fetch_corpus(source: dict, destination: Path) -> None:
    save_json(destination, {**source, "files": fetch_source(source)[1]})


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    fetch_corpus(snakemake.params.source, Path(snakemake.output[0]))

"""Clips of every corpus by source, split, status and reason: nothing listed is lost."""

from vidmem.logs import start_logging
from vidmem.store import load_tables
from vidmem.tables import save_exhibit


def tabulate_corpus(inputs: list[str], destination: str) -> None:
    clips = load_tables(inputs)
    keys = ["set", "source", "split", "status", "reason"]
    grouped = clips.groupby(keys, dropna=False).agg(
        clips=("clip_id", "size"), frames=("count", "sum"), copies=("copies", "sum"), mean_information=("information", "mean")
    )
    save_exhibit(destination, grouped.reset_index().sort_values(keys, ignore_index=True))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir)
    tabulate_corpus(list(snakemake.input), snakemake.output[0])

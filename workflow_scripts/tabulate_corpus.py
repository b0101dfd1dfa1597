"""Clips of every corpus by source, split, status and reason, and how many of their windows move: nothing listed is lost."""

from vidmem.logs import start_logging
from vidmem.matching import filter_of
from vidmem.store import load_tables
from vidmem.tables import motion_of_corpus, save_exhibit


def tabulate_corpus(inputs, motion: dict, output) -> None:
    clips = load_tables(inputs.clips)
    keys = ["set", "source", "split", "status", "reason"]
    grouped = clips.groupby(keys, dropna=False).agg(
        clips=("clip_id", "size"), frames=("count", "sum"), copies=("copies", "sum"), mean_information=("information", "mean")
    )
    save_exhibit(output.status, grouped.reset_index().sort_values(keys, ignore_index=True))
    save_exhibit(output.motion, motion_of_corpus(clips, load_tables(inputs.pairs), motion["k"], filter_of(motion)))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir)
    tabulate_corpus(snakemake.input, snakemake.params.motion, snakemake.output)

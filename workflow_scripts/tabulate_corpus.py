"""Clips of every corpus by source, split, status and reason, and how many of their windows move: nothing listed is lost."""

import pandas as pd

from vidmem.logs import start_logging
from vidmem.matching import filter_of
from vidmem.shards import load_shards
from vidmem.store import load_tables, stacked
from vidmem.tables import motion_of_corpus, save_exhibit


def tabulate_corpus(listed: list[str], moving: list[str], motion: dict, output) -> None:
    read = {tuple(files["clips"]): load_tables(files["clips"]) for files in map(load_shards, listed)}
    clips = stacked(list(read.values()))
    keys = ["set", "source", "split", "status", "reason"]
    grouped = clips.groupby(keys, dropna=False).agg(
        clips=("clip_id", "size"), frames=("count", "sum"), copies=("copies", "sum"), mean_information=("information", "mean")
    )
    save_exhibit(output.status, grouped.reset_index().sort_values(keys, ignore_index=True))
    parts = [(read[tuple(files["clips"])], load_tables(files["pairs"])) for files in map(load_shards, moving)]
    tables = [motion_of_corpus(*part, motion["k"], filter_of(motion)) for part in parts]
    save_exhibit(output.motion, pd.concat(tables, ignore_index=True))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    tabulate_corpus(snakemake.input.clips, snakemake.input.motion, snakemake.params.motion, snakemake.output)

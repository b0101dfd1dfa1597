"""Count the listed clips of every corpus by source, split, status and reason, and the share of windows that move."""

import pandas as pd

from vidmem.base.logs import start_logging
from vidmem.base.shards import load_shards
from vidmem.base.store import load_tables, stacked
from vidmem.exhibits.table_files import save_exhibit
from vidmem.exhibits.tables import motion_of_corpus
from vidmem.features.natural_motion import NaturalMotionFilter


def tabulate_corpus(listed: list[str], moving: list[str], k: int, rule: NaturalMotionFilter, output) -> None:
    read = {tuple(files["clips"]): load_tables(files["clips"]) for files in map(load_shards, listed)}
    clips = stacked(list(read.values()))
    keys = ["set", "source", "split", "status", "reason"]
    grouped = clips.groupby(keys, dropna=False).agg(
        clips=("clip_id", "size"), frames=("count", "sum"), copies=("copies", "sum"), mean_information=("information", "mean")
    )
    save_exhibit(output.status, grouped.reset_index().sort_values(keys, ignore_index=True))
    parts = [(read[tuple(files["clips"])], load_tables(files["pairs"])) for files in map(load_shards, moving)]
    tables = [motion_of_corpus(*part, k, rule) for part in parts]
    save_exhibit(output.motion, pd.concat(tables, ignore_index=True))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    inputs, motion = snakemake.input, snakemake.params.motion
    tabulate_corpus(inputs.clips, inputs.motion, motion["k"], NaturalMotionFilter(**motion["filter"]), snakemake.output)

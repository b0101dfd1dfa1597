"""Table of the calibration: thresholds, false-positive rates and recall for every corpus."""

import pandas as pd

from vidmem.base.logs import start_logging
from vidmem.base.store import load_table
from vidmem.exhibits.calibration_table import calibration_table
from vidmem.exhibits.table_files import save_exhibit
from vidmem.features.motion_comparison import variants_of
from vidmem.features.statistics import IntervalRule
from vidmem.scoring.thresholds import shown_thresholds


def tabulate(
    inputs, corpora: list[str], variants: dict[str, str], rate: float, interval: IntervalRule, seed: int, table
) -> None:
    parts = []
    for corpus, scores, pairs in zip(corpora, inputs.scores, inputs.pairs, strict=True):
        stated = shown_thresholds(inputs.thresholds, corpus)
        parts.append(calibration_table(load_table(scores), load_table(pairs), corpus, stated, rate, variants, interval, seed))
    save_exhibit(table, pd.concat(parts, ignore_index=True))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    rules = {"variants": variants_of(params.motion), "interval": IntervalRule(**params.interval)}
    tabulate(snakemake.input, params.corpora, rate=params.rate, seed=params.seed, table=snakemake.output[0], **rules)

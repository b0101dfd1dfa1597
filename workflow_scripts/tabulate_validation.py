"""Table 1 (metric validation) and the ablation of the natural motion filter."""

import pandas as pd

from vidmem.base.logs import start_logging
from vidmem.base.store import load_table
from vidmem.exhibits.compact_tables import validation_exhibit
from vidmem.exhibits.table_files import save_exhibit
from vidmem.exhibits.tables import filter_table, validation_table
from vidmem.features.motion_comparison import variants_of
from vidmem.features.statistics import IntervalRule
from vidmem.scoring.thresholds import thresholds_of


def tabulate(inputs, corpora: list[str], variants: dict[str, str], interval: IntervalRule, seed: int, output) -> None:
    tables, ablations = [], []
    for path, corpus in zip(inputs.pairs, corpora, strict=True):
        pairs = load_table(path).assign(corpus=corpus)
        thresholds = thresholds_of(inputs.thresholds, corpus, {*variants, *pairs["metric"]})
        tables.append(validation_table(pairs, thresholds, interval, seed))
        ablations += [filter_table(pairs, name, thresholds[name], variant, interval) for name, variant in variants.items()]
    whole = pd.concat(tables, ignore_index=True)
    save_exhibit(output.table, whole, validation_exhibit(whole, variants, interval.level))
    save_exhibit(output.ablation, pd.concat(ablations, ignore_index=True))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    tabulate(
        snakemake.input,
        params.corpora,
        variants_of(params.motion),
        IntervalRule(**params.interval),
        params.seed,
        snakemake.output,
    )

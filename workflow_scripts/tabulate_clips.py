"""Write a row for every training clip: where it comes from, and the generated clip that comes closest to it."""

import pandas as pd

from vidmem.base.logs import start_logging
from vidmem.base.store import load_table, load_tables, save_csv
from vidmem.exhibits.clip_rows import COLUMNS, nearest_generated, times_replayed, training_rows
from vidmem.features.clip_features import listed_clips
from vidmem.features.metrics import KINDS
from vidmem.scoring.thresholds import shown_thresholds


def tabulate_clips(inputs, models: dict, metrics: dict, destination: str) -> None:
    """`models` names the corpus of each model in the order of the files, `metrics` the metric of each kind."""
    tables = [pd.DataFrame(columns=COLUMNS)]
    for corpus, listed in zip(sorted(set(models.values())), inputs.corpus, strict=True):
        own = [(place, name) for place, name in enumerate(models) if models[name] == corpus]
        parts = len(inputs.matches) // len(models)
        made = pd.concat([listed_clips(inputs.clips[place]).assign(model=name) for place, name in own])
        scores = pd.concat([load_table(inputs.scores[place]).assign(model=name) for place, name in own])
        found = [load_tables(inputs.matches[place * parts : (place + 1) * parts]).assign(model=name) for place, name in own]
        matches, limits = pd.concat(found), shown_thresholds(inputs.thresholds, corpus)
        nearest = {kind: nearest_generated(matches, scores, metrics[kind]) for kind in KINDS}
        thresholds = {kind: limits[metrics[kind]] for kind in KINDS}
        times = {kind: times_replayed(scores, metrics[kind]) for kind in KINDS}
        tables.append(training_rows(listed_clips(listed), made, nearest, thresholds, times))
    save_csv(destination, pd.concat(tables[1:] or tables, ignore_index=True))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    tabulate_clips(snakemake.input, params.models, params.metrics, snakemake.output[0])

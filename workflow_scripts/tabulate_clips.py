"""Write a row for every training clip: where it comes from, and the generated clip that comes closest to it."""

import pandas as pd

from vidmem.base.logs import start_logging
from vidmem.base.store import load_table, load_tables, save_csv
from vidmem.exhibits.clip_rows import COLUMNS, pair_scores, training_rows, without_motion
from vidmem.features.clip_features import listed_clips, listed_features
from vidmem.features.metrics import KINDS
from vidmem.features.motion_rule import MotionRule
from vidmem.scoring.thresholds import shown_thresholds


def tabulate_clips(inputs, models: dict, metrics: dict, motion: dict, destination: str) -> None:
    """`models` names the corpus of each model in file order, `metrics` the metric of each kind, `motion` how flows compare."""
    tables = [pd.DataFrame(columns=COLUMNS)]
    for corpus, listed, flows in zip(sorted(set(models.values())), inputs.corpus, inputs.corpus_motion, strict=True):
        own = [(place, name) for place, name in enumerate(models) if models[name] == corpus]
        parts = len(inputs.matches) // len(models)
        made = pd.concat([listed_clips(inputs.clips[place]).assign(model=name) for place, name in own])
        scores = pd.concat([load_table(inputs.scores[place]).assign(model=name) for place, name in own])
        found = [load_tables(inputs.matches[place * parts : (place + 1) * parts]).assign(model=name) for place, name in own]
        matches, limits = pd.concat(found), shown_thresholds(inputs.thresholds, corpus)
        pairs = {kind: pair_scores(matches, scores, metrics[kind]) for kind in KINDS}
        thresholds = {kind: limits[metrics[kind]] for kind in KINDS}
        training = listed_clips(listed)
        unscored = training[~training["clip_id"].isin(pairs["motion"]["clip_id"])]
        features = listed_features(flows, "motion", set(unscored["clip_id"]))
        motionless = without_motion(unscored, features, MotionRule.of(motion))
        tables.append(training_rows(training, made, pairs, thresholds, motionless))
    save_csv(destination, pd.concat(tables[1:] or tables, ignore_index=True))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    tabulate_clips(snakemake.input, params.models, params.metrics, params.motion, snakemake.output[0])

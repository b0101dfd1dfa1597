"""The metrics against human labels of pairs of clips; an empty table where the configuration names no labels."""

import pandas as pd

from vidmem.features import listed_clips, listed_features
from vidmem.labels import label_scores, name_by_set, read_labels
from vidmem.logs import LOGGER, start_logging
from vidmem.matching import filter_of
from vidmem.tables import VALIDATION_COLUMNS, label_table, save_exhibit
from vidmem.thresholds import load_thresholds, thresholds_of


def validate(inputs, sets: dict, content: dict, motion: dict, interval: dict, seed: int, table: str) -> None:
    if not inputs.labels:
        save_exhibit(table, pd.DataFrame(columns=VALIDATION_COLUMNS))
        return
    clips = [listed_clips(path, ["clip_id", "status", "reason"]) for path in inputs["content"]]
    labels = read_labels(str(inputs.labels), dict(zip(sets, clips, strict=True)))
    named = {name.partition("/")[::2] for side in ("first", "second") for name in labels[side]}
    chosen = {name: {clip_id for own, clip_id in named if own == name} for name in sets}
    descriptors, flows = (
        [name_by_set(listed_features(path, kind, chosen[name]), name) for path, name in zip(inputs[kind], sets, strict=True)]
        for kind in ("content", "motion")
    )
    scores = label_scores(labels, descriptors, flows, filter_of(motion), motion["k"])
    corpora = sorted(set(sets.values()))
    calibrated = zip(corpora, load_thresholds(inputs.thresholds, len(corpora)), strict=True)
    thresholds = {corpus: thresholds_of(content, motion, chosen, corpus) for corpus, chosen in calibrated}
    # A pair is judged by the threshold of the corpus its second clip belongs to or is compared with.
    scores = scores.assign(corpus=scores["second"].str.split("/").str[0].map(sets))
    LOGGER.info("%d labels, %d scores", len(labels), len(scores))
    save_exhibit(table, label_table(scores, thresholds, interval, seed))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    named = {name: snakemake.params[name] for name in ("sets", "content", "motion", "interval", "seed")}
    validate(snakemake.input, **named, table=snakemake.output[0])

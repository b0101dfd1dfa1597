"""Compare the metrics with human labels of pairs of clips. Without labels in the configuration, the table is empty."""

import pandas as pd

from vidmem.base.logs import LOGGER, start_logging
from vidmem.exhibits.table_files import save_exhibit
from vidmem.exhibits.tables import VALIDATION_COLUMNS, label_table
from vidmem.features.clip_features import listed_clips, listed_features
from vidmem.features.metrics import metrics_of, searched_metrics
from vidmem.features.motion_comparison import MotionComparison
from vidmem.features.statistics import IntervalRule
from vidmem.scoring.labels import label_scores, name_by_set, read_labels
from vidmem.scoring.thresholds import thresholds_of


def validate(inputs, sets: dict, motion: dict, interval: IntervalRule, seed: int, table: str) -> None:
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
    corpora = sorted(set(sets.values()))
    named = {metric.name for metric in [*metrics_of("content"), *searched_metrics("motion", motion["metric"])]}
    thresholds = {corpus: thresholds_of(inputs.thresholds, corpus, named) for corpus in corpora}
    # The corpus of a pair is that of its second clip. Its threshold and its background judge the pair.
    judge = labels["second"].str.split("/").str[0].map(sets)
    parts = []
    for place, corpus in enumerate(corpora):
        comparison = MotionComparison.of(motion, inputs.background[place])
        if (judge == corpus).any():
            parts.append(label_scores(labels[judge == corpus], descriptors, flows, comparison).assign(corpus=corpus))
    scores = pd.concat(parts, ignore_index=True)
    LOGGER.info("%d labels, %d scores", len(labels), len(scores))
    save_exhibit(table, label_table(scores, thresholds, interval, seed))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    validate(snakemake.input, params.sets, params.motion, IntervalRule(**params.interval), params.seed, snakemake.output[0])

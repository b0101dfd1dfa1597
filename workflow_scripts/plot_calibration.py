"""Figure 10 (rates against the threshold) and figure 11 (effect of score normalisation)."""

import pandas as pd

from vidmem.base.logs import start_logging
from vidmem.base.store import load_table
from vidmem.exhibits.calibration_figures import calibration_figure, normalisation_figure
from vidmem.exhibits.figures import save_figure
from vidmem.features.metrics import metric_labels
from vidmem.features.statistics import IntervalRule
from vidmem.scoring.thresholds import shown_thresholds


def plot_calibration(
    inputs, corpora: list[str], content: dict, motion: dict, rate: float, interval: IntervalRule, output
) -> None:
    names = metric_labels([content["metric"], motion["metric"]], motion["k"])
    parts, in_force = [], {}
    for corpus, path in zip(corpora, inputs.scores, strict=True):
        parts.append(load_table(path).assign(corpus=corpus))
        stated = shown_thresholds(inputs.thresholds, corpus)
        in_force |= {(corpus, metric): stated[metric] for metric in names}
    scores = pd.concat(parts, ignore_index=True)
    save_figure(calibration_figure(scores, names, in_force, rate, interval), output.calibration)
    save_figure(normalisation_figure(scores, names, rate), output.normalisation)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    named = {name: snakemake.params[name] for name in ("corpora", "content", "motion", "rate")}
    plot_calibration(snakemake.input, **named, interval=IntervalRule(**snakemake.params.interval), output=snakemake.output)

"""Figure 6 (score distributions) and figure 9 (memorization against copies)."""

import pandas as pd

from vidmem.base.logs import start_logging
from vidmem.base.store import load_table, load_tables
from vidmem.exhibits.figures import copies_figure, save_figure, score_distributions
from vidmem.exhibits.score_groups import generated_scores, real_scores, thresholds_in_force, unrelated_scores
from vidmem.features.clip_features import listed_clips
from vidmem.features.metrics import metric_labels
from vidmem.features.motion_comparison import variants_of


def plot_scores(inputs, models: dict, content: dict, motion: dict, output) -> None:
    metrics = content["metric"], motion["metric"]
    names = metric_labels(metrics, motion["k"])
    generated = zip(models.values(), inputs.scores, inputs.clips, strict=True)
    variant = variants_of(motion)[motion["metric"]]
    groups = [generated_scores(load_table(path), listed_clips(clips), about["label"]) for about, path, clips in generated]
    groups += [real_scores(load_table(path)) for path in inputs.real]
    groups += [unrelated_scores(load_table(path), *metrics, variant) for path in inputs.pairs]
    table = pd.concat(groups, ignore_index=True)
    table = table.assign(metric=table["metric"].map(names)).dropna(subset=["metric"])
    in_force = thresholds_in_force(load_tables([*inputs.scores, *inputs.real]), names)
    save_figure(score_distributions(table, in_force), output.distributions)
    for path in output.copies:  # without prompts there are no copies to compare with
        save_figure(copies_figure(pd.read_csv(inputs.copies)), path)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    plot_scores(snakemake.input, params.models, params.content, params.motion, snakemake.output)

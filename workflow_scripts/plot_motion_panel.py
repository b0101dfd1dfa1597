"""Figure 2: the frame pairs and flow fields of the best motion matches."""

from pathlib import Path

from vidmem.base.logs import start_logging
from vidmem.corpus.clip_frames import Frames
from vidmem.exhibits.best_matches import load_pairs
from vidmem.exhibits.figures import motion_panel, save_figure
from vidmem.exhibits.motion_matches import motion_row
from vidmem.features.clip_features import listed_features
from vidmem.features.motion_comparison import MotionComparison

EACH, ROWS = 3, 6  # best matches of a model, and rows of the figure


def plot_motion_panel(inputs, models: dict, corpora: dict, motion: dict, destination: str) -> None:
    backgrounds = zip(corpora, inputs.backgrounds, strict=True)
    compared = {corpus: MotionComparison.of(motion, path) for corpus, path in backgrounds}
    metric = next(iter(compared.values())).configured
    rules = {corpus: comparison.rule_of(metric) for corpus, comparison in compared.items()}
    frames = Frames.listed(inputs.frames, corpora)
    pairs = [pair for found in load_pairs(models, inputs.scores, frames, metric.name, EACH).values() for pair in found]
    shown = {clip_id for pair in pairs for clip_id in (pair.training, pair.generated)}
    flows = {Path(path).parent.name: listed_features(path, "motion", shown) for path in inputs.flows}
    label, k = metric.label.format(k=motion["k"]), motion["k"]
    rows = [motion_row(pair, frames, flows, about, label, rules[about["corpus"]])
            for pair in pairs[:ROWS] for about in [models[pair.model]]]  # fmt: skip
    save_figure(motion_panel(rows, k), destination)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    plot_motion_panel(snakemake.input, params.models, params.corpora, params.motion, snakemake.output[0])

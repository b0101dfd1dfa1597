"""Figures of the inversions: scores against copies, their distribution, and samples from the noise that was found."""

from pathlib import Path

import pandas as pd

from vidmem.base.logs import start_logging
from vidmem.corpus.clip_frames import Frames
from vidmem.exhibits.figures import save_figure
from vidmem.exhibits.inversion_figures import (
    inversion_distribution,
    inversion_membership,
    inversion_samples,
    inversion_sampling,
    inversion_scores,
    inversion_training_steps,
)
from vidmem.exhibits.inversion_samples import choose_images, sample_rows


def plot_inversion(inputs, corpora: dict[str, str], sources: dict, output) -> None:
    scores, images, factors = (pd.read_csv(path) for path in (inputs.scores, inputs.images, inputs.factors))
    noise = {name: [path for path in map(Path, inputs.noise) if path.parent.name == name] for name in corpora}
    rows = sample_rows(choose_images(scores), noise, Frames.listed(inputs.frames, sources), corpora)
    save_figure(inversion_scores(images), output.copies)
    save_figure(inversion_distribution(scores), output.distribution)
    for path in output.steps:  # a study that the configuration does not have is not asked for
        save_figure(inversion_training_steps(factors), path)
    for path in output.sampling:
        save_figure(inversion_sampling(factors), path)
    save_figure(inversion_membership(pd.read_csv(inputs.membership)), output.membership)
    save_figure(inversion_samples(rows), output.samples)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    plot_inversion(snakemake.input, snakemake.params.corpora, snakemake.params.sources, snakemake.output)

"""Tables of the inversions: every image and seed, means of images, separation by number of copies, and the studies."""

import pandas as pd

from vidmem.base.logs import start_logging
from vidmem.base.store import load_tables
from vidmem.exhibits.table_files import save_exhibit
from vidmem.features.statistics import IntervalRule
from vidmem.inversion.chance import COLUMNS, inverted_row
from vidmem.inversion.outcome import factor_table, image_means, membership_table, separation

PLANTED = 16  # smallest number of copies for which an image counts as planted often


def tabulate(inputs, studies: list[dict], interval: IntervalRule, seed: int, output) -> None:
    scores = load_tables(inputs.scores).sort_values(
        ["model", "copies", "image_id", "seed"], ascending=[True, False, True, True]
    )
    inverted = [inverted_row(model, group, interval) for model, group in scores.groupby("model", sort=True)]
    chance = pd.concat([load_tables(inputs.chance), pd.DataFrame(inverted, columns=COLUMNS)])
    save_exhibit(output.scores, scores)
    save_exhibit(output.images, image_means(scores, interval.level))
    save_exhibit(output.separation, separation(scores, PLANTED, interval, seed))
    save_exhibit(output.factors, factor_table(scores, studies, PLANTED, interval, seed))
    save_exhibit(output.membership, membership_table(scores, load_tables(inputs.evidence), interval, seed))
    save_exhibit(output.chance, chance.sort_values("model", kind="stable", ignore_index=True))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    tabulate(snakemake.input, params.studies, IntervalRule(**params.interval), params.seed, snakemake.output)

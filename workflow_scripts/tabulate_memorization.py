"""Table 2 (memorization across models) and the shares by number of planted copies."""

import pandas as pd

from vidmem.base.logs import start_logging
from vidmem.base.store import load_table
from vidmem.exhibits.table_files import save_exhibit
from vidmem.exhibits.tables import copies_rows, memorization_rows, real_rows
from vidmem.features.clip_features import listed_clips
from vidmem.features.statistics import IntervalRule
from vidmem.scoring.scores import VerdictRule


def tabulate(
    inputs, models: dict, corpora: list[str], content: VerdictRule, motion: VerdictRule, interval: IntervalRule, output
) -> None:
    memorization, copies = [], []
    real = {name: listed_clips(path) for name, path in zip(corpora, inputs.real_clips, strict=True)}
    for (model, corpus), listed, path in zip(models.items(), inputs.clips, inputs.scores, strict=True):
        clips, scores = listed_clips(listed), load_table(path)
        memorization += memorization_rows(model, corpus, clips, scores, real[corpus], content, motion, interval)
        copies += copies_rows(model, clips, scores, content, interval)
    for corpus, path in zip(corpora, inputs.real_scores, strict=True):
        memorization += real_rows(corpus, real[corpus], load_table(path), content, motion, interval)
    columns = ["model", "data", "copies", "n", "content_share", "low", "high", "mean_own_gsscd"]
    save_exhibit(output.table, pd.DataFrame(memorization))
    save_exhibit(output.copies, pd.DataFrame(copies, columns=columns))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    rules = VerdictRule.of(params.content), VerdictRule.of(params.motion), IntervalRule(**params.interval)
    tabulate(snakemake.input, params.models, params.corpora, *rules, snakemake.output)

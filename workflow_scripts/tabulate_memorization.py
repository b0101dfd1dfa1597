"""Table 2 (memorization across models) and the shares by number of planted copies."""

import pandas as pd

from vidmem.base.logs import start_logging
from vidmem.base.store import load_table
from vidmem.exhibits.compact_tables import memorization_exhibit
from vidmem.exhibits.table_files import save_exhibit
from vidmem.exhibits.tables import copies_rows, memorization_rows, real_rows
from vidmem.features.clip_features import listed_clips
from vidmem.features.statistics import IntervalRule
from vidmem.scoring.scores import VerdictRule


def tabulate(inputs, models: dict, corpora: list[str], sections: dict[str, dict], interval: IntervalRule, output) -> None:
    content, motion = (VerdictRule.of(section) for section in sections.values())
    memorization, copies = [], []
    real = {name: listed_clips(path) for name, path in zip(corpora, inputs.real_clips, strict=True)}
    for (model, corpus), listed, path in zip(models.items(), inputs.clips, inputs.scores, strict=True):
        clips, scores = listed_clips(listed), load_table(path)
        memorization += memorization_rows(model, corpus, clips, scores, real[corpus], content, motion, interval)
        copies += copies_rows(model, clips, scores, content, interval)
    for corpus, path in zip(corpora, inputs.real_scores, strict=True):
        memorization += real_rows(corpus, real[corpus], load_table(path), content, motion, interval)
    columns = ["model", "data", "copies", "n", "content_share", "low", "high", "mean_own_gsscd"]
    whole = pd.DataFrame(memorization)
    save_exhibit(output.table, whole, memorization_exhibit(whole, sections, interval.level))
    save_exhibit(output.copies, pd.DataFrame(copies, columns=columns))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    sections, interval = {"content": params.content, "motion": params.motion}, IntervalRule(**params.interval)
    tabulate(snakemake.input, params.models, params.corpora, sections, interval, snakemake.output)

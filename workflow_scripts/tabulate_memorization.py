"""Table 2 (memorization across models) and the shares by planted copies."""

import pandas as pd

from vidmem.features import listed_clips
from vidmem.logs import start_logging
from vidmem.store import load_table
from vidmem.tables import copies_rows, memorization_rows, real_rows, save_exhibit


def tabulate(inputs, models: dict, corpora: list[str], config: dict, output) -> None:
    memorization, copies = [], []
    real = {name: listed_clips(path) for name, path in zip(corpora, inputs.real_clips, strict=True)}
    for (model, corpus), listed, path in zip(models.items(), inputs.clips, inputs.scores, strict=True):
        clips, scores = listed_clips(listed), load_table(path)
        memorization += memorization_rows(model, corpus, clips, scores, real[corpus], config)
        copies += copies_rows(model, clips, scores, config["content"], config["interval"])
    for corpus, path in zip(corpora, inputs.real_scores, strict=True):
        memorization += real_rows(corpus, real[corpus], load_table(path), config["content"]["metric"], config["interval"])
    columns = ["model", "data", "copies", "n", "content_share", "low", "high", "mean_own_gsscd"]
    save_exhibit(output.table, pd.DataFrame(memorization))
    save_exhibit(output.copies, pd.DataFrame(copies, columns=columns))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    definitions = {name: snakemake.params[name] for name in ("content", "motion", "interval")}
    params = snakemake.params
    tabulate(snakemake.input, params.models, params.corpora, definitions, snakemake.output)

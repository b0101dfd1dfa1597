"""Scores of one set of clips: best matches in the corpus, and generated clips against their own training clip."""

from pathlib import Path

import pandas as pd

from vidmem import scores
from vidmem.features import load_features
from vidmem.logs import LOGGER, start_logging
from vidmem.store import load_tables, save_table


def score_clips(inputs, content: dict, motion: dict, destination: Path) -> None:
    thresholds = {
        content["metric"]: content["threshold"],
        "ofs_k": motion["threshold"],
        "ofs_k_unfiltered": motion["threshold"],
    }
    clips = load_tables(inputs.own_clips)
    prompts = dict(zip(clips["clip_id"], clips["prompt_id"]))
    tables = [scores.top_scores(load_tables(matches), prompts, thresholds) for matches in (inputs.content, inputs.motion)]
    if (clips["target"] != "").any():
        own, corpus = (
            (
                load_features(inputs[f"{role}_clips"], inputs[f"{role}_descriptors"], inputs[f"{role}_rows"]),
                load_features(inputs[f"{role}_clips"], inputs[f"{role}_flows"], inputs[f"{role}_pairs"]),
            )
            for role in ("own", "corpus")
        )
        tables.append(scores.own_scores(clips, own, corpus, motion, thresholds))
    result = pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
    LOGGER.info("%d scores of %d clips", len(result), len(clips))
    save_table(destination, result)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir)
    score_clips(snakemake.input, snakemake.params.content, snakemake.params.motion, Path(snakemake.output[0]))

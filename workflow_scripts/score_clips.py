"""Scores of one set of clips: best matches in the corpus, and generated clips against their own training clip."""

from pathlib import Path

import pandas as pd

from vidmem import scores
from vidmem.features import listed_clips, listed_features
from vidmem.logs import LOGGER, start_logging
from vidmem.store import load_tables, save_table
from vidmem.thresholds import load_thresholds, thresholds_of


def score_clips(inputs, corpus: str, content: dict, motion: dict, destination: Path) -> None:
    stated = thresholds_of(content, motion, load_thresholds(inputs.thresholds, 1)[0], corpus)
    thresholds = {
        content["metric"]: stated[content["metric"]],
        "ofs_k": stated["ofs_k"],
        "ofs_k_unfiltered": stated["ofs_k"],
    }
    clips = listed_clips(inputs.own_content)
    prompts = dict(zip(clips["clip_id"], clips["prompt_id"]))
    tables = [scores.top_scores(load_tables(matches), prompts, thresholds) for matches in (inputs.content, inputs.motion)]
    if (clips["target"] != "").any():
        targets = set(clips["target"])
        own = [listed_features(inputs[f"own_{kind}"], kind) for kind in ("content", "motion")]
        theirs = [listed_features(inputs[f"corpus_{kind}"], kind, targets) for kind in ("content", "motion")]
        tables.append(scores.own_scores(clips, own, theirs, motion, thresholds))
    result = pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
    LOGGER.info("%d scores of %d clips", len(result), len(clips))
    save_table(destination, result)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    named = {name: snakemake.params[name] for name in ("corpus", "content", "motion")}
    score_clips(snakemake.input, **named, destination=Path(snakemake.output[0]))

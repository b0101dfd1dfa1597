"""Score one set of clips against its best matches in the corpus, and generated clips against their own training clip."""

from pathlib import Path

import pandas as pd

from vidmem.base.logs import LOGGER, start_logging
from vidmem.base.store import load_tables, save_table
from vidmem.features.clip_features import listed_clips, listed_features
from vidmem.features.metrics import UNFILTERED
from vidmem.features.motion_comparison import MotionComparison
from vidmem.scoring import scores
from vidmem.scoring.thresholds import thresholds_of


def score_clips(inputs, corpus: str, content: dict, motion: dict, destination: Path) -> None:
    thresholds = thresholds_of(inputs.thresholds, corpus, (content["metric"], motion["metric"]))
    thresholds[motion["metric"] + UNFILTERED] = thresholds[motion["metric"]]
    clips = listed_clips(inputs.own_content)
    prompts = dict(zip(clips["clip_id"], clips["prompt_id"]))
    tables = [scores.top_scores(load_tables(matches), prompts, thresholds) for matches in (inputs.content, inputs.motion)]
    if (clips["target"] != "").any():
        targets = set(clips["target"])
        own = [listed_features(inputs[f"own_{kind}"], kind) for kind in ("content", "motion")]
        theirs = [listed_features(inputs[f"corpus_{kind}"], kind, targets) for kind in ("content", "motion")]
        tables.append(scores.own_scores(clips, own, theirs, MotionComparison.of(motion, inputs.background), thresholds))
    result = pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
    LOGGER.info("%d scores of %d clips", len(result), len(clips))
    save_table(destination, result)


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    named = {name: snakemake.params[name] for name in ("corpus", "content", "motion")}
    score_clips(snakemake.input, **named, destination=Path(snakemake.output[0]))

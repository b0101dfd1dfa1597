"""Scores of all pairs with a known answer: edits, twins, camera moves, unrelated clips."""

from pathlib import Path

import pandas as pd

from vidmem.features import listed_clips, listed_features, usable
from vidmem.logs import LOGGER, start_logging
from vidmem.matching import filter_of
from vidmem.seeding import random_stream
from vidmem.store import save_table
from vidmem.validation import content_values, known_pairs, motion_values

CLIPS = 200  # corpus clips that form unrelated pairs; a seeded sample of larger corpora


def validate(inputs, motion: dict, moving: float, seed: int, destination: Path) -> None:
    corpus = sorted(usable(listed_clips(inputs.corpus_content, ["clip_id", "status"]))["clip_id"])
    order = random_stream("validation", seed).permutation(len(corpus))[:CLIPS]
    corpus = sorted(corpus[place] for place in order)
    controls = listed_features(inputs.controls_content, "content")
    chosen = {*corpus, *controls.clips["origin"], *controls.clips["picture"]}
    descriptors = [listed_features(inputs.corpus_content, "content", chosen), controls]
    flows = [listed_features(inputs.corpus_motion, "motion", chosen), listed_features(inputs.controls_motion, "motion")]
    magnitude = flows[0].rows.groupby("clip_id")["magnitude"].mean()
    movers = [clip_id for clip_id in corpus if magnitude.get(clip_id, 0.0) >= moving and clip_id in flows[0].spans]
    pairs = known_pairs(descriptors[1].clips, corpus, movers, seed)
    names = sorted(set(pairs["first"]) | set(pairs["second"]))
    vectors = {name: features.of(name) for features in descriptors for name in names if name in features.spans}
    moving = pairs[~pairs["control"].isin(["unrelated", "picture-of-motion-twin"])]
    preset = (descriptors[0].provenance.split() or [""])[0]
    tables = [content_values(pairs, vectors, preset), motion_values(moving, flows, filter_of(motion), motion["k"])]
    LOGGER.info("%d pairs, %d clips move", len(pairs), len(movers))
    save_table(destination, pd.concat(tables, ignore_index=True))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    params = snakemake.params
    validate(snakemake.input, params.motion, params.moving, params.seed, Path(snakemake.output[0]))

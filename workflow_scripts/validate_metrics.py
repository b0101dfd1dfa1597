"""Scores of all pairs with a known answer: edits, twins, camera moves, unrelated clips."""

from pathlib import Path

import pandas as pd

from vidmem.features import listed_features, usable
from vidmem.logs import LOGGER, start_logging
from vidmem.matching import filter_of
from vidmem.seeding import random_stream
from vidmem.store import save_table
from vidmem.validation import content_values, known_pairs, motion_values

CLIPS = 200  # corpus clips that form unrelated pairs; a seeded sample of larger corpora


def validate(inputs, motion: dict, moving: float, seed: int, destination: Path) -> None:
    descriptors = [listed_features(path, "content") for path in (inputs.corpus_content, inputs.controls_content)]
    flows = [listed_features(path, "motion") for path in (inputs.corpus_motion, inputs.controls_motion)]
    corpus = sorted(usable(descriptors[0].clips)["clip_id"])
    order = random_stream("validation", seed).permutation(len(corpus))[:CLIPS]
    corpus = sorted(corpus[place] for place in order)
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

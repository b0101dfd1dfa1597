"""A small corpus with controls, written as feature files, and its calibration scores."""

import numpy as np
import pandas as pd

from vidmem.base.clip_table import clip_row, clip_table
from vidmem.base.store import load_tables, save_array, save_table, shard_of
from vidmem.features.background import fit_background
from vidmem.features.clip_features import load_features
from vidmem.features.metrics import metric_of
from vidmem.features.motion_comparison import MotionComparison
from vidmem.features.motion_rule import MotionRule
from vidmem.features.natural_motion import NaturalMotionFilter
from vidmem.scoring.calibration import Footage, References, calibration_scores
from vidmem.search.references import ReferenceShards

MOTION = MotionRule(2, filter=NaturalMotionFilter(static=0.02))
COMPARISON = MotionComparison(MOTION, (metric_of("ofs_k"),), fit_background("none", "", []))
VARIANTS = {"ofs_k": MOTION.variant}
SETTINGS = {"background": 0.5, "top": 2, "beta": 1.0, "duplicate": 0.75, "negatives": 1000, "false_positive_rate": 0.25}
SOURCES = ("games", "film")


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float16)


def feature_files(folder, name, clips, shards=1):
    """Feature files of a set: clips are dictionaries of columns with vectors [T, 8] and flows [P, 2, 4, 4]."""
    paths = {part: [] for part in ("clips", "descriptors", "rows", "flows", "pairs")}
    for shard in range(shards):
        own = [clip for clip in clips if shard_of(clip["clip_id"], shards) == shard]
        extra = [column for column in ("control", "origin", "picture") if column in clips[0]]
        rows = [clip_row({}, **{key: clip[key] for key in clip if key not in ("vectors", "flows")}) for clip in own]
        files = {part: folder / f"{name}-{shard}.{part}" for part in paths}
        vectors = [clip["vectors"] for clip in own] or [np.zeros((0, 8), np.float16)]
        flows = [clip["flows"] for clip in own] or [np.zeros((0, 2, 4, 4), np.float16)]
        save_table(files["clips"], clip_table(rows, extra))
        for part, arrays in (("descriptors", vectors), ("flows", flows)):
            save_array(files[part], np.concatenate(arrays))
        named = [(clip["clip_id"], frame, "preset 1") for clip in own for frame in range(len(clip["vectors"]))]
        save_table(files["rows"], pd.DataFrame(named, columns=["clip_id", "frame", "computed_by"]))
        measured = [
            (clip["clip_id"], pair, *[float(np.abs(flow).mean())] * 2, 1.0, 1.0, 2.0, "estimator")
            for clip in own for pair, flow in enumerate(clip["flows"])
        ]  # fmt: skip
        columns = ["clip_id", "pair", "magnitude", "area", "energy", "residual", "entropy", "computed_by"]
        save_table(files["pairs"], pd.DataFrame(measured, columns=columns))
        for part in paths:
            paths[part].append(files[part])
    return paths["clips"], (paths["descriptors"], paths["rows"]), (paths["flows"], paths["pairs"])


def load_footage(folder, name, clips, shards=1):
    tables, *kinds = feature_files(folder, name, clips, shards)
    return Footage(*(load_features(tables, *files) for files in kinds))


def small_corpus(seed=0):
    """Twelve members, two of them near-duplicates of others, three images, eight held-out clips; and their controls."""
    stream = np.random.default_rng(seed)
    clips = []
    for place in range(23):
        split = "member" if place < 12 else "image" if place < 15 else "heldout"
        frames = 1 if split == "image" else 4
        vectors, flows = unit(stream.normal(size=(frames, 8))), stream.normal(size=(frames - 1, 2, 4, 4)).astype(np.float16)
        if place in (5, 17):  # planted near-duplicates: among the members, and among the held-out clips
            other = clips[2 if place == 5 else 16]
            vectors, flows = unit(other["vectors"] + 0.02 * stream.normal(size=(4, 8))), other["flows"]
        if place in (7, 20):
            flows = 0.001 * flows  # natural throughout: never fires
        clips.append({"clip_id": f"clip-{place:02d}", "set": "corpus-small", "source": SOURCES[place % 2], "split": split,
                      "count": frames, "vectors": vectors, "flows": flows})  # fmt: skip
    controls = []
    for control, origin, picture in (
        ("blur", 1, 1),
        ("crop", 3, 3),
        ("mirror", 16, 16),
        ("motion-twin", 4, 13),
        ("blur", 5, 5),
    ):
        look, move = clips[picture], clips[origin]
        vectors = unit(look["vectors"].astype(float).mean(0) + 0.05 * stream.normal(size=(4, 8)))
        vectors = vectors if control == "motion-twin" else unit(look["vectors"] + 0.05 * stream.normal(size=(4, 8)))
        controls.append({"clip_id": f"{control}-{move['clip_id']}", "set": "controls-small", "split": "control", "count": 4,
                         "control": control, "origin": move["clip_id"], "picture": look["clip_id"], "vectors": vectors,
                         "flows": (move["flows"] + 0.1 * stream.normal(size=(3, 2, 4, 4))).astype(np.float16)})  # fmt: skip
    return clips, controls


def scored(folder, clips, controls, shards=1, **settings):
    folder.mkdir(exist_ok=True)
    tables, *kinds = feature_files(folder, "corpus", clips, shards)
    corpus = References(*(ReferenceShards(tables, *files) for files in kinds))
    sets = load_tables(tables), corpus, load_footage(folder, "controls", controls, shards)
    return calibration_scores(*sets, SETTINGS | settings, 7, COMPARISON, 0)

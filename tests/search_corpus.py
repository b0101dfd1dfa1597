"""Feature files of a small corpus to search, as the workflow leaves them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vidmem.base.clip_table import clip_row, clip_table
from vidmem.base.store import save_array, save_table, shard_of
from vidmem.features.descriptors import normalise
from vidmem.features.motion_rule import MotionRule
from vidmem.features.natural_motion import NaturalMotionFilter

MOTION = MotionRule(3, filter=NaturalMotionFilter(0.0, 1.1, -1.0))


def save_corpus(folder, clips, shards, kind="descriptors", clip_set="corpus-x"):
    """Shards on disk of clips (name -> vectors or flows), as the workflow leaves them; the last clip is held out."""
    files = []
    for shard in range(shards):
        own = {name: values for name, values in clips.items() if shard_of(name, shards) == shard}
        rows = [clip_row({}, clip_id=name, set=clip_set, split="heldout" if name == list(clips)[-1] else "member",
                         status="ok", count=len(values)) for name, values in own.items()]  # fmt: skip
        paths = [folder / f"{kind}{shards}.{shard}{suffix}" for suffix in (".clips.parquet", ".npy", ".parquet")]
        save_table(paths[0], clip_table(rows))
        empty = np.zeros((0, *next(iter(clips.values())).shape[1:]), np.float16)
        save_array(paths[1], np.concatenate([empty, *own.values()]).astype(np.float16))
        named = [
            (name, place, "preset 1", 1.0, 1.0, 1.0, 1.0, 2.0) for name, values in own.items() for place in range(len(values))
        ]
        columns = ["clip_id", "frame", "computed_by", "magnitude", "area", "energy", "residual", "entropy"]
        save_table(paths[2], pd.DataFrame(named, columns=columns).astype({"clip_id": str, "computed_by": str}))
        files.append(paths)
    return list(zip(*files))


def descriptors(stream, count=40):
    return {f"c{n:02d}": normalise(stream.normal(size=(int(stream.integers(1, 6)), 12))) for n in stream.permutation(count)}


def flows(stream, count=16):
    return {f"f{n:02d}": stream.normal(size=(int(stream.integers(2, 7)), 2, 8, 8)).astype(np.float16) for n in range(count)}

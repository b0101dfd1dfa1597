"""A sample of the flows of a corpus, clip by clip, that does not depend on how the corpus is cut into shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..base.clip_table import usable
from ..base.identity import video_of
from ..base.seeding import seed_of
from ..features.clip_features import ClipFeatures
from .references import ReferenceShards

SEEDS = 2.0**63
"""Number of different seeds, see seed_of."""


def clips_with_flows(features: ClipFeatures, splits: Sequence[str]) -> list[str]:
    """Clip ids of the usable clips of some splits that have flows, sorted."""
    return sorted(set(usable(features.clips, splits)["clip_id"]) & set(features.spans))


def count_pairs(references: ReferenceShards, splits: Sequence[str]) -> int:
    """Frame pairs of all clips of some splits, or of all splits for ()."""
    shards = (references.shard(number) for number in range(len(references)))
    spans = (shard.spans[name] for shard in shards for name in clips_with_flows(shard, splits))
    return sum(last - first for _, first, last in spans)


def sampled_flows(
    references: ReferenceShards, splits: Sequence[str], share: float, seed: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Clip id and features of every clip of a seeded share of the videos. A video is taken whole, or not at all.

    Args:
        references: shards of the corpus, one of them in memory at a time.
        splits: splits of the clips.
        share: share of the videos; all of them from 1 on.
    """
    for number in range(len(references)):
        features = references.shard(number)
        for name in clips_with_flows(features, splits):
            if seed_of("background sample", seed, video_of(name)) < share * SEEDS:
                yield name, features.of(name)

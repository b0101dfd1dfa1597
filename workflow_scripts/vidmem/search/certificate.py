"""Best scores of a sample of query clips, by an exact scan and through an index, from which the recall of the index follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..base.clip_table import query_clips
from ..base.shards import LISTED
from ..base.store import load_tables
from ..features.clip_features import ClipFeatures, load_queries
from ..features.metrics import GSSCD, metric_of
from ..features.motion_comparison import MotionComparison
from ..features.motion_rule import MotionRule
from .matches import block_of, content_matches, motion_matches, nearest_clips, nearest_motion, rescored_motion
from .references import ReferenceShards
from .through_index import content_candidates, index_grid, motion_candidates

if TYPE_CHECKING:
    import faiss

Files = Mapping[str, Sequence[str]]
"""Files of a set of clips: what the files hold -> their paths, as load_shards returns them."""


def known_queries(sets: Mapping[str, Files], least: int) -> list[tuple[str, str]]:
    """Query clips of some sets: set and clip id of each.

    Args:
        sets: files of each set, by the name of the set.
        least: smallest number of frames that a clip must have.
    """
    tables = {name: load_tables(files["clips"]) for name, files in sets.items()}
    return [(name, clip) for name, clips in tables.items() for clip in query_clips(clips[clips["count"] >= least])]


def best_scores(
    kind: str, sets: Mapping[str, Files], asked: Sequence[tuple[str, str]], references: ReferenceShards, index: faiss.Index,
    search: dict, comparison: MotionComparison | None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Best score of each of some query clips, by an exact scan and through an index.

    Args:
        kind: 'content' or 'motion'.
        sets: files of each set, by the name of the set.
        asked: set and clip id of each query clip.
        index: opened index.
        search: section `search` of the configuration.
        comparison: the motion metrics, of which the index is that of the configured one; None for an index of content.

    Returns:
        Scores of the exact scan and scores through the index, float [n] each; NaN for a clip without a match.
    """
    scores = [(np.zeros(0), np.zeros(0))]
    for own, files in sets.items():
        if names := [name for asked_set, name in asked if asked_set == own]:
            clips, arrays, rows = (files[name] for name in LISTED[kind])
            queries = load_queries(clips, arrays, rows, set(names))
            if comparison is None:
                scores.append(_content_scores(queries, names, references, index, search))
                continue
            for rule, group in comparison.by_rule(comparison.configured, queries.clips, names):
                scores.append(_motion_scores(queries, group, references, index, search, rule))
    exact, found = (np.concatenate(side) for side in zip(*scores))
    return exact, found


def _content_scores(
    queries: ClipFeatures, names: list[str], references: ReferenceShards, index: faiss.Index, search: dict
) -> tuple[np.ndarray, np.ndarray]:
    answers = [
        nearest_clips(queries, names, references, 1, search["block"]),
        content_candidates(index, queries, names, references, search, 1),
    ]
    metric = metric_of(GSSCD)  # the content metric whose search goes through the index
    exact, found = (
        _best_of(content_matches(metric, queries, names, references, answer, 1, "", ""), names) for answer in answers
    )
    return exact, found


def _motion_scores(
    queries: ClipFeatures, names: list[str], references: ReferenceShards, index: faiss.Index, search: dict, rule: MotionRule
) -> tuple[np.ndarray, np.ndarray]:
    sides, block = rule.filter.sides, block_of(queries, names, rule, query=True)
    coarse = block_of(queries, names, rule, index_grid(rule, search), query=True)
    answers = [
        nearest_motion(block, references, rule, [sides], 1)[0],
        motion_candidates(index, coarse, references, rule, search),
    ]
    matches = (rescored_motion(block, references, answer, rule, sides, 1) for answer in answers)
    exact, found = (_best_of(motion_matches(block, rows, "", "", ""), names) for rows in matches)
    return exact, found


def _best_of(matches: pd.DataFrame, names: list[str]) -> np.ndarray:
    """Score of the best match of each query clip, float [n]; NaN for a clip without a match."""
    return matches[matches["rank"] == 1].set_index("query")["score"].reindex(names).to_numpy(float)

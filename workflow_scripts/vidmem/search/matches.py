"""Candidates of query clips by an exact scan, and the table of matches that is made of candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from ..features.clip_features import ClipFeatures, clip_blocks, motion_features
from ..features.content import FrameMatch
from ..features.metrics import Metric
from ..features.motion import pool_flows
from ..features.motion_rule import MotionRule
from .exact import TopK, search_aligned, search_clips
from .exact_motion import MotionBlock, MotionMatch, motion_block, pair_match, search_motion, why_natural
from .references import Candidates, ReferenceShards, ScanState, in_order_of_shards, named, no_candidates, scan

SPARE = 5
"""Candidates kept beyond the number wanted. The product of a pair of clips decides, and that of a block rounds differently."""
COLUMNS = [
    "query", "reference", "query_frame", "reference_frame", "score", "rank", "search", "metric", "natural", "preset",
    "view",
]  # fmt: skip


def nearest_clips(
    queries: ClipFeatures, names: Sequence[str], references: ReferenceShards, top: int, block: int,
    state: ScanState | None = None, multiply: Callable[..., TopK] = search_clips,
) -> Candidates:  # fmt: skip
    """Candidates of some query clips by GSSCD, by an exact scan.

    Args:
        names: clip ids of the query clips.
        top: matches wanted for each query clip; a few more candidates are kept.
        block: reference rows in memory at once.
        state: saved progress of the scan.
        multiply: search_clips, or search_clips_gpu.
    """
    vectors, counts = queries.select(names)

    def look(number: int) -> list[Candidates]:
        theirs = references.names(number)
        return [named(multiply(vectors, counts, clip_blocks(references.shard(number), theirs, block), top + SPARE), theirs)]

    return scan(references, [no_candidates(len(names), top + SPARE)], look, state)[0]


def nearest_aligned(queries: ClipFeatures, names: Sequence[str], references: ReferenceShards, top: int) -> Candidates:
    """Candidates of some query clips by VSSCD, by an exact scan; see nearest_clips."""
    clips = [queries.of(name) for name in names]

    def look(number: int) -> list[Candidates]:
        theirs, features = references.names(number), references.shard(number)
        return [named(search_aligned(clips, [features.of(name) for name in theirs], top + SPARE), theirs)]

    return scan(references, [no_candidates(len(names), top + SPARE)], look)[0]


def nearest_pairs(
    pair: Callable[[np.ndarray, np.ndarray], FrameMatch], queries: ClipFeatures, names: Sequence[str],
    references: ReferenceShards, top: int,
) -> Candidates:  # fmt: skip
    """Candidates of some query clips by any content metric, from a comparison of every pair of clips; see nearest_clips.

    Args:
        pair: function that compares two clips, from the record of the metric.
    """
    clips = [queries.of(name) for name in names]

    def look(number: int) -> list[Candidates]:
        theirs, features = np.array(references.names(number), dtype=str), references.shard(number)
        scores = np.empty((len(clips), len(theirs)), np.float32)
        for place, name in enumerate(theirs):
            other = features.of(name)
            scores[:, place] = [pair(mine, other).score for mine in clips]
        return [Candidates(scores, np.broadcast_to(theirs, scores.shape))]

    return scan(references, [no_candidates(len(names), top + SPARE)], look)[0]


def content_matches(
    metric: Metric, queries: ClipFeatures, names: Sequence[str], references: ReferenceShards, found: Candidates, top: int,
    search: str, preset: str,
) -> pd.DataFrame:  # fmt: skip
    """Matches of every query clip, best first: the exact scores of its candidates, and the frames that figures show.

    Args:
        names: clip ids of the query clips.
        found: candidates of each query clip.
        top: matches kept for each query clip.
        search: how the candidates were found: 'exact', or an index and its recall.
        preset: preset of the descriptors.

    Returns:
        Table of COLUMNS.
    """
    rows: list[list[tuple]] = [[] for _ in names]
    for query, clip, features in in_order_of_shards(references, found):
        mine, other = queries.of(names[query]), features.of(clip)
        match = metric.pair(mine, other)
        frames = metric.shown(mine, other) if metric.shown else match[1:]
        rows[query].append((match.score, clip, *frames))
    return _ranked(names, rows, top, search, metric.name, preset)


def _ranked(names: Sequence[str], rows: list[list[tuple]], top: int, search: str, metric: str, preset: str) -> pd.DataFrame:
    """Table of the best matches of every query clip. If scores are equal, the lower clip id comes first."""
    table = [
        (query, clip, *frames, score, rank, search, metric, "", preset, "")
        for query, found in zip(names, rows)
        for rank, (score, clip, *frames) in enumerate(sorted(found, key=lambda row: (-row[0], row[1]))[:top], 1)
    ]
    return pd.DataFrame(table, columns=COLUMNS)


def block_of(
    features: ClipFeatures, clip_ids: Sequence[str], rule: MotionRule, grid: int = 0, query: bool = False
) -> MotionBlock:
    """Flows of some clips, prepared for the search.

    Args:
        grid: side of a coarser grid to search on; 0 for the grid of the flows. The natural motion filter always uses the
            measures of the flows as they are stored.
        query: whether these are query clips, see motion_block.
    """
    flows, counts = features.select(clip_ids)
    flows = pool_flows(flows, grid) if grid and rule.weights is None else flows
    measured = motion_features(features.table_of(clip_ids))
    return motion_block(clip_ids, counts, flows, measured, rule, query)


def motion_blocks(
    features: ClipFeatures, clip_ids: Sequence[str], rule: MotionRule, grid: int = 0, pairs: int = 2048
) -> Iterator[MotionBlock]:
    """Flows of some clips in blocks of whole clips, each with at least `pairs` frame pairs; see block_of.

    The last block may be smaller.
    """
    waiting: list[str] = []
    size = 0
    for clip_id in clip_ids:
        _, first, last = features.spans.get(clip_id, (0, 0, 0))
        waiting.append(clip_id)
        size += last - first
        if size >= pairs:
            yield block_of(features, waiting, rule, grid)
            waiting, size = [], 0
    if waiting:
        yield block_of(features, waiting, rule, grid)


def nearest_motion(
    queries: MotionBlock, references: ReferenceShards, rule: MotionRule, sides: Sequence[str | None], top: int,
    state: ScanState | None = None,
) -> list[Candidates]:  # fmt: skip
    """Candidates of query clips by OFS-k, by an exact scan, for one or more filters.

    Args:
        sides: see search_motion.
        top: matches wanted for each query clip; a few more candidates are kept.
        state: saved progress of the scan.

    Returns:
        Candidates for each of `sides`.
    """

    def look(number: int) -> list[Candidates]:
        stream = motion_blocks(references.shard(number), references.names(number), rule)
        return search_motion(queries, stream, rule, sides, top + SPARE)

    return scan(references, [no_candidates(len(queries.clip_ids), top + SPARE) for _ in sides], look, state)


def rescored_motion(
    queries: MotionBlock, references: ReferenceShards, found: Candidates, rule: MotionRule, sides: str | None, top: int
) -> list[list[MotionMatch]]:
    """Exact OFS-k of every candidate from the stored flows or pooled fields, best first.

    A candidate that cannot support a verdict is left out.

    Args:
        sides: which windows of a pair the filter looks at, see NaturalMotionFilter; None for no filter.
        top: matches kept for each query clip.

    Returns:
        Matches of each query clip, in the order of the block. A reference has one match, by the best view.
    """
    rows: dict[str, list[tuple[float, str, str, MotionMatch]]] = {name: [] for name in queries.clip_ids}
    block = None
    for query, clip, features in in_order_of_shards(references, found):
        if block is None or block.clip_ids != [clip]:
            block = block_of(features, [clip], rule)
        match = pair_match(queries, query, block, rule, sides)
        if match.score is not None:
            rows[queries.clip_ids[query]].append((-match.score, clip, match.view, match))
    return [_best_views(sorted(ranked, key=lambda row: row[:3]))[:top] for ranked in rows.values()]


def _best_views(ranked: Iterable[tuple[float, str, str, MotionMatch]]) -> list[MotionMatch]:
    """The first match of every reference clip."""
    best: dict[str, MotionMatch] = {}
    for _, clip, _, match in ranked:
        best.setdefault(clip, match)
    return list(best.values())


def motion_matches(
    queries: MotionBlock, found: Iterable[list[MotionMatch]], metric: str, search: str, estimator: str
) -> pd.DataFrame:
    """Table of motion matches. A query clip without a match has one row, whose column `natural` states the reason.

    Args:
        found: matches of each query clip, best first.
        metric: name of the metric.
        search: how the candidates were found: 'exact', or an index and its recall.
        estimator: what computed the flows.

    Returns:
        Table of COLUMNS.
    """
    rows = []
    for index, (query, matches) in enumerate(zip(dict.fromkeys(queries.clip_ids), found, strict=True)):
        for rank, match in enumerate(matches, 1):
            score, places = match.score, (match.query_pair, match.reference_pair)
            rows.append((query, match.reference, *places, score, rank, search, metric, "", estimator, match.view))
        if not matches:
            reason = why_natural(queries, index) or "no reference window"
            rows.append((query, "", -1, -1, np.nan, 1, search, metric, reason, estimator, ""))
    return pd.DataFrame(rows, columns=COLUMNS)

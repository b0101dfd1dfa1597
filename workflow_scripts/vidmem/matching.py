"""From search answers to the table of matches: reference clips, frames, ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from .content import best_aligned, gsscd, vsscd
from .features import ClipFeatures, clip_blocks, motion_features
from .motion import NaturalMotionFilter, pool_flows
from .motion_search import MotionBlock, MotionMatch, motion_block, pair_match, search_motion, why_natural
from .references import Candidates, ReferenceShards, ScanState, in_order_of_shards, named, no_candidates, scan
from .search import TopK, search_aligned, search_clips

SPARE = 5
"""Candidates beyond those asked for: products of a whole block round otherwise than those of a pair, which decide."""
COLUMNS = ["query", "reference", "query_frame", "reference_frame", "score", "rank", "search", "kind", "natural", "preset"]


def nearest_clips(
    queries: ClipFeatures, names: Sequence[str], references: ReferenceShards, top: int, block: int,
    state: ScanState | None = None, multiply: Callable[..., TopK] = search_clips,
) -> Candidates:  # fmt: skip
    """Candidates of some query clips by GSSCD, by an exact scan.

    Args:
        names: query clips; block: reference rows in memory at once.
        top: wanted of each; some more are kept.
        multiply: search_clips, or the same on a GPU.
    """
    vectors, counts = queries.select(names)

    def look(number: int) -> list[Candidates]:
        theirs = references.names(number)
        return [named(multiply(vectors, counts, clip_blocks(references.shard(number), theirs, block), top + SPARE), theirs)]

    return scan(references, [no_candidates(len(names), top + SPARE)], look, state)[0]


def nearest_aligned(queries: ClipFeatures, names: Sequence[str], references: ReferenceShards, top: int) -> Candidates:
    """Candidates of some query clips by VSSCD, by an exact scan."""
    clips = [queries.of(name) for name in names]

    def look(number: int) -> list[Candidates]:
        theirs, features = references.names(number), references.shard(number)
        return [named(search_aligned(clips, [features.of(name) for name in theirs], top + SPARE), theirs)]

    return scan(references, [no_candidates(len(names), top + SPARE)], look)[0]


def content_matches(
    queries: ClipFeatures, names: Sequence[str], references: ReferenceShards, found: Candidates, top: int, search: str,
    preset: str,
) -> pd.DataFrame:  # fmt: skip
    """Matches of every query clip: GSSCD of its candidates and the frames that gave it, best first.

    Args:
        names: clip ids of the queries; found: candidates of each.
        search: how they were found: 'exact', or an index and its recall.
    """
    rows: list[list[tuple]] = [[] for _ in names]
    for query, clip, features in in_order_of_shards(references, found):
        match = gsscd(queries.of(names[query]), features.of(clip))
        rows[query].append((match.score, clip, match.first, match.second))
    return _ranked(names, rows, top, search, "content", preset)


def aligned_matches(
    queries: ClipFeatures, names: Sequence[str], references: ReferenceShards, top: int, preset: str
) -> pd.DataFrame:
    """Best matches of query clips by VSSCD, with the aligned frames that are most alike."""
    rows: list[list[tuple]] = [[] for _ in names]
    for query, clip, features in in_order_of_shards(references, nearest_aligned(queries, names, references, top)):
        mine, other = queries.of(names[query]), features.of(clip)
        rows[query].append((vsscd(mine, other), clip, *best_aligned(mine, other)))
    return _ranked(names, rows, top, "exact", "content_aligned", preset)


def _ranked(names, rows: list[list[tuple]], top: int, search: str, kind: str, preset: str) -> pd.DataFrame:
    """Table of the best of every query clip: of equal scores the lower clip id."""
    table = [
        (query, clip, *frames, score, rank, search, kind, "", preset)
        for query, found in zip(names, rows)
        for rank, (score, clip, *frames) in enumerate(sorted(found, key=lambda row: (-row[0], row[1]))[:top], 1)
    ]
    return pd.DataFrame(table, columns=COLUMNS)


def filter_of(motion: dict) -> NaturalMotionFilter:
    """Natural motion filter of the configuration."""
    return NaturalMotionFilter(**motion["filter"])


def block_of(features: ClipFeatures, clip_ids: Sequence[str], motion: dict, grid: int = 0) -> MotionBlock:
    """Flows of some clips, ready for the search.

    Args:
        grid: coarser grid to search on; 0 for that of the flows. What is natural is decided on the flows as they are.
    """
    flows, counts = features.select(clip_ids)
    flows = pool_flows(flows, grid) if grid else flows
    measured = motion_features(features.table_of(clip_ids))
    return motion_block(clip_ids, counts, flows, measured, motion["k"], motion["cosine"], filter_of(motion))


def motion_blocks(
    features: ClipFeatures, clip_ids: Sequence[str], motion: dict, grid: int = 0, pairs: int = 2048
) -> Iterator[MotionBlock]:
    """Flows of some clips, clip by clip, about so many frame pairs at a time."""
    waiting: list[str] = []
    size = 0
    for clip_id in clip_ids:
        _, first, last = features.spans.get(clip_id, (0, 0, 0))
        waiting.append(clip_id)
        size += last - first
        if size >= pairs:
            yield block_of(features, waiting, motion, grid)
            waiting, size = [], 0
    if waiting:
        yield block_of(features, waiting, motion, grid)


def nearest_motion(
    queries: MotionBlock, references: ReferenceShards, motion: dict, sides: Sequence[str | None], top: int,
    state: ScanState | None = None,
) -> list[Candidates]:  # fmt: skip
    """Candidates of query clips by OFS-k, by an exact scan, for each of some filters.

    Args:
        motion: k, cosine, pairing, filter; sides: of the natural motion filter, None for a search without it.
    """

    def look(number: int) -> list[Candidates]:
        stream = motion_blocks(references.shard(number), references.names(number), motion)
        return search_motion(queries, stream, motion["k"], motion["pairing"], sides, top + SPARE)

    return scan(references, [no_candidates(len(queries.clip_ids), top + SPARE) for _ in sides], look, state)


def rescored_motion(
    queries: MotionBlock, references: ReferenceShards, found: Candidates, motion: dict, sides: str | None, top: int
) -> list[list[MotionMatch]]:
    """Exact OFS-k of every candidate, from the stored flows, best first; those that may carry no verdict are left out."""
    rows: list[list[MotionMatch]] = [[] for _ in queries.clip_ids]
    block = None
    for query, clip, features in in_order_of_shards(references, found):
        if block is None or block.clip_ids != [clip]:
            block = block_of(features, [clip], motion)
        match = pair_match(queries, query, block, motion["k"], motion["pairing"], sides)
        if match.score is not None:
            rows[query].append(match)
    return [sorted(matches, key=lambda match: (-match.score, match.reference))[:top] for matches in rows]


def motion_matches(
    queries: MotionBlock, found: Iterable[list[MotionMatch]], kind: str, search: str, estimator: str
) -> pd.DataFrame:
    """Table of motion matches; a query without a window that may carry a verdict keeps a row with the reason."""
    rows = []
    for index, (query, matches) in enumerate(zip(queries.clip_ids, found)):
        for rank, match in enumerate(matches, 1):
            score, places = match.score, (match.query_pair, match.reference_pair)
            rows.append((query, match.reference, *places, score, rank, search, kind, "", estimator))
        if not matches:
            reason = why_natural(queries, index) or "no reference window"
            rows.append((query, "", -1, -1, np.nan, 1, search, kind, reason, estimator))
    return pd.DataFrame(rows, columns=COLUMNS)

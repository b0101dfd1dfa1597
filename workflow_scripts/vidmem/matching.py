"""From search answers to the table of matches: reference clips, frames, ranks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from .content import best_aligned, gsscd
from .features import ClipFeatures, motion_features, usable
from .motion import NaturalMotionFilter
from .motion_search import MotionBlock, MotionMatch, motion_block, why_natural
from .search import TopK, search_aligned, search_clips

REFERENCE_SPLITS = ("member", "image")
COLUMNS = ["query", "reference", "query_frame", "reference_frame", "score", "rank", "search", "kind", "natural", "preset"]


def query_clips(clips: pd.DataFrame) -> list[str]:
    """Clips of a set that are looked up: all generated ones; of a corpus, those held out."""
    kept = usable(clips)
    held_out = ~kept["set"].str.startswith("corpus-") | (kept["split"] == "heldout")
    return list(kept[held_out]["clip_id"])


def reference_blocks(features: ClipFeatures, block: int) -> Iterator[tuple[np.ndarray, pd.DataFrame]]:
    """Rows of the references, at most so many at a time, with the table that names them."""
    chosen = set(usable(features.clips, REFERENCE_SPLITS)["clip_id"])
    offset = 0
    for array in features.arrays:
        table = features.rows.iloc[offset : offset + len(array)]
        offset += len(array)
        for first in range(0, len(array), block):
            part = table.iloc[first : first + block]
            mask = part["clip_id"].isin(chosen).to_numpy()
            yield np.asarray(array[first : first + block])[mask], part[mask]


def reference_table(features: ClipFeatures) -> pd.DataFrame:
    """Clip and frame of every reference row, in the order of reference_blocks."""
    chosen = usable(features.clips, REFERENCE_SPLITS)["clip_id"]
    return features.rows[features.rows["clip_id"].isin(set(chosen))].reset_index(drop=True)


def reference_clips(features: ClipFeatures) -> list[str]:
    """Clip ids of the references that have features, in the order of reference_blocks."""
    chosen = set(usable(features.clips, REFERENCE_SPLITS)["clip_id"])
    return [clip_id for clip_id in features.spans if clip_id in chosen]


def clip_blocks(features: ClipFeatures, clip_ids: Sequence[str], rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Features of whole clips under each other and the number of each, about so many rows at a time."""
    waiting: list[str] = []
    size = 0
    for clip_id in clip_ids:
        _, first, last = features.spans[clip_id]
        waiting.append(clip_id)
        size += last - first
        if size >= rows:
            yield features.select(waiting)
            waiting, size = [], 0
    if waiting:
        yield features.select(waiting)


def nearest_clips(
    queries: ClipFeatures, names: Sequence[str], references: ClipFeatures, theirs: Sequence[str], top: int, block: int
) -> list[list[str]]:
    """Best reference clips of some query clips by GSSCD, by an exact scan, best first.

    Args:
        names: query clips; theirs: reference clips; block: reference rows in memory at once.
    """
    vectors, counts = queries.select(names)
    answer = search_clips(vectors, counts, clip_blocks(references, theirs, block), top)
    return [[theirs[row] for row in rows if row >= 0] for rows in answer.rows]


def index_candidates(counts: np.ndarray, answer: TopK, references: pd.DataFrame, top: int) -> list[list[str]]:
    """Reference clips of an index's answer to frames: for every query clip the best ones, best first.

    Args:
        counts: frames of each query clip; answer: top-k of all their frames.
        references: clip_id of every reference row.
    """
    names, found, first = references["clip_id"].to_numpy(), [], 0
    for count in counts:
        scores, hits = answer.scores[first : first + count].ravel(), answer.rows[first : first + count].ravel()
        order = np.lexsort((hits, -scores))
        found.append(list(dict.fromkeys(names[hit] for hit in hits[order] if hit >= 0))[:top])
        first += count
    return found


def content_matches(
    queries: ClipFeatures, references: ClipFeatures, names: Sequence[str], candidates: Sequence[Sequence[str]],
    search: str, preset: str,
) -> pd.DataFrame:  # fmt: skip
    """Matches of every query clip: GSSCD of its candidates and the frames that gave it, best first.

    Args:
        names: clip ids of the queries; candidates: reference clips of each.
        search: 'exact', or the factory string of the index.
    """
    rows = []
    for query, clips in zip(names, candidates, strict=True):
        mine = queries.of(query)
        found = sorted((-(match := gsscd(mine, references.of(clip))).score, place, match) for place, clip in enumerate(clips))
        for rank, (_, place, match) in enumerate(found, 1):
            rows.append((query, clips[place], match.first, match.second, match.score, rank, search, "content", "", preset))
    return pd.DataFrame(rows, columns=COLUMNS)


def aligned_matches(
    queries: ClipFeatures, references: ClipFeatures, top: int, preset: str, names: Sequence[str], theirs: Sequence[str]
) -> pd.DataFrame:
    """Best matches of query clips by VSSCD, with the aligned frames that are most alike.

    Args:
        names: query clips; theirs: reference clips.
    """
    clips, others = ([features.of(name) for name in chosen] for features, chosen in ((queries, names), (references, theirs)))
    answer = search_aligned(clips, others, top)
    rows = []
    for place, query in enumerate(names):
        for rank, (score, hit) in enumerate(zip(answer.scores[place], answer.rows[place]), 1):
            if hit >= 0:
                frames = best_aligned(clips[place], others[hit])
                value = float(np.clip(score, -1, 1))
                rows.append((query, theirs[hit], *frames, value, rank, "exact", "content_aligned", "", preset))
    return pd.DataFrame(rows, columns=COLUMNS)


def filter_of(motion: dict) -> NaturalMotionFilter:
    """Natural motion filter of the configuration."""
    return NaturalMotionFilter(**motion["filter"])


def block_of(features: ClipFeatures, clip_ids: Sequence[str], motion: dict) -> MotionBlock:
    """Flows of some clips, ready for the search."""
    flows, counts = features.select(clip_ids)
    measured = motion_features(features.table_of(clip_ids))
    return motion_block(clip_ids, counts, flows, measured, motion["k"], motion["cosine"], filter_of(motion))


def motion_blocks(
    features: ClipFeatures, motion: dict, pairs: int = 2048, clip_ids: Sequence[str] | None = None
) -> Iterator[MotionBlock]:
    """Flows of the references, or of some clips, clip by clip, about so many frame pairs at a time."""
    waiting: list[str] = []
    size = 0
    for clip_id in usable(features.clips, REFERENCE_SPLITS)["clip_id"] if clip_ids is None else clip_ids:
        _, first, last = features.spans.get(clip_id, (0, 0, 0))
        waiting.append(clip_id)
        size += last - first
        if size >= pairs:
            yield block_of(features, waiting, motion)
            waiting, size = [], 0
    if waiting:
        yield block_of(features, waiting, motion)


def index_motion_matches(
    queries: Sequence[str], windows: pd.DataFrame, answer: TopK, references: pd.DataFrame, top: int
) -> list[list[MotionMatch]]:
    """Matches of clips from an index's answer to their windows: the best window pair of every reference clip.

    Args:
        queries: clip ids; windows: clip_id and frame of every query window; references: the same of the index.
    """
    names, frames = references["clip_id"].to_numpy(), references["frame"].to_numpy()
    best: dict[str, dict[str, MotionMatch]] = {query: {} for query in queries}
    for window, (query, place) in enumerate(zip(windows["clip_id"], windows["frame"])):
        for score, hit in zip(answer.scores[window], answer.rows[window]):
            if hit >= 0 and (names[hit] not in best[query] or score > best[query][names[hit]].score):
                value = float(np.clip(score, -1, 1))
                best[query][names[hit]] = MotionMatch(query, names[hit], value, int(place), int(frames[hit]))
    ranked = [sorted(matches.values(), key=lambda match: (-match.score, match.reference)) for matches in best.values()]
    return [matches[:top] for matches in ranked]


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

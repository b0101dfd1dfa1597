"""Exact search by motion: OFS-k of every query clip and every reference clip, one block of references at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..features.flow_measures import FlowFeatures
from ..features.motion import best_window, normalise_flows, window_scores
from ..features.motion_rule import MotionRule
from ..features.natural_motion import allowed_pairs, natural_windows
from .references import Candidates, merge_candidates, no_candidates


@dataclass
class MotionBlock:
    """Flows of some clips, normalised and ready to be compared.

    Attributes:
        clip_ids: names of the clips.
        counts: frame pairs of each clip.
        fields: float32 [sum of counts, 2 h w]; the inner product of two rows is their cosine.
        natural: str [sum of counts], the reason why the k-window that starts at each frame pair is natural. '' if it is not
            natural, and 'short' if the clip ends before the window does.
    """

    clip_ids: list[str]
    counts: np.ndarray
    fields: np.ndarray
    natural: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """First row of each clip in `fields`."""
        return np.concatenate([[0], np.cumsum(self.counts)[:-1]]).astype(np.int64) if len(self.counts) else self.counts


def motion_block(
    clip_ids: Sequence[str], counts: Sequence[int] | np.ndarray, flows: np.ndarray, features: FlowFeatures, rule: MotionRule
) -> MotionBlock:
    """Prepare the flows of some clips for the search.

    Args:
        clip_ids: names of the clips.
        counts: frame pairs of each clip.
        flows: float [sum of counts, 2, h, w].
        features: measures of the same frame pairs.
        rule: its k, cosine and filter are used.
    """
    reasons = np.full(len(flows), "short", dtype="U8")
    first = 0
    for count in counts:
        windows = max(0, int(count) - rule.k + 1)
        part = type(features)(*[values[first : first + count] for values in vars(features).values()])
        reasons[first : first + windows] = natural_windows(part, rule.k, rule.filter)[:windows]
        first += count
    return MotionBlock(list(clip_ids), np.asarray(counts, np.int64), normalise_flows(flows, rule.cosine), reasons)


@dataclass(frozen=True)
class MotionMatch:
    """The best pair of windows of two clips, and its score. The score is None if no pair of windows can support a verdict."""

    query: str
    reference: str
    score: float | None
    query_pair: int
    reference_pair: int


def search_motion(
    queries: MotionBlock, blocks: Iterable[MotionBlock], rule: MotionRule, sides: Sequence[str | None], top: int
) -> list[Candidates]:
    """Best reference clips of every query clip, for one or more filters. The cosines are computed only once.

    Args:
        queries: query clips.
        blocks: reference clips, streamed.
        rule: its k and pairing are used.
        sides: for each filter, which windows of a pair it looks at (see NaturalMotionFilter), or None for no filter.
        top: reference clips kept for each query clip.

    Returns:
        Candidates for each of `sides`. A query clip has none if none of its windows can support a verdict.
    """
    found = [no_candidates(len(queries.clip_ids), top) for _ in sides]
    for block in blocks:
        if not len(block.fields) or not len(queries.fields):
            continue
        cosines = queries.fields @ block.fields.T
        names = np.broadcast_to(np.array(block.clip_ids), (len(queries.clip_ids), len(block.clip_ids)))
        for place, side in enumerate(sides):
            scores = clip_scores(cosines, queries, block, rule, side)
            found[place] = merge_candidates(found[place], _best_of_block(Candidates(scores, names), found[place].scores[:, -1]))
    return found


def _best_of_block(block: Candidates, floor: np.ndarray) -> Candidates:
    """The reference clips of a block that are among the best so far of some query clip.

    Args:
        floor: worst score that each query clip keeps so far, float [Q].
    """
    useful = (block.scores >= floor[:, None]) & np.isfinite(block.scores)
    kept = np.flatnonzero(useful.any(axis=0))
    return Candidates(block.scores[:, kept], block.names[:, kept])


def clip_scores(
    cosines: np.ndarray, queries: MotionBlock, block: MotionBlock, rule: MotionRule, sides: str | None = None
) -> np.ndarray:
    """OFS-k of all pairs of clips, from the cosines of all pairs of fields.

    Args:
        cosines: float32 [P, Q].
        rule: its k and pairing are used.
        sides: which windows of a pair the filter looks at, see NaturalMotionFilter; None for no filter.

    Returns:
        float32 [query clips, reference clips]; -inf if the score is not defined.
    """
    windows = np.full(cosines.shape, -np.inf, np.float32)
    inner = window_scores(cosines, rule.k)
    windows[: inner.shape[0], : inner.shape[1]] = inner
    rows, columns = _out(queries, sides, "query"), _out(block, sides, "reference")
    if sides == "both":
        short_rows, short_columns = queries.natural == "short", block.natural == "short"
        windows[np.ix_(rows, columns)] = -np.inf
        rows, columns = short_rows, short_columns
    windows[rows] = -np.inf
    windows[:, columns] = -np.inf
    if rule.pairing == "aligned":
        windows[_places(queries)[:, None] != _places(block)[None, :]] = -np.inf
    filled_rows, filled_columns = queries.counts > 0, block.counts > 0
    result = np.full((len(queries.counts), len(block.counts)), -np.inf, np.float32)
    reduced = np.maximum.reduceat(windows, queries.starts[filled_rows], axis=0)
    reduced = np.maximum.reduceat(reduced, block.starts[filled_columns], axis=1)
    result[np.ix_(filled_rows, filled_columns)] = reduced
    return result


def _out(block: MotionBlock, sides: str | None, side: str) -> np.ndarray:
    """Which windows of one side, 'query' or 'reference', are excluded: bool [frame pairs]."""
    filtered = sides in ("either", "both", side)
    return block.natural != "" if filtered else block.natural == "short"


def _places(block: MotionBlock) -> np.ndarray:
    """Place of every frame pair in its clip."""
    return np.arange(len(block.fields)) - np.repeat(block.starts, block.counts)


def pair_match(queries: MotionBlock, index: int, reference: MotionBlock, rule: MotionRule, sides: str | None) -> MotionMatch:
    """OFS-k of one query clip and one reference clip, from the fields of these two clips alone.

    Args:
        index: place of the query clip in `queries`.
        reference: block with the reference clip only.
        sides: which windows of a pair the filter looks at, see NaturalMotionFilter; None for no filter.
    """
    first = queries.starts[index]
    fields = queries.fields[first : first + queries.counts[index]]
    scores = window_scores(fields @ reference.fields.T, rule.k)
    left = queries.natural[first : first + scores.shape[0]] != ""
    right = reference.natural[: scores.shape[1]] != ""
    allowed = None if sides is None else allowed_pairs(left, right, sides)
    best = best_window(scores, rule.pairing, allowed)
    return MotionMatch(queries.clip_ids[index], reference.clip_ids[0], best.score, best.first, best.second)


def why_natural(queries: MotionBlock, index: int) -> str:
    """Why no window of a query clip can support a verdict: the most frequent reason, or '' if some window can."""
    first = queries.starts[index]
    reasons = queries.natural[first : first + queries.counts[index]]
    if not len(reasons) or (reasons == "short").all():
        return "short"
    reasons = reasons[reasons != "short"]
    if (reasons == "").any():
        return ""
    names, counts = np.unique(reasons, return_counts=True)
    return str(names[np.argmax(counts)])


class Windows(NamedTuple):
    """Windows that can support a verdict.

    Attributes:
        vectors: float32 [n, k * 2 h w], k normalised fields divided by the square root of k. The inner product of two windows
            is their OFS-k.
        owners: place in the block of the clip of each window, int64 [n].
        places: first frame pair of each window in its clip, int64 [n].
    """

    vectors: np.ndarray
    owners: np.ndarray
    places: np.ndarray


def windows_of(block: MotionBlock, k: int) -> Windows:
    """All k-windows of a block that can support a verdict."""
    starts = np.flatnonzero(block.natural == "")
    owners = np.repeat(np.arange(len(block.counts)), block.counts)[starts]
    places = starts - block.starts[owners] if len(starts) else starts
    fields = [block.fields[starts + m] for m in range(k)]
    return Windows(np.concatenate(fields, axis=1) / np.float32(np.sqrt(k)), owners, places)

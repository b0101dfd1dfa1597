"""Exact search by motion: OFS-k of every query clip and every reference clip, one block of references at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..features.flow_measures import FlowFeatures
from ..features.motion import best_window, window_scores, window_sums
from ..features.motion_rule import MotionRule
from ..features.natural_motion import allowed_pairs, natural_windows
from .references import Candidates, merge_candidates, no_candidates

CACHED_FIELDS = 256
"""Query fields that are multiplied at once: with a block of 2,048 fields their products are 2 MiB."""


@dataclass
class MotionBlock:
    """Flows of some clips, normalised and ready to be compared.

    Attributes:
        clip_ids: names of the clips.
        counts: frame pairs of each clip.
        fields: float32 [sum of counts, 2 h w]; the inner product of two rows is their cosine.
        natural: str [sum of counts], the reason why the k-window that starts at each frame pair is natural. '' if it is not
            natural, and 'short' if the clip ends before the window does.
        views: how each clip is seen, '' for as it is; see MotionRule.seen.
    """

    clip_ids: list[str]
    counts: np.ndarray
    fields: np.ndarray
    natural: np.ndarray
    views: list[str]

    @property
    def starts(self) -> np.ndarray:
        """First row of each clip in `fields`."""
        return np.concatenate([[0], np.cumsum(self.counts)[:-1]]).astype(np.int64) if len(self.counts) else self.counts


def motion_block(
    clip_ids: Sequence[str], counts: Sequence[int] | np.ndarray, flows: np.ndarray, features: FlowFeatures, rule: MotionRule,
    query: bool = False,
) -> MotionBlock:  # fmt: skip
    """Prepare the flows of some clips for the search.

    Args:
        clip_ids: names of the clips.
        counts: frame pairs of each clip.
        flows: float [sum of counts, 2, h, w].
        features: measures of the same frame pairs.
        rule: says what is compared, and which windows are natural.
        query: whether these are query clips. A query clip stands once for each of its views, see MotionRule.seen.
    """
    own = np.asarray(counts, np.int64)
    reasons = np.full(len(flows), "short", dtype="U8")
    whole = natural_windows(features, rule.k, rule.filter)  # of all clips at once: what begins in one clip and ends in the next
    reasons[: len(whole)] = whole
    reasons[np.repeat(np.cumsum(own), own) - np.arange(len(flows)) < rule.k] = "short"  # is short
    seen = rule.seen(flows) if query else {"": flows}
    fields = [rule.fields(view) for view in seen.values()]
    times = len(seen)
    views = [view for view in seen for _ in own]
    return MotionBlock(list(clip_ids) * times, np.tile(own, times), np.concatenate(fields), np.tile(reasons, times), views)


@dataclass(frozen=True)
class MotionMatch:
    """The best pair of windows of two clips, and its score. The score is None if no pair of windows can support a verdict.

    `view` says how the query clip was seen, '' for as it is.
    """

    query: str
    reference: str
    score: float | None
    query_pair: int
    reference_pair: int
    view: str = ""


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
        names = np.broadcast_to(np.array(block.clip_ids), (len(queries.clip_ids), len(block.clip_ids)))
        for place, scores in enumerate(clip_scores(queries, block, rule, sides)):
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
    queries: MotionBlock, block: MotionBlock, rule: MotionRule, sides: Sequence[str | None], cosines: np.ndarray | None = None
) -> list[np.ndarray]:
    """OFS-k of all pairs of clips, for one or more filters.

    The products are made for a few query clips at a time. They stay in the cache of the processor until their maxima are taken.

    Args:
        rule: its k and pairing are used.
        sides: for each filter, which windows of a pair it looks at (see NaturalMotionFilter), or None for no filter.
        cosines: float32 [P, Q], cosines of all pairs of fields if they are known already.

    Returns:
        For each of `sides`, float32 [query clips, reference clips]; -inf if the score is not defined.
    """
    terms = [(place, *masks) for place, side in enumerate(sides) for masks in _supporting(queries, block, side)]
    best = [np.full((len(queries.counts), max(0, len(block.fields) - rule.k + 1)), -np.inf, np.float32) for _ in terms]
    for clips, first, last in _few_clips(queries, CACHED_FIELDS):
        products = queries.fields[first:last] @ block.fields.T if cosines is None else cosines[first:last]
        windows = window_sums(products, rule.k)
        if rule.pairing == "aligned":
            aligned = _places(queries)[first:last][: len(windows), None] == _places(block)[None, : windows.shape[1]]
            windows = np.where(aligned, windows, -np.inf)
        for maxima, (_, rows, _) in zip(best, terms):
            _clip_maxima(windows, queries.starts[clips] - first, queries.counts[clips], rows[first:last], maxima[clips])
    scores = [np.full((len(queries.counts), len(block.counts)), -np.inf, np.float32) for _ in sides]
    for maxima, (place, _, columns) in zip(best, terms):
        theirs = np.full((len(block.counts), len(queries.counts)), -np.inf, np.float32)
        _clip_maxima(np.ascontiguousarray(maxima.T), block.starts, block.counts, columns, theirs)
        np.maximum(scores[place], theirs.T, out=scores[place])
    return [np.where(np.isfinite(sums), np.clip(sums / rule.k, -1, 1), sums) for sums in scores]  # the order stays


def _few_clips(block: MotionBlock, rows: int) -> Iterator[tuple[slice, int, int]]:
    """Runs of whole clips with about `rows` frame pairs: the clips, their first frame pair, and the place after their last."""
    first = 0
    ends = np.cumsum(block.counts)
    while first < len(ends):
        begin = int(ends[first] - block.counts[first])
        last = max(first + 1, int(np.searchsorted(ends, begin + rows, side="right")))
        yield slice(first, last), begin, int(ends[last - 1])
        first = last


def _clip_maxima(windows: np.ndarray, starts: np.ndarray, counts: np.ndarray, chosen: np.ndarray, maxima: np.ndarray) -> None:
    """Maximum over the chosen windows of each clip. A loop over clips: `reduceat` takes twenty times as long a value.

    Args:
        windows: float32 [n, m].
        starts, counts: first window of each clip, and its number of windows.
        chosen: bool, at least [n], the windows that count.
        maxima: float32 [clips, m], where the result is written. A clip without a chosen window is left as it is.
    """
    for clip, (first, count) in enumerate(zip(starts.tolist(), counts.tolist())):
        places = np.flatnonzero(chosen[first : first + count]) + first
        if len(places):
            whole = len(places) == places[-1] - places[0] + 1
            np.max(windows[places[0] : places[-1] + 1] if whole else windows[places], axis=0, out=maxima[clip])


def _supporting(queries: MotionBlock, block: MotionBlock, sides: str | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Which windows can support a verdict: masks of query windows and of reference windows, bool [P] and [Q].

    A pair of windows counts if some pair of masks holds both.
    """
    open_rows, open_columns = queries.natural == "", block.natural == ""
    rows, columns = queries.natural != "short", block.natural != "short"
    both = [(open_rows, columns), (rows, open_columns)]  # excluded is only a pair of two natural windows
    return {
        None: [(rows, columns)],
        "either": [(open_rows, open_columns)],
        "both": both,
        "query": both[:1],
        "reference": both[1:],
    }[sides]


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
    view = queries.views[index]
    return MotionMatch(queries.clip_ids[index], reference.clip_ids[0], best.score, best.first, best.second, view)


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

"""Exact search of motion: OFS-k of every query clip against every reference clip, one block of references at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .motion import NaturalMotionFilter, allowed_pairs, best_window, natural_windows, normalise_flows, window_scores


@dataclass
class MotionBlock:
    """Flows of some clips, normalised once.

    Attributes:
        clip_ids: their names.
        counts: frame pairs of each.
        fields: float32 [sum of counts, 2 h w], inner products are cosines.
        natural: reason a k-window starting at each pair is natural; '' where it is not, 'short' where the clip
            ends before the window does. str [sum of counts].
    """

    clip_ids: list[str]
    counts: np.ndarray
    fields: np.ndarray
    natural: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """First row of every clip."""
        return np.concatenate([[0], np.cumsum(self.counts)[:-1]]).astype(np.int64) if len(self.counts) else self.counts


def motion_block(clip_ids, counts, flows, features, k: int, cosine: str, rule: NaturalMotionFilter) -> MotionBlock:
    """Prepare the flows of some clips for the search.

    Args:
        clip_ids: names; counts: frame pairs of each.
        flows: float [sum of counts, 2, h, w].
        features: FlowFeatures of the same pairs.
        k: frame pairs in a window.
    """
    reasons = np.full(len(flows), "short", dtype="U8")
    first = 0
    for count in counts:
        windows = max(0, int(count) - k + 1)
        part = type(features)(*[values[first : first + count] for values in vars(features).values()])
        reasons[first : first + windows] = natural_windows(part, k, rule)[:windows]
        first += count
    return MotionBlock(list(clip_ids), np.asarray(counts, np.int64), normalise_flows(flows, cosine), reasons)


@dataclass(frozen=True)
class MotionMatch:
    """Best window pair of two clips; score None with the reason where none may carry a verdict."""

    query: str
    reference: str
    score: float
    query_pair: int
    reference_pair: int


def search_motion(
    queries: MotionBlock, blocks: Iterable[MotionBlock], k: int, pairing: str, sides: Sequence[str | None], top: int
) -> list[list[list[MotionMatch]]]:
    """Top matches of every query clip, best first, with one or more filters from the same cosines.

    Args:
        queries: clips to look up.
        blocks: reference clips, streamed.
        k: frame pairs in a window.
        pairing: 'max' or 'aligned'.
        sides: each that of a natural motion filter; None searches without it.
        top: reference clips kept for each query.

    Returns:
        For each of `sides` one list a query clip; empty where no window may carry a verdict.
    """
    found: list[list[list[MotionMatch]]] = [[[] for _ in queries.clip_ids] for _ in sides]
    for block in blocks:
        if not len(block.fields) or not len(queries.fields):
            continue
        cosines = queries.fields @ block.fields.T
        for side, answers in zip(sides, found):
            _take_best(answers, cosines, queries, block, k, pairing, side, top)
    return found


def _take_best(answers, cosines, queries: MotionBlock, block: MotionBlock, k: int, pairing: str, sides, top: int) -> None:
    """Put the matches of a block that are among the best so far into the answers."""
    scores = clip_scores(cosines, queries, block, k, pairing, sides)
    for index, matches in enumerate(answers):
        kept = [match.score for match in matches[:top]]
        floor = kept[-1] if len(kept) == top else -np.inf
        best = np.argsort(-scores[index], kind="stable")[:top]
        for column in best[scores[index, best] > floor]:
            if np.isfinite(scores[index, column]):
                matches.append(_match(cosines, queries, index, block, int(column), k, pairing, sides))
        matches.sort(key=lambda match: (-match.score, match.reference))
        del matches[top:]


def clip_scores(
    cosines: np.ndarray, queries: MotionBlock, block: MotionBlock, k: int, pairing: str = "max", sides: str | None = None
) -> np.ndarray:
    """OFS-k of all pairs of clips from the cosines of all pairs of fields; -inf where not defined.

    Args:
        cosines: float32 [P, Q].

    Returns:
        float32 [query clips, reference clips].
    """
    windows = np.full(cosines.shape, -np.inf, np.float32)
    inner = window_scores(cosines, k)
    windows[: inner.shape[0], : inner.shape[1]] = inner
    rows, columns = _out(queries, sides, "query"), _out(block, sides, "reference")
    if sides == "both":
        short_rows, short_columns = queries.natural == "short", block.natural == "short"
        windows[np.ix_(rows, columns)] = -np.inf
        rows, columns = short_rows, short_columns
    windows[rows] = -np.inf
    windows[:, columns] = -np.inf
    if pairing == "aligned":
        windows[_places(queries)[:, None] != _places(block)[None, :]] = -np.inf
    filled_rows, filled_columns = queries.counts > 0, block.counts > 0
    result = np.full((len(queries.counts), len(block.counts)), -np.inf, np.float32)
    reduced = np.maximum.reduceat(windows, queries.starts[filled_rows], axis=0)
    reduced = np.maximum.reduceat(reduced, block.starts[filled_columns], axis=1)
    result[np.ix_(filled_rows, filled_columns)] = reduced
    return result


def _out(block: MotionBlock, sides: str | None, side: str) -> np.ndarray:
    filtered = sides in ("either", "both", side)
    return block.natural != "" if filtered else block.natural == "short"


def _places(block: MotionBlock) -> np.ndarray:
    return np.arange(len(block.fields)) - np.repeat(block.starts, block.counts)


def _match(cosines, queries, index: int, block, column: int, k: int, pairing: str, sides: str | None) -> MotionMatch:
    first, second = queries.starts[index], block.starts[column]
    part = cosines[first : first + queries.counts[index], second : second + block.counts[column]]
    scores = window_scores(part, k)
    left = queries.natural[first : first + scores.shape[0]] != ""
    right = block.natural[second : second + scores.shape[1]] != ""
    allowed = None if sides is None else allowed_pairs(left, right, sides)
    best = best_window(scores, pairing, allowed)
    return MotionMatch(queries.clip_ids[index], block.clip_ids[column], best.score, best.first, best.second)


def why_natural(queries: MotionBlock, index: int) -> str:
    """Why a query clip has no window that may carry a verdict: its commonest reason, '' if it has one."""
    first = queries.starts[index]
    reasons = queries.natural[first : first + queries.counts[index]]
    if not len(reasons) or (reasons == "short").all():
        return "short"
    reasons = reasons[reasons != "short"]
    if (reasons == "").any():
        return ""
    names, counts = np.unique(reasons, return_counts=True)
    return str(names[np.argmax(counts)])

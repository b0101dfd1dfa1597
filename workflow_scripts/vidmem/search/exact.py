"""Exact top-k search over descriptors, by frame and by clip.

For each query the search returns the rows of its k best references and their inner products, best first. It holds one block of
references in memory at a time, so memory does not grow with the corpus.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import VidmemError
from ..features.content import relative_times

TILE = 4096  # reference rows multiplied at once: the products of a thousand queries then stay in the processor's cache
CLIP_TILE = 768  # reference rows multiplied at once when clips are searched: each product is read again straight away


class TopK(NamedTuple):
    """The k best references of each of Q queries.

    Attributes:
        scores: float32 [Q, k], descending; -inf if there are fewer than k references.
        rows: int64 [Q, k], rows of the references; -1 if there are fewer than k references.
    """

    scores: np.ndarray
    rows: np.ndarray


def search_exact(queries: np.ndarray, blocks: Iterable[np.ndarray], k: int) -> TopK:
    """Exact top-k inner products over a stream of reference blocks.

    Rows are numbered through all blocks in order. If scores are equal, the lower row wins. The answer therefore does not depend
    on how the references are cut into blocks.

    Args:
        queries: float [Q, d].
        blocks: float16 or float32 [n, d] each.
        k: references wanted for each query, at least 1.

    Raises:
        VidmemError: k below 1, or references of another length than the queries.
    """
    if k < 1:
        raise VidmemError("k >= 1", k, "search_exact")
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    best = _nothing_found(len(queries), k)
    # One buffer for all products: new memory for every block would cost as much time as the products themselves.
    buffer, first = np.empty(len(queries) * TILE, np.float32), 0
    for block in blocks:
        if block.shape[1] != queries.shape[1]:
            raise VidmemError(f"references of length {queries.shape[1]}", block.shape, "search_exact", "mixed presets?")
        for start in range(0, len(block), TILE):
            tile = np.asarray(block[start : start + TILE], dtype=np.float32)
            products = np.matmul(queries, tile.T, out=buffer[: len(queries) * len(tile)].reshape(len(queries), len(tile)))
            best = _merge(best, _top_of_block(products, k, first + start))
        first += len(block)
    return best


def search_clips(queries: np.ndarray, counts: np.ndarray, blocks: Iterable[tuple[np.ndarray, np.ndarray]], k: int) -> TopK:
    """Exact top-k reference clips of every query clip by GSSCD, the largest inner product of a frame of each clip.

    The products of frames are reduced to scores of clips while they are in the processor's cache. The matrix of all frame
    products is never stored.

    Args:
        queries: descriptors of all query clips, concatenated, float [sum(counts), d].
        counts: frames of each query clip, int [Q], at least one.
        blocks: pairs of the descriptors of whole reference clips, float16 or float32 [n, d], and the frames of each clip, int.
        k: reference clips wanted for each query clip, at least 1.

    Returns:
        Scores, and numbers of reference clips as rows, counted through all blocks. If scores are equal, the lower row wins.

    Raises:
        VidmemError: k below 1, a clip without frames, or references of another length than the queries.
    """
    if k < 1:
        raise VidmemError("k >= 1", k, "search_clips")
    best, counts = _nothing_found(len(counts), k), _checked_counts(counts)
    columns = np.ascontiguousarray(np.asarray(queries, dtype=np.float32).T)
    first, buffer = 0, np.empty(0, np.float32)
    for vectors, frames in blocks:
        if vectors.shape[1] != len(columns):
            raise VidmemError(f"references of length {len(columns)}", vectors.shape, "search_clips", "mixed presets?")
        frames = _checked_counts(frames)
        maxima, edges, at = [], np.r_[0, np.cumsum(frames)], 0
        while len(counts) and at < len(frames):
            end = max(at + 1, int(np.searchsorted(edges, edges[at] + CLIP_TILE, side="right")) - 1)
            tile = np.asarray(vectors[edges[at] : edges[end]], dtype=np.float32)
            if buffer.size < len(tile) * columns.shape[1]:
                buffer = np.empty(len(tile) * columns.shape[1], np.float32)
            products = np.matmul(tile, columns, out=buffer[: len(tile) * columns.shape[1]].reshape(len(tile), -1))
            by_reference = _largest_of_runs(products, frames[at:end])
            maxima.append(_largest_of_runs(np.ascontiguousarray(by_reference.T), counts))
            at = end
        if maxima:
            best = _merge(best, _top_of_block(np.concatenate(maxima, axis=1), k, first))
        first += len(frames)
    return best


def _checked_counts(counts: np.ndarray) -> np.ndarray:
    """Numbers of frames as int64. Raise VidmemError for a clip without frames."""
    counts = np.asarray(counts, dtype=np.int64)
    if len(counts) and counts.min() < 1:
        raise VidmemError("clips with at least one frame", int(counts.min()), "search_clips")
    return counts


def _largest_of_runs(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Largest value in each column for each run of rows: [sum(lengths), m] to [len(lengths), m]."""
    if len(lengths) and lengths.min() == lengths.max():  # true for most corpora; about twenty times faster than reduceat
        return values.reshape(len(lengths), lengths[0], -1).max(axis=1)
    return np.maximum.reduceat(values, np.cumsum(lengths) - lengths, axis=0)


def _nothing_found(queries: int, k: int) -> TopK:
    return TopK(np.full((queries, k), -np.inf, np.float32), np.full((queries, k), -1, np.int64))


def _top_of_block(products: np.ndarray, k: int, first: int) -> TopK:
    """Top-k of the columns of one block, whose first column is row `first` of the stream; not sorted."""
    k = min(k, products.shape[1])
    if k == 1:
        rows = products.argmax(axis=1)[:, None] if products.shape[1] else np.zeros((len(products), 0), int)
    elif k < products.shape[1]:
        rows = _partition_stable(products, k)
    else:
        rows = np.broadcast_to(np.arange(k), (len(products), k))
    return TopK(np.take_along_axis(products, rows, axis=1), rows + first)


def _partition_stable(products: np.ndarray, k: int) -> np.ndarray:
    """Columns of the k largest values in each row. If several values equal the k-th largest, the lowest columns are taken."""
    rows = np.argpartition(products, -k, axis=1)[:, -k:]
    cut = np.take_along_axis(products, rows, axis=1).min(axis=1, keepdims=True)
    tied = np.flatnonzero((products == cut).sum(axis=1) > (np.take_along_axis(products, rows, axis=1) == cut).sum(axis=1))
    for row in tied:
        rows[row] = np.argsort(-products[row], kind="stable")[:k]
    return rows


def _merge(old: TopK, new: TopK) -> TopK:
    """The best of two answers, as many as `old` has."""
    k = old.scores.shape[1]
    scores = np.concatenate([old.scores, new.scores], axis=1)
    rows = np.concatenate([old.rows, new.rows], axis=1)
    order = np.lexsort((rows, -scores), axis=1)[:, :k]
    return TopK(np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1))


def search_aligned(queries: Sequence[np.ndarray], references: Sequence[np.ndarray], k: int, block: int = 2048) -> TopK:
    """Exact top-k reference clips of every query clip by VSSCD, the mean cosine of frames at equal relative times.

    For clips of two given lengths, VSSCD is the inner product of their concatenated descriptors at those times. All clips of
    one length are therefore searched at once.

    Args:
        queries, references: descriptors of each clip, float [T, d], unit norm, at least one frame. Memory-mapped clips are read
            one block at a time.
        k: reference clips wanted for each query clip, at least 1.
        block: reference clips in memory at once.

    Returns:
        Rows are places in `references`. Scores equal vsscd of each pair, but for rounding.
    """
    best = _nothing_found(len(queries), k)
    for mine in _places_by_length(queries).values():
        for theirs in _places_by_length(references).values():
            times, other = len(queries[mine[0]]), len(references[theirs[0]])
            length = min(times, other)
            vectors = _under_each_other(queries, mine, relative_times(times, length))
            places, frames = [theirs[at : at + block] for at in range(0, len(theirs), block)], relative_times(other, length)
            answer = search_exact(vectors, (_under_each_other(references, part, frames) for part in places), k)
            rows = np.where(answer.rows < 0, -1, theirs[answer.rows])
            merged = merge_topk([TopK(best.scores[mine], best.rows[mine]), TopK(answer.scores, rows)], k)
            best.scores[mine], best.rows[mine] = merged
    return best


def _places_by_length(clips: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
    """Number of frames -> places in `clips` of the clips that have as many."""
    lengths = np.array([len(clip) for clip in clips], dtype=int)
    return {int(length): np.flatnonzero(lengths == length) for length in np.unique(lengths)}


def _under_each_other(clips: Sequence[np.ndarray], places: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Chosen frames of each chosen clip as one vector of unit norm: float32 [len(places), len(frames) * d]."""
    vectors = np.stack([np.asarray(clips[place])[frames].ravel() for place in places]).astype(np.float32)
    return vectors / np.float32(np.sqrt(len(frames)))


def merge_topk(parts: Iterable[TopK], k: int) -> TopK:
    """Merge answers to the same queries from different references. Rows must be numbered through all references already."""
    parts = list(parts)
    best = _nothing_found(len(parts[0].scores), k)
    for part in parts:
        best = _merge(best, part)
    return best


def stream_blocks(arrays: Iterable[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    """Cut memory-mapped arrays into blocks of at most `rows` rows, and read them one at a time."""
    for array in arrays:
        for first in range(0, len(array), rows):
            yield np.asarray(array[first : first + rows])

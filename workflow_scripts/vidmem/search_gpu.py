"""Exact search of clips on a GPU: products in bfloat16 choose, products in float32 decide, a bound proves that none is lost.

A clip that was not chosen could only belong among the best if its rounded score comes within BOUND of theirs. Where the clips
that were chosen do not rule this out, the block is multiplied again in float32 for the queries in doubt.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from .errors import VidmemError
from .search import TopK, merge_topk

# Sums of a product must be kept in float32, or BOUND does not hold; the same of products that are to be exact.
torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
torch.backends.cuda.matmul.allow_tf32 = False

BOUND = 2.0**-6
"""Most that a product of unit vectors is wrong by in bfloat16: both factors rounded by 2^-8 of themselves, which is 2^-7 of
a sum of at most 1 (Cauchy-Schwarz), the result by 2^-8, and as much again for descriptors whose norm in float16 is not
quite 1."""
CHOSEN = 32
"""Clips of a block, beyond those wanted, that are multiplied in float32."""
QUERY_ROWS = 4096
"""Query rows multiplied at once: with blocks of 131,072 reference rows the products take 1 GiB."""
ROWS = 131072
"""Reference rows multiplied at once at least."""
GATHERED = 2**28
"""Values of chosen clips in memory at once: 1 GiB of float32."""


def search_clips_gpu(
    queries: np.ndarray,
    counts: np.ndarray,
    blocks: Iterable[tuple[np.ndarray | torch.Tensor, np.ndarray]],
    k: int,
    device: str = "cuda",
) -> TopK:
    """Exact top-k reference clips of every query clip by GSSCD; the same as vidmem.search.search_clips.

    Args:
        queries: descriptors of unit norm, float [sum(counts), d]; counts: frames of each query clip, at least one.
        blocks: (descriptors of whole reference clips, float16 or float32 [n, d], on the device or not; frames of each).
        k: at least 1.
        device: of torch.
    """
    if k < 1:
        raise VidmemError("k >= 1", k, "search_clips_gpu")
    counts = np.asarray(counts, np.int64)
    tiles = [(clips, _Clips.of(queries, counts, clips, device)) for clips in _tiles(counts)]
    found = [
        TopK(np.full((len(asked.counts), k), -np.inf, np.float32), np.full((len(asked.counts), k), -1)) for _, asked in tiles
    ]
    first = 0
    for vectors, frames in blocks:
        given = vectors if isinstance(vectors, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(vectors))
        references = _Clips(given.to(device).float(), np.asarray(frames, np.int64))
        if len(references.counts):
            for place, (_, asked) in enumerate(tiles):
                found[place] = merge_topk([found[place], _best_of_block(asked, references, k, found[place], first)], k)
        first += len(frames)
    whole = (
        [np.concatenate(part) for part in zip(*found)] if found else [np.zeros((0, k), np.float32), np.zeros((0, k), np.int64)]
    )
    return TopK(*whole)


def _tiles(counts: np.ndarray) -> list[slice]:
    """Runs of clips of about QUERY_ROWS rows."""
    edges, places = np.r_[0, np.cumsum(counts)], [0]
    while places[-1] < len(counts):
        end = int(np.searchsorted(edges, edges[places[-1]] + QUERY_ROWS, side="right")) - 1
        places.append(max(places[-1] + 1, end))
    return [slice(first, last) for first, last in zip(places, places[1:])]


class _Clips:
    """Descriptors of clips under each other on a device, float32 [n, d], and the frames of each."""

    def __init__(self, vectors: torch.Tensor, counts: np.ndarray):
        self.vectors, self.counts, self.half = vectors, counts, vectors.bfloat16()
        self.starts = np.cumsum(counts) - counts
        self.even = len(counts) > 0 and bool((counts == counts[0]).all())

    @classmethod
    def of(cls, vectors: np.ndarray, counts: np.ndarray, clips: slice, device: str) -> _Clips:
        edges = np.r_[0, np.cumsum(counts)]
        part = np.ascontiguousarray(vectors[edges[clips.start] : edges[clips.stop]], dtype=np.float32)
        return cls(torch.from_numpy(part).to(device), counts[clips])

    def largest(self, values: torch.Tensor) -> torch.Tensor:
        """Largest values of the rows of every clip: [n, m] to [clips, m]."""
        if self.even:
            return values.unflatten(0, (len(self.counts), int(self.counts[0]))).amax(1)
        owners = torch.from_numpy(np.repeat(np.arange(len(self.counts)), self.counts)).to(values.device)
        empty = values.new_full((len(self.counts), values.shape[1]), -torch.inf)
        return empty.index_reduce_(0, owners, values, "amax")

    def padded(self, clips: torch.Tensor) -> torch.Tensor:
        """Descriptors of some clips, float32 [..., longest, d]; the first frame again where a clip is shorter."""
        starts, counts = (torch.from_numpy(part).to(clips.device)[clips] for part in (self.starts, self.counts))
        frames = torch.arange(int(self.counts.max()), device=clips.device)
        rows = starts[..., None] + torch.where(frames < counts[..., None], frames, 0)
        return self.vectors[rows]


def _scores(asked: _Clips, references: _Clips, half: bool) -> torch.Tensor:
    """GSSCD of all pairs, [query clips, reference clips]."""
    first, second = (asked.half, references.half) if half else (asked.vectors, references.vectors)
    return asked.largest(references.largest(second @ first.T).T.contiguous()).float()


def _best_of_block(asked: _Clips, references: _Clips, k: int, best: TopK, first: int) -> TopK:
    rounded = _scores(asked, references, half=True)
    chosen = rounded.topk(min(k + CHOSEN, rounded.shape[1]), dim=1)
    exact = _exact_scores(asked, references, chosen.indices)
    answer = _answer(exact, chosen.indices, k, first)
    floor = merge_topk([best, answer], k).scores[:, -1]
    doubtful = chosen.values[:, -1].cpu().numpy() + BOUND >= floor
    if rounded.shape[1] > k + CHOSEN and doubtful.any():
        places = np.flatnonzero(doubtful)
        again = _scores(_only(asked, places), references, half=False)
        top = again.topk(min(k + CHOSEN, again.shape[1]), dim=1)
        answer.scores[places], answer.rows[places] = _answer(top.values, top.indices, k, first)
    return answer


def _only(clips: _Clips, places: np.ndarray) -> _Clips:
    rows = np.concatenate([np.arange(clips.starts[place], clips.starts[place] + clips.counts[place]) for place in places])
    return _Clips(clips.vectors[torch.from_numpy(rows).to(clips.vectors.device)], clips.counts[places])


def _exact_scores(asked: _Clips, references: _Clips, chosen: torch.Tensor) -> torch.Tensor:
    """GSSCD in float32 of every query clip and its chosen references, [query clips, chosen]."""
    queries = asked.padded(torch.arange(len(asked.counts), device=chosen.device))
    values = chosen.shape[1] * int(references.counts.max()) * queries.shape[-1]
    parts = []
    for first in range(0, len(queries), max(1, GATHERED // values)):
        part = slice(first, first + max(1, GATHERED // values))
        frames = references.padded(chosen[part]).flatten(1, 2)
        products = torch.bmm(queries[part], frames.transpose(1, 2)).amax(1)
        parts.append(products.unflatten(1, (chosen.shape[1], -1)).amax(2))
    return torch.cat(parts)


def _answer(scores: torch.Tensor, rows: torch.Tensor, k: int, first: int) -> TopK:
    values, places = scores.float().cpu().numpy(), rows.cpu().numpy() + first
    order = np.lexsort((places, -values), axis=1)[:, :k]
    found = TopK(np.take_along_axis(values, order, axis=1), np.take_along_axis(places, order, axis=1))
    missing = k - found.scores.shape[1]
    if missing <= 0:
        return found
    return TopK(
        np.pad(found.scores, ((0, 0), (0, missing)), constant_values=-np.inf),
        np.pad(found.rows, ((0, 0), (0, missing)), constant_values=-1),
    )

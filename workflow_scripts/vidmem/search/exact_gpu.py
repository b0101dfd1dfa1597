"""Exact search of clips on a GPU: products in bfloat16 choose clips, products in float32 score them, and a bound proves the
result.

The bound: a clip that was not chosen can only be among the best if its rounded score, plus BOUND, reaches their lowest score.
If this cannot be ruled out for a query, the whole block is multiplied again in float32 for that query.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from ..errors import VidmemError
from .exact import TopK, merge_topk

# Sums of products must be kept in float32, or BOUND does not hold and the exact products are not exact.
torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
torch.backends.cuda.matmul.allow_tf32 = False

BOUND = 2.0**-6
"""Largest error of an inner product of unit vectors in bfloat16. Both factors are rounded by at most 2^-8 of themselves.
Together that is 2^-7 of a sum that is at most 1 (Cauchy-Schwarz). The result is rounded by 2^-8. Another 2^-8 allows for
descriptors whose norm in float16 is not exactly 1."""
CHOSEN = 32
"""Clips of a block that are multiplied in float32 for each query, beyond the number wanted."""
QUERY_ROWS = 4096
"""Query rows multiplied at once: with blocks of 131,072 reference rows the products take 1 GiB."""
ROWS = 131072
"""Smallest number of reference rows that are multiplied at once."""
GATHERED = 2**28
"""Values of chosen clips in memory at once: 1 GiB of float32."""


def search_clips_gpu(
    queries: np.ndarray,
    counts: np.ndarray,
    blocks: Iterable[tuple[np.ndarray | torch.Tensor, np.ndarray]],
    k: int,
    device: str = "cuda",
) -> TopK:
    """Exact top-k reference clips of every query clip by GSSCD, with the results of exact.search_clips.

    Args:
        queries: descriptors of all query clips, concatenated, of unit norm, float [sum(counts), d].
        counts: frames of each query clip, int [Q], at least one.
        blocks: pairs of the descriptors of whole reference clips, float16 or float32 [n, d], on the device or not, and the
            frames of each clip, int.
        k: reference clips wanted for each query clip, at least 1.
        device: torch device.

    Raises:
        VidmemError: k below 1.
    """
    if k < 1:
        raise VidmemError("k >= 1", k, "search_clips_gpu")
    counts = np.asarray(counts, np.int64)
    tiles = [(clips, DeviceClips.of(queries, counts, clips, device)) for clips in _tiles(counts)]
    found = [
        TopK(np.full((len(asked.counts), k), -np.inf, np.float32), np.full((len(asked.counts), k), -1)) for _, asked in tiles
    ]
    first = 0
    for vectors, frames in blocks:
        given = vectors if isinstance(vectors, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(vectors))
        references = DeviceClips(given.to(device).float(), np.asarray(frames, np.int64))
        if len(references.counts):
            for place, (_, asked) in enumerate(tiles):
                found[place] = merge_topk([found[place], _best_of_block(asked, references, k, found[place], first)], k)
        first += len(frames)
    whole = (
        [np.concatenate(part) for part in zip(*found)] if found else [np.zeros((0, k), np.float32), np.zeros((0, k), np.int64)]
    )
    return TopK(*whole)


def _tiles(counts: np.ndarray) -> list[slice]:
    """Runs of consecutive clips that have at most QUERY_ROWS rows together. A longer clip is a run of its own."""
    edges, places = np.r_[0, np.cumsum(counts)], [0]
    while places[-1] < len(counts):
        end = int(np.searchsorted(edges, edges[places[-1]] + QUERY_ROWS, side="right")) - 1
        places.append(max(places[-1] + 1, end))
    return [slice(first, last) for first, last in zip(places, places[1:])]


class DeviceClips:
    """Descriptors of some clips on a device.

    Args:
        vectors: descriptors, concatenated, float32 [n, d].
        counts: frames of each clip, int.
    """

    def __init__(self, vectors: torch.Tensor, counts: np.ndarray):
        self.vectors, self.counts, self.half = vectors, counts, vectors.bfloat16()
        self.starts = np.cumsum(counts) - counts
        self.even = len(counts) > 0 and bool((counts == counts[0]).all())

    @classmethod
    def of(cls, vectors: np.ndarray, counts: np.ndarray, clips: slice, device: str) -> DeviceClips:
        """Move a run of consecutive clips to a device."""
        edges = np.r_[0, np.cumsum(counts)]
        part = np.ascontiguousarray(vectors[edges[clips.start] : edges[clips.stop]], dtype=np.float32)
        return cls(torch.from_numpy(part).to(device), counts[clips])

    def largest(self, values: torch.Tensor) -> torch.Tensor:
        """Largest value in each column over the rows of each clip: [n, m] to [clips, m]."""
        if self.even:
            return values.unflatten(0, (len(self.counts), int(self.counts[0]))).amax(1)
        owners = torch.from_numpy(np.repeat(np.arange(len(self.counts)), self.counts)).to(values.device)
        empty = values.new_full((len(self.counts), values.shape[1]), -torch.inf)
        return empty.index_reduce_(0, owners, values, "amax")

    def padded(self, clips: torch.Tensor) -> torch.Tensor:
        """Descriptors of some clips, float32 [..., longest, d]. A shorter clip is filled up with its first frame."""
        starts, counts = (torch.from_numpy(part).to(clips.device)[clips] for part in (self.starts, self.counts))
        frames = torch.arange(int(self.counts.max()), device=clips.device)
        rows = starts[..., None] + torch.where(frames < counts[..., None], frames, 0)
        return self.vectors[rows]


def pair_scores(asked: DeviceClips, references: DeviceClips, half: bool) -> torch.Tensor:
    """GSSCD of all pairs of clips, [query clips, reference clips], from products in bfloat16 (`half`) or in float32."""
    first, second = (asked.half, references.half) if half else (asked.vectors, references.vectors)
    return asked.largest(references.largest(second @ first.T).T.contiguous()).float()


def _best_of_block(asked: DeviceClips, references: DeviceClips, k: int, best: TopK, first: int) -> TopK:
    """Top-k of the clips of one block, whose first clip has the number `first`; `best` is the top-k of the blocks before."""
    rounded = pair_scores(asked, references, half=True)
    chosen = rounded.topk(min(k + CHOSEN, rounded.shape[1]), dim=1)
    exact = _exact_scores(asked, references, chosen.indices)
    answer = _answer(exact, chosen.indices, k, first)
    floor = merge_topk([best, answer], k).scores[:, -1]
    doubtful = chosen.values[:, -1].cpu().numpy() + BOUND >= floor
    if rounded.shape[1] > k + CHOSEN and doubtful.any():
        places = np.flatnonzero(doubtful)
        again = pair_scores(_only(asked, places), references, half=False)
        top = again.topk(min(k + CHOSEN, again.shape[1]), dim=1)
        answer.scores[places], answer.rows[places] = _answer(top.values, top.indices, k, first)
    return answer


def _only(clips: DeviceClips, places: np.ndarray) -> DeviceClips:
    rows = np.concatenate([np.arange(clips.starts[place], clips.starts[place] + clips.counts[place]) for place in places])
    return DeviceClips(clips.vectors[torch.from_numpy(rows).to(clips.vectors.device)], clips.counts[places])


def _exact_scores(asked: DeviceClips, references: DeviceClips, chosen: torch.Tensor) -> torch.Tensor:
    """GSSCD in float32 of every query clip and the references chosen for it, [query clips, chosen]."""
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
    """The k best of some scores in the order of TopK, filled up with -inf and -1; `first` is added to the rows."""
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

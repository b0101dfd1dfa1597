"""Search through a FAISS index: candidates of clips, and how many of the right ones it finds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from . import matching
from .errors import VidmemError
from .faiss_index import rescored, sample_ids, search_index, shards_and_rows, vector_ids
from .features import ClipFeatures, reference_rows
from .motion_search import MotionBlock
from .references import Candidates, ReferenceShards, no_candidates
from .search import TopK
from .seeding import seed_of
from .statistics import share_interval
from .windows import windows_of

SAME = 1e-5
"""Scores that differ by less are the same: products of a block and of a pair round otherwise."""


def content_vectors(
    features: ClipFeatures, clip_ids: Sequence[str], number: int, block: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Descriptors of some clips of one shard and their identities, at most so many at a time.

    Args:
        features: of the shard; number: of the shard among all of the corpus.
    """
    rows = reference_rows(features, clip_ids)
    for first in range(0, len(rows), block):
        part = rows[first : first + block]
        yield np.asarray(features.arrays[0][part]), vector_ids(number, part)


def stored_vectors(references: ReferenceShards, ids: np.ndarray) -> np.ndarray:
    """Stored descriptors of some identities, float32 [n, d]."""
    shards, rows = shards_and_rows(ids)
    vectors = np.zeros((len(ids), references.array(0).shape[1]), np.float32)
    for shard in np.unique(shards):
        here = shards == shard
        vectors[here] = references.array(int(shard))[rows[here]]
    return vectors


def motion_vectors(
    features: ClipFeatures, clip_ids: Sequence[str], number: int, motion: dict, grid: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Windows of flow of some clips of one shard and their identities: shard and first frame pair.

    Args:
        features: of the shard; number: of the shard among all of the corpus.
        motion: k, cosine, filter; grid: that is searched on.
    """
    for block in matching.motion_blocks(features, clip_ids, motion, grid):
        windows = windows_of(block, motion["k"])
        first = np.array([features.spans.get(name, (0, 0, 0))[1] for name in block.clip_ids], np.int64)
        yield windows.vectors, vector_ids(number, first[windows.owners] + windows.places)


def content_sample(references: ReferenceShards, most: int, seed: int) -> np.ndarray:
    """Descriptors that an index is trained on, the same in the same order in however many shards they are, float32 [n, d]."""
    return stored_vectors(references, sample_ids((_frames_of(references, n, seed) for n in range(len(references))), most))


def _frames_of(references: ReferenceShards, number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What the frames of a shard's references are, by clip and place in it, and their vector_ids."""
    features, names = references.shard(number), references.names(number)
    spans = sorted((*features.spans[name][1:], name) for name in names)  # as reference_rows has them
    identities = [
        np.uint64(seed_of("index", seed, name)) + np.arange(last - first, dtype=np.uint64) for first, last, name in spans
    ]
    return np.concatenate([np.zeros(0, np.uint64), *identities]), vector_ids(number, reference_rows(features, names))


def motion_sample(references: ReferenceShards, most: int, seed: int, motion: dict, grid: int) -> np.ndarray:
    """Windows of flow that an index is trained on: those of whole clips, drawn until there are enough, float32 [n, d].

    The same in the same order in however many shards they are. No more clips are held than windows are wanted.
    """
    numbers = range(len(references))
    shards, first = shards_and_rows(sample_ids((_clips_of(references, n, seed, motion["k"]) for n in numbers), most))
    windows = [np.zeros((0, 1), np.float32)] * len(shards)
    lengths = np.zeros(len(shards), np.int64)
    for number in np.unique(shards):
        here = np.flatnonzero(shards == number)
        lengths[here] = _windows_at(references, int(number), motion["k"])[first[here]]
    enough = int(np.searchsorted(np.cumsum(lengths), most)) + 1
    for number in np.unique(shards[:enough]):
        features, owners = references.shard(int(number)), references.owners(int(number))
        for place in np.flatnonzero(shards[:enough] == number):
            name = [owners[first[place]]]
            windows[place] = np.concatenate([part for part, _ in motion_vectors(features, name, int(number), motion, grid)])
    return np.concatenate(windows[:enough])[:most].copy() if len(shards) else np.zeros((0, 1), np.float32)


def _clips_of(references: ReferenceShards, number: int, seed: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """What the references of a shard with a window are, and the vector_ids of their first frame pairs."""
    spans = references.shard(number).spans
    long = [(name, spans[name][1]) for name in references.names(number) if spans[name][2] - spans[name][1] >= k]
    seeds = np.array([seed_of("index", seed, name) for name, _ in long], np.uint64)
    return seeds, vector_ids(number, np.array([first for _, first in long], np.int64))


def _windows_at(references: ReferenceShards, number: int, k: int) -> np.ndarray:
    """Windows of the clip that begins at a row of a shard, int64 [rows]; 0 where none begins."""
    features = references.shard(number)
    counts = np.zeros(len(features.rows), np.int64)
    for _, first, last in features.spans.values():
        counts[first] = max(0, last - first - k + 1)
    return counts


def content_candidates(
    index, queries: ClipFeatures, names: Sequence[str], references: ReferenceShards, search: dict, top: int, batch: int = 256
) -> Candidates:
    """Reference clips of query clips by GSSCD through an index; its candidates are ranked by their exact products.

    Args:
        search: candidates, how many of every frame; top: wanted of a clip, some more are kept.
        batch: query clips at once.
    """
    parts = []
    for first in range(0, len(names), batch):
        vectors, counts = queries.select(names[first : first + batch])
        found = rescored(vectors, search_index(index, vectors, search["candidates"]), references.array)
        parts.append(best_clips(found, counts, references, top + matching.SPARE))
    return _under_each_other(parts, top + matching.SPARE)


def motion_candidates(index, queries: MotionBlock, references: ReferenceShards, motion: dict, search: dict) -> Candidates:
    """Reference clips of query clips by OFS-k through an index of windows on a coarser grid, by the index's own score.

    Args:
        queries: on the grid of the index.
    """
    windows = windows_of(queries, motion["k"])
    found = search_index(index, windows.vectors, search["candidates"])
    counts = np.bincount(windows.owners, minlength=len(queries.clip_ids))
    return best_clips(found, counts, references, search["candidates"])


def best_clips(found: TopK, counts: np.ndarray, references: ReferenceShards, k: int) -> Candidates:
    """The best clips of every query clip from what was found for its frames or windows.

    Args:
        found: scores and vector_ids [sum(counts), candidates]; counts: rows of every query clip.
    """
    shards, rows = shards_and_rows(found.rows)
    names = np.full(found.rows.shape, "", dtype=object)
    for shard in np.unique(shards[shards >= 0]):
        here = shards == shard
        names[here] = references.owners(int(shard))[rows[here]]
    asked = np.repeat(np.arange(len(counts)), counts)
    table = pd.DataFrame({"query": np.repeat(asked, found.rows.shape[1]), "name": names.ravel(), "score": found.scores.ravel()})
    best = table[table["name"] != ""].groupby(["query", "name"], sort=True)["score"].max().reset_index()
    best = best.sort_values(["query", "score", "name"], ascending=[True, False, True]).groupby("query").head(k)
    place = best.groupby("query").cumcount().to_numpy()
    answer = no_candidates(len(counts), k)
    wide = answer.names.astype(f"U{max([1, *best['name'].str.len()])}")
    answer.scores[best["query"], place], wide[best["query"], place] = best["score"], best["name"]
    return Candidates(answer.scores, wide)


def _under_each_other(parts: list[Candidates], k: int) -> Candidates:
    return Candidates(*(np.concatenate(values) for values in zip(*parts))) if parts else no_candidates(0, k)


@dataclass(frozen=True)
class Recall:
    """What an index finds of what there is.

    Attributes:
        at_1: share of queries whose best score it reaches; at_threshold: of those that reach the threshold exactly, the share
            that do so through the index. Dictionaries n, found, share, low, high; share None of none.
        threshold: of the decision.
    """

    at_1: dict
    at_threshold: dict
    threshold: float

    def text(self) -> str:
        """For the column `search` of a table.

        >>> Recall({"n": 4, "found": 4, "share": 1.0}, {"n": 0, "found": 0, "share": None}, 0.5).text()
        'recall at 1 1 of 4, at 0.5 none of the sample'
        """
        share = (
            "none of the sample"
            if not self.at_threshold["n"]
            else f"{self.at_threshold['share']:.4g} of {self.at_threshold['n']}"
        )
        return f"recall at 1 {self.at_1['share']:.4g} of {self.at_1['n']}, at {self.threshold:.4g} {share}"


def measured_recall(exact: np.ndarray, found: np.ndarray, threshold: float, level: float) -> Recall:
    """Recall of an index from the best scores of some query clips.

    Args:
        exact, found: float [n], -inf or NaN where there is none.
        threshold: of the decision; level: of the intervals (Wilson).

    Raises:
        VidmemError: no query with a score.
    """
    exact, found = (np.nan_to_num(np.asarray(values, float), nan=-np.inf) for values in (exact, found))
    known = np.isfinite(exact)
    if not known.any():
        raise VidmemError("queries with a match to find", "none", "recall certificate", "generate clips, or use method: exact")
    above = known & (exact >= threshold)
    return Recall(
        _share(found[known] >= exact[known] - SAME, level), _share(found[above] >= threshold - SAME, level), float(threshold)
    )


def _share(hits: np.ndarray, level: float) -> dict:
    if not len(hits):
        return {"n": 0, "found": 0, "share": None, "low": None, "high": None}
    interval = share_interval(int(hits.sum()), len(hits), level, "wilson")
    return {"n": len(hits), "found": int(hits.sum()), "share": interval.value, "low": interval.low, "high": interval.high}


def check_recall(recall: Recall, least: float, where: str) -> None:
    """Stop a run whose index finds too little.

    Raises:
        VidmemError: a measured recall below the least.
    """
    for name, measured in (("recall at 1", recall.at_1), ("recall at the threshold", recall.at_threshold)):
        if measured["n"] and measured["share"] < least:
            got = f"{name} {measured['share']:.4f} ({measured['found']} of {measured['n']} sampled queries)"
            hint = "raise nprobe in search.parameters or search.candidates, choose a finer index, or use method: exact"
            raise VidmemError(f"at least {least:g} (search.certificate.recall)", got, where, hint)


def sampled_queries(names: Sequence[tuple[str, str]], most: int, seed: int) -> list[tuple[str, str]]:
    """At most so many of the queries, whatever their order: set and clip id, sorted."""
    return sorted(sorted(names, key=lambda one: (seed_of("certificate", seed, *one), one))[:most])

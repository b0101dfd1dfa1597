"""Search through a FAISS index: the vectors it holds, the candidates it finds, and its recall."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..base.seeding import seed_of
from ..errors import VidmemError
from ..features.background import GRID
from ..features.clip_features import ClipFeatures, reference_rows
from ..features.motion_rule import MotionRule
from ..features.statistics import share_interval
from .exact import TopK
from .exact_motion import MotionBlock, windows_of
from .faiss_index import open_for_search, rescored, sample_ids, search_index, shards_and_rows, vector_ids
from .matches import SPARE, motion_blocks
from .references import Candidates, ReferenceShards, no_candidates

if TYPE_CHECKING:
    import faiss

SAME = 1e-5
"""Scores that differ by less count as equal, because the product of a block and the product of a pair round differently."""


@dataclass(frozen=True)
class CertifiedIndex:
    """An opened index, and the text on its recall that goes to the column `search` of a table of matches."""

    index: faiss.Index
    words: str

    @classmethod
    def open(cls, index: Sequence[str], certificate: Sequence[str], search: dict, threads: int) -> CertifiedIndex | None:
        """Open the index that a search goes through. Return None if the configuration asks for an exact scan.

        Args:
            index: file of the index and file of its lists; empty for an exact scan.
            certificate: file of the certificate; empty for an exact scan.
            search: section `search` of the configuration.
            threads: CPU threads.
        """
        if not index:
            return None
        import faiss

        faiss.omp_set_num_threads(threads)
        text = json.loads(Path(certificate[0]).read_text(encoding="utf-8"))["text"]
        return cls(open_for_search(index[0], search["parameters"]), f"index {search['index']}: {text}")


def content_vectors(
    features: ClipFeatures, clip_ids: Sequence[str], number: int, block: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Descriptors of some clips of one shard, and their identities, at most `block` at a time.

    Args:
        features: features of the shard.
        number: number of the shard in the corpus.
    """
    rows = reference_rows(features, clip_ids)
    for first in range(0, len(rows), block):
        taken = rows[first : first + block]
        yield np.asarray(features.arrays[0][taken]), vector_ids(number, taken)


def indexed_frames(references: ReferenceShards) -> tuple[np.ndarray, np.ndarray]:
    """All frames of the references: the clip id of each, object [n], and its identity in an index, int64 [n], ascending."""
    owners, ids = [], []
    for number in range(len(references)):
        rows = reference_rows(references.shard(number), references.names(number))
        owners.append(references.owners(number)[rows])
        ids.append(vector_ids(number, rows))
    return np.concatenate(owners), np.concatenate(ids)


def frame_blocks(references: ReferenceShards, block: int) -> Iterator[np.ndarray]:
    """Descriptors of the frames of indexed_frames, in the order of that list, at most `block` at a time: float [m, d]."""
    for number in range(len(references)):
        for vectors, _ in content_vectors(references.shard(number), references.names(number), number, block):
            yield vectors


def stored_vectors(references: ReferenceShards, ids: np.ndarray) -> np.ndarray:
    """Stored descriptors that have some identities, float32 [n, d]."""
    shards, rows = shards_and_rows(ids)
    vectors = np.zeros((len(ids), references.array(0).shape[1]), np.float32)
    for shard in np.unique(shards):
        here = shards == shard
        vectors[here] = references.array(int(shard))[rows[here]]
    return vectors


def index_grid(rule: MotionRule | None, search: dict) -> int:
    """Side of the grid of the windows in an index of motion. Fields that are whitened are pooled already.

    Args:
        rule: the rule of motion; None for an index of content.
        search: section `search` of the configuration.
    """
    return search["motion_grid"] if rule is None or rule.weights is None else GRID


def indexed_kind(rule: MotionRule | None) -> str:
    """Kind of the features that an index holds; see vidmem.base.shards.LISTED.

    Args:
        rule: the rule of motion; None for an index of content.
    """
    return "content" if rule is None else rule.features


def motion_vectors(
    features: ClipFeatures, clip_ids: Sequence[str], number: int, rule: MotionRule, grid: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Flow windows of some clips of one shard, and their identities, which state the shard and the row of the first frame pair.

    Args:
        features: features of the shard.
        number: number of the shard in the corpus.
        grid: side of the grid that is searched on.
    """
    for block in motion_blocks(features, clip_ids, rule, grid):
        windows = windows_of(block, rule.k)
        first = np.array([features.spans.get(name, (0, 0, 0))[1] for name in block.clip_ids], np.int64)
        yield windows.vectors, vector_ids(number, first[windows.owners] + windows.places)


def content_sample(references: ReferenceShards, most: int, seed: int) -> np.ndarray:
    """Descriptors that an index is trained on, float32 [n, d]. The sample does not depend on how the corpus is cut into shards.

    Args:
        most: largest size of the sample.
    """
    return stored_vectors(references, sample_ids((_frames_of(references, n, seed) for n in range(len(references))), most))


def _frames_of(references: ReferenceShards, number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """For each frame of the references of a shard, an integer made of its clip and its place in the clip, and its identity."""
    features, names = references.shard(number), references.names(number)
    spans = sorted((*features.spans[name][1:], name) for name in names)  # in the order of reference_rows
    identities = [
        np.uint64(seed_of("index", seed, name)) + np.arange(last - first, dtype=np.uint64) for first, last, name in spans
    ]
    return np.concatenate([np.zeros(0, np.uint64), *identities]), vector_ids(number, reference_rows(features, names))


def motion_sample(references: ReferenceShards, most: int, seed: int, rule: MotionRule, grid: int) -> np.ndarray:
    """Flow windows that an index is trained on, float32 [n, d]: all windows of sampled clips, until there are `most`.

    The sample does not depend on how the corpus is cut into shards. Memory never holds more clips than windows are wanted.
    """
    numbers = range(len(references))
    shards, first = shards_and_rows(sample_ids((_clips_of(references, n, seed, rule.k) for n in numbers), most))
    windows = [np.zeros((0, 1), np.float32)] * len(shards)
    lengths = np.zeros(len(shards), np.int64)
    for number in np.unique(shards):
        here = np.flatnonzero(shards == number)
        lengths[here] = _windows_at(references, int(number), rule.k)[first[here]]
    enough = int(np.searchsorted(np.cumsum(lengths), most)) + 1
    for number in np.unique(shards[:enough]):
        features, owners = references.shard(int(number)), references.owners(int(number))
        for place in np.flatnonzero(shards[:enough] == number):
            name = [owners[first[place]]]
            windows[place] = np.concatenate([part for part, _ in motion_vectors(features, name, int(number), rule, grid)])
    return np.concatenate(windows[:enough])[:most].copy() if len(shards) else np.zeros((0, 1), np.float32)


def _clips_of(references: ReferenceShards, number: int, seed: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """For each reference with a window in a shard, an integer made of its clip id, and the identity of its first frame pair."""
    spans = references.shard(number).spans
    long = [(name, spans[name][1]) for name in references.names(number) if spans[name][2] - spans[name][1] >= k]
    seeds = np.array([seed_of("index", seed, name) for name, _ in long], np.uint64)
    return seeds, vector_ids(number, np.array([first for _, first in long], np.int64))


def _windows_at(references: ReferenceShards, number: int, k: int) -> np.ndarray:
    """Number of windows of the clip that begins at each row of a shard, int64 [rows]; 0 if no clip begins there."""
    features = references.shard(number)
    counts = np.zeros(len(features.rows), np.int64)
    for _, first, last in features.spans.values():
        counts[first] = max(0, last - first - k + 1)
    return counts


def content_candidates(
    index: faiss.Index, queries: ClipFeatures, names: Sequence[str], references: ReferenceShards, search: dict, top: int,
    batch: int = 256,
) -> Candidates:  # fmt: skip
    """Candidates of query clips by GSSCD through an index, ranked by the exact inner products of their frames.

    Args:
        names: clip ids of the query clips.
        search: section `search` of the configuration; `candidates` of it is the number of vectors found for each frame.
        top: matches wanted for each query clip; a few more candidates are kept.
        batch: query clips searched at once.
    """
    parts = []
    for first in range(0, len(names), batch):
        vectors, counts = queries.select(names[first : first + batch])
        found = rescored(vectors, search_index(index, vectors, search["candidates"]), references.array)
        parts.append(best_clips(found, counts, references, top + SPARE))
    return _under_each_other(parts, top + SPARE)


def motion_candidates(
    index: faiss.Index, queries: MotionBlock, references: ReferenceShards, rule: MotionRule, search: dict
) -> Candidates:
    """Candidates of query clips by OFS-k through an index of windows on a coarser grid, ranked by the score of the index.

    Args:
        queries: query clips, on the grid of the index.
        search: section `search` of the configuration; `candidates` of it is the number of windows found for each window.
    """
    windows = windows_of(queries, rule.k)
    found = search_index(index, windows.vectors, search["candidates"])
    counts = np.bincount(windows.owners, minlength=len(queries.clip_ids))
    return best_clips(found, counts, references, search["candidates"])


def best_clips(found: TopK, counts: np.ndarray, references: ReferenceShards, k: int) -> Candidates:
    """The best reference clips of every query clip, from the vectors that were found for its frames or windows.

    Args:
        found: scores and identities of vectors, each [sum(counts), candidates].
        counts: frames or windows of each query clip.
        k: reference clips kept for each query clip.
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
    """How much of an exact scan an index finds. Each recall is a dictionary with n, found, share, low, high; see _share.

    Attributes:
        at_1: share of all query clips whose best score through the index reaches the best score of the exact scan.
        at_threshold: share of the query clips that reach the threshold by an exact scan and also reach it through the index.
        threshold: threshold of the verdict.
    """

    at_1: dict
    at_threshold: dict
    threshold: float

    def text(self) -> str:
        """The recall in words, for the column `search` of a table of matches.

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
    """Recall of an index, from the best scores of some query clips.

    Args:
        exact, found: best score of each query clip by an exact scan and through the index, float [n]; -inf or NaN without a
            match.
        threshold: threshold of the verdict.
        level: confidence level of the intervals (Wilson), 0 to 1.

    Raises:
        VidmemError: no query clip has a score.
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
    """Number of queries n, number found, their share, and its interval low, high. The last three are None without queries."""
    if not len(hits):
        return {"n": 0, "found": 0, "share": None, "low": None, "high": None}
    interval = share_interval(int(hits.sum()), len(hits), level, "wilson")
    return {"n": len(hits), "found": int(hits.sum()), "share": interval.value, "low": interval.low, "high": interval.high}


def check_recall(recall: Recall, least: float, where: str) -> None:
    """Stop the run if the index finds too few matches.

    Args:
        least: smallest recall that is accepted, 0 to 1.
        where: place named in the message.

    Raises:
        VidmemError: a measured recall is below `least`.
    """
    for name, measured in (("recall at 1", recall.at_1), ("recall at the threshold", recall.at_threshold)):
        if measured["n"] and measured["share"] < least:
            got = f"{name} {measured['share']:.4f} ({measured['found']} of {measured['n']} sampled queries)"
            hint = "raise nprobe in search.parameters or search.candidates, choose a finer index, or use method: exact"
            raise VidmemError(f"at least {least:g} (search.certificate.recall)", got, where, hint)


def sampled_queries(names: Sequence[tuple[str, str]], most: int, seed: int) -> list[tuple[str, str]]:
    """A seeded sample of at most `most` queries, sorted; it does not depend on the order of `names`.

    Args:
        names: set and clip id of each query clip.
    """
    return sorted(sorted(names, key=lambda one: (seed_of("certificate", seed, *one), one))[:most])

"""FAISS indexes of descriptors and of windows of flow: trained on a sample, filled by shard, merged on disk, searched.

A vector is known by the shard and the row it is stored at, so that an answer leads straight to the stored vector and no table
of all vectors is needed. What an index finds are candidates: every score that is reported is computed from the stored vectors.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from .checksums import check_file
from .errors import VidmemError
from .search import TopK
from .store import save_checked, vouch_for

ROW_BITS = 40
GATHERED = 8192
"""Stored vectors gathered at once for the exact products: 16 MiB of float32 at 512 values."""


def vector_ids(shard: int, rows: np.ndarray) -> np.ndarray:
    """Identity of vectors by shard and row, int64.

    >>> vector_ids(2, np.array([0, 7])).tolist()
    [2199023255552, 2199023255559]
    """
    return (np.int64(shard) << ROW_BITS) + np.asarray(rows, dtype=np.int64)


def shards_and_rows(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shard and row of every identity; -1 and -1 for no vector.

    >>> [part.tolist() for part in shards_and_rows(np.array([2199023255559, -1]))]
    [[2, -1], [7, -1]]
    """
    ids = np.asarray(ids, dtype=np.int64)
    return np.where(ids < 0, -1, ids >> ROW_BITS), np.where(ids < 0, -1, ids & ((1 << ROW_BITS) - 1))


def train_index(dimension: int, factory: str, sample: np.ndarray, parameters: str = ""):
    """Empty inner-product index, trained.

    Args:
        factory: FAISS factory string.
        sample: float [n, dimension]; of an index that needs no training it may be empty.
        parameters: of the search, as "nprobe=32"; '' for FAISS's own.

    Raises:
        VidmemError: a factory or parameters that FAISS does not know, or a sample too small for it.
    """
    import faiss

    if factory.endswith("fs"):
        # Merging its packed lists corrupts the memory of FAISS 1.15.1.
        hint = "codes of four bits are packed when the index is opened for the search"
        raise VidmemError("an index that can be merged", factory, "search.index", f"{factory[:-2]}: {hint}")
    try:
        index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
        if not index.is_trained:
            index.train(np.ascontiguousarray(sample, dtype=np.float32))
        if faiss.try_extract_index_ivf(index) is None:
            index = faiss.IndexIDMap(index)
    except RuntimeError as error:
        hint = "a finer index needs more training vectors: search.train" if len(sample) else "no reference to train on"
        raise VidmemError("a factory string that can be trained", _said(factory, error), "search.index", hint) from error
    set_parameters(index, parameters)
    return index


def set_parameters(index, parameters: str) -> None:
    """Set how thoroughly an index is searched, as "nprobe=32,k_factor=4"; '' leaves it."""
    import faiss

    if not parameters:
        return
    try:
        faiss.ParameterSpace().set_index_parameters(_inner(index), parameters)
    except RuntimeError as error:
        hint = "nprobe=N for an IVF index"
        raise VidmemError("parameters of this index", _said(parameters, error), "search.parameters", hint) from error


def _inner(index):
    """What an index of our own identities is made around."""
    import faiss

    index = faiss.downcast_index(index)
    return faiss.downcast_index(index.index) if isinstance(index, faiss.IndexIDMap) else index


def _said(value: str, error: RuntimeError) -> str:
    """What FAISS complains of, without the place in its sources."""
    return f"{value!r}: {' '.join(str(error).split('Error:')[-1].split())[:200]}"


def needs_training(dimension: int, factory: str) -> bool:
    """Whether an index is trained on a sample.

    Raises:
        VidmemError: a factory string that FAISS does not know.
    """
    import faiss

    try:
        return not faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT).is_trained
    except RuntimeError as error:
        hint = "such as Flat, IVF2048,PQ128x4 or OPQ64_448,IVF65536,PQ64 (docs/scale.md)"
        raise VidmemError("a factory string of FAISS", _said(factory, error), "search.index", hint) from error


def save_index(path: Path | str, index) -> None:
    """Write an index whole or not at all, with checksums."""
    import faiss

    save_checked(path, lambda file: faiss.write_index(index, faiss.PyCallbackIOWriter(file.write)))


def add_vectors(index, vectors: np.ndarray, ids: np.ndarray) -> None:
    """Add vectors float [n, d] under identities int64 [n]."""
    if len(vectors):
        index.add_with_ids(np.ascontiguousarray(vectors, dtype=np.float32), np.ascontiguousarray(ids, dtype=np.int64))


def merge_indexes(trained, parts: Sequence[Path | str], path: Path | str) -> int:
    """Merge filled parts into one index on disk.

    Inverted lists are put into a file of their own beside the index (its name with .lists) and are mapped when it is opened,
    so that neither merging nor searching holds them in memory. Other indexes are merged in memory. That file is written for
    every index, empty where there are no lists.

    Args:
        trained: of train_index, empty.
        parts: indexes filled from it.
        path: of the merged index.

    Returns:
        Vectors in it.

    Raises:
        VidmemError: an index that cannot be merged.
    """
    import faiss

    path = Path(path)
    folder = path.with_name(f".{path.name}.lists.tmp")
    shutil.rmtree(folder, ignore_errors=True)  # of a merge that was killed
    folder.mkdir(parents=True)
    lists = folder / list_name(path)
    try:
        if faiss.try_extract_index_ivf(trained) is not None:
            from faiss.contrib.ondisk import merge_ondisk

            merge_ondisk(trained, [str(part) for part in parts], str(lists))
        else:
            for part in parts:
                _merge_in_memory(trained, faiss.read_index(str(part)))
            lists.touch()
        vouch_for(lists)
        os.replace(lists, path.with_name(lists.name))
        save_index(path, trained)  # last: it vouches for its lists
        return trained.ntotal
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _merge_in_memory(whole, part) -> None:
    try:
        whole.merge_from(part, 0)
    except RuntimeError as error:
        hint = "Flat, PQ and IVF indexes can; HNSW cannot"
        raise VidmemError("an index that can be merged", _said("merge", error), "search.index", hint) from error


def list_name(path: Path | str) -> str:
    """Name of the file of inverted lists beside an index.

    >>> list_name("index/content.faiss")
    'content.lists'
    """
    return Path(path).with_suffix(".lists").name


def open_index(path: Path | str, parameters: str = ""):
    """Open an index; its inverted lists are read once to check them, and mapped, not loaded.

    Raises:
        VidmemError: a file that is damaged or no index, or lists that are damaged or missing.
    """
    import faiss

    lists = Path(path).with_name(list_name(path))
    if lists.exists():
        check_file(lists)
    try:
        index = faiss.read_index(check_file(path), faiss.IO_FLAG_ONDISK_SAME_DIR)
    except RuntimeError as error:
        raise VidmemError("a FAISS index and its lists", _said(str(path), error), "index", "delete it and run again") from error
    set_parameters(index, parameters)
    return index


def open_for_search(path: Path | str, parameters: str = ""):
    """Open an index to look up many queries: product codes of four bits are packed for the registers of the processor.

    These are some twenty times faster then, and are in memory.
    """
    import faiss

    index = open_index(path)
    inverted = faiss.try_extract_index_ivf(index)
    inverted = None if inverted is None else faiss.downcast_index(inverted)
    if isinstance(inverted, faiss.IndexIVFPQ) and inverted.pq.nbits == 4:
        packed = faiss.IndexIVFPQFastScan(inverted)
        object.__setattr__(packed, "opened", index)  # it shares the quantizer; the classes of FAISS take no attributes
        outer = faiss.downcast_index(index)
        if isinstance(outer, faiss.IndexPreTransform):
            outer.index = packed
            object.__setattr__(outer, "packed", packed)
            index = outer
        else:
            index = packed
    set_parameters(index, parameters)
    return index


def search_index(index, queries: np.ndarray, k: int, batch: int = 4096) -> TopK:
    """Candidates of queries, best first by the index's own score; rows are vector_ids.

    Args:
        queries: float [Q, d].
        k: at least 1.
        batch: queries at once.
    """
    if k < 1:
        raise VidmemError("k >= 1", k, "search_index")
    scores, rows = np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64)
    for first in range(0, len(queries), batch):
        part = slice(first, first + batch)
        scores[part], rows[part] = index.search(np.ascontiguousarray(queries[part], dtype=np.float32), k)
    return TopK(np.where(rows < 0, -np.inf, scores).astype(np.float32), rows)


def rescored(queries: np.ndarray, found: TopK, array_of: Callable[[int], np.ndarray]) -> TopK:
    """An index's candidates by their exact inner products with the stored vectors, best first.

    Args:
        queries: float [Q, d].
        found: of search_index.
        array_of: stored vectors of a shard, float16 or float32 [n, d], mapped; every shard with candidates is asked for once.

    Returns:
        Rows are vector_ids; of equal scores the lower one wins.
    """
    shards, rows = shards_and_rows(found.rows)
    scores = np.full(found.scores.shape, -np.inf, np.float32)
    queries = np.asarray(queries, dtype=np.float32)
    for shard in np.unique(shards[shards >= 0]):
        array, (asked, place) = array_of(int(shard)), np.nonzero(shards == shard)
        order = np.argsort(rows[asked, place], kind="stable")  # in the order of the file
        for part in np.array_split(order, len(order) // GATHERED + 1):
            vectors = array[rows[asked[part], place[part]]].astype(np.float32)
            scores[asked[part], place[part]] = np.einsum("nd,nd->n", queries[asked[part]], vectors)
    order = np.lexsort((found.rows, -scores), axis=1)
    return TopK(np.take_along_axis(scores, order, axis=1), np.take_along_axis(found.rows, order, axis=1))


def sample_ids(parts: Iterable[tuple[np.ndarray, np.ndarray]], most: int) -> np.ndarray:
    """Vectors that an index is trained on: those of the lowest hashes, in that order, however they are spread over shards.

    Args:
        parts: of every shard, what its vectors are, integers [n] (the same wherever they are stored), and their vector_ids.
        most: in all; no more of them are held at a time, and those of one shard.

    Returns:
        vector_ids, int64 [at most `most`].
    """
    hashes, ids = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    for identities, own in parts:
        hashes, ids = np.concatenate([hashes, _hashed(identities)]), np.concatenate([ids, own])
        order = np.argsort(hashes, kind="stable")[:most]
        hashes, ids = hashes[order], ids[order]
    return ids


def _hashed(values: np.ndarray) -> np.ndarray:
    """Integers spread evenly over 64 bits, uint64 (SplitMix64, Steele et al., OOPSLA 2014)."""
    mixed = np.asarray(values).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))

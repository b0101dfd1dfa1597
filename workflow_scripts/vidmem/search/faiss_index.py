"""FAISS indexes of descriptors and of flow windows: trained on a sample, filled shard by shard, merged on disk, and searched.

The identity of a vector states the shard and the row where it is stored. An answer therefore leads to the stored vector without
a table of all vectors. An index only finds candidates: every reported score is computed from the stored vectors.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..base.checksums import check_file
from ..base.store import CheckedArray, save_checked, vouch_for
from ..errors import VidmemError
from .exact import TopK

if TYPE_CHECKING:
    import faiss

ROW_BITS = 40
GATHERED = 8192
"""Stored vectors read at once for the exact products: 16 MiB of float32 if a vector has 512 values."""


def vector_ids(shard: int, rows: np.ndarray) -> np.ndarray:
    """Identities of the vectors at some rows of a shard, int64.

    >>> vector_ids(2, np.array([0, 7])).tolist()
    [2199023255552, 2199023255559]
    """
    return (np.int64(shard) << ROW_BITS) + np.asarray(rows, dtype=np.int64)


def shards_and_rows(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shard and row of every identity. A negative identity means no vector: its shard and row are -1.

    >>> [part.tolist() for part in shards_and_rows(np.array([2199023255559, -1]))]
    [[2, -1], [7, -1]]
    """
    ids = np.asarray(ids, dtype=np.int64)
    return np.where(ids < 0, -1, ids >> ROW_BITS), np.where(ids < 0, -1, ids & ((1 << ROW_BITS) - 1))


def train_index(dimension: int, factory: str, sample: np.ndarray, parameters: str = "") -> faiss.Index:
    """Make an empty inner-product index and train it.

    Args:
        dimension: length of a vector.
        factory: FAISS factory string.
        sample: training vectors, float [n, dimension]; may be empty if the index needs no training.
        parameters: search parameters, such as "nprobe=32"; '' for the defaults of FAISS.

    Raises:
        VidmemError: a factory string or parameters that FAISS does not know, or a sample that is too small.
    """
    import faiss

    if factory.endswith("fs"):
        # When packed lists are merged, FAISS 1.15.1 corrupts its memory.
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


def set_parameters(index: faiss.Index, parameters: str) -> None:
    """Set how thoroughly an index is searched, such as "nprobe=32,k_factor=4"; '' changes nothing.

    Raises:
        VidmemError: parameters that the index does not have.
    """
    import faiss

    if not parameters:
        return
    try:
        # The stubs of FAISS hide its overload for text.
        faiss.ParameterSpace().set_index_parameters(_inner(index), parameters)  # type: ignore[arg-type]
    except RuntimeError as error:
        hint = "nprobe=N for an IVF index"
        raise VidmemError("parameters of this index", _said(parameters, error), "search.parameters", hint) from error


def _inner(index: faiss.Index) -> faiss.Index:
    """The index inside an IndexIDMap, which only adds our identities; any other index itself."""
    import faiss

    index = faiss.downcast_index(index)
    return faiss.downcast_index(index.index) if isinstance(index, faiss.IndexIDMap) else index


def _said(value: str, error: RuntimeError) -> str:
    """The message of an error of FAISS, without the place in its sources."""
    return f"{value!r}: {' '.join(str(error).split('Error:')[-1].split())[:200]}"


def needs_training(dimension: int, factory: str) -> bool:
    """Whether an index must be trained on a sample.

    Raises:
        VidmemError: a factory string that FAISS does not know.
    """
    import faiss

    try:
        return not faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT).is_trained
    except RuntimeError as error:
        hint = "such as Flat, IVF2048,PQ128x4 or OPQ64_448,IVF65536,PQ64 (docs/scale.md)"
        raise VidmemError("a factory string of FAISS", _said(factory, error), "search.index", hint) from error


def check_factory(dimension: int, factory: str, parameters: str) -> None:
    """Check an index of the configuration before anything is built.

    Raises:
        VidmemError: a factory string that FAISS does not know, or search parameters that such an index does not take.
    """
    import faiss

    needs_training(dimension, factory)
    set_parameters(faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT), parameters)


def save_index(path: Path | str, index: faiss.Index) -> None:
    """Write an index with checksums. The file appears only when it is complete."""
    import faiss

    writer = faiss.PyCallbackIOWriter  # type: ignore[attr-defined]  # the stubs of FAISS lack it
    save_checked(path, lambda file: faiss.write_index(index, writer(file.write)))


def add_vectors(index: faiss.Index, vectors: np.ndarray, ids: np.ndarray) -> None:
    """Add vectors, float [n, d], with their identities, int64 [n]."""
    if len(vectors):
        index.add_with_ids(np.ascontiguousarray(vectors, dtype=np.float32), np.ascontiguousarray(ids, dtype=np.int64))


def merge_indexes(trained: faiss.Index, parts: Sequence[Path | str], path: Path | str) -> int:
    """Merge the filled indexes of the shards into one index on disk.

    Inverted lists go to a file of their own beside the index (its name with .lists), which is memory-mapped when the index is
    opened. Neither the merge nor a search therefore holds them in memory. An index without lists is merged in memory, and its
    file of lists is empty.

    Args:
        trained: the empty index of train_index.
        parts: files of the indexes of the shards, each a filled copy of `trained`.
        path: file of the merged index.

    Returns:
        Number of vectors in the merged index.

    Raises:
        VidmemError: an index that cannot be merged.
    """
    import faiss

    path = Path(path)
    folder = path.with_name(f".{path.name}.lists.tmp")
    shutil.rmtree(folder, ignore_errors=True)  # left by a merge that was killed
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
        save_index(path, trained)  # last, so that an index never lacks its lists
        return trained.ntotal
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _merge_in_memory(whole: faiss.Index, part: faiss.Index) -> None:
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


def open_index(path: Path | str, parameters: str = "") -> faiss.Index:
    """Open an index. Its inverted lists are read once to check them; then they are memory-mapped, not loaded.

    Args:
        parameters: see train_index.

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


def open_for_search(path: Path | str, parameters: str = "") -> faiss.Index:
    """Open an index for many queries; see open_index.

    Product codes of four bits are packed for the registers of the processor. Searching them is then about twenty times faster,
    but they are held in memory.
    """
    import faiss

    index = open_index(path)
    extracted = faiss.try_extract_index_ivf(index)
    inverted = None if extracted is None else faiss.downcast_index(extracted)
    if isinstance(inverted, faiss.IndexIVFPQ) and inverted.pq.nbits == 4:
        packed = faiss.IndexIVFPQFastScan(inverted)
        # `packed` uses the quantizer of `index`, which must live as long. The classes of FAISS refuse plain assignment.
        object.__setattr__(packed, "opened", index)
        outer = faiss.downcast_index(index)
        if isinstance(outer, faiss.IndexPreTransform):
            outer.index = packed
            object.__setattr__(outer, "packed", packed)
            index = outer
        else:
            index = packed
    set_parameters(index, parameters)
    return index


def search_index(index: faiss.Index, queries: np.ndarray, k: int, batch: int = 4096) -> TopK:
    """Candidates of queries, best first by the score of the index. Rows are identities of vectors, see vector_ids.

    Args:
        queries: float [Q, d].
        k: candidates wanted for each query, at least 1.
        batch: queries searched at once.

    Raises:
        VidmemError: k below 1.
    """
    if k < 1:
        raise VidmemError("k >= 1", k, "search_index")
    scores, rows = np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64)
    for first in range(0, len(queries), batch):
        part = slice(first, first + batch)
        scores[part], rows[part] = index.search(np.ascontiguousarray(queries[part], dtype=np.float32), k)
    return TopK(np.where(rows < 0, -np.inf, scores).astype(np.float32), rows)


def rescored(queries: np.ndarray, found: TopK, array_of: Callable[[int], np.ndarray | CheckedArray]) -> TopK:
    """Score the candidates of an index by exact inner products with the stored vectors, and sort them, best first.

    Args:
        queries: float [Q, d].
        found: candidates from search_index.
        array_of: returns the stored vectors of a shard, float16 or float32 [n, d], memory-mapped. It is called once for every
            shard with candidates.

    Returns:
        Rows are identities of vectors, see vector_ids. If scores are equal, the lower identity comes first.
    """
    shards, rows = shards_and_rows(found.rows)
    scores = np.full(found.scores.shape, -np.inf, np.float32)
    queries = np.asarray(queries, dtype=np.float32)
    for shard in np.unique(shards[shards >= 0]):
        array, (asked, place) = array_of(int(shard)), np.nonzero(shards == shard)
        order = np.argsort(rows[asked, place], kind="stable")  # the order of the file, so that it is read forwards
        for part in np.array_split(order, len(order) // GATHERED + 1):
            vectors = array[rows[asked[part], place[part]]].astype(np.float32)
            scores[asked[part], place[part]] = np.einsum("nd,nd->n", queries[asked[part]], vectors)
    order = np.lexsort((found.rows, -scores), axis=1)
    return TopK(np.take_along_axis(scores, order, axis=1), np.take_along_axis(found.rows, order, axis=1))


def sample_ids(parts: Iterable[tuple[np.ndarray, np.ndarray]], most: int) -> np.ndarray:
    """Identities of the vectors that an index is trained on: the vectors with the lowest hashes, in ascending order of the
    hash.

    The sample does not depend on how the vectors are spread over shards.

    Args:
        parts: for every shard, integers [n] that say what each vector is, wherever it is stored, and the identities of the
            vectors, int64 [n], see vector_ids.
        most: largest size of the sample. Memory never holds more than this many vectors and one shard.

    Returns:
        int64 [at most `most`].
    """
    hashes, ids = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    for identities, own in parts:
        hashes, ids = np.concatenate([hashes, _hashed(identities)]), np.concatenate([ids, own])
        order = np.argsort(hashes, kind="stable")[:most]
        hashes, ids = hashes[order], ids[order]
    return ids


def _hashed(values: np.ndarray) -> np.ndarray:
    """Hashes of integers, spread evenly over 64 bits, uint64 (SplitMix64, Steele et al., OOPSLA 2014)."""
    mixed = np.asarray(values).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))

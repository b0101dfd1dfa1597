"""FAISS indexes: exact when looked through whole, damage named, codes packed, training vectors the same in any shards."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from vidmem.errors import VidmemError
from vidmem.features.descriptors import normalise
from vidmem.search.faiss_index import (
    add_vectors,
    merge_indexes,
    open_for_search,
    open_index,
    rescored,
    sample_ids,
    save_index,
    search_index,
    shards_and_rows,
    train_index,
    vector_ids,
)

FACTORIES = ["Flat", "IVF8,Flat", "OPQ8,IVF8,PQ8x4", "SQ8", "OPQ8,PQ8x4", "IVF8_HNSW4,SQfp16", "IVF8,PQ8x4", "RR16,IVF8,PQ8x4"]


def brute(queries, references, k):
    products = queries.astype(np.float64) @ references.astype(np.float64).T
    rows = np.argsort(-products, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(products, rows, axis=1), rows


def built(folder, vectors, factory, shards=3, parameters=""):
    """An index made as the workflow makes it: trained, filled by shard from disk, merged, opened elsewhere."""
    folder.mkdir()
    save_index(folder / "trained", train_index(vectors.shape[1], factory, vectors, parameters))
    parts, cuts = [], np.array_split(np.arange(len(vectors)), shards)
    for shard, rows in enumerate(cuts):
        index = open_index(folder / "trained")
        add_vectors(index, vectors[rows], vector_ids(shard, np.arange(len(rows))))
        parts.append(folder / f"{shard}.part")
        save_index(parts[-1], index)
    count = merge_indexes(open_index(folder / "trained", parameters), parts, folder / "x.faiss")
    assert count == len(vectors)
    assert sorted(path.name for path in folder.iterdir() if path not in parts) == ["trained", "x.faiss", "x.lists"]
    moved = folder.with_name(folder.name + "-moved")
    shutil.move(folder, moved)
    return open_for_search(moved / "x.faiss", parameters), [vectors[rows].astype(np.float16) for rows in cuts]


@pytest.mark.parametrize("factory", FACTORIES)
def test_an_index_looked_through_whole_is_exact_after_rescoring(stream, tmp_path, factory):
    vectors = normalise(stream.normal(size=(600, 16))).astype(np.float16).astype(np.float32)
    queries = normalise(stream.normal(size=(20, 16)))
    index, arrays = built(tmp_path / "i", vectors, factory, parameters="nprobe=8" if "IVF" in factory else "")
    found = rescored(queries, search_index(index, queries, 200, batch=7), arrays.__getitem__)
    scores, rows = brute(queries, vectors, 5)
    shards, places = shards_and_rows(found.rows[:, :5])
    assert np.array_equal(np.array([0, 200, 400])[shards] + places, rows)
    assert np.allclose(found.scores[:, :5], scores, atol=1e-6)


def test_parameters_decide_how_much_is_looked_through(stream, tmp_path):
    vectors, queries = (normalise(stream.normal(size=(count, 16))) for count in (900, 60))
    hits = []
    for probes in (1, 4, 16):
        index, arrays = built(tmp_path / f"{probes}", vectors, "IVF16,Flat", parameters=f"nprobe={probes}")
        found = rescored(queries, search_index(index, queries, 5), arrays.__getitem__)
        hits.append(np.isclose(found.scores[:, 0], brute(queries, vectors, 1)[0][:, 0], atol=1e-3).mean())
    assert hits[0] < hits[1] < hits[2] == 1


@pytest.mark.parametrize(
    ("factory", "parameters", "words"),
    [
        ("Flatt", "", "factory string"),
        ("IVF4,PQ4x4fs", "", "can be merged"),
        ("IVF4000,Flat", "", "search.train"),
        ("Flat", "nprobe=3", "search.parameters"),
        ("IVF4,Flat", "nprob=3", "search.parameters"),
    ],
)
def test_unusable_settings_are_named(stream, factory, parameters, words):
    with pytest.raises(VidmemError, match=words):
        train_index(8, factory, stream.normal(size=(100, 8)), parameters)


def test_an_index_that_cannot_be_merged_is_named_and_leaves_nothing(stream, tmp_path):
    with pytest.raises(VidmemError, match="HNSW cannot"):
        built(tmp_path / "i", normalise(stream.normal(size=(60, 8))), "HNSW8")
    assert [path.name for path in (tmp_path / "i").iterdir() if path.is_dir() or path.suffix in (".faiss", ".lists")] == []


def test_lists_that_are_missing_and_files_that_are_none(stream, tmp_path):
    built(tmp_path / "i", normalise(stream.normal(size=(200, 8))), "IVF4,Flat")
    (tmp_path / "i-moved/x.lists").unlink()
    with pytest.raises(VidmemError, match="run again"):
        open_index(tmp_path / "i-moved/x.faiss")
    (tmp_path / "other").write_bytes(b"no index at all, but long enough to be read as one")
    with pytest.raises(VidmemError, match="checksums"):
        open_index(tmp_path / "other")


@pytest.mark.parametrize("damage", [lambda c: c[:4096], lambda c: bytes(len(c)), lambda c: c[:200] + b"?" + c[201:]])
def test_lists_that_are_damaged_are_named_not_searched(stream, tmp_path, damage):
    vectors = normalise(stream.normal(size=(600, 16)))
    built(tmp_path / "i", vectors, "IVF4,Flat")
    lists = tmp_path / "i-moved/x.lists"
    lists.write_bytes(damage(lists.read_bytes()))
    with pytest.raises(VidmemError, match=r"x\.lists"):
        open_index(tmp_path / "i-moved/x.faiss")


def test_lists_are_mapped_not_loaded(stream, tmp_path):
    import faiss

    index, _ = built(tmp_path / "i", normalise(stream.normal(size=(200, 8))), "IVF4,Flat")
    assert isinstance(faiss.downcast_InvertedLists(faiss.extract_index_ivf(index).invlists), faiss.OnDiskInvertedLists)


@pytest.mark.parametrize("factory", ["IVF8,PQ8x4", "RR16,IVF8,PQ8x4"])
def test_packed_codes_find_what_the_codes_find(stream, tmp_path, factory):
    import faiss

    vectors, queries = (normalise(stream.normal(size=(count, 16))) for count in (3000, 40))
    packed, _ = built(tmp_path / "i", vectors, factory, 7, "nprobe=8")
    plain = open_index(tmp_path / "i-moved/x.faiss", "nprobe=8")
    assert isinstance(faiss.downcast_index(faiss.extract_index_ivf(packed)), faiss.IndexIVFPQFastScan)
    found, wanted = (search_index(index, queries, 100) for index in (packed, plain))
    common = [len(set(a) & set(b)) for a, b in zip(found.rows, wanted.rows)]  # packed tables are rounded to a byte
    assert np.mean(common) > 95
    assert packed.ntotal == 3000


@pytest.mark.parametrize("most", [7, 40, 500])
def test_training_vectors_are_the_same_in_any_shards(stream, most):
    """Against the hashes of all, sorted at once; shares of what is drawn are those of what there is."""
    things = stream.permutation(400)
    drawn = []
    for cuts in ([], [100], [0, 13, 13, 390]):
        parts = [(part, vector_ids(number, np.arange(len(part)))) for number, part in enumerate(np.split(things, cuts))]
        numbers, rows = shards_and_rows(sample_ids(iter(parts), most))
        drawn.append([int(parts[number][0][row]) for number, row in zip(numbers, rows)])
    assert drawn[0] == drawn[1] == drawn[2]
    assert len(set(drawn[0])) == len(drawn[0]) == min(most, 400)
    assert set(drawn[0]) != set(range(most)) or most == 500
    assert sample_ids([], most).tolist() == []


def test_hashes_of_training_vectors_fill_64_bits(stream):
    """Neighbours, as the frames of a clip are, are drawn independently."""
    start = int(stream.integers(0, 2**62))
    drawn = shards_and_rows(sample_ids([(np.arange(start, start + 10_000), vector_ids(0, np.arange(10_000)))], 5_000))[1]
    chosen = np.zeros(10_000, bool)
    chosen[drawn] = True
    together = (chosen[1:] & chosen[:-1]).mean()
    assert together == pytest.approx(0.25, abs=0.02)  # four standard errors: 0.017
    assert chosen[:5_000].mean() == pytest.approx(0.5, abs=0.02)

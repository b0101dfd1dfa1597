"""FAISS indexes, approximate search of clips, its certificate, and scans that go on where they were."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from make_controls import make_controls
from vidmem import features as features_module
from vidmem import matching
from vidmem.approximate import (
    best_clips,
    check_recall,
    content_candidates,
    content_sample,
    content_vectors,
    measured_recall,
    motion_candidates,
    motion_sample,
    motion_vectors,
    sampled_queries,
)
from vidmem.clip_table import clip_row, clip_table
from vidmem.content import gsscd
from vidmem.descriptors import normalise
from vidmem.errors import VidmemError
from vidmem.faiss_index import (
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
from vidmem.features import load_chosen, load_features, load_queries, mean_magnitudes, query_clips
from vidmem.motion import ofs_k, pool_flows
from vidmem.references import (
    Candidates,
    OpenReferences,
    ReferenceShards,
    ScanState,
    merge_candidates,
    no_candidates,
    scan,
)
from vidmem.search import TopK
from vidmem.shards import save_shards
from vidmem.store import load_array, load_table, save_array, save_table, shard_of

MOTION = {
    "k": 3,
    "cosine": "field",
    "pairing": "max",
    "filter": {"static": 0.0, "affine": 1.1, "entropy": -1.0, "sides": "either"},
}
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


def corpus(folder, clips, shards, kind="descriptors"):
    """Shards on disk of clips (name -> vectors or flows), as the workflow leaves them; the last clip is held out."""
    files = []
    for shard in range(shards):
        own = {name: values for name, values in clips.items() if shard_of(name, shards) == shard}
        rows = [clip_row({}, clip_id=name, set="corpus-x", split="heldout" if name == list(clips)[-1] else "member",
                         status="ok", count=len(values)) for name, values in own.items()]  # fmt: skip
        paths = [folder / f"{kind}{shards}.{shard}{suffix}" for suffix in (".clips.parquet", ".npy", ".parquet")]
        save_table(paths[0], clip_table(rows))
        empty = np.zeros((0, *next(iter(clips.values())).shape[1:]), np.float16)
        save_array(paths[1], np.concatenate([empty, *own.values()]).astype(np.float16))
        named = [(name, place, "preset 1", 1.0, 1.0, 1.0, 2.0) for name, values in own.items() for place in range(len(values))]
        columns = ["clip_id", "frame", "computed_by", "magnitude", "energy", "residual", "entropy"]
        save_table(paths[2], pd.DataFrame(named, columns=columns).astype({"clip_id": str, "computed_by": str}))
        files.append(paths)
    return list(zip(*files))


def descriptors(stream, count=40):
    return {f"c{n:02d}": normalise(stream.normal(size=(int(stream.integers(1, 6)), 12))) for n in stream.permutation(count)}


@pytest.fixture
def footage(stream, tmp_path):
    clips = descriptors(stream)
    clips["c07"] = clips["c03"].copy()  # exact duplicates: a tie wherever they are found
    queries = {f"q{n}": normalise(clips[f"c{n:02d}"] + 0.3 * stream.normal(size=clips[f"c{n:02d}"].shape)) for n in range(9)}
    return clips, load_features(*[list(part) for part in corpus(tmp_path, queries, 1)])


def slow_matches(queries, names, clips, top):
    rows = []
    for name in names:
        scores = sorted((-gsscd(queries.of(name), vectors.astype(np.float16)).score, other) for other, vectors in clips.items())
        rows += [(name, other, -score) for score, other in scores[:top]]
    return rows


@pytest.mark.parametrize("shards", [1, 3, 8])
@pytest.mark.parametrize("block", [1, 16384])
def test_matches_do_not_depend_on_shards(footage, tmp_path, shards, block):
    clips, queries = footage
    references = ReferenceShards(*corpus(tmp_path, clips, shards))
    names = sorted(queries.spans)
    found = matching.nearest_clips(queries, names, references, 4, block)
    table = matching.content_matches(queries, names, references, found, 4, "exact", "p")
    members = {name: vectors for name, vectors in clips.items() if name != list(clips)[-1]}
    wanted = slow_matches(queries, names, members, 4)
    assert list(table[["query", "reference"]].itertuples(index=False, name=None)) == [row[:2] for row in wanted]
    assert table["score"].tolist() == [row[2] for row in wanted]  # the very same numbers
    assert {"c03", "c07"} <= set(table["reference"])


@pytest.mark.parametrize("factory", ["Flat", "IVF4,Flat", "IVF4,PQ4x4"])
def test_an_index_finds_the_same_matches(footage, tmp_path, factory):
    clips, queries = footage
    references = ReferenceShards(*corpus(tmp_path, clips, 3))
    index, parts = train_index(12, factory, content_sample(references, 10**6, 0), "nprobe=4" if "IVF" in factory else ""), []
    save_index(tmp_path / "trained", index)
    for number in range(3):
        part = open_index(tmp_path / "trained")
        for vectors, ids in content_vectors(references.shard(number), references.names(number), number, 5):
            add_vectors(part, vectors, ids)
        parts.append(tmp_path / f"{number}.part")
        save_index(parts[-1], part)
    merge_indexes(open_index(tmp_path / "trained"), parts, tmp_path / "c.faiss")
    opened = open_for_search(tmp_path / "c.faiss", "nprobe=4" if "IVF" in factory else "")
    names = sorted(queries.spans)
    for batch in (2, 256):
        found = content_candidates(opened, queries, names, references, {"candidates": 100}, 3, batch)
        table = matching.content_matches(queries, names, references, found, 3, "index", "p")
        exact = matching.nearest_clips(queries, names, references, 3, 64)
        wanted = matching.content_matches(queries, names, references, exact, 3, "index", "p")
        pd.testing.assert_frame_equal(table, wanted)


@pytest.mark.parametrize("most", [20, 10**6])
def test_an_index_is_trained_on_the_same_in_any_shards(footage, stream, tmp_path, most):
    clips, _ = footage
    flowing = flows(stream)
    content, motion = [], []
    for shards in (1, 3, 8):
        references = ReferenceShards(*corpus(tmp_path / f"c{shards}", clips, shards))
        content.append(content_sample(references, most, 1))
        references = ReferenceShards(*corpus(tmp_path / f"m{shards}", flowing, shards, "flows"))
        motion.append(motion_sample(references, most, 1, MOTION, 4))
    for first, *others in (content, motion):
        assert 0 < len(first) <= most
        for other in others:
            np.testing.assert_array_equal(first, other)
    references = ReferenceShards(*corpus(tmp_path / "c3", clips, 3))
    assert not np.array_equal(content[0], content_sample(references, most, 2))  # another seed, another order


def test_the_best_clips_of_what_was_found():
    class Owners:
        def owners(self, number):
            return np.array([["a", "b", "b"], ["c"]][number], dtype=object)

    found = TopK(
        np.float32([[0.9, 0.8, 0.7], [0.95, 0.1, -np.inf], [0.5, 0.5, 0.4]]),
        np.array([vector_ids(0, [1, 0, 2]), [vector_ids(1, [0])[0], vector_ids(0, [2])[0], -1], vector_ids(0, [1, 0, 2])]),
    )
    best = best_clips(found, np.array([2, 0, 1]), Owners(), 2)
    assert [best.of(query) for query in range(3)] == [["c", "b"], [], ["a", "b"]]  # of a tie the lower name first
    assert best.scores[0].tolist() == pytest.approx([0.95, 0.9])


def flows(stream, count=16):
    return {f"f{n:02d}": stream.normal(size=(int(stream.integers(2, 7)), 2, 8, 8)).astype(np.float16) for n in range(count)}


@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize("grid", [8, 2])
def test_motion_through_an_index_on_a_coarser_grid_has_exact_scores(stream, tmp_path, shards, grid):
    clips = flows(stream)
    references = ReferenceShards(*corpus(tmp_path, clips, shards, "flows"))
    asked = {
        f"q{n}": (clips[f"f{n:02d}"] + 0.5 * stream.normal(size=clips[f"f{n:02d}"].shape)).astype(np.float16) for n in range(6)
    }
    queries = load_features(*[list(part) for part in corpus(tmp_path, asked, 1, "queries")])
    names = sorted(queries.spans)
    sample = motion_sample(references, 10**6, 0, MOTION, grid)
    index = train_index(2 * 3 * grid * grid, "Flat", sample)
    for number in range(shards):
        for vectors, ids in motion_vectors(references.shard(number), references.names(number), number, MOTION, grid):
            add_vectors(index, vectors, ids)
    assert index.ntotal == len(sample) == sum(max(0, len(one) - 2) for name, one in clips.items() if name != "f15")
    found = motion_candidates(index, matching.block_of(queries, names, MOTION, grid), references, MOTION, {"candidates": 60})
    block = matching.block_of(queries, names, MOTION)
    for name, matches in zip(names, matching.rescored_motion(block, references, found, MOTION, "either", 20)):
        scores = {m.reference: m.score for m in matches}
        wanted = {other: ofs_k(queries.of(name), values, 3, "field").score for other, values in clips.items() if other != "f15"}
        wanted = {other: score for other, score in wanted.items() if score is not None}
        assert scores == pytest.approx({other: wanted[other] for other in scores}, abs=1e-6)
        if grid == 8 and wanted:
            assert matches[0].reference == max(wanted, key=wanted.get)


def test_pooled_flows_are_means_of_cells(stream):
    values = stream.normal(size=(3, 2, 6, 4))
    pooled = pool_flows(values, 2)
    assert pooled[1, 0, 1, 0] == pytest.approx(values[1, 0, 3:, :2].mean(), abs=1e-6)
    assert np.allclose(pool_flows(values[:, :, :4], 4), values[:, :, :4], atol=1e-6)
    with pytest.raises(VidmemError, match="divisor"):
        pool_flows(values, 4)


def test_recall_counts_what_is_found():
    exact, found = [0.9, 0.8, 0.6, 0.4, np.nan], [0.9, 0.7, 0.6, -np.inf, np.nan]
    recall = measured_recall(exact, found, 0.5, 0.95)
    assert (recall.at_1["n"], recall.at_1["found"]) == (4, 2)
    assert (recall.at_threshold["n"], recall.at_threshold["found"]) == (3, 3)  # 0.7 for 0.8 is the same verdict
    assert recall.at_1["low"] < 0.5 < recall.at_1["high"]
    assert recall.text() == "recall at 1 0.5 of 4, at 0.5 1 of 3"
    check_recall(recall, 0.5, "here")
    with pytest.raises(VidmemError, match=r"recall at 1 0\.5000 \(2 of 4"):
        check_recall(recall, 0.51, "here")
    missed = measured_recall([0.9, 0.2], [0.3, 0.2], 0.5, 0.95)
    with pytest.raises(VidmemError, match="recall at the threshold"):
        check_recall(missed, 0.5, "here")
    assert measured_recall([0.2], [0.2], 0.5, 0.95).text().endswith("at 0.5 none of the sample")
    with pytest.raises(VidmemError, match="none"):
        measured_recall([np.nan], [np.nan], 0.5, 0.95)


def test_the_sample_does_not_depend_on_the_order():
    names = [(str(n % 3), f"q{n}") for n in range(50)]
    assert sampled_queries(names, 7, 1) == sampled_queries(names[::-1], 7, 1) != sampled_queries(names, 7, 2)
    assert len(sampled_queries(names, 500, 1)) == 50


def test_merging_does_not_depend_on_the_order_of_shards(stream):
    parts = [Candidates(np.sort(np.round(stream.random((3, 4)), 1).astype(np.float32))[:, ::-1],
                        np.array([[f"{n}{q}{k}" for k in range(4)] for q in range(3)])) for n in range(3)]  # fmt: skip
    wanted = None
    for order in itertools.permutations(parts):
        found = no_candidates(3, 5)
        for part in order:
            found = merge_candidates(found, part)
        wanted = wanted or found
        assert np.array_equal(found.names, wanted.names)
        assert np.array_equal(found.scores, wanted.scores)


def test_a_killed_scan_goes_on_where_it_was(footage, tmp_path):
    clips, queries = footage
    references, names = ReferenceShards(*corpus(tmp_path, clips, 5)), sorted(queries.spans)
    whole = matching.nearest_clips(queries, names, references, 3, 64)
    looked, state = [], tmp_path / "state"

    def look(number):
        if number == 3 and 3 not in looked:
            looked.append(3)
            raise KeyboardInterrupt
        looked.append(number)
        one = OpenReferences(references.shard(number), references.names(number))
        return [matching.nearest_clips(queries, names, one, 3, 64)]

    empty = [no_candidates(len(names), 3 + matching.SPARE)]
    with pytest.raises(KeyboardInterrupt):
        scan(references, empty, look, ScanState(state, "key", 0))
    found = scan(references, empty, look, ScanState(state, "key", 0))[0]
    assert looked == [0, 1, 2, 3, 3, 4]
    assert np.array_equal(found.names, whole.names)
    assert np.array_equal(found.scores, whole.scores)
    assert ScanState(state, "another key").load(empty)[0] == 0
    assert ScanState(state, "key").load(empty)[0] == 5
    ScanState(state, "key").drop()
    assert ScanState(state, "key").load(empty)[0] == 0


def test_a_damaged_state_costs_no_more_than_time(tmp_path, caplog):
    state, empty = ScanState(tmp_path / "state", "key", 0), [no_candidates(1, 2)]
    state.save(3, empty)
    content = (tmp_path / "state").read_bytes()
    for damaged in (content[:-9], b"", content[:40] + b"?" + content[41:]):
        (tmp_path / "state").write_bytes(damaged)
        assert state.load(empty) == (0, empty)
    assert caplog.text.count("The scan starts anew") == 3


def test_a_scan_of_several_kinds_keeps_them_apart(tmp_path):
    first, second = (
        Candidates(np.float32([[1, value], [0.5, -np.inf]]), np.array([["a", "b"], [str(value), ""]])) for value in (0.2, 0.3)
    )
    state = ScanState(tmp_path / "state", "key", 0)
    state.save(2, [first, second])
    following, found = state.load([no_candidates(2, 2)] * 2)
    assert following == 2
    for old, new in zip((first, second), found):
        assert np.array_equal(old.scores, new.scores)
        assert old.names.tolist() == new.names.tolist()


def test_a_changed_reference_is_another_stamp(footage, tmp_path):
    references = ReferenceShards(*corpus(tmp_path, footage[0], 2))
    before = references.stamp()
    save_array(references.files[1][1], np.zeros((1, 12), np.float16))
    assert references.stamp() != before


def test_mixed_presets_are_refused_across_shards(footage, tmp_path):
    references = ReferenceShards(*corpus(tmp_path, footage[0], 2))
    other = pd.read_parquet(references.files[1][2]).assign(computed_by="preset 2")
    save_table(references.files[1][2], other)
    references.shard(0)
    with pytest.raises(VidmemError, match="one preset"):
        references.shard(1)
    with pytest.raises(VidmemError, match="preset 1"):
        references.check_preset(load_features(*[[path] for path in references.files[1]]))


def test_a_shard_without_clips_hides_no_mixed_presets(footage, tmp_path):
    references = ReferenceShards(*corpus(tmp_path, footage[0], 3))
    for number, name in ((1, None), (2, "preset 2")):
        rows = pd.read_parquet(references.files[number][2])
        save_table(references.files[number][2], rows.assign(computed_by=name) if name else rows[:0])
    save_array(references.files[1][1], np.zeros((0, 12), np.float16))
    references.shard(0)
    assert references.names(1) == []
    with pytest.raises(VidmemError, match="one preset"):
        references.shard(2)


def test_chosen_queries_are_mapped_and_keep_their_rows(stream, tmp_path):
    """Of several shards, some clips: flows, measures and blocks are those of the whole set."""
    clips = flows(stream)
    files = corpus(tmp_path, clips, 3, "flows")
    whole, names = load_features(*files), sorted(clips)[2:12:3]
    for path in files[0]:
        save_table(path, pd.read_parquet(path).assign(split="heldout"))
    some = load_queries(*files, chosen=set(names))
    assert sorted(some.spans) == names
    assert all(isinstance(array, np.memmap) for array in some.arrays)
    for order in (names, names[::-1]):
        pd.testing.assert_frame_equal(some.table_of(order).reset_index(drop=True), whole.table_of(order).reset_index(drop=True))
        assert np.array_equal(some.select(order)[0], whole.select(order)[0])


@pytest.mark.parametrize("shards", [1, 3])
def test_some_clips_are_opened_by_their_ids(stream, tmp_path, shards):
    """Members or not, known or not; shards without any stay closed, and may even be damaged."""
    clips = flows(stream)
    files = corpus(tmp_path, clips, shards, "flows")
    whole, names = load_features(*files), sorted(clips)[1:9:4]
    for number in set(range(shards)) - {shard_of(name, shards) for name in names}:
        Path(files[1][number]).write_bytes(b"")
    some = load_chosen(*files, {*names, "of another corpus"})
    assert sorted(some.spans) == sorted(some.clips["clip_id"]) == names
    assert set(some.rows["clip_id"]) == set(names)
    assert all(isinstance(array, np.memmap) for array in some.arrays)
    for name in names:
        assert np.array_equal(some.of(name), whole.of(name))
    assert load_chosen(*files, set()).select(names)[0].shape == (0, 2, 8, 8)


@pytest.mark.parametrize("shards", [1, 4])
def test_mean_magnitudes_are_those_of_all_rows_at_once(stream, tmp_path, shards):
    files = corpus(tmp_path, flows(stream), shards, "flows")
    for path in files[2]:
        save_table(path, (table := pd.read_parquet(path)).assign(magnitude=stream.random(len(table))))
    save_shards(tmp_path / "shards.json", dict(zip(("clips", "flows", "pairs"), [list(map(str, part)) for part in files])))
    rows = load_features(*files).rows
    found = mean_magnitudes(tmp_path / "shards.json")
    assert len(found) == rows["clip_id"].nunique() > 10
    for name, mean in found.items():
        assert mean == pytest.approx(rows.loc[rows["clip_id"] == name, "magnitude"].sum() / (rows["clip_id"] == name).sum())


def test_a_corpus_that_no_control_can_be_made_of_has_none(stream, tmp_path):
    """Nothing in it moves, and no picture has texture."""
    folder = tmp_path / "corpus-x"
    folder.mkdir()
    clips, _, rows = files = corpus(folder, flows(stream), 1, "flows")
    save_table(rows[0], pd.read_parquet(rows[0]).assign(magnitude=0.0))
    save_table(clips[0], pd.read_parquet(clips[0]).assign(information=0.0))
    lists = SimpleNamespace(motion=folder / "motion.json", frames=folder / "frames.json")
    save_shards(lists.motion, dict(zip(("clips", "flows", "pairs"), [list(map(str, part)) for part in files])))
    save_shards(lists.frames, {"clips": [str(clips[0])], "frames": []})
    made = SimpleNamespace(frames=tmp_path / "made.npy", clips=tmp_path / "made.parquet")
    footage = {"keep_frames": False, "size": [8, 8], "frames": 6, "sources": []}
    numbers = {"clips": 3, "twins": 3, "camera": 3, "moving": 0.5}
    make_controls(lists, footage, "x", numbers, 0, 0, 1, made)
    assert len(load_table(made.clips)) == 0
    assert load_array(made.frames).shape == (0, 8, 8, 3)


def test_magnitudes_of_two_estimators_are_refused(stream, tmp_path):
    files = corpus(tmp_path, flows(stream), 3, "flows")
    save_table(files[2][1], pd.read_parquet(files[2][1]).assign(computed_by="another"))
    save_shards(tmp_path / "shards.json", dict(zip(("clips", "flows", "pairs"), [list(map(str, part)) for part in files])))
    with pytest.raises(VidmemError, match="one preset"):
        mean_magnitudes(tmp_path / "shards.json")


def test_arrays_are_checked_once_by_a_job(footage, tmp_path, monkeypatch):
    checked, load = [], features_module.load_array
    noting = lambda path, verify: checked.append(verify) or load(path, verify=verify)  # noqa: E731
    monkeypatch.setattr(features_module, "load_array", noting)
    references = ReferenceShards(*corpus(tmp_path, footage[0], 3))
    for number in (0, 1, 2, 0, 1, 2):
        references.shard(number)
    assert checked == [True] * 3 + [False] * 3


@pytest.mark.parametrize("shards", [1, 4, 40])
def test_only_clips_that_are_looked_up_are_kept(footage, tmp_path, shards):
    """Of a corpus the held-out ones, from whichever shard; shards without any may even be damaged."""
    clips = footage[0]
    files = corpus(tmp_path, clips, shards)
    held = sorted({*sorted(clips)[3:9:2], list(clips)[-1]})
    for path in files[0]:
        table = pd.read_parquet(path)
        table.loc[table["clip_id"].isin(held), "split"] = "heldout"
        save_table(path, table)
        if not set(held) & set(table["clip_id"]) and path != files[0][0]:
            Path(files[1][files[0].index(path)]).write_bytes(b"")
    queries = load_queries(*files)
    assert sorted(query_clips(queries.clips)) == sorted(queries.spans) == held
    for name in held:
        assert np.array_equal(queries.of(name), clips[name].astype(np.float16))
    assert list(queries.table_of(held)["clip_id"]) == [name for name in held for _ in clips[name]]
    assert queries.provenance == "preset 1"


def test_a_set_without_clips_to_look_up_keeps_its_shapes(footage, tmp_path):
    files = corpus(tmp_path, footage[0], 2)
    for path in files[0]:
        save_table(path, pd.read_parquet(path).assign(split="member"))
    queries = load_queries(*files)
    vectors, counts = queries.select([])
    assert vectors.shape == (0, 12)
    assert len(counts) == len(queries.clips) == len(queries.rows) == 0
    assert queries.provenance == ""

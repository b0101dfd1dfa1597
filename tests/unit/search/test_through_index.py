"""Approximate search of clips through an index, and its certificate."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from search_corpus import MOTION, flows, save_corpus
from vidmem.errors import VidmemError
from vidmem.features.clip_features import load_features
from vidmem.features.metrics import metric_of
from vidmem.features.motion import ofs_k
from vidmem.search.exact import TopK
from vidmem.search.faiss_index import (
    add_vectors,
    merge_indexes,
    open_for_search,
    open_index,
    save_index,
    train_index,
    vector_ids,
)
from vidmem.search.matches import block_of, content_matches, nearest_clips, rescored_motion
from vidmem.search.references import ReferenceShards
from vidmem.search.through_index import (
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


@pytest.mark.parametrize("factory", ["Flat", "IVF4,Flat", "IVF4,PQ4x4"])
def test_an_index_finds_the_same_matches(near_clips, tmp_path, factory):
    clips, queries = near_clips
    references = ReferenceShards(*save_corpus(tmp_path, clips, 3))
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
        table = content_matches(metric_of("gsscd"), queries, names, references, found, 3, "index", "p")
        exact = nearest_clips(queries, names, references, 3, 64)
        wanted = content_matches(metric_of("gsscd"), queries, names, references, exact, 3, "index", "p")
        pd.testing.assert_frame_equal(table, wanted)


@pytest.mark.parametrize("most", [20, 10**6])
def test_an_index_is_trained_on_the_same_in_any_shards(near_clips, stream, tmp_path, most):
    clips, _ = near_clips
    flowing = flows(stream)
    content, motion = [], []
    for shards in (1, 3, 8):
        references = ReferenceShards(*save_corpus(tmp_path / f"c{shards}", clips, shards))
        content.append(content_sample(references, most, 1))
        references = ReferenceShards(*save_corpus(tmp_path / f"m{shards}", flowing, shards, "flows"))
        motion.append(motion_sample(references, most, 1, MOTION, 4))
    for first, *others in (content, motion):
        assert 0 < len(first) <= most
        for other in others:
            np.testing.assert_array_equal(first, other)
    references = ReferenceShards(*save_corpus(tmp_path / "c3", clips, 3))
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


@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize("grid", [8, 2])
def test_motion_through_an_index_on_a_coarser_grid_has_exact_scores(stream, tmp_path, shards, grid):
    clips = flows(stream)
    references = ReferenceShards(*save_corpus(tmp_path, clips, shards, "flows"))
    asked = {
        f"q{n}": (clips[f"f{n:02d}"] + 0.5 * stream.normal(size=clips[f"f{n:02d}"].shape)).astype(np.float16) for n in range(6)
    }
    queries = load_features(*[list(part) for part in save_corpus(tmp_path, asked, 1, "queries")])
    names = sorted(queries.spans)
    sample = motion_sample(references, 10**6, 0, MOTION, grid)
    index = train_index(2 * 3 * grid * grid, "Flat", sample)
    for number in range(shards):
        for vectors, ids in motion_vectors(references.shard(number), references.names(number), number, MOTION, grid):
            add_vectors(index, vectors, ids)
    assert index.ntotal == len(sample) == sum(max(0, len(one) - 2) for name, one in clips.items() if name != "f15")
    found = motion_candidates(index, block_of(queries, names, MOTION, grid), references, MOTION, {"candidates": 60})
    block = block_of(queries, names, MOTION)
    for name, matches in zip(names, rescored_motion(block, references, found, MOTION, "either", 20)):
        scores = {m.reference: m.score for m in matches}
        wanted = {other: ofs_k(queries.of(name), values, 3, "field").score for other, values in clips.items() if other != "f15"}
        wanted = {other: score for other, score in wanted.items() if score is not None}
        assert scores == pytest.approx({other: wanted[other] for other in scores}, abs=1e-6)
        if grid == 8 and wanted:
            assert matches[0].reference == max(wanted, key=wanted.get)


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

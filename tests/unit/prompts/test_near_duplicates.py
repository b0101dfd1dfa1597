"""Clusters of near-duplicate clips against all pairs."""

from itertools import combinations

import faiss
import numpy as np
import pandas as pd
import pytest

from captioned_clips import build_index, clip_table, clusters_of
from vidmem.errors import VidmemError
from vidmem.prompts import near_duplicates
from vidmem.prompts.near_duplicates import near_duplicate_clusters


@pytest.fixture
def footage(stream):
    """Frames of 60 clips in a few dimensions, so that many pairs are near; some clips are dark, held out or lost."""
    ids = [f"c{number:02d}" for number in stream.permutation(60)]
    clips = clip_table(ids, information=stream.uniform(0, 6, 60))
    clips.loc[5:9, "split"] = "heldout"
    clips.loc[10:14, "split"] = "image"
    clips.loc[15:17, ["status", "reason"]] = ["missing", "no such file"]
    inside = clips[(clips["status"] == "ok") & (clips["split"] != "heldout")]["clip_id"]
    rows = [clip_id for clip_id in inside for _ in range(stream.integers(1, 5))]
    vectors = stream.normal(size=(len(rows), 6)).astype(np.float32)
    return clips, rows, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def slow_clusters(clips, rows, vectors, similarity, min_information):
    """All pairs of frames and networkx."""
    import networkx

    kept = clips[(clips["status"] == "ok") & clips["split"].isin(["member", "image"])]
    graph = networkx.Graph()
    graph.add_nodes_from(kept[kept["information"] >= min_information]["clip_id"])
    for first, second in combinations(range(len(rows)), 2):
        if rows[first] in graph and rows[second] in graph and float(vectors[first] @ vectors[second]) >= similarity:
            graph.add_edge(rows[first], rows[second])
    return {clip_id: sorted(part) for part in networkx.connected_components(graph) for clip_id in part}


@pytest.mark.parametrize(("similarity", "information"), [(0.95, 0.0), (0.93, 0.0), (0.9, 2.0), (0.85, 3.0)])
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_clusters_are_the_components_of_all_pairs(footage, similarity, information, batch):
    clips, rows, vectors = footage
    index = build_index([vectors], 6)
    found = clusters_of(clips, index, rows, [vectors], similarity, information, batch).set_index("clip_id")
    wanted = slow_clusters(clips, rows, vectors, similarity, information)
    assert len(found) == len(clips)
    assert set(found.index[found["cluster_reason"] == ""]) == set(wanted)
    for clip_id, row in found.iterrows():
        part = wanted.get(clip_id)
        assert row["cluster"] == (part[0] if part else clip_id)
        assert (row["n_near_duplicate_clips"] == len(part) - 1) if part else pd.isna(row["n_near_duplicate_clips"])
    assert max(map(len, wanted.values())) > 1  # there was something to find


def test_clusters_are_the_same_however_the_frames_lie(footage, stream, monkeypatch):
    clips, rows, vectors = footage
    wanted = clusters_of(clips, build_index([vectors], 6), rows, [vectors], 0.87)
    order = stream.permutation(len(rows))
    mixed, names = vectors[order], [rows[place] for place in order]
    cuts = [mixed[:11], mixed[11:11], mixed[11:60], mixed[60:]]
    # Fewer edges in memory at once than there are: labels are joined as they come.
    monkeypatch.setattr(near_duplicates, "EDGES", 1)
    found = clusters_of(clips.sample(frac=1, random_state=1), build_index(cuts, 6), names, cuts, 0.87, batch=5)
    found = found.set_index("clip_id").loc[wanted["clip_id"]].reset_index()
    pd.testing.assert_frame_equal(found, wanted)


def test_dark_clips_do_not_chain_others(stream):
    """A dark clip near two bright ones would make one cluster of them; it says why it is in none."""
    vectors = np.float32([[1, 0], [0.8, 0.6], [0.28, 0.96]])
    clips, rows = clip_table(["a", "dark", "z"], information=[4.0, 0.7, 4.0]), ["a", "dark", "z"]
    index = build_index([vectors], 2)
    assert set(clusters_of(clips, index, rows, [vectors], 0.75)["cluster"]) == {"a"}
    found = clusters_of(clips, index, rows, [vectors], 0.75, min_information=1.5)
    assert list(found["cluster"]) == ["a", "dark", "z"]
    assert list(found["cluster_reason"]) == ["", "information 0.70 below 1.5 bits", ""]
    assert found["n_near_duplicate_clips"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize("factory", ["HNSW16", "SQ4", "IVF4,PQ3x4"])
def test_an_approximate_index_joins_nothing_wrongly(footage, factory):
    """Not even one whose own scores are wrong by tenths: what it finds is checked with the stored frames."""
    clips, rows, vectors = footage
    exact = clusters_of(clips, build_index([vectors], 6), rows, [vectors], 0.93)
    found = clusters_of(clips, build_index([vectors], 6, factory), rows, [vectors], 0.93)
    parts = pd.DataFrame({"found": found["cluster"], "exact": exact["cluster"]})
    assert (parts.groupby("found")["exact"].nunique() == 1).all()
    assert found["cluster"].nunique() < (found["cluster_reason"] == "").sum()


def test_a_similarity_that_is_just_reached_counts():
    vectors = np.float32([[1, 0], [0.5, np.sqrt(0.75)]])
    clips = clip_table(["a", "b"])
    for similarity, clusters in ((0.5, 1), (0.5000001, 2)):
        found = clusters_of(clips, build_index([vectors], 2), ["a", "b"], [vectors], similarity)
        assert found["cluster"].nunique() == clusters


def test_an_index_that_does_not_fit_is_named():
    clips, vectors = clip_table(["a", "b"]), np.eye(2, dtype=np.float32)
    with pytest.raises(VidmemError, match="build it again"):
        clusters_of(clips, build_index([vectors], 2), ["a"], [vectors], 0.5)
    with pytest.raises(VidmemError, match="2 frames as in the index"):
        clusters_of(clips, build_index([vectors], 2), ["a", "b"], [vectors[:1]], 0.5)
    empty = clusters_of(clip_table([]), build_index([], 2), [], [], 0.5)
    assert len(empty) == 0


def test_windows_of_a_video_are_one_near_duplicate():
    """Two windows that look the same, and a third clip that looks like them."""
    names = ["s-a-00000000", "s-a-00000000-w2", "s-b-00000000"]
    clips = pd.DataFrame({"clip_id": names, "split": "member", "status": "ok", "reason": "", "information": 6.0})
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 0]]
    index = faiss.IndexFlatIP(4)
    index.add(vectors)
    table = near_duplicate_clusters(clips, index, names, np.arange(3), [vectors], lambda ids: vectors[ids], 0.9)
    assert table["n_near_duplicate_clips"].tolist() == [1, 1, 1]
    assert set(table["cluster"]) == {names[0]}

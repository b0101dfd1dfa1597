"""Exact streaming and FAISS give the brute-force answer, however the references are cut."""

import numpy as np
import pytest

from vidmem.errors import VidmemError
from vidmem.features.content import gsscd, vsscd
from vidmem.features.descriptors import normalise
from vidmem.search.exact import merge_topk, search_aligned, search_clips, search_exact, stream_blocks


def brute(queries, references, k):
    products = queries.astype(np.float64) @ references.astype(np.float64).T
    rows = np.argsort(-products, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(products, rows, axis=1), rows


@pytest.mark.parametrize("block", [1, 7, 50, 1000])
@pytest.mark.parametrize("k", [1, 5])
def test_streaming_is_brute_force(stream, block, k):
    queries, references = normalise(stream.normal(size=(9, 24))), normalise(stream.normal(size=(200, 24)))
    found = search_exact(queries, stream_blocks([references[:90], references[90:]], block), k)
    scores, rows = brute(queries, references, k)
    assert np.array_equal(found.rows, rows)
    assert np.allclose(found.scores, scores, atol=1e-6)


@pytest.mark.parametrize("cuts", [[0, 12], [0, 5, 12], [0, 1, 2, 12]])
def test_ties_go_to_the_lower_row_whatever_the_blocks(cuts):
    references = np.tile(np.eye(3, dtype=np.float32), (4, 1))
    blocks = [references[a:b] for a, b in zip(cuts, cuts[1:])]
    assert search_exact(np.eye(3), blocks, 3).rows.tolist() == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


def test_fewer_references_than_k():
    found = search_exact(np.eye(2), [np.eye(2, dtype=np.float16)], 4)
    assert found.rows.tolist() == [[0, 1, -1, -1], [1, 0, -1, -1]]
    assert np.isneginf(found.scores[:, 2:]).all()


def test_no_reference_at_all():
    assert search_exact(np.eye(2), [], 1).rows.tolist() == [[-1], [-1]]


def test_merge_of_parts_is_the_whole(stream):
    queries, references = normalise(stream.normal(size=(4, 8))), normalise(stream.normal(size=(30, 8)))
    first = search_exact(queries, [references[:11]], 3)
    second = search_exact(queries, [references[11:]], 3)
    second = second._replace(rows=second.rows + 11)
    assert np.array_equal(merge_topk([second, first], 3).rows, search_exact(queries, [references], 3).rows)


def test_mixed_lengths_are_an_error():
    with pytest.raises(VidmemError, match="length 3"):
        search_exact(np.eye(3), [np.eye(4)], 1)
    with pytest.raises(VidmemError, match="k >= 1"):
        search_exact(np.eye(3), [np.eye(3)], 0)


@pytest.mark.parametrize("block", [1, 3, 2048])
def test_aligned_search_is_vsscd_of_every_pair(stream, block):
    queries, references = (
        [normalise(stream.normal(size=(length, 12))) for length in lengths]
        for lengths in ((8, 3, 8, 1, 5), (8, 8, 1, 6, 3, 8, 11))
    )
    values = np.array([[vsscd(query, reference) for reference in references] for query in queries])
    found = search_aligned(queries, references, 3, block)
    order = np.argsort(-values, axis=1, kind="stable")[:, :3]
    assert np.array_equal(found.rows, order)
    assert np.allclose(found.scores, np.take_along_axis(values, order, axis=1), atol=1e-6)


def test_aligned_search_without_references_or_with_fewer_than_k():
    assert search_aligned([np.eye(2)], [], 2).rows.tolist() == [[-1, -1]]
    found = search_aligned([np.eye(2)], [np.eye(2)], 2)
    assert found.rows.tolist() == [[0, -1]]
    assert found.scores[0, 0] == pytest.approx(1)


def clips_of(stream, lengths):
    return [normalise(stream.normal(size=(length, 12))) for length in lengths]


@pytest.mark.parametrize("cuts", [[0, 40], [0, 1, 2, 40], [0, 17, 17, 33, 40]])
@pytest.mark.parametrize("tile", [1, 20, 768])
def test_search_of_clips_is_gsscd_of_every_pair(stream, monkeypatch, cuts, tile):
    monkeypatch.setattr("vidmem.search.exact.CLIP_TILE", tile)
    queries, references = clips_of(stream, (8, 3, 1, 5)), clips_of(stream, stream.integers(1, 9, 40))
    values = np.array([[gsscd(query, reference).score for reference in references] for query in queries])
    blocks = [references[first:last] for first, last in zip(cuts, cuts[1:])]
    blocks = [(np.concatenate(part or [np.zeros((0, 12))]), np.array([len(clip) for clip in part], int)) for part in blocks]
    found = search_clips(np.concatenate(queries), [len(query) for query in queries], blocks, 3)
    order = np.argsort(-values, axis=1, kind="stable")[:, :3]
    assert np.array_equal(found.rows, order)
    assert np.allclose(found.scores, np.take_along_axis(values, order, axis=1), atol=1e-6)


def test_search_of_clips_at_the_edges():
    clip = (np.eye(2), np.array([2]))
    assert search_clips(np.eye(2), [1, 1], [clip, clip], 3).rows.tolist() == [[0, 1, -1], [0, 1, -1]]
    assert search_clips(np.eye(2), [2], [], 1).rows.tolist() == [[-1]]
    assert search_clips(np.zeros((0, 2)), [], [clip], 1).rows.shape == (0, 1)
    with pytest.raises(VidmemError, match="length 2"):
        search_clips(np.eye(2), [2], [(np.eye(3), np.array([3]))], 1)
    with pytest.raises(VidmemError, match="at least one frame"):
        search_clips(np.eye(2), [2, 0], [clip], 1)

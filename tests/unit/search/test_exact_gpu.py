"""The search for a GPU, run on the CPU: the same answer as the one for processors, whatever rounding does."""

import numpy as np
import pytest

from vidmem.errors import VidmemError
from vidmem.features.descriptors import normalise
from vidmem.search import exact_gpu
from vidmem.search.exact import search_clips
from vidmem.search.exact_gpu import search_clips_gpu


def clips_of(stream, lengths, width=24):
    return normalise(stream.normal(size=(int(np.sum(lengths)), width))).astype(np.float16), np.array(lengths)


def blocks_of(vectors, counts, cuts):
    edges = np.r_[0, np.cumsum(counts)]
    return [(vectors[edges[a] : edges[b]], counts[a:b]) for a, b in zip(cuts, cuts[1:])]


@pytest.mark.parametrize("lengths", ["even", "mixed"])
@pytest.mark.parametrize("rows", [1, 5, 4096])
@pytest.mark.parametrize("cuts", [[0, 200], [0, 3, 90, 90, 200]])
def test_the_same_as_on_a_processor(stream, monkeypatch, lengths, rows, cuts):
    monkeypatch.setattr(exact_gpu, "QUERY_ROWS", rows)
    theirs = clips_of(stream, [4] * 200 if lengths == "even" else stream.integers(1, 7, 200))
    mine = clips_of(stream, [4] * 9 if lengths == "even" else stream.integers(1, 5, 9))
    found = search_clips_gpu(*mine, blocks_of(*theirs, cuts), 5, "cpu")
    wanted = search_clips(*mine, blocks_of(*theirs, cuts), 5)
    assert np.array_equal(found.rows, wanted.rows)
    assert np.allclose(found.scores, wanted.scores, atol=1e-6)


def test_clips_that_rounding_cannot_tell_apart_are_multiplied_again(stream, monkeypatch):
    """Hundreds of references within the bound of each other: the rounded order is chance, the answer is not."""
    monkeypatch.setattr(exact_gpu, "CHOSEN", 4)
    again, plain = [], exact_gpu.pair_scores
    monkeypatch.setattr(exact_gpu, "pair_scores", lambda *parts, half: again.append(half) or plain(*parts, half=half))
    base = normalise(stream.normal(size=(1, 64)))
    theirs = normalise(base + 0.02 * stream.normal(size=(400, 64))).astype(np.float32)
    mine = normalise(base + 0.02 * stream.normal(size=(6, 64)))
    found = search_clips_gpu(mine, np.ones(6, int), [(theirs, np.ones(400, int))], 3, "cpu")
    products = mine.astype(np.float64) @ theirs.astype(np.float64).T
    assert np.array_equal(found.rows, np.argsort(-products, axis=1)[:, :3])
    assert False in again
    again.clear()
    far = normalise(stream.normal(size=(400, 64))).astype(np.float32)
    far[7] = base
    search_clips_gpu(mine[:1], np.ones(1, int), [(far, np.ones(400, int))], 1, "cpu")
    assert again == [True]  # nothing near: proved without a second product


def test_rounding_stays_within_the_bound(stream):
    first, second = (normalise(stream.normal(size=(200, 512))).astype(np.float16) for _ in range(2))
    second[:50] = first[:50]  # products near 1 round worst
    clips = [exact_gpu.DeviceClips.of(part, np.ones(200, np.int64), slice(0, 200), "cpu") for part in (first, second)]
    rounded, exact = (exact_gpu.pair_scores(*clips, half=half).numpy() for half in (True, False))
    assert np.abs(rounded - exact).max() < exact_gpu.BOUND / 2


def test_fewer_references_than_wanted_and_none(stream):
    mine, counts = clips_of(stream, [2, 1])
    found = search_clips_gpu(mine, counts, [clips_of(stream, [3, 1])], 4, "cpu")
    assert (found.rows[:, :2] >= 0).all()
    assert (found.rows[:, 2:] == -1).all()
    assert search_clips_gpu(mine, counts, [], 2, "cpu").rows.tolist() == [[-1, -1], [-1, -1]]
    assert search_clips_gpu(mine[:0], counts[:0], [clips_of(stream, [3])], 2, "cpu").rows.shape == (0, 2)
    with pytest.raises(VidmemError, match="k >= 1"):
        search_clips_gpu(mine, counts, [], 0, "cpu")

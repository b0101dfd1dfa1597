"""Content metrics against loops written from the formulas, and at their edges."""

import numpy as np
import pytest

from vidmem.errors import VidmemError
from vidmem.features.content import gsscd, sscd, vsscd
from vidmem.features.descriptors import normalise


def slow_gsscd(first, second):
    best = (-2.0, -1, -1)
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            score = sum(float(x) * float(y) for x, y in zip(a, b))
            if score > best[0]:
                best = (score, i, j)
    return best


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (3, 7), (1, 5)])
def test_gsscd_is_the_loop(stream, shape):
    first, second = (normalise(stream.normal(size=(count, 16))) for count in shape)
    score, i, j = slow_gsscd(first, second)
    found = gsscd(first, second)
    assert found.score == pytest.approx(score, abs=1e-6)
    assert (found.first, found.second) == (i, j)


def test_gsscd_is_symmetric_and_ignores_order(stream):
    first, second = normalise(stream.normal(size=(6, 32))), normalise(stream.normal(size=(5, 32)))
    score = gsscd(first, second).score
    assert gsscd(second, first).score == pytest.approx(score, abs=1e-6)
    assert gsscd(first[::-1], second[stream.permutation(5)]).score == pytest.approx(score, abs=1e-6)


def test_gsscd_of_halves_is_the_maximum(stream):
    first, second = normalise(stream.normal(size=(6, 32))), normalise(stream.normal(size=(8, 32)))
    halves = max(gsscd(first, second[:3]).score, gsscd(first, second[3:]).score)
    assert gsscd(first, second).score == pytest.approx(halves, abs=1e-6)


def test_half_precision_storage_costs_little(stream):
    first, second = normalise(stream.normal(size=(4, 512))), normalise(stream.normal(size=(4, 512)))
    stored = gsscd(first.astype(np.float16), second.astype(np.float16)).score
    assert stored == pytest.approx(gsscd(first, second).score, abs=1e-3)


def test_vsscd_is_the_cosine_of_concatenations(stream):
    first, second = normalise(stream.normal(size=(5, 16))), normalise(stream.normal(size=(5, 16)))
    a, b = first.ravel(), second.ravel()
    assert vsscd(first, second) == pytest.approx(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)), abs=1e-6)


def test_vsscd_samples_the_longer_clip_in_time():
    frames = np.eye(9)
    assert vsscd(frames, frames[[0, 4, 8]]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.zeros((0, 4)), "at least one frame"),
        (np.full((1, 4), np.nan), "unit-norm"),
        (np.array([[3.0, 0, 0, 0]]), "unit-norm"),
        (np.ones(4), "frames, d"),
    ],
)
def test_bad_descriptors_are_named(vectors, message):
    with pytest.raises(VidmemError, match=message):
        gsscd(vectors, np.eye(4))


def test_mixed_presets_are_an_error():
    with pytest.raises(VidmemError, match="mixed presets"):
        gsscd(np.eye(4), np.eye(5))


def test_sscd_of_a_frame_with_itself():
    assert sscd(np.array([0.6, 0.8]), np.array([0.6, 0.8])) == pytest.approx(1.0)

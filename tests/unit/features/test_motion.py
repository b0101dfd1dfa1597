"""OFS-k and the natural motion filter against loops written from the formulas, and at their edges."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from vidmem.errors import VidmemError
from vidmem.features.flow_measures import FlowFeatures, flow_features
from vidmem.features.motion import (
    EPSILON,
    best_window,
    mirror_flows,
    normalise_flows,
    ofs_k,
    pool_flows,
    shrink_flows,
    window_scores,
)
from vidmem.features.motion_rule import MotionRule
from vidmem.features.natural_motion import NaturalMotionFilter, allowed_pairs, natural_windows
from vidmem.search.exact_motion import motion_block, pair_match, search_motion


def slow_cosine(a, b, cosine):
    """The definition, pixel by pixel."""
    height, width = a.shape[1:]
    moving_a = moving_b = 0
    total = norm_a = norm_b = 0.0
    for y in range(height):
        for x in range(width):
            u, v = a[:, y, x].astype(float), b[:, y, x].astype(float)
            length_u, length_v = np.hypot(*u), np.hypot(*v)
            moving_a += length_u >= EPSILON
            moving_b += length_v >= EPSILON
            if cosine == "pixel" and length_u >= EPSILON and length_v >= EPSILON:
                total += float(u @ v) / length_u / length_v
            if cosine == "field":
                total += float(u @ v)
                norm_a, norm_b = norm_a + float(u @ u), norm_b + float(v @ v)
    if not moving_a or not moving_b:
        return 0.0
    return total / np.sqrt(moving_a * moving_b) if cosine == "pixel" else total / np.sqrt(norm_a * norm_b)


def slow_ofs(first, second, k, cosine, pairing):
    best = None
    for i, j in product(range(len(first) - k + 1), range(len(second) - k + 1)):
        if pairing == "aligned" and i != j:
            continue
        score = sum(slow_cosine(first[i + m], second[j + m], cosine) for m in range(k)) / k
        best = score if best is None else max(best, score)
    return best


def sparse_flows(stream, pairs, size=6):
    flows = stream.normal(size=(pairs, 2, size, size))
    flows[:, :, stream.random((size, size)) < 0.4] = 0
    return flows.astype(np.float32)


@pytest.mark.parametrize(("cosine", "pairing", "k"), list(product(("pixel", "field"), ("max", "aligned"), (1, 3))))
def test_ofs_is_the_loop(stream, cosine, pairing, k):
    first, second = sparse_flows(stream, 5), sparse_flows(stream, 4)
    found = ofs_k(first, second, k, cosine, pairing)
    assert found.score == pytest.approx(slow_ofs(first, second, k, cosine, pairing), abs=1e-5)


@pytest.mark.parametrize("cosine", ["pixel", "field"])
def test_ofs_of_a_clip_with_itself_is_one_however_sparse(cosine):
    flows = np.zeros((3, 2, 8, 8), np.float32)
    flows[:, 0, 2, 3] = 1.5
    assert ofs_k(flows, flows, 3, cosine).score == pytest.approx(1.0)


@pytest.mark.parametrize("cosine", ["pixel", "field"])
def test_zero_flow_scores_zero_not_nan(stream, cosine):
    still = np.zeros((3, 2, 6, 6))
    assert ofs_k(still, sparse_flows(stream, 3), 3, cosine).score == 0.0
    assert ofs_k(still, still, 3, cosine).score == 0.0


def test_opposite_motion_scores_minus_one(stream):
    flows = sparse_flows(stream, 3)
    assert ofs_k(flows, -flows, 3).score == pytest.approx(-1.0, abs=1e-5)


def test_too_short_is_not_defined(stream):
    assert ofs_k(sparse_flows(stream, 2), sparse_flows(stream, 5), 3).score is None


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.full((3, 2, 4, 4), np.nan), np.zeros((3, 2, 4, 4)), "finite"),
        (np.zeros((3, 2, 4, 4)), np.zeros((3, 2, 5, 4)), "one grid"),
        (np.zeros((3, 3, 4, 4)), np.zeros((3, 3, 4, 4)), "pairs, 2, h, w"),
    ],
)
def test_bad_flows_are_named(first, second, message):
    with pytest.raises(VidmemError, match=message):
        ofs_k(first, second)


def test_unknown_choices_are_named(stream):
    flows = sparse_flows(stream, 3)
    with pytest.raises(VidmemError, match="cosine one of"):
        ofs_k(flows, flows, cosine="angle")
    with pytest.raises(VidmemError, match="pairing one of"):
        ofs_k(flows, flows, pairing="best")
    with pytest.raises(VidmemError, match="k >= 1"):
        ofs_k(flows, flows, k=0)


def test_window_scores_are_products_of_concatenated_windows(stream):
    first, second = (normalise_flows(sparse_flows(stream, count)) for count in (6, 5))
    windows = [np.stack([fields[i : i + 3].ravel() for i in range(len(fields) - 2)]) / np.sqrt(3) for fields in (first, second)]
    assert np.allclose(window_scores(first @ second.T, 3), windows[0] @ windows[1].T, atol=1e-6)


def affine_flow(size=16, pan=(0.0, 0.0), zoom=0.0, turn=0.0):
    rows, columns = np.mgrid[0:size, 0:size] - (size - 1) / 2
    return np.stack([pan[0] + zoom * columns - turn * rows, pan[1] + zoom * rows + turn * columns])


@pytest.mark.parametrize(
    "motion", [{"pan": (2, 0)}, {"pan": (-1, 3)}, {"zoom": 0.1}, {"turn": 0.2}, {"pan": (1, 1), "zoom": 0.05}]
)
def test_camera_moves_are_affine(motion):
    features = flow_features(affine_flow(**motion)[None])
    assert features.residual[0] <= 1e-6 * features.energy[0]


def test_features_of_a_small_object():
    flows = np.zeros((1, 2, 16, 16))
    flows[0, 0, 3:6, 3:6] = 2.0
    features = flow_features(flows)
    assert features.magnitude[0] == pytest.approx(9 * 2 / 256 / np.hypot(16, 16))
    assert features.energy[0] == pytest.approx(36)
    assert features.residual[0] > 0.8 * features.energy[0]
    assert features.entropy[0] == 0.0  # one direction


def test_magnitude_is_a_share_of_the_frames_own_diagonal():
    """Four pixels of a 256 x 456 frame, down or to the right, on a square grid."""
    down, right = np.zeros((1, 2, 64, 64)), np.zeros((1, 2, 64, 64))
    down[0, 1], right[0, 0] = 4 * 64 / 256, 4 * 64 / 456
    for flows in (down, right):
        assert flow_features(flows, size=(256, 456)).magnitude[0] == pytest.approx(4 / np.hypot(256, 456))


def walker(pairs, side, step):
    """Flows of a square of 3 x 3 of 16 x 16 cells that goes right by `step` cells in every frame pair."""
    flows = np.zeros((pairs, 2, 16, 16))
    for pair in range(pairs):
        flows[pair, 0, side : side + 3, 1 + pair * step : 4 + pair * step] = step
    return flows


def test_a_small_object_that_walks_moves_its_area():
    assert flow_features(walker(4, 5, 1)).area.tolist() == pytest.approx([6 / 256, 9 / 256, 9 / 256, 6 / 256])


def test_area_asks_for_length_and_direction_and_a_neighbour(stream):
    steady = np.ones((5, 2, 8, 8))
    assert flow_features(steady).area.tolist() == [1] * 5
    blinks = np.array([1, -1, 1, -1, 1])[:, None, None, None]
    assert flow_features(steady * blinks).area.tolist() == [0] * 5
    assert flow_features(steady * np.array([1, 1, -1, 1, 1])[:, None, None, None]).area.tolist() == [1, 1, 0, 1, 1]
    shortest = 0.002 * np.hypot(8, 8) / np.sqrt(2)
    assert flow_features(steady * shortest * 1.01).area.tolist() == [1] * 5
    assert flow_features(steady * shortest * 0.99).area.tolist() == [0] * 5
    assert flow_features(steady[:1]).area.tolist() == [1]  # a clip of two frames
    noise = stream.normal(size=(200, 2, 8, 8))
    chance = np.arccos(0.9) / np.pi  # of one neighbour, whose direction is independent; a pair inside has two
    assert flow_features(noise).area[1:-1].mean() == pytest.approx(1 - (1 - chance) ** 2, abs=0.01)


def test_area_is_that_of_the_slow_loop(stream):
    flows, size = stream.normal(size=(6, 2, 4, 4)).cumsum(0), (30, 40)
    scale = np.array([size[1] / 4, size[0] / 4]) / np.hypot(*size)
    expected = []
    for pair in range(6):
        count = 0
        for row, column in product(range(4), range(4)):
            mine = flows[pair, :, row, column] * scale
            for other in {pair - 1, pair + 1} & set(range(6)):
                theirs = flows[other, :, row, column] * scale
                lengths = np.linalg.norm(mine), np.linalg.norm(theirs)
                if min(lengths) >= 0.002 and mine @ theirs >= 0.9 * lengths[0] * lengths[1]:
                    count += 1
                    break
        expected.append(count / 16)
    assert flow_features(flows, size=size).area == pytest.approx(expected)


def test_entropy_of_eight_directions_is_three_bits():
    angles = np.arange(64).reshape(8, 8) % 8 * np.pi / 4
    features = flow_features(np.stack([np.cos(angles), np.sin(angles)])[None])
    assert features.entropy[0] == pytest.approx(3.0)


def features_of(area, energy, residual, entropy):
    return FlowFeatures(*[np.array(values, float) for values in (area, area, energy, residual, entropy)])


def test_filter_parts_switch_and_name_themselves():
    features = features_of([0, 0, 0, 0.1, 0.1, 0.1], [1] * 6, [1, 1, 1, 0, 0, 0], [2] * 6)
    parts = {"static": 0.05, "affine": 0.5, "entropy": 1.0}
    assert list(natural_windows(features, 3, NaturalMotionFilter(**parts))) == ["static", "static", "affine", "affine"]
    assert list(natural_windows(features, 3, NaturalMotionFilter(affine=0.5))) == ["", "", "affine", "affine"]
    assert list(natural_windows(features, 3, NaturalMotionFilter(entropy=2.5))) == ["entropy"] * 4
    assert list(natural_windows(features, 3, NaturalMotionFilter())) == [""] * 4
    assert len(natural_windows(features, 7, NaturalMotionFilter(**parts))) == 0


def test_no_motion_has_no_affine_share():
    assert list(natural_windows(features_of([0], [0], [0], [0]), 1, NaturalMotionFilter(affine=0.5))) == [""]


@pytest.mark.parametrize(
    ("sides", "expected"),
    [("either", [[0, 0], [0, 1]]), ("both", [[0, 1], [1, 1]]), ("query", [[0, 0], [1, 1]]), ("reference", [[0, 1], [0, 1]])],
)
def test_sides(sides, expected):
    assert allowed_pairs([True, False], [True, False], sides).astype(int).tolist() == expected


def test_a_natural_window_leaves_before_the_maximum():
    scores = np.array([[0.9, 0.2], [0.3, 0.6]])
    assert best_window(scores, "max", allowed_pairs([True, False], [False, False])).score == 0.6
    assert best_window(scores, "max", np.zeros((2, 2), bool)).score is None


def block_of(clips, names, natural=NaturalMotionFilter()):  # noqa: B008 (frozen)
    flows = np.concatenate([clips[name] for name in names])
    return motion_block(names, [len(clips[name]) for name in names], flows, flow_features(flows), MotionRule(filter=natural))


@pytest.mark.parametrize(("pairing", "cuts"), list(product(("max", "aligned"), ([0, 7], [0, 2, 3, 7], range(8)))))
def test_search_is_ofs_of_every_pair_whatever_the_blocks(stream, pairing, cuts):
    clips = {f"c{i}": sparse_flows(stream, pairs) for i, pairs in enumerate([5, 4, 3, 2, 6, 0, 5])}
    queries = {f"q{i}": sparse_flows(stream, pairs) for i, pairs in enumerate([4, 1, 6])}
    cuts, names = list(cuts), list(clips)
    blocks = [block_of(clips, names[a:b]) for a, b in zip(cuts, cuts[1:]) if any(len(clips[n]) for n in names[a:b])]
    block = block_of(queries, list(queries))
    found = search_motion(block, blocks, MotionRule(pairing=pairing), [None], 3)[0]
    for place, name in enumerate(queries):
        scores = {other: ofs_k(queries[name], clips[other], 3, "field", pairing).score for other in names}
        expected = sorted((s for s in scores.values() if s is not None), reverse=True)[:3]
        assert [score for score in found.scores[place] if np.isfinite(score)] == pytest.approx(expected, abs=1e-5)
        for other, score in zip(found.of(place), found.scores[place]):
            match = pair_match(block, place, block_of(clips, [other]), MotionRule(pairing=pairing), None)
            assert match.score == pytest.approx(float(score), abs=1e-5)
            first, second = queries[name][match.query_pair :], clips[other][match.reference_pair :]
            assert ofs_k(first[:3], second[:3], 3, "field").score == pytest.approx(match.score, abs=1e-5)


def test_search_skips_natural_windows(stream):
    pan = np.repeat(affine_flow(6, pan=(2, 0))[None], 4, axis=0)
    moving = sparse_flows(stream, 4)
    rule = NaturalMotionFilter(affine=0.6)
    queries, references = block_of({"q": pan}, ["q"], rule), block_of({"a": pan, "b": moving}, ["a", "b"], rule)
    either, unfiltered, both = search_motion(queries, [references], MotionRule(), ["either", None, "both"], 2)
    assert either.of(0) == []
    assert unfiltered.of(0)[0] == "a"
    assert unfiltered.scores[0, 0] == pytest.approx(1.0)
    assert both.of(0) == ["b"]
    pan_itself = block_of({"a": pan}, ["a"], rule)
    assert pair_match(queries, 0, pan_itself, MotionRule(), "either").score is None
    assert pair_match(queries, 0, pan_itself, MotionRule(), None).score == pytest.approx(1.0)


def test_pooled_flows_are_means_of_cells(stream):
    values = stream.normal(size=(3, 2, 6, 4))
    pooled = pool_flows(values, 2)
    assert pooled[1, 0, 1, 0] == pytest.approx(values[1, 0, 3:, :2].mean(), abs=1e-6)
    assert np.allclose(pool_flows(values[:, :, :4], 4), values[:, :, :4], atol=1e-6)
    with pytest.raises(VidmemError, match="divisor"):
        pool_flows(values, 4)


def slow_shrink(flows, scale):
    """Every vector from its four neighbours at the place where it was; places beyond the border are on it."""
    height, width = flows.shape[2:]
    found = np.zeros(flows.shape)
    for row, column in product(range(height), range(width)):
        y, x = (min(max((at - (side - 1) / 2) / scale + (side - 1) / 2, 0), side - 1)
                for at, side in ((row, height), (column, width)))  # fmt: skip
        for near_y, near_x in product({int(y), min(int(y) + 1, height - 1)}, {int(x), min(int(x) + 1, width - 1)}):
            found[:, :, row, column] += flows[:, :, near_y, near_x] * (1 - abs(y - near_y)) * (1 - abs(x - near_x))
    return found * scale


def test_a_shrunk_field_is_that_of_its_definition(stream):
    flows = stream.normal(size=(2, 2, 8, 6))
    assert shrink_flows(flows, 0.9) == pytest.approx(slow_shrink(flows, 0.9), abs=1e-6)
    assert shrink_flows(flows, 1.0) == pytest.approx(flows, abs=1e-6)
    assert mirror_flows(shrink_flows(flows)) == pytest.approx(shrink_flows(mirror_flows(flows)), abs=1e-6)


def test_the_middle_of_a_clip_is_found_where_it_is_seen_as_a_part(stream):
    """A zoom into the middle, as a crop shows it: places and lengths grow by 1 / 0.8."""
    whole = np.repeat(np.repeat(stream.normal(size=(4, 2, 8, 8)), 8, axis=2), 8, axis=3).astype(np.float32)
    middle = shrink_flows(whole, 1 / 0.8)
    plain, seen = (ofs_k(view, whole, 3, "field").score for view in (middle, shrink_flows(middle, 0.8)))
    assert plain < 0.7
    assert seen > 0.9

"""Controls made from clips: edits, twins and camera moves."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from make_controls import make_controls
from search_corpus import flows, save_corpus
from vidmem.base.clip_table import clip_row, clip_table
from vidmem.base.shards import save_shards
from vidmem.base.store import load_array, load_table, save_table
from vidmem.errors import VidmemError
from vidmem.features.flow import clip_flows, load_estimator
from vidmem.features.flow_measures import flow_features
from vidmem.features.motion import ofs_k
from vidmem.scoring.control_plan import STAGED, plan_controls, staged_pairs, unrelated_pairs
from vidmem.scoring.controls import (
    CAMERA_MOVES,
    STILLS,
    camera_move,
    change_speed,
    content_twin,
    edit_clip,
    motion_twin,
    still_clip,
    walker,
)


def textured(stream):
    import cv2

    return cv2.GaussianBlur(stream.integers(0, 256, (64, 64, 3), dtype=np.uint8), (0, 0), 2) * 2


@pytest.mark.parametrize("edit", ["crop", "blur", "reencode", "brightness", "mirror"])
def test_edits_change_a_clip_and_keep_its_shape(stream, edit):
    clip = camera_move(textured(stream), "pan-right", 5)
    edited = edit_clip(clip, edit)
    assert edited.shape == clip.shape
    assert edited.dtype == np.uint8
    assert not np.array_equal(edited, clip)


def test_reencoding_narrow_clips_gives_the_same_frames_every_time(stream):
    # x264's lookahead reads memory nobody wrote on frames this narrow; without the cure a third of these differ.
    clip = stream.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    results = set()
    for _ in range(40):
        rubbish = [np.full(size, 255, np.uint8) for size in stream.integers(10, 20_000, 50)]
        del rubbish
        results.add(edit_clip(clip, "reencode").tobytes())
    assert len(results) == 1


def test_mirror_reverses_the_horizontal_flow(stream):
    clip = camera_move(textured(stream), "pan-right", 5)
    flows = [clip_flows(np.ascontiguousarray(x), load_estimator("dis"), 256, 64) for x in (clip, edit_clip(clip, "mirror"))]
    means = [field[:, 0].astype(float).mean() for field in flows]
    assert means[0] == pytest.approx(-means[1], rel=0.2)
    assert means[0] < -0.5  # the camera goes right, the picture left


def test_twins():
    clip = np.arange(6, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2).repeat(3, 3)
    assert np.array_equal(content_twin(clip, "reverse", np.random.default_rng(0)), clip[::-1])
    shuffled = content_twin(clip, "shuffle", np.random.default_rng(0))
    assert sorted(shuffled[:, 0, 0, 0]) == list(range(6))
    with pytest.raises(VidmemError, match="twin of"):
        content_twin(clip, "repeat", np.random.default_rng(0))


def test_motion_twin_moves_as_its_clip_does(stream):
    import cv2

    clip = camera_move(textured(stream), "zoom-in", 5)
    estimate = load_estimator("dis")
    flows = clip_flows(clip, estimate, 256, 64)
    other = cv2.rotate(textured(np.random.default_rng(5)), cv2.ROTATE_90_CLOCKWISE)
    twin = motion_twin(other, flows)
    assert twin.shape == clip.shape
    assert ofs_k(clip_flows(twin, estimate, 256, 64), flows, 3, "field").score > 0.7


@pytest.mark.parametrize("move", CAMERA_MOVES)
def test_camera_moves_are_natural(stream, move):
    flows = clip_flows(camera_move(textured(stream), move, 5), load_estimator("dis"), 256, 64)
    features = flow_features(flows)
    assert (1 - features.residual.sum() / features.energy.sum()) > 0.8
    assert features.magnitude.min() > 0.001


def flows_of(clip):
    return clip_flows(clip, load_estimator("dis"), 256, 64)


@pytest.mark.parametrize("move", ["parallax-right", "parallax-down"])
def test_in_a_parallax_the_near_half_moves_twice_as_far(stream, move):
    flows = flows_of(camera_move(textured(stream), move, 8)).astype(float)[:, int(move == "parallax-down")]
    far, near = (np.median(half[:, 8:-8]) for half in (flows[:, :26], flows[:, 38:]))
    assert near / far == pytest.approx(2, rel=0.25)


@pytest.mark.parametrize(("one", "other"), [("pan-right", "pan-left"), ("pan-down", "pan-up"), ("zoom-in", "zoom-out")])
def test_moves_go_both_ways(stream, one, other):
    assert np.array_equal(
        camera_move(textured(stream), one, 5), camera_move(textured(np.random.default_rng(20261121)), other, 5)[::-1]
    )


@pytest.mark.parametrize(("walk", "axis", "sign"), [("right-3", 0, 1), ("left-3", 0, -1), ("down-3", 1, 1), ("up-3", 1, -1)])
def test_somebody_walks_and_the_rest_stands(stream, walk, axis, sign):
    clip = walker(textured(stream), walk, 8)
    assert clip.shape == (8, 64, 64, 3)
    changed = (clip != clip[:1]).any(axis=(0, 3)).mean()
    assert 0.02 < changed < 0.12
    flows = flows_of(clip).astype(float)
    strongest = np.unravel_index(np.abs(flows).sum(0).argmax(), flows.shape[1:])
    assert strongest[0] == axis
    assert np.sign(flows[:, axis, *strongest[1:]].mean()) == sign
    area = flow_features(flows).area
    assert 0.01 < area.mean() < 0.1
    assert flow_features(flows).magnitude.mean() < 0.0005  # the mean of the frame says that nothing moves


def test_in_a_long_clip_somebody_arrives(stream):
    clip = walker(textured(stream), "left-4", 60)
    assert clip.shape == (60, 64, 64, 3)
    assert np.array_equal(clip[-1], clip[-2])


def test_two_pictures_with_one_walk_move_alike_and_two_ways_do_not(stream):
    pictures = textured(stream), textured(np.random.default_rng(5))
    right, other, left = (flows_of(walker(picture, walk, 8)) for picture, walk in
                          zip((*pictures, pictures[1]), ("right-1", "right-1", "left-1")))  # fmt: skip
    assert ofs_k(right, other, 3, "field").score > 0.7
    assert ofs_k(right, left, 3, "field").score < 0.2
    with pytest.raises(VidmemError, match="direction of"):
        walker(pictures[0], "away-1", 8)


@pytest.mark.parametrize("kind", STILLS)
def test_where_nothing_moves_pixels_change_and_little_moves_steadily(stream, kind):
    clip = still_clip(textured(stream), kind, 8, np.random.default_rng(3))
    assert clip.shape == (8, 64, 64, 3)
    assert (clip[1:] != clip[:1]).any()
    assert np.median(flow_features(flows_of(clip)).area) < 0.02
    again = still_clip(textured(np.random.default_rng(20261121)), kind, 8, np.random.default_rng(3))
    assert np.array_equal(clip, again)
    with pytest.raises(VidmemError, match="kind of"):
        still_clip(clip[0], "rain", 8, stream)


def test_speeds_keep_the_way(stream):
    flows = stream.normal(size=(7, 2, 4, 4))
    half, double = change_speed(flows, "half-speed"), change_speed(flows, "double-speed")
    assert (half.shape, double.shape) == ((7, 2, 4, 4), (3, 2, 4, 4))
    assert half[:6].sum(0) == pytest.approx(flows[:3].sum(0))
    assert double.sum(0) == pytest.approx(flows[:6].sum(0))
    with pytest.raises(VidmemError, match="speed of"):
        change_speed(flows, "slow")


SETTINGS = {"clips": 4, "twins": 2, "camera": 2 * len(CAMERA_MOVES), "scenes": 16}


def small_plan():
    clips = clip_table(
        [clip_row({}, clip_id=f"v{i}", split="member", count=8, fps=8.0, information=4.0) for i in range(6)]
        + [clip_row({}, clip_id=f"i{i}", split="image", count=1, information=5.0) for i in range(3)]
    )
    magnitude = pd.Series({f"v{i}": 0.01 * (i > 1) for i in range(6)})
    return plan_controls(clips, magnitude, SETTINGS, 0.005, 0)


def test_controls_are_planned_from_movers():
    plan = small_plan()
    counts = plan["control"].value_counts()
    assert counts["motion-twin"] == 2
    assert counts["camera"] == 2 * len(CAMERA_MOVES)
    assert counts["walker"] == counts["still"] == 8
    assert counts["half-speed"] + counts["double-speed"] == 2
    assert set(plan[~plan["control"].isin(STAGED)]["origin"]) <= {"v2", "v3", "v4", "v5"}
    assert (plan[plan["control"] == "motion-twin"].eval("origin != picture")).all()
    assert set(plan[plan["control"].isin(STAGED)]["origin"]) <= {"i0", "i1", "i2"}
    assert small_plan().equals(plan)


def test_pairs_of_staged_clips_show_two_pictures():
    plan = small_plan()
    pairs = pd.DataFrame(staged_pairs(plan), columns=["control", "first", "second"])
    named = plan.set_index("clip_id")
    assert (named.loc[pairs["first"], "origin"].to_numpy() != named.loc[pairs["second"], "origin"].to_numpy()).all()
    assert pairs["control"].value_counts().to_dict() == {
        "camera": len(CAMERA_MOVES),  # two of each
        "walker": 4,  # four walks, each over two pictures
        "still": 4,
        "walkers-apart": 4,  # the walks of a group go two ways: two times two, without those over one picture
    }
    for row in pairs.itertuples():
        variants = named.loc[row.first, "variant"], named.loc[row.second, "variant"]
        assert (variants[0] == variants[1]) == (row.control != "walkers-apart")
        assert row.control != "walkers-apart" or variants[0].split("-")[1] == variants[1].split("-")[1]


@pytest.mark.parametrize("left_out", [STAGED, ("walker",), ("camera", "still")])
def test_a_plan_may_lack_staged_clips(left_out):
    plan = small_plan()
    plan = plan[~plan["control"].isin(left_out)]
    found = {control for control, *_ in staged_pairs(plan)}
    assert not found & set(left_out)
    assert ("walkers-apart" in found) == ("walker" not in left_out)


def test_unrelated_pairs_are_all_or_a_sample():
    assert len(unrelated_pairs(["a", "b", "c"], 0)) == 3
    assert len(unrelated_pairs([str(i) for i in range(50)], 0, limit=100)) == 100


def test_a_corpus_that_no_control_can_be_made_of_has_none(stream, tmp_path):
    """Nothing in it moves, and no picture has texture."""
    folder = tmp_path / "corpus-x"
    folder.mkdir()
    clips, _, rows = files = save_corpus(folder, flows(stream), 1, "flows")
    save_table(rows[0], pd.read_parquet(rows[0]).assign(magnitude=0.0))
    save_table(clips[0], pd.read_parquet(clips[0]).assign(information=0.0))
    lists = SimpleNamespace(motion=folder / "motion.json", frames=folder / "frames.json")
    save_shards(lists.motion, dict(zip(("clips", "flows", "pairs"), [list(map(str, part)) for part in files])))
    save_shards(lists.frames, {"clips": [str(clips[0])], "frames": []})
    made = SimpleNamespace(frames=tmp_path / "made.npy", clips=tmp_path / "made.parquet")
    footage = {"keep_frames": False, "size": [8, 8], "frames": 6, "sources": []}
    numbers = {"clips": 3, "twins": 3, "camera": 3, "scenes": 4, "moving": 0.5}
    make_controls(lists, footage, "x", numbers, 0, 0, 1, made)
    assert len(load_table(made.clips)) == 0
    assert load_array(made.frames).shape == (0, 8, 8, 3)

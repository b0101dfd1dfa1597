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
from vidmem.scoring.control_plan import camera_pairs, plan_controls, unrelated_pairs
from vidmem.scoring.controls import CAMERA_MOVES, camera_move, content_twin, edit_clip, motion_twin


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


def test_controls_are_planned_from_movers_and_pairs_are_known():
    clips = clip_table(
        [clip_row({}, clip_id=f"v{i}", split="member", count=8, fps=8.0, information=4.0) for i in range(6)]
        + [clip_row({}, clip_id=f"i{i}", split="image", count=1, information=5.0) for i in range(2)]
    )
    magnitude = pd.Series({f"v{i}": 0.01 * (i > 1) for i in range(6)})
    plan = plan_controls(clips, magnitude, {"clips": 3, "twins": 2, "camera": 8}, 0.005, 0)
    assert plan["control"].value_counts()["camera"] == 8
    assert (plan["control"] == "motion-twin").sum() == 2
    assert set(plan[plan["control"] != "camera"]["origin"]) <= {"v2", "v3", "v4", "v5"}
    assert (plan[plan["control"] == "motion-twin"].eval("origin != picture")).all()
    assert plan_controls(clips, magnitude, {"clips": 3, "twins": 2, "camera": 8}, 0.005, 0).equals(plan)
    assert len(camera_pairs(plan)) == 4
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
    numbers = {"clips": 3, "twins": 3, "camera": 3, "moving": 0.5}
    make_controls(lists, footage, "x", numbers, 0, 0, 1, made)
    assert len(load_table(made.clips)) == 0
    assert load_array(made.frames).shape == (0, 8, 8, 3)

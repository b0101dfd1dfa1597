"""Negatives, score normalisation and positives of a small corpus, against loops over all pairs."""

import numpy as np
import pandas as pd
import pytest

from scored_corpus import scored, small_corpus
from vidmem.errors import VidmemError
from vidmem.features import clip_features
from vidmem.features.content import vsscd
from vidmem.features.metrics import METRICS
from vidmem.scoring.calibration import (
    FLOOR,
    best_elsewhere,
    choose_thresholds,
    negatives_of,
    right_answers,
    same_scene,
)
from vidmem.scoring.thresholds import choose_in_force, save_in_force, shown_thresholds, thresholds_of
from vidmem.search.references import ReferenceShards


def slow_score(metric, first, second):
    """Score of a pair of clips by loops; None where none is defined, FLOOR where no window may carry a verdict."""
    a, b = first["vectors"].astype(float), second["vectors"].astype(float)
    if metric == "gsscd":
        return max(float(x @ y) for x in a for y in b)
    if metric == "vsscd":
        return vsscd(first["vectors"], second["vectors"])
    a, b = first["flows"].astype(float), second["flows"].astype(float)
    if min(len(a), len(b)) < 2:
        return None
    values = [FLOOR]
    for i in range(len(a) - 1):
        for j in range(len(b) - 1):
            if min(np.abs(a[i : i + 2]).mean(), np.abs(b[j : j + 2]).mean()) >= 0.02:
                pairs = [(a[i + m].ravel(), b[j + m].ravel()) for m in (0, 1)]
                values.append(np.mean([x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in pairs]))
    return max(values)


def slow_best(metric, clip, others):
    values = [value for other in others if (value := slow_score(metric, clip, other)) is not None]
    return max(values) if values else np.nan


@pytest.mark.parametrize("metric", ["gsscd", "vsscd", "ofs_k"])
def test_negatives_are_the_maxima_of_a_loop_without_their_scene(small_scores, metric):
    clips, _, scores = small_scores
    references = [clip for clip in clips if clip["split"] != "heldout"]
    named = {clip["clip_id"]: clip for clip in clips}
    raw = scores[(scores["metric"] == metric) & (scores["normalisation"] == "raw") & (scores["kind"] != "positive")]
    assert (raw["kind"] == "leave-one-out").sum() == len(references)
    for row in raw.itertuples():
        clip = named[row.clip_id]
        others = [other for other in references if vsscd(clip["vectors"], other["vectors"]) < 0.75]
        assert others.count(clip) == 0
        assert row.value == pytest.approx(slow_best(metric, clip, others), abs=2e-3, nan_ok=True)


def test_planted_near_duplicates_are_left_out_and_background_scenes_are_whole(small_scores):
    _, _, scores = small_scores
    content = scores[(scores["metric"] == "gsscd") & (scores["normalisation"] == "raw")].set_index("clip_id")
    assert content.loc["clip-02", "left_out"] == content.loc["clip-05", "left_out"] == 2
    assert content.loc["clip-02", "value"] < 0.98  # its near-duplicate alone scores more
    assert content.loc["clip-02", "cluster"] == content.loc["clip-05", "cluster"]
    held = set(content.index[content["kind"] == "held-out"])
    assert ("clip-16" in held) == ("clip-17" in held)
    assert 3 <= len(held) <= 5
    assert not (scores["clip_id"].isin({f"clip-{place:02d}" for place in range(15, 23)} - held)).any()


@pytest.mark.parametrize("metric", METRICS)
def test_normalised_scores_are_less_the_mean_of_the_nearest_background(small_scores, metric):
    clips, controls, scores = small_scores
    held = set(scores[scores["kind"] == "held-out"]["clip_id"])
    background = [clip for clip in clips if clip["split"] == "heldout" and clip["clip_id"] not in held]
    named = {clip["clip_id"]: clip for clip in [*clips, *controls]}
    keys = ["kind", "control", "clip_id"]
    raw, normalised = (scores[(scores["metric"] == metric) & (scores["normalisation"] == name)].set_index(keys)["value"]
                       for name in ("raw", "normalised"))  # fmt: skip
    for key, value in raw.items():
        levels = sorted((slow_score(metric, named[key[2]], other) for other in background), key=lambda level: -(level or -9))
        expected = FLOOR - 1 if value == FLOOR else value - np.mean(levels[:2]) if value == value else np.nan
        assert normalised[key] == pytest.approx(expected, abs=4e-3, nan_ok=True)


def test_positives_are_found_where_the_best_match_is_their_target(small_scores):
    _, _, scores = small_scores
    positive = scores[(scores["kind"] == "positive") & (scores["normalisation"] == "raw")]
    content = positive[positive["metric"] == "gsscd"].set_index(["control", "clip_id"])
    assert set(content.index.get_level_values(0)) == {"blur", "crop", "picture-of-motion-twin"}  # the mirrored clip is held out
    assert content.loc[("picture-of-motion-twin", "motion-twin-clip-04"), "match"] == "clip-13"
    assert content.loc[("blur", "blur-clip-05"), "match"] in ("clip-02", "clip-05")  # a near-duplicate is right, too
    motion = positive[positive["metric"] == "ofs_k"].set_index("clip_id")
    assert motion.loc["motion-twin-clip-04", "match"] == "clip-04"
    assert (motion["value"] > 0.9).all()


def test_a_wrong_match_is_not_found():
    columns = ["query", "reference", "score", "rank", "natural"]
    matches = pd.DataFrame([("a", "x", 0.9, 1, ""), ("b", "y", 0.8, 1, ""), ("c", "", np.nan, 1, "short")], columns=columns)
    answers = pd.DataFrame({"control": "blur", "clip_id": ["a", "b", "c"], "target": ["x", "x", "x"]})
    assert right_answers(matches, answers, {"x": {"x"}})["value"].tolist() == pytest.approx([0.9, FLOOR, np.nan], nan_ok=True)


def test_scores_do_not_depend_on_shards_or_order(small_scores, tmp_path):
    clips, controls, scores = small_scores
    other = scored(tmp_path, clips[::-1], controls[::-1], shards=3)
    keys = ["metric", "normalisation", "kind", "control", "clip_id"]
    first, second = (table.sort_values(keys).reset_index(drop=True) for table in (scores, other))
    pd.testing.assert_frame_equal(first, second, atol=1e-6)


def test_features_are_held_of_what_is_looked_up_alone(tmp_path, monkeypatch):
    """Held-out clips, sampled negatives and clips that controls were made of; the other references come a shard at a time."""
    clips, controls = small_corpus()
    held, opened = [], ReferenceShards.features_of
    monkeypatch.setattr(ReferenceShards, "features_of", lambda self, names: held.append(opened(self, names)) or held[-1])
    together, joined = [], clip_features.joined
    monkeypatch.setattr(clip_features, "joined", lambda parts: together.append(joined(parts)) or together[-1])
    scores = scored(tmp_path, clips, controls, shards=3, negatives=2)
    made_of = {control[part] for control in controls for part in ("origin", "picture")}
    negatives = set(scores.loc[scores["kind"] == "leave-one-out", "clip_id"])
    assert len(negatives) == 2
    for features in (*held, *together):
        names = set(features.rows["clip_id"]) & {clip["clip_id"] for clip in clips}
        assert names <= made_of | negatives | {clip["clip_id"] for clip in clips if clip["split"] == "heldout"}
        assert names < {clip["clip_id"] for clip in clips}
    assert (len(held), len(together)) == (2, 4)  # and the controls, whole


def test_the_preset_is_stated_wherever_the_looked_up_clips_lie(tmp_path):
    """Of thirty shards most have no clip that is looked up."""
    clips, controls = small_corpus()
    members = [clip for clip in clips if clip["split"] != "heldout"]
    scores = scored(tmp_path, members, controls, shards=30, negatives=1)
    assert dict(scores.groupby("metric")["preset"].unique().map(list)) == {
        "gsscd": ["preset 1"], "vsscd": ["preset 1"], "ofs_k": ["estimator"],
    }  # fmt: skip


def test_too_few_negatives_choose_no_threshold_and_say_how_many_it_takes(small_scores, tmp_path):
    scores = small_scores[2]
    few = choose_thresholds(scores, 0.01)["gsscd"]
    assert (few["threshold"], few["needs"]) == (None, 100)
    assert few["n_negative"] < 100
    file, stated = tmp_path / "thresholds.json", {"content": "calibrated", "motion": 0.5}
    save_in_force(file, {"small": choose_in_force(stated, choose_thresholds(scores, 0.01))})
    with pytest.raises(VidmemError, match="(?s)100 negatives.*corpus small.*rate of at least"):
        thresholds_of(file, "small", ["gsscd", "vsscd", "ofs_k"])
    assert np.isnan(shown_thresholds(file, "small")["gsscd"])
    save_in_force(file, {"small": choose_in_force(stated, choose_thresholds(scores, 0.25))})
    enough = thresholds_of(file, "small", ["gsscd", "vsscd", "ofs_k"])
    assert enough.items() <= shown_thresholds(file, "small").items()
    values = negatives_of(scores, "gsscd")
    assert (values >= enough["gsscd"]).mean() <= 0.25 < (values >= enough["gsscd"] - 1e-9).mean()
    assert enough["ofs_k"] == 0.5
    save_in_force(file, {"small": choose_in_force({"content": 0.4, "motion": 0.5}, {})})
    assert thresholds_of(file, "small", ["gsscd", "vsscd", "ofs_k"]) == {"gsscd": 0.4, "vsscd": 0.4, "ofs_k": 0.5}


def test_windows_of_a_video_are_no_false_alarms_of_each_other():
    names = ["s-a-00000000", "s-a-00000000-w2", "s-b-00000000"]
    matches = pd.DataFrame(
        [[names[0], names[1], 0.6, ""], [names[0], names[2], 0.2, ""], [names[2], names[0], 0.3, ""]],
        columns=["query", "reference", "score", "natural"],
    )
    scenes = same_scene(matches, [names[0], names[2]], 0.75, names)
    assert scenes == {names[0]: {names[0], names[1]}, names[2]: {names[2]}}
    best = best_elsewhere(matches, [names[0], names[2]], scenes).set_index("clip_id")
    assert best["value"].to_dict() == {names[0]: 0.2, names[2]: 0.3}

"""Thresholds for a stated false-positive rate, their intervals, score normalisation and human labels."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import binom, norm

from vidmem import features as features_module
from vidmem import statistics
from vidmem.calibration import (
    FLOOR,
    METRICS,
    Footage,
    References,
    calibration_scores,
    choose_thresholds,
    negatives_of,
    right_answers,
)
from vidmem.calibration_figures import calibration_figure, normalisation_figure
from vidmem.calibration_table import calibration_table, state_share
from vidmem.clip_table import clip_row, clip_table
from vidmem.config import complete_config, load_schema
from vidmem.content import gsscd, vsscd
from vidmem.errors import VidmemError
from vidmem.features import load_features
from vidmem.figures import save_figure
from vidmem.labels import label_scores, name_by_set, read_labels
from vidmem.matching import filter_of
from vidmem.references import ReferenceShards
from vidmem.store import load_tables, save_array, save_table, shard_of
from vidmem.tables import VALIDATION_COLUMNS, label_table
from vidmem.thresholds import thresholds_of

# A curve drawn by hand: ten negatives, two of them tied at 0.6; five positives.
NEGATIVES = np.array([0.9, 0.8, 0.6, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
POSITIVES = np.array([0.95, 0.85, 0.7, 0.6, 0.05])
CURVE = {  # stated rate: (true-positive rate, false-positive rate) of its last point
    0.0: (0.2, 0.0),
    0.099: (0.2, 0.0),
    0.1: (0.4, 0.1),
    0.2: (0.6, 0.2),
    0.3: (0.6, 0.2),  # the third negative is tied with the fourth: both or none
    0.39: (0.6, 0.2),
    0.4: (0.8, 0.4),
    0.99: (1.0, 0.9),
    1.0: (1.0, 1.0),
}


@pytest.mark.parametrize("rate", CURVE)
def test_the_last_point_of_a_hand_made_curve(rate):
    point = statistics.tpr_at_fpr(POSITIVES, NEGATIVES, rate)
    assert (point.tpr, point.fpr) == CURVE[rate]
    assert point.fpr <= rate


def test_true_positives_at_one_percent_of_two_hundred_negatives():
    negatives = np.arange(200) / 200  # 1 % are two negatives: 0.995 and 0.99 may fire, 0.985 may not
    point = statistics.tpr_at_fpr(np.array([0.985, 0.9851, 0.99, 1.0]), negatives, 0.01)
    assert point == (np.nextafter(0.985, 1), 0.75, 0.01)
    assert statistics.tpr_at_fpr(np.array([0.985]), np.append(negatives, 0.99), 0.01).fpr == 1 / 201  # never the nearest


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_the_threshold_is_the_smallest(kind):
    for draw in range(200):
        stream = np.random.default_rng(draw)
        negatives = stream.integers(0, 12, size=stream.integers(1, 40)).astype(kind) / kind(7)
        rate = [0.01, 0.05, 0.29, 0.5, float(stream.uniform())][draw % 5]
        threshold = kind(statistics.threshold_at(negatives, rate))
        # Every threshold that could be smaller lets all negatives through from one observed value on.
        passing = [value for value in np.unique(negatives) if (negatives >= value).mean() <= rate]
        assert (negatives >= threshold).mean() <= rate
        assert (negatives >= np.nextafter(threshold, kind(-np.inf))).mean() > rate
        assert set(np.unique(negatives[negatives >= threshold])) == set(passing)


def test_a_rate_is_exact_where_floating_point_is_not():
    assert 0.29 * 100 < 29  # a plain floor would allow 28
    assert statistics.tpr_at_fpr(np.ones(1), np.arange(100.0), 0.29).fpr == 0.29
    assert [statistics.negatives_needed(rate) for rate in (1, 0.5, 0.3, 0.05, 0.01, 0.001)] == [1, 2, 4, 20, 100, 1000]
    for count in range(1, 2000):
        assert statistics.negatives_needed(1 / count) == count


def test_scores_that_never_fire_and_empty_classes():
    assert statistics.threshold_at(np.array([-np.inf, -np.inf, 0.5]), 0.34) > -np.inf
    assert statistics.tpr_at_fpr(np.array([0.3, -np.inf]), np.array([-np.inf, -np.inf, 0.5]), 0.34)[1:] == (0.5, 1 / 3)
    assert np.isnan(statistics.threshold_at(np.array([]), 0.01))
    assert np.isnan(statistics.tpr_at_fpr(np.ones(3), np.array([]), 0.01)).all()
    assert np.isnan(statistics.tpr_at_fpr(np.array([]), np.ones(3), 0.01).tpr)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_rates_that_are_none(rate):
    with pytest.raises(VidmemError, match="rate"):
        statistics.threshold_at(np.ones(3), rate)
    with pytest.raises(VidmemError, match="rate"):
        statistics.negatives_needed(rate)


def test_scores_that_are_not_numbers():
    with pytest.raises(VidmemError, match="1 that are not"):
        statistics.threshold_at(np.array([0.1, np.nan]), 0.1)


TRIALS = 800
SIDES = [(20, 40, 0.0), (30, 60, 1.2), (40, 80, 2.5), (100, 200, 2.5), (12, 12, 1.2)]


def covered_areas(positives, negatives, distance):
    """Share of simulated intervals that hold the true area, which is that of two normal laws.

    Three scores a target, correlated by one half.
    """
    stream = np.random.default_rng(7)
    truth = norm.cdf(distance / np.sqrt(2))
    targets, covered = np.repeat(np.arange(positives), 3), 0
    for trial in range(TRIALS):
        ours = distance + np.sqrt(0.5) * (stream.normal(size=positives)[targets] + stream.normal(size=3 * positives))
        theirs = stream.normal(size=negatives)
        interval = statistics.auc_interval(ours, theirs, targets, np.arange(negatives), trial, draws=100)
        covered += interval.low <= truth <= interval.high
    return covered / TRIALS


@pytest.mark.parametrize(("positives", "negatives", "distance"), SIDES)
def test_the_bootstrap_of_the_auc_covers_its_level(positives, negatives, distance):
    assert 0.93 <= covered_areas(positives, negatives, distance) <= 0.97


def test_where_the_bootstrap_of_the_auc_covers_less():
    """An area near one that rests on few negatives: the docs say so, and this says how much."""
    assert 0.86 <= covered_areas(200, 20, 2.5) <= 0.93


@cache
def interval_ends(method, total):
    return np.array([statistics.share_interval(count, total, 0.95, method)[1:] for count in range(total + 1)])


def covered_shares(method, share, total, trials=20000):
    """Share of simulated intervals that hold the true share."""
    found = np.random.default_rng(3).binomial(total, share, size=trials)
    ends = interval_ends(method, total)
    share = np.broadcast_to(share, trials)
    return float(((ends[found, 0] <= share) & (share <= ends[found, 1])).mean())


@pytest.mark.parametrize("total", [18, 87, 300])
def test_intervals_of_shares_cover_their_level(total):
    anywhere = np.random.default_rng(5).uniform(size=20000)
    assert 0.93 <= covered_shares("wilson", anywhere, total) <= 0.97
    for share in (0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 0.99):
        assert covered_shares("exact", share, total) >= 0.95


def exact_coverage(method, share, total):
    """Probability that the interval holds the share: the sum over all counts instead of a simulation."""
    ends = interval_ends(method, total)
    held = np.flatnonzero((ends[:, 0] <= share) & (share <= ends[:, 1]))
    return float(binom.pmf(held, total, share).sum())


@pytest.mark.parametrize("total", [87, 100, 300])
def test_wilson_covers_its_level_at_every_share_but_the_ends(total):
    coverage = np.array([exact_coverage("wilson", share, total) for share in np.linspace(0.1, 0.9, 161)])
    assert coverage.min() >= 0.93
    assert coverage.max() <= 0.97


def test_where_wilson_covers_less():
    """Shares near the ends, and few trials: the docs say so, and this says how much."""
    assert 0.90 <= exact_coverage("wilson", 0.005, 100) <= 0.93
    assert 0.89 <= exact_coverage("wilson", 0.97, 18) <= 0.92


@pytest.mark.parametrize("total", [9, 18, 87, 300])
def test_clopper_pearson_covers_its_level_at_every_share(total):
    assert min(exact_coverage("exact", share, total) for share in np.linspace(0.005, 0.995, 199)) >= 0.95


# Calibration on a small corpus of descriptors and flows, against loops over all pairs.
MOTION = {
    "k": 2, "cosine": "field", "pairing": "max", "filter": {"static": 0.02, "affine": None, "entropy": None, "sides": "either"},
}  # fmt: skip
SETTINGS = {"background": 0.5, "top": 2, "beta": 1.0, "duplicate": 0.75, "negatives": 1000, "false_positive_rate": 0.25}
SOURCES = ("games", "film")


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float16)


def feature_files(folder, name, clips, shards=1):
    """Feature files of a set: clips are dictionaries of columns with vectors [T, 8] and flows [P, 2, 4, 4]."""
    paths = {part: [] for part in ("clips", "descriptors", "rows", "flows", "pairs")}
    for shard in range(shards):
        own = [clip for clip in clips if shard_of(clip["clip_id"], shards) == shard]
        extra = [column for column in ("control", "origin", "picture") if column in clips[0]]
        rows = [clip_row({}, **{key: clip[key] for key in clip if key not in ("vectors", "flows")}) for clip in own]
        files = {part: folder / f"{name}-{shard}.{part}" for part in paths}
        vectors = [clip["vectors"] for clip in own] or [np.zeros((0, 8), np.float16)]
        flows = [clip["flows"] for clip in own] or [np.zeros((0, 2, 4, 4), np.float16)]
        save_table(files["clips"], clip_table(rows, extra))
        for part, arrays in (("descriptors", vectors), ("flows", flows)):
            save_array(files[part], np.concatenate(arrays))
        named = [(clip["clip_id"], frame, "preset 1") for clip in own for frame in range(len(clip["vectors"]))]
        save_table(files["rows"], pd.DataFrame(named, columns=["clip_id", "frame", "computed_by"]))
        measured = [
            (clip["clip_id"], pair, float(np.abs(flow).mean()), 1.0, 1.0, 2.0, "estimator")
            for clip in own for pair, flow in enumerate(clip["flows"])
        ]  # fmt: skip
        columns = ["clip_id", "pair", "magnitude", "energy", "residual", "entropy", "computed_by"]
        save_table(files["pairs"], pd.DataFrame(measured, columns=columns))
        for part in paths:
            paths[part].append(files[part])
    return paths["clips"], (paths["descriptors"], paths["rows"]), (paths["flows"], paths["pairs"])


def footage(folder, name, clips, shards=1):
    tables, *kinds = feature_files(folder, name, clips, shards)
    return Footage(*(load_features(tables, *files) for files in kinds))


def small_corpus(seed=0):
    """Twelve members, two of them near-duplicates of others, three images, eight held-out clips; and their controls."""
    stream = np.random.default_rng(seed)
    clips = []
    for place in range(23):
        split = "member" if place < 12 else "image" if place < 15 else "heldout"
        frames = 1 if split == "image" else 4
        vectors, flows = unit(stream.normal(size=(frames, 8))), stream.normal(size=(frames - 1, 2, 4, 4)).astype(np.float16)
        if place in (5, 17):  # planted near-duplicates: among the members, and among the held-out clips
            other = clips[2 if place == 5 else 16]
            vectors, flows = unit(other["vectors"] + 0.02 * stream.normal(size=(4, 8))), other["flows"]
        if place in (7, 20):
            flows = 0.001 * flows  # natural throughout: never fires
        clips.append({"clip_id": f"clip-{place:02d}", "set": "corpus-small", "source": SOURCES[place % 2], "split": split,
                      "count": frames, "vectors": vectors, "flows": flows})  # fmt: skip
    controls = []
    for control, origin, picture in (
        ("blur", 1, 1),
        ("crop", 3, 3),
        ("mirror", 16, 16),
        ("motion-twin", 4, 13),
        ("blur", 5, 5),
    ):
        look, move = clips[picture], clips[origin]
        vectors = unit(look["vectors"].astype(float).mean(0) + 0.05 * stream.normal(size=(4, 8)))
        vectors = vectors if control == "motion-twin" else unit(look["vectors"] + 0.05 * stream.normal(size=(4, 8)))
        controls.append({"clip_id": f"{control}-{move['clip_id']}", "set": "controls-small", "split": "control", "count": 4,
                         "control": control, "origin": move["clip_id"], "picture": look["clip_id"], "vectors": vectors,
                         "flows": (move["flows"] + 0.1 * stream.normal(size=(3, 2, 4, 4))).astype(np.float16)})  # fmt: skip
    return clips, controls


def scored(folder, clips, controls, shards=1, **settings):
    folder.mkdir(exist_ok=True)
    tables, *kinds = feature_files(folder, "corpus", clips, shards)
    corpus = References(*(ReferenceShards(tables, *files) for files in kinds))
    sets = load_tables(tables), corpus, footage(folder, "controls", controls, shards)
    return calibration_scores(*sets, SETTINGS | settings, {"block": 7}, MOTION, 0)


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


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    clips, controls = small_corpus()
    return clips, controls, scored(tmp_path_factory.mktemp("small"), clips, controls)


@pytest.mark.parametrize("metric", METRICS)
def test_negatives_are_the_maxima_of_a_loop_without_their_scene(small, metric):
    clips, _, scores = small
    references = [clip for clip in clips if clip["split"] != "heldout"]
    named = {clip["clip_id"]: clip for clip in clips}
    raw = scores[(scores["metric"] == metric) & (scores["normalisation"] == "raw") & (scores["kind"] != "positive")]
    assert (raw["kind"] == "leave-one-out").sum() == len(references)
    for row in raw.itertuples():
        clip = named[row.clip_id]
        others = [other for other in references if vsscd(clip["vectors"], other["vectors"]) < 0.75]
        assert others.count(clip) == 0
        assert row.value == pytest.approx(slow_best(metric, clip, others), abs=2e-3, nan_ok=True)


def test_planted_near_duplicates_are_left_out_and_background_scenes_are_whole(small):
    _, _, scores = small
    content = scores[(scores["metric"] == "gsscd") & (scores["normalisation"] == "raw")].set_index("clip_id")
    assert content.loc["clip-02", "left_out"] == content.loc["clip-05", "left_out"] == 2
    assert content.loc["clip-02", "value"] < 0.98  # its near-duplicate alone scores more
    assert content.loc["clip-02", "cluster"] == content.loc["clip-05", "cluster"]
    held = set(content.index[content["kind"] == "held-out"])
    assert ("clip-16" in held) == ("clip-17" in held)
    assert 3 <= len(held) <= 5
    assert not (scores["clip_id"].isin({f"clip-{place:02d}" for place in range(15, 23)} - held)).any()


@pytest.mark.parametrize("metric", METRICS)
def test_normalised_scores_are_less_the_mean_of_the_nearest_background(small, metric):
    clips, controls, scores = small
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


def test_positives_are_found_where_the_best_match_is_their_target(small):
    _, _, scores = small
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


def test_scores_do_not_depend_on_shards_or_order(small, tmp_path):
    clips, controls, scores = small
    other = scored(tmp_path, clips[::-1], controls[::-1], shards=3)
    keys = ["metric", "normalisation", "kind", "control", "clip_id"]
    first, second = (table.sort_values(keys).reset_index(drop=True) for table in (scores, other))
    pd.testing.assert_frame_equal(first, second, atol=1e-6)


def test_features_are_held_of_what_is_looked_up_alone(tmp_path, monkeypatch):
    """Held-out clips, sampled negatives and clips that controls were made of; the other references come a shard at a time."""
    clips, controls = small_corpus()
    held, opened = [], ReferenceShards.features_of
    monkeypatch.setattr(ReferenceShards, "features_of", lambda self, names: held.append(opened(self, names)) or held[-1])
    together, joined = [], features_module.joined
    monkeypatch.setattr(features_module, "joined", lambda parts: together.append(joined(parts)) or together[-1])
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


def test_without_held_out_clips_nothing_is_normalised(tmp_path):
    clips, controls = small_corpus()
    scores = scored(tmp_path, [clip for clip in clips if clip["split"] != "heldout"], controls)
    assert len(negatives_of(scores, "gsscd")) == 15
    assert len(negatives_of(scores, "gsscd", "normalised")) == 0
    pairs = pd.DataFrame(columns=["metric", "variant", "filter", "control", "first", "second", "cluster", "value"])
    table = tabulated(scores, pairs)
    normalised = table[table["normalisation"] == "normalised"]
    assert (normalised["n_negative"] == 0).all()
    assert set(normalised["fpr_statement"]) == {"not measured"}


def tabulated(scores, pairs, rate=0.25):
    stated, interval = dict.fromkeys(METRICS, 0.5), {"level": 0.95, "method": "wilson", "draws": 100}
    return calibration_table(scores, pairs, "small", stated, rate, MOTION, interval, 0)


@pytest.fixture(scope="module")
def pairs():
    stream = np.random.default_rng(2)
    rows = [("gsscd", "preset", "none", "unrelated", f"a{i}", f"b{j}", f"a{i}", stream.uniform(0, 0.6))
            for i in range(10) for j in range(10)]  # fmt: skip
    rows += [("gsscd", "preset", "none", "blur", f"c{i}", f"a{i}", f"a{i}", stream.uniform(0.4, 1)) for i in range(9)]
    return pd.DataFrame(rows, columns=["metric", "variant", "filter", "control", "first", "second", "cluster", "value"])


def test_the_table_counts_what_a_loop_counts(small, pairs):
    scores = small[2]
    table = tabulated(scores, pairs)
    content = table[(table["metric"] == "gsscd") & (table["normalisation"] == "raw")]
    values = {kind: scores[(scores["metric"] == "gsscd") & (scores["normalisation"] == "raw") & (scores["kind"] == kind)]
              for kind in ("held-out", "leave-one-out", "positive")}  # fmt: skip
    measured = {kind: part["value"].tolist() for kind, part in values.items()}
    measured |= {"together": measured["held-out"] + measured["leave-one-out"]}
    measured["pairs"] = pairs[pairs["control"] == "unrelated"]["value"].tolist()
    for row in content[content["negatives"].isin(measured)].itertuples():
        if np.isnan(row.threshold):
            assert row.n_negative < row.needs
            continue
        fired = sum(value >= row.threshold for value in measured[row.negatives])
        assert (row.n_negative, row.n_fired) == (len(measured[row.negatives]), fired)
        assert row.fpr == fired / row.n_negative
        if row.chosen_on == row.negatives:
            assert row.fpr <= row.rate
    together = content[(content["negatives"] == "together") & (content["chosen_on"] == "configuration")].iloc[0]
    assert together["recall"] == np.mean([value >= 0.5 for value in measured["positive"]])


def test_a_source_is_measured_by_a_threshold_that_did_not_see_it(small, pairs):
    scores = small[2]
    content = scores[(scores["metric"] == "gsscd") & (scores["normalisation"] == "raw") & (scores["kind"] != "positive")]
    table = tabulated(scores, pairs)
    row = table[(table["metric"] == "gsscd") & (table["chosen_on"] == "without film") & (table["rate"] == 0.25)].iloc[0]
    film = content["source"] == "film"
    assert row["threshold"] == statistics.threshold_at(content[~film]["value"].to_numpy(), 0.25)
    assert row["n_fired"] == (content[film]["value"] >= row["threshold"]).sum()
    assert row["n_negative"] == film.sum()


def test_too_few_negatives_choose_no_threshold_and_say_how_many_it_takes(small):
    scores = small[2]
    few = choose_thresholds(scores, 0.01)["gsscd"]
    assert (few["threshold"], few["needs"]) == (None, 100)
    assert few["n_negative"] < 100
    content, motion = {"threshold": "calibrated"}, {"threshold": 0.5}
    with pytest.raises(VidmemError, match="(?s)100 negatives.*corpus small.*rate of at least"):
        thresholds_of(content, motion, choose_thresholds(scores, 0.01), "small")
    assert np.isnan(thresholds_of(content, motion, choose_thresholds(scores, 0.01), "small", strict=False)["gsscd"])
    enough = thresholds_of(content, motion, choose_thresholds(scores, 0.25), "small")
    values = negatives_of(scores, "gsscd")
    assert (values >= enough["gsscd"]).mean() <= 0.25 < (values >= enough["gsscd"] - 1e-9).mean()
    assert enough["ofs_k"] == 0.5
    assert thresholds_of({"threshold": 0.4}, motion, {}, "small") == {"gsscd": 0.4, "vsscd": 0.4, "ofs_k": 0.5}


def test_statements_of_shares():
    assert state_share(0, 18, 0.0, 0.1759) == "0 of 18: at most 17.6 %"
    assert state_share(2, 18, 0.031, 0.328) == "2 of 18: 11.1 % (3.1 to 32.8 %)"
    assert state_share(0, 0, np.nan, np.nan) == "not measured"


def test_the_figures_show_one_or_no_supported_threshold(small, tmp_path):
    names, interval = {"gsscd": "GSSCD", "ofs_k": "OFS-2"}, {"level": 0.95, "method": "wilson"}
    scores = small[2].assign(corpus="small")
    in_force = {("small", "gsscd"): 0.5, ("small", "ofs_k"): np.nan}
    for rate in (0.25, 0.01):
        figure = calibration_figure(scores, names, in_force, rate, interval)
        lines = [line.get_label() for line in figure.axes[0].get_lines()]
        assert ("threshold of that rate" in lines) == (rate == 0.25)
        assert "no threshold supported" in figure.axes[1].get_xlabel()
        other = normalisation_figure(scores, names, rate)
        assert len(other.axes) == 4
    save_figure(figure, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_labelled_clips_of_two_presets_do_not_compare(labelled, tmp_path):
    """Whichever sets they are of: the first has none."""
    found, _ = labelled
    own = found["generated-model"]
    other = replace(own.descriptors, provenance="another 2")
    first = replace(found["corpus-small"].descriptors.only([]), provenance="")
    labels = pd.DataFrame([("b/p-1", "c/p-2", True, "content", 2)], columns=["first", "second", "label", "kind", "line"])
    named = [name_by_set(part, name) for name, part in zip("abc", (first, own.descriptors, other))]
    with pytest.raises(VidmemError, match="one preset"):
        label_scores(labels, named, [], filter_of(MOTION), MOTION["k"])


def test_rows_of_some_clips_are_found_by_set(labelled):
    own = labelled[0]["generated-model"].flows
    named = name_by_set(own.only(["p-2"]), "generated-model")
    expected = own.table_of(["p-2"]).assign(clip_id="generated-model/p-2").reset_index(drop=True)
    pd.testing.assert_frame_equal(named.table_of(["generated-model/p-2"]).reset_index(drop=True), expected)


def test_clips_that_were_recovered_can_be_labelled(labelled, tmp_path):
    _, tables = labelled
    path = tmp_path / "labels.csv"
    path.write_text("first,second,label\np-1,clip-01,1\n")
    own = tables["generated-model"]
    own.loc[own["clip_id"] == "p-1", "status"] = "recovered"
    assert read_labels(path, tables)["first"].tolist() == ["generated-model/p-1"] * 2


@pytest.fixture
def labelled(tmp_path):
    """Two sets that share one id, with a failed clip."""
    clips, _ = small_corpus()
    sets = {"corpus-small": clips[:6], "generated-model": [clip | {"set": "generated-model"} for clip in clips[1:4]]}
    sets["generated-model"] = [
        clip | {"clip_id": name} for clip, name in zip(sets["generated-model"], ("p-1", "p-2", "clip-00"))
    ]
    found = {name: footage(tmp_path, name, part) for name, part in sets.items()}
    tables = {name: part.descriptors.clips for name, part in found.items()}
    failed = clip_table([clip_row({}, clip_id="p-9", set="generated-model", status="failed", reason="no memory")])
    tables["generated-model"] = pd.concat([tables["generated-model"], failed], ignore_index=True)
    return found, tables


def test_human_labels_give_the_table_of_the_metrics(labelled, tmp_path):
    found, tables = labelled
    path = tmp_path / "labels.csv"
    path.write_text(
        "first,second,label,kind\np-1,clip-01,1,\np-2,clip-02,memorised,content\ngenerated-model/clip-00,clip-04,not,\n"
        "p-1,clip-04,0,motion\n"
    )
    labels = read_labels(path, tables)
    assert labels["kind"].value_counts().to_dict() == {"content": 3, "motion": 3}
    features = {part: [name_by_set(getattr(sides, part), name) for name, sides in found.items()] for part in Footage._fields}
    scores = label_scores(labels, features["descriptors"], features["flows"], filter_of(MOTION), MOTION["k"])
    named = {f"{name}/{row}": name for name, table in tables.items() for row in table["clip_id"]}
    gsscd_rows = scores[scores["metric"] == "gsscd"].set_index(["first", "second"])
    for (first, second), row in gsscd_rows.iterrows():
        mine, theirs = (found[named[clip]].descriptors.of(clip.split("/")[1]) for clip in (first, second))
        assert row["value"] == pytest.approx(gsscd(mine, theirs).score, abs=1e-3)
    table = label_table(scores.assign(corpus="small"), {"small": dict.fromkeys(METRICS, 0.9)}, {"level": 0.95, "draws": 100}, 0)
    assert list(table.columns) == VALIDATION_COLUMNS
    content = table[table["metric"] == "gsscd"].iloc[0]
    assert (content["n_positive"], content["n_negative"], content["auc"], content["recall"]) == (2, 1, 1.0, 1.0)
    motion = table[(table["metric"] == "ofs_k") & (table["filter"] == "none") & (table["variant"] == "field max")].iloc[0]
    assert (motion["n_positive"], motion["n_negative"], motion["auc"]) == (1, 2, 1.0)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("p-1,clip-01,perhaps,", "a label of 1, 0"),
        ("p-1,clip-01,1,sound", "a kind of content, motion"),
        ("p-1,clip-77,1,", "(?s)a clip of the audit.*clip-77"),
        ("p-1,clip-00,1,", "(?s)a clip of one set.*write corpus-small/clip-00"),
        ("p-9,clip-01,1,", "failed: no memory"),
        ("p-1,p-1,1,", "two clips"),
        ("clip-02,p-2,1,content", "(?s)one label for each pair.*line 2"),
        ("p-1,clip-01,1,content,more", "(?s)4 cells.*more"),
    ],
)
def test_bad_labels_are_named_with_their_line(labelled, tmp_path, row, message):
    path = tmp_path / "labels.csv"
    path.write_text(f"first,second,label,kind\np-2,clip-02,1,\n{row}\n")
    with pytest.raises(VidmemError, match=message) as caught:
        read_labels(path, labelled[1])
    assert "line 3" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("content", {"threshold": "calibratd"}, "calibrated"),
        ("motion", {"threshold": None}, "motion.threshold"),
        ("calibration", {"false_positive_rate": 0}, "> 0"),
        ("calibration", {"false_positive_rat": 0.1}, "did you mean 'false_positive_rate'"),
        ("calibration", {"top": 0}, ">= 1"),
        ("labels", {"file": 3}, "labels.file"),
    ],
)
def test_settings_that_are_none(root, key, value, message):
    config = yaml.safe_load((root / "config.yaml").read_text())
    with pytest.raises(VidmemError, match=message):
        complete_config(config | {key: value}, load_schema(root / "rules/schemas/config.schema.yaml"))


def test_the_settings_have_their_defaults(root):
    config = yaml.safe_load((root / "config.yaml").read_text())
    schema = load_schema(root / "rules/schemas/config.schema.yaml")
    completed = complete_config(config, schema)
    assert (completed["content"]["threshold"], completed["motion"]["threshold"]) == (0.5, 0.5)
    assert completed["calibration"]["false_positive_rate"] == 0.01
    assert completed["labels"] == {"file": None}
    assert complete_config(config | {"content": {"threshold": "calibrated"}}, schema)["content"]["threshold"] == "calibrated"


def test_the_gain_of_one_score_over_another_covers_its_level():
    """Two correlated scores of normal classes, whose true difference of AUC is known."""
    from scipy.stats import norm

    from vidmem.statistics import auc_gain_interval

    truth = norm.cdf(1.2 / np.sqrt(2)) - norm.cdf(0.6 / np.sqrt(2))
    stream, covered = np.random.default_rng(7), 0
    for trial in range(1000):
        shared = [stream.normal(size=(count, 1)) for count in (20, 60)]
        noise = [0.6 * common + 0.8 * stream.normal(size=(len(common), 2)) for common in shared]
        positive, negative = noise[0] + [1.2, 0.6], noise[1]
        found = auc_gain_interval(positive, negative, np.arange(20), np.arange(60), trial, 200)
        covered += found.low <= truth <= found.high
    assert 0.93 <= covered / 1000 <= 0.97


def test_a_score_gains_nothing_over_itself(stream):
    from vidmem.statistics import auc_gain_interval

    positive, negative = (np.repeat(stream.normal(size=(count, 1)), 2, axis=1) for count in (10, 30))
    found = auc_gain_interval(positive, negative, np.arange(10), np.arange(30))
    assert found.value == 0
    assert np.isnan([found.low, found.high]).all()  # nothing varies: no certainty either

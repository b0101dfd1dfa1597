"""A content metric is one record: a toy metric, registered here, goes through the stages of a finished smoke audit."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from vidmem.config import complete_config, load_schema
from vidmem.errors import VidmemError
from vidmem.features import metrics
from vidmem.features.clip_features import listed_features, reference_clips
from vidmem.features.content import FrameMatch
from vidmem.features.motion_comparison import variants_of
from vidmem.features.statistics import IntervalRule
from vidmem.planning.registries import registered_names

SET, THRESHOLD = "generated-tiny-text", 0.4


def toy(first, second):
    """Cosine of the mean descriptors of two clips."""
    one, other = (np.asarray(side, np.float64).mean(0) for side in (first, second))
    return FrameMatch(float(one @ other / np.linalg.norm(one) / np.linalg.norm(other)), 0, 0)


def slow_toy(first, second):
    """The same from single frames: the mean of all products over the lengths of the mean descriptors."""
    first, second = (np.asarray(side, np.float64) for side in (first, second))
    products, sides = [[(a * b).sum() for b in second] for a in first], []
    for side in (first, second):
        sides.append(np.mean([[(a * b).sum() for b in side] for a in side]) ** 0.5)
    return np.mean(products) / sides[0] / sides[1]


class Named(SimpleNamespace):
    """Inputs and outputs of a rule."""

    def __getitem__(self, name):
        return getattr(self, name)


@pytest.fixture(scope="module")
def registered():
    """The toy metric in the registry."""
    metrics.register_metric(metrics.Metric("toy", "content", toy, "pairs", "TOY"))
    yield
    del metrics.METRICS["toy"]


@pytest.fixture(scope="module")
def config(root, registered):
    """The configuration of the smoke audit with the toy metric."""
    given = yaml.safe_load((root / "tests/config/smoke.yaml").read_text())
    given |= {"content": {"metric": "toy", "threshold": THRESHOLD}}
    return complete_config(given, load_schema(root / "rules/schemas/config.schema.yaml", registered_names()))


@pytest.fixture(scope="module")
def audit(smoke):
    return smoke[0] / "results/smoke"


def features(audit, name):
    return listed_features(audit / f"data/{name}/shards-content.json", "content")


@pytest.fixture(scope="module")
def matches(audit, config, tmp_path_factory):
    from search_content import search_content

    stem, destination = audit / f"data/{SET}/0", tmp_path_factory.mktemp("toy") / "matches.parquet"
    inputs = Named(
        query_clips=[f"{stem}.clips.parquet"], query_arrays=[f"{stem}.descriptors.npy"],
        query_rows=[f"{stem}.descriptors.parquet"], references=audit / "data/corpus-tiny/shards-content.json",
        index=[], certificate=[],
    )  # fmt: skip
    search_content(inputs, config["search"], config["content"]["metric"], "", 1, "cpu", destination)
    return destination


@pytest.fixture(scope="module")
def thresholds(config, tmp_path_factory):
    from write_thresholds import write_thresholds

    path = tmp_path_factory.mktemp("thresholds") / "thresholds.json"
    write_thresholds([], ["tiny"], *(config[kind]["threshold"] for kind in ("content", "motion")), path)
    return path


@pytest.fixture(scope="module")
def calibrated(audit, config, tmp_path_factory):
    """Scores of the calibration, and the thresholds that they support."""
    from calibrate import calibrate

    folder = tmp_path_factory.mktemp("calibrated")
    out = folder / "scores.parquet", folder / "thresholds.json"
    calibrate(both_kinds(audit), config["calibration"], config["search"]["block"], config["motion"], 0, *out)
    return pd.read_parquet(out[0]), json.loads(out[1].read_text())


def both_kinds(audit):
    sets = {"corpus": "corpus-tiny", "controls": "controls-tiny"}
    kinds = ("content", "motion")
    lists = {f"{role}_{kind}": audit / f"data/{name}/shards-{kind}.json" for role, name in sets.items() for kind in kinds}
    return Named(**lists, background=audit / "background/tiny.parquet")


def test_the_configuration_knows_the_metric_once_it_is_registered(root, config, monkeypatch):
    assert config["content"]["metric"] == "toy"
    monkeypatch.delitem(metrics.METRICS, "toy")
    with pytest.raises(VidmemError, match="content.metric"):
        complete_config(config, load_schema(root / "rules/schemas/config.schema.yaml", registered_names()))


def test_the_search_finds_the_best_of_all_pairs(audit, matches):
    table = pd.read_parquet(matches)
    assert set(table["metric"]) == {"gsscd", "toy"}
    best = table[(table["metric"] == "toy") & (table["rank"] == 1)].set_index("query")
    queries, corpus = features(audit, SET), features(audit, "corpus-tiny")
    assert set(best.index) == set(queries.spans)
    for query, row in best.iterrows():
        scores = {name: slow_toy(queries.of(query), corpus.of(name)) for name in reference_clips(corpus)}
        assert row["score"] == pytest.approx(max(scores.values()), abs=1e-6)
        assert scores[row["reference"]] == pytest.approx(max(scores.values()), abs=1e-6)


def test_scores_carry_the_threshold_of_content(audit, config, matches, thresholds, tmp_path):
    from score_clips import score_clips

    sets = {"own": SET, "corpus": "corpus-tiny"}
    lists = {f"{role}_{kind}": audit / f"data/{name}/shards-{kind}.json"
             for role, name in sets.items() for kind in ("content", "motion")}  # fmt: skip
    inputs = Named(**lists, content=[matches], motion=[audit / f"matches/{SET}/0.motion.parquet"], thresholds=thresholds,
                   background=audit / "background/tiny.parquet")  # fmt: skip
    score_clips(inputs, "tiny", config["content"], config["motion"], tmp_path / "scores.parquet")
    scores, old = pd.read_parquet(tmp_path / "scores.parquet"), pd.read_parquet(audit / f"scores/{SET}.parquet")
    queries, corpus = features(audit, SET), features(audit, "corpus-tiny")
    for name in ("toy", "toy_own"):
        own = scores[scores["metric"] == name]
        assert own["threshold"].eq(THRESHOLD).all()
        assert own["verdict"].tolist() == (own["value"] >= THRESHOLD).tolist()
        for row in own.itertuples():
            assert row.value == pytest.approx(slow_toy(queries.of(row.clip_id), corpus.of(row.match)), abs=1e-6)
    assert scores[scores["metric"] == "toy_own"]["match"].isin(queries.clips["target"]).all()
    assert len(scores[scores["metric"] == "toy"]) == len(queries.spans)
    columns = ["clip_id", "metric", "value", "match"]
    others = [table[~table["metric"].isin(["toy", "toy_own"])][columns].reset_index(drop=True) for table in (scores, old)]
    pd.testing.assert_frame_equal(*others)


def test_the_calibration_finds_copies_and_chooses_a_threshold(audit, calibrated):
    scores, thresholds = calibrated
    raw = scores[(scores["metric"] == "toy") & (scores["normalisation"] == "raw")]
    positive = raw[raw["kind"] == "positive"]
    corpus, controls = (features(audit, name) for name in ("corpus-tiny", "controls-tiny"))
    assert len(positive) == len(scores.query("metric == 'gsscd' and kind == 'positive' and normalisation == 'raw'"))
    found = positive[positive["value"] > -1]
    assert len(found) > len(positive) / 2
    for row in found.itertuples():
        others = [slow_toy(controls.of(row.clip_id), corpus.of(name)) for name in reference_clips(corpus)]
        assert row.value == pytest.approx(max(others), abs=1e-6)
    negative = raw[raw["kind"] != "positive"]["value"].dropna()
    assert found["value"].median() > negative.median()
    assert thresholds["toy"]["n_negative"] == len(negative)


def test_table_1_judges_the_metric_by_its_pairs(audit, config, thresholds, tmp_path):
    from tabulate_validation import tabulate
    from validate_metrics import validate_metrics

    motion, moving = config["motion"], config["controls"]["moving"]
    validate_metrics(both_kinds(audit), motion, moving, 0, tmp_path / "pairs.parquet")
    output = Named(table=tmp_path / "table1.csv", ablation=tmp_path / "ablation.csv")
    inputs = Named(pairs=[tmp_path / "pairs.parquet"], thresholds=thresholds)
    tabulate(inputs, ["tiny"], variants_of(motion), IntervalRule(draws=100), 0, output)
    pairs, table = pd.read_parquet(tmp_path / "pairs.parquet"), pd.read_csv(output.table)
    pairs, own = pairs[pairs["metric"] == "toy"], table[table["metric"] == "toy"].set_index("control")
    sides = [features(audit, name) for name in ("corpus-tiny", "controls-tiny")]
    vectors = {name: side.of(name) for side in sides for name in side.spans}
    for row in pairs.itertuples():
        assert row.value == pytest.approx(slow_toy(vectors[row.first], vectors[row.second]), abs=1e-6)
    assert set(own.index) == set(table[table["metric"] == "gsscd"]["control"])
    assert own["threshold"].eq(THRESHOLD).all()
    for control in ("blur", "reencode"):
        values = pairs[pairs["control"] == control]["value"]
        assert own.loc[control, "n_positive"] == len(values)
        assert own.loc[control, "recall"] == pytest.approx((values >= THRESHOLD).mean(), abs=1e-5)
        assert own.loc[control, "auc"] > 0.9  # a copy resembles its clip more than strangers do

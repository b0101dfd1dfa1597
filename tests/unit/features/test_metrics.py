"""The records of the metrics, and the rules that travel with them."""

import numpy as np
import pytest

from vidmem.errors import VidmemError
from vidmem.features.content import FrameMatch, gsscd, gsscd_of_pairs
from vidmem.features.metrics import METRICS, Metric, metric_names, metric_of, metrics_of, register_metric, searched_metrics
from vidmem.features.motion import best_window, ofs_k
from vidmem.features.motion_rule import MotionRule
from vidmem.features.statistics import IntervalRule, auc_interval, share_interval
from vidmem.planning.registries import registered_names


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def record(**changes):
    fields = {"name": "toy", "kind": "content", "pair": lambda first, second: FrameMatch(0.0, 0, 0), "search": "pairs"}
    return Metric(**(fields | {"label": "TOY"} | changes))


@pytest.fixture
def registry():
    """Leaves the registry as it was found."""
    known = dict(METRICS)
    yield
    METRICS.clear()
    METRICS.update(known)


def test_a_metric_that_is_registered_is_known_everywhere(registry):
    assert "toy" not in registered_names()["content_metrics"]
    register_metric(record())
    assert registered_names()["content_metrics"] == ["gsscd", "vsscd", "toy"]
    assert registered_names()["motion_metrics"] == ["ofs_k", "wofs_k"]
    assert metric_names() == ["gsscd", "vsscd", "toy", "ofs_k", "wofs_k"]  # those of content first
    assert [metric.name for metric in searched_metrics("content", "toy")] == ["gsscd", "toy"]
    assert [metric.name for metric in searched_metrics("content", "gsscd")] == ["gsscd"]
    assert metric_of("toy") is metrics_of("content")[-1]


def test_records_that_cannot_be(registry):
    register_metric(record())
    with pytest.raises(VidmemError, match="new name"):
        register_metric(record())
    with pytest.raises(VidmemError, match="kind one of"):
        record(kind="sound")
    for name in ("toy_own", "toy_unfiltered"):
        with pytest.raises(VidmemError, match="without the endings"):
            record(name=name)
    with pytest.raises(VidmemError, match="(?s)a metric of gsscd, vsscd.*ssim"):
        metric_of("ssim")


def test_many_pairs_at_once_have_the_scores_of_each(stream):
    clips = [unit(stream.normal(size=(count, 6))) for count in (3, 1, 5, 2)]
    first, second = np.array([0, 2, 3, 1]), np.array([1, 0, 2, 1])
    expected = [gsscd(clips[one], clips[other]).score for one, other in zip(first, second)]
    assert gsscd_of_pairs(clips, first, second).tolist() == pytest.approx(expected)


def test_the_pair_function_of_motion_gives_the_windows_of_ofs(stream):
    first, second = stream.normal(size=(2, 5, 2, 4, 4))
    for rule in (MotionRule(), MotionRule(2, "pixel", "aligned")):
        scores = metric_of("ofs_k").pair(first, second, rule)
        assert scores.shape == (5 - rule.k + 1,) * 2
        assert best_window(scores, rule.pairing) == ofs_k(first, second, rule.k, rule.cosine, rule.pairing)


@pytest.mark.parametrize("wrong", [{"k": 0}, {"cosine": "angle"}, {"pairing": "best"}])
def test_a_motion_rule_names_what_it_cannot_be(wrong):
    with pytest.raises(VidmemError, match=next(iter(wrong))):
        MotionRule(**wrong)


def test_an_interval_rule_gives_its_settings_on(stream):
    rule = IntervalRule(0.8, "exact", 50)
    assert rule.share(3, 10) == share_interval(3, 10, 0.8, "exact")
    sides = stream.normal(1, size=30), stream.normal(size=40), np.arange(30), np.arange(40) // 2
    assert rule.auc(*sides, 4) == auc_interval(*sides, seed=4, draws=50, level=0.8)

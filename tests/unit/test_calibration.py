"""Thresholds for a stated false-positive rate, their intervals, score normalisation and human labels."""

import numpy as np
import pytest
from scipy.stats import norm

from vidmem import statistics
from vidmem.errors import VidmemError

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


TRIALS = 1000
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


def covered_shares(method, share, total, trials=20000):
    """Share of simulated intervals that hold the true share."""
    found = np.random.default_rng(3).binomial(total, share, size=trials)
    ends = np.array([statistics.share_interval(count, total, 0.95, method)[1:] for count in range(total + 1)])
    share = np.broadcast_to(share, trials)
    return float(((ends[found, 0] <= share) & (share <= ends[found, 1])).mean())


@pytest.mark.parametrize("total", [18, 87, 300])
def test_intervals_of_shares_cover_their_level(total):
    anywhere = np.random.default_rng(5).uniform(size=20000)
    assert 0.93 <= covered_shares("wilson", anywhere, total) <= 0.97
    for share in (0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 0.99):
        assert covered_shares("exact", share, total) >= 0.95


@pytest.mark.parametrize(("share", "total"), [(0.1, 100), (0.25, 87), (0.5, 40), (0.7, 200), (0.05, 300)])
def test_wilson_covers_its_level_at_one_share(share, total):
    assert 0.93 <= covered_shares("wilson", share, total) <= 0.97

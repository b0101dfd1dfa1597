"""Areas, intervals and thresholds for a stated false-positive rate against slow references and known answers."""

from functools import cache

import numpy as np
import pytest
from scipy import stats
from scipy.stats import binom, norm

from vidmem.errors import VidmemError
from vidmem.features import statistics
from vidmem.features.statistics import (
    auc,
    auc_interval,
    mean_interval,
    precision_recall,
    rank_correlation_interval,
    share_interval,
)

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


def test_the_gain_of_one_score_over_another_covers_its_level():
    """Two correlated scores of normal classes, whose true difference of AUC is known."""
    from scipy.stats import norm

    from vidmem.features.statistics import auc_gain_interval

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
    from vidmem.features.statistics import auc_gain_interval

    positive, negative = (np.repeat(stream.normal(size=(count, 1)), 2, axis=1) for count in (10, 30))
    found = auc_gain_interval(positive, negative, np.arange(10), np.arange(30))
    assert found.value == 0
    assert np.isnan([found.low, found.high]).all()  # nothing varies: no certainty either


def test_auc_is_the_share_of_ordered_pairs(stream):
    positive, negative = stream.integers(0, 5, 30), stream.integers(0, 4, 20)
    slow = np.mean([(p > n) + 0.5 * (p == n) for p in positive for n in negative])
    assert auc(positive, negative) == pytest.approx(slow)
    assert np.isnan(auc(np.array([]), negative))


def test_auc_interval_draws_clusters(stream):
    # Four targets with ten copies of one score each: forty scores that are worth four.
    positive, negative = np.repeat([0.2, 1.0, 0.4, 2.0], 10), np.repeat([0.1, 0.3, 1.5, 0.0], 10)
    alone = auc_interval(positive, negative, np.arange(40), np.arange(40))
    clustered = auc_interval(positive, negative, np.arange(40) // 10, np.arange(40) // 10)
    assert alone.low < alone.value < alone.high
    assert clustered.high - clustered.low > 1.5 * (alone.high - alone.low)
    repeated = auc_interval(positive, negative, np.arange(40), np.arange(40))
    assert repeated == alone


@pytest.mark.parametrize(("found", "total"), [(0, 20), (20, 20), (3, 7)])
def test_share_intervals_hold_the_share(found, total):
    for method in ("wilson", "exact"):
        share = share_interval(found, total, method=method)
        assert 0 <= share.low <= share.value <= share.high <= 1
    assert share_interval(0, 300).high == pytest.approx(0.0126, abs=1e-3)
    with pytest.raises(VidmemError, match="found <= total"):
        share_interval(2, 1)


def test_precision_and_recall():
    assert precision_recall(np.array([0.6, 0.4]), np.array([0.5, 0.1]), 0.5) == (0.5, 0.5)
    assert np.isnan(precision_recall(np.array([0.1]), np.array([0.2]), 0.5)[0])


def test_wholly_separate_classes_have_an_interval():
    found = auc_interval(np.array([2.0, 3.0]), np.array([0.0, 1.0]), np.arange(2), np.arange(2))
    assert found.value == found.high == 1
    assert found.low == pytest.approx(share_interval(2, 2).low)
    assert np.isnan(rank_correlation_interval(np.arange(4), -np.arange(4), np.arange(4)).low)


def test_intervals_of_correlation_and_mean(stream):
    first = stream.normal(size=60)
    found = rank_correlation_interval(first, -first + stream.normal(size=60), np.arange(60) // 2)
    assert found.low < found.value < found.high < 0
    assert np.isnan(rank_correlation_interval(np.ones(5), np.arange(5), np.arange(5)).value)
    values = stream.normal(size=12)
    low, high = stats.t.interval(0.9, 11, values.mean(), stats.sem(values))
    assert mean_interval(values, 0.9) == pytest.approx((values.mean(), low, high))
    assert np.isnan(mean_interval(values[:1]).low)
    assert np.isnan(mean_interval(values[:0]).value)

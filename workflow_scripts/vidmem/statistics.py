"""Intervals and rank statistics of the tables."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special, stats

from .errors import VidmemError
from .seeding import random_stream


class Interval(NamedTuple):
    """A value with the ends of its interval."""

    value: float
    low: float
    high: float


class RatePoint(NamedTuple):
    """A point of an ROC curve: the threshold, and the shares of positives and negatives that reach it."""

    threshold: float
    tpr: float
    fpr: float


def share_interval(found: int, total: int, level: float = 0.95, method: str = "wilson") -> Interval:
    """Share with its binomial interval; nothing found still has an upper bound.

    Args:
        found, total: counts, 0 <= found <= total. total may be 0: every value is then NaN.
        method: 'wilson' or 'exact' (Clopper-Pearson).

    >>> [round(end, 3) for end in share_interval(0, 100)]
    [0.0, 0.0, 0.037]
    """
    if not 0 <= found <= total:
        raise VidmemError("0 <= found <= total", (found, total), "share_interval")
    if total == 0:
        return Interval(np.nan, np.nan, np.nan)
    interval = stats.binomtest(int(found), int(total)).proportion_ci(level, method)
    return Interval(found / total, float(interval.low), float(interval.high))


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a positive scores higher than a negative, ties half.

    >>> auc(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.875
    """
    positive, negative = np.asarray(positive, float), np.asarray(negative, float)
    if not len(positive) or not len(negative):
        return float("nan")
    ranks = stats.rankdata(np.concatenate([positive, negative]))
    rank_sum = ranks[: len(positive)].sum() - len(positive) * (len(positive) + 1) / 2
    return float(rank_sum / (len(positive) * len(negative)))


def auc_interval(
    positive: np.ndarray,
    negative: np.ndarray,
    positive_clusters: np.ndarray,
    negative_clusters: np.ndarray,
    seed: int = 0,
    draws: int = 500,
    level: float = 0.95,
) -> Interval:
    """AUC with an interval from a bootstrap that draws whole clusters.

    The interval is Student's of log(A / (1 - A)), with the bootstrap's standard error and the degrees of freedom of
    Welch and Satterthwaite for the two classes. Percentiles cover too little: 79 to 94 % of 95 in simulations of 12 to
    100 clusters, as the AUC is skewed near its ends and few clusters vary too little. These cover 93 to 97 % there, but less
    where an AUC near 1 rests on few clusters of one class (88 % at 0.96 with 20 negatives against 200 positive targets).

    Args:
        positive, negative: scores, float [n].
        positive_clusters, negative_clusters: cluster (target) of each score, [n]; or [n, 2] for scores of pairs,
            which share both of their clips with other pairs: a pair counts as often as its two clips were drawn,
            multiplied.
        draws: bootstrap samples. Where they all agree (classes wholly apart) the ends are Wilson's, for the clusters of the
            smaller class.
    """
    value = auc(positive, negative)
    if not np.isfinite(value):
        return Interval(value, np.nan, np.nan)
    stream = random_stream("auc", seed, len(positive), len(negative))
    sides = [_ClusteredScores(*side) for side in ((positive, positive_clusters), (negative, negative_clusters))]
    drawn = np.nanvar(_drawn_areas(*sides, stream, draws), axis=1, ddof=1)
    if drawn[0] < 1e-24 or value in (0.0, 1.0):
        # All draws agree where one class is wholly above the other; few scores still prove little: Wilson's interval
        # of as many successes (or failures) as the smaller class has clusters.
        count = min(side.count for side in sides)
        return Interval(value, *share_interval(round(value * count), count, level)[1:])
    reach = stats.t.ppf((1 + level) / 2, _welch_freedom(drawn[1:], sides)) * np.sqrt(drawn[0]) / (value * (1 - value))
    return Interval(value, *(float(special.expit(special.logit(value) + end)) for end in (-reach, reach)))


DRAWN = 2**21  # weights in memory at once


def _drawn_areas(positive: _ClusteredScores, negative: _ClusteredScores, stream: np.random.Generator, draws: int) -> np.ndarray:
    """AUC of bootstrap samples, from one sorting of the scores; NaN where a sample lacks a class.

    Returns:
        float [3, draws]: both classes drawn, only the positives, only the negatives.
    """
    order = np.argsort(negative.scores, kind="stable")
    lower, upper = (np.searchsorted(negative.scores[order], positive.scores, side) for side in ("left", "right"))
    block, areas = max(1, DRAWN // (len(positive.scores) + len(negative.scores))), []
    for first in range(0, draws, block):
        count = min(block, draws - first)
        ours, theirs = positive.draw_weights(stream, count), negative.draw_weights(stream, count)[:, order]
        below = np.concatenate([np.zeros((count, 1)), np.cumsum(theirs, axis=1)], axis=1)
        won, alone = (below[:, lower] + below[:, upper]) / 2, (lower + upper) / 2
        sums = np.stack([(ours * won).sum(axis=1), ours @ alone, won.sum(axis=1)])
        mass, other = ours.sum(axis=1), theirs.sum(axis=1)
        total = np.stack([mass * other, mass * len(order), len(lower) * other])
        areas.append(np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0))
    return np.concatenate(areas, axis=1)


def auc_gain_interval(
    positive: np.ndarray,
    negative: np.ndarray,
    positive_clusters: np.ndarray,
    negative_clusters: np.ndarray,
    seed: int = 0,
    draws: int = 500,
    level: float = 0.95,
) -> Interval:
    """AUC of one score less that of another on the same items, with Student's interval from a bootstrap of whole clusters.

    Args:
        positive, negative: both scores, float [n, 2]; the others as for auc_interval.
    """
    value = auc(positive[:, 0], negative[:, 0]) - auc(positive[:, 1], negative[:, 1])
    if not np.isfinite(value):
        return Interval(np.nan, np.nan, np.nan)
    drawn = []
    for column in (0, 1):  # the same stream: both scores are drawn with the same clusters
        stream = random_stream("auc gain", seed, len(positive), len(negative))
        sides = [_ClusteredScores(part[:, column], names)
                 for part, names in ((positive, positive_clusters), (negative, negative_clusters))]  # fmt: skip
        drawn.append(_drawn_areas(*sides, stream, draws))
    spread = np.nanvar(drawn[0] - drawn[1], axis=1, ddof=1)
    if spread[0] < 1e-24:
        return Interval(value, np.nan, np.nan)  # the same in every draw: too little is known for an interval
    reach = stats.t.ppf((1 + level) / 2, _welch_freedom(spread[1:], sides)) * np.sqrt(spread[0])
    return Interval(value, value - float(reach), value + float(reach))


def _welch_freedom(variances: np.ndarray, sides: list[_ClusteredScores]) -> float:
    """Degrees of freedom of Welch and Satterthwaite for the variances that the two classes bring in."""
    parts = sum(part**2 / max(1, side.count - 1) for part, side in zip(variances, sides))
    return max(1.0, float(variances.sum() ** 2 / parts)) if parts > 0 else np.inf


def rank_correlation_interval(
    first: np.ndarray, second: np.ndarray, clusters: np.ndarray, seed: int = 0, draws: int = 500, level: float = 0.95
) -> Interval:
    """Spearman's rank correlation with a percentile bootstrap interval that draws whole clusters.

    Args:
        first, second: float [n]; clusters: cluster of each pair, [n].

    Returns:
        NaN where one side does not vary.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    value = _spearman(first, second)
    if not np.isfinite(value):
        return Interval(np.nan, np.nan, np.nan)
    stream = random_stream("rank correlation", seed, len(first))
    places = _ClusteredScores(np.arange(len(first)), clusters)
    drawn = [places.draw(stream).astype(int) for _ in range(draws)]
    values = [_spearman(first[at], second[at]) for at in drawn]
    if np.isnan(values).all() or np.isclose(np.nanmin(values), np.nanmax(values)):
        return Interval(value, np.nan, np.nan)  # the same order in every draw: too few clusters for an interval
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    if len(first) < 2 or first.min() == first.max() or second.min() == second.max():
        return float("nan")
    return float(stats.spearmanr(first, second).statistic)


def mean_interval(values: np.ndarray, level: float = 0.95) -> Interval:
    """Mean with Student's interval; without ends for fewer than two values.

    >>> [round(part, 2) for part in mean_interval(np.array([1.0, 2.0, 3.0]))]
    [2.0, -0.48, 4.48]
    """
    values = np.asarray(values, float)
    if len(values) < 2:
        return Interval(float(values.mean()) if len(values) else np.nan, np.nan, np.nan)
    reach = stats.t.ppf((1 + level) / 2, len(values) - 1) * stats.sem(values)
    return Interval(float(values.mean()), float(values.mean() - reach), float(values.mean() + reach))


class _ClusteredScores:
    """Scores that are drawn again by their clusters."""

    def __init__(self, scores: np.ndarray, clusters: np.ndarray):
        self.scores, clusters = np.asarray(scores, float), np.asarray(clusters)
        names, members = np.unique(clusters.astype(str), return_inverse=True)
        self.count, self.members = len(names), members.reshape(len(self.scores), -1)

    def draw(self, stream: np.random.Generator) -> np.ndarray:
        return np.repeat(self.scores, self.draw_weights(stream, 1)[0])

    def draw_weights(self, stream: np.random.Generator, draws: int) -> np.ndarray:
        """How often each score is in each of some bootstrap samples: int [draws, n]."""
        times = stream.multinomial(self.count, np.full(self.count, 1 / self.count), size=draws)
        return times[:, self.members].prod(axis=2)


def threshold_at(negatives: np.ndarray, rate: float) -> float:
    """Smallest threshold that at most this share of the negatives reaches: the last point with FPR <= rate.

    Never the nearest point: of tied negatives all are let through or none.

    Args:
        negatives: scores, float [n]; -inf is a score that never fires.
        rate: highest share of negatives >= the threshold, 0 to 1.

    Returns:
        The next number above the first negative that must not fire, in the precision of the scores; -inf where all may
        fire; NaN without negatives.

    Raises:
        VidmemError: a rate outside 0 to 1, or a score that is NaN.

    >>> threshold_at(np.array([0.1, 0.2, 0.3, 0.4]), 0.25) > 0.3
    True
    """
    negatives = _checked_scores(negatives, "threshold_at")
    if not 0 <= rate <= 1:
        raise VidmemError("a rate of 0 to 1", rate, "threshold_at")
    if not len(negatives):
        return float("nan")
    allowed = round(rate * len(negatives))
    allowed -= allowed / len(negatives) > rate
    if allowed == len(negatives):
        return float("-inf")
    return float(np.nextafter(np.sort(negatives)[::-1][allowed], negatives.dtype.type(np.inf)))


def tpr_at_fpr(positive: np.ndarray, negative: np.ndarray, rate: float) -> RatePoint:
    """Share of positives found at the last point of the ROC curve whose false-positive rate is at most `rate`.

    Args:
        positive, negative: scores, float [n]; rate: 0 to 1.

    Returns:
        The threshold with both shares; NaN for the shares of an empty class.

    >>> tpr_at_fpr(np.array([0.9, 0.5]), np.array([0.1, 0.2, 0.6, 0.3]), 0.25)[1:]
    (1.0, 0.25)
    """
    threshold = threshold_at(negative, rate)
    shares = [
        float((scores >= threshold).mean()) if len(scores) else float("nan")
        for scores in (_checked_scores(side, "tpr_at_fpr") for side in (positive, negative))
    ]
    return RatePoint(threshold, *(shares if len(negative) else (float("nan"), float("nan"))))


def negatives_needed(rate: float) -> int:
    """Negatives there must be for one of them to be a share of `rate`.

    >>> negatives_needed(0.01)
    100
    """
    if not 0 < rate <= 1:
        raise VidmemError("a rate above 0, at most 1", rate, "negatives_needed")
    needed = round(1 / rate)
    return needed + (1 / needed > rate)


def _checked_scores(scores: np.ndarray, where: str) -> np.ndarray:
    scores = np.asarray(scores)
    scores = scores if scores.dtype.kind == "f" else scores.astype(float)
    if np.isnan(scores).any():
        raise VidmemError("scores that are numbers", f"{int(np.isnan(scores).sum())} that are not", where)
    return scores


def precision_recall(positive: np.ndarray, negative: np.ndarray, threshold: float) -> tuple[float, float]:
    """Precision and recall of 'score >= threshold'; precision is NaN where nothing fires."""
    hits, false_alarms = int((np.asarray(positive) >= threshold).sum()), int((np.asarray(negative) >= threshold).sum())
    fired = hits + false_alarms
    return (hits / fired if fired else float("nan")), (hits / len(positive) if len(positive) else float("nan"))

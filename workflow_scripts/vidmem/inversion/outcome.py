"""Outcomes of inversions as tables: one row an image and seed, the mean of every image, and what the score depends on."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from ..base.seeding import seed_of
from ..errors import VidmemError
from ..features.statistics import Interval, IntervalRule, mean_interval
from .engine import Inversion

COLUMNS = [
    "image_id", "model", "copies", "split", "mode", "seed", "status", "score", "kl_mean_part", "kl_variance_part",
    "best_similarity", "steps", "network_calls", "seconds",
]  # fmt: skip


def choose_targets(clips: pd.DataFrame, splits: list[str], each: int, seed: int) -> pd.DataFrame:
    """Draw the images to invert: up to `each` images for every number of copies. Held-out images are a group of their own.

    Args:
        clips: usable clips of a corpus.
        splits: splits to draw from.
        each: most images for every number of copies; 0 for all.
        seed: seed of the draw; the order of the images depends on it and on their ids only.
    """
    chosen = clips[clips["split"].isin(splits)]
    order = chosen["clip_id"].map(lambda clip_id: seed_of("targets", seed, clip_id))
    held = chosen["split"] == "heldout"
    groups = chosen.assign(order=order, held=held).sort_values("order").groupby(["copies", "held"], sort=True)
    drawn = groups.head(each) if each else groups.head(len(chosen))
    return drawn.drop(columns=["order", "held"]).sort_values(["copies", "clip_id"], ascending=[False, True], ignore_index=True)


def inversion_rows(results: Iterable[Inversion], targets: pd.DataFrame, model: str, mode: str, seed: int) -> pd.DataFrame:
    """Table of COLUMNS, one row an outcome. An image that was not replicated has the score +inf, a censored value.

    Args:
        results: outcomes of inversions.
        targets: clip_id, copies and split of every image.
        model: name of the inverted model.
        mode: how the model was conditioned.
        seed: seed of the inversions.
    """
    about = targets.set_index("clip_id")
    rows = [
        (
            result.image_id, model, int(about.loc[result.image_id, "copies"]), about.loc[result.image_id, "split"], mode, seed,
            result.status, result.score, result.mean_part, result.variance_part, result.best_similarity, result.steps,
            result.network_calls, result.seconds,
        )
        for result in results
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def ranks(scores: pd.DataFrame) -> np.ndarray:
    """Order of memorization, float [N]; higher is more memorised.

    A replicated image is above every censored one. A lower score is higher among replicated images, and a higher similarity
    is higher among censored images.
    """
    censored = ~np.isfinite(scores["score"].to_numpy(float))
    similarity = scores["best_similarity"].fillna(-1).to_numpy(float)
    # Scores are at least 0 and similarities at most 1, so replicated images lie in (0, 1] and censored ones at most at -1.
    return np.where(censored, similarity - 2, 1 / (1 + np.where(censored, 0, scores["score"])))


def image_means(scores: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """One row for each image: number of seeds that replicated it, mean of their scores with its interval, best similarity."""
    rows = []
    for keys, group in scores.groupby(KEYS, sort=True):
        found = group[group["status"] == "replicated"]["score"]
        value, low, high = mean_interval(found, level)
        # A divergence is never negative, but the interval of a mean of two seeds can reach below zero.
        rows.append((*keys, len(group), len(found), value, np.fmax(low, 0.0), high, group["best_similarity"].max()))
    return pd.DataFrame(rows, columns=[*KEYS, "n_seeds", "n_replicated", "score", "score_low", "score_high", "best_similarity"])


KEYS = ["model", "mode", "image_id", "copies", "split"]


def separation(scores: pd.DataFrame, planted: int, interval: IntervalRule, seed: int) -> pd.DataFrame:
    """AUC of images planted often against held-out images, for every model and mode; censored scores rank last.

    Args:
        scores: table of COLUMNS, all models.
        planted: least number of copies of the positive class.
        interval: rule of the confidence intervals.
        seed: seed of the bootstrap.
    """
    rows = []
    for (model, mode), group in scores.groupby(["model", "mode"], sort=True):
        often, never = group["copies"] >= planted, group["split"] == "heldout"
        area = _area(group, planted, interval, seed)
        sizes = (int(group[chosen]["image_id"].nunique()) for chosen in (often, never))
        rows.append((model, mode, planted, *sizes, *area))
    columns = ["model", "mode", "planted", "n_positive", "n_negative", "auc", "auc_low", "auc_high"]
    return pd.DataFrame(rows, columns=columns)


FACTOR_COLUMNS = [
    "factor", "level", "model", "mode", "n_images", "n_inversions", "n_replicated", "replicated_share", "share_low",
    "share_high", "score", "best_similarity", "auc", "auc_low", "auc_high", "rank_correlation",
    "correlation_low", "correlation_high",
]  # fmt: skip


def factor_table(scores: pd.DataFrame, studies: list[dict], planted: int, interval: IntervalRule, seed: int) -> pd.DataFrame:
    """What the score depends on: one row for each level of a factor, and one row over all levels with the rank correlation.

    The correlation is between the level and the score, where censored scores rank last. Below zero, the score falls as the
    level rises. For the factor 'copies', a level is a number of copies in the training data of one model. For every other
    factor, a level is a model. Its row covers the images that all levels have and that were planted at least `planted` times,
    and its AUC compares them with the held-out images.

    Args:
        scores: table of COLUMNS, all models.
        studies: dictionaries with model, factor and level, in the order of their levels.
        planted: least number of copies of an image that counts as planted often.
        interval: rule of the confidence intervals.
        seed: seed of the bootstrap.
    """
    rows = []
    for (model, mode), group in scores.groupby(["model", "mode"], sort=True):
        for copies, part in group.groupby("copies", sort=True):
            rows.append(("copies", copies, model, mode, *_counts(part, interval), *[np.nan] * 6))
        fall = _fall(group, group["copies"], interval, seed)
        rows.append(("copies", "all", model, mode, *_counts(group, interval), *[np.nan] * 3, *fall))
    for factor in dict.fromkeys(study["factor"] for study in studies):
        rows += _levels(scores, [study for study in studies if study["factor"] == factor], planted, interval, seed)
    return pd.DataFrame(rows, columns=FACTOR_COLUMNS)


def _levels(scores: pd.DataFrame, studies: list[dict], planted: int, interval: IntervalRule, seed: int) -> list[tuple]:
    """Rows of one factor whose levels are models."""
    rows, parts = [], []
    if all(isinstance(study["level"], (int, float)) for study in studies):
        studies = sorted(studies, key=lambda study: study["level"])
    groups = [scores[scores["model"] == study["model"]] for study in studies]
    common = set.intersection(*(set(group["image_id"]) for group in groups))
    for study, group in zip(studies, groups, strict=True):
        group = group[group["image_id"].isin(common)]
        often, area = group[group["copies"] >= planted], _area(group, planted, interval, seed)
        mode = "".join(sorted(set(group["mode"])))
        rows.append((study["factor"], study["level"], study["model"], mode, *_counts(often, interval), *area, *[np.nan] * 3))
        parts.append(often.assign(level=study["level"]))
    together = pd.concat(parts)
    if len(studies) > 1 and all(isinstance(study["level"], (int, float)) for study in studies):
        fall = _fall(together, together["level"], interval, seed)
        found = sum(int(replicated_images(part).sum()) for part in parts)
        counts = (together["image_id"].nunique(), len(together), found, *[np.nan] * 5)
        rows.append((studies[0]["factor"], "all", "all", "all", *counts, *[np.nan] * 3, *fall))
    return rows


def _counts(group: pd.DataFrame, interval: IntervalRule) -> tuple:
    """Numbers of images, inversions and replicated images, share of replicated images, mean score and mean similarity.

    Several seeds of an image count as one image.
    """
    found = group[group["status"] == "replicated"]["score"]
    images = replicated_images(group)
    share = interval.share(int(images.sum()), len(images))
    return len(images), len(group), int(images.sum()), *share, float(found.mean()), float(group["best_similarity"].mean())


def replicated_images(group: pd.DataFrame) -> pd.Series:
    """Whether each image was replicated in at least half of its inversions: bool by image."""
    return (group["status"] == "replicated").groupby(group["image_id"]).mean() >= 0.5


def _area(group: pd.DataFrame, planted: int, interval: IntervalRule, seed: int) -> Interval:
    """AUC of the images planted often against the held-out images; censored scores rank last."""
    order = pd.Series(ranks(group), index=group.index)
    often, never = group["copies"] >= planted, group["split"] == "heldout"
    images, values = group["image_id"], order.to_numpy()
    return interval.auc(values[often], values[never], images[often], images[never], seed)


def _fall(group: pd.DataFrame, level: pd.Series, interval: IntervalRule, seed: int) -> Interval:
    """Rank correlation of a level and the score. The bootstrap draws images, each with all of its seeds."""
    return interval.rank_correlation(level.to_numpy(float), -ranks(group), group["image_id"], seed)


def membership_table(scores: pd.DataFrame, evidence: pd.DataFrame, interval: IntervalRule, seed: int) -> pd.DataFrame:
    """How well each method tells training images from held-out images, for every number of copies, on the inverted images.

    Args:
        scores: table of COLUMNS.
        evidence: table with the columns image_id, model, copies, split, loss, secmi.
        interval: rule of the confidence intervals.
        seed: seed of the bootstrap.

    Returns:
        Columns model, method, copies, n_positive, n_negative, auc with its interval, and replicated_share, the mean share of
        inversions that replicated a training image of the row.
    """
    rows = []
    for model, own in scores.groupby("model", sort=True):
        ranked = own.assign(order=ranks(own), found=own["status"] == "replicated")
        means = ranked.groupby("image_id").agg(invmm=("order", "mean"), found=("found", "mean"))
        mine = evidence[evidence["model"] == model].set_index("image_id")
        if set(mine.index) != set(means.index):
            raise VidmemError("membership of the images that were inverted", f"other images of {model}", "membership_table")
        table = mine.join(means)
        never = table[table["split"] == "heldout"]
        for method in ("loss", "secmi", "invmm"):
            for copies, group in table[table["split"] != "heldout"].groupby("copies", sort=True):
                sides = [(side[method].to_numpy(), side.index.to_numpy()) for side in (group, never)]
                area = interval.auc(sides[0][0], sides[1][0], sides[0][1], sides[1][1], seed)
                rows.append((model, method, copies, len(group), len(never), *area, float(group["found"].mean())))
    columns = ["model", "method", "copies", "n_positive", "n_negative", "auc", "auc_low", "auc_high", "replicated_share"]
    return pd.DataFrame(rows, columns=columns)

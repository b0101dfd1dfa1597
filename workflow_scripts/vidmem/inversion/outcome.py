"""Outcomes of inversions as tables: one row an image and seed, the mean of each image, and how copies separate."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from ..errors import VidmemError
from ..seeding import seed_of
from ..statistics import Interval, auc_interval, mean_interval, rank_correlation_interval, share_interval
from .engine import Inversion

COLUMNS = [
    "image_id", "model", "copies", "split", "mode", "seed", "status", "score", "kl_mean_part", "kl_variance_part",
    "best_similarity", "steps", "network_calls", "seconds",
]  # fmt: skip


def choose_targets(clips: pd.DataFrame, splits: list[str], each: int, seed: int) -> pd.DataFrame:
    """Images to invert: so many of every number of copies, held-out ones having none, in an order drawn once.

    Args:
        clips: usable clips of a corpus.
        splits: splits to draw from.
        each: images of every number of copies; 0 for all.
    """
    chosen = clips[clips["split"].isin(splits)]
    order = chosen["clip_id"].map(lambda clip_id: seed_of("targets", seed, clip_id))
    held = chosen["split"] == "heldout"
    groups = chosen.assign(order=order, held=held).sort_values("order").groupby(["copies", "held"], sort=True)
    drawn = groups.head(each) if each else groups.head(len(chosen))
    return drawn.drop(columns=["order", "held"]).sort_values(["copies", "clip_id"], ascending=[False, True], ignore_index=True)


def inversion_rows(results: Iterable[Inversion], targets: pd.DataFrame, model: str, mode: str, seed: int) -> pd.DataFrame:
    """Table of COLUMNS; an image that was not replicated has the score +inf, a censored value.

    Args:
        targets: clip_id, copies and split of every image.
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
    """Order of memorization, float [N], higher is more: replicated images by falling score, then all censored ones by rising
    similarity."""
    censored = ~np.isfinite(scores["score"].to_numpy(float))
    similarity = scores["best_similarity"].fillna(-1).to_numpy(float)
    # Scores are non-negative and similarities at most 1: the two ranges do not meet.
    return np.where(censored, similarity - 2, 1 / (1 + np.where(censored, 0, scores["score"])))


def image_means(scores: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """One row an image: seeds that replicated it, the mean of their scores with its interval, the best similarity."""
    rows = []
    for keys, group in scores.groupby(KEYS, sort=True):
        found = group[group["status"] == "replicated"]["score"]
        value, low, high = mean_interval(found, level)
        # A divergence is not negative, an interval of two seeds may be.
        rows.append((*keys, len(group), len(found), value, np.fmax(low, 0.0), high, group["best_similarity"].max()))
    return pd.DataFrame(rows, columns=[*KEYS, "n_seeds", "n_replicated", "score", "score_low", "score_high", "best_similarity"])


KEYS = ["model", "mode", "image_id", "copies", "split"]


def separation(scores: pd.DataFrame, planted: int, interval: dict, seed: int) -> pd.DataFrame:
    """AUC of images planted often against held-out ones, for every model and mode; censored scores rank last.

    Args:
        planted: least number of copies of the positive class.
        interval: level and draws.
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


def factor_table(scores: pd.DataFrame, studies: list[dict], planted: int, interval: dict, seed: int) -> pd.DataFrame:
    """What the score depends on: a row a level of a factor, and one over all levels with the rank correlation.

    The correlation is that of the level and the score, censored scores ranking last: below zero, the score falls with the
    level. Of the factor copies a level is a number of copies of one model; of the others a model, over the images planted at
    least `planted` times that all levels have, its AUC against the held-out ones.

    Args:
        scores: table of COLUMNS, all models.
        studies: dictionaries with model, factor and level, in the order of their levels.
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


def _levels(scores: pd.DataFrame, studies: list[dict], planted: int, interval: dict, seed: int) -> list[tuple]:
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


def _counts(group: pd.DataFrame, interval: dict) -> tuple:
    """Images, inversions, replicated images with their share, mean score and similarity; seeds are no images of their own."""
    found = group[group["status"] == "replicated"]["score"]
    images = replicated_images(group)
    share = share_interval(int(images.sum()), len(images), interval["level"], interval["method"])
    return len(images), len(group), int(images.sum()), *share, float(found.mean()), float(group["best_similarity"].mean())


def replicated_images(group: pd.DataFrame) -> pd.Series:
    """Whether each image was replicated in at least half of its inversions: bool by image."""
    return (group["status"] == "replicated").groupby(group["image_id"]).mean() >= 0.5


def _area(group: pd.DataFrame, planted: int, interval: dict, seed: int) -> Interval:
    """AUC of the images planted often against the held-out ones; censored scores rank last."""
    order = pd.Series(ranks(group), index=group.index)
    often, never = group["copies"] >= planted, group["split"] == "heldout"
    return auc_interval(
        order[often].to_numpy(), order[never].to_numpy(), group[often]["image_id"], group[never]["image_id"],
        seed, interval["draws"], interval["level"],
    )  # fmt: skip


def _fall(group: pd.DataFrame, level: pd.Series, interval: dict, seed: int) -> Interval:
    """Rank correlation of a level and the score, images drawn whole."""
    return rank_correlation_interval(
        level.to_numpy(float), -ranks(group), group["image_id"], seed, interval["draws"], interval["level"]
    )


def membership_table(scores: pd.DataFrame, evidence: pd.DataFrame, interval: dict, seed: int) -> pd.DataFrame:
    """Who is a member, by every method and number of copies against the held-out images, on the images that were inverted.

    Args:
        scores: table of COLUMNS.
        evidence: image_id, model, copies, split, loss, secmi.

    Returns:
        model, method, copies, n_positive, n_negative, auc with its interval, and replicated_share of those images.
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
                sides = [(part[method].to_numpy(), part.index.to_numpy()) for part in (group, never)]
                area = auc_interval(
                    sides[0][0], sides[1][0], sides[0][1], sides[1][1], seed, interval["draws"], interval["level"]
                )
                rows.append((model, method, copies, len(group), len(never), *area, float(group["found"].mean())))
    columns = ["model", "method", "copies", "n_positive", "n_negative", "auc", "auc_low", "auc_high", "replicated_share"]
    return pd.DataFrame(rows, columns=columns)

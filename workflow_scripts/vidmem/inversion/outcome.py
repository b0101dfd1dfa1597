"""Outcomes of inversions as tables: one row an image and seed, the mean of each image, and how copies separate."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from ..seeding import seed_of
from ..statistics import auc_interval
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
    groups = chosen.assign(order=order).sort_values("order").groupby("copies", sort=True)
    drawn = groups.head(each) if each else groups.head(len(chosen))
    return drawn.drop(columns="order").sort_values(["copies", "clip_id"], ascending=[False, True], ignore_index=True)


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


def image_means(scores: pd.DataFrame) -> pd.DataFrame:
    """One row an image: seeds that replicated it, the mean of their scores with the standard error, the best similarity."""
    keys = ["model", "mode", "image_id", "copies", "split"]
    replicated = scores[scores["status"] == "replicated"].groupby(keys)["score"]
    every = scores.groupby(keys).agg(n_seeds=("seed", "size"), best_similarity=("best_similarity", "max"))
    found = pd.DataFrame({"n_replicated": replicated.size(), "score": replicated.mean(), "standard_error": replicated.sem()})
    table = every.join(found).reset_index()
    return table.assign(n_replicated=table["n_replicated"].fillna(0).astype(int))


def separation(scores: pd.DataFrame, planted: int, interval: dict, seed: int) -> pd.DataFrame:
    """AUC of images planted often against held-out ones, for every model and mode; censored scores rank last.

    Args:
        planted: least number of copies of the positive class.
        interval: level and draws.
    """
    rows = []
    for (model, mode), group in scores.groupby(["model", "mode"], sort=True):
        order = pd.Series(ranks(group), index=group.index)
        often, never = group["copies"] >= planted, group["split"] == "heldout"
        area = auc_interval(
            order[often].to_numpy(), order[never].to_numpy(), group[often]["image_id"], group[never]["image_id"],
            seed, interval["draws"], interval["level"],
        )  # fmt: skip
        rows.append((model, mode, planted, int(often.sum()), int(never.sum()), *area))
    columns = ["model", "mode", "planted", "n_positive", "n_negative", "auc", "auc_low", "auc_high"]
    return pd.DataFrame(rows, columns=columns)

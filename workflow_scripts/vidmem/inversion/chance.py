"""How often the acceptance test passes by chance, and whether the model generates what it was trained on at all."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..statistics import share_interval
from .outcome import replicated_images

COLUMNS = ["model", "probe", "n", "found", "share", "low", "high"]
REPLAYED, OTHER_SAMPLE, OTHER_TEST, OTHER_IMAGE, HELD_OUT = (
    "plain sample resembles a training image", "plain sample resembles a held-out image",
    "test on plain samples accepts a held-out image", "two images of the corpus resemble each other",
    "held-out image replicated by inversion",
)  # fmt: skip


def chance_rows(
    model: str, samples: np.ndarray, images: np.ndarray, splits: np.ndarray, test: int, threshold: float, interval: dict
) -> list[tuple]:
    """Rows of COLUMNS for one model.

    Args:
        samples: descriptors of plain samples, float [N, d]; those of one test, under one prompt, after each other.
        images: of the corpus's images, float [M, d]; splits: theirs.
        test: noises of an acceptance test.
        threshold: its similarity.
        interval: level and method.
    """
    held, trained = images[splits == "heldout"], images[splits != "heldout"]
    known, other = samples @ trained.T, samples @ held.T
    groups = len(samples) // test
    tests = other[: groups * test].reshape(groups, test, len(held)).min(1)
    pairs = (images @ images.T)[np.triu_indices(len(images), 1)]
    probes = [(REPLAYED, known.max(1) if trained.size else np.zeros(0)), (OTHER_SAMPLE, other), (OTHER_TEST, tests)]
    rows = []
    for probe, values in [*probes, (OTHER_IMAGE, pairs)]:
        found, total = int((values >= threshold).sum()), int(values.size)
        rows.append((model, probe, total, found, *share_interval(found, total, interval["level"], interval["method"])))
    return rows


def inverted_row(model: str, scores: pd.DataFrame, interval: dict) -> tuple:
    """Row of COLUMNS: held-out images that the whole procedure, optimiser and all, made the model replicate."""
    images = replicated_images(scores[scores["split"] == "heldout"])
    found, total = int(images.sum()), len(images)
    return (model, HELD_OUT, total, found, *share_interval(found, total, interval["level"], interval["method"]))

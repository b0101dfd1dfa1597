"""How often the acceptance test passes by chance, and how often plain samples of a model resemble its training images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..features.statistics import IntervalRule
from .outcome import replicated_images

COLUMNS = ["model", "probe", "n", "found", "share", "low", "high"]
REPLAYED, OTHER_SAMPLE, OTHER_TEST, OTHER_IMAGE, HELD_OUT = (
    "plain sample resembles a training image", "plain sample resembles a held-out image",
    "test on plain samples accepts a held-out image", "two images of the corpus resemble each other",
    "held-out image replicated by inversion",
)  # fmt: skip
SAMPLES, LEAST = 48, 12
"""Number of plain samples of a model of images, and the least number for a model of clips. A clip costs as much as its frames,
so fewer clips are drawn."""
COMPARED = 100
"""Most images of each number of copies with which the samples are compared: a corpus may have millions."""


def plain_sample_count(frames: int) -> int:
    """Number of plain samples that are drawn from a model whose samples have so many frames."""
    return max(LEAST, SAMPLES // frames)


def middle_frames(clips: Sequence[np.ndarray]) -> np.ndarray:
    """The middle frame of each clip, uint8 [N, H, W, 3].

    Args:
        clips: uint8 [T, H, W, 3] each, of one size.
    """
    return np.stack([clip[len(clip) // 2] for clip in clips])


def chance_rows(
    model: str, samples: np.ndarray, images: np.ndarray, splits: np.ndarray, test: int, threshold: float, interval: IntervalRule
) -> list[tuple]:
    """Rows of COLUMNS for one model: how often plain samples and images of the corpus reach the threshold.

    Args:
        model: name of the model.
        samples: descriptors of plain samples, float [N, d]. Samples of one test have one prompt and follow each other.
        images: descriptors of images of the corpus, float [M, d].
        splits: splits of these images, [M].
        test: number of noises of an acceptance test.
        threshold: similarity that the acceptance test asks for.
        interval: rule of the confidence intervals.
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
        rows.append((model, probe, total, found, *interval.share(found, total)))
    return rows


def inverted_row(model: str, scores: pd.DataFrame, interval: IntervalRule) -> tuple:
    """Row of COLUMNS: held-out images that the whole inversion, with its optimiser, made the model replicate."""
    images = replicated_images(scores[scores["split"] == "heldout"])
    found, total = int(images.sum()), len(images)
    return (model, HELD_OUT, total, found, *interval.share(found, total))

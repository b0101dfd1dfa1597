"""The acceptance test of an inversion: do samples from the found noise show the target?

The test draws m fresh noises. The samples from all of them must reach the threshold at one guidance scale. Images that fail
cause nearly all of the cost, so the test has stages. Each stage samples a few more noises, but only at scales at which every
sample so far reached the threshold. The verdict equals the verdict of the full test on these noises.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Similarity = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Function of three index arrays (image [n], noise [n], scale [n]) to the similarities float [n] of samples to targets."""


@dataclass(frozen=True)
class AcceptanceRule:
    """When an image counts as replicated.

    Attributes:
        samples: number of fresh noises (m).
        threshold: similarity that the sample from every noise must reach (beta).
        scales: guidance scales, one of which must pass; (1.0,) for models without guidance.
    """

    samples: int = 8
    threshold: float = 0.5
    scales: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class Acceptance:
    """Outcome of a test for every image.

    Attributes:
        passed: bool [S], whether the image passed.
        similarity: float [S], lowest similarity of the samples at the best scale. For a passed image it is the minimum over all
            noises. For a failed image it is an upper bound on this minimum, because later noises were not sampled.
        first: float [S], similarity of the sample from the first noise at its best scale. It is always computed, so it can be
            compared between images. (`similarity` cannot: a hopeless image has it of one noise, a good image of all eight.)
        scale: int [S], index of the scale of `similarity`.
        calls: int [S], network passes for one sampler step of all samples drawn; a sample at a scale other than 1 needs two.
    """

    passed: np.ndarray
    similarity: np.ndarray
    first: np.ndarray
    scale: np.ndarray
    calls: np.ndarray


def stages(samples: int) -> list[range]:
    """Numbers of the noises of each stage: one noise, one, two, four, eight, ...

    >>> [list(stage) for stage in stages(8)]
    [[0], [1], [2, 3], [4, 5, 6, 7]]
    """
    edges = [0, *(edge for edge in (2**power for power in range(64)) if edge < samples), samples]
    return [range(first, last) for first, last in zip(edges, edges[1:], strict=False)]


def accept(similarity: Similarity, images: int, rule: AcceptanceRule, staged: bool = True) -> Acceptance:
    """Test images that are optimised together.

    Args:
        similarity: function that draws samples and compares them with their targets.
        images: number of images.
        rule: when an image passes.
        staged: False samples every noise at every scale, for comparison; the verdict does not change.
    """
    scales = len(rule.scales)
    lowest, first = np.full((images, scales), np.inf), np.full((images, scales), -1.0)
    calls, cost = np.zeros(images, np.int64), np.where(np.array(rule.scales) == 1, 1, 2)
    for stage in stages(rule.samples) if staged else [range(rule.samples)]:
        alive = np.argwhere(lowest >= rule.threshold) if staged else np.argwhere(np.ones((images, scales), bool))
        if not len(alive):
            break
        image, scale = np.repeat(alive, len(stage), axis=0).T
        noise = np.tile(np.fromiter(stage, np.int64), len(alive))
        found = np.nan_to_num(similarity(image, noise, scale), nan=-1.0)
        np.minimum.at(lowest, (image, scale), found)
        first[image[noise == 0], scale[noise == 0]] = found[noise == 0]
        np.add.at(calls, image, cost[scale])
    best = lowest.max(1)
    return Acceptance(best >= rule.threshold, best, first.max(1), lowest.argmax(1), calls)

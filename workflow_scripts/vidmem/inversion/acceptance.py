"""The acceptance test of an inversion: do samples from the found noise show the target?

m fresh noises are drawn, and all of them must reach the threshold at one guidance scale. Failing images are nearly the
whole bill, so the test is staged: noises are sampled a few at a time, and a scale whose similarity fell below the threshold
is not sampled again. The verdict is that of the full test on the same noises.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Similarity = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(image [n], noise [n], scale [n], all indices) to the similarities float [n] of the samples to their targets."""


@dataclass(frozen=True)
class AcceptanceRule:
    """When an image counts as replicated.

    Attributes:
        samples: fresh noises (m).
        threshold: similarity every one of them must reach (beta).
        scales: guidance scales, of which one must pass; (1.0,) for models without guidance.
    """

    samples: int = 8
    threshold: float = 0.5
    scales: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class Acceptance:
    """Outcome of a test for every image.

    Attributes:
        passed: bool [S].
        similarity: float [S], of the best scale the lowest similarity that was seen: of a passed image the minimum over
            all noises, of a failed one an upper bound on it.
        first: float [S], similarity of the first noise at its best scale, which is sampled whatever the outcome: the number
            that compares images. (`similarity` is of a hopeless image one noise, of an almost good one the worst of eight.)
        scale: int [S], index of the scale of `similarity`.
        calls: int [S], network passes a sampler step of the samples that were drawn: two at a scale other than 1.
    """

    passed: np.ndarray
    similarity: np.ndarray
    first: np.ndarray
    scale: np.ndarray
    calls: np.ndarray


def stages(samples: int) -> list[range]:
    """Noises of each stage: one, one, two, four, eight, ...

    >>> [list(stage) for stage in stages(8)]
    [[0], [1], [2, 3], [4, 5, 6, 7]]
    """
    edges = [0, *(edge for edge in (2**power for power in range(64)) if edge < samples), samples]
    return [range(first, last) for first, last in zip(edges, edges[1:], strict=False)]


def accept(similarity: Similarity, images: int, rule: AcceptanceRule, staged: bool = True) -> Acceptance:
    """Test images that are optimised together.

    Args:
        similarity: samples and compares.
        images: how many there are.
        staged: False samples every noise at every scale (for comparison: the verdict is the same).
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

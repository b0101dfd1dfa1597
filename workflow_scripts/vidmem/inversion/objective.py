"""Loss that an inversion minimises: the error of the denoised target and the divergence of the noise from the prior.

Source: Ma et al. (InvMM), loss of the official code. Everything here is computed in float32. At the last time step of a linear
schedule the error of the network's output is multiplied by 24,780. Rounding to bfloat16 alone would then add 0.07.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from ..errors import VidmemError

if TYPE_CHECKING:
    from ..models.noising import DiffusionPath, FlowPath


def divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Kullback-Leibler divergence of N(mean, exp(log_variance)) from N(0, 1), nats per dimension, in two parts.

    Args:
        mean, log_variance: float32 [S, ...].

    Returns:
        Part of the mean, mean(mu^2) / 2, and part of the variance, mean(exp(lv) - lv - 1) / 2, each [S]. The score is the sum
        of both parts.
    """
    own = tuple(range(1, mean.ndim))
    return mean.square().mean(own) / 2, (log_variance.exp() - log_variance - 1).mean(own) / 2


def prediction_error(
    path: DiffusionPath | FlowPath, clean: torch.Tensor, noisy: torch.Tensor, output: torch.Tensor, times: torch.Tensor
) -> torch.Tensor:
    """Squared error of the denoised target, mean over the elements, float32 [N].

    Args:
        path: how the model adds noise.
        clean: targets [N, ...].
        noisy: targets with noise at the times, [N, ...].
        output: output of the network, [N, ...].
        times: times [N] on the scale of the path.
    """
    error = path.denoised(noisy.float(), output.float(), times) - clean.float()
    return error.square().flatten(1).mean(1)


def nats_per_image(score: float, elements: int) -> float:
    """Score per dimension as nats per image.

    >>> nats_per_image(0.5, 3072)
    1536.0
    """
    if elements < 1 or math.isnan(score):
        raise VidmemError("elements >= 1 and a score", (elements, score), "nats_per_image")
    return score * elements

"""Samples from given start noises, with the deterministic sampler of the acceptance test or any other of diffusers."""

from __future__ import annotations

from inspect import signature

import numpy as np
import torch

from ..errors import VidmemError
from .adapters import InvertibleModel, Text


@torch.no_grad()
def sample(
    model: InvertibleModel,
    starts: torch.Tensor,
    told: Text,
    silence: Text,
    scales: torch.Tensor,
    name: str,
    steps: int,
    streams: list[torch.Generator] | None = None,
) -> np.ndarray:
    """Generate samples from start noises.

    Args:
        model: the model.
        starts: start noises, float32 [N, *model.shape], of unit variance under the prior.
        told: embedded prompt of each sample, [N, ...].
        silence: embedded empty prompt, [1, ...].
        scales: guidance scale of each sample, [N]; 1 is no guidance and costs one pass instead of two.
        name: scheduler class of diffusers.
        steps: number of network evaluations.
        streams: random stream of each sample, for samplers that draw noise.

    Returns:
        uint8 [N, T, H, W, 3].
    """  # fmt: skip
    sampler = model.scheduler(name, steps)
    guided = (scales != 1).nonzero()[:, 0].to(starts.device) if told else []
    quiet = {key: value.expand(len(guided), *value.shape[1:]) for key, value in silence.items()}
    scale = scales.to(starts.device).reshape(-1, *[1] * (starts.ndim - 1))
    drawn = {"generator": streams} if "generator" in signature(sampler.step).parameters else {}
    latents = starts * sampler.init_noise_sigma if hasattr(sampler, "init_noise_sigma") else starts
    for time in sampler.timesteps:
        given = sampler.scale_model_input(latents, time) if hasattr(sampler, "scale_model_input") else latents
        times = time.expand(len(given))
        output = model.predict(given, times, told)
        if len(guided):
            unguided = model.predict(given[guided], times[guided], quiet)
            output[guided] = unguided + scale[guided] * (output[guided] - unguided)
        latents = sampler.step(output, time, latents, **drawn).prev_sample
    return model.decode(latents)


def dry_step(model: InvertibleModel, name: str, steps: int) -> int:
    """Number of network calls of a sampler. It is counted after a trial step on zeros, so that an unusable sampler fails early.

    Args:
        model: the model.
        name: scheduler class of diffusers.
        steps: number of network evaluations.

    Raises:
        VidmemError: the scheduler does not support the model's prediction or so many steps.
    """
    try:
        sampler = model.scheduler(name, steps)
        nothing, time = torch.zeros(1, *model.shape, device=model.device), sampler.timesteps[0]
        if hasattr(sampler, "scale_model_input"):
            sampler.scale_model_input(nothing, time)
        sampler.step(nothing, time, nothing)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise VidmemError(f"a sampler for this model and {steps} steps", name, "inversion.sampler", str(error)[:120]) from error
    return len(sampler.timesteps)

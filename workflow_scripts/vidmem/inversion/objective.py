"""What an inversion minimises: the error of the denoised target and the divergence of the noise from the prior.

Source: Ma et al. (InvMM), loss of the official code. Everything here is computed in float32: at the last time step of a
linear schedule the error of the network's output is multiplied by 24,780, so that rounding to bfloat16 alone would add 0.07.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..errors import VidmemError

PREDICTIONS = ("epsilon", "v_prediction", "sample")


def divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Kullback-Leibler divergence of N(mean, exp(log_variance)) from N(0, 1), nats per dimension, in two parts.

    Args:
        mean, log_variance: float32 [S, ...].

    Returns:
        Part of the mean, mean(mu^2) / 2, and part of the variance, mean(exp(lv) - lv - 1) / 2, each [S]; their sum is
        the score.
    """
    own = tuple(range(1, mean.ndim))
    return mean.square().mean(own) / 2, (log_variance.exp() - log_variance - 1).mean(own) / 2


@dataclass(frozen=True)
class DiffusionPath:
    """Variance-preserving noising with discrete times.

    Attributes:
        alphas: float32 [T], cumulative product of 1 - beta.
        prediction: what the network predicts: 'epsilon', 'v_prediction' or 'sample'.
    """

    alphas: torch.Tensor
    prediction: str

    def __post_init__(self):
        if self.prediction not in PREDICTIONS:
            raise VidmemError(f"a prediction type of {PREDICTIONS}", self.prediction, "scheduler.config.prediction_type")
        if self.prediction == "epsilon" and float(self.alphas.min()) <= 1e-12:
            hint = "the clean sample is not defined there; models with zero terminal signal predict v or the sample"
            raise VidmemError("a signal at every time step", "zero terminal SNR with epsilon prediction", "scheduler", hint)

    def draw(self, count: int, stream: torch.Generator) -> torch.Tensor:
        """Times int64 [count], uniform."""
        return torch.randint(len(self.alphas), (count,), generator=stream, device=stream.device)

    def mix(self, clean: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Noisy samples [N, ...] at times [N]."""
        signal, sigma = self.levels(times, clean)
        return signal * clean + sigma * noise

    def denoised(self, noisy: torch.Tensor, output: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Clean samples that the network's output stands for."""
        signal, sigma = self.levels(times, noisy)
        if self.prediction == "epsilon":
            return (noisy - sigma * output) / signal
        return signal * noisy - sigma * output if self.prediction == "v_prediction" else output

    def network_time(self, times: torch.Tensor) -> torch.Tensor:
        """What the network is told."""
        return times

    def own_time(self, told: torch.Tensor | float, count: int, device: torch.device) -> torch.Tensor:
        """Times [count] of what a pipeline told its network."""
        return torch.as_tensor(told, device=device).reshape(-1)[:count].expand(count).long()

    def noise_of(self, noisy: torch.Tensor, output: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Noise that the network's output stands for."""
        if self.prediction == "epsilon":
            return output
        signal, sigma = self.levels(times, noisy)
        return sigma * noisy + signal * output if self.prediction == "v_prediction" else (noisy - signal * output) / sigma

    def goal(self, clean: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Output the network was trained towards."""
        signal, sigma = self.levels(times, clean)
        return {"epsilon": noise, "sample": clean}.get(self.prediction, signal * noise - sigma * clean)

    def times_at(self, shares: torch.Tensor) -> torch.Tensor:
        """Times at shares 0..1 of the schedule."""
        return (shares * (len(self.alphas) - 1)).round().long()

    def levels(self, times: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Shares of the signal and of the noise at times [N], each [N, 1, ...]."""
        alpha = self.alphas.to(like.device)[times].reshape(-1, *[1] * (like.ndim - 1))
        return alpha.sqrt(), (1 - alpha).sqrt()


@dataclass(frozen=True)
class FlowPath:
    """Rectified flow: straight lines from the sample to the noise, times shifted towards the noise.

    Attributes:
        shift: sigma = shift * s / (1 + (shift - 1) * s) for s uniform in 0..1.
        scale: times the network is told: sigma times this.
    """

    shift: float = 3.0
    scale: float = 1000.0
    prediction: str = "flow"

    def draw(self, count: int, stream: torch.Generator) -> torch.Tensor:
        """Noise levels float32 [count]."""
        uniform = torch.rand(count, generator=stream, device=stream.device)
        return self.shift * uniform / (1 + (self.shift - 1) * uniform)

    def mix(self, clean: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Noisy samples [N, ...] at levels [N]."""
        level = times.reshape(-1, *[1] * (clean.ndim - 1))
        return level * noise + (1 - level) * clean

    def denoised(self, noisy: torch.Tensor, output: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Clean samples that the velocity stands for."""
        return noisy - times.reshape(-1, *[1] * (noisy.ndim - 1)) * output

    def network_time(self, times: torch.Tensor) -> torch.Tensor:
        """What the network is told."""
        return times * self.scale

    def own_time(self, told: torch.Tensor | float, count: int, device: torch.device) -> torch.Tensor:
        """Noise levels [count] of what a pipeline told its network; some divide by the scale themselves."""
        times = torch.as_tensor(told, device=device).float().reshape(-1)[:count].expand(count)
        return torch.where(times > 1, times / self.scale, times)

    def noise_of(self, noisy: torch.Tensor, output: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Noise that the velocity stands for."""
        return noisy + self.levels(times, noisy)[0] * output

    def goal(self, clean: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Velocity the network was trained towards."""
        return noise - clean

    def times_at(self, shares: torch.Tensor) -> torch.Tensor:
        """Noise levels at shares 0..1 of the schedule."""
        return shares

    def levels(self, times: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Shares of the signal and of the noise at levels [N], each [N, 1, ...]."""
        level = times.reshape(-1, *[1] * (like.ndim - 1))
        return 1 - level, level


def path_of(scheduler, device: torch.device | str = "cpu") -> DiffusionPath | FlowPath:
    """Noising that a diffusers scheduler was made for; its table on the device, so that no step waits for a copy.

    Raises:
        VidmemError: a scheduler without a noise schedule, or with one that depends on the resolution.
    """
    config = scheduler.config
    if hasattr(scheduler, "alphas_cumprod"):
        return DiffusionPath(scheduler.alphas_cumprod.float().to(device), config.prediction_type)
    if type(scheduler).__name__.startswith("FlowMatch"):
        if config.get("use_dynamic_shifting"):
            raise VidmemError("a fixed shift", "use_dynamic_shifting", type(scheduler).__name__, "set the shift of your size")
        return FlowPath(float(config.shift), float(config.num_train_timesteps))
    raise VidmemError("a scheduler with alphas_cumprod or of flow matching", type(scheduler).__name__, "pipeline.scheduler")


def prediction_error(path, clean: torch.Tensor, noisy: torch.Tensor, output: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    """Squared error of the denoised target, a mean over the elements, float32 [N]."""
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

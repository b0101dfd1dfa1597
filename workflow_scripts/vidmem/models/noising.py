"""Forward processes of diffusion models and flow-matching models: how a scheduler mixes clean data and noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..errors import VidmemError

if TYPE_CHECKING:
    import diffusers

PREDICTIONS = ("epsilon", "v_prediction", "sample")


@dataclass(frozen=True)
class DiffusionPath:
    """Variance-preserving noising at discrete times: noisy = sqrt(alpha) clean + sqrt(1 - alpha) noise (DDPM, Ho et al.
    2006.11239).

    Attributes:
        alphas: float32 [T], cumulative product of 1 - beta.
        prediction: what the network predicts: 'epsilon', 'v_prediction' or 'sample'.

    Raises:
        VidmemError: another prediction, or a time without signal where 'epsilon' is predicted.
    """

    alphas: torch.Tensor
    prediction: str

    def __post_init__(self) -> None:
        if self.prediction not in PREDICTIONS:
            raise VidmemError(f"a prediction type of {PREDICTIONS}", self.prediction, "scheduler.config.prediction_type")
        if self.prediction == "epsilon" and float(self.alphas.min()) <= 1e-12:
            hint = "the clean sample is not defined there; models with zero terminal signal predict v or the sample"
            raise VidmemError("a signal at every time step", "zero terminal SNR with epsilon prediction", "scheduler", hint)

    def draw(self, count: int, stream: torch.Generator) -> torch.Tensor:
        """Draw times uniformly, int64 [count]."""
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
        """Times in the form that the network takes."""
        return times

    def own_time(self, told: torch.Tensor | float, count: int, device: torch.device) -> torch.Tensor:
        """Times [count] from the times that a pipeline gave its network; the inverse of network_time."""
        return torch.as_tensor(told, device=device).reshape(-1)[:count].expand(count).long()

    def noise_of(self, noisy: torch.Tensor, output: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Noise that the network's output stands for."""
        if self.prediction == "epsilon":
            return output
        signal, sigma = self.levels(times, noisy)
        return sigma * noisy + signal * output if self.prediction == "v_prediction" else (noisy - signal * output) / sigma

    def goal(self, clean: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Output towards which the network was trained."""
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
    """Rectified flow: straight lines from the sample to the noise, with times shifted towards the noise.

    Times are noise levels sigma in 0..1: noisy = sigma noise + (1 - sigma) clean.

    Attributes:
        shift: sigma = shift * s / (1 + (shift - 1) * s) for s uniform in 0..1.
        scale: the network takes the time sigma * scale.
    """

    shift: float = 3.0
    scale: float = 1000.0
    prediction: str = "flow"

    def draw(self, count: int, stream: torch.Generator) -> torch.Tensor:
        """Draw noise levels, float32 [count]."""
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
        """Noise levels in the form that the network takes."""
        return times * self.scale

    def own_time(self, told: torch.Tensor | float, count: int, device: torch.device) -> torch.Tensor:
        """Noise levels [count] from the times that a pipeline gave its network. Some pipelines give noise levels themselves."""
        times = torch.as_tensor(told, device=device).float().reshape(-1)[:count].expand(count)
        return torch.where(times > 1, times / self.scale, times)

    def noise_of(self, noisy: torch.Tensor, output: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Noise that the velocity stands for."""
        return noisy + self.levels(times, noisy)[0] * output

    def goal(self, clean: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Velocity towards which the network was trained."""
        return noise - clean

    def times_at(self, shares: torch.Tensor) -> torch.Tensor:
        """Noise levels at shares 0..1 of the schedule."""
        return shares

    def levels(self, times: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Shares of the signal and of the noise at levels [N], each [N, 1, ...]."""
        level = times.reshape(-1, *[1] * (like.ndim - 1))
        return 1 - level, level


def path_of(scheduler: diffusers.SchedulerMixin, device: torch.device | str = "cpu") -> DiffusionPath | FlowPath:
    """The forward process that a scheduler of diffusers inverts.

    Args:
        device: device of the table of alphas, so that no step waits for a copy.

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

"""The deterministic sampler of the acceptance test: DDIM on the grid of the official InvMM code, for every number of steps."""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput


def even_times(steps: int, trained: int) -> list[int]:
    """Times of the official code (Maryeon/InvMM, ddpm/diffusion.py): whole parts of an even grid, from the last time on.

    diffusers rounds instead, and differs by one where the steps do not divide the times: at 10 of 30 steps.

    >>> even_times(4, 1000), even_times(3, 1000)
    ([999, 749, 499, 249], [999, 665, 332])
    """
    grid = torch.linspace(-1, trained - 1, steps=steps + 1)  # float32, as there: its rounding decides some whole parts
    return list(reversed(grid.int().tolist()[1:]))


class EvenDDIMScheduler(DDIMScheduler):
    """DDIM without noise, each step of which ends at the next time of the grid.

    diffusers ends a step at a distance of 1000 // steps, which is no time of the grid where the steps do not divide 1000.
    """

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """Set the times of the grid."""
        self.num_inference_steps = num_inference_steps
        times = even_times(num_inference_steps, self.config.num_train_timesteps)
        self.timesteps = torch.tensor(times, device=device)

    def step(self, model_output: torch.Tensor, timestep: torch.Tensor, sample: torch.Tensor) -> DDIMSchedulerOutput:
        """Make one step, with the operations of diffusers in their order."""
        place = int((self.timesteps == timestep).nonzero()[0])
        following = int(self.timesteps[place + 1]) if place + 1 < len(self.timesteps) else -1
        signal = self.alphas_cumprod[int(timestep)]
        ahead = self.alphas_cumprod[following] if following >= 0 else self.final_alpha_cumprod
        noise_share = 1 - signal
        if self.config.prediction_type == "epsilon":
            clean, noise = (sample - noise_share**0.5 * model_output) / signal**0.5, model_output
        elif self.config.prediction_type == "sample":
            clean, noise = model_output, (sample - signal**0.5 * model_output) / noise_share**0.5
        elif self.config.prediction_type == "v_prediction":
            clean = (signal**0.5) * sample - (noise_share**0.5) * model_output
            noise = (signal**0.5) * model_output + (noise_share**0.5) * sample
        else:
            raise ValueError(f"prediction type {self.config.prediction_type}")
        latents = ahead**0.5 * clean + (1 - ahead) ** 0.5 * noise
        return DDIMSchedulerOutput(prev_sample=latents, pred_original_sample=clean)

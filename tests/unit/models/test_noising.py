"""Noise is added and removed exactly, for diffusion and for flow matching."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from vidmem.models.noising import DiffusionPath, FlowPath, path_of


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_a_perfect_output_denoises_exactly(prediction, stream):
    path = DiffusionPath(torch.linspace(0.99, 0.01, 10), prediction)
    clean, noise = (torch.from_numpy(stream.normal(size=(10, 3, 4)).astype(np.float32)) for _ in range(2))
    times = torch.arange(10)
    alpha = path.alphas[:, None, None]
    output = {"epsilon": noise, "sample": clean, "v_prediction": alpha.sqrt() * noise - (1 - alpha).sqrt() * clean}[prediction]
    assert torch.allclose(path.denoised(path.mix(clean, noise, times), output, times), clean, atol=1e-5)


def test_the_official_epsilon_weight():
    """The loss is the error of epsilon times (1 - alpha) / alpha: 24,780 at the last time of the DDPM schedule."""
    path = path_of(DDIMScheduler(clip_sample=False))
    times, clean, noise = torch.tensor([999]), torch.zeros(1, 4), torch.ones(1, 4)
    noisy = path.mix(clean, noise, times)
    assert float(path.denoised(noisy, noise + 1, times).square().mean()) == pytest.approx(24_780, rel=0.01)


def test_flow_denoises_exactly_and_shifts_its_times(stream):
    path = path_of(FlowMatchEulerDiscreteScheduler(shift=3.0))
    assert path == FlowPath(3.0, 1000.0)
    clean, noise = (torch.from_numpy(stream.normal(size=(6, 4)).astype(np.float32)) for _ in range(2))
    times = path.draw(6, torch.Generator().manual_seed(0))
    assert torch.allclose(path.denoised(path.mix(clean, noise, times), noise - clean, times), clean, atol=1e-5)
    levels = path.draw(100_000, torch.Generator().manual_seed(1))
    assert float(levels.median()) == pytest.approx(3 * 0.5 / 2, abs=0.01)  # the median of s is 1/2

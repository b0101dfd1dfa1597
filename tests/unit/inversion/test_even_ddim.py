"""The sampler of the acceptance test is that of the official InvMM code, for every number of steps."""

import diffusers
import pytest
import torch

from vidmem.inversion.even_ddim import EvenDDIMScheduler, even_times

OPTIONS = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02, "clip_sample": False, "set_alpha_to_one": True,
           "timestep_spacing": "trailing"}  # fmt: skip


def official(network, noise, steps, signal):
    """The loop of ddpm/diffusion.py at eta 0, written from its description: pairs of times, the clean sample at the last."""
    times = torch.linspace(-1, 999, steps=steps + 1).int().tolist()[::-1]
    for now, following in zip(times[:-1], times[1:]):
        predicted = network(noise, now)
        clean = (noise - (1 - signal[now]).sqrt() * predicted) / signal[now].sqrt()
        if following < 0:
            return clean
        noise = signal[following].sqrt() * clean + (1 - signal[following]).sqrt() * predicted
    raise AssertionError


def network(noise, time):
    return torch.sin(noise * 3 + float(time) / 100)


@pytest.mark.parametrize("steps", [7, 10, 30, 50, 64, 200])
def test_samples_are_those_of_the_official_loop(steps):
    scheduler = EvenDDIMScheduler(**OPTIONS)
    scheduler.set_timesteps(steps)
    start = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    latents = start
    for time in scheduler.timesteps:
        latents = scheduler.step(network(latents, time), time, latents).prev_sample
    expected = official(network, start, steps, scheduler.alphas_cumprod)
    assert torch.allclose(latents, expected, atol=1e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("steps", [10, 50, 200])
def test_where_the_steps_divide_the_bits_are_those_of_diffusers(prediction, steps):
    """Finished inversions stay valid."""
    ours, theirs = (kind(**OPTIONS, prediction_type=prediction) for kind in (EvenDDIMScheduler, diffusers.DDIMScheduler))
    ours.set_timesteps(steps)
    theirs.set_timesteps(steps)
    assert torch.equal(ours.timesteps, theirs.timesteps)
    latents = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    for time in ours.timesteps:
        output = network(latents, time)
        made, expected = ours.step(output, time, latents), theirs.step(output, time, latents)
        assert torch.equal(made.prev_sample, expected.prev_sample)
        latents = made.prev_sample


def test_thirty_steps_are_truncated_where_diffusers_rounds():
    theirs = diffusers.DDIMScheduler(**OPTIONS)
    theirs.set_timesteps(30)
    assert sum(one != other for one, other in zip(even_times(30, 1000), theirs.timesteps.tolist())) == 10

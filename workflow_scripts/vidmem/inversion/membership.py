"""Was an image in the training data? Two published baselines, to tell membership from memorization.

The loss may reveal that a model saw an image once, although the model never reproduces it. InvMM measures reproduction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from ..base.seeding import seed_of
from .adapters import InvertibleModel, Text
from .engine import Target

LEVELS, NOISES = 10, 4
REACH, HOPS = 0.1, 10  # SecMI's time as a share of the schedule, and the number of hops to it


def membership_scores(model: InvertibleModel, targets: Sequence[Target], seed: int, mode: str) -> dict[str, np.ndarray]:
    """Evidence that the model was trained on each target. A higher value is more evidence; 0 is an error of zero.

    Args:
        model: the model.
        targets: images or clips.
        seed: seed of the noises; each image has noises of its own.
        mode: 'caption' conditions the model on the caption of the target; any other mode uses the empty prompt.

    Returns:
        float64 [N] each:
        - 'loss': minus the training loss, mean over LEVELS times and NOISES noises (Yeom et al. 1709.01604, Matsumoto et
          al. 2302.03262).
        - 'secmi': minus the t-error (Duan et al. 2302.01316).
    """
    rows = []
    for target in targets:
        clean = model.encode(target.frames)[None].to(model.device)
        told = model.embed([target.caption if mode == "caption" else ""])
        stream = torch.Generator().manual_seed(seed_of("membership", seed, target.image_id))
        rows.append((-_training_loss(model, clean, told, stream), -_round_trip_error(model, clean, told)))
    loss, secmi = np.array(rows, np.float64).reshape(-1, 2).T
    return {"loss": loss, "secmi": secmi}


@torch.no_grad()
def _training_loss(model: InvertibleModel, clean: torch.Tensor, told: Text, stream: torch.Generator) -> float:
    shares = (torch.arange(LEVELS) + 0.5) / LEVELS
    times = model.path.times_at(shares).repeat_interleave(NOISES).to(model.device)
    noise = torch.randn(len(times), *model.shape, generator=stream).to(model.device)
    many = clean.expand_as(noise)
    output = _predict(model, model.path.mix(many, noise, times), times, told)
    return float((output - model.path.goal(many, noise, times)).square().mean())


@torch.no_grad()
def _round_trip_error(model: InvertibleModel, clean: torch.Tensor, told: Text) -> float:
    """t-error of SecMI, a mean over dimensions.

    The clean sample is noised deterministically to a time, then one hop further and one hop back. The t-error is the squared
    distance between the sample before this hop and the sample after the way back.
    """
    times = model.path.times_at(torch.linspace(0.01, 1 + 1 / HOPS, HOPS + 2) * REACH)[:, None].to(model.device)
    path = list(_noised(model, clean, told, times))
    before, after = path[-2], path[-1]
    output = _predict(model, after, times[-1], told)
    return float((_moved(model, after, output, times[-1], times[-2]) - before).square().mean())


def _noised(model: InvertibleModel, clean: torch.Tensor, told: Text, times: torch.Tensor) -> Iterator[torch.Tensor]:
    """Samples along a backward run of DDIM, from the clean sample to the last of the given times."""
    current = clean
    yield current
    for now, later in zip(times[:-1], times[1:], strict=True):
        current = _moved(model, current, _predict(model, current, now, told), now, later)
        yield current


def _moved(
    model: InvertibleModel, sample: torch.Tensor, output: torch.Tensor, now: torch.Tensor, then: torch.Tensor
) -> torch.Tensor:
    """Sample after a deterministic step from the time `now` to the time `then`, given the network's output at `now`."""
    signal, sigma = model.path.levels(then, sample)
    return signal * model.path.denoised(sample, output, now) + sigma * model.path.noise_of(sample, output, now)


def _predict(model: InvertibleModel, noisy: torch.Tensor, times: torch.Tensor, told: Text) -> torch.Tensor:
    many = {name: value.expand(len(noisy), *value.shape[1:]) for name, value in told.items()}
    return model.predict(noisy, model.path.network_time(times), many)

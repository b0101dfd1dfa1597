"""Published detectors, as readers of the guidance pass. The magnitudes of the guidance have to be compared with them.

attention_entropy: Ren et al. 2403.11052. bright_ending: Chen et al. 2410.21665. alignment: Asthana and Belagiannis
2601.20642. curvature: Jeon et al. 2412.04140. Each is written from its paper; docs/methods.md says where ours differs.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import torch

from ..base.logs import LOGGER
from ..errors import VidmemError
from .attention import CrossAttention
from .guidance import GuidancePass, Reader

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

    from ..models.noising import DiffusionPath, FlowPath

LATE = 3
"""The alignment is read at the time of this step, counted from the end of the sampling (from the authors' code)."""
STEP = 0.01
"""Length of the finite difference of the curvature, as a share of the latents' norm."""


def attention_entropy(attention: CrossAttention) -> torch.Tensor:
    """Entropy of the mean attention to the tokens of the prompt, in nats, float [N]. Memorised prompts have more.

    Ren et al., eq. 4. We average over all cross-attention layers; the authors take one layer for the first step.

    >>> round(attention_entropy(CrossAttention(torch.tensor([[0.5, 0.5, 0.0]]))).item(), 4)
    0.6931
    """
    return torch.special.entr(attention.tokens).sum(1)


def read_entropy(branches: GuidancePass) -> torch.Tensor | None:
    """attention_entropy of a pass, float [N, 1]; None if no attention was read."""
    return None if branches.attention is None else attention_entropy(branches.attention)[:, None]


class BrightEnding:
    """Reader of the bright ending. Its mask comes from the last step, so that only finish returns values.

    Attributes:
        energies: place_energies of every step.
        mask: ending_mask of the last step; None if it is not known.
    """

    def __init__(self) -> None:
        self.energies: list[torch.Tensor] = []
        self.mask: torch.Tensor | None = None

    def __call__(self, branches: GuidancePass) -> None:
        if branches.attention is not None:
            self.energies.append(place_energies(branches))
            self.mask = ending_mask(branches)

    def finish(self) -> list[torch.Tensor]:
        """masked_norm of every step, each float [N, frames]; empty if the mask of the last step is not known."""
        return [] if self.mask is None else [masked_norm(energies, self.mask) for energies in self.energies]


def place_energies(branches: GuidancePass) -> torch.Tensor:
    """Squared norm of the guidance at every place, float [N, frames, places]."""
    guidance = branches.conditional - branches.unconditional
    return guidance.unflatten(2, (-1, branches.channels)).square().sum(3)


def masked_norm(energies: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Norm of the masked guidance, divided by the mean of the mask (Chen et al., eq. 4), float [N, frames].

    Args:
        energies: of place_energies, float [N, frames, places].
        mask: of ending_mask, float [N, frames, places].

    >>> masked_norm(torch.tensor([[[9.0, 16.0]]]), torch.tensor([[[1.0, 0.0]]])).tolist()
    [[6.0]]
    """
    return (mask.square() * energies).sum(2).sqrt() / mask.mean(2)


def ending_mask(branches: GuidancePass) -> torch.Tensor | None:
    """Attention to the end token at every place of the latents, float [N, frames, places].

    A layer may see several places as one, because of patches or on a coarser level. Each of these places gets its value.

    Returns:
        The mask; None if no attention was read, or if it does not fit the latents.
    """
    ending = None if branches.attention is None else branches.attention.ending
    if ending is None:
        return None
    count, frames, values = branches.latents.shape
    places = values // branches.channels
    if ending.shape[1] != frames and ending.shape[2] % frames == 0:
        ending = ending.reshape(count, frames, -1)
    if ending.shape == (count, frames, places):
        return ending
    side = (places / ending.shape[2]) ** 0.5
    height, width = branches.grid or (1, 1)
    if ending.shape[1] != frames or side != int(side) or height % side or width % side:
        _warn_of_mask(tuple(ending.shape[1:]), (frames, places))
        return None
    coarse = ending.unflatten(2, (height // int(side), width // int(side)))
    return coarse.repeat_interleave(int(side), 2).repeat_interleave(int(side), 3).flatten(2)


@cache
def _warn_of_mask(seen: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    LOGGER.warning("no bright ending: attention of [frames, places] %s does not fit latents of %s", seen, wanted)


def guidance_alignment(path: DiffusionPath | FlowPath, branches: GuidancePass, time: torch.Tensor | float) -> torch.Tensor:
    """Cosine between the guidance and the unconditional noise prediction, float [N, frames].

    Both are predicted on pure noise, but for a late time. The cosine is taken over the channels of every place and averaged
    over the places (Asthana and Belagiannis).

    Args:
        path: noising of the scheduler, of vidmem.models.noising.path_of.
        branches: guidance pass of the first step.
        time: the late time, in the form in which the denoiser is told times.
    """
    late = branches.repeated(None, time)
    times = path.own_time(time, len(late.latents), late.latents.device)
    noises = (path.noise_of(late.latents, one, times) for one in (late.unconditional, late.conditional))
    unconditional, conditional = (noise.unflatten(2, (-1, branches.channels)) for noise in noises)
    return torch.nn.functional.cosine_similarity(unconditional, conditional - unconditional, dim=3).mean(2)


def guidance_curvature(branches: GuidancePass, step: float = STEP) -> torch.Tensor:
    """Norm of the difference of the Hessians along the guidance, times the guidance's norm, float [N, frames].

    Jeon et al., eq. 9, ||H s||: H is the difference of the Hessians of both branches' log-density, s the difference of their
    scores. We take the model's own prediction in place of the score: at one time they differ by a factor that is equal for
    all prompts. We take a finite difference, because some pipelines and kernels offer no automatic differentiation.

    Args:
        branches: a guidance pass that can be repeated.
        step: length of the finite difference, as a share of the latents' norm.
    """
    guidance = branches.conditional - branches.unconditional
    norm = guidance.flatten(1).norm(dim=1)[:, None, None].clamp(min=1e-12)
    length = step * branches.latents.flatten(1).norm(dim=1)[:, None, None]
    there = branches.repeated(branches.latents + length * guidance / norm, None)
    return ((there.conditional - there.unconditional - guidance) * norm / length).norm(dim=2)


def late_time(scheduler: SchedulerMixin, told: torch.Tensor | float, before_end: int = LATE) -> torch.Tensor | None:
    """Time of a late step, in the form in which the pipeline tells times to its denoiser; None if this form is not known.

    Args:
        scheduler: scheduler of a pipeline at its first step.
        told: what the denoiser was told at the first step: the scheduler's time, or this time divided by the number of training
            steps.
        before_end: number of the step, counted from the end.
    """
    told, times = torch.as_tensor(told), scheduler.timesteps
    first, late = (times[place].to(told.device, torch.float64) for place in (0, -min(before_end, len(times))))
    for divisor in (1, scheduler.config.get("num_train_timesteps", 1000)):
        if torch.allclose(told.double(), first / divisor, rtol=1e-2):
            return (torch.ones_like(told, dtype=torch.float64) * late / divisor).to(told.dtype)
    return None


def alignment_reader(scheduler: SchedulerMixin) -> Reader:
    """Reader of guidance_alignment at the first step of a pipeline with this scheduler.

    If the noising or the time of a late step is not known, it reads nothing, and the log says why.
    """
    path = _path(scheduler)

    def read(branches: GuidancePass) -> torch.Tensor | None:
        if path is None:
            return None
        time = late_time(scheduler, branches.time)
        if time is not None:
            return guidance_alignment(path, branches, time)
        _warn_of_time(type(scheduler).__name__)
        return None

    return read


@cache
def _warn_of_time(name: str) -> None:
    LOGGER.warning("no alignment: %s has no time such as the denoiser was told", name)


def _path(scheduler: SchedulerMixin) -> DiffusionPath | FlowPath | None:
    """Noising of a scheduler. None if it is not known; the log then says so."""
    from ..models.noising import path_of

    try:
        return path_of(scheduler)
    except VidmemError as error:
        LOGGER.warning("no alignment: %s", " ".join(str(error).split()))
        return None

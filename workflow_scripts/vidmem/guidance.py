"""Classifier-free guidance read from the passes that run anyway.

A forward hook on the denoiser sees both branches of a guidance pass and reduces their difference to magnitudes. No network
call is added and nothing of the pipeline changes. Two forms are known: one call with both branches (unconditional first, as
diffusers' pipelines stack them), and two calls on the same latents one after the other (conditional first, as diffusers'
pipelines call them). Predictions are compared as the model makes them - noise, velocity, flow or sample -, so that magnitudes
of models with different predictions are not comparable with each other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple

import torch

from .errors import VidmemError
from .logs import LOGGER

QUANTITIES = ("content", "motion", "conditional", "unconditional", "latent")
"""content: |g^f|; motion: |g^(f+1) - g^f|; conditional, unconditional: norm of each branch; latent: norm of what the denoiser
was given. All L2, per frame."""


class StopGeneration(Exception):
    """Raised from a step to end a call of a pipeline; caught by whoever asked for it, never seen by a user."""


class GuidancePass(NamedTuple):
    """Both branches of one denoising step.

    Attributes:
        latents, unconditional, conditional: float32 [N, frames, values].
        time: what the denoiser was told, a number or one a sample.
    """

    latents: torch.Tensor
    unconditional: torch.Tensor
    conditional: torch.Tensor
    time: torch.Tensor | float = 0.0


Reducer = Callable[[GuidancePass], dict[str, torch.Tensor]]
"""From a pass to named quantities, each float [N, frames] (or fewer columns, as motion)."""


def guidance_magnitudes(branches: GuidancePass) -> dict[str, torch.Tensor]:
    """Magnitudes of the guidance of each sample.

    Content magnitude is Wen et al.'s (2407.21720) for every frame; motion magnitude is that of the change of the
    guidance from frame to frame (Chen et al. 2410.21669, our formalisation).

    Returns:
        Each of QUANTITIES: float [N, frames], motion [N, frames - 1].

    >>> u = torch.zeros(1, 2, 4); c = torch.tensor([[[1.0, 0, 0, 0], [0, 1.0, 0, 0]]])
    >>> g = guidance_magnitudes(GuidancePass(u, u, c)); g["content"].tolist(), round(g["motion"].item(), 3)
    ([[1.0, 1.0]], 1.414)
    """
    guidance = branches.conditional - branches.unconditional
    return {
        "content": guidance.norm(dim=2),
        "motion": guidance.diff(dim=1).norm(dim=2),
        "conditional": branches.conditional.norm(dim=2),
        "unconditional": branches.unconditional.norm(dim=2),
        "latent": branches.latents.norm(dim=2),
    }


def one_step_change(path, scale: float) -> Reducer:
    """White-box score of one denoising step: mean square of the change from the noise to the sample it is denoised to.

    Webster (2305.08694) takes one guided step from pure noise and its squared distance from that noise: prompts whose training
    image is memorised are denoised to a clear sample at once. Here with the model's own prediction type.

    Args:
        path: noising of the scheduler, of vidmem.inversion.objective.path_of.
        scale: guidance scale of the step.

    Returns:
        Reducer of the quantity one_step, float [N, frames], beside guidance_magnitudes.
    """

    def reduce(branches: GuidancePass) -> dict[str, torch.Tensor]:
        guided = branches.unconditional + scale * (branches.conditional - branches.unconditional)
        denoised = path.denoised(branches.latents, guided, path.own_time(branches.time, len(guided), guided.device))
        return guidance_magnitudes(branches) | {"one_step": (denoised - branches.latents).square().mean(2)}

    return reduce


def first_step_reducer(scheduler, scale: float) -> Reducer:
    """one_step_change where the scheduler's noising is known; else the magnitudes alone, and the log says so."""
    from .inversion.objective import path_of

    try:
        return one_step_change(path_of(scheduler), scale)
    except VidmemError as error:
        LOGGER.warning("no one-step score: %s", " ".join(str(error).split()))
        return guidance_magnitudes


class GuidanceRecorder:
    """Context manager that records what a reducer makes of the guidance of one call of a pipeline.

    Args:
        denoiser: the pipeline's U-Net or transformer.
        samples: samples in the call: a pass of twice as many holds both branches, one of as many may be half of a pair.
        reduce: what is kept of a step.
        on_step: called after every step with its number and its quantities; may raise StopGeneration.
        patience: calls without any guidance after which the generation is stopped; 0 for never.
        most: steps to record; 0 for all. Further calls cost nothing.

    Attributes:
        steps: one dictionary a denoising step: quantity -> float tensor [samples, frames] (motion: frames - 1).
        calls: network calls seen.
    """

    def __init__(
        self,
        denoiser: torch.nn.Module,
        samples: int,
        reduce: Reducer = guidance_magnitudes,
        on_step: Callable[[int, dict[str, torch.Tensor]], None] | None = None,
        patience: int = 0,
        most: int = 0,
    ):
        self.denoiser, self.samples, self.reduce, self.on_step = denoiser, samples, reduce, on_step
        self.patience, self.most = patience, most
        self.steps: list[dict[str, torch.Tensor]] = []
        self.calls = 0
        self._waiting: tuple[torch.Tensor, torch.Tensor] | None = None

    def __enter__(self) -> GuidanceRecorder:
        self._thread = threading.get_ident()
        self._handle = self.denoiser.register_forward_hook(self._record, with_kwargs=True)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._handle.remove()

    def _record(self, module: torch.nn.Module, given: tuple, named: dict, output) -> None:
        if threading.get_ident() != self._thread:
            return  # a call of somebody else who shares the network
        self.calls += 1
        if self.most and len(self.steps) >= self.most:
            return
        latents, prediction = denoiser_input(given, named), denoiser_output(output)
        if len(prediction) == 2 * self.samples:
            unconditional, conditional = prediction.chunk(2)
            self._step(module, given, named, latents[: self.samples], unconditional, conditional)
        elif len(prediction) == self.samples:
            self._half(module, given, named, latents, prediction)
        if self.patience and self.calls >= self.patience and not self.steps:
            raise StopGeneration

    def _half(self, module, given: tuple, named: dict, latents: torch.Tensor, prediction: torch.Tensor) -> None:
        """One of two calls. They are a pair if the latents are the same; times alone repeat in samplers of second order."""
        waiting, self._waiting = self._waiting, (latents, prediction)
        if waiting is not None and waiting[0].shape == latents.shape and torch.equal(waiting[0], latents):
            self._waiting = None
            self._step(module, given, named, latents, prediction, waiting[1])

    def _step(self, module, given: tuple, named: dict, latents, unconditional, conditional) -> None:
        branches = by_frame(module, given, named, latents, unconditional, conditional)
        if branches is None:
            return
        self.steps.append(self.reduce(branches))
        if self.on_step is not None:
            self.on_step(len(self.steps) - 1, self.steps[-1])


def denoiser_input(given: tuple, named: dict) -> torch.Tensor:
    """Latents of a denoiser's call, whatever diffusers names them."""
    return next((named[name] for name in ("hidden_states", "sample") if name in named), given[0] if given else None)


def denoiser_output(output) -> torch.Tensor:
    """Prediction of a denoiser's call."""
    return output[0] if isinstance(output, tuple) else getattr(output, "sample", output)


def by_frame(
    module: torch.nn.Module,
    given: tuple,
    named: dict,
    latents: torch.Tensor,
    unconditional: torch.Tensor,
    conditional: torch.Tensor,
) -> GuidancePass | None:
    """Both branches of a call with a frame axis; None where the layout is not known."""
    config, frames = getattr(module, "config", None), named.get("num_frames")
    parts = (
        frames_first(latents, getattr(config, "in_channels", None), frames),
        frames_first(unconditional, getattr(config, "out_channels", None), frames),
        frames_first(conditional, getattr(config, "out_channels", None), frames),
    )
    if any(part is None for part in parts):
        return None
    time = named["timestep"] if "timestep" in named else given[1] if len(given) > 1 else 0.0
    return GuidancePass(*(part.float() for part in parts), time)


def frames_first(values: torch.Tensor, channels: int | None, frames: int | None = None) -> torch.Tensor | None:
    """Latents or a prediction as [B, frames, values].

    Args:
        values: a video's [B, C, T, h, w] or [B, T, C, h, w], an image's [B, C, h, w], or packed tokens [B, tokens, C].
        channels: tells the two layouts of a video apart.
        frames: frames of packed tokens, which come frame by frame; without it they count as one frame.

    Returns:
        None where the layout is not known.
    """
    if values.ndim == 4:
        return values.flatten(1)[:, None]
    if values.ndim == 3:
        known = frames if frames and values.shape[1] % frames == 0 else 1
        return values.reshape(len(values), known, -1)
    if values.ndim != 5:
        return None
    if channels in (None, values.shape[1]):
        return values.transpose(1, 2).flatten(2)
    return values.flatten(2) if values.shape[2] == channels else None


def with_settings(reduce: Reducer) -> Reducer:
    """A reducer that also says what kind of step it saw: `elements`, values of a frame, and `time`, as the denoiser was told.

    A magnitude only compares with those of calls with the same settings.
    """

    def both(branches: GuidancePass) -> dict[str, torch.Tensor]:
        like = branches.latents.new_ones(branches.latents.shape[:2])
        time = torch.as_tensor(branches.time, device=like.device).float().reshape(-1)[:1]
        return reduce(branches) | {"elements": like * branches.latents.shape[2], "time": like * time}

    return both

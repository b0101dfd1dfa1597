"""Classifier-free guidance read from the passes that run anyway.

A forward hook on the denoiser sees both branches of a guidance pass and reduces their difference to magnitudes. No network
call is added and nothing of the pipeline changes. Two forms are known: one call with both branches (unconditional first, as
diffusers' pipelines stack them), and two calls on the same latents one after the other (conditional first, as diffusers'
pipelines call them). Predictions are compared as the model makes them - noise, velocity, flow or sample -, so that magnitudes
of models with different predictions are not comparable with each other.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple

import torch

QUANTITIES = ("content", "motion", "conditional", "unconditional", "latent")
"""content: |g^f|; motion: |g^(f+1) - g^f|; conditional, unconditional: norm of each branch; latent: norm of what the denoiser
was given. All L2, per frame."""


class StopGeneration(Exception):
    """Raised from a step to end a call of a pipeline; caught by whoever asked for it, never seen by a user."""


class GuidancePass(NamedTuple):
    """Both branches of one denoising step.

    Attributes:
        latents, unconditional, conditional: float32 [N, frames, values].
    """

    latents: torch.Tensor
    unconditional: torch.Tensor
    conditional: torch.Tensor


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


class GuidanceRecorder:
    """Context manager that records what a reducer makes of the guidance of one call of a pipeline.

    Args:
        denoiser: the pipeline's U-Net or transformer.
        samples: samples in the call: a pass of twice as many holds both branches, one of as many may be half of a pair.
        reduce: what is kept of a step.
        on_step: called after every step with its number and its quantities; may raise StopGeneration.

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
    ):
        self.denoiser, self.samples, self.reduce, self.on_step = denoiser, samples, reduce, on_step
        self.steps: list[dict[str, torch.Tensor]] = []
        self.calls = 0
        self._waiting: tuple[torch.Tensor, torch.Tensor] | None = None

    def __enter__(self) -> GuidanceRecorder:
        self._handle = self.denoiser.register_forward_hook(self._record, with_kwargs=True)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._handle.remove()

    def _record(self, module: torch.nn.Module, given: tuple, named: dict, output) -> None:
        self.calls += 1
        latents, prediction = denoiser_input(given, named), denoiser_output(output)
        if len(prediction) == 2 * self.samples:
            unconditional, conditional = prediction.chunk(2)
            self._step(module, named, latents[: self.samples], unconditional, conditional)
        elif len(prediction) == self.samples:
            self._half(module, named, latents, prediction)

    def _half(self, module: torch.nn.Module, named: dict, latents: torch.Tensor, prediction: torch.Tensor) -> None:
        """One of two calls. They are a pair if the latents are the same; times alone repeat in samplers of second order."""
        waiting, self._waiting = self._waiting, (latents, prediction)
        if waiting is not None and waiting[0].shape == latents.shape and torch.equal(waiting[0], latents):
            self._waiting = None
            self._step(module, named, latents, prediction, waiting[1])

    def _step(self, module, named: dict, latents, unconditional, conditional) -> None:
        branches = by_frame(module, named, latents, unconditional, conditional)
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
    module: torch.nn.Module, named: dict, latents: torch.Tensor, unconditional: torch.Tensor, conditional: torch.Tensor
) -> GuidancePass | None:
    """Both branches with a frame axis; None where the layout is not known."""
    config, frames = getattr(module, "config", None), named.get("num_frames")
    parts = (
        frames_first(latents, getattr(config, "in_channels", None), frames),
        frames_first(unconditional, getattr(config, "out_channels", None), frames),
        frames_first(conditional, getattr(config, "out_channels", None), frames),
    )
    return None if any(part is None for part in parts) else GuidancePass(*(part.float() for part in parts))


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

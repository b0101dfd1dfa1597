"""Classifier-free guidance read from the passes that run anyway.

A forward hook on the denoiser sees both branches of a guidance pass and reduces their difference to magnitudes. No network
call is added and nothing of the pipeline changes. Two forms are known: one call with both branches (unconditional first, as
diffusers' pipelines stack them), and two calls on the same latents one after the other (conditional first, as diffusers'
pipelines call them). Predictions are compared as the model makes them - noise, velocity, flow or sample -, so that magnitudes
of models with different predictions are not comparable with each other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cache
from types import TracebackType
from typing import NamedTuple

import torch

from .errors import VidmemError
from .logs import LOGGER

QUANTITIES = ("content", "motion", "conditional", "unconditional", "latent")
"""content: |g^f|; motion: |g^(f+1) - g^f|; conditional, unconditional: norm of each branch; latent: norm of what the denoiser
was given. All L2, per frame."""

LAYOUTS = {
    "bcthw": (
        "AllegroTransformer3DModel", "ChronoEditTransformer3DModel", "CosmosTransformer3DModel",
        "EasyAnimateTransformer3DModel", "HeliosTransformer3DModel",
        "HunyuanVideo15Transformer3DModel", "HunyuanVideoFramepackTransformer3DModel", "HunyuanVideoTransformer3DModel",
        "I2VGenXLUNet", "LatteTransformer3DModel", "MochiTransformer3DModel", "MotifVideoTransformer3DModel",
        "SanaVideoTransformer3DModel", "SanaWMTransformer3DModel", "SkyReelsV2Transformer3DModel", "UNet3DConditionModel",
        "UNetMotionModel", "WanAnimateTransformer3DModel", "WanTransformer3DModel", "WanVACETransformer3DModel",
    ),
    "btchw": (
        "AnyFlowFARTransformer3DModel", "AnyFlowTransformer3DModel", "CogVideoXTransformer3DModel",
        "ConsisIDTransformer3DModel", "UNetSpatioTemporalConditionModel",
    ),
    "bthwc": ("Kandinsky5Transformer3DModel", "Kandinsky6SRTransformer3DModel", "Kandinsky6Transformer3DModel"),
}  # fmt: skip
"""Axes of the video latents of every denoiser class: batch, channels, time, height, width. Read from diffusers 0.42.1."""


class StopGeneration(Exception):
    """Raised from a step to end a call of a pipeline; caught by whoever asked for it, never seen by a user."""


class GuidancePass(NamedTuple):
    """Both branches of one denoising step.

    Attributes:
        latents, unconditional, conditional: float32 [N, frames, values].
        time: what the denoiser was told, a number or one a sample.
        guiding: the pipeline goes by both branches; False where it goes by the conditional one alone, and the other was only
            asked for.
    """

    latents: torch.Tensor
    unconditional: torch.Tensor
    conditional: torch.Tensor
    time: torch.Tensor | float = 0.0
    guiding: bool = True


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
        scale: guidance scale of the step; of passes that do not guide it is 1 (the scale a distilled model is told is no scale
            of classifier-free guidance).

    Returns:
        Reducer of the quantity one_step, float [N, frames], beside guidance_magnitudes; left out, with a line in the log, where
        the prediction has not the shape of the latents.
    """

    def reduce(branches: GuidancePass) -> dict[str, torch.Tensor]:
        if branches.latents.shape != branches.conditional.shape:
            _warn_of_shapes(tuple(branches.latents.shape[1:]), tuple(branches.conditional.shape[1:]))
            return guidance_magnitudes(branches)
        used = scale if branches.guiding else 1.0
        guided = branches.unconditional + used * (branches.conditional - branches.unconditional)
        denoised = path.denoised(branches.latents, guided, path.own_time(branches.time, len(guided), guided.device))
        return guidance_magnitudes(branches) | {"one_step": (denoised - branches.latents).square().mean(2)}

    return reduce


@cache
def _warn_of_shapes(given: tuple[int, ...], made: tuple[int, ...]) -> None:
    LOGGER.warning("no one-step score: latents [frames, values] %s, prediction %s", given, made)


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
        denoiser: the pipeline's U-Net or transformer, or several that share the steps.
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
        denoiser: torch.nn.Module | Sequence[torch.nn.Module],
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
        several = [self.denoiser] if isinstance(self.denoiser, torch.nn.Module) else self.denoiser
        self._handles = [one.register_forward_hook(self._record, with_kwargs=True) for one in several]
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for handle in self._handles:
            handle.remove()

    def _record(self, module: torch.nn.Module, given: tuple, named: dict, output) -> None:
        if threading.get_ident() != self._thread:
            return  # a call of somebody else who shares the network
        self.calls += 1
        if self.most and len(self.steps) >= self.most:
            return
        latents, prediction = denoiser_input(given, named), denoiser_output(output)
        if not isinstance(latents, torch.Tensor) or not isinstance(prediction, torch.Tensor):
            pass  # packed sequences, as of Cosmos 3: no branches to tell apart
        elif len(prediction) == 2 * self.samples:
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


def denoiser_input(given: tuple, named: dict) -> torch.Tensor | None:
    """Latents of a denoiser's call, by the names that diffusers has for them; None where it has none of these."""
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
    """Both branches of a call with a frame axis; None where the layout is not known, and the log says so once.

    Of channels that only one side has none are kept: a variance behind the prediction, conditioning behind the latents.
    """
    layout, frames = layout_of(module, latents, conditional), named.get("num_frames")
    if layout is None:
        _warn_of_layout(type(module).__name__)
        return None
    parts = common_channels(latents, unconditional, conditional, layout.index("c"))
    time = named["timestep"] if "timestep" in named else given[1] if len(given) > 1 else 0.0
    return GuidancePass(*(frames_first(part, None, frames, layout).float() for part in parts), time)


@cache
def _warn_of_layout(name: str) -> None:
    LOGGER.warning("%s: axes of its latents are not known, no guidance recorded", name)


def layout_of(module: torch.nn.Module, latents: torch.Tensor, prediction: torch.Tensor) -> str | None:
    """Axes of what a denoiser is given and makes.

    A class that LAYOUTS does not name is told by its channels. A network without any configuration is the caller's own and has
    to be like UNet3DConditionModel.

    Returns:
        bnc of packed tokens, bchw of images, one of LAYOUTS of video; None where none or more than one is possible.
    """
    config, kinds = getattr(module, "config", None), {kind.__name__ for kind in type(module).__mro__}
    known = [layout for layout, names in LAYOUTS.items() if kinds.intersection(names)]
    if latents.ndim == prediction.ndim == 5 and (known or config is None):
        return known[0] if known else "bcthw"
    taken = getattr(config, "in_channels", None)
    return layout_by_channels((latents, taken), (prediction, getattr(config, "out_channels", None) or taken))


def layout_by_channels(*sides: tuple[torch.Tensor, int | None]) -> str | None:
    """Axes of tensors that have so many channels each; None where no layout fits all of them, or more than one does."""
    axes = {values.ndim for values, _ in sides}
    if axes != {5}:
        return {3: "bnc", 4: "bchw"}.get(axes.pop()) if len(axes) == 1 else None
    fitting = [layout for layout in LAYOUTS if all(values.shape[layout.index("c")] == count for values, count in sides)]
    return fitting[0] if len(fitting) == 1 else None


def common_channels(
    latents: torch.Tensor, unconditional: torch.Tensor, conditional: torch.Tensor, axis: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents and predictions with the channels that stand for the same.

    A prediction of twice the channels of the latents has a learned variance behind it (PixArt-alpha, Latte, HunyuanDiT).
    Latents with more channels than the prediction have conditioning behind them (Stable Video Diffusion, HunyuanVideo-1.5).

    Args:
        axis: of the channels.
    """
    taken, made = latents.shape[axis], conditional.shape[axis]
    if made == 2 * taken:
        return latents, unconditional.narrow(axis, 0, taken), conditional.narrow(axis, 0, taken)
    return latents.narrow(axis, 0, min(taken, made)), unconditional, conditional


def frames_first(
    values: torch.Tensor, channels: int | None, frames: int | None = None, layout: str | None = None
) -> torch.Tensor | None:
    """Latents or a prediction as [B, frames, values].

    Args:
        values: of a video, an image or packed tokens.
        channels: tell the layouts of a video apart where `layout` is not given.
        frames: frames of packed tokens, which come frame by frame; without it they count as one frame.
        layout: of layout_of.

    Returns:
        None where the layout is not known.
    """
    layout = layout or layout_by_channels((values, channels))
    if layout == "bnc":
        known = frames if frames and values.shape[1] % frames == 0 else 1
        return values.reshape(len(values), known, -1)
    if layout == "bchw":
        return values.flatten(1)[:, None]
    return None if layout is None else values.movedim(layout.index("t"), 1).flatten(2)


def with_settings(reduce: Reducer) -> Reducer:
    """A reducer that also says what kind of step it saw: `elements`, values of a frame, and `time`, as the denoiser was told.

    A magnitude only compares with those of calls with the same settings.
    """

    def both(branches: GuidancePass) -> dict[str, torch.Tensor]:
        like = branches.latents.new_ones(branches.latents.shape[:2])
        time = torch.as_tensor(branches.time, device=like.device).float().reshape(-1)[:1]
        return reduce(branches) | {"elements": like * branches.latents.shape[2], "time": like * time}

    return both

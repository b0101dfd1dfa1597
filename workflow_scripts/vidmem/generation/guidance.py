"""Classifier-free guidance, read from the network passes that a generation makes anyway.

A forward hook on the denoiser sees both branches of a guidance pass and reduces their difference to magnitudes. It adds no
network call and leaves the pipeline's results as they are. It knows two forms of a guidance pass:

* one call with both branches, the unconditional one first, as pipelines of diffusers stack them;
* two successive calls on equal latents, the conditional one first, as pipelines of diffusers make them.

Predictions are compared in the form in which the model makes them: noise, velocity, flow or sample. So the magnitudes of models
with different forms cannot be compared with each other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cache, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ..base.logs import LOGGER
from ..errors import VidmemError
from .attention import AttentionReader, CrossAttention
from .denoiser_calls import DenoiserCall, denoiser_input, denoiser_output, repeated
from .latent_axes import as_given, common_channels, frames_first, grid_of, latent_axes_of

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

    from ..models.noising import DiffusionPath, FlowPath
    from .denoiser_calls import DenoiserOutput

QUANTITIES = ("content", "motion", "conditional", "unconditional", "latent")
"""L2 norms per frame f, with g the guidance. content: |g^f|; motion: |g^(f+1) - g^f|; conditional, unconditional: norm of each
branch; latent: norm of the latents that the denoiser was given."""


class StopGeneration(Exception):
    """Raised during a step to end the call of a pipeline. The code that wants this end catches it, so no user sees it."""


class GuidancePass(NamedTuple):
    """Both branches of one denoising step. A place is a position in the latents of a frame.

    Attributes:
        latents, unconditional, conditional: float32 [N, frames, values]; the channels of a place lie next to each other.
        time: the time that the denoiser was told: one number, or a number for each sample.
        guiding: whether the pipeline uses both branches. False if it only uses the conditional branch, and the unconditional
            branch was computed for the record alone.
        channels: number of channels of a place; grid: (height, width) of a frame in places, None for packed tokens.
        attention: attention of the conditional branch to its prompt; None if it was not read.
        again: repeats the pass with other latents at another time; None keeps the latents or the time of this pass. This takes
            two further network passes, which are not recorded. The attribute is None if the pass cannot be repeated.
    """

    latents: torch.Tensor
    unconditional: torch.Tensor
    conditional: torch.Tensor
    time: torch.Tensor | float = 0.0
    guiding: bool = True
    channels: int = 1
    grid: tuple[int, int] | None = None
    attention: CrossAttention | None = None
    again: Callable[[torch.Tensor | None, torch.Tensor | float | None], GuidancePass] | None = None

    def repeated(self, latents: torch.Tensor | None, time: torch.Tensor | float | None) -> GuidancePass:
        """The pass repeated with other latents or at another time, see `again`.

        Raises:
            ValueError: the pass cannot be repeated.
        """
        if self.again is None:
            raise ValueError("this guidance pass cannot be repeated")
        return self.again(latents, time)


Reducer = Callable[[GuidancePass], dict[str, torch.Tensor]]
"""Takes a guidance pass and returns named quantities, each float [N, frames]; some, such as motion, have fewer columns."""
Reader = Callable[[GuidancePass], torch.Tensor | None]
"""Takes a guidance pass and returns one more quantity, float [N, frames] or [N, 1]; None if it cannot be computed."""


def guidance_magnitudes(branches: GuidancePass) -> dict[str, torch.Tensor]:
    """Magnitudes of the guidance of each sample.

    The content magnitude is the magnitude of Wen et al. (2407.21720) for every frame. The motion magnitude is the norm of the
    change of the guidance from frame to frame (Chen et al. 2410.21669, our formalisation).

    Returns:
        All QUANTITIES by name: motion is float [N, frames - 1], the others are float [N, frames].

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


def one_step_change(path: DiffusionPath | FlowPath, scale: float) -> Reducer:
    """White-box score of one denoising step: mean squared difference between the noise and the sample it is denoised to.

    Webster (2305.08694) takes one guided step from pure noise and its squared distance from that noise. If the training image
    of a prompt is memorised, this single step already gives a clear sample. We use the model's own prediction type.

    Args:
        path: noising of the scheduler, of vidmem.models.noising.path_of.
        scale: guidance scale of the step. A pass that does not guide has scale 1, because the scale that a distilled model is
            told is no scale of classifier-free guidance.

    Returns:
        Reducer of guidance_magnitudes and the quantity one_step, float [N, frames]. If prediction and latents differ in shape,
        one_step is left out, and the log says so.
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


def first_step_reducer(scheduler: SchedulerMixin, scale: float) -> Reducer:
    """Reducer of one_step_change. If the scheduler's noising is not known, guidance_magnitudes, and the log says so."""
    from ..models.noising import path_of

    try:
        return one_step_change(path_of(scheduler), scale)
    except VidmemError as error:
        LOGGER.warning("no one-step score: %s", " ".join(str(error).split()))
        return guidance_magnitudes


class GuidanceRecorder:
    """Context manager that records the guidance during one call of a pipeline, reduced to quantities.

    Args:
        denoiser: the pipeline's U-Net or transformer, or several that share the steps.
        samples: number of samples in the call. A network pass with twice as many holds both branches. A pass with as many may
            be one branch of a pair.
        reduce: makes the quantities to record of a guidance pass.
        on_step: called after every step with its number and its quantities; may raise StopGeneration.
        patience: if there was no guidance after so many network calls, the generation is stopped; 0 for never.
        most: number of steps to record; 0 for all. Further steps cost nothing.
        attention: reader of the cross-attention of these denoisers.

    Attributes:
        steps: a dictionary for each denoising step: quantity -> float tensor [samples, frames] (motion: frames - 1).
        calls: number of network calls of the pipeline so far.
    """

    def __init__(
        self,
        denoiser: torch.nn.Module | Sequence[torch.nn.Module],
        samples: int,
        reduce: Reducer = guidance_magnitudes,
        on_step: Callable[[int, dict[str, torch.Tensor]], None] | None = None,
        patience: int = 0,
        most: int = 0,
        attention: AttentionReader | None = None,
    ):
        self.denoiser, self.samples, self.reduce, self.on_step = denoiser, samples, reduce, on_step
        self.patience, self.most, self.attention = patience, most, attention
        self.steps: list[dict[str, torch.Tensor]] = []
        self.calls = 0
        self._waiting: tuple[DenoiserCall, CrossAttention | None] | None = None
        self._repeating = False

    def __enter__(self) -> GuidanceRecorder:
        self._thread = threading.get_ident()
        several = [self.denoiser] if isinstance(self.denoiser, torch.nn.Module) else self.denoiser
        self._handles = [one.register_forward_hook(self._record, with_kwargs=True) for one in several]
        if self.attention is not None:
            self.attention.__enter__()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for handle in self._handles:
            handle.remove()
        if self.attention is not None:
            self.attention.__exit__(kind, error, trace)

    def _record(self, module: torch.nn.Module, given: tuple, named: dict, output: DenoiserOutput) -> None:
        if self._repeating or threading.get_ident() != self._thread:
            return  # a call that _again makes, or a call from another thread that shares the network
        self.calls += 1
        if self.most and len(self.steps) >= self.most:
            return
        call = DenoiserCall(given, named, denoiser_input(given, named), denoiser_output(output))
        attention = None if self.attention is None else self.attention.take()
        if not isinstance(call.latents, torch.Tensor) or not isinstance(call.prediction, torch.Tensor):
            pass  # packed sequences, as in Cosmos 3: their branches cannot be separated
        elif len(call.prediction) == 2 * self.samples:
            self._step(module, (call,), attention and attention.rows(slice(self.samples, None)))
        elif len(call.prediction) == self.samples:
            self._half(module, call, attention)
        if self.patience and self.calls >= self.patience and not self.steps:
            raise StopGeneration

    def _half(self, module: torch.nn.Module, call: DenoiserCall, attention: CrossAttention | None) -> None:
        """Take a call with one branch. Two successive calls are a pair if their latents are equal.

        Equal times would not do: samplers of second order repeat times.
        """
        waiting, self._waiting = self._waiting, (call, attention)
        if waiting is None:
            return
        first, seen = waiting
        if first.latents.shape == call.latents.shape and torch.equal(first.latents, call.latents):
            self._waiting = None
            self._step(module, (call, first), seen)

    def _step(self, module: torch.nn.Module, calls: tuple[DenoiserCall, ...], attention: CrossAttention | None) -> None:
        branches = branches_of(module, calls)
        if branches is None:
            return
        again = partial(self._again, module, calls)
        self.steps.append(self.reduce(branches._replace(attention=attention, again=again)))
        if self.on_step is not None:
            self.on_step(len(self.steps) - 1, self.steps[-1])

    def _again(
        self, module: torch.nn.Module, calls: tuple[DenoiserCall, ...], latents: torch.Tensor | None = None,
        time: torch.Tensor | float | None = None,
    ) -> GuidancePass:  # fmt: skip
        self._repeating = True
        try:
            return pass_again(module, calls, latents, time)
        finally:
            self._repeating = False


def branches_of(module: torch.nn.Module, calls: tuple[DenoiserCall, ...]) -> GuidancePass | None:
    """Both branches of a guidance pass; None if the latent axes are not known.

    Args:
        module: the denoiser.
        calls: one call that holds both branches, or two calls: unconditional, conditional.
    """
    first = calls[0]
    halves = first.prediction.chunk(2) if len(calls) == 1 else (first.prediction, calls[1].prediction)
    return by_frame(module, first.given, first.named, first.latents[: len(halves[0])], *halves)


def pass_again(
    module: torch.nn.Module,
    calls: tuple[DenoiserCall, ...],
    latents: torch.Tensor | None = None,
    time: torch.Tensor | float | None = None,
) -> GuidancePass:
    """Repeat a guidance pass.

    Args:
        module: the denoiser.
        calls: the calls of the pass, as branches_of takes them.
        latents: float32 [N, frames, values] as in GuidancePass, in place of the latents of the calls. Only channels that the
            prediction has are replaced; further channels (conditioning) stay as they were.
        time: time in place of the time of the calls.
    """
    changed = []
    for call in calls:
        given, told = call.latents, call.time if time is None else time
        if latents is not None:
            axes = _known_axes(module, call)
            axis, kept = axes.index("c"), common_channels(given, call.prediction, call.prediction, axes.index("c"))[0]
            several = latents.repeat(len(given) // len(latents), 1, 1).to(given.dtype)
            given = given.clone()
            given.narrow(axis, 0, kept.shape[axis]).copy_(as_given(several, kept.shape, axes))
        changed.append(repeated(module, call, given, told))
    branches = branches_of(module, tuple(changed))
    if branches is None:
        raise ValueError(f"the latent axes of {type(module).__name__} are not known")
    return branches


def _known_axes(module: torch.nn.Module, call: DenoiserCall) -> str:
    """Latent axes of a call, for a pass whose axes were known before."""
    axes = latent_axes_of(module, call.latents, call.prediction)
    if axes is None:
        raise ValueError(f"the latent axes of {type(module).__name__} are not known")
    return axes


def by_frame(
    module: torch.nn.Module,
    given: tuple,
    named: dict,
    latents: torch.Tensor,
    unconditional: torch.Tensor,
    conditional: torch.Tensor,
) -> GuidancePass | None:
    """Both branches of a step as frames of values. None if the latent axes are not known; the log says so once.

    Channels that only one side has are dropped: a variance behind the prediction, or conditioning behind the latents.

    Args:
        module: the denoiser.
        given, named: arguments of its call by position and by name.
        latents: latents of the call.
        unconditional, conditional: predictions of both branches.
    """
    axes, frames = latent_axes_of(module, latents, conditional), named.get("num_frames")
    if axes is None:
        _warn_of_unknown_axes(type(module).__name__)
        return None
    parts = common_channels(latents, unconditional, conditional, axes.index("c"))
    time = DenoiserCall(given, named, latents, conditional).time
    shape = tuple(parts[2].shape)
    framed: list[Any] = [frames_first(part, None, frames, axes) for part in parts]
    return GuidancePass(
        framed[0].float(),
        framed[1].float(),
        framed[2].float(),
        time,
        channels=shape[axes.index("c")],
        grid=grid_of(shape, axes),
    )


@cache
def _warn_of_unknown_axes(name: str) -> None:
    LOGGER.warning("%s: no guidance recorded, because the axes of its latents are not known", name)


def with_settings(reduce: Reducer) -> Reducer:
    """Reducer that adds two settings of the step: `elements`, values per frame, and `time`, as the denoiser was told it.

    Magnitudes can only be compared between steps with equal settings.
    """

    def both(branches: GuidancePass) -> dict[str, torch.Tensor]:
        like = branches.latents.new_ones(branches.latents.shape[:2])
        time = torch.as_tensor(branches.time, device=like.device).float().reshape(-1)[:1]
        return reduce(branches) | {"elements": like * branches.latents.shape[2], "time": like * time}

    return both

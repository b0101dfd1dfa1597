"""A guard for people who serve a model: it looks at the first denoising step of every generation and flags or stops it."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from ..errors import VidmemError
from ..generation.adapter import find_denoisers, stopped
from ..generation.guidance import GuidanceRecorder, StopGeneration, guidance_magnitudes, with_settings
from .detectors import Detector, load_detector

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

ACTIONS = ("flag", "stop")


class GuardedOutput(NamedTuple):
    """What a guarded call returns.

    Attributes:
        output: output of the pipeline; None if the generation was stopped.
        flagged: whether each sample was flagged, bool [N].
        magnitudes: guidance magnitude of each sample at the first step, float64 [N].
    """

    output: Any
    flagged: np.ndarray
    magnitudes: np.ndarray


class Guard:
    """A pipeline whose calls are watched. Call it with the arguments of the pipeline itself.

    The magnitude comes from the guidance pass that runs anyway. So flagging adds no network call, and a stopped generation
    costs one step. Magnitudes can only be compared between calls with the settings of the detector's audit. A call with
    another size, number of frames, first time step or negative prompt is refused. A negative prompt could hide any prompt.
    Calls from several threads are kept apart if the pipeline itself can be shared by threads.

    Args:
        pipeline: pipeline of diffusers with classifier-free guidance. It is not changed.
        detector: detector from results/<run>/detection/<model>.json.
        rate: share of harmless generations that may be flagged, in 0..1.
        action: 'flag' generates flagged samples, too. 'stop' ends a call after the first step if all its samples are flagged.
            If only some samples are flagged, all are generated, and the caller has to drop the flagged ones.

    Raises:
        VidmemError: the action is unknown, the pipeline has no denoiser, or the detector has too few negatives for the rate.
    """

    def __init__(self, pipeline: DiffusionPipeline, detector: Detector, rate: float = 0.01, action: str = "flag"):
        if action not in ACTIONS:
            raise VidmemError(f"one of {ACTIONS}", action, "guard action")
        self.pipeline, self.detector, self.action = pipeline, detector, action
        self.denoisers, self.threshold = find_denoisers(pipeline), detector.threshold(rate)

    def __call__(self, *args: Any, **kwargs: Any) -> GuardedOutput:
        """Call the pipeline and judge its samples at the first step.

        Raises:
            VidmemError: the settings differ from the audit's, or the call makes no guidance pass. Nothing is generated then,
                because the call cannot be judged.
        """
        given = signature(type(self.pipeline).__call__).bind(self.pipeline, *args, **kwargs).arguments
        self._check_negative_prompt(given)
        seen: list[np.ndarray] = []

        def look(number: int, quantities: dict[str, torch.Tensor]) -> None:
            self._check_settings(quantities)
            seen.append(quantities[self.detector.quantity].mean(1).cpu().double().numpy())
            if self.action == "stop" and self.is_flagged(seen[0]).all():
                raise StopGeneration

        reduce = with_settings(guidance_magnitudes)
        with GuidanceRecorder(self.denoisers, samples_of(given), reduce, look, patience=2, most=1):
            output = stopped(self.pipeline, args, kwargs)
        if not seen:
            hint = "guidance must be on; distilled and unconditional models have none"
            raise VidmemError("a guidance pass", "none in the first calls", type(self.pipeline).__name__, hint)
        return GuardedOutput(output, self.is_flagged(seen[0]), seen[0])

    def is_flagged(self, magnitudes: np.ndarray) -> np.ndarray:
        """Whether magnitudes, float [N], reach the threshold, bool [N]. A magnitude of NaN is flagged, too."""
        return ~(magnitudes < self.threshold)

    def _check_negative_prompt(self, given: dict) -> None:
        expected = self.detector.made_for.get("negative_prompt", "")
        texts = given.get("negative_prompt") or ""
        others = {text for text in (texts if isinstance(texts, (list, tuple)) else [texts]) if text != expected}
        embedded = [
            name for name, value in given.items() if name.startswith("negative_") and "embeds" in name and value is not None
        ]
        if others or embedded:
            hint = "guidance away from another prompt has another magnitude"
            raise VidmemError(f"the negative prompt {expected!r}", sorted(others) or embedded, "guarded call", hint)

    def _check_settings(self, quantities: dict[str, torch.Tensor]) -> None:
        found = {"frames": quantities["content"].shape[1]}
        found |= {name: float(quantities[name].flatten()[0]) for name in ("elements", "time")}
        made_for = self.detector.made_for
        other = {name: value for name, value in found.items() if name in made_for and not np.isclose(value, made_for[name])}
        if other:
            expected = {name: made_for[name] for name in other}
            raise VidmemError(f"a call as in the audit: {expected}", other, "guarded call", "size, frames, steps and scheduler")


def samples_of(given: dict) -> int:
    """Number of samples that a call of a pipeline makes.

    Args:
        given: arguments of the call by name.
    """
    prompt, embedded = given.get("prompt"), given.get("prompt_embeds")
    prompts = len(prompt) if isinstance(prompt, (list, tuple)) else 1 if embedded is None else len(embedded)
    each = [given[name] for name in ("num_images_per_prompt", "num_videos_per_prompt") if given.get(name)]
    return prompts * int(each[0] if each else 1)


def guard(pipeline: DiffusionPipeline, detector: Detector | Path | str, rate: float = 0.01, action: str = "flag") -> Guard:
    """Guard a pipeline with a detector or with the content detector of a file; see Guard."""
    return Guard(pipeline, detector if isinstance(detector, Detector) else load_detector(detector), rate, action)

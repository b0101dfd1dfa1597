"""A guard for people who serve a model: it looks at the first denoising step of every generation and flags or stops it."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from .detectors import Detector, load_detector
from .errors import VidmemError
from .guidance import GuidanceRecorder, StopGeneration, guidance_magnitudes, with_settings
from .models.adapter import find_denoisers, stopped

ACTIONS = ("flag", "stop")


class GuardedOutput(NamedTuple):
    """What a guarded call returns.

    Attributes:
        output: of the pipeline; None where the generation was stopped.
        flagged: bool [N], one a sample.
        magnitudes: of the first step, float64 [N].
    """

    output: Any
    flagged: np.ndarray
    magnitudes: np.ndarray


class Guard:
    """A pipeline whose calls are watched; called with the arguments of the pipeline itself.

    The magnitude is that of the guidance pass that runs anyway: flagging adds no network call, and a stopped generation costs
    one step. It only means something for calls like those of the detector's audit: another size, another number of frames,
    another first time step, or another negative prompt (which could hide any prompt) is refused. Calls from several threads are
    told apart, as far as the pipeline itself can be shared.

    Args:
        pipeline: of diffusers, with classifier-free guidance. It is not changed.
        detector: of results/<run>/detection/<model>.json.
        rate: share of harmless generations that may be flagged.
        action: 'flag' generates all the same; 'stop' ends a call after the first step if every sample of it is flagged. A mixed
            batch is generated to its end: drop its flagged samples.

    Raises:
        VidmemError: an unknown action, a pipeline without denoiser, or a rate the detector has too few negatives for.
    """

    def __init__(self, pipeline, detector: Detector, rate: float = 0.01, action: str = "flag"):
        if action not in ACTIONS:
            raise VidmemError(f"one of {ACTIONS}", action, "guard action")
        self.pipeline, self.detector, self.action = pipeline, detector, action
        self.denoisers, self.threshold = find_denoisers(pipeline), detector.threshold(rate)

    def __call__(self, *args: Any, **kwargs: Any) -> GuardedOutput:
        """Generate under watch.

        Raises:
            VidmemError: a call unlike those of the audit, or no guidance pass: it could not be judged, and is not generated.
        """
        given = signature(type(self.pipeline).__call__).bind(self.pipeline, *args, **kwargs).arguments
        self._check_negative_prompt(given)
        seen: list[np.ndarray] = []

        def look(number: int, quantities: dict[str, torch.Tensor]) -> None:
            self._check_settings(quantities)
            seen.append(quantities[self.detector.quantity].mean(1).cpu().double().numpy())
            if self.action == "stop" and self._flagged(seen[0]).all():
                raise StopGeneration

        reduce = with_settings(guidance_magnitudes)
        with GuidanceRecorder(self.denoisers, samples_of(given), reduce, look, patience=2, most=1):
            output = stopped(self.pipeline, args, kwargs)
        if not seen:
            hint = "guidance must be on; distilled and unconditional models have none"
            raise VidmemError("a guidance pass", "none in the first calls", type(self.pipeline).__name__, hint)
        return GuardedOutput(output, self._flagged(seen[0]), seen[0])

    def _flagged(self, magnitudes: np.ndarray) -> np.ndarray:
        """At or above the threshold; a magnitude that is no number is flagged, too."""
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
    """Samples that a call of a pipeline makes.

    Args:
        given: its arguments by name.
    """
    prompt, embedded = given.get("prompt"), given.get("prompt_embeds")
    prompts = len(prompt) if isinstance(prompt, (list, tuple)) else 1 if embedded is None else len(embedded)
    each = [given[name] for name in ("num_images_per_prompt", "num_videos_per_prompt") if given.get(name)]
    return prompts * int(each[0] if each else 1)


def guard(pipeline, detector: Detector | Path | str, rate: float = 0.01, action: str = "flag") -> Guard:
    """Guard a pipeline with a detector, or with the content detector of a file; see Guard."""
    return Guard(pipeline, detector if isinstance(detector, Detector) else load_detector(detector), rate, action)

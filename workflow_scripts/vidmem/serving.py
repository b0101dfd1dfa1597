"""A guard for people who serve a model: it looks at the first denoising step of every generation and flags or stops it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from .detectors import Detector, load_detector
from .errors import VidmemError
from .guidance import GuidanceRecorder, StopGeneration
from .models.adapter import find_denoiser, stopped

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
    one step. It is compared with those of the detector, so that scheduler, size and frames have to be those of its audit.

    Args:
        pipeline: of diffusers, with classifier-free guidance. It is not changed.
        detector: of results/<run>/detection/<model>.json.
        rate: share of harmless generations that may be flagged.
        action: 'flag' generates all the same; 'stop' ends a call after the first step if every sample of it is flagged, and
            generates a mixed batch to its end.

    Raises:
        VidmemError: an unknown action, a pipeline without denoiser, or a rate the detector has too few negatives for.
    """

    def __init__(self, pipeline, detector: Detector, rate: float = 0.01, action: str = "flag"):
        if action not in ACTIONS:
            raise VidmemError(f"one of {ACTIONS}", action, "guard action")
        self.pipeline, self.detector, self.action = pipeline, detector, action
        self.denoiser, self.threshold = find_denoiser(pipeline), detector.threshold(rate)

    def __call__(self, *args: Any, **kwargs: Any) -> GuardedOutput:
        """Generate under watch.

        Raises:
            VidmemError: no guidance pass was seen: nothing could be judged, and the generation was ended.
        """
        seen: list[np.ndarray] = []

        def look(number: int, quantities: dict[str, torch.Tensor]) -> None:
            seen.append(quantities[self.detector.quantity].double().mean(1).cpu().numpy())
            if self.action == "stop" and (seen[0] >= self.threshold).all():
                raise StopGeneration

        with GuidanceRecorder(self.denoiser, samples_of(args, kwargs), on_step=look, patience=2, most=1):
            output = stopped(self.pipeline, args, kwargs)
        if not seen:
            hint = "guidance must be on; distilled and unconditional models have none"
            raise VidmemError("a guidance pass", "none in the first calls", type(self.pipeline).__name__, hint)
        return GuardedOutput(output, seen[0] >= self.threshold, seen[0])


def samples_of(args: Sequence, kwargs: dict) -> int:
    """Samples that a call of a pipeline makes."""
    prompt = kwargs.get("prompt", args[0] if args else None)
    embedded = kwargs.get("prompt_embeds")
    prompts = len(prompt) if isinstance(prompt, (list, tuple)) else 1 if embedded is None else len(embedded)
    each = [kwargs[name] for name in ("num_images_per_prompt", "num_videos_per_prompt") if kwargs.get(name)]
    return prompts * int(each[0] if each else 1)


def guard(pipeline, detector: Detector | Path | str, rate: float = 0.01, action: str = "flag") -> Guard:
    """Guard a pipeline with a detector, or with the content detector of a file; see Guard."""
    return Guard(pipeline, detector if isinstance(detector, Detector) else load_detector(detector), rate, action)

"""Streams of their own for the noise that schedulers draw at every step, where a pipeline does not hand them on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from inspect import signature
from typing import Any

import torch
from diffusers import DiffusionPipeline, SchedulerMixin


@contextmanager
def own_streams(pipeline: DiffusionPipeline, streams: Sequence[torch.Generator]) -> Iterator[None]:
    """Let every step of the pipeline's schedulers draw from the streams of its samples, whatever the pipeline hands on.

    Without this, LDMPipeline with eta above 0 draws from the global stream. Then a sample depends on those made before it.

    Args:
        streams: one stream for each sample of the call.
    """
    parts = [part for part in pipeline.components.values() if isinstance(part, SchedulerMixin)]
    with ExitStack() as stack:
        for part in parts:
            if "generator" in signature(part.step).parameters:
                stack.enter_context(_stepping_with(part, list(streams)))
        yield


@contextmanager
def _stepping_with(scheduler: Any, streams: list[torch.Generator]) -> Iterator[None]:
    step = scheduler.step

    @wraps(step)
    def with_streams(model_output: torch.Tensor, *given: Any, **named: Any) -> Any:
        if named.get("generator") is None and len(model_output) == len(streams):
            named["generator"] = streams
        return step(model_output, *given, **named)

    scheduler.step = with_streams
    try:
        yield
    finally:
        del scheduler.step

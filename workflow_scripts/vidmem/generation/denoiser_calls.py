"""Calls of a denoiser as its pipeline made them, and how to repeat a call with other latents or another time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch

if TYPE_CHECKING:
    from diffusers.utils import BaseOutput

    DenoiserOutput: TypeAlias = torch.Tensor | tuple | BaseOutput

LATENTS = ("hidden_states", "sample")
"""Argument names that denoisers of diffusers use for the latents."""


class DenoiserCall(NamedTuple):
    """One call of a denoiser.

    Attributes:
        given: arguments by position; named: arguments by name.
        latents: the latents among these arguments.
        prediction: the denoiser's answer.
    """

    given: tuple
    named: dict
    latents: torch.Tensor
    prediction: torch.Tensor

    @property
    def time(self) -> torch.Tensor | float:
        """The time that the denoiser was told: one number, or a number for each sample; 0 if it was told none."""
        return self.named["timestep"] if "timestep" in self.named else self.given[1] if len(self.given) > 1 else 0.0


def denoiser_input(given: tuple, named: dict) -> torch.Tensor | None:
    """Latents among the arguments of a denoiser's call; None if no argument has a known name or position."""
    return next((named[name] for name in LATENTS if name in named), given[0] if given else None)


def denoiser_output(output: DenoiserOutput) -> torch.Tensor:
    """Prediction in the output of a denoiser's call."""
    return output[0] if isinstance(output, tuple) else getattr(output, "sample", output)


def repeated(module: torch.nn.Module, call: DenoiserCall, latents: torch.Tensor, time: torch.Tensor | float) -> DenoiserCall:
    """Repeat a call with latents of equal shape and a time in place of its own. Returns the new call."""
    given, named = list(call.given), dict(call.named)
    for place, names, value in ((0, LATENTS, latents), (1, ("timestep",), time)):
        name = next((name for name in names if name in named), None)
        if name is not None:
            named[name] = value
        elif len(given) > place:
            given[place] = value
    return DenoiserCall(tuple(given), named, latents, denoiser_output(module(*given, **named)))

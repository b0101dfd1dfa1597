"""The weight of the divergence in the loss of an inversion: it grows until the loss stalls, then halves.

Source: the official code of Ma et al. (InvMM); docs/methods.md describes the procedure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..errors import VidmemError

MONITORS = ("prediction", "total")


@dataclass(frozen=True)
class WeightRule:
    """How the weight of every image changes.

    Attributes:
        check_every: number of steps between checks (C). At a check the weight may halve, and the acceptance test runs.
        delta: amount that is added to the weight at every step at which it does not halve.
        stall: the weight halves if the monitored loss fell by less than this since the last check (ksi).
        start: first weight.
        window: number of latest losses whose mean is monitored.
        monitor: 'prediction' monitors the prediction loss, as the official script for pixel models does. 'total' monitors the
            loss with the weighted divergence, as the official scripts for latent models do.
    """

    check_every: int
    delta: float
    stall: float = 1e-3
    start: float = 1.0
    window: int = 100
    monitor: str = "prediction"

    def __post_init__(self) -> None:
        if self.monitor not in MONITORS:
            raise VidmemError(f"monitor one of {MONITORS}", self.monitor, "WeightRule")
        if self.check_every < 1 or self.window < 1:
            raise VidmemError("check_every and window >= 1", (self.check_every, self.window), "WeightRule")


class AdaptiveWeights:
    """Weights of many images, each with its own history; no update makes the CPU wait for the GPU.

    Args:
        rule: how the weights change.
        slots: number of images (S).
        device: device of the tensors.

    Attributes:
        value: weights, float32 [S].
    """

    def __init__(self, rule: WeightRule, slots: int, device: torch.device | str = "cpu"):
        self.rule = rule
        self.value = torch.full((slots,), rule.start, device=device)
        self.previous = torch.full((slots,), math.inf, device=device)
        self.losses = torch.zeros(slots, rule.window, device=device)
        self.pushed = torch.zeros(slots, dtype=torch.int64, device=device)

    def advance(self, monitored: torch.Tensor, check: bool) -> None:
        """Record the monitored losses float [S] of a step, and change the weights; `check` tells a step with a check."""
        place = (self.pushed % self.rule.window)[:, None]
        self.losses.scatter_(1, place, monitored.detach().float()[:, None])
        self.pushed += 1
        if not check:
            self.value += self.rule.delta
            return
        now = self.losses.sum(1) / self.pushed.clamp(max=self.rule.window)
        stalled = self.previous - now < self.rule.stall
        self.value = torch.where(stalled, self.value / 2, self.value + self.rule.delta)
        self.previous = now

    def state(self) -> dict[str, torch.Tensor]:
        """Tensors [S, ...] by name, for a checkpoint and for images that join or leave the batch."""
        return {"value": self.value, "previous": self.previous, "losses": self.losses, "pushed": self.pushed}

    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Restore the tensors that `state` gave."""
        self.value, self.previous = state["value"], state["previous"]
        self.losses, self.pushed = state["losses"], state["pushed"]

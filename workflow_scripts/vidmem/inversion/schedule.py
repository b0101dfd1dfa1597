"""The weight of the divergence in the inversion's loss: it grows until the loss stalls, then halves.

Source: the official code of Ma et al. (InvMM), procedure as documented in docs/methods.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..errors import VidmemError

MONITORS = ("prediction", "total")


@dataclass(frozen=True)
class WeightRule:
    """How the weight of every image moves.

    Attributes:
        check_every: steps between checks (C); at a check the weight may halve, and the acceptance test is run.
        delta: what is added at every step that does not halve.
        stall: the weight halves where the monitored loss fell by less than this since the last check (ksi).
        start: first weight.
        window: losses averaged at a check, the latest ones.
        monitor: 'prediction' watches the prediction loss, 'total' the loss with the weighted divergence. The official
            script for pixel models does the one, those for latent models the other.
    """

    check_every: int
    delta: float
    stall: float = 1e-3
    start: float = 1.0
    window: int = 100
    monitor: str = "prediction"

    def __post_init__(self):
        if self.monitor not in MONITORS:
            raise VidmemError(f"monitor one of {MONITORS}", self.monitor, "WeightRule")
        if self.check_every < 1 or self.window < 1:
            raise VidmemError("check_every and window >= 1", (self.check_every, self.window), "WeightRule")


class AdaptiveWeights:
    """Weights of many images, each with its own history; nothing waits for the device.

    Attributes:
        value: float32 [S].
    """

    def __init__(self, rule: WeightRule, slots: int, device: torch.device | str = "cpu"):
        self.rule = rule
        self.value = torch.full((slots,), rule.start, device=device)
        self.previous = torch.full((slots,), math.inf, device=device)
        self.losses = torch.zeros(slots, rule.window, device=device)
        self.pushed = torch.zeros(slots, dtype=torch.int64, device=device)

    def advance(self, monitored: torch.Tensor, check: bool) -> None:
        """Take in the monitored losses float [S] of a step, and move the weights."""
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
        """Tensors [S, ...] by name: what a checkpoint keeps and a refilled slot replaces."""
        return {"value": self.value, "previous": self.previous, "losses": self.losses, "pushed": self.pushed}

    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Take up a state."""
        self.value, self.previous = state["value"], state["previous"]
        self.losses, self.pushed = state["losses"], state["pushed"]

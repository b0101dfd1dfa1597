"""The U-Net of improved-diffusion (Nichol and Dhariwal 2102.09672) as a plan: the order of its blocks and their names.

VideoCrafter and RaMViD are both built on this U-Net, each with blocks of its own. The weights keep their official names.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models.embeddings import Timesteps
from torch import nn
from torch.nn import functional

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
GROUPS = 32


class ResidualBlock(nn.Module):
    """Residual block of images (dims 2) or of videos (dims 3).

    Args:
        dims: 2 or 3, the number of axes that the convolutions run over.
        taken, made: channels of the input and of the output.
        time_width: width of the time embedding.
        modulates: whether the time embedding scales and shifts the normalised values; otherwise it is added.
        groups: groups of the normalisation.
    """

    def __init__(self, dims: int, taken: int, made: int, time_width: int, modulates: bool, groups: int = GROUPS):
        super().__init__()
        convolution, self.modulates = CONVOLUTIONS[dims], modulates
        self.in_layers = nn.Sequential(nn.GroupNorm(groups, taken), nn.SiLU(), convolution(taken, made, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time_width, made * (2 if modulates else 1)))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(groups, made), nn.SiLU(), nn.Identity(), convolution(made, made, 3, padding=1)
        )  # fmt: skip
        self.skip_connection = nn.Identity() if taken == made else convolution(taken, made, 1)

    def forward(self, values: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Return values [N, made, ...] for values [N, taken, ...] and a time embedding [N, time_width]."""
        hidden = self.in_layers(values)
        told = self.emb_layers(time)
        told = told.reshape(*told.shape, *[1] * (hidden.ndim - 2))
        if self.modulates:
            scale, shift = told.chunk(2, dim=1)
            hidden = self.out_layers[1:](self.out_layers[0](hidden) * (1 + scale) + shift)
        else:
            hidden = self.out_layers(hidden + told)
        return self.skip_connection(values) + hidden


class Smaller(nn.Module):
    """Convolution that halves height and width. The number of frames of a video stays."""

    def __init__(self, dims: int, width: int):
        super().__init__()
        self.op = CONVOLUTIONS[dims](width, width, 3, stride=2 if dims == 2 else (1, 2, 2), padding=1)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return values of half the height and width."""
        return self.op(values)


class Larger(nn.Module):
    """Doubling of height and width by nearest neighbours, then a convolution."""

    def __init__(self, dims: int, width: int):
        super().__init__()
        self.conv = CONVOLUTIONS[dims](width, width, 3, padding=1)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return values of twice the height and width."""
        size = (*values.shape[2:-2], 2 * values.shape[-2], 2 * values.shape[-1])
        return self.conv(functional.interpolate(values, size=size, mode="nearest"))


class Ladder(ABC):
    """Plan of the U-Net. A subclass makes the blocks, calls build, and runs the layers."""

    dims = 2

    @abstractmethod
    def residual(self, taken: int, made: int) -> nn.Module:
        """Make a residual block with `taken` input channels and `made` output channels."""

    @abstractmethod
    def attention(self, width: int) -> list[nn.Module]:
        """Make the attention layers that follow a residual block of `width` channels."""

    @abstractmethod
    def run(self, layers: nn.ModuleList, values: torch.Tensor, told: Any) -> torch.Tensor:
        """Apply layers to values. `told` holds further inputs, such as the time embedding; each subclass has its own form."""

    def build(
        self,
        channels: tuple[int, int],
        width: int,
        multipliers: Sequence[int],
        depth: int,
        attended: Sequence[int],
        groups: int,
    ) -> None:
        """Make all layers.

        Args:
            channels: channels of the input and of the output.
            width: base number of channels.
            multipliers: channels of every level, as multiples of `width`, from the finest level on.
            depth: residual blocks of a level on the way down. A level has one block more on the way up.
            attended: levels with attention, by the factor their size is reduced by. The middle always has attention.
            groups: groups of the normalisation before the output.
        """
        convolution = CONVOLUTIONS[self.dims]
        self.time_proj = Timesteps(width, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embed = time_layers(width)
        self.input_blocks = nn.ModuleList([nn.ModuleList([convolution(channels[0], width, 3, padding=1)])])
        kept = self._build_down(width, multipliers, depth, attended)
        coarse = kept[-1]
        middle = [self.residual(coarse, coarse), *self.attention(coarse), self.residual(coarse, coarse)]
        self.middle_block = nn.ModuleList(middle)
        self.output_blocks = nn.ModuleList()
        self._build_up(width, multipliers, depth, attended, kept)
        out = convolution(width, channels[1], 3, padding=1)
        self.out = nn.Sequential(nn.GroupNorm(groups, multipliers[0] * width), nn.SiLU(), out)

    def _build_down(self, width: int, multipliers: Sequence[int], depth: int, attended: Sequence[int]) -> list[int]:
        """Make the blocks on the way down. Return the channels of every feature map that is kept for the way up."""
        kept, current = [width], width
        for level, multiplier in enumerate(multipliers):
            for _ in range(depth):
                self.input_blocks.append(self._step(current, multiplier * width, 2**level in attended))
                current = multiplier * width
                kept.append(current)
            if level < len(multipliers) - 1:
                self.input_blocks.append(nn.ModuleList([Smaller(self.dims, current)]))
                kept.append(current)
        return kept

    def _build_up(self, width: int, multipliers: Sequence[int], depth: int, attended: Sequence[int], kept: list[int]) -> None:
        """Make the blocks on the way up. Every block also gets the feature map that was kept last."""
        current = kept[-1]
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for number in range(depth + 1):
                step = self._step(current + kept.pop(), multiplier * width, 2**level in attended)
                current = multiplier * width
                if level and number == depth:
                    step.append(Larger(self.dims, current))
                self.output_blocks.append(step)

    def _step(self, taken: int, made: int, attends: bool) -> nn.ModuleList:
        return nn.ModuleList([self.residual(taken, made), *(self.attention(made) if attends else [])])

    def embedded(self, times: torch.Tensor | float, count: int, like: torch.Tensor) -> torch.Tensor:
        """Sinusoidal embedding, float [count, width], of one time for all samples or of one time for each."""
        times = torch.as_tensor(times, device=like.device).reshape(-1).expand(count)
        return self.time_proj(times).to(like.dtype)

    def climb(self, values: torch.Tensor, told: Any, first: nn.ModuleList | None = None) -> torch.Tensor:
        """Pass values through all blocks, down and up.

        Args:
            told: further inputs that are passed to run.
            first: further layers that follow the first convolution; None for none.
        """
        kept = []
        for index, layers in enumerate(self.input_blocks):
            values = self.run(layers, values, told)
            if index == 0 and first is not None:
                values = self.run(first, values, told)
            kept.append(values)
        values = self.run(self.middle_block, values, told)
        for layers in self.output_blocks:
            values = self.run(layers, torch.cat([values, kept.pop()], dim=1), told)
        return self.out(values)


def time_layers(width: int) -> nn.Sequential:
    """Make the two layers that follow the sinusoidal embedding of a time."""
    return nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, 4 * width))

"""The U-Net of improved-diffusion (Nichol and Dhariwal 2102.09672) as a plan: which blocks in which order, under which names.

VideoCrafter and RaMViD both build on it, each with blocks of its own. The weights keep their official names.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from diffusers.models.embeddings import Timesteps
from torch import nn
from torch.nn import functional

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
GROUPS = 32


class ResidualBlock(nn.Module):
    """Residual block of images (dims 2) or of videos (dims 3).

    Args:
        taken, made: channels; time_width: of the time embedding.
        modulates: the time scales and shifts what was normalised, instead of being added.
        groups: of the normalisation.
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
        """Values [N, made, ...] of values [N, taken, ...] and time [N, time_width]."""
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
    """Convolution to half the height and width; the frames of a video stay as many."""

    def __init__(self, dims: int, width: int):
        super().__init__()
        self.op = CONVOLUTIONS[dims](width, width, 3, stride=2 if dims == 2 else (1, 2, 2), padding=1)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Values of half the size."""
        return self.op(values)


class Larger(nn.Module):
    """Nearest neighbours of twice the height and width, convolved."""

    def __init__(self, dims: int, width: int):
        super().__init__()
        self.conv = CONVOLUTIONS[dims](width, width, 3, padding=1)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Values of twice the size."""
        size = (*values.shape[2:-2], 2 * values.shape[-2], 2 * values.shape[-1])
        return self.conv(functional.interpolate(values, size=size, mode="nearest"))


class Ladder(ABC):
    """Plan of the U-Net; a model that inherits it makes the blocks, calls build, and runs the layers."""

    dims = 2

    @abstractmethod
    def residual(self, taken: int, made: int) -> nn.Module:
        """Residual block."""

    @abstractmethod
    def attention(self, width: int) -> list[nn.Module]:
        """Layers behind a residual block at a level that attends."""

    @abstractmethod
    def run(self, layers: nn.ModuleList, values: torch.Tensor, told) -> torch.Tensor:
        """Values behind some layers."""

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
            channels: of the input and the output.
            width: of the finest level; multipliers: of it, one a level.
            depth: residual blocks of a level on the way down; one more on the way up.
            attended: reductions of the size at which there is attention; the middle always attends.
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
        """Blocks on the way down; channels of everything that is kept for the way up."""
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
        """Blocks on the way up; each takes what was kept last, too."""
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
        """Sinusoids float [count, width] of times, a number or one a sample."""
        times = torch.as_tensor(times, device=like.device).reshape(-1).expand(count)
        return self.time_proj(times).to(like.dtype)

    def climb(self, values: torch.Tensor, told, first=None) -> torch.Tensor:
        """Values through all blocks, down and up.

        Args:
            told: for run.
            first: layers behind the first convolution.
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
    """Two layers behind the sinusoids of a time."""
    return nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, 4 * width))

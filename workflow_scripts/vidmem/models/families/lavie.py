"""LaVie's base model (Wang et al. 2309.15103): the U-Net of Stable Diffusion 1.4 with attention over time.

This is our own code, written after the paper and the public repository Vchitect/LaVie (base/models, base/configs/sample.yaml).
The weights keep their official names. The network differs from a video U-Net of diffusers in two ways. Every spatial
transformer block has one temporal attention inside, with rotary positions and a learned bias for every distance in time.
Normalisation outside the transformers is over all frames of a clip.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from diffusers import DDPMScheduler
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_3d_condition import UNet3DConditionOutput
from torch import nn
from torch.nn import functional

from ...errors import VidmemError
from .checkpoints import AS_THEY_ARE, Renaming, Weights, filled, renamed
from .latent_video import LatentVideoPipeline, base_parts
from .reference import VideoOutput

BUCKETS, FARTHEST = 32, 32
"""Buckets of the bias for distances in time (half of them for each direction), and the distance from which on all distances
share the last bucket."""


class FrameConvolution(nn.Conv2d):
    """Convolution that treats every frame of a video [B, C, T, H, W] alone."""

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        """Return the convolved video [B, out_channels, T, h, w]; h and w are H and W divided by the stride."""
        frames = video.transpose(1, 2)
        return super().forward(frames.flatten(0, 1)).unflatten(0, frames.shape[:2]).transpose(1, 2)


class VideoResnet(nn.Module):
    """Residual block whose group normalisation is over all frames of a clip.

    Args:
        taken, made: channels of the input and of the output.
        time_width: width of the time embedding.
        groups: groups of the normalisation.
    """

    def __init__(self, taken: int, made: int, time_width: int, groups: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, taken, eps=1e-5)
        self.conv1 = FrameConvolution(taken, made, 3, padding=1)
        self.time_emb_proj = nn.Linear(time_width, made)
        self.norm2 = nn.GroupNorm(groups, made, eps=1e-5)
        self.conv2 = FrameConvolution(made, made, 3, padding=1)
        self.conv_shortcut = FrameConvolution(taken, made, 1) if taken != made else None

    def forward(self, video: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Return a video [B, made, T, H, W] for a video [B, taken, T, H, W] and a time embedding [B, time_width]."""
        hidden = self.conv1(functional.silu(self.norm1(video)))
        hidden = hidden + self.time_emb_proj(functional.silu(time))[:, :, None, None, None]
        hidden = self.conv2(functional.silu(self.norm2(hidden)))
        return hidden + (video if self.conv_shortcut is None else self.conv_shortcut(video))


def distance_buckets(frames: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Bucket of every pair of frames, int64 [query, key], as in T5 (Raffel et al. 1910.10683).

    Every near distance has a bucket of its own; farther distances share buckets in logarithmic steps.

    >>> distance_buckets(3).tolist()
    [[0, 17, 18], [1, 0, 17], [2, 1, 0]]
    """
    places = torch.arange(frames, device=device)
    behind = places[:, None] - places[None, :]
    half, distance = BUCKETS // 2, behind.abs()
    exact = half // 2
    ratio = torch.log(distance.clamp(min=1).float() / exact) / math.log(FARTHEST / exact)
    far = (exact + (ratio * (half - exact)).long()).clamp(max=half - 1)
    return torch.where(distance < exact, distance, far) + half * (behind < 0)


class DistanceBias(nn.Module):
    """Learned bias that is added to the attention scores, one for every bucket of distances in time and every head."""

    def __init__(self, heads: int):
        super().__init__()
        self.relative_attention_bias = nn.Embedding(BUCKETS, heads)

    def forward(self, frames: int) -> torch.Tensor:
        """Return the bias [heads, query frame, key frame] for a number of frames."""
        buckets = distance_buckets(frames, self.relative_attention_bias.weight.device)
        return self.relative_attention_bias(buckets).permute(2, 0, 1)


def rotary_frequencies(width: int) -> torch.Tensor:
    """Angle in radians by which each pair of channels is turned from one frame to the next, float32 [width / 2]."""
    return 1.0 / 10000 ** (torch.arange(0, width, 2).float() / width)


def rotated(values: torch.Tensor, width: int) -> torch.Tensor:
    """Apply rotary positions to queries or keys [..., frames, channels]: pairs of channels are turned by frame * angle.

    Args:
        width: number of first channels that are turned; the other channels stay as they are.
    """
    angles = torch.arange(values.shape[-2]).float()[:, None] * rotary_frequencies(width)
    cosine, sine = angles.cos().to(values.device), angles.sin().to(values.device)
    pairs = values[..., :width].float().unflatten(-1, (-1, 2))
    first, second = pairs.unbind(-1)
    turned = torch.stack([first * cosine - second * sine, second * cosine + first * sine], dim=-1).flatten(-2)
    return torch.cat([turned.to(values.dtype), values[..., width:]], dim=-1)


class TimeAttention(nn.Module):
    """Temporal attention: every place attends to the same place in all frames.

    Args:
        width: channels; heads: attention heads.
        rotary: channels of a head that carry rotary positions.
    """

    def __init__(self, width: int, heads: int, rotary: int):
        super().__init__()
        self.heads, self.rotary = heads, rotary
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])
        self.time_rel_pos_bias = DistanceBias(heads)

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        """Return values [B * places, T, width] for values of this shape."""
        parts = (linear(places).unflatten(-1, (self.heads, -1)).transpose(1, 2) for linear in (self.to_q, self.to_k, self.to_v))
        query, key, value = parts
        query, key = rotated(query, self.rotary), rotated(key, self.rotary)
        bias = self.time_rel_pos_bias(places.shape[1])[None]
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.to_out[0](found.transpose(1, 2).flatten(2))


class VideoTransformerBlock(nn.Module):
    """Attention within a frame, attention to the text, temporal attention and a feed-forward layer, in this order."""

    def __init__(self, width: int, heads: int, text_width: int, rotary: int):
        super().__init__()
        options = {"heads": heads, "dim_head": width // heads, "bias": False}
        self.attn1 = Attention(width, **options)
        self.norm1 = nn.LayerNorm(width)
        self.attn2 = Attention(width, cross_attention_dim=text_width, **options)
        self.norm2 = nn.LayerNorm(width)
        self.attn_temp = TimeAttention(width, heads, rotary)
        self.norm_temp = nn.LayerNorm(width)
        self.ff = FeedForward(width, activation_fn="geglu")
        self.norm3 = nn.LayerNorm(width)

    def forward(self, hidden: torch.Tensor, text: torch.Tensor, frames: int) -> torch.Tensor:
        """Return values [B * frames, places, width] for values of this shape and text [B * frames, tokens, text_width]."""
        hidden = self.attn1(self.norm1(hidden)) + hidden
        hidden = self.attn2(self.norm2(hidden), encoder_hidden_states=text) + hidden
        places = hidden.unflatten(0, (-1, frames)).transpose(1, 2).flatten(0, 1)
        places = self.attn_temp(self.norm_temp(places)) + places
        hidden = places.unflatten(0, (-1, hidden.shape[1])).transpose(1, 2).flatten(0, 1)
        return self.ff(self.norm3(hidden)) + hidden


class VideoTransformer(nn.Module):
    """A transformer block between two linear maps; the result is added to the input."""

    def __init__(self, width: int, heads: int, text_width: int, rotary: int, groups: int):
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.proj_in = nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([VideoTransformerBlock(width, heads, text_width, rotary)])
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, video: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Return a video [B, width, T, H, W] for a video of this shape and text [B, tokens, text_width] for all frames."""
        count, _, frames, height, _ = video.shape
        flat = video.transpose(1, 2).flatten(0, 1)
        hidden = self.proj_in(self.norm(flat)).flatten(2).transpose(1, 2)
        for block in self.transformer_blocks:
            hidden = block(hidden, text.repeat_interleave(frames, dim=0), frames)
        flat = self.proj_out(hidden.transpose(1, 2).unflatten(2, (height, -1))) + flat
        return flat.unflatten(0, (count, frames)).transpose(1, 2)


class Resampler(nn.Module):
    """Convolution before or after a change of size. The class gives it its official name."""

    def __init__(self, width: int, stride: int):
        super().__init__()
        self.conv = FrameConvolution(width, width, 3, stride=stride, padding=1)


class Stage(nn.Module):
    """Residual blocks of one level. If the level has transformers, one follows each block.

    Args:
        sizes: (input channels, output channels) of every residual block.
        time_width: width of the time embedding; groups: groups of the normalisation.
        attends: arguments of VideoTransformer except width and groups; None for a level without transformers.
        change: 'down' or 'up' for a level that ends with a change of size, 'middle' for the middle of the network, else ''.
    """

    def __init__(self, sizes: list[tuple[int, int]], time_width: int, groups: int, attends: dict | None, change: str = ""):
        super().__init__()
        made, transformers = sizes[-1][1], len(sizes) - (change == "middle")
        self.resnets = nn.ModuleList(VideoResnet(*size, time_width, groups) for size in sizes)
        self.attentions = nn.ModuleList(
            VideoTransformer(made, groups=groups, **attends) for _ in range(transformers) if attends
        )
        self.downsamplers = nn.ModuleList([Resampler(made, 2)] if change == "down" else [])
        self.upsamplers = nn.ModuleList([Resampler(made, 1)] if change == "up" else [])

    def layer(self, index: int, video: torch.Tensor, time: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Apply one residual block and its transformer, if it has one."""
        video = self.resnets[index](video, time)
        return self.attentions[index](video, text) if index < len(self.attentions) else video


class LaVieUNet(ModelMixin, ConfigMixin):
    """Denoiser of LaVie's base model. The defaults are the published configuration.

    Args:
        sample_size: side of the square latents that Stable Diffusion was trained on; nothing depends on it.
        attention_heads: heads of every transformer.
        rotary_width: channels of a head that carry rotary positions.
    """

    @register_to_config
    def __init__(
        self,
        sample_size: int = 64,
        in_channels: int = 4,
        out_channels: int = 4,
        block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        layers_per_block: int = 2,
        cross_attention_dim: int = 768,
        attention_heads: int = 8,
        rotary_width: int = 32,
        norm_num_groups: int = 32,
    ):
        super().__init__()
        widths, time_width = list(block_out_channels), 4 * block_out_channels[0]
        attends = {"heads": attention_heads, "text_width": cross_attention_dim, "rotary": rotary_width}
        common = {"time_width": time_width, "groups": norm_num_groups}
        self.conv_in = FrameConvolution(in_channels, widths[0], 3, padding=1)
        self.time_proj = Timesteps(widths[0], flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(widths[0], time_width)
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        kept = self._build_down(widths, attends, common)
        self.mid_block = Stage([(widths[-1], widths[-1])] * 2, attends=attends, change="middle", **common)
        self._build_up(widths, attends, common, kept)
        self.conv_norm_out = nn.GroupNorm(norm_num_groups, widths[0], eps=1e-5)
        self.conv_out = FrameConvolution(widths[0], out_channels, 3, padding=1)

    def _build_down(self, widths: list[int], attends: dict, common: dict) -> list[int]:
        """Make the levels on the way down; the coarsest has no transformers.

        Returns:
            Channels of every feature map that is kept for the way up.
        """
        kept, depth, last = [widths[0]], self.config.layers_per_block, len(widths) - 1
        for level, width in enumerate(widths):
            sizes = [(widths[max(level - 1, 0)], width)] + [(width, width)] * (depth - 1)
            change = "down" if level < last else ""
            self.down_blocks.append(Stage(sizes, attends=attends if level < last else None, change=change, **common))
            kept += [width] * (depth + (level < last))
        return kept

    def _build_up(self, widths: list[int], attends: dict, common: dict, kept: list[int]) -> None:
        """Make the levels on the way up. Every block also gets the feature map that was kept last."""
        current, last = widths[-1], len(widths) - 1
        for level, width in reversed(list(enumerate(widths))):
            sizes = []
            for _ in range(self.config.layers_per_block + 1):
                sizes.append((current + kept.pop(), width))
                current = width
            change = "up" if level else ""
            self.up_blocks.append(Stage(sizes, attends=attends if level < last else None, change=change, **common))

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor | float,
        encoder_hidden_states: torch.Tensor,
        return_dict: bool = True,
    ) -> UNet3DConditionOutput | tuple[torch.Tensor]:
        """Predict the noise.

        Args:
            sample: float [B, C, T, H, W].
            timestep: one number for all samples, or float or int [B].
            encoder_hidden_states: float [B, tokens, cross_attention_dim].

        Returns:
            Output whose `sample` is float [B, out_channels, T, H, W].
        """
        times = torch.as_tensor(timestep, device=sample.device).reshape(-1).expand(len(sample))
        time, text = self.time_embedding(self.time_proj(times).to(sample.dtype)), encoder_hidden_states
        video = self.conv_in(sample)
        kept = [video]
        for stage in self.down_blocks:
            for index in range(len(stage.resnets)):
                video = stage.layer(index, video, time, text)
                kept.append(video)
            for resampler in stage.downsamplers:
                video = resampler.conv(video)
                kept.append(video)
        for index in range(len(self.mid_block.resnets)):
            video = self.mid_block.layer(index, video, time, text)
        for stage in self.up_blocks:
            for index in range(len(stage.resnets)):
                video = stage.layer(index, torch.cat([video, kept.pop()], dim=1), time, text)
            for resampler in stage.upsamplers:  # to the size before halving, which may be odd
                video = resampler.conv(functional.interpolate(video, size=kept[-1].shape[2:], mode="nearest"))
        video = self.conv_out(functional.silu(self.conv_norm_out(video)))
        return UNet3DConditionOutput(sample=video) if return_dict else (video,)


class LaViePipeline(LatentVideoPipeline):
    """LaVie's base text-to-video model. It makes 16 frames of 320 x 512 pixels at 8 frames a second."""

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str] | None = None,
        negative_prompt: str | list[str] | None = None,
        num_frames: int = 16,
        height: int = 320,
        width: int = 512,
        num_inference_steps: int = 50,
        guidance_scale: float = 7.5,
        generator: torch.Generator | list[torch.Generator] | None = None,
        prompt_embeds: torch.Tensor | None = None,
        output_type: str = "np",
        return_dict: bool = True,
    ) -> VideoOutput | tuple:
        """Generate clips; see TextToVideoSDPipeline for the arguments.

        Returns:
            Output whose `frames` are float [N, num_frames, height, width, 3] in 0..1 for output_type 'np'.
        """
        shape, options = (num_frames, height, width), {"generator": generator}
        given = (prompt, negative_prompt, prompt_embeds)
        return self._generate(*given, shape, num_inference_steps, guidance_scale, {}, options, output_type, return_dict)


def lavie_scheduler() -> DDPMScheduler:
    """Make the published sampler: ancestral sampling with the noise schedule of LaVie's training.

    Stable Diffusion was trained with another schedule. The scheduler of the official code (diffusers 0.16) has no offset: 50
    steps are 980, 960, ... 0.
    """
    return DDPMScheduler(beta_start=1e-4, beta_end=0.02, beta_schedule="linear", clip_sample=False, steps_offset=0)


FREQUENCIES = r".+\.attn_temp\.rotary_emb\.freqs"
RENAMINGS = (Renaming(FREQUENCIES), AS_THEY_ARE)
"""Rules for the official weights. The rotary frequencies are dropped, because we compute these constants."""


def lavie_from_official(weights: Weights, network: dict, sampler: dict, base: Path, where: str) -> LaViePipeline:
    """Make a pipeline from the official U-Net weights (lavie_base.pt).

    Args:
        weights: weights that read_checkpoint returns.
        network: arguments of LaVieUNet that differ from the defaults.
        sampler: not used.
        base: folder of Stable Diffusion 1.4 in diffusers form, which has everything but the U-Net.
        where: path of the file, for error messages.

    Raises:
        VidmemError: names or shapes are of another model, or the rotary frequencies differ from ours.
    """
    unet = filled(LaVieUNet, network, renamed(weights, RENAMINGS, where), where)
    expected = rotary_frequencies(unet.config.rotary_width)
    for name in (name for name in weights if name.endswith("rotary_emb.freqs")):
        found = weights[name].float()
        if found.shape != expected.shape or not torch.allclose(
            found, expected, rtol=1e-2
        ):  # tolerance for values stored in half precision
            raise VidmemError(f"rotary frequencies {expected.tolist()}", found.tolist(), f"{where}: {name}")
    return LaViePipeline(unet=unet, scheduler=lavie_scheduler(**sampler), **base_parts(base))

"""RaMViD (Höppe et al. 2206.07696): videos of 64 x 64 pixels without a prompt, from a 3D U-Net of improved-diffusion.

Our own code, after the paper and the public repository Tobi-r9/RaMViD (diffusion_openai, README). The weights keep their
official names. RaMViD is trained to fill in frames with some of them given; a share of the training (0.75 on UCF-101, 0.25 on
Kinetics-600 and BAIR) gives none, and that is how it generates here, as the official sampler does with --cond_generation False.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from diffusers import DDPMScheduler, DiffusionPipeline
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_3d_condition import UNet3DConditionOutput
from diffusers.utils.torch_utils import randn_tensor
from diffusers.video_processor import VideoProcessor
from torch import nn

from ..errors import VidmemError
from .convert import AS_THEY_ARE, Weights, filled, renamed
from .ladder import Ladder, ResidualBlock
from .reference import VideoOutput


class SpaceTimeAttention(nn.Module):
    """Attention of every place of every frame to all places of all frames.

    Args:
        width: channels.
    """

    def __init__(self, width: int, heads: int, groups: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(groups, width)
        self.qkv = nn.Conv1d(width, 3 * width, 1)
        self.proj_out = nn.Conv1d(width, width, 1)

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        """Video [B, width, T, H, W]."""
        flat = video.flatten(2)
        # Query, key and value of a head lie next to each other, head by head.
        parts = self.qkv(self.norm(flat)).unflatten(1, (self.heads, 3, -1)).transpose(-1, -2)
        query, key, value = (part.contiguous() for part in parts.unbind(2))
        found = nn.functional.scaled_dot_product_attention(query, key, value, scale=1 / math.sqrt(query.shape[-1]))
        return (flat + self.proj_out(found.transpose(-1, -2).flatten(1, 2))).reshape(video.shape)


class RaMViDUNet(Ladder, ModelMixin, ConfigMixin):
    """Denoiser of RaMViD. The defaults are those published for UCF-101 and Kinetics-600.

    Args:
        sample_size: side of a frame, pixels.
        attended_sides: sides of the feature maps at which there is attention.
    """

    dims = 3

    @register_to_config
    def __init__(
        self,
        sample_size: int = 64,
        in_channels: int = 3,
        out_channels: int = 3,
        model_channels: int = 128,
        channel_multipliers: tuple[int, ...] = (1, 2, 3, 4),
        residual_blocks: int = 3,
        attended_sides: tuple[int, ...] = (16, 8),
        attention_heads: int = 4,
        norm_num_groups: int = 32,
    ):
        super().__init__()
        attended = [sample_size // side for side in attended_sides]
        channels = (in_channels, out_channels)
        self.build(channels, model_channels, channel_multipliers, residual_blocks, attended, norm_num_groups)

    def residual(self, taken: int, made: int) -> nn.Module:
        """Residual block of videos whose time scales and shifts."""
        return ResidualBlock(3, taken, made, 4 * self.config.model_channels, True, self.config.norm_num_groups)

    def attention(self, width: int) -> list[nn.Module]:
        """Attention over space and time."""
        return [SpaceTimeAttention(width, self.config.attention_heads, self.config.norm_num_groups)]

    def run(self, layers: nn.ModuleList, values: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """Values behind some layers; told is the time embedding."""
        for layer in layers:
            values = layer(values, told) if isinstance(layer, ResidualBlock) else layer(values)
        return values

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor | float, return_dict: bool = True):
        """Prediction of the noise.

        Args:
            sample: float [B, C, T, H, W].
            timestep: a number, or one a sample.

        Returns:
            sample: float [B, out_channels, T, H, W].
        """
        time = self.time_embed(self.embedded(timestep, len(sample), sample))
        video = self.climb(sample, time)
        return UNet3DConditionOutput(sample=video) if return_dict else (video,)


class RaMViDPipeline(DiffusionPipeline):
    """Unconditional generation of 16 frames of 64 x 64 pixels."""

    model_cpu_offload_seq = "unet"

    def __init__(self, unet: RaMViDUNet, scheduler: DDPMScheduler):
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)
        self.video_processor = VideoProcessor(do_resize=False, vae_scale_factor=1)

    @torch.no_grad()
    def __call__(
        self,
        batch_size: int = 1,
        num_frames: int = 16,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = 1000,
        generator: torch.Generator | list[torch.Generator] | None = None,
        output_type: str = "np",
        return_dict: bool = True,
    ):
        """Generate clips.

        Args:
            height, width: those of the training if not given.

        Returns:
            frames: [batch_size, num_frames, height, width, 3] in 0..1 for output_type 'np'.

        Raises:
            VidmemError: another size than that of the training; attention is at fixed sides.
        """
        side, device = self.unet.config.sample_size, self._execution_device
        if (height or side, width or side) != (side, side):
            raise VidmemError(f"frames of {side} x {side} pixels", (height, width), "models.<name>.size")
        shape = (batch_size, self.unet.config.in_channels, num_frames, side, side)
        video = randn_tensor(shape, generator=generator, device=device, dtype=self.unet.dtype)
        self.scheduler.set_timesteps(num_inference_steps, device=device)
        video = video * self.scheduler.init_noise_sigma
        for time in self.progress_bar(self.scheduler.timesteps):
            prediction = self.unet(self.scheduler.scale_model_input(video, time), time).sample
            video = self.scheduler.step(prediction, time, video, generator=generator).prev_sample
        frames = self.video_processor.postprocess_video(video.float(), output_type=output_type)
        self.maybe_free_model_hooks()
        return VideoOutput(frames=frames) if return_dict else (frames,)


def ramvid_scheduler() -> DDPMScheduler:
    """The published sampler: linear schedule, the larger of the two fixed variances, steps spread over the whole schedule."""
    options = {"beta_schedule": "linear", "variance_type": "fixed_large", "timestep_spacing": "linspace", "clip_sample": True}
    return DDPMScheduler(beta_start=1e-4, beta_end=0.02, **options)


def ramvid_from_official(weights: Weights, network: dict, sampler: dict, base: Path | None, where: str) -> RaMViDPipeline:
    """Pipeline of the official weights (ema_0.9999_<step>.pt).

    Args:
        weights: of read_checkpoint.
        network: configuration of RaMViDUNet; sampler: nothing.
        base: nothing: RaMViD works in pixels.
        where: the file, for errors.

    Raises:
        VidmemError: names or shapes of another model.
    """
    unet = filled(RaMViDUNet, network, renamed(weights, (AS_THEY_ARE,), where), where)
    return RaMViDPipeline(unet=unet, scheduler=ramvid_scheduler(**sampler))

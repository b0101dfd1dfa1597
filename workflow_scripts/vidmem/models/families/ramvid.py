"""RaMViD (Höppe et al. 2206.07696): videos of 64 x 64 pixels without a prompt, from a 3D U-Net of improved-diffusion.

This is our own code, written after the paper and the public repository Tobi-r9/RaMViD (diffusion_openai, README). The weights
keep their official names. RaMViD is trained to fill in missing frames from given ones. In a share of the training steps (0.75
on UCF-101, 0.25 on Kinetics-600 and BAIR) no frame is given. Here it generates without given frames, as the official sampler
does with --cond_generation False.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from diffusers import DDPMScheduler, DiffusionPipeline, SchedulerMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_3d_condition import UNet3DConditionOutput
from diffusers.utils.torch_utils import randn_tensor
from diffusers.video_processor import VideoProcessor
from torch import nn

from ...errors import VidmemError
from .checkpoints import AS_THEY_ARE, Weights, filled, renamed
from .reference import VideoOutput
from .unet_ladder import Ladder, ResidualBlock


class SpaceTimeAttention(nn.Module):
    """Attention over space and time: every place of every frame attends to all places of all frames.

    Args:
        width: channels; heads: attention heads; groups: groups of the normalisation.
    """

    def __init__(self, width: int, heads: int, groups: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(groups, width)
        self.qkv = nn.Conv1d(width, 3 * width, 1)
        self.proj_out = nn.Conv1d(width, width, 1)

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        """Return a video [B, width, T, H, W] for a video of this shape."""
        flat = video.flatten(2)
        # The channels hold query, key and value of the first head, then of the next.
        parts = self.qkv(self.norm(flat)).unflatten(1, (self.heads, 3, -1)).transpose(-1, -2)
        query, key, value = (part.contiguous() for part in parts.unbind(2))
        found = nn.functional.scaled_dot_product_attention(query, key, value, scale=1 / math.sqrt(query.shape[-1]))
        return (flat + self.proj_out(found.transpose(-1, -2).flatten(1, 2))).reshape(video.shape)


class RaMViDUNet(Ladder, ModelMixin, ConfigMixin):
    """Denoiser of RaMViD. The defaults are published for UCF-101 and Kinetics-600.

    Args:
        sample_size: height and width of a frame, pixels.
        attended_sides: heights of the feature maps that have attention.
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
        """Residual block of videos; the time embedding scales and shifts its normalised values."""
        return ResidualBlock(3, taken, made, 4 * self.config.model_channels, True, self.config.norm_num_groups)

    def attention(self, width: int) -> list[nn.Module]:
        """Attention over space and time."""
        return [SpaceTimeAttention(width, self.config.attention_heads, self.config.norm_num_groups)]

    def run(self, layers: nn.ModuleList, values: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """Apply layers to values; `told` is the time embedding [B, time_width]."""
        for layer in layers:
            values = layer(values, told) if isinstance(layer, ResidualBlock) else layer(values)
        return values

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor | float, return_dict: bool = True
    ) -> UNet3DConditionOutput | tuple[torch.Tensor]:
        """Predict the noise.

        Args:
            sample: float [B, C, T, H, W].
            timestep: one number for all samples, or float or int [B].

        Returns:
            Output whose `sample` is float [B, out_channels, T, H, W].
        """
        time = self.time_embed(self.embedded(timestep, len(sample), sample))
        video = self.climb(sample, time)
        return UNet3DConditionOutput(sample=video) if return_dict else (video,)


class RaMViDPipeline(DiffusionPipeline):
    """Unconditional generation of 16 frames of 64 x 64 pixels."""

    model_cpu_offload_seq = "unet"

    def __init__(self, unet: RaMViDUNet, scheduler: SchedulerMixin):
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
    ) -> VideoOutput | tuple:
        """Generate clips.

        Args:
            height, width: pixels of a frame; None for the size of the training.

        Returns:
            Output whose `frames` are float [batch_size, num_frames, height, width, 3] in 0..1 for output_type 'np'.

        Raises:
            VidmemError: the size is not the size of the training. The attention layers work for that size only.
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


def respaced_times(steps: int, trained: int) -> list[int]:
    """Times of the official respacing (improved-diffusion, space_timesteps), from the last on.

    It adds up a stride in floating point and rounds half to even. diffusers rounds an even grid, and differs by one at 278 of
    the numbers of steps from 2 to 1000.

    >>> respaced_times(4, 1000)
    [999, 666, 333, 0]
    """
    stride, place, times = (trained - 1) / max(1, steps - 1), 0.0, []
    for _ in range(steps):
        times.append(round(place))
        place += stride
    return sorted(set(times), reverse=True)


class RespacedDDPMScheduler(DDPMScheduler, SchedulerMixin):
    """DDPM at the times of the official respacing.

    diffusers looks up known base classes among the names of this module. So SchedulerMixin is imported and named as a base.
    """

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        timesteps: list[int] | None = None,
    ) -> None:
        """Set the times of a number of steps, or the given times."""
        given = timesteps or respaced_times(num_inference_steps or 1, self.config.num_train_timesteps)
        super().set_timesteps(device=device, timesteps=given)
        self.num_inference_steps = len(given)


def ramvid_scheduler() -> RespacedDDPMScheduler:
    """Make the published sampler: linear schedule, the larger fixed variance, steps spread over the whole schedule."""
    options = {"beta_schedule": "linear", "variance_type": "fixed_large", "timestep_spacing": "linspace", "clip_sample": True}
    return RespacedDDPMScheduler(beta_start=1e-4, beta_end=0.02, **options)


def ramvid_from_official(weights: Weights, network: dict, sampler: dict, base: Path | None, where: str) -> RaMViDPipeline:
    """Make a pipeline from the official weights (ema_0.9999_<step>.pt).

    Args:
        weights: weights that read_checkpoint returns.
        network: arguments of RaMViDUNet that differ from the defaults.
        sampler: not used.
        base: not used, because RaMViD works in pixels.
        where: path of the file, for error messages.

    Raises:
        VidmemError: names or shapes are of another model.
    """
    unet = filled(RaMViDUNet, network, renamed(weights, (AS_THEY_ARE,), where), where)
    return RaMViDPipeline(unet=unet, scheduler=ramvid_scheduler(**sampler))

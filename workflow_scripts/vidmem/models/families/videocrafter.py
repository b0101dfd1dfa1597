"""VideoCrafter 1 and 2, text to video (Chen et al. 2310.19512 and 2401.09047).

This is our own code, written after the papers and the public repository AILab-CVC/VideoCrafter (lvdm/modules, lvdm/models,
configs). The U-Net keeps its official names except a misspelt one. A spatial transformer works within one frame. A temporal
transformer works on one place in all frames. Spatial blocks normalise every frame alone, temporal blocks all frames of a clip.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import ClassVar, NamedTuple

import ftfy
import torch
from diffusers import DDIMScheduler
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_3d_condition import UNet3DConditionOutput
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import nn
from transformers import CLIPTextConfig

from ...errors import VidmemError
from .checkpoints import Renaming, Weights, fill, filled, renamed
from .latent_diffusion import AUTOENCODER, SCHEDULE, UNET, autoencoder_renamings, under
from .latent_video import LatentVideoPipeline, base_parts
from .reference import VideoOutput
from .unet_ladder import Ladder, ResidualBlock, time_layers

FIRST_HEADS = 8
"""Heads of the temporal transformer that follows the first convolution; a constant of the official code."""


class Told(NamedTuple):
    """Inputs of the layers beside the frames [B * T, C, H, W].

    Attributes:
        time: time embedding [B * T, width].
        text: text embedding [B * T, tokens, width].
        frames: number of frames T.
    """

    time: torch.Tensor
    text: torch.Tensor
    frames: int


class Distances(nn.Module):
    """Learned vector for every distance in time. All distances from the farthest on share one vector.

    Args:
        farthest: distance in frames.
        width: width of a vector.
    """

    def __init__(self, farthest: int, width: int):
        super().__init__()
        self.farthest = farthest
        self.embeddings_table = nn.Parameter(torch.randn(2 * farthest + 1, width) / width**0.5)

    def forward(self, frames: int) -> torch.Tensor:
        """Return the vectors [query frame, key frame, width] for a number of frames."""
        places = torch.arange(frames, device=self.embeddings_table.device)
        ahead = (places[None, :] - places[:, None]).clamp(-self.farthest, self.farthest)
        return self.embeddings_table[ahead + self.farthest]


class TimeAttention(nn.Module):
    """Temporal attention: every place attends to the same place in all frames.

    Args:
        width: channels; heads: attention heads; head_width: channels of a head.
        farthest: farthest distance in time with a learned vector that is added to keys and values; 0 for no such vectors.
    """

    def __init__(self, width: int, heads: int, head_width: int, farthest: int):
        super().__init__()
        inner = heads * head_width
        self.heads, self.scale = heads, head_width**-0.5
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, inner, bias=False) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(inner, width)])
        self.relative_position_k = Distances(farthest, head_width) if farthest else None
        self.relative_position_v = Distances(farthest, head_width) if farthest else None

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        """Return values [B * places, T, width] for values of this shape."""
        parts = (linear(places).unflatten(-1, (self.heads, -1)).transpose(1, 2) for linear in (self.to_q, self.to_k, self.to_v))
        query, key, value = parts
        frames = places.shape[1]
        scores = query @ key.transpose(-1, -2)
        if self.relative_position_k is not None:
            scores = scores + torch.einsum("nhqc,qkc->nhqk", query, self.relative_position_k(frames))
        shares = (scores * self.scale).softmax(-1)
        found = shares @ value
        if self.relative_position_v is not None:
            found = found + torch.einsum("nhqk,qkc->nhqc", shares, self.relative_position_v(frames))
        return self.to_out[0](found.transpose(1, 2).flatten(2))


class TimeBlock(nn.Module):
    """Two temporal attentions and a feed-forward layer."""

    def __init__(self, width: int, heads: int, head_width: int, farthest: int):
        super().__init__()
        self.attn1 = TimeAttention(width, heads, head_width, farthest)
        self.attn2 = TimeAttention(width, heads, head_width, farthest)
        self.ff = FeedForward(width, activation_fn="geglu")
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return values [B * places, T, width] for values of this shape."""
        hidden = self.attn1(self.norm1(hidden)) + hidden
        hidden = self.attn2(self.norm2(hidden)) + hidden
        return self.ff(self.norm3(hidden)) + hidden


class TimeTransformer(nn.Module):
    """Temporal transformer: normalisation over all frames, and a block between linear maps that is added to the input.

    Args:
        width: channels; heads: attention heads; head_width: channels of a head.
        farthest: see TimeAttention; groups: groups of the normalisation.
        pointwise: whether the maps are convolutions of width one instead of linear layers. This is so for the transformer that
            follows the first convolution.
    """

    def __init__(self, width: int, heads: int, head_width: int, farthest: int, groups: int, pointwise: bool = False):
        super().__init__()
        inner = heads * head_width
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.proj_in = nn.Conv1d(width, inner, 1) if pointwise else nn.Linear(width, inner)
        self.transformer_blocks = nn.ModuleList([TimeBlock(inner, heads, head_width, farthest)])
        self.proj_out = nn.Conv1d(inner, width, 1) if pointwise else nn.Linear(inner, width)

    def forward(self, values: torch.Tensor, told: Told) -> torch.Tensor:
        """Return frames [B * T, width, H, W] for frames of this shape."""
        height = values.shape[2]
        video = values.unflatten(0, (-1, told.frames)).transpose(1, 2)
        hidden = self.norm(video).flatten(3).permute(0, 3, 2, 1)
        places = hidden.shape[1]
        hidden = _project(self.proj_in, hidden.flatten(0, 1))
        for block in self.transformer_blocks:
            hidden = block(hidden)
        hidden = _project(self.proj_out, hidden).unflatten(0, (-1, places))
        return hidden.permute(0, 2, 3, 1).flatten(0, 1).unflatten(2, (height, -1)) + values


def _project(layer: nn.Module, values: torch.Tensor) -> torch.Tensor:
    """Apply a linear layer or a convolution of width one to values [N, T, C]."""
    return layer(values.transpose(1, 2)).transpose(1, 2) if isinstance(layer, nn.Conv1d) else layer(values)


class SpaceBlock(nn.Module):
    """Attention within a frame, attention to the text, and a feed-forward layer."""

    def __init__(self, width: int, heads: int, head_width: int, text_width: int):
        super().__init__()
        options = {"heads": heads, "dim_head": head_width, "bias": False}
        self.attn1 = Attention(width, **options)
        self.attn2 = Attention(width, cross_attention_dim=text_width, **options)
        self.ff = FeedForward(width, activation_fn="geglu")
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, hidden: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Return values [B * T, places, width] for values of this shape and text [B * T, tokens, text_width]."""
        hidden = self.attn1(self.norm1(hidden)) + hidden
        hidden = self.attn2(self.norm2(hidden), encoder_hidden_states=text) + hidden
        return self.ff(self.norm3(hidden)) + hidden


class SpaceTransformer(nn.Module):
    """Spatial transformer: a block between linear layers works on every frame alone and is added to the input."""

    def __init__(self, width: int, heads: int, head_width: int, text_width: int, groups: int):
        super().__init__()
        inner = heads * head_width
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.proj_in = nn.Linear(width, inner)
        self.transformer_blocks = nn.ModuleList([SpaceBlock(inner, heads, head_width, text_width)])
        self.proj_out = nn.Linear(inner, width)

    def forward(self, values: torch.Tensor, told: Told) -> torch.Tensor:
        """Return frames [B * T, width, H, W] for frames of this shape."""
        hidden = self.proj_in(self.norm(values).flatten(2).transpose(1, 2))
        for block in self.transformer_blocks:
            hidden = block(hidden, told.text)
        return self.proj_out(hidden).transpose(1, 2).reshape(values.shape) + values


class TimeConvolutions(nn.Module):
    """Four convolutions over three frames each; the result is added to the input (VideoCrafter 2)."""

    def __init__(self, width: int, groups: int):
        super().__init__()
        for number in range(1, 5):
            # The identity keeps the official numbers: all convolutions but the first have dropout there.
            between = [nn.Identity()] if number > 1 else []
            convolution = nn.Conv3d(width, width, (3, 1, 1), padding=(1, 0, 0))
            setattr(self, f"conv{number}", nn.Sequential(nn.GroupNorm(groups, width), nn.SiLU(), *between, convolution))

    def forward(self, values: torch.Tensor, frames: int) -> torch.Tensor:
        """Return frames [B * T, width, H, W] for frames of this shape."""
        video = values.unflatten(0, (-1, frames)).transpose(1, 2)
        hidden = self.conv4(self.conv3(self.conv2(self.conv1(video))))
        return (video + hidden).transpose(1, 2).flatten(0, 1)


class FrameBlock(ResidualBlock):
    """Residual block of frames; convolutions over time may follow it."""

    def __init__(self, taken: int, made: int, time_width: int, groups: int, over_time: bool):
        super().__init__(2, taken, made, time_width, False, groups)
        self.temporal_conv = TimeConvolutions(made, groups) if over_time else None

    def forward(self, values: torch.Tensor, told: Told) -> torch.Tensor:
        """Return frames [B * T, made, H, W] for frames [B * T, taken, H, W]."""
        values = super().forward(values, told.time)
        return values if self.temporal_conv is None else self.temporal_conv(values, told.frames)


class VideoCrafterUNet(Ladder, ModelMixin, ConfigMixin):
    """Denoiser of VideoCrafter. The defaults are published for VideoCrafter 1 at 320 x 512.

    Args:
        attended: levels with attention, by the factor their size is reduced by.
        head_width: channels of an attention head.
        temporal_length: farthest distance in frames that has its own relative position.
        relative_positions: whether temporal attention has a learned vector for every distance.
        fps_condition: whether the frame rate is an input of the network.
        temporal_convolutions: whether convolutions over time follow every residual block.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 4,
        model_channels: int = 320,
        channel_multipliers: tuple[int, ...] = (1, 2, 4, 4),
        residual_blocks: int = 2,
        attended: tuple[int, ...] = (4, 2, 1),
        head_width: int = 64,
        context_width: int = 1024,
        temporal_length: int = 16,
        relative_positions: bool = True,
        fps_condition: bool = False,
        temporal_convolutions: bool = False,
        norm_num_groups: int = 32,
    ):
        super().__init__()
        channels = (in_channels, out_channels)
        self.build(channels, model_channels, channel_multipliers, residual_blocks, attended, norm_num_groups)
        self.fps_embedding = time_layers(model_channels) if fps_condition else None
        first = TimeTransformer(model_channels, FIRST_HEADS, head_width, self._farthest, norm_num_groups, pointwise=True)
        self.init_attn = nn.ModuleList([first])

    @property
    def _farthest(self) -> int:
        return self.config.temporal_length if self.config.relative_positions else 0

    def residual(self, taken: int, made: int) -> nn.Module:
        """Make a residual block of frames."""
        config = self.config
        return FrameBlock(taken, made, 4 * config.model_channels, config.norm_num_groups, config.temporal_convolutions)

    def attention(self, width: int) -> list[nn.Module]:
        """Make a spatial and a temporal transformer."""
        config = self.config
        size = (width, width // config.head_width, config.head_width)
        space = SpaceTransformer(*size, config.context_width, config.norm_num_groups)
        return [space, TimeTransformer(*size, self._farthest, config.norm_num_groups)]

    def run(self, layers: nn.ModuleList, values: torch.Tensor, told: Told) -> torch.Tensor:
        """Apply layers to frames [B * T, C, H, W]."""
        for layer in layers:
            informed = isinstance(layer, (FrameBlock, SpaceTransformer, TimeTransformer))
            values = layer(values, told) if informed else layer(values)
        return values

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor | float,
        encoder_hidden_states: torch.Tensor,
        fps: torch.Tensor | float = 16,
        return_dict: bool = True,
    ) -> UNet3DConditionOutput | tuple[torch.Tensor]:
        """Predict the noise.

        Args:
            sample: float [B, C, T, H, W].
            timestep: one number for all samples, or float or int [B].
            fps: frame rate in Hz, one number for all samples, or float [B].
            encoder_hidden_states: float [B, tokens, context_width].

        Returns:
            Output whose `sample` is float [B, out_channels, T, H, W].
        """
        count, frames = len(sample), sample.shape[2]
        time = self.time_embed(self.embedded(timestep, count, sample))
        if self.fps_embedding is not None:
            time = time + self.fps_embedding(self.embedded(fps, count, sample))
        told = Told(time.repeat_interleave(frames, dim=0), encoder_hidden_states.repeat_interleave(frames, dim=0), frames)
        values = self.climb(sample.transpose(1, 2).flatten(0, 1), told, self.init_attn)
        video = values.unflatten(0, (count, frames)).transpose(1, 2)
        return UNet3DConditionOutput(sample=video) if return_dict else (video,)


class ScaledDDIMScheduler(DDIMScheduler, SchedulerMixin):
    """DDIM for models whose latents were scaled down with growing noise in training: scale(t) * x_0 in place of x_0.

    diffusers looks up known base classes among the names of this module. So SchedulerMixin is imported and named as a base.

    Args:
        scale_end: scale from time scale_steps - 1 on. It falls linearly from 1 at time 0; with scale_end 1 this is plain DDIM.
        scale_steps: number of time steps over which the scale falls.

    Attributes:
        NEEDED: settings that another scheduler cannot leave out, and their values that change nothing.
    """

    NEEDED: ClassVar[dict[str, float]] = {"scale_end": 1.0}

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
        beta_schedule: str = "scaled_linear",
        clip_sample: bool = False,
        set_alpha_to_one: bool = False,
        steps_offset: int = 1,
        scale_end: float = 1.0,
        scale_steps: int = 400,
    ):
        options = {"clip_sample": clip_sample, "set_alpha_to_one": set_alpha_to_one, "steps_offset": steps_offset}
        super().__init__(num_train_timesteps, beta_start, beta_end, beta_schedule, **options)

    def scale(self, time: int) -> float:
        """Scale of the clean latents at a time step."""
        steps = self.config.scale_steps
        return 1 + (self.config.scale_end - 1) * min(max(time, 0), steps - 1) / (steps - 1)

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """Set the times of the official sampler: every (1000 // steps)-th. They are more than asked if that does not divide."""
        super().set_timesteps(num_inference_steps, device=device)
        count, offset = self.config.num_train_timesteps, self.config.steps_offset
        times = range(0, count, count // num_inference_steps)
        self.timesteps = torch.tensor([time + offset for time in reversed(times)], device=device)

    def add_noise(self, original_samples: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Noisy latents [N, ...] at times [N], of clean latents that are scaled as in training."""
        scales = [self.scale(int(time)) for time in timesteps.reshape(-1)]
        shape = (-1, *[1] * (original_samples.ndim - 1))
        return super().add_noise(original_samples * original_samples.new_tensor(scales).reshape(shape), noise, timesteps)

    def step(
        self,
        model_output: torch.Tensor,
        timestep: int | torch.Tensor,
        sample: torch.Tensor,
        eta: float = 0.0,
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_dict: bool = True,
    ) -> DDIMSchedulerOutput | tuple[torch.Tensor, torch.Tensor]:
        """Make one DDIM step. The predicted clean latents are rescaled to the scale of the time after the step."""
        made = super().step(model_output, timestep, sample, eta=eta, generator=generator)
        before = int(timestep) - self.config.num_train_timesteps // self.num_inference_steps
        signal = self.alphas_cumprod[before] if before >= 0 else self.final_alpha_cumprod
        clean = made.pred_original_sample / self.scale(int(timestep))
        latents = made.prev_sample + signal**0.5 * (self.scale(before) * clean - made.pred_original_sample)
        return DDIMSchedulerOutput(latents, clean) if return_dict else (latents, clean)


class VideoCrafterPipeline(LatentVideoPipeline):
    """VideoCrafter's text-to-video models. They make 16 frames of 320 x 512 or 576 x 1024 pixels.

    Prompts become the tokens of OpenCLIP. Its padding is "!" of the tokenizer of Stable Diffusion 2, which would else be read
    out of prompts, too.
    """

    READING: ClassVar[dict[str, bool]] = {"split_special_tokens": True}

    def cleaned(self, prompt: str) -> str:
        """A prompt as OpenCLIP cleans it: broken encodings mended, HTML entities resolved twice, blanks joined."""
        return " ".join(html.unescape(html.unescape(ftfy.fix_text(prompt))).split())

    @property
    def side(self) -> int:
        """Number of pixels that height and width must be multiples of, because every level halves the size."""
        return self.vae_scale_factor * 2 ** (len(self.unet.config.channel_multipliers) - 1)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str] | None = None,
        negative_prompt: str | list[str] | None = None,
        num_frames: int = 16,
        height: int = 320,
        width: int = 512,
        num_inference_steps: int = 50,
        guidance_scale: float = 12.0,
        fps: int = 28,
        eta: float = 1.0,
        generator: torch.Generator | list[torch.Generator] | None = None,
        prompt_embeds: torch.Tensor | None = None,
        output_type: str = "np",
        return_dict: bool = True,
    ) -> VideoOutput | tuple:
        """Generate clips; see TextToVideoSDPipeline for the arguments that are not listed here.

        Args:
            fps: frame rate in Hz, an input of models with fps_condition.
            eta: amount of noise in every DDIM step: 0 is deterministic, 1 is ancestral sampling.

        Returns:
            Output whose `frames` are float [N, num_frames, height, width, 3] in 0..1 for output_type 'np'.
        """
        shape, told = (num_frames, height, width), {"fps": fps}
        given, options = (prompt, negative_prompt, prompt_embeds), {"generator": generator, "eta": eta}
        return self._generate(*given, shape, num_inference_steps, guidance_scale, told, options, output_type, return_dict)


def _three(values: torch.Tensor) -> list[torch.Tensor]:
    return [part.clone() for part in values.chunk(3)]


TEXT = "cond_stage_model.model."
UNET_RENAMINGS = (
    Renaming(r"(.+)\.temopral_conv\.(.+)", (r"\1.temporal_conv.\2",)),  # spelt this way in the official code
    Renaming(r"(.+)", (r"\1",)),
)


def text_renamings(layers: int) -> list[Renaming]:
    """Rules that rename the weights of OpenCLIP's text encoder to the names of transformers.

    Args:
        layers: number of layers that are used. The official text embedding is taken before the last layer.
    """
    used = "|".join(str(layer) for layer in range(layers))
    block, own = rf"transformer\.resblocks\.({used})", r"encoder.layers.\1"
    attention = [f"{own}.self_attn.{name}_proj" for name in "qkv"]
    return [
        Renaming(r"token_embedding\.weight", ("embeddings.token_embedding.weight",)),
        Renaming(r"positional_embedding", ("embeddings.position_embedding.weight",)),
        Renaming(r"ln_final\.(.+)", (r"final_layer_norm.\1",)),
        Renaming(rf"{block}\.ln_([12])\.(.+)", (rf"{own}.layer_norm\2.\3",)),
        Renaming(rf"{block}\.attn\.in_proj_(weight|bias)", tuple(rf"{name}.\2" for name in attention), _three),
        Renaming(rf"{block}\.attn\.out_proj\.(.+)", (rf"{own}.self_attn.out_proj.\2",)),
        Renaming(rf"{block}\.mlp\.c_fc\.(.+)", (rf"{own}.mlp.fc1.\2",)),
        Renaming(rf"{block}\.mlp\.c_proj\.(.+)", (rf"{own}.mlp.fc2.\2",)),
        Renaming(rf"transformer\.resblocks\.{layers}\..+"),  # the last layer, which is not used
        Renaming(r"text_projection|logit_scale|attn_mask"),  # used by the contrastive training only, and a constant
    ]


def videocrafter_from_official(
    weights: Weights, network: dict, sampler: dict, base: Path, where: str
) -> VideoCrafterPipeline:  # fmt: skip
    """Make a pipeline from the official weights (model.ckpt): U-Net, autoencoder and text encoder.

    Args:
        weights: weights that read_checkpoint returns.
        network: arguments of VideoCrafterUNet that differ from the defaults.
        sampler: arguments of ScaledDDIMScheduler that differ from the defaults.
        base: folder of Stable Diffusion 2.1 in diffusers form. Its tokenizer is used, and the configurations of its autoencoder
            and text encoder.
        where: path of the file, for error messages.

    Raises:
        VidmemError: names or shapes are of another model or of another variant.
    """
    parts = {prefix: under(prefix, weights) for prefix in (UNET, AUTOENCODER, TEXT)}
    rest = {name: values for name, values in weights.items() if not name.startswith((UNET, AUTOENCODER, TEXT))}
    renamed(rest, (Renaming(rf"scale_arr|{SCHEDULE}"),), where)
    scheduler = ScaledDDIMScheduler(**sampler)
    _check_structure(parts[UNET], network, where)
    _check_scales(rest, scheduler, where)
    own = base_parts(base)
    unet = filled(VideoCrafterUNet, network, renamed(parts[UNET], UNET_RENAMINGS, where), where)
    levels, layers = len(own["vae"].config.block_out_channels), _text_layers(own["text_encoder"].config, parts[TEXT], base)
    fill(own["vae"], renamed(parts[AUTOENCODER], autoencoder_renamings(levels), where), where)
    fill(own["text_encoder"], renamed(parts[TEXT], text_renamings(layers), where), where)
    return VideoCrafterPipeline(unet=unet, scheduler=scheduler, **own)


def _text_layers(config: CLIPTextConfig, weights: Weights, base: Path) -> int:
    """Number of layers of the text encoder: all layers of the checkpoint but the last.

    Raises:
        VidmemError: the text encoder of `base` has another number of layers or another activation than Stable Diffusion 2.
    """
    there = {int(name.split(".")[2]) for name in weights if name.startswith("transformer.resblocks.")}
    if config.num_hidden_layers != len(there) - 1 or config.hidden_act != "gelu":
        expected = f"a text encoder of {len(there) - 1} layers with gelu, as of Stable Diffusion 2.1"
        raise VidmemError(expected, f"{config.num_hidden_layers} with {config.hidden_act}", str(base))
    return config.num_hidden_layers


STRUCTURES = {
    (False, False): "v1-512 (the file of 6 December 2023)",
    (True, False): "v1-1024",
    (True, True): "v2-512, which the file of October 2023 for VideoCrafter1 at 320 x 512 shares",
}
"""Whether a U-Net is told the rate of frames, and has temporal convolutions -> published models of that structure."""


def _check_structure(weights: Weights, network: dict, where: str) -> None:
    """Raise VidmemError if the names of the U-Net are those of another published structure."""
    found = tuple(any(part in name for name in weights) for part in ("fps_embedding.", "temopral_conv."))
    wanted = (network.get("fps_condition", False), network.get("temporal_convolutions", False))
    if found != wanted and found in STRUCTURES:
        hint = "set checkpoint.variant to the one of this file"
        raise VidmemError(f"the structure of {STRUCTURES.get(wanted, network)}", f"that of {STRUCTURES[found]}", where, hint)


def _check_scales(schedule: Weights, scheduler: ScaledDDIMScheduler, where: str) -> None:
    """Raise VidmemError if the checkpoint scales its latents by other factors than the scheduler."""
    count = scheduler.config.num_train_timesteps
    expected = torch.tensor([scheduler.scale(time) for time in range(count)])
    found = schedule.get("scale_arr", torch.ones(count)).float()[:count]
    if found.shape != expected.shape or not torch.allclose(found, expected, atol=1e-3):
        hint = "set checkpoint.variant to the one of this file"
        raise VidmemError(f"latents that shrink to {float(expected[-1]):.3g}", f"{float(found[-1]):.3g}", where, hint)

"""Latent diffusion without a prompt (Rombach et al. 2112.10752): the official CelebA-HQ and FFHQ checkpoints as LDMPipeline.

The sizes come from the public configurations of CompVis/latent-diffusion (celebahq-ldm-vq-4, ffhq-ldm-vq-4). Stable Diffusion
and VideoCrafter use the official names, too. diffusers has these networks; only the names of the weights and the order of the
attention weights differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, LDMPipeline, UNet2DModel, VQModel

from ...errors import VidmemError
from .checkpoints import Renaming, Weights, filled, renamed

UNET, AVERAGED, AUTOENCODER = "model.diffusion_model.", "model_ema.", "first_stage_model."
SCHEDULE = (
    "betas|(sqrt_)?alphas_cumprod|alphas_cumprod_prev|(sqrt|log)_one_minus_alphas_cumprod|sqrt_recip(m1)?_alphas_cumprod|"
    "posterior_(variance|log_variance_clipped|mean_coef[12])"
)
RESNET = r"(norm[12]|conv[12])\.(weight|bias)"
RESIDUAL = {
    "in_layers.0": "norm1", "in_layers.2": "conv1", "emb_layers.1": "time_emb_proj", "out_layers.0": "norm2",
    "out_layers.3": "conv2", "skip_connection": "conv_shortcut",
}  # fmt: skip
"""Layers of a residual block: official name -> name in diffusers."""
ENDS = {
    "time_embed.0": "time_embedding.linear_1", "time_embed.2": "time_embedding.linear_2", "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out", "out.2": "conv_out",
}  # fmt: skip


@dataclass(frozen=True)
class Network:
    """Sizes of the networks. The defaults are published for CelebA-HQ and FFHQ at 256 pixels.

    Attributes:
        attended: the denoiser has attention at the levels where its feature maps are smaller than the latents by these factors.
        head_width: channels of an attention head.
        autoencoder_channels: channels of the autoencoder's finest level; every further level halves height and width.
        codes: entries of the codebook.
        side: height and width of the pictures, pixels.
    """

    model_channels: int = 224
    channel_multipliers: tuple[int, ...] = (1, 2, 3, 4)
    residual_blocks: int = 2
    attended: tuple[int, ...] = (8, 4, 2)
    head_width: int = 32
    latent_channels: int = 3
    autoencoder_channels: int = 128
    autoencoder_multipliers: tuple[int, ...] = (1, 2, 4)
    autoencoder_blocks: int = 2
    codes: int = 8192
    side: int = 256
    norm_num_groups: int = 32

    def attends(self, level: int) -> bool:
        """Whether a level of the denoiser, counted from 0 at the finest, has attention."""
        return 2**level in self.attended

    def unet(self) -> dict:
        """Arguments of UNet2DModel."""
        levels = range(len(self.channel_multipliers))
        prefixes = ["Attn" if self.attends(level) else "" for level in levels]
        return {
            "sample_size": self.side // 2 ** (len(self.autoencoder_multipliers) - 1),
            "in_channels": self.latent_channels, "out_channels": self.latent_channels, "layers_per_block": self.residual_blocks,
            "block_out_channels": tuple(self.model_channels * factor for factor in self.channel_multipliers),
            "down_block_types": tuple(f"{prefix}DownBlock2D" for prefix in prefixes),
            "up_block_types": tuple(f"{prefix}UpBlock2D" for prefix in reversed(prefixes)),
            "attention_head_dim": self.head_width, "norm_num_groups": self.norm_num_groups,
            "freq_shift": 0, "flip_sin_to_cos": True, "downsample_padding": 1,
        }  # fmt: skip

    def autoencoder(self) -> dict:
        """Arguments of VQModel. The latents are not scaled: diffusers' default of 0.18215 is meant for Stable Diffusion."""
        levels = len(self.autoencoder_multipliers)
        return {
            "sample_size": self.side, "latent_channels": self.latent_channels, "num_vq_embeddings": self.codes,
            "layers_per_block": self.autoencoder_blocks, "norm_num_groups": self.norm_num_groups, "scaling_factor": 1.0,
            "block_out_channels": tuple(self.autoencoder_channels * factor for factor in self.autoencoder_multipliers),
            "down_block_types": ("DownEncoderBlock2D",) * levels, "up_block_types": ("UpDecoderBlock2D",) * levels,
        }  # fmt: skip


def official_scheduler() -> DDIMScheduler:
    """Make the official DDIM sampler. Its time steps start at 1, and it ends at the first noise level of the training."""
    options = {"beta_schedule": "scaled_linear", "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}
    return DDIMScheduler(beta_start=0.0015, beta_end=0.0195, **options)


def latent_diffusion_from_official(weights: Weights, network: dict, choice: dict, base: Path | None, where: str) -> LDMPipeline:
    """Make a pipeline from the official weights (model.ckpt): denoiser, its average over training, and autoencoder.

    Args:
        weights: weights that read_checkpoint returns.
        network: fields of Network whose values differ from the defaults.
        choice: `averaged` is true to take the denoiser's average over training, as the official sampler does. It is false to
            take the weights at the end of training.
        base: not used, because the checkpoint holds everything.
        where: path of the file, for error messages.

    Raises:
        VidmemError: names, shapes or the noise schedule are of another model, or `network` has a key that is no field of
            Network.
    """
    sizes, scheduler = _sizes(network), official_scheduler()
    rest = {name: values for name, values in weights.items() if not name.startswith((UNET, AVERAGED, AUTOENCODER))}
    renamed(rest, (Renaming(SCHEDULE),), where)
    _check_schedule(rest, scheduler, where)
    denoiser = averaged(weights, where) if choice["averaged"] else under(UNET, weights)
    unet = filled(UNet2DModel, sizes.unet(), renamed(denoiser, unet_renamings(sizes), where), where)
    names = [Renaming(r"(quantize\.embedding\.weight)", (r"\1",)), *autoencoder_renamings(len(sizes.autoencoder_multipliers))]
    vqvae = filled(VQModel, sizes.autoencoder(), renamed(under(AUTOENCODER, weights), names, where), where)
    return LDMPipeline(vqvae=vqvae, unet=unet, scheduler=scheduler)


def _sizes(network: Mapping[str, Any]) -> Network:
    """Make the record of sizes from the keys that differ from the defaults; lists become tuples."""
    known = {field.name for field in fields(Network)}
    if unknown := sorted(set(network) - known):
        raise VidmemError(f"keys of {sorted(known)}", unknown, "checkpoint.network")
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in network.items()}
    return Network(**given)


def _check_schedule(rest: Weights, scheduler: DDIMScheduler, where: str) -> None:
    """Raise VidmemError if a checkpoint was trained at other noise levels than the scheduler has."""
    expected, found = scheduler.alphas_cumprod, rest.get("alphas_cumprod", scheduler.alphas_cumprod).float()
    if found.shape != expected.shape or not torch.allclose(found, expected, atol=1e-4):
        ends = f"{float(found[0]):.5g} to {float(found[-1]):.3g} in {len(found)} steps"
        wanted = f"{float(expected[0]):.5g} to {float(expected[-1]):.3g} in {len(expected)} steps"
        raise VidmemError(f"a share of the signal from {wanted}", ends, where, "another model of latent diffusion?")


def under(prefix: str, weights: Weights) -> Weights:
    """Select the weights whose names begin with a prefix, and remove the prefix from the names."""
    return {name.removeprefix(prefix): values for name, values in weights.items() if name.startswith(prefix)}


def averaged(weights: Weights, where: str) -> Weights:
    """The denoiser's average over training under the official names. The checkpoint stores it under names without dots.

    Raises:
        VidmemError: the average of at least one weight is missing.
    """
    found = under(AVERAGED, weights)
    names = {name: "diffusion_model" + name.replace(".", "") for name in under(UNET, weights)}
    if lacking := [name for name, dotless in names.items() if dotless not in found]:
        hint = "checkpoint: {variant: raw} takes the weights as training left them"
        raise VidmemError(
            "the average over training (model_ema)", f"none of {lacking[0]} and {len(lacking) - 1} more", where, hint
        )
    return {name: found[dotless] for name, dotless in names.items()}


def blocks(sizes: Network) -> Iterator[tuple[str, str, int]]:
    """Official name, diffusers name and level of every residual block, from the finest to the coarsest level and back."""
    number, depth, last = 1, sizes.residual_blocks, len(sizes.channel_multipliers) - 1
    for level in range(last + 1):
        for index in range(depth):
            yield f"input_blocks.{number}.0", f"down_blocks.{level}.resnets.{index}", level
            number += 1
        number += level < last  # the downsampling block has a number of its own
    yield "middle_block.0", "mid_block.resnets.0", last
    yield "middle_block.2", "mid_block.resnets.1", last
    for level in reversed(range(last + 1)):
        for index in range(depth + 1):
            place = (last - level) * (depth + 1) + index
            yield f"output_blocks.{place}.0", f"up_blocks.{last - level}.resnets.{index}", level


def unet_renamings(sizes: Network) -> list[Renaming]:
    """Rules that rename the weights of the official denoiser to the names of UNet2DModel."""
    found = [_same(official, ours) for official, ours in ENDS.items()]
    for official, ours, level in blocks(sizes):
        found += [_same(f"{official}.{part}", f"{ours}.{own}") for part, own in RESIDUAL.items()]
        if sizes.attends(level) and "mid_block" not in ours:
            found += _attention(f"{official.removesuffix('0')}1", ours.replace("resnets", "attentions"), sizes.head_width)
    found += _attention("middle_block.1", "mid_block.attentions.0", sizes.head_width)
    for level in range(len(sizes.channel_multipliers) - 1):
        shrinking = (level + 1) * (sizes.residual_blocks + 1)
        found.append(_same(f"input_blocks.{shrinking}.0.op", f"down_blocks.{level}.downsamplers.0.conv"))
        upper = len(sizes.channel_multipliers) - 2 - level  # levels on the way up are counted from the coarsest
        growing, place = (upper + 1) * (sizes.residual_blocks + 1) - 1, 2 if sizes.attends(level + 1) else 1
        found.append(_same(f"output_blocks.{growing}.{place}.conv", f"up_blocks.{upper}.upsamplers.0.conv"))
    return found


def _same(official: str, ours: str) -> Renaming:
    """Rule that gives the weight and bias of a layer another name."""
    return Renaming(official.replace(".", r"\.") + r"\.(weight|bias)", (rf"{ours}.\1",))


def _attention(official: str, ours: str, head_width: int) -> list[Renaming]:
    """Rules for one attention layer. The official tensor holds query, key and value of the first head, then of the next."""

    def apart(values: torch.Tensor) -> Sequence[torch.Tensor]:
        return [part.flatten(0, 1).clone() for part in values.flatten(1).unflatten(0, (-1, 3, head_width)).unbind(1)]

    def apart_bias(values: torch.Tensor) -> Sequence[torch.Tensor]:
        return [part.flatten().clone() for part in values.unflatten(0, (-1, 3, head_width)).unbind(1)]

    name = official.replace(".", r"\.")
    return [
        _same(f"{official}.norm", f"{ours}.group_norm"),
        Renaming(rf"{name}\.qkv\.weight", tuple(f"{ours}.to_{part}.weight" for part in "qkv"), apart),
        Renaming(rf"{name}\.qkv\.bias", tuple(f"{ours}.to_{part}.bias" for part in "qkv"), apart_bias),
        Renaming(rf"{name}\.proj_out\.weight", (f"{ours}.to_out.0.weight",), _flat),
        Renaming(rf"{name}\.proj_out\.bias", (f"{ours}.to_out.0.bias",)),
    ]


def _flat(values: torch.Tensor) -> list[torch.Tensor]:
    """Turn the kernel of a convolution of width one into the matrix of a linear layer."""
    return [values.flatten(1)]


def autoencoder_renamings(levels: int) -> list[Renaming]:
    """Rules that rename the weights of the official autoencoder (latent diffusion, VideoCrafter) to the names of diffusers.

    Args:
        levels: number of resolution levels. The official decoder counts them from the finest, diffusers from the coarsest.
    """
    side = "((?:en|de)coder)"
    found = [
        Renaming(r"((?:post_)?quant_conv\..+)", (r"\1",)),
        Renaming(rf"{side}\.norm_out\.(.+)", (r"\1.conv_norm_out.\2",)),
        Renaming(rf"{side}\.conv_(in|out)\.(.+)", (r"\1.conv_\2.\3",)),
        Renaming(rf"{side}\.mid\.block_1\.{RESNET}", (r"\1.mid_block.resnets.0.\2.\3",)),
        Renaming(rf"{side}\.mid\.block_2\.{RESNET}", (r"\1.mid_block.resnets.1.\2.\3",)),
        Renaming(rf"{side}\.mid\.attn_1\.norm\.(.+)", (r"\1.mid_block.attentions.0.group_norm.\2",)),
        Renaming(r"encoder\.down\.(\d+)\.downsample\.(.+)", (r"encoder.down_blocks.\1.downsamplers.0.\2",)),
    ]
    for official, ours in (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0")):
        own = rf"\1.mid_block.attentions.0.{ours}"
        found.append(Renaming(rf"{side}\.mid\.attn_1\.{official}\.weight", (f"{own}.weight",), _flat))
        found.append(Renaming(rf"{side}\.mid\.attn_1\.{official}\.bias", (f"{own}.bias",)))
    for level in range(levels):
        upper = f"decoder.up_blocks.{levels - 1 - level}"
        found += _level_renamings(rf"encoder\.down\.{level}", f"encoder.down_blocks.{level}")
        found += _level_renamings(rf"decoder\.up\.{level}", upper)
        found.append(Renaming(rf"decoder\.up\.{level}\.upsample\.(.+)", (rf"{upper}.upsamplers.0.\1",)))
    return found


def _level_renamings(official: str, ours: str) -> list[Renaming]:
    """Rules for the residual blocks of one level of the autoencoder."""
    return [
        Renaming(rf"{official}\.block\.(\d+)\.{RESNET}", (rf"{ours}.resnets.\1.\2.\3",)),
        Renaming(rf"{official}\.block\.(\d+)\.nin_shortcut\.(.+)", (rf"{ours}.resnets.\1.conv_shortcut.\2",)),
    ]

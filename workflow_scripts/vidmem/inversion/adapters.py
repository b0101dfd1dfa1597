"""A common interface to diffusion models for an inversion: encode a target, predict on many latents at once, decode samples.

The user's pipeline stays as it is. Weights are frozen, and modules are in evaluation mode, only while an inversion runs. Each
sampler is a new scheduler, built from the configuration of the pipeline's scheduler.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from inspect import signature
from typing import Any

import diffusers
import numpy as np
import torch

from ..errors import VidmemError
from ..models.loading import other_scheduler
from ..models.noising import path_of
from .even_ddim import EvenDDIMScheduler

Text = dict[str, torch.Tensor]
"""Keyword arguments with which a network receives embedded prompts, [N, ...] each; empty for unconditional models."""


class InvertibleModel:
    """A diffusers pipeline that can be inverted: U-Net or transformer, pixels or latents, images or video, text or none.

    Args:
        pipeline: pipeline of diffusers.
        size: (height, width) of its pictures in pixels; None for the size that its network was trained at.
        frames: frames of a clip; 1 for a model of images.

    Attributes:
        path: how the pipeline's scheduler adds noise: a DiffusionPath or a FlowPath.
        shape: shape of one sample, such as (3, 32, 32), (4, 64, 64) or (channels, frames, height, width).
        size: (height, width) of its pictures in pixels.
        video: whether samples have a time axis.
        prompted: whether the pipeline takes a prompt.
    """

    def __init__(self, pipeline: diffusers.DiffusionPipeline, size: tuple[int, int] | None = None, frames: int = 1):
        self.pipeline = pipeline
        self.network: Any = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
        if self.network is None:
            raise VidmemError("a pipeline with a unet or a transformer", type(pipeline).__name__, "inversion")
        _check_known(pipeline, self.network)
        self.autoencoder: Any = getattr(pipeline, "vae", None) or getattr(pipeline, "vqvae", None)
        self.tokenizer: Any = getattr(pipeline, "tokenizer", None)
        self.encoder: Any = getattr(pipeline, "text_encoder", None)
        self.prompted = self.encoder is not None
        self.video = type(self.network).__name__ == "UNet3DConditionModel"
        self.path = path_of(pipeline.scheduler, self.device)
        config = self.network.config
        factor = 1 if self.autoencoder is None else 2 ** (len(self.autoencoder.config.block_out_channels) - 1)
        side = config.sample_size if isinstance(config.sample_size, (tuple, list)) else (config.sample_size,) * 2
        grid = tuple(side) if size is None else (size[0] // factor, size[1] // factor)
        self.size = (grid[0] * factor, grid[1] * factor)
        self.shape = (config.in_channels, frames, *grid) if self.video else (config.in_channels, *grid)
        check_weights(pipeline)

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the network's weights."""
        return next(self.network.parameters()).dtype

    def encode(self, frames: np.ndarray) -> torch.Tensor:
        """Encode frames uint8 [T, H, W, 3] as a clean sample float32 [*shape]: the mode of the posterior for a latent model."""
        expected = (self.shape[1] if self.video else 1, *self.size, 3)
        if frames.shape != expected or frames.dtype != np.uint8:
            raise VidmemError(f"a target uint8 {expected}", f"{frames.dtype} {frames.shape}", "InvertibleModel.encode")
        images = torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2).to(self.device, self.dtype) / 127.5 - 1
        with torch.no_grad():
            latents = images if self.autoencoder is None else self._latents(images)
        return latents.float().transpose(0, 1) if self.video else latents[0].float()

    def _latents(self, images: torch.Tensor) -> torch.Tensor:
        coded, (scale, shift) = self.autoencoder.encode(images), self._scaling()
        latents = coded.latent_dist.mode() if hasattr(coded, "latent_dist") else coded.latents
        return (latents - shift) * scale

    def _scaling(self) -> tuple[float, float]:
        config = self.autoencoder.config
        return float(config.get("scaling_factor") or 1.0), float(config.get("shift_factor") or 0.0)

    def decode(self, samples: torch.Tensor) -> np.ndarray:
        """Decode samples [N, *shape] to frames uint8 [N, T, H, W, 3]; T is 1 for images."""
        flat = (samples.transpose(1, 2).flatten(0, 1) if self.video else samples).to(self.dtype)
        if self.autoencoder is not None:
            scale, shift = self._scaling()
            flat = self.autoencoder.decode(flat / scale + shift).sample
        pictures = ((flat.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
        return pictures.unflatten(0, (len(samples), -1)).cpu().numpy()

    def predict(self, noisy: torch.Tensor, times: torch.Tensor, text: Text) -> torch.Tensor:
        """Output of the network, float32 [N, *shape].

        Args:
            noisy: noisy samples [N, *shape].
            times: times [N] on the network's own scale, as path.network_time gives them.
            text: embedded prompts, one for each sample.
        """
        noisy = noisy.to(self.dtype)
        if self.video and not text:
            text = {"encoder_hidden_states": noisy.new_zeros(len(noisy), 1, self.network.config.cross_attention_dim)}
        told = {name: value.to(self.dtype) for name, value in text.items()}
        return self.network(noisy, timestep=times, **told).sample.float()

    def scheduler(self, name: str, steps: int) -> diffusers.SchedulerMixin:
        """New sampler, built from the configuration of the pipeline's scheduler, with its time steps set.

        Args:
            name: scheduler class of diffusers; 'DDIMScheduler' and 'FlowMatchEulerDiscreteScheduler' are deterministic.
            steps: number of network evaluations.
        """
        kind = EvenDDIMScheduler if name == "DDIMScheduler" else getattr(diffusers, name, None)
        if kind is None or not hasattr(kind, "from_config"):
            raise VidmemError("a scheduler class of diffusers", name, "inversion.sampler")
        wanted = {"timestep_spacing": "trailing", "clip_sample": False, "thresholding": False, "set_alpha_to_one": True}
        options = {key: value for key, value in wanted.items() if key in signature(kind.__init__).parameters}
        sampler = other_scheduler(self.pipeline.scheduler, kind, **options)
        sampler.set_timesteps(steps, device=self.device)
        return sampler

    def embed(self, prompts: list[str]) -> Text:
        """Embed prompts as the pipeline itself does; {} for unconditional models."""
        if not self.prompted:
            return {}
        with torch.no_grad():
            if getattr(self.pipeline, "text_encoder_2", None) is not None:
                embedded, _, pooled, _ = self.pipeline.encode_prompt(
                    prompts, prompts, prompts, device=self.device, do_classifier_free_guidance=False
                )
                return {"encoder_hidden_states": embedded, "pooled_projections": pooled}
            tokens = self._tokens(prompts)
            return {"encoder_hidden_states": self.encoder(tokens).last_hidden_state}

    def embed_soft(self, words: torch.Tensor) -> Text:
        """Embed soft prompts, with gradient.

        Args:
            words: float [N, L - 2, V], for every place between the first and the last token of the empty prompt a distribution
                over the vocabulary.
        """
        if not self.soft:
            raise VidmemError("one CLIP text encoder", type(self.pipeline).__name__, "inversion mode prompt", "mode caption")
        table = self.encoder.get_input_embeddings()
        empty = self._empty
        fixed = table(empty).expand(len(words), -1, -1)
        embedded = torch.cat([fixed[:, :1], words.to(fixed.dtype) @ table.weight, fixed[:, -1:]], dim=1)
        # The encoder takes token numbers only. So a hook on the token table replaces its output by the soft embeddings.
        handle = table.register_forward_hook(lambda module, given, output: embedded)
        try:
            return {"encoder_hidden_states": self.encoder(empty.expand(len(words), -1)).last_hidden_state}
        finally:
            handle.remove()

    def _tokens(self, prompts: list[str]) -> torch.Tensor:
        length = self.tokenizer.model_max_length
        tokens = self.tokenizer(prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        return tokens.input_ids.to(self.device)

    @cached_property
    def _empty(self) -> torch.Tensor:
        return self._tokens([""])

    @property
    def soft(self) -> bool:
        """Whether a prompt can be optimised: the pipeline has exactly one text encoder."""
        return self.prompted and getattr(self.pipeline, "text_encoder_2", None) is None

    @property
    def vocabulary(self) -> int:
        """Number of tokens that the text encoder knows."""
        return len(self.encoder.get_input_embeddings().weight)

    @property
    def places(self) -> int:
        """Number of places of a prompt that can be optimised: all but the first and the last token."""
        return self.tokenizer.model_max_length - 2


KNOWN = ("UNet2DModel", "UNet2DConditionModel", "UNet3DConditionModel", "SD3Transformer2DModel")


def _check_known(pipeline: diffusers.DiffusionPipeline, network: torch.nn.Module) -> None:
    """Raise VidmemError for networks whose conditioning or shape this adapter does not know."""
    name, two = type(network).__name__, getattr(pipeline, "text_encoder_2", None) is not None
    own = not isinstance(network, diffusers.ModelMixin)  # the caller's own network, which must behave like UNet2DModel
    if not own and (name not in KNOWN or (two and name != "SD3Transformer2DModel")):
        got = f"{type(pipeline).__name__} with {name}"
        raise VidmemError(f"a pipeline with one of {KNOWN}, two text encoders only with SD3's", got, "inversion")


def check_weights(pipeline: diffusers.DiffusionPipeline) -> None:
    """Raise VidmemError if a weight is NaN or infinite: every score would then be, too."""
    for name, module in pipeline.components.items():
        if isinstance(module, torch.nn.Module):
            bad = [key for key, value in module.named_parameters() if not torch.isfinite(value).all()]
            if bad:
                raise VidmemError(
                    "finite weights", f"{len(bad)} tensors with NaN or infinity, e.g. {name}.{bad[0]}", "inversion"
                )


@contextmanager
def full_precision() -> Iterator[None]:
    """Make GPUs multiply float32 in full precision, not as TF32, inside the block."""
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = False
        yield
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed

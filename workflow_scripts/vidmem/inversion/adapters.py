"""Diffusion models as an inversion sees them: encode a target, predict on many latents at once, sample, decode.

The user's pipeline is not changed: weights are frozen and modules put into evaluation mode only while an inversion runs,
schedulers are built anew from its configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from inspect import signature

import diffusers
import numpy as np
import torch

from ..errors import VidmemError
from .objective import path_of

Text = dict[str, torch.Tensor]
"""What a network is told of a prompt: its keyword arguments, each [N, ...]; empty for unconditional models."""


class InvertibleModel:
    """A diffusers pipeline with a U-Net or a transformer, in pixels or latents, of images or video, with text or without.

    Attributes:
        path: noising of its scheduler.
        shape: of one sample, e.g. (3, 32, 32), (4, 64, 64) or (channels, frames, height, width).
        size: (height, width) of its pictures.
        video: samples have a time axis.
        prompted: whether it takes a prompt.
    """

    def __init__(self, pipeline, size: tuple[int, int] | None = None, frames: int = 1):
        self.pipeline = pipeline
        self.network = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
        if self.network is None:
            raise VidmemError("a pipeline with a unet or a transformer", type(pipeline).__name__, "inversion")
        _check_known(pipeline, self.network)
        self.autoencoder = getattr(pipeline, "vae", None) or getattr(pipeline, "vqvae", None)
        self.tokenizer, self.encoder = getattr(pipeline, "tokenizer", None), getattr(pipeline, "text_encoder", None)
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
        """Where the network is."""
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the network's weights."""
        return next(self.network.parameters()).dtype

    def encode(self, frames: np.ndarray) -> torch.Tensor:
        """Target float32 [*shape] of uint8 [T, H, W, 3]; of a latent model the mode of the posterior."""
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
        """Frames uint8 [N, T, H, W, 3] of samples [N, *shape]; T is 1 for images."""
        flat = (samples.transpose(1, 2).flatten(0, 1) if self.video else samples).to(self.dtype)
        if self.autoencoder is not None:
            scale, shift = self._scaling()
            flat = self.autoencoder.decode(flat / scale + shift).sample
        pictures = ((flat.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
        return pictures.unflatten(0, (len(samples), -1)).cpu().numpy()

    def predict(self, noisy: torch.Tensor, times: torch.Tensor, text: Text) -> torch.Tensor:
        """Output of the network, float32 [N, *shape], at the network's own times [N] (path.network_time)."""
        noisy = noisy.to(self.dtype)
        if self.video and not text:
            text = {"encoder_hidden_states": noisy.new_zeros(len(noisy), 1, self.network.config.cross_attention_dim)}
        told = {name: value.to(self.dtype) for name, value in text.items()}
        return self.network(noisy, timestep=times, **told).sample.float()

    def scheduler(self, name: str, steps: int):
        """Sampler built from the configuration of the pipeline's scheduler, its time steps set.

        Args:
            name: scheduler class of diffusers; 'DDIMScheduler' and 'FlowMatchEulerDiscreteScheduler' are deterministic.
            steps: network evaluations.
        """
        kind = getattr(diffusers, name, None)
        if kind is None or not hasattr(kind, "from_config"):
            raise VidmemError("a scheduler class of diffusers", name, "inversion.sampler")
        wanted = {"timestep_spacing": "trailing", "clip_sample": False, "thresholding": False, "set_alpha_to_one": True}
        options = {key: value for key, value in wanted.items() if key in signature(kind.__init__).parameters}
        sampler = kind.from_config(self.pipeline.scheduler.config, **options)
        sampler.set_timesteps(steps, device=self.device)
        return sampler

    def embed(self, prompts: list[str]) -> Text:
        """What the network is told of prompts, as the pipeline itself would; {} for unconditional models."""
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
        """What the network is told of soft prompts, with gradient.

        Args:
            words: float [N, L - 2, V], a distribution over the vocabulary for every place between the first and the last
                token of the empty prompt.
        """
        if not self.soft:
            raise VidmemError("one CLIP text encoder", type(self.pipeline).__name__, "inversion mode prompt", "mode caption")
        table = self.encoder.get_input_embeddings()
        empty = self._empty
        fixed = table(empty).expand(len(words), -1, -1)
        embedded = torch.cat([fixed[:, :1], words.to(fixed.dtype) @ table.weight, fixed[:, -1:]], dim=1)
        # The token table is answered for by a hook: the encoder has no other door for embeddings.
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
        """Whether a prompt can be optimised: one text encoder with a token table."""
        return self.prompted and getattr(self.pipeline, "text_encoder_2", None) is None

    @property
    def vocabulary(self) -> int:
        """Tokens of the text encoder."""
        return len(self.encoder.get_input_embeddings().weight)

    @property
    def places(self) -> int:
        """Places of a prompt that can be optimised."""
        return self.tokenizer.model_max_length - 2


KNOWN = ("UNet2DModel", "UNet2DConditionModel", "UNet3DConditionModel", "SD3Transformer2DModel")


def _check_known(pipeline, network) -> None:
    """Raise VidmemError for networks whose conditioning or shape this adapter does not know."""
    name, two = type(network).__name__, getattr(pipeline, "text_encoder_2", None) is not None
    ours = not isinstance(network, diffusers.ModelMixin)  # a network of the caller's own, with the contract of UNet2DModel
    if not ours and (name not in KNOWN or (two and name != "SD3Transformer2DModel")):
        got = f"{type(pipeline).__name__} with {name}"
        raise VidmemError(f"a pipeline with one of {KNOWN}, two text encoders only with SD3's", got, "inversion")


def check_weights(pipeline) -> None:
    """Raise VidmemError if a weight is not finite: every score would be."""
    for name, module in pipeline.components.items():
        if isinstance(module, torch.nn.Module):
            bad = [key for key, value in module.named_parameters() if not torch.isfinite(value).all()]
            if bad:
                raise VidmemError(
                    "finite weights", f"{len(bad)} tensors with NaN or infinity, e.g. {name}.{bad[0]}", "inversion"
                )


@contextmanager
def full_precision() -> Iterator[None]:
    """GPUs multiply float32 as float32, not as TF32."""
    parts = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [part.allow_tf32 for part in parts]
    try:
        for part in parts:
            part.allow_tf32 = False
        yield
    finally:
        for part, allowed in zip(parts, before, strict=True):
            part.allow_tf32 = allowed


@contextmanager
def frozen(pipeline) -> Iterator[None]:
    """Every module in evaluation mode and without weight gradients; both are given back afterwards."""
    modules = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    flags = [(value, value.requires_grad) for module in modules for value in module.parameters()]
    training = [(part, part.training) for module in modules for part in module.modules()]
    try:
        for module in modules:
            module.eval().requires_grad_(False)
        yield
    finally:
        for value, flag in flags:
            value.requires_grad_(flag)
        for part, mode in training:
            part.training = mode

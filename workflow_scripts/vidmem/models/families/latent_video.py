"""Base class of our text-to-video pipelines: prompts, latents, classifier-free guidance in one call, decoding by frames."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, ModelMixin, SchedulerMixin
from diffusers.utils.torch_utils import randn_tensor
from diffusers.video_processor import VideoProcessor
from transformers import CLIPTextModel, CLIPTokenizer

from ...errors import VidmemError
from .reference import VideoOutput
from .whole import load_whole

Prompt: TypeAlias = str | Sequence[str] | None
Generators: TypeAlias = torch.Generator | list[torch.Generator] | None
DECODED = 4
"""Number of frames that are decoded in one call. The decoder treats every frame alone, so this number changes no pixel."""


class LatentVideoPipeline(DiffusionPipeline):
    """A video U-Net in the latents of an image autoencoder, guided by a CLIP text encoder.

    Attributes:
        side: height and width must be multiples of this number of pixels.
        READING: options of the tokenizer, as the authors' code reads prompts.
    """

    READING: ClassVar[dict[str, Any]] = {}
    model_cpu_offload_seq = "text_encoder->unet->vae"

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: ModelMixin,
        scheduler: SchedulerMixin,
    ) -> None:
        super().__init__()
        self.register_modules(vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, scheduler=scheduler)
        self.vae_scale_factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        self.video_processor = VideoProcessor(do_resize=False, vae_scale_factor=self.vae_scale_factor)

    @property
    def side(self) -> int:
        """Number of pixels that height and width must be multiples of."""
        return self.vae_scale_factor

    def cleaned(self, prompt: str) -> str:
        """A prompt as the authors' code cleans it before it is cut into tokens."""
        return prompt

    def encode_prompt(self, prompts: Sequence[str]) -> torch.Tensor:
        """Last hidden states of the text encoder, float [N, tokens, width]; prompts are cut at the tokenizer's length."""
        options = {"padding": "max_length", "max_length": self.tokenizer.model_max_length, "truncation": True}
        given = self.tokenizer([self.cleaned(prompt) for prompt in prompts], return_tensors="pt", **options, **self.READING)
        return self.text_encoder(given.input_ids.to(self._execution_device))[0]

    def _branches(
        self, prompt: Prompt, negative_prompt: Prompt, prompt_embeds: torch.Tensor | None, guided: bool
    ) -> torch.Tensor:
        """Text embeddings of a call: first of the negative prompts, then of the prompts. Without guidance, only the latter.

        Raises:
            VidmemError: neither a prompt nor its embedding is given.
        """
        if prompt_embeds is None:
            if prompt is None:
                raise VidmemError("a prompt or prompt_embeds", "neither", f"call of {type(self).__name__}")
            prompt_embeds = self.encode_prompt([prompt] if isinstance(prompt, str) else prompt)
        text = prompt_embeds.to(self._execution_device, self.unet.dtype)
        if not guided:
            return text
        without = [negative_prompt] if isinstance(negative_prompt, str) else negative_prompt or [""] * len(text)
        return torch.cat([self.encode_prompt(without).to(text), text])

    def _noise(self, count: int, frames: int, height: int, width: int, generator: Generators) -> torch.Tensor:
        """Initial noise [count, channels, frames, h, w] for videos of a size in pixels."""
        if height % self.side or width % self.side:
            raise VidmemError(f"height and width in multiples of {self.side}", (height, width), "models.<name>.size")
        grid = height // self.vae_scale_factor, width // self.vae_scale_factor
        shape = (count, self.unet.config.in_channels, frames, *grid)
        return randn_tensor(shape, generator=generator, device=self._execution_device, dtype=self.unet.dtype)

    def _denoise(
        self, latents: torch.Tensor, text: torch.Tensor, steps: int, scale: float, told: dict, options: dict
    ) -> torch.Tensor:
        """Denoise latents [N, C, T, h, w] and return clean latents in that shape.

        Args:
            text: embeddings of both guidance branches, or of the prompts alone.
            told: further arguments of the network beside time and text.
            options: arguments of the scheduler's step; arguments that it does not accept are dropped.
        """
        self.scheduler.set_timesteps(steps, device=self._execution_device)
        latents = latents * self.scheduler.init_noise_sigma
        known = set(signature(self.scheduler.step).parameters)
        options = {name: value for name, value in options.items() if name in known}
        copies = len(text) // len(latents)
        for time in self.progress_bar(self.scheduler.timesteps):
            sample = self.scheduler.scale_model_input(torch.cat([latents] * copies), time)
            prediction = self.unet(sample, time, encoder_hidden_states=text, **told).sample
            if copies == 2:
                without, given = prediction.chunk(2)
                prediction = without + scale * (given - without)
            latents = self.scheduler.step(prediction, time, latents, **options).prev_sample
        return latents

    def _frames(self, latents: torch.Tensor, output_type: str) -> torch.Tensor | np.ndarray | list:
        """Decode latents [N, C, T, h, w] to frames in the form that `output_type` names."""
        flat = (latents.transpose(1, 2).flatten(0, 1) / self.vae.config.scaling_factor).to(self.vae.dtype)
        images = torch.cat([self.vae.decode(part).sample for part in flat.split(DECODED)])
        videos = images.unflatten(0, (len(latents), -1)).transpose(1, 2)
        return self.video_processor.postprocess_video(videos.float(), output_type=output_type)

    def _generate(
        self, prompt: Prompt, negative_prompt: Prompt, prompt_embeds: torch.Tensor | None, shape: tuple[int, int, int],
        steps: int, scale: float, told: dict, options: dict, output_type: str, return_dict: bool,
    ) -> VideoOutput | tuple:  # fmt: skip
        """Run a whole call of the pipeline; `shape` is (frames, height, width)."""
        text = self._branches(prompt, negative_prompt, prompt_embeds, scale > 1)
        count = len(text) // 2 if scale > 1 else len(text)
        latents = self._noise(count, *shape, options["generator"])
        latents = self._denoise(latents, text, steps, scale, told, options)
        frames = self._frames(latents, output_type)
        self.maybe_free_model_hooks()
        return VideoOutput(frames=frames) if return_dict else (frames,)


def base_parts(base: Path | str) -> dict[str, Any]:
    """Load autoencoder, text encoder and tokenizer of a saved Stable Diffusion, by component name.

    Args:
        base: folder with vae/, text_encoder/ and tokenizer/.

    Raises:
        VidmemError: one of the three is missing or incomplete.
    """
    classes = {"vae": AutoencoderKL, "text_encoder": CLIPTextModel, "tokenizer": CLIPTokenizer}
    expected = "{} of a saved Stable Diffusion (checkpoint.base)"
    return {name: load_whole(partial(_part, cls, name), str(base), expected.format(name)) for name, cls in classes.items()}


def _part(cls: Any, name: str, base: str) -> Any:
    """Load one component with its class."""
    # from_pretrained is looked up only here, because load_whole replaces it meanwhile to learn which weights are missing.
    options = {"use_safetensors": True} if issubclass(cls, torch.nn.Module) else {}
    return cls.from_pretrained(base, subfolder=name, local_files_only=True, **options)

"""Which sizes, numbers of frames and arguments a loaded pipeline takes, checked before anything is generated."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

from ..errors import VidmemError
from ..models.loading import GenerationSpec
from ..models.signatures import FRAMES, check_arguments

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline, ModelMixin

SPATIAL = ("vae_scale_factor_spatial", "vae_spatial_compression_ratio", "vae_spatial_scale_factor", "vae_scale_factor")
"""Names of pipelines' attributes for the pixels per latent, along each side."""
TEMPORAL = ("vae_scale_factor_temporal", "vae_temporal_compression_ratio", "vae_temporal_scale_factor")
"""Names of pipelines' attributes for the frames per latent."""
TEXT_OF_ONE = {"LattePipeline": "it cuts the text of one prompt to its tokens, and that of several to none"}
"""Pipelines that treat one prompt differently from several. They get one prompt per call: no sample depends on its batch."""


def check_request(pipeline: DiffusionPipeline, spec: GenerationSpec) -> None:
    """Raise VidmemError if a pipeline cannot make what is asked for, or does not take an argument."""
    accepted = signature(type(pipeline).__call__).parameters
    if "generator" not in accepted:  # a pipeline from a repository's own code may take anything
        got, hint = (
            ", ".join(list(accepted)[1:]),
            "name it in the call's signature: the noise of a sample comes from its generator",
        )
        raise VidmemError("a call that takes a generator", got, f"models.pipeline: {spec.pipeline}", hint)
    check_size(pipeline, spec, "height" in accepted)
    check_frames(pipeline, spec, any(name in accepted for name in FRAMES))
    check_first_frame(spec, accepted)
    check_arguments(spec.pipeline, spec.arguments, accepted)


def check_size(pipeline: DiffusionPipeline, spec: GenerationSpec, free: bool) -> None:
    """Check height and width against the pixels per latent and per patch.

    Args:
        free: whether the pipeline takes a size. If not, its network fixes the size.

    Raises:
        VidmemError: a size that the pipeline does not make.
    """
    network, pixels = _network(pipeline), pixels_of_latent(pipeline)
    where, patch = "models.<name>.size", network.config.get("patch_size", 1) or 1
    if not free:
        side = network.config.get("sample_size")
        made = tuple(value * pixels for value in (side if isinstance(side, (tuple, list)) else (side, side)))
        if made != tuple(spec.size):
            raise VidmemError(f"size: {list(made)}, all that this {spec.pipeline} makes", list(spec.size), where)
        return
    unit = pixels * (patch if isinstance(patch, int) else patch[-1])
    if any(side % unit for side in spec.size):
        near = [max(unit, round(side / unit) * unit) for side in spec.size]
        raise VidmemError(
            f"height and width in multiples of {unit} for this {spec.pipeline}", list(spec.size), where, f"{near}"
        )


def check_frames(pipeline: DiffusionPipeline, spec: GenerationSpec, free: bool) -> None:
    """Check the number of frames against the frames per latent and the positions of the network.

    Args:
        free: whether the pipeline takes a number of frames. If not, nothing is checked.

    Raises:
        VidmemError: a number of frames that the pipeline does not make.
    """
    if not free:
        return
    where, config = "models.<name>.frames", _network(pipeline).config
    unit = next((getattr(pipeline, name) for name in TEMPORAL if hasattr(pipeline, name)), 1)
    if (spec.frames - 1) % unit:
        below = (spec.frames - 1) // unit * unit + 1
        raise VidmemError(f"{unit} n + 1 frames for this {spec.pipeline}", spec.frames, where, f"{below} or {below + unit}")
    only, most = config.get("video_length"), config.get("motion_max_seq_length")
    if (only and spec.frames != only) or (most and spec.frames > most):
        expected = f"{only} frames" if only else f"at most {most} frames"
        raise VidmemError(f"{expected} for this {spec.pipeline}", spec.frames, where, "its network has positions for no others")


def check_first_frame(spec: GenerationSpec, accepted: Mapping[str, Parameter]) -> None:
    """Raise VidmemError unless a first frame is given exactly to a pipeline that starts from an image.

    Args:
        spec: what is asked for.
        accepted: parameters of the pipeline's call by name.
    """
    where = "models.<name>.first_frame"
    if spec.first_frame and "image" not in accepted:
        raise VidmemError("no first frame for a pipeline that takes no image", spec.first_frame, where)
    if not spec.first_frame and "image" in accepted and accepted["image"].default is Parameter.empty:
        hint = "target: each clip starts from the first frame of its prompt's target"
        raise VidmemError(f"a first frame: {spec.pipeline} starts from an image", "none", where, hint)


def cut_prompt(pipeline: DiffusionPipeline, spec: GenerationSpec, prompt: str) -> str:
    """Which tokenizers cut a prompt, and how many of its tokens they take; '' if all tokens are taken."""
    parameter = signature(type(pipeline).__call__).parameters.get("max_sequence_length")
    asked = spec.arguments.get("max_sequence_length", parameter.default if parameter else None)
    told = []
    for name, tokenizer in sorted(pipeline.components.items()):
        if name.startswith("tokenizer") and tokenizer is not None and prompt:
            by_call = isinstance(asked, int) and "T5" in type(tokenizer).__name__
            limits = [tokenizer.model_max_length, *([asked] if by_call else [])]
            count = len(tokenizer(prompt, truncation=False, verbose=False).input_ids)
            told += [f"{name} took {min(limits)} of {count} tokens"] * (count > min(limits))
    return "; ".join(told)


def why_alone(pipeline: DiffusionPipeline, spec: GenerationSpec) -> str:
    """Why several samples in one call would depend on each other; '' if they would not."""
    chunk: Any = spec.arguments.get("decode_chunk_size")
    if chunk and spec.frames % chunk and type(getattr(pipeline, "vae", None)).__name__ == "AutoencoderKLTemporalDecoder":
        return f"chunks of decode_chunk_size = {chunk} frames would reach from one clip of {spec.frames} into the next"
    return TEXT_OF_ONE.get(spec.pipeline, "")


def pixels_of_latent(pipeline: DiffusionPipeline) -> int:
    """Pixels per latent along each side; 1 for pipelines that work on pixels."""
    told = next((getattr(pipeline, name) for name in SPATIAL if hasattr(pipeline, name)), None)
    autoencoder = getattr(pipeline, "vqvae", None)
    return told or (1 if autoencoder is None else 2 ** (len(autoencoder.config.block_out_channels) - 1))


def _network(pipeline: DiffusionPipeline) -> ModelMixin:
    """The first denoiser of a pipeline."""
    return next(part for part in (getattr(pipeline, name, None) for name in ("unet", "transformer", "transformer_2")) if part)

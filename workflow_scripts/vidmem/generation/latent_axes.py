"""Axes of the latents that a denoiser takes and of the prediction that it makes, for every denoiser class of diffusers.

Axes are named by letters: b batch, c channels, t time, h height, w width, n packed tokens.
"""

from __future__ import annotations

import torch

from ..models.families.records import FAMILIES

LATENT_AXES = {
    "bcthw": (
        "AllegroTransformer3DModel", "ChronoEditTransformer3DModel", "CosmosTransformer3DModel",
        "EasyAnimateTransformer3DModel", "HeliosTransformer3DModel",
        "HunyuanVideo15Transformer3DModel", "HunyuanVideoFramepackTransformer3DModel", "HunyuanVideoTransformer3DModel",
        "I2VGenXLUNet", "LatteTransformer3DModel", "MochiTransformer3DModel", "MotifVideoTransformer3DModel",
        "SanaVideoTransformer3DModel", "SanaWMTransformer3DModel", "SkyReelsV2Transformer3DModel", "UNet3DConditionModel",
        "UNetMotionModel", "WanAnimateTransformer3DModel", "WanTransformer3DModel", "WanVACETransformer3DModel",
    ),
    "btchw": (
        "AnyFlowFARTransformer3DModel", "AnyFlowTransformer3DModel", "CogVideoXTransformer3DModel",
        "ConsisIDTransformer3DModel", "UNetSpatioTemporalConditionModel",
    ),
    "bthwc": ("Kandinsky5Transformer3DModel", "Kandinsky6SRTransformer3DModel", "Kandinsky6Transformer3DModel"),
}  # fmt: skip
"""Axes of video latents -> class names of the denoisers of diffusers 0.42.1 that have these axes."""


def known_latent_axes() -> dict[str, tuple[str, ...]]:
    """Axes of video latents -> class names of the denoisers with these axes, in diffusers and in our model families."""
    own = [pair for family in FAMILIES.values() for pair in family.latent_axes.items()]
    return {axes: names + tuple(name for name, known in own if known == axes) for axes, names in LATENT_AXES.items()}


def latent_axes_of(module: torch.nn.Module, latents: torch.Tensor, prediction: torch.Tensor) -> str | None:
    """Axes of the latents and of the prediction of a denoiser.

    If known_latent_axes does not name the class, its numbers of channels decide. A network without a configuration is the
    caller's own and must have the axes of UNet3DConditionModel.

    Returns:
        'bnc' for packed tokens, 'bchw' for images, a key of LATENT_AXES for video; None if no axes or several fit.
    """
    config, kinds = getattr(module, "config", None), {kind.__name__ for kind in type(module).__mro__}
    known = [axes for axes, names in known_latent_axes().items() if kinds.intersection(names)]
    if latents.ndim == prediction.ndim == 5 and (known or config is None):
        return known[0] if known else "bcthw"
    taken = getattr(config, "in_channels", None)
    return latent_axes_by_channels((latents, taken), (prediction, getattr(config, "out_channels", None) or taken))


def latent_axes_by_channels(*sides: tuple[torch.Tensor, int | None]) -> str | None:
    """Axes that fit all tensors with their numbers of channels; None if no axes or several fit."""
    ranks = {values.ndim for values, _ in sides}
    if ranks != {5}:
        return {3: "bnc", 4: "bchw"}.get(ranks.pop()) if len(ranks) == 1 else None
    fitting = [axes for axes in LATENT_AXES if all(values.shape[axes.index("c")] == count for values, count in sides)]
    return fitting[0] if len(fitting) == 1 else None


def common_channels(
    latents: torch.Tensor, unconditional: torch.Tensor, conditional: torch.Tensor, axis: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cut latents and predictions to the channels that correspond to each other.

    If a prediction has twice the channels of the latents, the second half is a learned variance (PixArt-alpha, Latte,
    HunyuanDiT). If latents have more channels than the prediction, the last channels are conditioning (Stable Video Diffusion,
    HunyuanVideo-1.5).

    Args:
        axis: index of the axis of channels.
    """
    taken, made = latents.shape[axis], conditional.shape[axis]
    if made == 2 * taken:
        return latents, unconditional.narrow(axis, 0, taken), conditional.narrow(axis, 0, taken)
    return latents.narrow(axis, 0, min(taken, made)), unconditional, conditional


def frames_first(
    values: torch.Tensor, channels: int | None, frames: int | None = None, axes: str | None = None
) -> torch.Tensor | None:
    """Latents or a prediction as [B, frames, values]. The channels of one place are next to each other.

    Args:
        values: tensor of a video, an image or packed tokens.
        channels: number of channels, from which the axes of a video are found if `axes` is not given.
        frames: number of frames of packed tokens, which come frame by frame. Without it, they count as one frame.
        axes: axes that latent_axes_of returns.

    Returns:
        The tensor with these three axes; None if its own axes are not known.
    """
    axes = axes or latent_axes_by_channels((values, channels))
    if axes == "bnc":
        known = frames if frames and values.shape[1] % frames == 0 else 1
        return values.reshape(len(values), known, -1)
    if axes == "bchw":
        return values.movedim(1, -1).flatten(1)[:, None]
    return None if axes is None else values.permute(_places(axes)).flatten(2)


def as_given(values: torch.Tensor, shape: tuple[int, ...], axes: str) -> torch.Tensor:
    """Undo frames_first: give values their original shape and axes.

    Args:
        values: tensor [B, frames, values].
        shape: shape of the original tensor.
        axes: axes of the original tensor.
    """
    if axes == "bnc":
        return values.reshape(shape)
    if axes == "bchw":
        batch, channels, height, width = shape
        return values.reshape(batch, height, width, channels).movedim(-1, 1)
    places = _places(axes)
    return values.reshape([shape[place] for place in places]).permute([places.index(axis) for axis in range(5)])


def _places(axes: str) -> list[int]:
    """Positions of the axes batch, time, height, width and channels."""
    return [axes.index(axis) for axis in "bthwc"]


def grid_of(shape: tuple[int, ...], axes: str) -> tuple[int, int] | None:
    """Height and width of a frame in latent pixels; None for packed tokens."""
    return None if axes == "bnc" else (shape[axes.index("h")], shape[axes.index("w")])

"""Axes of what a denoiser is given and makes: one room for every class of diffusers that makes video, images or tokens."""

from __future__ import annotations

import torch

LAYOUTS = {
    "bcthw": (
        "AllegroTransformer3DModel", "ChronoEditTransformer3DModel", "CosmosTransformer3DModel",
        "EasyAnimateTransformer3DModel", "HeliosTransformer3DModel",
        "HunyuanVideo15Transformer3DModel", "HunyuanVideoFramepackTransformer3DModel", "HunyuanVideoTransformer3DModel",
        "I2VGenXLUNet", "LatteTransformer3DModel", "MochiTransformer3DModel", "MotifVideoTransformer3DModel",
        "SanaVideoTransformer3DModel", "SanaWMTransformer3DModel", "SkyReelsV2Transformer3DModel", "UNet3DConditionModel",
        "UNetMotionModel", "WanAnimateTransformer3DModel", "WanTransformer3DModel", "WanVACETransformer3DModel",
        "LaVieUNet", "RaMViDUNet", "VideoCrafterUNet",  # ours
    ),
    "btchw": (
        "AnyFlowFARTransformer3DModel", "AnyFlowTransformer3DModel", "CogVideoXTransformer3DModel",
        "ConsisIDTransformer3DModel", "UNetSpatioTemporalConditionModel",
    ),
    "bthwc": ("Kandinsky5Transformer3DModel", "Kandinsky6SRTransformer3DModel", "Kandinsky6Transformer3DModel"),
}  # fmt: skip
"""Axes of the video latents of every denoiser class: batch, channels, time, height, width. Read from diffusers 0.42.1."""


def layout_of(module: torch.nn.Module, latents: torch.Tensor, prediction: torch.Tensor) -> str | None:
    """Axes of what a denoiser is given and makes.

    A class that LAYOUTS does not name is told by its channels. A network without any configuration is the caller's own and has
    to be like UNet3DConditionModel.

    Returns:
        bnc of packed tokens, bchw of images, one of LAYOUTS of video; None where none or more than one is possible.
    """
    config, kinds = getattr(module, "config", None), {kind.__name__ for kind in type(module).__mro__}
    known = [layout for layout, names in LAYOUTS.items() if kinds.intersection(names)]
    if latents.ndim == prediction.ndim == 5 and (known or config is None):
        return known[0] if known else "bcthw"
    taken = getattr(config, "in_channels", None)
    return layout_by_channels((latents, taken), (prediction, getattr(config, "out_channels", None) or taken))


def layout_by_channels(*sides: tuple[torch.Tensor, int | None]) -> str | None:
    """Axes of tensors that have so many channels each; None where no layout fits all of them, or more than one does."""
    axes = {values.ndim for values, _ in sides}
    if axes != {5}:
        return {3: "bnc", 4: "bchw"}.get(axes.pop()) if len(axes) == 1 else None
    fitting = [layout for layout in LAYOUTS if all(values.shape[layout.index("c")] == count for values, count in sides)]
    return fitting[0] if len(fitting) == 1 else None


def common_channels(
    latents: torch.Tensor, unconditional: torch.Tensor, conditional: torch.Tensor, axis: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents and predictions with the channels that stand for the same.

    A prediction of twice the channels of the latents has a learned variance behind it (PixArt-alpha, Latte, HunyuanDiT).
    Latents with more channels than the prediction have conditioning behind them (Stable Video Diffusion, HunyuanVideo-1.5).

    Args:
        axis: of the channels.
    """
    taken, made = latents.shape[axis], conditional.shape[axis]
    if made == 2 * taken:
        return latents, unconditional.narrow(axis, 0, taken), conditional.narrow(axis, 0, taken)
    return latents.narrow(axis, 0, min(taken, made)), unconditional, conditional


def frames_first(
    values: torch.Tensor, channels: int | None, frames: int | None = None, layout: str | None = None
) -> torch.Tensor | None:
    """Latents or a prediction as [B, frames, values], the channels of a place next to each other.

    Args:
        values: of a video, an image or packed tokens.
        channels: tell the layouts of a video apart where `layout` is not given.
        frames: frames of packed tokens, which come frame by frame; without it they count as one frame.
        layout: of layout_of.

    Returns:
        None where the layout is not known.
    """
    layout = layout or layout_by_channels((values, channels))
    if layout == "bnc":
        known = frames if frames and values.shape[1] % frames == 0 else 1
        return values.reshape(len(values), known, -1)
    if layout == "bchw":
        return values.movedim(1, -1).flatten(1)[:, None]
    return None if layout is None else values.permute(_places(layout)).flatten(2)


def as_given(values: torch.Tensor, shape: tuple[int, ...], layout: str) -> torch.Tensor:
    """What frames_first made of a tensor, in its own axes again.

    Args:
        values: [B, frames, values].
        shape, layout: of the tensor.
    """
    if layout == "bnc":
        return values.reshape(shape)
    if layout == "bchw":
        batch, channels, height, width = shape
        return values.reshape(batch, height, width, channels).movedim(-1, 1)
    places = _places(layout)
    return values.reshape([shape[place] for place in places]).permute([places.index(axis) for axis in range(5)])


def _places(layout: str) -> list[int]:
    """Where batch, time, height, width and channels are."""
    return [layout.index(axis) for axis in "bthwc"]


def grid_of(shape: tuple[int, ...], layout: str) -> tuple[int, int] | None:
    """Height and width of a frame; None of packed tokens."""
    return None if layout == "bnc" else (shape[layout.index("h")], shape[layout.index("w")])

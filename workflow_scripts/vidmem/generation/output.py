"""Outputs of pipelines, turned into frames of one form; and whether the frames show anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ..errors import VidmemError

if TYPE_CHECKING:
    from diffusers.utils import BaseOutput
    from PIL import Image

WHERE = "models.<name>.pipeline"
LATENTS = "a model that returns latents cannot be audited: there is nothing to look at"


def as_frames(output: BaseOutput) -> np.ndarray:
    """Turn the output of a pipeline, videos or images, into frames.

    Returns:
        float32 [N, T, H, W, 3] in 0..1. An image is a clip of one frame, T = 1.

    Raises:
        VidmemError: an output without frames or images, latents, or clips of several lengths.
    """
    if hasattr(output, "frames"):
        clips = [_array(video) for video in output.frames]
    elif hasattr(output, "images"):
        clips = [_array(image)[None] for image in output.images]
    else:
        raise VidmemError("an output with frames or images", type(output).__name__, WHERE)
    shapes = sorted({clip.shape for clip in clips})
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][3] != 3:
        raise VidmemError("clips [frames, height, width, 3] of one shape", shapes, WHERE, LATENTS)
    frames = np.stack(clips)
    finite = frames[np.isfinite(frames)]
    if finite.size and (finite.min() < -0.01 or finite.max() > 1.01):
        raise VidmemError("values in 0..1", f"{finite.min():.4g} to {finite.max():.4g}", WHERE, LATENTS)
    return frames


def _array(pictures: np.ndarray | torch.Tensor | Image.Image | list | tuple) -> np.ndarray:
    """Turn an array, a tensor, an image or a list of them into float32; uint8 is scaled to 0..1."""
    if isinstance(pictures, (list, tuple)):
        return np.stack([_array(picture) for picture in pictures])
    values = pictures.float().cpu().numpy() if isinstance(pictures, torch.Tensor) else np.asarray(pictures)
    return values.astype(np.float32) / 255 if values.dtype == np.uint8 else values.astype(np.float32)


def flagged(output: BaseOutput) -> list[bool]:
    """For each sample, whether the pipeline's safety checker blacked it out; [] if there is no safety checker."""
    return [bool(np.any(flag)) for flag in getattr(output, "nsfw_content_detected", None) or []]


def nothing_to_see(video: np.ndarray, censored: bool) -> str:
    """Why a clip cannot be compared with other clips; '' if it can.

    Args:
        video: float [T, H, W, 3], 0..1.
        censored: whether the safety checker of its pipeline blacked it out.
    """
    if censored:
        return "blacked out by the safety checker of the pipeline"
    if not np.isfinite(video).all():
        return "NaN or infinity in the generated frames"
    pixels = np.round(np.clip(video, 0, 1) * 255).reshape(len(video), -1, 3)
    if (pixels.min(1) == pixels.max(1)).all():
        return "every frame is of one colour, as a safety checker or numbers that overflow leave it"
    return ""

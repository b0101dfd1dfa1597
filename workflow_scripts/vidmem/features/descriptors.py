"""SSCD descriptors: presets, and the two backends that compute them.

A preset states the network and all of its preprocessing. Scores of different presets cannot be compared. Every row of a feature
table therefore names the preset and the hash of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import VidmemError

DIMENSION = 512
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)
HALF = np.array([0.5] * 3, np.float32)

Encoder = Callable[[np.ndarray], np.ndarray]
"""A network that takes images, uint8 [N, S, S, 3] RGB, and returns vectors, float32 [N, d], not of unit norm."""


@dataclass(frozen=True)
class Preset:
    """One way to turn a frame into a descriptor.

    Attributes:
        weights: name of the weights, a key of models.weights.WEIGHTS.
        backend: 'onnx' (takes uint8 NHWC, applies the ImageNet normalisation itself) or 'torchscript' (takes float NCHW).
        resize: side of the square to which the frame is resized, in pixels; bilinear, with antialiasing.
        crop: side of the central crop after the resize, in pixels; equal to `resize` if nothing is cropped.
        normalisation: 'imagenet' or 'half' (mean 0.5, standard deviation 0.5).
    """

    weights: str
    backend: str
    resize: int
    crop: int
    normalisation: str = "imagenet"


PRESETS = {
    "sscd-288": Preset("sscd_int8", "onnx", 288, 288),
    "sscd-160": Preset("sscd_int8", "onnx", 160, 160),
    "sscd-320": Preset("sscd_int8", "onnx", 320, 320),
    "sscd-distilled-288": Preset("sscd_distilled", "onnx", 288, 288),
    "sscd-distilled-160": Preset("sscd_distilled", "onnx", 160, 160),
    "sscd-mixup-288": Preset("sscd_disc_mixup", "torchscript", 288, 288),
    "sscd-mixup-320": Preset("sscd_disc_mixup", "torchscript", 320, 320),
    "sscd-mixup-224-half": Preset("sscd_disc_mixup", "torchscript", 256, 224, "half"),
    "sscd-large-288": Preset("sscd_disc_large", "torchscript", 288, 288),
}


def load_encoder(preset: Preset, weights: Path | str, threads: int = 1, device: str = "cpu") -> Encoder:
    """Load the network of a preset.

    Args:
        preset: from PRESETS.
        weights: file whose hash the fetch stage has checked.
        threads: CPU threads of the ONNX backend.
        device: 'cpu' or 'cuda'; the ONNX backend runs on the CPU only.
    """
    if preset.backend == "onnx":
        return _load_onnx(weights, threads)
    return _load_torchscript(weights, preset.normalisation, device)


def _load_onnx(weights: Path | str, threads: int) -> Encoder:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def encode(images: np.ndarray) -> np.ndarray:
        # One image a call: the int8 network scales its activations over the whole batch, so in a batch a
        # descriptor would depend on the other images. On a CPU a batch is not faster anyway.
        return np.concatenate([session.run(None, {name: image[None]})[0] for image in images])

    return encode


def _load_torchscript(weights: Path | str, normalisation: str, device: str) -> Encoder:
    import torch

    network = torch.jit.load(str(weights), map_location=device).eval()
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if normalisation == "imagenet" else (HALF, HALF)

    def encode(images: np.ndarray) -> np.ndarray:
        scaled = (images.astype(np.float32) / 255 - mean) / std
        with torch.inference_mode():
            return network(torch.from_numpy(scaled).permute(0, 3, 1, 2).to(device)).float().cpu().numpy()

    return encode


def prepare_frames(frames: np.ndarray, preset: Preset) -> np.ndarray:
    """Resize and crop frames for a preset.

    Args:
        frames: uint8 [N, H, W, 3] RGB.

    Returns:
        uint8 [N, crop, crop, 3].
    """
    side, margin = preset.resize, (preset.resize - preset.crop) // 2
    size = (side, side)
    resized = np.stack([np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR)) for frame in frames])
    return resized[:, margin : margin + preset.crop, margin : margin + preset.crop]


def describe_frames(frames: np.ndarray, encode: Encoder, preset: Preset, batch: int = 32) -> Iterator[np.ndarray]:
    """Descriptors of frames, batch by batch.

    Args:
        frames: uint8 [M, H, W, 3] RGB, memory-mapped or not.
        batch: frames read and described at once; the descriptors do not depend on it.

    Yields:
        float16 [n, d], unit norm.

    Raises:
        VidmemError: frames of another shape or type, or a descriptor that is zero or not finite.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
        raise VidmemError("uint8 [M, H, W, 3]", f"{frames.dtype} {frames.shape}", "describe_frames")
    for first in range(0, len(frames), batch):
        yield normalise(encode(prepare_frames(np.asarray(frames[first : first + batch]), preset))).astype(np.float16)


def normalise(vectors: np.ndarray) -> np.ndarray:
    """Scale the rows of float [N, d] to unit norm.

    Raises:
        VidmemError: a row is zero or not finite.
    """
    norms = np.linalg.norm(vectors.astype(np.float32), axis=1, keepdims=True)
    if not np.all(np.isfinite(norms)) or np.any(norms == 0):
        bad = int(np.flatnonzero(~np.isfinite(norms[:, 0]) | (norms[:, 0] == 0))[0])
        raise VidmemError("finite, non-zero descriptors", f"norm {norms[bad, 0]} in row {bad}", "normalise")
    return vectors.astype(np.float32) / norms

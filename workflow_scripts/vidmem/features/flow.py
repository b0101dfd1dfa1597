"""Optical flow estimators, whose fields are all brought to one grid.

A flow field F holds the displacement from a frame to the next, in pixels of the grid. F[0] is horizontal, positive to the
right. F[1] is vertical, positive downwards. When a field is resized, its vectors are scaled with it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..errors import VidmemError

if TYPE_CHECKING:
    import torch

Estimator = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""A function that takes two RGB frames, uint8 [H, W, 3], and returns their flow, float32 [2, H, W], in pixels of the frames."""

ESTIMATORS = ("dis", "raft-small", "raft-large")
SMALLEST_SIDE = 128
_LIBRARIES: list[torch.library.Library] = []


def load_estimator(name: str, weights: Path | str | None = None, device: str = "cpu") -> Estimator:
    """Load a flow estimator.

    Args:
        name: 'dis' (OpenCV's dense inverse search, medium preset), or 'raft-small' or 'raft-large' (torchvision, which the
            extra 'raft' installs).
        weights: state dict of RAFT as safetensors or .pth, whose hash is checked already; DIS needs none.
        device: 'cpu' or 'cuda', for RAFT; DIS runs on the CPU.

    Raises:
        VidmemError: an unknown name, or RAFT without weights.
    """
    if name == "dis":
        return _load_dis()
    if name in ESTIMATORS:
        if weights is None:
            raise VidmemError(f"weights for {name}", None, "flow.weights", "give the path of a torchvision state dict")
        return _load_raft(name.replace("-", "_"), Path(weights), device)
    raise VidmemError(f"estimator one of {ESTIMATORS}", name, "flow.estimator")


def _load_dis() -> Estimator:
    engine = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def estimate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        grey, following = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first, second))
        return np.ascontiguousarray(engine.calc(grey, following, None).transpose(2, 0, 1))

    return estimate


def _load_raft(name: str, weights: Path, device: str) -> Estimator:
    import torch

    network = raft_network(name)
    network.load_state_dict(_load_state(weights))
    network = network.to(device).eval()

    def estimate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        pair = [torch.from_numpy(np.array(frame)).permute(2, 0, 1)[None].float() for frame in (first, second)]
        with torch.inference_mode():
            flows = network(*[(image / 127.5 - 1).to(device) for image in pair])
        return flows[-1][0].float().cpu().numpy()

    return estimate


def raft_network(name: str) -> torch.nn.Module:
    """torchvision's RAFT with random weights.

    Args:
        name: 'raft_small' or 'raft_large'.

    Raises:
        VidmemError: torchvision is not installed.
    """
    import torch

    # Beside a CPU build of torch, torchvision may lack its compiled operators. It can be imported once their schemas are
    # declared.
    for schema in ("nms(Tensor dets, Tensor scores, float threshold) -> Tensor", "qnms(Tensor d, Tensor s, float t) -> Tensor"):
        try:
            library = torch.library.Library("torchvision", "FRAGMENT")
            library.define(schema)
            _LIBRARIES.append(library)  # its operators vanish when the library object is deleted
        except RuntimeError:
            pass  # the operators are there already
    try:
        from torchvision.models import optical_flow
    except ImportError as error:
        raise VidmemError("torchvision", error, f"flow.estimator: {name}", "pip install '.[raft]'") from error
    return getattr(optical_flow, name)(weights=None, progress=False)


def _load_state(weights: Path) -> dict:
    with open(weights, "rb") as file:
        zipped = file.read(2) == b"PK"  # a file in torch's format is a zip archive; fetched files have no suffix
    if not zipped:
        from safetensors.torch import load_file

        return load_file(weights)
    import torch

    return torch.load(weights, map_location="cpu", weights_only=True)


def resize_flow(flow: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a field to another grid, and scale its vectors with it.

    Args:
        flow: float [2, H, W], in pixels of its own grid.
        size: (height, width) of the new grid.

    Returns:
        float32 [2, height, width], in pixels of the new grid.

    >>> resize_flow(np.full((2, 8, 8), 4.0), (4, 4))[:, 0, 0].tolist()
    [2.0, 2.0]
    """
    height, width = size
    scale = np.array([width / flow.shape[2], height / flow.shape[1]], np.float32)
    method = cv2.INTER_AREA if flow.shape[1] * flow.shape[2] > height * width else cv2.INTER_LINEAR
    resized = [cv2.resize(plane.astype(np.float32), (width, height), interpolation=method) for plane in flow]
    return np.stack(resized) * scale[:, None, None]


def clip_flows(frames: np.ndarray, estimate: Estimator, side: int, grid: int) -> np.ndarray:
    """Flows of the consecutive frame pairs of one clip.

    Args:
        frames: uint8 [T, H, W, 3] RGB.
        side: smaller frames are first enlarged so that their shorter side has this length; pixels, at least 128.
        grid: side of the square flow grid.

    Returns:
        float16 [T - 1, 2, grid, grid], grid pixels per frame step.

    Raises:
        VidmemError: a side below 128.
    """
    if side < SMALLEST_SIDE:
        raise VidmemError(f"side of at least {SMALLEST_SIDE} pixels", side, "flow.side")
    enlarged = [_enlarge(frame, side) for frame in frames]
    flows = [resize_flow(estimate(a, b), (grid, grid)) for a, b in pairwise(enlarged)]
    return np.stack(flows).astype(np.float16) if flows else np.zeros((0, 2, grid, grid), np.float16)


def _enlarge(frame: np.ndarray, side: int) -> np.ndarray:
    height, width = frame.shape[:2]
    scale = side / min(height, width)
    if scale <= 1:
        # RAFT needs sides that are multiples of 8. The crop loses at most 7 pixels at the right and the lower edge.
        return np.ascontiguousarray(frame[: height - height % 8, : width - width % 8])
    size = (max(8, round(width * scale / 8) * 8), max(8, round(height * scale / 8) * 8))
    return cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC)


def colour_flow(flow: np.ndarray, largest: float | None = None) -> np.ndarray:
    """Picture of a flow field: the hue shows the direction, the saturation shows the length.

    Args:
        flow: float [2, h, w].
        largest: length that gets full saturation; None for the 99th percentile of the lengths.

    Returns:
        uint8 [h, w, 3] RGB; white where nothing moves.
    """
    dx, dy = flow.astype(np.float32)
    length = np.hypot(dx, dy)
    largest = max(float(np.percentile(length, 99)) if largest is None else largest, 1e-3)
    hue = (np.degrees(np.arctan2(dy, dx)) % 360) / 2
    saturation = np.clip(length / largest, 0, 1) * 255
    picture = np.stack([hue, saturation, np.full_like(hue, 255)], axis=-1).astype(np.uint8)
    return cv2.cvtColor(picture, cv2.COLOR_HSV2RGB)

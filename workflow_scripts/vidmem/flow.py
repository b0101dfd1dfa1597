"""Optical flow estimators on one flow grid.

A flow field F[0] is the horizontal and F[1] the vertical displacement from a frame to the next, in pixels of the
grid, positive to the right and downwards. Vectors are rescaled whenever the field is.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from .errors import VidmemError

Estimator = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Two uint8 [H, W, 3] RGB frames to float32 [2, H, W], pixels of those frames."""

ESTIMATORS = ("dis", "raft-small", "raft-large")
SMALLEST_SIDE = 128
_LIBRARIES: list = []


def load_estimator(name: str, weights: Path | str | None = None, device: str = "cpu") -> Estimator:
    """Load a flow estimator.

    Args:
        name: 'dis' (OpenCV's dense inverse search, medium preset) or 'raft-small' / 'raft-large' (torchvision, the
            extra 'raft').
        weights: state dict of RAFT as safetensors or .pth, hash already checked; DIS needs none.
        device: 'cpu' or 'cuda' (RAFT).

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
        grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first, second)]
        return np.ascontiguousarray(engine.calc(*grey, None).transpose(2, 0, 1))

    return estimate


def _load_raft(name: str, weights: Path, device: str) -> Estimator:
    import torch

    network = _raft_network(name)
    network.load_state_dict(_load_state(weights))
    network = network.to(device).eval()

    def estimate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        pair = [torch.from_numpy(np.array(frame)).permute(2, 0, 1)[None].float() for frame in (first, second)]
        with torch.inference_mode():
            flows = network(*[(image / 127.5 - 1).to(device) for image in pair])
        return flows[-1][0].float().cpu().numpy()

    return estimate


def _raft_network(name: str):
    import torch

    # A CPU build of torch beside torchvision lacks its compiled operators; declaring their schemas lets it import.
    for schema in ("nms(Tensor dets, Tensor scores, float threshold) -> Tensor", "qnms(Tensor d, Tensor s, float t) -> Tensor"):
        try:
            library = torch.library.Library("torchvision", "FRAGMENT")
            library.define(schema)
            _LIBRARIES.append(library)  # its operators go when it does
        except RuntimeError:
            pass  # the operators are there
    try:
        from torchvision.models import optical_flow
    except ImportError as error:
        raise VidmemError("torchvision", error, f"flow.estimator: {name}", "pip install '.[raft]'") from error
    return getattr(optical_flow, name)(weights=None, progress=False)


def _load_state(weights: Path) -> dict:
    with open(weights, "rb") as file:
        zipped = file.read(2) == b"PK"  # torch's format; fetched files carry no suffix
    if not zipped:
        from safetensors.torch import load_file

        return load_file(weights)
    import torch

    return torch.load(weights, map_location="cpu", weights_only=True)


def resize_flow(flow: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring a field to another grid and rescale its vectors with it.

    Args:
        flow: float [2, H, W], pixels.
        size: (height, width).

    Returns:
        float32 [2, height, width], pixels of the new grid.

    >>> resize_flow(np.full((2, 8, 8), 4.0), (4, 4))[:, 0, 0].tolist()
    [2.0, 2.0]
    """
    height, width = size
    scale = np.float32([width / flow.shape[2], height / flow.shape[1]])
    method = cv2.INTER_AREA if flow.shape[1] * flow.shape[2] > height * width else cv2.INTER_LINEAR
    resized = [cv2.resize(plane.astype(np.float32), (width, height), interpolation=method) for plane in flow]
    return np.stack(resized) * scale[:, None, None]


def clip_flows(frames: np.ndarray, estimate: Estimator, side: int, grid: int) -> np.ndarray:
    """Flows of the consecutive frame pairs of one clip.

    Args:
        frames: uint8 [T, H, W, 3] RGB.
        side: frames whose shorter side is below it are enlarged to it first; at least 128.
        grid: side of the square flow grid.

    Returns:
        float16 [T - 1, 2, grid, grid], pixels of the grid a frame step.
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
        # RAFT needs multiples of 8; the loss is at most 7 pixels at the far edges.
        return np.ascontiguousarray(frame[: height - height % 8, : width - width % 8])
    size = (max(8, round(width * scale / 8) * 8), max(8, round(height * scale / 8) * 8))
    return cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC)


def colour_flow(flow: np.ndarray, largest: float | None = None) -> np.ndarray:
    """Flow as a colour picture: hue is the direction, saturation the length.

    Args:
        flow: float [2, h, w].
        largest: length of full saturation; the field's 99th percentile if None.

    Returns:
        uint8 [h, w, 3] RGB, white where nothing moves.
    """
    dx, dy = flow.astype(np.float32)
    length = np.hypot(dx, dy)
    largest = max(float(np.percentile(length, 99)) if largest is None else largest, 1e-3)
    hue = (np.degrees(np.arctan2(dy, dx)) % 360) / 2
    saturation = np.clip(length / largest, 0, 1) * 255
    picture = np.stack([hue, saturation, np.full_like(hue, 255)], axis=-1).astype(np.uint8)
    return cv2.cvtColor(picture, cv2.COLOR_HSV2RGB)

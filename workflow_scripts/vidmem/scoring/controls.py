"""Controls: clips with a known answer, on which every metric is validated.

Edits and content twins keep the content of a clip, and motion twins keep only its motion. Camera moves show natural motion. In
staged scenes somebody walks over a photograph, or nothing moves although the pixels change.
"""

from __future__ import annotations

from dataclasses import dataclass

import av
import cv2
import numpy as np

from ..base.seeding import random_stream
from ..errors import VidmemError
from ..features.flow import resize_flow

EDITS = ("crop", "blur", "reencode", "brightness", "mirror")
CONTENT_TWINS = ("reverse", "shuffle")
SPEEDS = ("half-speed", "double-speed")
CAMERA_MOVES = (
    "pan-right", "pan-down", "zoom-in", "rotate", "pan-left", "pan-up", "zoom-out", "parallax-right", "parallax-down",
)  # fmt: skip
DIRECTIONS = {"right": (0, 1), "left": (0, -1), "down": (1, 0), "up": (-1, 0)}
"""Directions of a walk or a pan, as steps of rows and columns."""
STILLS = ("noise", "compression", "blinking", "flicker")
"""Footage in which nothing moves."""
WALK = 0.012
"""How far somebody walks in a frame step, as a share of the frame's side."""
FIGURE = (0.2, 0.1)
"""Height and width of somebody who walks, as shares of the frame's sides: 2 % of the frame."""
WORK_SIDE = 256  # pixels: motion twins and camera moves are warped at this size, as each step would blur 64 pixels


@dataclass(frozen=True)
class Expectation:
    """Whether content metrics and motion metrics must fire on a control (True) or must not (False). None allows either."""

    content: bool | None
    motion: bool | None


EXPECTED = {
    "crop": Expectation(True, True),
    "blur": Expectation(True, True),
    "reencode": Expectation(True, True),
    "brightness": Expectation(True, True),
    "mirror": Expectation(True, True),  # found because clips are looked up mirrored, too
    "reverse": Expectation(True, None),  # periodic motion looks the same backwards
    "shuffle": Expectation(True, None),  # flow between frames out of order is not defined by the clip
    "half-speed": Expectation(True, None),  # what a window of a few frame pairs forgives is measured, not demanded
    "double-speed": Expectation(True, None),
    "motion-twin": Expectation(False, True),
    "walker": Expectation(False, True),
    "walkers-apart": Expectation(False, False),
    "camera": Expectation(False, False),
    "still": Expectation(False, False),
}


def edit_clip(frames: np.ndarray, edit: str) -> np.ndarray:
    """Copy of a clip with an edit that real copies often have.

    Args:
        frames: uint8 [T, H, W, 3].
        edit: 'crop' (central 80 %), 'blur' (Gaussian, sigma 1.5 % of the shorter side), 'reencode' (H.264, CRF 32),
            'brightness' (gamma 0.6) or 'mirror' (left to right).

    Raises:
        VidmemError: an unknown edit.
    """
    height, width = frames.shape[1:3]
    if edit == "crop":
        top, left = round(height * 0.1), round(width * 0.1)
        inner = frames[:, top : height - top, left : width - left]
        return np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR) for frame in inner])
    if edit == "blur":
        sigma = 0.015 * min(height, width)
        return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])
    if edit == "reencode":
        return reencode(frames, crf=32)
    if edit == "brightness":
        table = np.round(255 * (np.arange(256) / 255) ** 0.6).astype(np.uint8)
        return table[frames]
    if edit == "mirror":
        return frames[:, :, ::-1]
    raise VidmemError(f"edit of {EDITS}", edit, "edit_clip")


def reencode(frames: np.ndarray, crf: int) -> np.ndarray:
    """Frames after H.264 compression. The last row and column are repeated where a side is odd, and cut off again afterwards.

    Args:
        frames: uint8 [T, H, W, 3].
        crf: constant rate factor, 0 (lossless) to 51.
    """
    import io

    height, width = frames.shape[1:3]
    even = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        # One thread, because x264 cuts slices by the number of threads, and the result must not depend on it. No lookahead,
        # because on frames this narrow it reads memory that was never written, and its choices differ from call to call.
        options = {"crf": str(crf), "threads": "1", "x264-params": "sync-lookahead=0:rc-lookahead=0"}
        stream = container.add_stream("libx264", rate=10, options=options)
        stream.height, stream.width, stream.pix_fmt = even.shape[1], even.shape[2], "yuv420p"
        for frame in even:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(decoded)[:, :height, :width]


def content_twin(frames: np.ndarray, twin: str, stream: np.random.Generator) -> np.ndarray:
    """The frames of a clip in another order, which keeps the content but not the motion.

    Args:
        frames: uint8 [T, H, W, 3].
        twin: 'reverse' or 'shuffle'.
        stream: random stream of the shuffle.

    Raises:
        VidmemError: an unknown twin.
    """
    if twin == "reverse":
        return frames[::-1]
    if twin == "shuffle":
        return frames[stream.permutation(len(frames))]
    raise VidmemError(f"twin of {CONTENT_TWINS}", twin, "content_twin")


def motion_twin(picture: np.ndarray, flows: np.ndarray) -> np.ndarray:
    """A clip in which another picture moves by the flow of a clip: the motion stays, the content changes.

    Every frame is warped from the picture itself, by the sum of all displacements so far. Blur therefore does not build up.

    Args:
        picture: uint8 [H, W, 3].
        flows: float [P, 2, h, w], grid pixels per frame step.

    Returns:
        uint8 [P + 1, H, W, 3].
    """
    height, width = picture.shape[:2]
    large = cv2.resize(picture, (WORK_SIDE, WORK_SIDE), interpolation=cv2.INTER_CUBIC)
    rows, columns = np.mgrid[0:WORK_SIDE, 0:WORK_SIDE].astype(np.float32)
    source_x, source_y = columns.copy(), rows.copy()
    frames = [picture]
    for flow in flows:
        dx, dy = resize_flow(np.asarray(flow, np.float32), (WORK_SIDE, WORK_SIDE))
        # The place in the frame before from which each pixel of the new frame came: one fixed-point step inverts the flow.
        back_x = cv2.remap(dx, columns - dx, rows - dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        back_y = cv2.remap(dy, columns - dx, rows - dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        source_x, source_y = (
            cv2.remap(source, columns - back_x, rows - back_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for source in (source_x, source_y)
        )
        warped = cv2.remap(large, source_x, source_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        frames.append(cv2.resize(warped, (width, height), interpolation=cv2.INTER_AREA))
    return np.stack(frames)


def change_speed(flows: np.ndarray, speed: str) -> np.ndarray:
    """Flows of the same motion at another speed, of as many frame pairs as there are at most.

    Args:
        flows: float [P, 2, h, w].
        speed: 'half-speed' (every step becomes two halves) or 'double-speed' (two steps become one).

    Raises:
        VidmemError: an unknown speed.
    """
    if speed == "half-speed":
        return np.repeat(flows, 2, axis=0)[: len(flows)] / 2
    if speed == "double-speed":
        return flows[: len(flows) // 2 * 2].reshape(-1, 2, *flows.shape[1:]).sum(axis=1)
    raise VidmemError(f"speed of {SPEEDS}", speed, "change_speed")


def camera_move(picture: np.ndarray, move: str, frames: int) -> np.ndarray:
    """A clip of a still picture under a moving camera, which is natural motion.

    Args:
        picture: uint8 [H, W, 3].
        move: one of CAMERA_MOVES.
        frames: length of the clip.

    Returns:
        uint8 [frames, H, W, 3]. A pan crosses 20 % of the side, a zoom enlarges by 25 %, and a rotation turns by 14 degrees.
        In a parallax the lower half of the picture is near, and moves twice as far as the upper half.

    Raises:
        VidmemError: an unknown move.
    """
    if move not in CAMERA_MOVES:
        raise VidmemError(f"move of {CAMERA_MOVES}", move, "camera_move")
    return np.stack([_view(picture, move, share) for share in np.linspace(0, 1, frames)])


def _view(picture: np.ndarray, move: str, share: float) -> np.ndarray:
    """What a moving camera sees after a share of its move; see camera_move."""
    if move.startswith("parallax"):
        far, near = (_view(picture, move.replace("parallax", "pan"), part) for part in (share, 2 * share - 0.5))
        return np.concatenate([far[: len(far) // 2], near[len(near) // 2 :]])
    scale = 1.3 * (1 + 0.25 * {"zoom-in": share, "zoom-out": 1 - share}.get(move, 0))
    matrix = cv2.getRotationMatrix2D((WORK_SIDE / 2, WORK_SIDE / 2), 14 * share if move == "rotate" else 0, scale)
    shift = (share - 0.5) * 0.2 * WORK_SIDE
    rows, columns = DIRECTIONS.get(move.removeprefix("pan-"), (0, 0))
    matrix[:, 2] -= shift * np.array([columns, rows])
    view = cv2.warpAffine(_enlarged(picture), matrix, (WORK_SIDE, WORK_SIDE), borderMode=cv2.BORDER_REFLECT_101)
    return cv2.resize(view, picture.shape[1::-1], interpolation=cv2.INTER_AREA)


def _enlarged(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, (WORK_SIDE, WORK_SIDE), interpolation=cv2.INTER_CUBIC)


def walker(picture: np.ndarray, walk: str, frames: int) -> np.ndarray:
    """A clip in which somebody walks over a still picture.

    Args:
        picture: uint8 [H, W, 3].
        walk: direction ('right', 'left', 'up' or 'down'), a hyphen, and a number that chooses the place and the clothes.
        frames: length of the clip.

    Returns:
        uint8 [frames, H, W, 3]. The walks with one number have one place in the middle of the clip.

    Raises:
        VidmemError: an unknown direction.
    """
    direction, _, number = walk.partition("-")
    if direction not in DIRECTIONS:
        raise VidmemError(f"direction of {tuple(DIRECTIONS)}", walk, "walker")
    stream, ground = random_stream("walker", number), _enlarged(picture)
    sides = np.round(np.array(FIGURE) * WORK_SIDE).astype(int)
    pattern = stream.integers(0, 256, (6, 3, 3), np.uint8)
    clothes = cv2.resize(pattern, tuple(sides[::-1].tolist()), interpolation=cv2.INTER_CUBIC)
    middle = stream.uniform((0.3, 0.12), (0.6, 0.28)) * WORK_SIDE  # on the left, so that a mirrored walk is elsewhere
    clip = []
    for step in np.arange(frames) - (frames - 1) / 2:
        place = np.round(middle + step * WALK * WORK_SIDE * np.array(DIRECTIONS[direction])).astype(int)
        row, column = np.clip(place, 0, WORK_SIDE - sides)  # in a long clip somebody arrives and stands
        view = ground.copy()
        view[row : row + sides[0], column : column + sides[1]] = clothes
        clip.append(cv2.resize(view, picture.shape[1::-1], interpolation=cv2.INTER_AREA))
    return np.stack(clip)


def still_clip(picture: np.ndarray, kind: str, frames: int, stream: np.random.Generator) -> np.ndarray:
    """A clip in which nothing moves, although its pixels change.

    Args:
        picture: uint8 [H, W, 3].
        kind: 'noise' (of the sensor, sigma 2 of 255), 'compression' (the noise after H.264 at CRF 28), 'blinking' (a small
            light) or 'flicker' (of the whole light, by a quarter).
        frames: length of the clip.
        stream: random stream of the noise and of the light's place.

    Raises:
        VidmemError: an unknown kind.
    """
    clip = np.repeat(picture[None], frames, axis=0).astype(np.float64)
    if kind in ("noise", "compression"):
        clip += stream.normal(0, 2, clip.shape)
    elif kind == "flicker":
        clip *= 1 + 0.25 * np.sin(2.1 * np.arange(frames))[:, None, None, None]
    elif kind == "blinking":
        light = np.zeros((WORK_SIDE, WORK_SIDE), np.float32)
        place = tuple(stream.integers(WORK_SIDE // 5, WORK_SIDE * 4 // 5, 2).tolist())
        cv2.circle(light, place, WORK_SIDE // 20, 1.0, -1)
        light = cv2.resize(light, picture.shape[1::-1], interpolation=cv2.INTER_AREA)[..., None]
        clip[::2] += light * (255 - clip[::2])
    else:
        raise VidmemError(f"kind of {STILLS}", kind, "still_clip")
    clip = np.clip(np.round(clip), 0, 255).astype(np.uint8)
    return reencode(clip, crf=28) if kind == "compression" else clip

"""Decoding of video and image files: the wanted frames as pixels, upright, and what was noticed about them.

If a file cannot be used, a ClipError says with which status and reason its row enters the clip table.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import ClipError
from .display import pixel_aspect, traits_of, upright
from .files import File, check_file
from .video import GAP_S, Shown, Video, open_video, short_text


@dataclass(frozen=True)
class Footage:
    """Decoded frames of a video or image.

    Attributes:
        frames: uint8 [T, H, W, 3], RGB.
        fps: frames per second; 0 for an image.
        reason: what was noticed, such as missing frames; '' if nothing was.
        start_s: time of the first frame, in seconds from the beginning of the video.
    """

    frames: np.ndarray
    fps: float
    reason: str = ""
    start_s: float = 0.0


Fit = Callable[[np.ndarray, float], np.ndarray]
"""Brings a picture uint8 [H, W, 3] to its stored size. Its second argument is width / height of a pixel."""


@dataclass(frozen=True)
class Window:
    """A clip that is wanted of a video.

    Attributes:
        start_s: where the windows of the video begin, seconds from its first frame.
        fit: what brings each of its frames to the stored size.
        number, most: it is window `number` of at most `most`, counted from 1; see window_start.
    """

    start_s: float
    fit: Fit
    number: int = 1
    most: int = 1


Image.init()
PICTURE_FORMATS = [name for name in "PNG JPEG BMP WEBP TIFF GIF JPEG2000 PPM AVIF".split() if name in Image.OPEN]
"""Formats that Pillow may open, whatever the file's name. For EPS it would run Ghostscript."""


def read_image(path: File) -> Footage:
    """Read a still image as a clip of one frame, turned upright by its EXIF orientation.

    Args:
        path: image file, or its content.

    Raises:
        ClipError: missing, empty, or not an image of PICTURE_FORMATS that Pillow can decode.
    """
    check_file(path)
    try:
        with Image.open(_content(path), formats=PICTURE_FORMATS) as image:
            count = getattr(image, "n_frames", 1)
            upright = ImageOps.exif_transpose(image)
            return Footage(_rgb(upright)[None], 0.0, f"first of {count} frames: read as a still" if count > 1 else "")
    except UnidentifiedImageError as error:
        raise ClipError("undecodable", "image: none of the formats that are read") from error
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ClipError("undecodable", f"image: {short_text(error)}") from error


def _content(path: File) -> str | io.BytesIO:
    return io.BytesIO(path) if isinstance(path, bytes) else str(path)


def _rgb(image: Image.Image) -> np.ndarray:
    """Pixels uint8 [H, W, 3]. Grey levels of 16 or more bits are scaled, because Pillow would cut them at 255."""
    if not image.mode.startswith(("I", "F")):
        return np.asarray(image.convert("RGB"))
    if image.mode == "F":
        raise ValueError("floating point pixels have no stated range")
    levels = np.clip(np.asarray(image, dtype=np.int64), 0, 65535)
    return np.repeat((levels >> 8).astype(np.uint8)[..., None], 3, axis=2)


WORTH = 0.05  # a further window has to add at least this share of its length as new footage


def read_windows(
    file: File, windows: Sequence[Window], frames: int, fps: float, max_damaged: float = 1.0
) -> list[Footage | ClipError]:
    """Sample clips of a video at a stated rate, by presentation time, in one pass over the video.

    For n = 0, 1, ... the frame that is shown at time start + n / fps is taken. A file with a variable frame rate is therefore
    sampled evenly in time. A clip near the end has fewer frames; its reason says how many, and why.

    Args:
        file: video file, or its content.
        windows: the wanted clips.
        frames: number of frames of a clip at most.
        fps: sampling rate in Hz.
        max_damaged: a clip with a larger share of damaged frames is undecodable, 0 to 1.

    Returns:
        For each window its clip, or the error with its status and reason.

    Raises:
        ClipError: missing, empty, no footage, without a video stream, or without a frame that can be decoded.
    """
    with open_video(file) as video:
        clips = [_begin(video, window, frames, fps) for window in windows]
        begun = [clip for clip in clips if isinstance(clip, _Clip)]
        wanted = sorted(((clip.start_s + n / fps, clip) for clip in begun for n in range(frames)), key=lambda pair: pair[0])
        painter = _Painter(video)
        for (_, clip), (shown, until) in zip(wanted, video.shown_at(target for target, _ in wanted)):
            clip.add(painter.paint(shown, clip.fit), shown, until)
        return [clip.finish(video, fps, max_damaged) if isinstance(clip, _Clip) else clip for clip in clips]


def _begin(video: Video, window: Window, frames: int, fps: float) -> _Clip | ClipError:
    try:
        return _Clip(window.fit, window_start(video, window, frames / fps), frames)
    except ClipError as error:
        return error


def window_start(video: Video, window: Window, span_s: float) -> float:
    """Time in seconds at which a window of a video begins.

    The windows lie evenly between window.start_s and the end of the video. There are as many as it takes to cover that time.

    Args:
        span_s: length of a window in seconds.

    Raises:
        ClipError: fewer windows cover the video, or its length is not known.
    """
    if window.number == 1:
        return window.start_s
    if video.length is None:
        raise ClipError("skipped", "the file does not say how long it lasts: only its first window is read")
    count = min(window.most, math.ceil((video.length - window.start_s) / span_s - WORTH))
    if window.number > count:
        raise ClipError("skipped", "fewer windows cover the video")
    return window.start_s + (window.number - 1) * (video.length - window.start_s - span_s) / (count - 1)


@dataclass
class _Clip:
    """A clip of which frames are being collected."""

    fit: Fit
    start_s: float
    frames: int  # wanted
    count: int = 0
    damaged: int = 0
    longest: tuple[float, float] = (0.0, 0.0)  # how long the longest repeated frame is shown, and from when, seconds
    latest: Shown | None = None
    traits: dict[str, None] = field(default_factory=dict)
    pictures: np.ndarray = field(default_factory=lambda: np.zeros((0, 1, 1, 3), np.uint8))

    def add(self, picture: np.ndarray, shown: Shown, until: float) -> None:
        if not self.count:
            self.pictures = np.empty((self.frames, *picture.shape), np.uint8)
        self.pictures[self.count] = picture
        self.count += 1
        self.damaged += shown.damaged
        self.traits |= dict.fromkeys(traits_of(shown.frame))
        if self.latest is shown:
            self.longest = max(self.longest, (until - shown.start, shown.start))
        self.latest = shown

    def finish(self, video: Video, fps: float, max_damaged: float) -> Footage | ClipError:
        damage = f"{self.damaged} of {self.count} frames are damaged"
        if not self.count:
            ends = f"no frame at {self.start_s:g} s: the video ends at {video.end:.3f} s"
            return ClipError("undecodable", video.damage or ends)
        if self.damaged > max_damaged * self.count:
            return ClipError("undecodable", damage)
        reasons = [damage, *self.traits] if self.damaged else [*self.traits]
        if self.longest[0] > GAP_S:
            reasons.append(f"a gap: one frame stands for {self.longest[0]:.3f} s, from {self.longest[1]:.3f} s on")
        if self.count < self.frames:
            ended = video.damage or f"the video ends at {video.end:.3f} s"
            reasons.append(f"{self.count} of {self.frames} frames: {ended}")
        return Footage(self.pictures[: self.count], fps, "; ".join(reasons), self.start_s)


class _Painter:
    """Turns decoded frames into fitted pictures. Clips that share a frame share its conversion."""

    def __init__(self, video: Video) -> None:
        self._video, self._reformatter = video, VideoReformatter()
        self._frame: Shown | None = None
        self._pixels = np.zeros((0, 0, 3), np.uint8)
        self._fitted: dict[Fit, np.ndarray] = {}

    def paint(self, shown: Shown, fit: Fit) -> np.ndarray:
        if shown is not self._frame:
            converted = self._reformatter.reformat(shown.frame, format="rgb24", threads=1)
            self._pixels, self._frame, self._fitted = upright(converted.to_ndarray(), shown.frame), shown, {}
        if fit not in self._fitted:
            self._fitted[fit] = fit(self._pixels, pixel_aspect(self._video.stream, shown.frame))
        return self._fitted[fit]

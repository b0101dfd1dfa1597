"""From a listed item to frames of one size and a row of the clip table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..clip_table import clip_row
from ..errors import ClipError
from ..items import CONTAINERS, Item, is_still, split_part
from ..store import hash_frames
from .availability import locate_item
from .decode import Footage, check_file, read_image, read_video, window_start
from .frames import crop_fraction, fit_frames, frame_information
from .gameplay import FRAMES_PER_SECOND, record_game
from .parts import read_cell, read_member, read_record


@dataclass(frozen=True)
class ClipRecord:
    """Outcome of reading one item: uint8 [T, H, W, 3] (T may be 0), the fields of its row, the file if recovered, its start."""

    frames: np.ndarray
    fps: float
    information: float
    status: str
    reason: str
    found: str = ""
    start_s: float = 0.0

    def fields(self) -> dict:
        """Its columns of the clip table."""
        return {
            "count": len(self.frames),
            "fps": float(self.fps),
            "information": self.information,
            "pixels": hash_frames(self.frames),
            "status": self.status,
            "reason": self.reason,
        }


def read_item(item: Item, frames: int, size: tuple[int, int], fps: float, fit: str, min_information: float = 0.0) -> ClipRecord:
    """Read an item; whatever is wrong with it becomes its status and reason.

    Args:
        item: what to read.
        frames: frames at most.
        size: (height, width) of the result.
        fps: sampling rate, Hz.
        fit: 'crop' or 'stretch'.
        min_information: bits below which a clip is skipped.
    """
    try:
        path, recovered, noticed = locate_item(item)
        footage = _read(replace(item, path=path), frames, fps)
        pictures = footage.frames if item.crop is None else crop_fraction(footage.frames, item.crop)
        pictures = fit_frames(pictures, size, fit)
        information = frame_information(pictures)
        if information < min_information:
            raise ClipError("skipped", f"information {information:.2f} bits, below {min_information:g}")
    except Exception as error:  # decoders raise anything on damaged files; the others go on
        known = error if isinstance(error, ClipError) else ClipError("undecodable", f"{type(error).__name__}: {_line(error)}")
        nothing = np.zeros((0, *size, 3), np.uint8)
        return ClipRecord(nothing, 0.0, 0.0, known.status, known.reason)
    reason = "; ".join(filter(None, (recovered, noticed, footage.reason)))
    return ClipRecord(pictures, footage.fps, information, "recovered" if recovered else "ok", reason, path if recovered else "",
                      footage.start_s)  # fmt: skip


def read_clips(corpus: dict, name: str, work: Iterable[tuple[dict, Item]]) -> Iterator[tuple[dict, np.ndarray]]:
    """Rows of the clip table and frames of listed items, one at a time.

    Args:
        corpus: its entry in the configuration; name: its name.
        work: sources and items, as list_corpus gives them.

    Yields:
        the row, and uint8 [T, H, W, 3], T = 0 unless its status is ok.
    """
    first = 0
    for source, item in work:
        record = read_item(
            item, corpus["frames"], tuple(corpus["size"]), source["fps"], source["fit"], corpus["min_information"]
        )
        row = clip_row(
            _provenance(item, record),
            clip_id=item.clip_id,
            set=f"corpus-{name}",
            source=item.source,
            caption=item.caption,
            split=item.split,
            copies=item.copies,
            first=first,
            **record.fields(),
        )
        first += len(record.frames)
        yield row, record.frames


def _provenance(item: Item, record: ClipRecord) -> dict:
    """How a clip came about; of what is seldom known only what is."""
    known = {"scene": item.scene, "url": item.url, "listed": dict(item.expect), "found": record.found}
    about = {"kind": item.kind, "start_s": record.start_s or item.start_s, "crop": item.crop}
    known["window"] = list(item.window) if item.window[1] > 1 else []
    return about | {name: value for name, value in known.items() if value}


def _read(item: Item, frames: int, fps: float) -> Footage:
    if item.kind == "gameplay":
        return Footage(*record_game(item.path, frames, max(1, round(FRAMES_PER_SECOND / fps))))
    path, part = split_part(item.path, item.kind)
    file, still = Path(path), is_still(item.path, item.kind)
    if part and item.kind == "cifar10":
        return read_record(file, part)
    if part and item.kind not in CONTAINERS:
        return _read_stack(file, part)
    if part:
        file = (read_member if item.kind == "webdataset" else read_cell)(file, part)
    if still:
        return read_image(file)
    return read_video(file, frames, fps, window_start(file, frames, fps, item.start_s, item.window))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or "no message"


def _read_stack(path: Path, index: str) -> Footage:
    """One picture of a .npy stack [N, H, W] of grey levels 0..1 or 0..255, or [N, H, W, 3]."""
    check_file(path)
    try:
        stack = np.load(path, mmap_mode="r", allow_pickle=False)
        picture = np.asarray(stack[int(index)])
    except (ValueError, IndexError, OSError) as error:
        raise ClipError("undecodable", f"array: {str(error)[:120]}") from error
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=2)
    if picture.ndim != 3 or picture.shape[2] != 3:
        raise ClipError("undecodable", f"array of shape {picture.shape}")
    whole = np.issubdtype(picture.dtype, np.integer) or float(np.max(picture, initial=0)) > 1
    scaled = picture if whole else picture * 255
    if not np.isfinite(scaled).all() or scaled.min(initial=0) < 0 or scaled.max(initial=0) > 255:
        raise ClipError("undecodable", f"values {scaled.min():g} to {scaled.max():g}, not 0..1 or 0..255")
    return Footage(np.round(scaled).astype(np.uint8)[None], 0.0)

"""Reading of listed items: each becomes frames of one size and a row of the clip table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np

from ..base.clip_table import clip_row
from ..base.store import hash_frames
from ..errors import USABLE, ClipError
from .availability import locate_item
from .decode import Fit, Footage, Window, read_image, read_windows
from .files import File, check_file
from .frames import crop_fraction, fit_frames, frame_information
from .gameplay import FRAMES_PER_SECOND, record_game
from .item import Item
from .layouts import LAYOUTS, is_still


@dataclass(frozen=True)
class ClipRecord:
    """Outcome of reading one item.

    Attributes:
        frames: uint8 [T, H, W, 3]; T = 0 if the item could not be read.
        fps: frames per second; 0 for an image or if nothing was read.
        information: of frame_information, bits per pixel.
        status: 'ok', 'recovered', or the status of a ClipError.
        reason: what was noticed, or why the item could not be read; '' for nothing.
        found: path of the file if it was recovered by its hash, else ''.
        start_s: where the frames begin in the video, seconds.
    """

    frames: np.ndarray
    fps: float
    information: float
    status: str
    reason: str
    found: str = ""
    start_s: float = 0.0

    def fields(self) -> dict:
        """Columns of the clip table that describe the outcome."""
        return {
            "count": len(self.frames),
            "fps": float(self.fps),
            "information": self.information,
            "pixels": hash_frames(self.frames),
            "status": self.status,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Wanted:
    """What the clips of a set are to be.

    Attributes:
        frames: number of frames at most.
        size: (height, width) of the frames in pixels.
        fps: sampling rate, Hz.
        fit: 'crop' or 'stretch', as in fit_frames.
        min_information: a clip with less information than so many bits per pixel is skipped.
        max_damaged: a clip with a larger share of damaged frames is undecodable, 0 to 1.
    """

    frames: int
    size: tuple[int, int]
    fps: float
    fit: str
    min_information: float = 0.0
    max_damaged: float = 1.0


def read_item(item: Item, *wanted: Any) -> ClipRecord:
    """Read one item, as read_items does. `wanted` are the values of Wanted."""
    return read_items([item], Wanted(*wanted))[0]


def read_items(items: Sequence[Item], wanted: Wanted) -> list[ClipRecord]:
    """Read items of one file. If anything is wrong with one, its status and reason say so; no error is raised."""
    return [_with_noticed(record, item.noticed) for item, record in zip(items, _records(items, wanted))]


def _with_noticed(record: ClipRecord, noticed: str) -> ClipRecord:
    """The record with what the listing noticed of its item. Why a clip cannot be read comes first."""
    told = (noticed, record.reason) if record.status in USABLE else (record.reason, noticed)
    return replace(record, reason="; ".join(filter(None, told)))


def _records(items: Sequence[Item], wanted: Wanted) -> list[ClipRecord]:
    try:
        place, recovered, noticed = locate_item(items[0])
        found = _read([replace(item, place=place) for item in items], wanted)
    except Exception as error:  # decoders may raise anything on a damaged file; other items go on
        if len(items) > 1:
            return [record for item in items for record in _records([item], wanted)]
        return [_failed(error, wanted.size)]
    told = replace(NOTHING, status="recovered", found=str(place)) if recovered else NOTHING
    told = replace(told, reason="; ".join(filter(None, (recovered, noticed))))
    return [_record(footage, wanted, told) for footage in found]


Box = tuple[float, float, float, float]
NOTHING = ClipRecord(np.zeros((0, 1, 1, 3), np.uint8), 0.0, 0.0, "ok", "")


def _failed(error: Exception, size: tuple[int, int]) -> ClipRecord:
    known = error if isinstance(error, ClipError) else ClipError("undecodable", f"{type(error).__name__}: {_line(error)}")
    return ClipRecord(np.zeros((0, *size, 3), np.uint8), 0.0, 0.0, known.status, known.reason)


def _record(footage: Footage | ClipError, wanted: Wanted, told: ClipRecord) -> ClipRecord:
    """Record of the frames of an item, of which `told` has the status, what was noticed, and where it was found."""
    if isinstance(footage, ClipError):
        return _failed(footage, wanted.size)
    information = frame_information(footage.frames)
    if information < wanted.min_information:
        low = f"information {information:.2f} bits, below {wanted.min_information:g}"
        return _failed(ClipError("skipped", low), wanted.size)
    reason = "; ".join(filter(None, (told.reason, footage.reason)))
    return replace(
        told, frames=footage.frames, fps=footage.fps, information=information, reason=reason, start_s=footage.start_s
    )


TOGETHER = 32  # clips of one file that are read in one pass; their frames are in memory at once


def _file_of(pair: tuple[dict, Item]) -> tuple:
    """What the items of one file have in common. A group of them is read in one pass."""
    source, item = pair
    return id(source), item.place, item.others, item.expect, item.recover, item.url, item.problem, item.status


def together(work: Iterable[tuple[dict, Item]]) -> Iterator[list[tuple[dict, Item]]]:
    """Consecutive items of one file, at most TOGETHER at a time."""
    for _, group in groupby(work, _file_of):
        while part := list(islice(group, TOGETHER)):
            yield part


def read_clips(corpus: dict, name: str, work: Iterable[tuple[dict, Item]]) -> Iterator[tuple[dict, np.ndarray]]:
    """Read listed items, those of one file together.

    Args:
        corpus: entry of the corpus in the configuration; name: its name.
        work: items with their sources, as list_corpus returns them.

    Yields:
        The row of the clip table, and the frames uint8 [T, H, W, 3]; T = 0 if the item could not be read.
    """
    first = 0
    for group in together(work):
        records = read_items([item for _, item in group], wanted_of(corpus, group[0][0]))
        for (_, item), record in zip(group, records):
            yield _row(f"corpus-{name}", item, record, first), record.frames
            first += len(record.frames)


def wanted_of(corpus: dict, source: dict) -> Wanted:
    """What the clips of a source are to be, as the configuration of its corpus says."""
    about = (corpus["frames"], tuple(corpus["size"]), source["fps"], source["fit"])
    return Wanted(*about, corpus["min_information"], corpus["max_damaged"])


def _row(name: str, item: Item, record: ClipRecord, first: int) -> dict:
    return clip_row(
        _provenance(item, record),
        clip_id=item.clip_id,
        set=name,
        source=item.source,
        caption=item.caption,
        split=item.split,
        copies=item.copies,
        first=first,
        **record.fields(),
    )


def _provenance(item: Item, record: ClipRecord) -> dict:
    """How a clip came about. Facts that only few clips have are left out of the others."""
    known: dict[str, object] = {
        "file": item.name,
        "scene": item.scene,
        "url": item.url,
        "listed": dict(item.expect),
        "found": record.found,
    }
    about = {"kind": item.kind, "start_s": record.start_s or item.start_s, "crop": item.crop}
    known["window"] = list(item.window) if item.window[1] > 1 else []
    return about | {name: value for name, value in known.items() if value}


def _read(items: Sequence[Item], wanted: Wanted) -> list[Footage | ClipError]:
    """Fitted frames of items of one file."""
    layout, (path, part) = LAYOUTS[items[0].kind], items[0].place
    fits = {item.crop: partial(_fit, item.crop, wanted) for item in items}
    if layout.recorded:
        skip = max(1, round(FRAMES_PER_SECOND / wanted.fps))
        return [_fitted(Footage(*record_game(item.place.file, wanted.frames, skip)), fits[item.crop]) for item in items]
    read = layout.container.read if layout.container else _read_stack
    content: File | np.ndarray = read(Path(path), part) if part else Path(path)
    if isinstance(content, np.ndarray) or is_still(items[0]):
        still = Footage(content, 0.0) if isinstance(content, np.ndarray) else read_image(content)
        return [_fitted(still, fits[item.crop]) for item in items]
    windows = [Window(item.start_s, fits[item.crop], *item.window) for item in items]
    return read_windows(content, windows, wanted.frames, wanted.fps, wanted.max_damaged)


def _fit(
    crop: tuple[float, float, float, float] | None, wanted: Wanted, picture: np.ndarray, pixel_aspect: float
) -> np.ndarray:
    """A picture [H, W, 3], cut as its item says and brought to the wanted size."""
    pictures = picture[None] if crop is None else crop_fraction(picture[None], crop)
    return fit_frames(pictures, wanted.size, wanted.fit, pixel_aspect)[0]


def _fitted(footage: Footage, fit: Fit) -> Footage:
    return replace(footage, frames=np.stack([fit(picture, 1.0) for picture in footage.frames]))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or "no message"


def _read_stack(path: Path, index: str) -> np.ndarray:
    """Read one picture of a .npy stack as uint8 [1, H, W, 3].

    Args:
        path: stack of grey levels [N, H, W] or of colours [N, H, W, 3], with values 0..1 or 0..255.
        index: which picture, counted from 0.
    """
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
    return np.round(scaled).astype(np.uint8)[None]

"""One file of the user as clips of a corpus: windows that cover all of it, at every rate at which the corpus was read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ..errors import ClipError, VidmemError
from .decode import WORTH
from .item import Item, Place
from .layouts import is_still
from .reading import read_clips
from .video import open_video

MOST = 1000
"""Windows at most. A longer file is covered with gaps, which the answer tells."""
FILE_SET = "file"
"""Name of the set of these clips."""


def file_items(path: Path, corpus: Mapping) -> list[tuple[dict, Item]]:
    """The windows of a file, each with the rate and the fit at which it is to be read.

    Args:
        path: video or image of the user.
        corpus: entry of the corpus in the configuration.

    Raises:
        VidmemError: the file cannot be read as footage.
    """
    whole = Item("", FILE_SET, "folder", Place(str(path)), split="heldout")
    manners = sorted({(source["fps"], source["fit"]) for source in corpus["sources"]})
    if is_still(whole):
        return [({"fps": fps, "fit": fit}, _window(whole, place, 1, 1)) for place, (fps, fit) in enumerate(manners[:1])]
    length = _length(path)
    found = []
    for place, (fps, fit) in enumerate(manners):
        source, count = {"fps": fps, "fit": fit}, windows_of(length, corpus["frames"] / fps)
        found += [(source, _window(whole, place, number, count)) for number in range(1, count + 1)]
    return found


def windows_of(length: float | None, span_s: float) -> int:
    """Number of windows that cover a video.

    Args:
        length: length of the video in seconds; None if it is not known, when only the first window is read.
        span_s: length of a window in seconds.

    >>> windows_of(10.0, 2.0), windows_of(10.5, 2.0), windows_of(0.5, 2.0), windows_of(None, 2.0)
    (5, 6, 1, 1)
    """
    return 1 if length is None else min(MOST, max(1, math.ceil(length / span_s - WORTH)))


def _window(whole: Item, manner: int, number: int, count: int) -> Item:
    return Item(f"{manner}-{number:04d}", whole.source, whole.kind, whole.place, split=whole.split, window=(number, count))


def _length(path: Path) -> float | None:
    try:
        with open_video(path) as video:
            return video.length
    except ClipError as error:
        raise VidmemError("a video or an image", f"{error.status}: {error.reason}", str(path), "config key clip") from error


def read_file(path: Path, corpus: Mapping, items: list[tuple[dict, Item]]) -> Iterator[tuple[dict, np.ndarray]]:
    """Read windows of a file as read_clips does. Their set is FILE_SET, so that all of them are looked up."""
    for row, frames in read_clips(dict(corpus), FILE_SET, items):
        yield row | {"set": FILE_SET}, frames

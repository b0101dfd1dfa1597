"""Layouts of corpora: one record for each kind of source that a configuration may name.

A new layout needs a function that lists its items, and a record here. If its items lie inside larger files, it also needs a
module that reads them. Standard library only: the workflow lists a corpus to know which of its shards changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from ..errors import VidmemError
from . import parquet, published_layouts, webdataset
from .cifar10 import list_cifar10, read_record
from .item import HASHES, IMAGE_SUFFIXES, Item
from .own_layouts import list_csv, list_folder, list_games, list_images
from .published_layouts import DOWNLOAD_COLUMNS, listed_rows

if TYPE_CHECKING:
    import numpy as np


class Columns(NamedTuple):
    """Columns that a published list must have, and columns that it may have; written as listed_rows expects them."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()


@dataclass(frozen=True)
class Container:
    """A format of files that hold many items.

    Attributes:
        ending: ending of the files' names.
        read: takes a file and the name of a part. Returns the bytes of a picture or video, or pixels uint8 [1, H, W, 3].
        is_picture: takes the name of a part. Returns whether the part is a picture and not a video.
    """

    ending: str
    read: Callable[[Path, str], bytes | np.ndarray]
    is_picture: Callable[[str], bool]


@dataclass(frozen=True)
class Layout:
    """How the files of a corpus lie, and how its items are listed.

    Attributes:
        name: value of key `kind` of a source.
        lister: takes a source of the configuration and yields its items. If `columns` are given, it takes the rows of the list
            as a second argument.
        columns: columns of the list; None if the lister itself finds the items.
        hashed: whether the list may state hashes of files. The key `recover` of a source needs them.
        rooted: whether the files lie below a folder of their own, the key `root` of a source.
        recorded: whether a job records the footage, so that there are no files.
        container: format of files that hold many items; None if every item is a file of its own.
        beside: takes a file that a source names. Returns the second file that is read together with it, or None.
        empty: what an error says about a source without items.
    """

    name: str
    lister: Callable[..., Iterator[Item]]
    columns: Columns | None = None
    hashed: bool = False
    rooted: bool = False
    recorded: bool = False
    container: Container | None = None
    beside: Callable[[PurePath], PurePath | None] | None = None
    empty: str = "the list has no lines"

    def items(self, source: dict) -> Iterator[Item]:
        """Yield the items of a source in order. They are read one by one, because a list may have millions of lines."""
        return self.lister(source, *([listed_rows(source, *self.columns)] if self.columns else []))


LAYOUTS: dict[str, Layout] = {}
"""Every known layout by its name."""


def register_layout(layout: Layout) -> Layout:
    """Make a layout known under its name.

    Raises:
        VidmemError: another layout has the name.
    """
    if LAYOUTS.setdefault(layout.name, layout) is not layout:
        raise VidmemError("a layout of a new name", f"{layout.name}, which is there", "register_layout")
    return layout


for _layout in (
    Layout("folder", list_folder, empty="the folder has no files"),
    Layout("images", list_images, empty="the folder has no files"),
    Layout("list", list_csv, hashed=True),
    Layout("gameplay", list_games, recorded=True),
    Layout(
        "webvid",
        published_layouts.list_webvid,
        Columns(("videoid", "name"), ("page_dir", "contentUrl", "duration", *HASHES)),
        hashed=True,
        rooted=True,
    ),
    Layout(
        "openvid", published_layouts.list_openvid, Columns(("video", "caption"), ("seconds", *HASHES)), hashed=True, rooted=True
    ),
    Layout("ucf101", published_layouts.list_ucf101, rooted=True, beside=published_layouts.held_out_beside),
    Layout(
        "kinetics",
        published_layouts.list_kinetics,
        Columns(("youtube_id", "time_start", "time_end"), ("label", "split")),
        rooted=True,
    ),
    Layout(
        "laion",
        published_layouts.list_laion,
        Columns(("URL|url",), ("TEXT|caption|text", "key|hash", "error_message", *DOWNLOAD_COLUMNS)),
        hashed=True,
        rooted=True,
    ),
    Layout(
        "webdataset",
        webdataset.list_webdataset,
        hashed=True,
        container=Container(".tar", webdataset.read_member, webdataset.is_picture),
        beside=webdataset.beside_tar,
    ),
    Layout("cifar10", list_cifar10, container=Container(".bin", read_record, lambda part: True)),
    Layout("parquet", parquet.list_parquet, container=Container(".parquet", parquet.read_cell, parquet.is_picture)),
):
    register_layout(_layout)


def is_still(item: Item) -> bool:
    """Whether an item is a picture and not a video, by its name."""
    file, part = item.place
    if not part:
        return PurePosixPath(file).suffix.lower() in IMAGE_SUFFIXES
    container = LAYOUTS[item.kind].container
    return container is None or container.is_picture(part)

"""One clip or image of a corpus before it is read: its identity, where it should lie, and what its list says about it.

Standard library only: the workflow lists a corpus to know which of its shards changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..base.caption_text import checked_text, no_caption
from ..base.file_faults import file_fault
from ..base.identity import hash_text, shard_of, slug, video_of

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif", ".mpg", ".mpeg", ".ts", ".wmv"})
VIDEO_ENDINGS = (".mp4", *sorted(VIDEO_SUFFIXES - {".mp4"}))
"""Endings that a listed video may have instead of the listed one, in the order in which they are looked for."""
STACKS = ".npy"
"""Ending of stacks of pictures. Only for such files may a list name a part, as FILE#INDEX."""

HASHES = ("sha256", "md5")
DOWNLOADED = "downloaded "
"""Prefix to the name of a hash: the hash is of the downloaded file. The stored file may have been encoded again since."""


class Place(NamedTuple):
    """Where footage lies: a file, and the part of the file; '' for the whole file.

    The layout decides how a part is written: index of a picture (.npy, .bin), offset+size.suffix (.tar) or row:column
    (.parquet).
    """

    file: str
    part: str = ""

    def __str__(self) -> str:
        return f"{self.file}#{self.part}" if self.part else self.file

    def __repr__(self) -> str:
        return repr(str(self))


def parse_place(text: str) -> Place:
    """Parse a place that a list or a folder names.

    >>> parse_place("a/stack.npy#3").part, parse_place("a/#b.png").part
    ('3', '')
    """
    file, found, part = text.rpartition(f"{STACKS}#")
    return Place(file + STACKS, part) if found and part else Place(text)


@dataclass(frozen=True, slots=True)
class Item:
    """One clip or image to read.

    Attributes:
        clip_id: unique and safe in file names; made of the source's name and the item's own.
        source: name of the source.
        kind: name of the source's layout.
        place: where the footage lies, or the name of a game.
        caption: hostile text; it never becomes a path.
        split: 'member', 'heldout' or 'image'.
        copies: how often the item was seen in training (a sampling weight).
        start_s: where the clip begins in the video, seconds.
        crop: (x, y, width, height) as fractions of the frame, or None.
        problem: why the item must not be read; '' if it may be.
        packaged: whether the footage lies in an installed package, whose version already pins it.
        others: further places where the file may lie. The first file that matches the list counts.
        url: address in the list; hostile text, never opened.
        expect: what the list says of the file: (sha256 or md5, hexadecimal digits), (bytes, size), (seconds, duration). A hash
            of the download that the file was made from has DOWNLOADED before its name.
        recover: folder in which to look for a file with the listed hash; '' for none.
        scene: name of the scene, equal for all its clips; '' if it is not known.
        status: status of an item with a problem.
        window: (n, N): the n-th of N clips, which are spread over the video from start_s on.
        endings: endings that the file may have instead of the one in `place` and `others`.
        noticed: what its row says although the item is read; '' for nothing.
        name: file as the list or the folder names it; hostile text that exhibits show.
    """

    clip_id: str
    source: str
    kind: str
    place: Place
    caption: str = ""
    split: str = "member"
    copies: int = 1
    start_s: float = 0.0
    crop: tuple[float, float, float, float] | None = None
    problem: str = ""
    packaged: bool = False
    others: tuple[Place, ...] = ()
    url: str = ""
    expect: tuple[tuple[str, str], ...] = ()
    recover: str = ""
    scene: str = ""
    status: str = "skipped"
    window: tuple[int, int] = (1, 1)
    endings: tuple[str, ...] = ()
    noticed: str = ""
    name: str = ""

    @property
    def path(self) -> str:
        """The item's place as text: FILE, or FILE#PART."""
        return str(self.place)

    @property
    def places(self) -> Iterator[Place]:
        """Places where the file may lie, in the order in which they are looked at: the listed names come first."""
        listed = (self.place, *self.others)
        yield from listed
        for place in listed if self.endings else ():
            if os.path.isdir(os.path.dirname(place.file)):
                stem, own = os.path.splitext(place.file)
                yield from (Place(stem + ending) for ending in self.endings if ending != own)

    def __repr__(self) -> str:
        # This text enters the digest of a shard: if the text changes, every corpus is read again. The clip id covers the name.
        named = {"path" if name == "place" else name: getattr(self, name) for name in self.__slots__ if name != "name"}
        named = {name: value for name, value in named.items() if value or name not in ("endings", "noticed")}
        return f"Item({', '.join(f'{name}={value!r}' for name, value in named.items())})"


def make_item(
    source: dict,
    name: str,
    path: str,
    start: float = 0.0,
    crop: tuple | None = None,
    split: str = "",
    part: str = "",
    identity: str = "",
    **fields: Any,
) -> Item:
    """Make an item of a source.

    Args:
        source: a source of the configuration.
        name: name of the item in its list or folder, unique there; hostile text.
        path: a file, or the text of a place as a list names it.
        start: where the clip begins in the video, seconds.
        crop: as in Item.
        split: '' for the split of the source.
        part: the part of the file, if the layout knows it; else `path` may name it.
        identity: second half of the clip id, unique in the source; '' to make it of the name, the start and the crop.
        **fields: further fields of Item. A caption that no caption can be is left out, and `noticed` says why.
    """
    split = split or source["split"]
    identity = identity or f"{stem_of(name)}-{hash_text(name, start, crop)[:8]}"
    place = Place(path, part) if part else parse_place(path)
    fields.setdefault("copies", 1)
    caption, fault = checked_text(fields.get("caption", ""))
    if fault:
        fields["noticed"] = "; ".join(filter(None, (fields.get("noticed"), no_caption(fault))))
    fields["caption"] = caption
    if split == "heldout":
        fields["copies"] = 0
    fields.setdefault("recover", source.get("recover") or "")
    return Item(f"{source['name']}-{identity}", source["name"], source["kind"], place, split=split, start_s=start, crop=crop,
                name=readable(name), **fields)  # fmt: skip


def stem_of(name: str) -> str:
    """A listed name without its folders and its ending, as a clip id uses it."""
    return slug(PurePosixPath(name).stem.lower().replace("_", "-"))


def shard_of_clip(clip_id: str, shards: int) -> int:
    """Shard of a corpus that holds a clip. All windows of a video are in one shard, so that one job reads them in one pass."""
    return shard_of(video_of(clip_id), shards)


def place_inside(root: Path | str, *parts: str) -> str:
    """Join a listed path to a folder; '' if the path leads out of the folder, or no file system accepts it.

    >>> place_inside("clips", "0001", "a.mp4"), place_inside("clips", "../a.mp4"), place_inside("clips", "", "/etc/passwd")
    ('clips/0001/a.mp4', '', '')
    """
    for part in parts:
        if part.startswith("/") or "\0" in part or (".." in part and ".." in PurePosixPath(part).parts):
            return ""
    return "/".join([str(root), *(part for part in parts if part)])


OUTSIDE = "the listed path leads out of the folder of the source"


def readable(name: str) -> str:
    """A file name as text that can be stored. Bytes that are not UTF-8 become replacement characters."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def file_state(item: Item) -> str:
    """Size and modification time of the files at an item's places that can be read; '' if there is none.

    A part counts as its whole file.
    """
    found = (os.stat(place.file) for place in item.places if not file_fault(place.file))
    return " ".join(f"{state.st_size} {state.st_mtime_ns}" for state in found)

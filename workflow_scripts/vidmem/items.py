"""One clip or image of a corpus before it is read: who it is, where it should lie, what its list says of it.

Standard library only: the workflow lists a corpus to know which of its shards changed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from .identity import hash_text, slug

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif", ".mpg", ".mpeg", ".ts", ".wmv"})
CONTAINERS = {"webdataset": ".tar", "cifar10": ".bin", "parquet": ".parquet"}
"""Kinds of sources whose footage lies inside larger files, and the ending of those."""

STACKS = ".npy"
HASHES = ("sha256", "md5")
DOWNLOADED = "downloaded "
"""Before the name of a hash that is of what an address gave: the stored file may have been encoded again."""


@dataclass(frozen=True, slots=True)
class Item:
    """One clip or image to read.

    Attributes:
        clip_id: safe and unique, made of the source's name and what is read.
        source, kind: name and kind of the source.
        path: file, the name of a game, or FILE#PART where the footage is a part of a file: the index of a picture (.npy, .bin),
            offset+size.suffix (.tar), row:column (.parquet).
        caption: hostile text, never a path.
        split: 'member', 'heldout' or 'image'.
        copies: times it was seen in training (a sampling weight).
        start_s: where the clip begins, seconds.
        crop: (x, y, width, height) as fractions of the frame, or None.
        problem: why it must not be read, with `status`; '' if it may.
        packaged: footage of an installed package, which is as pinned as the package.
        others: further places where its layout may have put it.
        url: address it was listed with; hostile text, never opened.
        expect: what the list says of the file: (sha256 or md5, hexadecimal digits), (bytes, size), (seconds, duration); of the
            download that it was made from: (DOWNLOADED and sha256 or md5, hexadecimal digits).
        recover: folder to look in for a file of the listed hash; '' for none.
        scene: clips of one scene have one name; '' where nothing is known.
        status: of an item with a problem.
        window: (n, N) of the n-th of N clips of a video, spread over it from start_s on.
    """

    clip_id: str
    source: str
    kind: str
    path: str
    caption: str = ""
    split: str = "member"
    copies: int = 1
    start_s: float = 0.0
    crop: tuple[float, float, float, float] | None = None
    problem: str = ""
    packaged: bool = False
    others: tuple[str, ...] = ()
    url: str = ""
    expect: tuple[tuple[str, str], ...] = ()
    recover: str = ""
    scene: str = ""
    status: str = "skipped"
    window: tuple[int, int] = (1, 1)


def make_item(
    source: dict,
    name: str,
    path: str,
    start: float = 0.0,
    crop: tuple | None = None,
    split: str = "",
    **fields,
) -> Item:
    """Item of a source, named by what it is called in its list or folder.

    Args:
        source: of the configuration.
        name: unique in the source; hostile text.
        path: as in Item.
        split: of the source if not given.
        **fields: further fields of Item.
    """
    split = split or source["split"]
    stem = slug(PurePosixPath(name).stem.lower().replace("_", "-"))
    identity = stem if source["kind"] == "gameplay" else f"{stem}-{hash_text(name, start, crop)[:8]}"
    fields.setdefault("copies", 1)
    if split == "heldout":
        fields["copies"] = 0
    fields.setdefault("recover", source.get("recover") or "")
    return Item(f"{source['name']}-{identity}", source["name"], source["kind"], path, split=split, start_s=start, crop=crop,
                **fields)  # fmt: skip


WINDOW = re.compile(r"-w\d+(?=(-repeat\d+)?$)")


def spread_item(item: Item, count: int) -> list[Item]:
    """The item as so many clips of its video: itself, which is the first, and further ones with ids of their own.

    Held-out clips are looked up and never found: they stay one. So do pictures, recorded games and what cannot be read.
    """
    if item.split == "heldout" or item.problem or item.kind == "gameplay" or is_still(item.path, item.kind):
        return [item]
    further = (replace(item, clip_id=f"{item.clip_id}-w{number}", window=(number, count)) for number in range(2, count + 1))
    return [replace(item, window=(1, count)), *further]


def video_of(clip_id: str) -> str:
    """Clip id of the first window of the video that a clip is of.

    >>> video_of("webvid-1000-0a1b2c3d-w3"), video_of("webvid-1000-0a1b2c3d")
    ('webvid-1000-0a1b2c3d', 'webvid-1000-0a1b2c3d')
    """
    return WINDOW.sub("", clip_id)


def place_inside(root: Path | str, *parts: str) -> str:
    """A listed path below a folder; '' for one that leads out of it, or that no file system takes.

    >>> place_inside("clips", "0001", "a.mp4"), place_inside("clips", "../a.mp4"), place_inside("clips", "", "/etc/passwd")
    ('clips/0001/a.mp4', '', '')
    """
    for part in parts:
        if part.startswith("/") or "\0" in part or (".." in part and ".." in PurePosixPath(part).parts):
            return ""
    return "/".join([str(root), *(part for part in parts if part)])


OUTSIDE = "the listed path leads out of the folder of the source"


def readable(name: str) -> str:
    """A file name as text that can be stored: bytes that are not UTF-8 become replacement characters."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def split_part(path: str, kind: str) -> tuple[str, str]:
    """File and part of a path FILE#PART; '' for the part of a path that is a whole file.

    >>> split_part("a/000.tar#512+20.jpg", "webdataset"), split_part("a/#b.png", "folder")
    (('a/000.tar', '512+20.jpg'), ('a/#b.png', ''))
    """
    for suffix in (STACKS, CONTAINERS.get(kind)):
        file, found, part = path.rpartition(f"{suffix}#") if suffix else ("", "", "")
        if found:
            return file + suffix, part
    return path, ""


def is_still(path: str, kind: str = "") -> bool:
    """Whether a path is of a picture and not of a video, by its name."""
    part = split_part(path, kind)[1]
    if part and kind == "parquet":
        return not re.search("video|mp4|webm", part)
    return bool(part and kind != "webdataset") or PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES


def file_state(item: Item) -> str:
    """Size and time of an item's file at each of its places, '' where there is none; of a part of a file those of the whole."""
    files = [Path(split_part(path, item.kind)[0]) for path in (item.path, *item.others)]
    return " ".join(f"{file.stat().st_size} {file.stat().st_mtime_ns}" for file in files if file.is_file())

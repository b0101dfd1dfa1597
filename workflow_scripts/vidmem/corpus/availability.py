"""Whether listed footage is there, is as its list says, or can be found in another folder.

Statuses: gone (no file, but an address), missing (no file), mismatch (a file that differs from its list), recovered (a file
found by its hash).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ..base.file_faults import NO_FILE, file_fault
from ..errors import ClipError
from .files import File, check_readable, walk_folder
from .item import DOWNLOADED, HASHES, Item, Place
from .layouts import LAYOUTS
from .video import lengths_of

SLACK_S, SLACK_SHARE = 1.0, 0.02  # lists round durations to whole seconds; only some files count the last frame
TELLING = ("mismatch", "skipped", "undecodable", "missing")
"""Statuses of an item's places, the most telling first: with several places, most of them usually have no file."""
LOST = ("missing", "undecodable")
"""Statuses of items that a tar should hold but does not. A listed hash may find such an item in another folder."""


def locate_item(item: Item) -> tuple[Place, str, str]:
    """Find the place to read an item from, and compare the file there with the list.

    If a file can lie in several places, the first place with a file that matches the list counts. A wrong file in an earlier
    place does not hide it. If the item lies inside a container whose list may state hashes, only its own bytes are compared.

    Returns:
        The place; how the file was recovered, '' if it was not; what could not be compared, '' if nothing.

    Raises:
        ClipError: the item's own problem, one of gone, missing and mismatch, or why its file cannot be read. The reason names
            no file, so that a table can count how often a reason occurs.
    """
    if item.problem and item.status not in LOST:
        raise ClipError(item.status, item.problem)
    if not item.problem and _has_no_hash(item):
        return item.place, "", ""
    faults = [ClipError(item.status, item.problem)] if item.problem else []
    for place, content in () if item.problem else _contents(item):
        if isinstance(content, ClipError):
            faults.append(content)
            continue
        differs, noticed = listed_otherwise(content, item.expect)
        if not differs:
            return place, "", noticed
        faults.append(ClipError("mismatch", differs))
    fault = min(faults, key=lambda found: (TELLING.index(found.status), found.reason == NO_FILE))
    found, how = recover_file(item)
    if found:
        return Place(found), f"{fault.reason}; {how}", ""
    if item.url and fault.status == "missing" and not item.problem:
        fault = ClipError("gone", f"{fault.reason}, only its address")
    raise ClipError(fault.status, "; ".join(filter(None, (fault.reason, how))))


def _has_no_hash(item: Item) -> bool:
    """Whether an item has no hash to compare: it is a recorded game, or a part of a file whose own hash is not known."""
    layout = LAYOUTS[item.kind]
    known = layout.container and layout.hashed and item.expect
    return layout.recorded or bool(item.place.part and not known)


def _contents(item: Item) -> Iterator[tuple[Place, Any]]:
    """Yield each place of an item, and the footage there: a file, the bytes of an item inside a container, or why none."""
    container, (file, part) = LAYOUTS[item.kind].container, item.place
    if container and part:
        yield item.place, container.read(Path(file), part)
    else:
        yield from ((place, file_fault(str(place)) or Path(str(place))) for place in item.places)


def listed_otherwise(path: File, expect: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    """Say how a file differs from its list, and what could not be compared; each '' if there is nothing to say.

    Args:
        path: the file, or its content.
        expect: as in Item; hashes only if `path` is content.
    """
    noticed = ""
    for what, value in sorted(
        expect, key=lambda pair: pair[0] in HASHES
    ):  # cheap comparisons first: a hash reads the whole file
        if what.startswith(DOWNLOADED):
            differs, noticed = False, f"its {what.removeprefix(DOWNLOADED)} was not checked: the list has that of the download"
        elif what in HASHES:
            differs = hash_of(path, what) != value
        else:
            differs, unknown = _differs(path, what, value)
            noticed = unknown or noticed
        if differs:
            return f"its {what} {'is' if what in HASHES else 'are'} not what the list says", noticed
    return "", noticed


def _differs(path: File, what: str, value: str) -> tuple[bool, str]:
    """Whether the size or the duration differs from the list; and why it could not be compared, '' if it could."""
    try:
        listed = float(value)
    except ValueError:
        return False, f"its {what} were not checked: the list has no number"
    if what == "bytes" and isinstance(path, Path):
        return path.stat().st_size != listed, ""
    known = False
    for length in lengths_of(path):  # the first one is cheap, and usually right
        if abs(length - listed) <= SLACK_S + SLACK_SHARE * listed:
            return False, ""
        known = True
    return known, "" if known else f"its {what} were not checked: the file says none"


def hash_of(path: File, algorithm: str) -> str:
    """Hash of a file or of content, as hexadecimal digits."""
    if isinstance(path, bytes):
        return hashlib.new(algorithm, path).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def recover_file(item: Item) -> tuple[str, str]:
    """Look for a file with an item's listed hash in the folder that its source recovers from.

    Returns:
        Path of the file, '' if none has the hash; and how it was found, or why it may be there all the same.
    """
    name, unread = Path(item.recover).name, ""
    for what, value in item.expect:
        algorithm = what.removeprefix(DOWNLOADED)
        if item.recover and algorithm in HASHES:
            folder = hashes_in(item.recover, algorithm)
            if value in folder.paths:
                return folder.paths[value], f"found by its {algorithm} in the folder {name}"
            unread = "" if folder.whole else f"the folder {name} could not be read whole"
    return "", unread


class HashedFolder(NamedTuple):
    """Paths of the files below a folder by their hash, and whether all of them could be read."""

    paths: dict[str, str]
    whole: bool


@lru_cache(maxsize=8)
def hashes_in(folder: str, algorithm: str) -> HashedFolder:
    """Hash the files below a folder. Among equal files the first by name counts.

    A process reads the folder once, when it first looks for a lost file.
    """
    paths: dict[str, str] = {}
    whole = True
    for path, *_ in walk_folder(Path(folder)):
        try:
            check_readable(path)
            paths.setdefault(hash_of(path, algorithm), str(path))
        except (ClipError, OSError):
            whole = False
    return HashedFolder(paths, whole)

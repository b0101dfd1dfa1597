"""Whether listed footage is there, is what its list says, or can be had from another place.

Statuses: gone (no file, but an address), missing (no file), mismatch (a file, but another one), recovered (found by its hash).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from ..errors import ClipError
from ..items import CONTAINERS, DOWNLOADED, HASHES, Item, split_part
from .decode import File, duration_of
from .parts import read_member

SLACK_S, SLACK_SHARE = 1.0, 0.02  # lists round durations to whole seconds, and containers count the last frame or not
LOST = ("missing", "undecodable")
"""Statuses of items that a tar was to have and has not: what their list says of them may find them elsewhere."""


def locate_item(item: Item) -> tuple[str, str, str]:
    """Path to read an item from, how it was recovered, and what was noticed; both '' for a file that is as listed.

    Of several places the first counts whose file is as listed: another file there hides none. Of a tar the member is looked at.

    Raises:
        ClipError: the item's own problem, gone, missing or mismatch. Reasons name no file, so that a table can count them.
    """
    if item.problem and item.status not in LOST:
        raise ClipError(item.status, item.problem)
    if not item.problem and _has_no_hash(item):
        return item.path, "", ""
    fault = ""
    for place, content in _contents(item):
        differs, noticed = listed_otherwise(content, item.expect)
        if not differs:
            return place, "", noticed
        fault = fault or differs
    found, algorithm = recover_file(item)
    if found:
        why = item.problem or fault or "no such file"
        return found, f"{why}; found by its {algorithm} in the folder {Path(item.recover).name}", ""
    if item.problem:
        raise ClipError(item.status, item.problem)
    if fault:
        raise ClipError("mismatch", fault)
    raise ClipError(*(("gone", "no such file, only its address") if item.url else ("missing", "no such file")))


def _has_no_hash(item: Item) -> bool:
    """Whether an item is no file and no hash is of it: recorded games, parts of stacks, of batches and of Parquet files."""
    inside = item.kind in CONTAINERS or split_part(item.path, item.kind)[1]
    return item.kind == "gameplay" or bool(inside and not (item.kind == "webdataset" and item.expect))


def _contents(item: Item) -> Iterator[tuple[str, File]]:
    """Places of an item and what lies there: files, or the member of a tar; none of one whose list says that it is lost."""
    file, part = split_part(item.path, item.kind)
    if part and item.kind == "webdataset":
        yield item.path, read_member(Path(file), part)
    elif not item.problem:
        yield from ((place, Path(place)) for place in (item.path, *item.others) if os.path.isfile(place))


def listed_otherwise(path: File, expect: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    """In what a file is not what its list says, '' for nothing; and what could not be checked.

    Args:
        path: the file, or its content.
        expect: as in Item; of a content hashes alone.
    """
    noticed = ""
    for what, value in sorted(expect, key=lambda pair: pair[0] in HASHES):  # the cheap ones first
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


def _differs(path: Path, what: str, value: str) -> tuple[bool, str]:
    """Whether size or duration are others than listed, and why they could not be compared."""
    try:
        listed = float(value)
    except ValueError:
        return False, f"its {what} were not checked: the list has no number"
    if what == "bytes":
        return path.stat().st_size != listed, ""
    found = duration_of(path)
    if found is None:
        return False, f"its {what} were not checked: the file says none"
    return abs(found - listed) > SLACK_S + SLACK_SHARE * listed, ""


def hash_of(path: File, algorithm: str) -> str:
    """Digest of a file or of its content, hexadecimal digits."""
    if isinstance(path, bytes):
        return hashlib.new(algorithm, path).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def recover_file(item: Item) -> tuple[str, str]:
    """A file with an item's listed hash in the folder that its source recovers from, and which hash; '' where there is none."""
    for what, value in item.expect:
        algorithm = what.removeprefix(DOWNLOADED)
        if item.recover and algorithm in HASHES:
            found = hashes_in(item.recover, algorithm).get(value)
            if found:
                return found, algorithm
    return "", ""


@lru_cache(maxsize=8)
def hashes_in(folder: str, algorithm: str) -> dict[str, str]:
    """Files below a folder by their digest, the first by name of each; read once a process, when a first file is missed."""
    files = sorted((path for path in Path(folder).rglob("*") if path.is_file()), reverse=True)
    return {hash_of(path, algorithm): str(path) for path in files}

"""Layouts for a user's own footage: a folder of files, or a CSV file that lists files or games.

Standard library only: the workflow lists a corpus to know which of its shards changed.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ..base.caption_text import decode_caption, no_caption
from ..base.file_faults import file_fault
from ..base.list_files import read_list
from ..errors import VidmemError
from .files import walk_folder
from .item import HASHES, IMAGE_SUFFIXES, VIDEO_SUFFIXES, Item, make_item, readable, stem_of

MOST_COPIES = 10**9
"""Copies of a clip that a list may state: more is a slip of the pen, and no table could hold it."""
COLUMNS = ("path", "caption", "copies", "split", "start_s", "crop", "url", "sha256", "md5", "bytes", "seconds")
SPLITS = ("member", "heldout", "image")
NO_FOOTAGE = "not one of"
"""How the problem of a file begins that is no footage by its name."""


def list_folder(source: dict, wanted: frozenset[str] = VIDEO_SUFFIXES | IMAGE_SUFFIXES) -> Iterator[Item]:
    """Files below a folder, sorted by name. A file whose ending is not wanted becomes an item with a problem.

    So does a folder that may not be entered, and a link that points nowhere.

    Raises:
        VidmemError: no such folder, or it may not be entered.
    """
    root = Path(source["path"])
    entries = list(walk_folder(root))
    if entries and entries[0].path == root:
        raise VidmemError("a folder", entries[0].problem or "a file", f"{root} (source {source['name']})")
    described = {entry.path.with_suffix("") for entry in entries if entry.path.suffix.lower() in wanted}
    texts = {entry.path for entry in entries if entry.path.suffix == ".txt" and not entry.folder}
    for path, problem, status, *_ in entries:
        name = path.relative_to(root).as_posix()
        if source["captions"] == "sidecar" and path in texts and path.with_suffix("") in described:
            continue  # a caption: it is read with its clip
        caption, noticed = ("", "") if status == "skipped" else _caption(path, source["captions"], texts)
        if not problem and path.suffix.lower() not in wanted:
            problem = f"{NO_FOOTAGE} {' '.join(sorted(wanted))}"
        about: dict[str, Any] = {"caption": caption, "noticed": noticed, "problem": problem, "status": status or "skipped"}
        yield make_item(source, readable(name), str(path), **about)


def _caption(path: Path, captions: str, texts: Collection[Path]) -> tuple[str, str]:
    """Caption of a file in a folder, and what was noticed of it.

    Args:
        path: the file.
        captions: 'filename' for the file's name, 'sidecar' for the text beside it, or 'none'.
        texts: text files of the folder.
    """
    beside = path.with_suffix(".txt")
    if captions == "filename":
        return decode_caption(os.fsencode(path.stem.replace("_", " ")))
    if captions != "sidecar" or beside == path or beside not in texts:
        return "", ""
    fault = file_fault(beside)
    return ("", no_caption(fault.reason)) if fault else decode_caption(beside.read_bytes())


def list_images(source: dict) -> Iterator[Item]:
    """Images below a folder. Every other file, including a video, becomes an item with a problem."""
    return list_folder(source, IMAGE_SUFFIXES)


def list_csv(source: dict) -> Iterator[Item]:
    """Lines of a CSV file with the column path and any further ones of COLUMNS.

    Raises:
        VidmemError: no such file, other columns, or a value that does not fit its column.
    """
    path = Path(source["path"])
    for line, row in read_list(path, COLUMNS[:1], COLUMNS[1:]):
        yield _row_item(source, row, f"{path}, line {line}", str(resolve_path(row["path"], path.parent)))


def list_games(source: dict) -> Iterator[Item]:
    """Lines of a CSV file with COLUMNS, in which the column path names a game. Only the game enters the clip id.

    Raises:
        VidmemError: no such file, other columns, or a value that does not fit its column.
    """
    for line, row in read_list(source["path"], COLUMNS[:1], COLUMNS[1:]):
        yield _row_item(source, row, f"{Path(source['path'])}, line {line}", row["path"], stem_of(row["path"]))


def _row_item(source: dict, row: dict, where: str, path: str, identity: str = "") -> Item:
    name = row["path"]
    (start,) = _numbers(row, "start_s", where, "a number of seconds >= 0") or (0.0,)
    (copies,) = _numbers(row, "copies", where, "a whole number >= 0", int) or (1,)
    if copies > MOST_COPIES:
        raise VidmemError(f"at most {MOST_COPIES:,} in column copies", copies, where)
    crop = _numbers(row, "crop", where, "four fractions 'x y width height'", count=4) or None
    split = row.get("split") or source["split"]
    if split not in SPLITS:
        hint = "what the model was trained on is member, other clips are heldout"
        raise VidmemError(f"{', '.join(SPLITS[:-1])} or {SPLITS[-1]} in column split", repr(split[:40]), where, hint)
    expect = tuple((key, row[key].strip().lower()) for key in (*HASHES, "bytes", "seconds") if row.get(key))
    about = {"caption": row.get("caption") or "", "url": row.get("url") or "", "expect": expect, "copies": copies}
    about["packaged"] = name.startswith("package:")
    return make_item(source, name, path, start, crop, split, identity=identity, **about)


def _numbers(row: dict, column: str, where: str, expected: str, convert: type = float, count: int = 1) -> tuple:
    """Numbers of a cell, `count` of them and none negative; () for an empty cell."""
    text = row.get(column) or ""
    try:
        found = tuple(convert(part) for part in text.split())
    except ValueError:
        found = (math.nan,)
    if text and (len(found) != count or not all(math.isfinite(number) and number >= 0 for number in found)):
        raise VidmemError(f"{expected} in column {column}", repr(text[:40]), where)
    return found


def resolve_path(name: str, folder: Path) -> Path:
    """Path of a listed file.

    Args:
        name: an absolute path, a path relative to `folder`, or 'package:NAME/...' for a file inside an installed package.
        folder: folder of the list.

    Raises:
        VidmemError: no such package. The package is located, but not imported.
    """
    if not name.startswith("package:"):
        return folder / name
    package, _, inner = name.removeprefix("package:").partition("/")
    found = importlib.util.find_spec(package) if package.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise VidmemError("an installed package", package, name, f"pip install {package}")
    return Path(next(iter(found.submodule_search_locations))) / inner

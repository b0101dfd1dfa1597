"""Footage as a file, or as bytes from inside a larger file; and what lies below a folder. Standard library only."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..base.file_faults import cause_of, file_fault
from ..errors import ClipError, VidmemError

File = Path | bytes
"""Path of a file, or the content of a file that lies inside a larger one."""


def check_file(path: File) -> None:
    """Raise ClipError if the file is not there, may not be read or has no bytes."""
    if not isinstance(path, bytes):
        check_readable(path)
    if not (path if isinstance(path, bytes) else path.stat().st_size):
        raise ClipError("undecodable", "empty file")


def check_readable(path: Path) -> None:
    """Raise ClipError if the file is not there or may not be read. It may be empty."""
    if fault := file_fault(path):
        raise fault


class Entry(NamedTuple):
    """What lies in a folder.

    Attributes:
        path: the file, the folder, or what could not be entered.
        problem: why nobody knows what it is or holds; '' if it is known.
        status: status of the problem's row, 'skipped' or 'missing'.
        folder: whether it is a folder, or a link to one.
        linked: whether it is a link.
    """

    path: Path
    problem: str = ""
    status: str = ""
    folder: bool = False
    linked: bool = False


def entries_of(folder: Path) -> list[Entry]:
    """What lies directly in a folder, sorted by name. If it cannot be entered, the folder itself with a problem."""
    try:
        with os.scandir(folder) as entries:
            return [_entry(folder / entry.name, entry) for entry in sorted(entries, key=lambda entry: entry.name)]
    except OSError as error:
        return [Entry(folder, f"the folder may not be entered: {cause_of(error)}", "skipped")]


def _entry(path: Path, entry: os.DirEntry) -> Entry:
    try:
        if entry.is_symlink():
            return Entry(path, folder=stat.S_ISDIR(os.stat(path).st_mode), linked=True)
        return Entry(path, folder=entry.is_dir())
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return Entry(path, "a link that points nowhere", "missing")
        return Entry(path, f"it may not be entered: {cause_of(error)}", "skipped")


def walk_folder(root: Path) -> Iterator[Entry]:
    """Yield the files below a folder, sorted by the parts of their paths, and what could not be entered.

    Links to folders are followed, but no folder is entered twice. Its files come under its own path if that lies below the
    root, else under the path of the first link.
    """
    found: list[Entry] = []
    entered: set[tuple[int, int]] = set()
    roots = [Entry(root, folder=True)]
    while roots:
        waiting, links = [roots.pop(0)], list[Entry]()
        while waiting:
            entry = waiting.pop()
            identity = _identity(entry.path)
            if identity in entered:
                continue
            entered |= {identity} if identity else set()
            for inner in entries_of(entry.path):
                (found if not inner.folder else links if inner.linked else waiting).append(inner)
        roots += sorted(links, key=lambda link: link.path.parts)
    yield from sorted(found, key=lambda entry: entry.path.parts)


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(folder)
    except OSError:
        return None  # entries_of says why
    return found.st_dev, found.st_ino


def known_files(entries: Iterable[Entry]) -> list[Path]:
    """Paths of lists or of files that hold many items.

    Raises:
        VidmemError: something could not be entered, so that nobody knows what is lost.
    """
    paths = []
    for entry in entries:
        if entry.problem:
            hint = "make it readable, or take it out of the folder"
            raise VidmemError("a folder that can be read whole", entry.problem, str(entry.path), hint)
        paths.append(entry.path)
    return paths

"""One thing that an audit needs, as a row of the preflight page; and helpers that put rows into words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import VidmemError
from .estimate import size_of
from .workload import Span

STATES = {"here": "here", "fetch": "to fetch", "missing": "MISSING", "unknown": "unknown"}
SECTIONS = ("Weights", "Models", "Lists", "Training data", "Memory", "Disk", "Packages")
"""Sections of the page. A user can follow the remedies in this order: data is downloaded with the help of lists."""


@dataclass(frozen=True)
class Need:
    """One thing that an audit needs.

    Attributes:
        section: one of SECTIONS; name: name of the thing.
        state: one of STATES. 'here': present. 'fetch': the fetch stage will download it. 'missing': the user has to act.
            'unknown': it cannot be told beforehand.
        found: what was found, in words; remedy: the command or the page that helps, '' if nothing has to be done.
    """

    section: str
    name: str
    state: str
    found: str
    remedy: str = ""


def in_words(error: VidmemError, placed: bool = True) -> str:
    """An error as a short text for a row: what was expected, what was found and, if `placed`, where."""
    return f"{error.expected} expected, {error.got}" + f" at {error.where}" * placed


def correction(error: VidmemError, path: str, otherwise: str) -> str:
    """Remedy for a list or folder that cannot be read.

    Args:
        error: why it cannot be read.
        path: the list or folder.
        otherwise: remedy if there is nothing at this path, or nothing better is known.

    Returns:
        The hint of the error, else the advice to correct the file, else `otherwise`.
    """
    if not Path(path).exists():
        return otherwise
    file = re.split(r", (?:after )?(?:line|row) | \(source ", error.where)[0]
    return error.hint or (f"correct {error.where}" if Path(file).is_file() else otherwise)


def file_size(path: str) -> str:
    """Size of a file in words; 'a folder' for a folder."""
    return size_of(Span.of(Path(path).stat().st_size)) if Path(path).is_file() else "a folder"

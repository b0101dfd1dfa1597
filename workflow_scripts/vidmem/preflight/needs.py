"""What an audit needs: one row of the page, and how rows are put into words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import VidmemError
from ..estimate import size_of
from ..workload import Span

STATES = {"here": "here", "fetch": "to fetch", "missing": "MISSING", "unknown": "unknown"}
SECTIONS = ("Weights", "Models", "Lists", "Training data", "Memory", "Disk", "Packages")
"""In the order in which remedies can be followed: data is downloaded by lists."""


@dataclass(frozen=True)
class Need:
    """One thing that an audit needs.

    Attributes:
        section: of SECTIONS; name: what it is.
        state: of STATES: here; fetched by the fetch stage, over the network; missing; not to be told beforehand.
        found: in words; remedy: the command or the page that brings it, '' for what is here.
    """

    section: str
    name: str
    state: str
    found: str
    remedy: str = ""


def in_words(error: VidmemError, placed: bool = True) -> str:
    return f"{error.expected} expected, {error.got}" + f" at {error.where}" * placed


def correction(error: VidmemError, path: str, otherwise: str) -> str:
    """What to do about a list or folder that cannot be read: of one that is there its error's hint, else to correct it."""
    if not Path(path).exists():
        return otherwise
    file = re.split(r", (?:after )?(?:line|row) | \(source ", error.where)[0]
    return error.hint or (f"correct {error.where}" if Path(file).is_file() else otherwise)


def file_size(path: str) -> str:
    return size_of(Span.of(Path(path).stat().st_size)) if Path(path).is_file() else "a folder"

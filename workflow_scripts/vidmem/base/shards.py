"""Lists of shards: one file that stands for the files of all shards of a set.

Without such lists, jobs that read all shards of another set would give the workflow shards x shards inputs to consider.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import VidmemError
from .checksums import damaged
from .store import save_json

LISTED = {
    "content": ("clips", "descriptors", "rows"),
    "motion": ("clips", "flows", "pairs"),
    "pooled": ("clips", "pooled", "pairs"),
}
"""Kind of features -> names of the groups in a list of its files: clip tables, arrays and row tables of the arrays.

Pooled fields stand in the list of the flows: they are what motion without its background is compared by.
"""


def save_shards(path: Path | str, files: Mapping[str, Sequence[str]]) -> None:
    """Save a list of the files of a set, with their sizes and times, so that the list changes when a shard changes.

    The list names files without their folder, because they lie beside it. So a run that is copied or renamed reads its own
    files.

    Args:
        path: path of the list, JSON.
        files: name of a group, such as 'clips' or 'descriptors' -> paths of its files, shard by shard.

    Raises:
        VidmemError: a file lies in another folder than the list.
    """
    strange = [str(file) for listed in files.values() for file in listed if Path(file).parent != Path(path).parent]
    if strange:
        raise VidmemError(f"files in {Path(path).parent}", strange[0], str(path))
    save_json(path, {kind: [(Path(file).name, *_state(file)) for file in listed] for kind, listed in files.items()})


def load_shards(*paths: Path | str) -> dict[str, list[str]]:
    """Paths of the files in lists, by the name of their group, in the order of the lists and shards.

    A file that stands in several lists is returned once.

    Raises:
        VidmemError: a file no longer exists, or its size differs from the size in the list.
    """
    files: dict[str, dict[str, None]] = {}
    for path in paths:
        for kind, states in json.loads(Path(path).read_text(encoding="utf-8")).items():
            files.setdefault(kind, {}).update(dict.fromkeys(_listed(Path(path), *state) for state in states))
    return {kind: list(named) for kind, named in files.items()}


def _listed(path: Path, name: str, size: int, _: int) -> str:
    """Path of a file in a list, after a check of its size. Its time is not checked, because a copy has another time."""
    file = path.parent / name
    found = file.stat().st_size if file.is_file() else None
    if found != size:
        raise damaged(file, f"{size} bytes, as {path.name} says", "no file" if found is None else f"{found} bytes")
    return str(file)


def _state(file: Path | str) -> tuple[int, int]:
    state = Path(file).stat()
    return state.st_size, state.st_mtime_ns

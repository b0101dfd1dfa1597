"""Lists of shards: one file that stands for the files of all shards of a set.

A job for every shard of one set that reads all shards of another would make the workflow weigh shards x shards inputs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from .checksums import damaged
from .errors import VidmemError
from .store import save_json

LISTED = {"content": ("clips", "descriptors", "rows"), "motion": ("clips", "flows", "pairs")}
"""Files of a list of features: clip tables, arrays and their row tables."""


def save_shards(path: Path | str, files: Mapping[str, Sequence[str]]) -> None:
    """Save the files of a set, shard by shard, with their sizes and times, so that the list changes when a shard does.

    Files are named without their folder, which is that of the list: a run that is copied or renamed reads its own.

    Args:
        path: of the list, JSON.
        files: by kind, such as 'clips' and 'arrays', all in the folder of the list.

    Raises:
        VidmemError: a file in another folder.
    """
    strange = [str(file) for listed in files.values() for file in listed if Path(file).parent != Path(path).parent]
    if strange:
        raise VidmemError(f"files in {Path(path).parent}", strange[0], str(path))
    save_json(path, {kind: [(Path(file).name, *_state(file)) for file in listed] for kind, listed in files.items()})


def load_shards(*paths: Path | str) -> dict[str, list[str]]:
    """Files of lists by kind, list by list, shard by shard; a file that several of them name counts once.

    Raises:
        VidmemError: a shard that is not there any more, or of another size than when it was listed.
    """
    files: dict[str, dict[str, None]] = {}
    for path in paths:
        for kind, states in json.loads(Path(path).read_text(encoding="utf-8")).items():
            files.setdefault(kind, {}).update(dict.fromkeys(_listed(Path(path), *state) for state in states))
    return {kind: list(named) for kind, named in files.items()}


def _listed(path: Path, name: str, size: int, _: int) -> str:
    """A file of a list. Times are not compared: a copy has others."""
    file = path.parent / name
    found = file.stat().st_size if file.is_file() else None
    if found != size:
        raise damaged(file, f"{size} bytes, as {path.name} says", "no file" if found is None else f"{found} bytes")
    return str(file)


def _state(file: Path | str) -> tuple[int, int]:
    state = Path(file).stat()
    return state.st_size, state.st_mtime_ns

"""What exactly a saved model is: the hash of every file of it. Imports neither torch nor diffusers."""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import VidmemError
from ..sources import model_files
from ..store import hash_file


def model_fingerprint(path: Path) -> dict[str, str]:
    """SHA-256 of every file of a saved pipeline, by relative name."""
    if not (path / "model_index.json").is_file():
        raise VidmemError("a saved pipeline (model_index.json)", "none", str(path))
    json.loads((path / "model_index.json").read_text(encoding="utf-8"))
    return {file.relative_to(path).as_posix(): hash_file(file) for file in model_files(path)}

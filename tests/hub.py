"""A cache of huggingface_hub as a fetch leaves it, without a network."""

import json
from pathlib import Path

COMMIT = "a" * 40


def fill_cache(cache: Path, monkeypatch, files: dict[str, bytes], listed: dict[str, int] | None) -> Path:
    """Put files of the data set some/thing into a cache, and the list that its repository has of them.

    Args:
        files: name -> content, of those that are here.
        listed: name -> bytes at the commit; None for a cache without a list.

    Returns:
        the folder of the snapshot.
    """
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    root = cache / "datasets--some--thing"
    for name, content in files.items():
        path = root / "snapshots" / COMMIT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    if listed is not None:
        list_files(root, COMMIT, listed)
    return root / "snapshots" / COMMIT


def list_files(root: Path, commit: str, listed: dict[str, int]) -> None:
    """Write the list that a repository has of its files at a commit: name -> bytes."""
    (root / "trees").mkdir(parents=True)
    entries = {name: {"size": size, "blob_id": "b" * 40} for name, size in listed.items()}
    (root / "trees" / f"{commit}.json").write_text(json.dumps({"format_version": 1, "files": entries}))

"""Download of saved models from the hub: which files of a repository are downloaded, and the record of a model's files.

Only the fetch stage and the conversion download. Every other stage reads the files that they downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from ..config import check_place
from ..errors import VidmemError
from .fingerprint import BASE_PARTS, component_fingerprint, model_fingerprint
from .saved_files import components_of

UNUSED = ["*.bin", "*.ckpt", "*.msgpack", "*.onnx", "*.pb"]
AT_THE_TOP = ["config.json", "scheduler_config.json", "diffusion_pytorch_model*.safetensors"]
"""Files of a component that lies beside model_index.json without a folder of its own, as in google/ddpm-cifar10-32."""
OWN_CODE = ["*.py"]
"""Code of a repository. It is downloaded whether it may run or not, so that somebody can read it, and its hash is recorded."""
OF_A_BASE = ["model_index.json", *(f"{part}/*" for part in BASE_PARTS)]
"""Files of a saved Stable Diffusion that a conversion needs."""
PAGE = "https://huggingface.co/{repository}"
HINTS = {
    "GatedRepoError": f"its licence must be accepted on {PAGE}, then: hf auth login",
    "RepositoryNotFoundError": f"misspelt, gone or private: look at {PAGE}; if it is private: hf auth login",
    "RevisionNotFoundError": f"a commit of {PAGE}/commits",
}
"""Hint for an error of the hub, by its class. For any other error the hint is to give a folder."""


def record_of_files(path: str, revision: str | None, components: Mapping[str, Mapping]) -> dict:
    """Bring a model to this machine, and return the hashes of all its files.

    Args:
        path: folder or hub repository.
        revision: commit of a hub repository.
        components: components that lie in another folder or repository: name -> path and revision.

    Returns:
        path, revision, files (relative name -> SHA-256). If there are `components`: also components, name -> the same three
        keys.

    Raises:
        VidmemError: the model cannot be downloaded, or lacks files.
    """
    record: dict[str, Any] = {"path": path, "revision": revision, "files": model_fingerprint(fetched_folder(path, revision))}
    for name, place in components.items():
        files = component_fingerprint(fetched_folder(place["path"], place["revision"]))
        record.setdefault("components", {})[name] = {**place, "files": files}
    return record


def fetched_folder(path: str, revision: str | None, wanted: list[str] | None = None) -> Path:
    """Folder of a saved pipeline: a local folder, or a snapshot of a hub repository, which is downloaded.

    Args:
        wanted: patterns of the files to download; None for all files that a pipeline needs.
    """
    check_place(path, revision, "fetch_model")
    return Path(path) if Path(path).is_dir() else download(path, revision, wanted)


def download(repository: str, revision: str | None, wanted: list[str] | None = None) -> Path:
    """Download a snapshot of a hub repository at a pinned revision, and return its folder. Partial files are continued.

    Only the components and the code of a pipeline are downloaded, because some repositories also hold a hundred gigabytes of
    other versions.

    Args:
        wanted: patterns of the files to download; None for the components and the code.

    Raises:
        VidmemError: no revision is given, or the hub reports an error.
    """
    if revision is None:
        raise VidmemError("a folder with model_index.json, or a revision", repository, "config key models.<name>.path")
    try:
        folder = _snapshot(repository, revision, wanted or ["model_index.json"])
        if wanted:
            return folder
        if not (folder / "model_index.json").is_file():
            return _snapshot(repository, revision, None)  # the repository holds a single component
        _snapshot(repository, revision, [f"{name}/*" for name in components_of(folder)] + OWN_CODE)
        apart = all((folder / name).is_dir() for name in components_of(folder))
        return folder if apart else _snapshot(repository, revision, AT_THE_TOP)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        got = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        hint = HINTS.get(type(error).__name__, "offline? give a folder as path").format(repository=repository)
        raise VidmemError(f"repository {repository}", got, "fetch_model", hint) from error


def _snapshot(repository: str, revision: str, patterns: list[str] | None) -> Path:
    found = huggingface_hub.snapshot_download(
        repository, revision=revision, allow_patterns=patterns, ignore_patterns=UNUSED
    )  # fmt: skip
    return Path(found)

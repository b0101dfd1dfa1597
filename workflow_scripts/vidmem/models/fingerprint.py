"""Fingerprints of saved models: the hash of every file. This module imports neither torch nor diffusers."""

from __future__ import annotations

from pathlib import Path

from ..base.store import hash_file
from ..errors import VidmemError
from .saved_files import components_of, model_files

PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
BASE_PARTS = ("vae", "text_encoder", "tokenizer")
"""Components of a saved Stable Diffusion that the conversion of an official checkpoint copies."""
HINT = "pickles are neither fetched nor loaded: find a revision with safetensors, or save_pretrained again where you trust them"


def model_fingerprint(path: Path) -> dict[str, str]:
    """SHA-256 of every file of a saved pipeline, by relative name.

    Raises:
        VidmemError: no saved pipeline, a component without a folder, or no weights in safetensors files.
    """
    if not (path / "model_index.json").is_file():
        raise VidmemError("a saved pipeline (model_index.json)", "none", str(path))
    parts = list(components_of(path))
    at_the_top = (path / "config.json").is_file()  # a component without a folder of its own, as in google/ddpm-cifar10-32
    if absent := [name for name in parts if not (path / name).is_dir() and not at_the_top]:
        raise VidmemError(
            f"a folder for each of {', '.join(parts)}", f"none for {', '.join(absent)}", str(path), "copy it whole"
        )
    return _fingerprint(path, model_files(path))


def base_fingerprint(path: Path) -> dict[str, str]:
    """SHA-256 of every file of the components in BASE_PARTS, by relative name. Other files of the saved pipeline are ignored.

    Raises:
        VidmemError: a component of BASE_PARTS is missing, or there are no weights in safetensors files.
    """
    if absent := [part for part in BASE_PARTS if not (path / part).is_dir()]:
        expected = "vae, text_encoder and tokenizer of a saved Stable Diffusion"
        raise VidmemError(expected, f"no {', '.join(absent)}", str(path), "config key checkpoint.base")
    return _fingerprint(path, sorted(file for part in BASE_PARTS for file in (path / part).rglob("*") if file.is_file()))


def component_fingerprint(path: Path) -> dict[str, str]:
    """SHA-256 of the configuration and the weights of a component saved by itself, by relative name.

    Raises:
        VidmemError: no saved component, or no weights in safetensors files.
    """
    if not (path / "config.json").is_file():
        raise VidmemError("a saved component (config.json)", "none", str(path))
    return _fingerprint(path, sorted(file for file in path.rglob("*") if file.suffix in (".json", ".safetensors")))


def _fingerprint(path: Path, files: list[Path]) -> dict[str, str]:
    """SHA-256 of some files by name relative to `path`. Raise VidmemError if none of them is a safetensors file."""
    if not any(file.suffix == ".safetensors" for file in files):
        pickled = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.suffix in PICKLES)
        got = f"pickles: {', '.join(pickled[:3])}" if pickled else f"none of {len(files)} files"
        raise VidmemError("weights in safetensors files", got, str(path), HINT)
    return {file.relative_to(path).as_posix(): hash_file(file) for file in files}

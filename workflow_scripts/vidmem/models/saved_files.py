"""Files of a saved model, or of a downloaded data set, on this machine: its folder, the files it lacks, its parameters.

This module reads headers and loads no weights. At the top it imports the standard library only, because the workflow calls it
before the first job.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path

from ..errors import VidmemError

WEIGHTS = ("diffusion_pytorch_model", "model")
"""Names of weight files without their suffix, in diffusers and in transformers."""
VOCABULARIES = ("tokenizer.json", "vocab.json merges.txt", "vocab.txt", "*.model", "*.tiktoken", "tekken.json")
"""Files of a vocabulary. Each entry is one form of a vocabulary, which needs all files of the entry."""
WORDLESS = ("ByT5Tokenizer",)
"""Tokenizers without a vocabulary, which take text byte by byte."""
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
AGAIN = "fetch or copy it again"
LONGEST_HEADER = 100_000_000  # bytes; the limit of the safetensors format


def hub_cache() -> Path:
    """Folder of the downloads from the hub, where huggingface_hub keeps them."""
    from huggingface_hub import constants  # the import takes 20 ms; only the start of a run and the preflight need it

    return Path(constants.HF_HUB_CACHE)


def find_model(path: str, revision: str | None, cache: Path) -> Path | None:
    """Folder of a model: a local folder, or the snapshot of a hub repository at a commit. None if it does not exist."""
    if Path(path).is_dir():
        return Path(path)
    return _snapshot("models", path, revision, cache)


def _snapshot(kind: str, repository: str, revision: str | None, cache: Path) -> Path | None:
    folder = cache / f"{kind}--{repository.replace('/', '--')}" / "snapshots" / str(revision)
    return folder if revision and folder.is_dir() else None


def lost_files(record: Mapping, cache: Path) -> list[str]:
    """Files that a record of the fetch stage names and that no longer exist, for example because the hub's cache was emptied.

    Args:
        record: record of a model (path, revision, files, and components with the same keys), or of a data set (with repository
            instead of path).
        cache: folder of the downloads from the hub.
    """
    if "repository" in record:
        folder = _snapshot("datasets", record["repository"], record["revision"], cache)
    else:
        folder = find_model(record["path"], record["revision"], cache)
    own = [name for name in record["files"] if folder is None or not (folder / name).is_file()]
    components = record.get("components", {})
    return own + [f"{name}/{file}" for name, component in components.items() for file in lost_files(component, cache)]


def lacking_files(folder: Path, variant: str | None = None) -> list[str]:
    """Files that a saved pipeline needs but lacks, by relative name; empty for a complete pipeline.

    Args:
        variant: variant of the weight files, such as 'fp16'. A component without this variant needs the plain files.

    Raises:
        VidmemError: a model_index.json that is not JSON.
    """
    if not (folder / "model_index.json").is_file():
        return ["model_index.json"]
    listed = components_of(folder)
    return [file for name, kind in listed.items() for file in _lacking_of(name, kind, _home(folder, name), variant)]


def lacking_component(folder: Path, variant: str | None = None) -> list[str]:
    """Files that a network saved by itself, such as a motion adapter, needs but lacks: its configuration and its weights."""
    weights = weight_files(folder, variant) or [folder / "*.safetensors"]
    return [file.name for file in (folder / "config.json", *weights) if not file.is_file()]


def _lacking_of(name: str, kind: str, home: Path, variant: str | None) -> list[str]:
    """Files that one component needs but lacks.

    A component with weights needs a config.json, a tokenizer needs a vocabulary, and any other component needs any file.

    Args:
        kind: class name of the component.
        home: folder of the component.
    """
    weights = weight_files(home, variant)
    if not any(home.iterdir() if home.is_dir() else []):
        return [f"{name}/"]
    if name.startswith("tokenizer") and kind not in WORDLESS and not _has_vocabulary(home):
        return [f"{name}/tokenizer.json (a vocabulary)"]
    if kind.endswith("Scheduler") or not (weights or (home / "config.json").is_file()):
        return []
    needed = [home / "config.json", *(weights or [home / "*.safetensors"])]
    return [f"{name}/{file.name}" for file in needed if not file.is_file()]


def _has_vocabulary(home: Path) -> bool:
    return any(all(any(home.glob(name)) for name in names.split()) for names in VOCABULARIES)


def _home(folder: Path, component: str) -> Path:
    """Folder of a component. Some repositories keep their only component at the top, beside model_index.json."""
    own = folder / component
    return own if own.is_dir() or not (folder / "config.json").is_file() else folder


def components_of(folder: Path) -> dict[str, str]:
    """Class names of the components of a saved pipeline, by the name of the component. Components set to null are left out."""
    listed = _read_json(folder / "model_index.json")
    pairs = {name: entry for name, entry in listed.items() if not name.startswith("_") and isinstance(entry, list)}
    return {name: str(entry[1]) for name, entry in pairs.items() if len(entry) == 2 and all(entry)}


def weight_files(folder: Path, variant: str | None = None) -> list[Path]:
    """Weight files of a component that would be loaded. Files that an index lists are included, even if they do not exist."""
    for infix in dict.fromkeys([variant, None]):
        for stem in WEIGHTS:
            whole = folder / (f"{stem}.{infix}.safetensors" if infix else f"{stem}.safetensors")
            index = folder / (f"{stem}.safetensors.index.{infix}.json" if infix else f"{stem}.safetensors.index.json")
            if whole.is_file():
                return [whole]
            if index.is_file():
                return [folder / name for name in sorted(set(_read_json(index)["weight_map"].values()))]
    return []


def sentencepiece_files(folder: Path) -> list[Path]:
    """Vocabularies of a saved pipeline that only the package sentencepiece can read: no tokenizer.json is beside them."""
    found = (file for file in sorted(folder.glob("*/*.model")) if file.name != "tiktoken.model")
    return [file for file in found if not (file.parent / "tokenizer.json").is_file()]


def parameter_counts(folder: Path, variant: str | None = None) -> dict[str, int]:
    """Number of parameters of every component of a saved pipeline, from the headers of its weight files."""
    return {name: sum(map(count_parameters, files)) for name, files in pipeline_weights(folder, variant).items()}


def pipeline_weights(folder: Path, variant: str | None = None) -> dict[str, list[Path]]:
    """Weight files of every component of a saved pipeline, by name. Components without weights are left out."""
    modules = [name for name, kind in components_of(folder).items() if not kind.endswith("Scheduler")]
    files = {name: weight_files(_home(folder, name), variant) for name in modules}
    return {name: found for name, found in files.items() if found}


def count_parameters(path: Path) -> int:
    """Number of parameters in a safetensors file, from its header.

    Raises:
        VidmemError: no safetensors file, or a file that is cut short.
    """
    return sum(math.prod(entry["shape"]) for entry in read_header(path).values())


def read_header(path: Path) -> dict[str, dict]:
    """Header of a safetensors file: dtype, shape and data_offsets of every tensor.

    Raises:
        VidmemError: no safetensors file, or a file that does not end with its last tensor, as the format demands.
    """
    with open(path, "rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else LONGEST_HEADER + 1
        text = file.read(length) if length <= LONGEST_HEADER else b""
    try:
        tensors = {name: entry for name, entry in json.loads(text).items() if name != "__metadata__"}
        whole = 8 + length + max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    except (ValueError, AttributeError, KeyError, TypeError, IndexError):
        raise VidmemError("a whole safetensors file", "a header that is cut short or none", str(path), AGAIN) from None
    if path.stat().st_size != whole:
        got = f"{path.stat().st_size:,} bytes where its header has {whole:,}"
        raise VidmemError("a whole safetensors file", got, str(path), AGAIN)
    return tensors


def least_memory(counts: Mapping[str, float], dtype: str, offload: str = "none") -> int:
    """Bytes that the weights take on the device. Activations need more memory in addition.

    Args:
        counts: number of parameters of every component.
        dtype: a key of BYTES.
        offload: 'none'; 'model' keeps one component at a time on the device; 'sequential' keeps one layer, which counts as 0.
    """
    if offload == "sequential" or not counts:
        return 0
    return int(BYTES[dtype] * (max(counts.values()) if offload == "model" else sum(counts.values())))


def digest_model(model: Mapping) -> str:
    """Digest of the names, sizes and times of the files of a model and of its components that lie in other folders.

    Args:
        model: a model of the configuration, of which path and components (name -> path and revision) are read.
    """
    elsewhere = [
        f"{name} {place['path']} {place['revision']} {digest_folder(place['path'])}"
        for name, place in sorted(model.get("components", {}).items())
    ]
    return " ".join([digest_folder(model["path"]), *elsewhere])


def digest_folder(path: str) -> str:
    """Digest of the names, sizes and times of a model's files in a folder; '' for a hub repository.

    The fetch stage hashes the content of the files.
    """
    digest, files = hashlib.sha256(), model_files(Path(path))
    for file in files:
        digest.update(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}".encode())
    return digest.hexdigest()[:12] if files else ""


def _read_json(path: Path) -> dict:
    hint = "a damaged download? fetch it again"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise VidmemError("JSON", str(error), str(path), hint) from error
    if not isinstance(found, dict):
        raise VidmemError("a JSON object", type(found).__name__, str(path), hint)
    return found


def model_files(path: Path) -> list[Path]:
    """Files of a saved pipeline that decide what it generates.

    Components lie in folders. Files beside model_index.json are cards and logs, which decide nothing. If there is a config.json
    among them, they also hold a component without a folder of its own.
    """
    every = [file for file in Path(path).rglob("*") if file.is_file()]
    kept = (".py", ".safetensors", ".json") if (Path(path) / "config.json").is_file() else (".py",)
    return sorted(file for file in every if file.parent != path or file.suffix in kept or file.name == "model_index.json")

"""What of a saved model, or of a fetched data set, is on this machine: its folder, the files it lacks, its parameters.

Reads headers, loads nothing. Standard library only: the workflow looks before its first job.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path

from .errors import VidmemError

WEIGHTS = ("diffusion_pytorch_model", "model")
"""Stems of weight files, of diffusers and of transformers."""
VOCABULARIES = ("tokenizer.json", "vocab.json merges.txt", "vocab.txt", "*.model", "*.tiktoken", "tekken.json")
"""What a tokenizer has its words in: all files of one of these."""
WORDLESS = ("ByT5Tokenizer",)
"""Tokenizers that take text byte by byte."""
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
AGAIN = "fetch or copy it again"
LONGEST_HEADER = 100_000_000  # bytes; the limit of the format
FORCED = " --force -- "


def hub_cache() -> Path:
    """Folder of the hub's downloads, as huggingface_hub finds it."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()


def find_model(path: str, revision: str | None, cache: Path) -> Path | None:
    """Folder of a model: a local one, or the snapshot of a hub repository at a commit; None if it is not there."""
    if Path(path).is_dir():
        return Path(path)
    return _snapshot("models", path, revision, cache)


def _snapshot(kind: str, repository: str, revision: str | None, cache: Path) -> Path | None:
    folder = cache / f"{kind}--{repository.replace('/', '--')}" / "snapshots" / str(revision)
    return folder if revision and folder.is_dir() else None


def lost_files(record: Mapping, cache: Path) -> list[str]:
    """Files that a record of the fetch stage names and that are not here any more: a cache of the hub can be emptied.

    Args:
        record: of a model (path, revision, files, and components with the same keys), or of a data set (repository in place of
            path).
        cache: of the hub.
    """
    if "repository" in record:
        folder = _snapshot("datasets", record["repository"], record["revision"], cache)
    else:
        folder = find_model(record["path"], record["revision"], cache)
    own = [name for name in record["files"] if folder is None or not (folder / name).is_file()]
    parts = record.get("components", {})
    return own + [f"{name}/{file}" for name, part in parts.items() for file in lost_files(part, cache)]


def fetch_command(command: str, record: str) -> str:
    """Command that fetches what a record stands for; forced where there is a record: Snakemake would find nothing to do.

    Args:
        command: how the workflow is called, up to the target.

    >>> fetch_command("snakemake --cores 1 --configfile a.yaml --", "results/mine/models/net.json")
    'snakemake --cores 1 --configfile a.yaml -- results/mine/models/net.json'
    """
    return f"{command.removesuffix(' --')}{FORCED}{record}" if Path(record).exists() else f"{command} {record}"


def lacking_files(folder: Path, variant: str | None = None) -> list[str]:
    """What a saved pipeline needs and does not have, by relative name; empty for a whole one.

    Args:
        variant: of the weight files such as fp16; where it is not there the plain one serves.

    Raises:
        VidmemError: a model_index.json that is not JSON.
    """
    if not (folder / "model_index.json").is_file():
        return ["model_index.json"]
    listed = components_of(folder)
    return [file for name, kind in listed.items() for file in _lacking_of(name, kind, _home(folder, name), variant)]


def lacking_component(folder: Path, variant: str | None = None) -> list[str]:
    """The same of a network that lies by itself, such as a motion adapter: its configuration and its weights."""
    weights = weight_files(folder, variant) or [folder / "*.safetensors"]
    return [file.name for file in (folder / "config.json", *weights) if not file.is_file()]


def _lacking_of(name: str, kind: str, home: Path, variant: str | None) -> list[str]:
    """The same of one component: a class of weights has a config.json, a tokenizer its vocabulary, others any file."""
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
    """Folder of a component; some repositories keep a single one at the top."""
    own = folder / component
    return own if own.is_dir() or not (folder / "config.json").is_file() else folder


def components_of(folder: Path) -> dict[str, str]:
    """Class names of the components that a model_index.json lists, by name, without those that it leaves empty."""
    listed = _read_json(folder / "model_index.json")
    pairs = {name: entry for name, entry in listed.items() if not name.startswith("_") and isinstance(entry, list)}
    return {name: str(entry[1]) for name, entry in pairs.items() if len(entry) == 2 and all(entry)}


def weight_files(folder: Path, variant: str | None = None) -> list[Path]:
    """Weight files of a component that would be loaded, those an index lists among them, whether they are there or not."""
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
    """Vocabularies of a saved pipeline that the package sentencepiece alone reads: no tokenizer.json is beside them."""
    found = (file for file in sorted(folder.glob("*/*.model")) if file.name != "tiktoken.model")
    return [file for file in found if not (file.parent / "tokenizer.json").is_file()]


def parameter_counts(folder: Path, variant: str | None = None) -> dict[str, int]:
    """Parameters of every component of a saved pipeline, from the headers of its weight files."""
    return {name: sum(map(count_parameters, files)) for name, files in pipeline_weights(folder, variant).items()}


def pipeline_weights(folder: Path, variant: str | None = None) -> dict[str, list[Path]]:
    """Weight files of every component of a saved pipeline that has any."""
    modules = [name for name, kind in components_of(folder).items() if not kind.endswith("Scheduler")]
    files = {name: weight_files(_home(folder, name), variant) for name in modules}
    return {name: found for name, found in files.items() if found}


def count_parameters(path: Path) -> int:
    """Numbers in a safetensors file, from its header.

    Raises:
        VidmemError: no safetensors file, or one that is cut short.
    """
    return sum(math.prod(entry["shape"]) for entry in read_header(path).values())


def read_header(path: Path) -> dict[str, dict]:
    """Header of a safetensors file: dtype, shape and data_offsets of every tensor. The format has nothing behind the last.

    Raises:
        VidmemError: no safetensors file, or one that is shorter or longer than its header says.
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


def least_memory(counts: Mapping[str, int], dtype: str, offload: str = "none") -> int:
    """Bytes that the weights alone take on the device; activations come on top.

    Args:
        counts: parameters of every component.
        offload: 'none', or 'model' for one component on the device at a time; 'sequential' keeps one layer there: 0.
    """
    if offload == "sequential" or not counts:
        return 0
    return BYTES[dtype] * (max(counts.values()) if offload == "model" else sum(counts.values()))


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise VidmemError("JSON", str(error), str(path), "a damaged download? fetch it again") from error

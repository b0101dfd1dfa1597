"""Data that an audit needs: lists, clips made elsewhere, and the footage of its corpora, of a sample."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePath

from ..config import ROOTED, Config
from ..elsewhere import list_made, stray_files
from ..errors import VidmemError
from ..inventory import fetch_command
from ..items import DOWNLOADED, HASHES, IMAGE_SUFFIXES, VIDEO_SUFFIXES, Item, file_state
from ..listing import LISTED_FILES, READERS, listed_items
from ..prompt_lists import load_prompt_list
from ..published import root_of
from ..repositories import located
from .needs import Need, correction, file_size, in_words

LOOKED_FOR = 200  # files of a source
FOUND_FILES = 10_000  # of its folder, looked for in its list where none of those is here
LOOKED_THROUGH = 4_000_000  # lines of a list: a minute or two


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
        return Need("Models", title, "missing", in_words(error), correction(error, path, put))
    files = [one.item for one in made if not one.item.problem]
    there = sum(bool(file_state(item)) for item in files)
    unmade = f"{len(made) - len(files):,} without a file" if len(made) > len(files) else ""
    left = f"{len(stray):,} other files left out, such as {stray[0]}" if stray else ""
    words = "; ".join(filter(None, [f"{len(made):,} listed, {there:,} here", unmade, left]))
    if there or not files:
        return Need("Models", title, "here", words)
    return Need("Models", title, "missing", words, f"paths are relative to the list: put the clips there, or correct {path}")


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
    named["detection.negatives.file"] = (negatives, file_size if grammar else prompts({}))
    named["labels.file"] = (config["labels"]["file"], file_size)
    for entry in config["curation"]["lists"]:
        named[f"curation.lists.{entry['name']}"] = (entry["path"], prompts(entry["columns"]))
    found: dict[str, tuple[str, Callable[[str], str]]] = {}
    for key, (path, check) in named.items():
        if path:
            found[path] = (f"{found[path][0]}, {key}" if path in found else key, check)
    return found


def _list(config: Config, path: str, keys: str, check: Callable[[str], str]) -> Need:
    remedy = config["obtain"].get(path, f"put it at {path}, or correct config key {keys}")
    if not Path(path).exists():
        return Need("Lists", f"{path} ({keys})", "missing", "not there", remedy)
    try:
        return Need("Lists", f"{path} ({keys})", "here", check(path))
    except VidmemError as error:
        return Need("Lists", f"{path} ({keys})", "missing", in_words(error), correction(error, path, remedy))


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
        return Need("Training data", name, "missing", in_words(error), correction(error, found["path"], remedy))
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

"""Data that an audit needs: lists, clips generated elsewhere, and a sample of the footage of its corpora."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from ..config import Config
from ..corpus.files import walk_folder
from ..corpus.hub_datasets import located
from ..corpus.item import DOWNLOADED, HASHES, IMAGE_SUFFIXES, VIDEO_SUFFIXES, Item, file_state
from ..corpus.layouts import LAYOUTS
from ..corpus.listing import LISTED_FILES, listed_items
from ..corpus.published_layouts import root_of
from ..errors import VidmemError, fetch_command
from ..generation.elsewhere import list_made, stray_files
from ..prompts.negatives import prompts_of_grammar
from ..prompts.prompt_lists import load_prompt_list
from ..scoring.labels import listed_labels
from .needs import Need, correction, in_words

LOOKED_FOR = 200  # listed files of a source that are looked for
FOUND_FILES = 10_000  # files in its folder that are looked up in its list, if none of the listed files was found
LOOKED_THROUGH = 4_000_000  # lines of a list that are read for this; takes a minute or two


def made_needs(config: Config) -> list[Need]:
    """Needs of models whose clips were generated elsewhere. Their lists are read as a job reads them; no clip is opened."""
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
    """Needs of the lists of prompts and labels that the configuration names: whether they are there and can be read."""
    return [_list(config, path, keys, check) for path, (keys, check) in _lists(config).items()]


def _lists(config: Config) -> dict[str, tuple[str, Callable[[str], str]]]:
    """For each path of a list: the config keys that name it, and a function that describes the list if it is there."""

    def prompts(columns: Mapping[str, str]) -> Callable[[str], str]:
        return lambda path: f"{_count_of_prompts(path, columns):,} prompts"

    def sentences(path: str) -> str:
        return f"{len(prompts_of_grammar(path, config['detection']['negatives']['count'], config['seed'])):,} sentences"

    named = {
        f"models.{name}.prompts.file": (model["prompts"]["file"], prompts(model["prompts"]["columns"]))
        for name, model in config["models"].items()
        if model["kind"] == "diffusers" and not model["unconditional"]
    }
    negatives = config["detection"]["negatives"]["file"]
    grammar = negatives and Path(negatives).suffix in (".yaml", ".yml")
    named["detection.negatives.file"] = (negatives, sentences if grammar else prompts({}))
    named["labels.file"] = (config["labels"]["file"], lambda path: f"{len(listed_labels(path)):,} labels")
    for entry in config["curation"]["lists"]:
        named[f"curation.lists.{entry['name']}"] = (entry["path"], prompts(entry["columns"]))
    found: dict[str, tuple[str, Callable[[str], str]]] = {}
    for key, (path, check) in named.items():
        if path:
            found[path] = (f"{found[path][0]}, {key}" if path in found else key, check)
    return found


def _count_of_prompts(path: str, columns: Mapping[str, str]) -> int:
    count = len(load_prompt_list(path, columns).table)
    if not count:
        raise VidmemError("at least one prompt", "none", path)
    return count


def _list(config: Config, path: str, keys: str, check: Callable[[str], str]) -> Need:
    remedy = config["obtain"].get(path, f"put it at {path}, or correct config key {keys}")
    if not Path(path).exists():
        return Need("Lists", f"{path} ({keys})", "missing", "not there", remedy)
    try:
        return Need("Lists", f"{path} ({keys})", "here", check(path))
    except VidmemError as error:
        return Need("Lists", f"{path} ({keys})", "missing", in_words(error), correction(error, path, remedy))


def corpus_needs(config: Config, command: str) -> list[Need]:
    """Needs of the sources of all audited corpora: their lists, and whether a sample of the listed files is there."""
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
    """State of a source's footage, and the finding in words.

    A sample of the listed files is looked for. If none is found, _elsewhere looks further. The state is 'missing' only if
    another sample would not change it. Then its folder has no footage at all, or a short list was looked for completely.
    """
    if LAYOUTS[source["kind"]].recorded:
        return "here", "recorded, no files"
    whole, files = len(listed) < LISTED_FILES, [item for item in listed if not item.problem]
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
    """Whether files of a source can be found by their hash: the list has hashes, and the folder to look in has files."""
    hashed = any(what.removeprefix(DOWNLOADED) in HASHES for item in items for what, _ in item.expect)
    return bool(hashed and source["recover"] and any(not entry.problem for entry in walk_folder(Path(source["recover"]))))


def _elsewhere(source: Config, files: Sequence[Item], whole: bool) -> tuple[str, str]:
    """Look for a listed file after a sample of the list was not found.

    If the layout has a folder of its own for files, the files in this folder are looked up in the list. Otherwise all of
    `files` are looked for.

    Args:
        source: a source of the configuration, located.
        files: listed files, or the first of them.
        whole: whether `files` are all listed files.

    Returns:
        Path of a listed file that is there, '' for none; and why there may still be others, '' if there are none.
    """
    layout = LAYOUTS[source["kind"]]
    if not layout.rooted:
        found = next((item.path for item in files if file_state(item)), "")
        return found, "" if found or whole else f"nor is any of the first {len(files):,}"
    root = root_of(source)
    present = {path: path for path in islice(_footage_below(root), FOUND_FILES)}
    stems = {stem: path for path in present for stem, own in [os.path.splitext(path)] if own.lower() in VIDEO_SUFFIXES}
    lines = islice(layout.items(source), LOOKED_THROUGH) if present else ()
    places = (
        stems.get(os.path.splitext(path)[0]) if item.endings else present.get(path)
        for item in lines
        if not item.problem
        for path in (os.path.normpath(str(place)) for place in (item.place, *item.others))
    )
    found = next(filter(None, places), "")
    return found, f"{root} has others, such as {min(present)}: are they of this list?" if present and not found else ""


def _footage_below(root: str) -> Iterator[str]:
    """Yield the pictures and videos below a folder, told by their endings, in order."""
    for path, problem, *_ in walk_folder(Path(root)):
        if not problem and path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            yield os.path.normpath(path)

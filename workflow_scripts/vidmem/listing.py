"""What a corpus consists of: items listed from folders and CSV files, without opening the footage.

Standard library only: the workflow lists a corpus to know which of its shards changed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

from .containers import list_cifar10, list_parquet, list_webdataset
from .errors import VidmemError
from .identity import shard_of
from .items import (
    CONTAINERS,
    HASHES,
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    Item,
    file_state,
    make_item,
    readable,
    split_part,
    spread_item,
)
from .lists import read_list
from .published import list_kinetics, list_laion, list_openvid, list_ucf101, list_webvid
from .repositories import located

COLUMNS = ("path", "caption", "copies", "split", "start_s", "crop", "url", "sha256", "md5", "bytes", "seconds")
SPLITS = ("member", "heldout", "image")
LISTED_FILES = 200_000


def list_source(source: dict) -> list[Item]:
    """Items of one source of the configuration.

    Args:
        source: name, kind (of READERS), path, split and the other keys of a source.

    Raises:
        VidmemError: the folder or the list is not there, or the list has wrong columns or values.
    """
    return list(_items(source))


def list_corpus(sources: list[dict], shard: int = 0, shards: int = 1) -> list[tuple[dict, Item]]:
    """Items of one shard of a corpus with their source; what is listed twice is marked, in the shard of what it repeats."""
    mine = [pair for place, *pair in _placed(sources, shards) if place == shard]
    return list(zip([source for source, _ in mine], _mark_repeats([item for _, item in mine])))


def find_items(sources: list[dict], clip_ids: Collection[str]) -> list[tuple[dict, Item]]:
    """The first item of each of some clip ids with its source, in the order of the lists."""
    missing, found = set(clip_ids), []
    for _, source, item in _placed(sources, 1):
        if item.clip_id in missing:
            missing.discard(item.clip_id)
            found.append((source, item))
        if not missing:
            break
    return found


def digest_shards(sources: list[dict], shards: int) -> list[str]:
    """Digest of what each shard of a corpus lists, and of sizes and times of its files.

    Another shard's lines do not count, nor does their place. Of more than LISTED_FILES items only the lists count: the times
    of so many files take too long to ask for. Nor do files of installed packages. A file that holds many items counts once. A
    pinned repository is listed by its pin: it may not have been fetched yet.
    """
    digests, files = [hashlib.sha256() for _ in range(shards)], {}
    pinned = [source for source in sources if source.get("repository")]
    common = [*pinned, *(_folder_state(source["recover"]) for source in sources if source.get("recover"))]
    for digest in digests if common else []:
        digest.update(f"{common}\n".encode("utf-8", "surrogateescape"))
    for shard, _, item in _placed([source for source in sources if source not in pinned], shards):
        listed = replace(item, path="") if item.packaged else item  # the same wherever it is installed
        digests[shard].update(f"{listed}\n".encode("utf-8", "surrogateescape"))
        if item.kind != "gameplay" and not item.packaged and len(files) <= LISTED_FILES:
            whole = split_part(item.path, item.kind)[0] if item.kind in CONTAINERS else len(files)
            files.setdefault((shard, whole), item)
    for (shard, _), item in files.items() if len(files) <= LISTED_FILES else []:
        digests[shard].update(f"{file_state(item)}\n".encode())
    return [digest.hexdigest()[:12] for digest in digests]


def _folder_state(folder: str) -> list[tuple[str, int, int]]:
    """Names, sizes and times of the files that lost ones are looked for among: any of them may be anyone's."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files[:LISTED_FILES]]


def _placed(sources: list[dict], shards: int) -> Iterator[tuple[int, dict, Item]]:
    # One by one: a list may have millions of lines, and a job keeps those of its shard.
    for source in sources:
        for item in _items(source):
            yield shard_of(item.clip_id, shards), source, item


def _items(source: dict) -> Iterator[Item]:
    return (clip for item in listed_items(located(source)) for clip in spread_item(item, source.get("windows", 1)))


def listed_items(source: dict) -> Iterator[Item]:
    """What a source lists, an item a video whatever its windows.

    Args:
        source: where it lies on this machine.

    Raises:
        VidmemError: nothing at all: a corpus of that would be a result without clips.
    """
    item = None
    for item in READERS[source["kind"]](source):
        yield item
    if item is None:
        got = "the folder has no files" if source["kind"] in ("folder", "images") else "the list has no lines"
        hint = "list what the model was trained on, or leave the source out"
        raise VidmemError("at least one clip or image", got, f"{source['path']} (source {source['name']})", hint)


def _list_folder(source: dict) -> Iterator[Item]:
    root = Path(source["path"])
    if not root.is_dir():
        raise VidmemError("a folder", "none", f"{root} (source {source['name']})")
    wanted = IMAGE_SUFFIXES if source["kind"] == "images" else VIDEO_SUFFIXES | IMAGE_SUFFIXES
    files = sorted(path for path in root.rglob("*") if not path.is_dir())
    described = {path.with_suffix("") for path in files if path.suffix.lower() in wanted}
    for path in files:
        name = path.relative_to(root).as_posix()
        if source["captions"] == "sidecar" and path.suffix == ".txt" and path.with_suffix("") in described:
            continue  # a caption, read with its clip
        known = path.suffix.lower() in wanted
        problem = "" if known else f"not one of {' '.join(sorted(wanted))}"
        caption = _caption(path, source["captions"])
        yield make_item(source, readable(name), str(path), caption=caption, problem=problem)


def _caption(path: Path, captions: str) -> str:
    """Caption of a file in a folder: its name, the text file beside it, or none."""
    if captions == "filename":
        return readable(path.stem.replace("_", " "))
    beside = path.with_suffix(".txt")
    if captions == "sidecar" and beside.is_file() and beside != path:
        return beside.read_text(encoding="utf-8", errors="replace").strip()
    return ""


def _list_csv(source: dict) -> Iterator[Item]:
    for line, row in read_list(source["path"], COLUMNS[:1], COLUMNS[1:]):
        yield _parse_row(source, row, Path(source["path"]), line)


def _parse_row(source: dict, row: dict, path: Path, line: int) -> Item:
    where = f"{path}, line {line}"
    name = row["path"]
    locator = name if source["kind"] == "gameplay" else str(resolve_path(name, path.parent))
    (start,) = _numbers(row, "start_s", where, "a number of seconds >= 0") or (0.0,)
    (copies,) = _numbers(row, "copies", where, "a whole number >= 0", int) or (1,)
    crop = _numbers(row, "crop", where, "four fractions 'x y width height'", count=4) or None
    split = row.get("split") or source["split"]
    if split not in SPLITS:
        hint = "what the model was trained on is member, other clips are heldout"
        raise VidmemError(f"{', '.join(SPLITS[:-1])} or {SPLITS[-1]} in column split", repr(split[:40]), where, hint)
    expect = tuple((key, row[key].strip().lower()) for key in (*HASHES, "bytes", "seconds") if row.get(key))
    about = {"caption": row.get("caption") or "", "url": row.get("url") or "", "expect": expect, "copies": copies}
    return make_item(source, name, locator, start, crop, split, packaged=name.startswith("package:"), **about)


def _numbers(row: dict, column: str, where: str, expected: str, kind: type = float, count: int = 1) -> tuple:
    """Numbers of a cell, none of them negative; () for an empty one."""
    text = row.get(column) or ""
    try:
        found = tuple(kind(part) for part in text.split())
    except ValueError:
        found = (math.nan,)
    if text and (len(found) != count or not all(math.isfinite(number) and number >= 0 for number in found)):
        raise VidmemError(f"{expected} in column {column}", repr(text[:40]), where)
    return found


Lister = Callable[[dict], Iterator[Item]]

READERS: dict[str, Lister] = {
    "folder": _list_folder,
    "images": _list_folder,
    "list": _list_csv,
    "gameplay": _list_csv,
    "webvid": list_webvid,
    "openvid": list_openvid,
    "ucf101": list_ucf101,
    "kinetics": list_kinetics,
    "laion": list_laion,
    "webdataset": list_webdataset,
    "cifar10": list_cifar10,
    "parquet": list_parquet,
}
"""Kinds of sources."""


def _mark_repeats(items: list[Item]) -> list[Item]:
    """Give repeated rows ids of their own and a problem: they are counted, not read twice."""
    seen: dict[str, int] = {}
    marked = []
    for item in items:
        seen[item.clip_id] = seen.get(item.clip_id, 0) + 1
        if seen[item.clip_id] > 1:
            problem = f"repeats {item.clip_id}: state copies in the column of that name"
            item = replace(item, clip_id=f"{item.clip_id}-repeat{seen[item.clip_id]}", problem=problem, status="skipped")
        marked.append(item)
    return marked


def resolve_path(name: str, folder: Path) -> Path:
    """Path of a listed file: absolute, relative to the list's folder, or 'package:NAME/...' inside an installed package.

    The package is located, not imported.
    """
    if not name.startswith("package:"):
        return folder / name
    package, _, inner = name.removeprefix("package:").partition("/")
    found = importlib.util.find_spec(package) if package.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise VidmemError("an installed package", package, name, f"pip install {package}")
    return Path(next(iter(found.submodule_search_locations))) / inner

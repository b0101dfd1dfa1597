"""Items of a corpus, listed from folders and list files without opening the footage.

Standard library only: the workflow lists a corpus to know which of its shards changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from ..base.file_faults import file_fault
from ..errors import VidmemError
from .files import walk_folder
from .hub_datasets import located
from .item import Item, Place, file_state, shard_of_clip
from .layouts import LAYOUTS, is_still

LISTED_FILES = 200_000
"""At most so many files are asked for their size and modification time: more would take too long."""


def list_source(source: dict) -> list[Item]:
    """Items of one source of the configuration.

    Args:
        source: the source's keys, such as name, kind (a name of LAYOUTS), path and split.

    Raises:
        VidmemError: the folder or the list is not there, or the list has wrong columns or values.
    """
    return list(_items(source))


def list_corpus(sources: list[dict], shard: int = 0, shards: int = 1) -> list[tuple[dict, Item]]:
    """Items of one shard of a corpus, each with its source. If an item is listed twice, the second one is marked."""
    mine = [(source, item) for place, source, item in _placed(sources, shards) if place == shard]
    return list(zip([source for source, _ in mine], _mark_repeats([item for _, item in mine])))


def find_items(sources: list[dict], clip_ids: Collection[str]) -> list[tuple[dict, Item]]:
    """Find items by their clip ids: for each id the first listed item, with its source, in the order of the lists."""
    missing, found = set(clip_ids), []
    for _, source, item in _placed(sources, 1):
        if item.clip_id in missing:
            missing.discard(item.clip_id)
            found.append((source, item))
        if not missing:
            break
    return found


def digest_shards(sources: list[dict], shards: int) -> list[str]:
    """Digest of each shard of a corpus: of what it lists, and of the sizes and modification times of its files.

    A digest only depends on the lines of its own shard, not on the other lines between them. Files of installed packages do
    not count. A file that holds many items counts once. If there are more than LISTED_FILES files, no file counts, because
    reading so many times takes too long. A pinned repository counts by its pin, because it may not have been fetched yet.

    Returns:
        For each shard the first twelve hexadecimal digits of a SHA-256.
    """
    digests = [hashlib.sha256() for _ in range(shards)]
    files: dict = {}
    pinned = [source for source in sources if source.get("repository")]
    common = [*pinned, *(_folder_state(source["recover"]) for source in sources if source.get("recover"))]
    for digest in digests if common else []:
        digest.update(f"{common}\n".encode("utf-8", "surrogateescape"))
    for shard, _, item in _placed([source for source in sources if source not in pinned], shards):
        listed = (
            replace(item, place=Place("")) if item.packaged else item
        )  # the digest must not depend on where a package is installed
        digests[shard].update(f"{listed}\n".encode("utf-8", "surrogateescape"))
        layout = LAYOUTS[item.kind]
        if not layout.recorded and not item.packaged and len(files) <= LISTED_FILES:
            whole = item.place.file if layout.container else len(files)
            files.setdefault((shard, whole), item)
    for (shard, _), item in files.items() if len(files) <= LISTED_FILES else []:
        digests[shard].update(f"{file_state(item)}\n".encode())
    return [digest.hexdigest()[:12] for digest in digests]


def _folder_state(folder: str) -> list[tuple[str, int, int]]:
    """Names, sizes and times of the files in a folder of recovered files. Each of them may belong to any lost item."""
    files = (entry.path for entry in walk_folder(Path(folder)) if not file_fault(entry.path))
    states = ((str(path), path.stat()) for path in islice(files, LISTED_FILES))
    return [(path, state.st_size, state.st_mtime_ns) for path, state in states]


def _placed(sources: list[dict], shards: int) -> Iterator[tuple[int, dict, Item]]:
    """Yield every item with its shard and source, one by one: a list may have millions of lines, and a job keeps a shard."""
    for source in sources:
        for item in _items(source):
            yield shard_of_clip(item.clip_id, shards), source, item


def _items(source: dict) -> Iterator[Item]:
    return (clip for item in listed_items(located(source)) for clip in spread_item(item, source.get("windows", 1)))


def listed_items(source: dict) -> Iterator[Item]:
    """Items of a source, one for each video, even if the video is read as several windows.

    Args:
        source: the source with its path on this machine, as located returns it.

    Raises:
        VidmemError: the source lists nothing.
    """
    item, layout = None, LAYOUTS[source["kind"]]
    for item in layout.items(source):
        yield item
    if item is None:
        hint = "list what the model was trained on, or leave the source out"
        raise VidmemError("at least one clip or image", layout.empty, f"{source['path']} (source {source['name']})", hint)


def spread_item(item: Item, count: int) -> list[Item]:
    """Spread an item over its video as `count` clips. The first keeps the item's clip id, and the others get new ids.

    A held-out item stays one clip: it is only looked up, and no search may find it. A picture, recorded footage and an item
    with a problem stay one clip, too.
    """
    if item.split == "heldout" or item.problem or LAYOUTS[item.kind].recorded or is_still(item):
        return [item]
    further = (replace(item, clip_id=f"{item.clip_id}-w{number}", window=(number, count)) for number in range(2, count + 1))
    return [replace(item, window=(1, count)), *further]


def _mark_repeats(items: list[Item]) -> list[Item]:
    """Give repeated items new ids and a problem, so that they are counted but not read again."""
    seen: dict[str, int] = {}
    marked = []
    for item in items:
        seen[item.clip_id] = seen.get(item.clip_id, 0) + 1
        if seen[item.clip_id] > 1:
            problem = f"repeats {item.clip_id}: state copies in the column of that name"
            item = replace(item, clip_id=f"{item.clip_id}-repeat{seen[item.clip_id]}", problem=problem, status="skipped")
        marked.append(item)
    return marked

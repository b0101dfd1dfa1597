"""What a corpus consists of: items listed from folders and CSV files, without opening the footage."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import VidmemError
from ..lists import read_list
from ..store import hash_text, slug
from .decode import IMAGE_SUFFIXES, VIDEO_SUFFIXES

COLUMNS = ("path", "caption", "copies", "split", "start_s", "crop")
SPLITS = ("member", "heldout", "image")


@dataclass(frozen=True)
class Item:
    """One clip or image to read.

    Attributes:
        clip_id: safe and unique, made of the source's name and what is read.
        source, kind: name and kind of the source.
        path: file, or the name of a game.
        caption: hostile text, never a path.
        split: 'member', 'heldout' or 'image'.
        copies: times it was seen in training (a sampling weight).
        start_s: where the clip begins, seconds.
        crop: (x, y, width, height) as fractions of the frame, or None.
        problem: why it must be skipped; '' if it need not.
    """

    clip_id: str
    source: str
    kind: str
    path: str
    caption: str = ""
    split: str = "member"
    copies: int = 1
    start_s: float = 0.0
    crop: tuple[float, float, float, float] | None = None
    problem: str = ""


def list_source(source: dict) -> list[Item]:
    """Items of one source of the configuration.

    Args:
        source: name, kind ('folder', 'images', 'list', 'gameplay'), path, split.

    Raises:
        VidmemError: the folder or the list is not there, or the list has wrong columns or values.
    """
    readers = {"folder": _list_folder, "images": _list_folder, "list": _list_csv, "gameplay": _list_csv}
    return list(readers[source["kind"]](source))


def list_corpus(sources: list[dict]) -> list[tuple[dict, Item]]:
    """Items of all sources with their source; what is listed twice is marked."""
    pairs = [(source, item) for source in sources for item in list_source(source)]
    return list(zip([source for source, _ in pairs], _mark_repeats([item for _, item in pairs])))


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
        yield _item(source, readable(name), str(path), caption=caption, split=source["split"], problem=problem)


def _caption(path: Path, captions: str) -> str:
    """Caption of a file in a folder: its name, the text file beside it, or none."""
    if captions == "filename":
        return readable(path.stem.replace("_", " "))
    beside = path.with_suffix(".txt")
    if captions == "sidecar" and beside.is_file() and beside != path:
        return beside.read_text(encoding="utf-8", errors="replace").strip()
    return ""


def readable(name: str) -> str:
    """A file name as text that can be stored: bytes that are not UTF-8 become replacement characters."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _list_csv(source: dict) -> Iterator[Item]:
    for line, row in read_list(source["path"], COLUMNS[:1], COLUMNS[1:]):
        yield _parse_row(source, row, Path(source["path"]), line)


def _parse_row(source: dict, row: dict, path: Path, line: int) -> Item:
    where = f"{path}, line {line}"
    name = row["path"]
    locator = name if source["kind"] == "gameplay" else str(resolve_path(name, path.parent))
    try:
        start, copies = float(row.get("start_s") or 0), int(row.get("copies") or 1)
        crop = tuple(float(part) for part in row["crop"].split()) if row.get("crop") else None
    except ValueError as error:
        raise VidmemError("numbers in copies, start_s and crop", error, where) from error
    split = row.get("split") or source["split"]
    if split not in SPLITS or copies < 0 or start < 0 or (crop and len(crop) != 4):
        got = {"split": split, "copies": copies, "start_s": start, "crop": crop}
        raise VidmemError(f"split of {SPLITS}, copies >= 0, start_s >= 0, crop 'x y width height'", got, where)
    item = _item(source, name, locator, caption=row.get("caption") or "", split=split, start=start, crop=crop)
    return replace(item, copies=copies if split != "heldout" else 0)


def _item(
    source: dict,
    name: str,
    locator: str,
    caption: str,
    split: str,
    problem: str = "",
    start: float = 0.0,
    crop: tuple | None = None,
) -> Item:
    stem = slug(Path(name).stem.lower().replace("_", "-"))
    identity = stem if source["kind"] == "gameplay" else f"{stem}-{hash_text(name, start, crop)[:8]}"
    copies = 0 if split == "heldout" else 1
    return Item(
        f"{source['name']}-{identity}", source["name"], source["kind"], locator, caption, split, copies, start, crop, problem
    )


def _mark_repeats(items: list[Item]) -> list[Item]:
    """Give repeated rows ids of their own and a problem: they are counted, not read twice."""
    seen: dict[str, int] = {}
    marked = []
    for item in items:
        seen[item.clip_id] = seen.get(item.clip_id, 0) + 1
        if seen[item.clip_id] > 1:
            problem = f"repeats {item.clip_id}: state copies in the column of that name"
            item = replace(item, clip_id=f"{item.clip_id}-repeat{seen[item.clip_id]}", problem=problem)
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

"""Parquet files as the hub stores data sets: a column of pictures or videos, and a column of captions or labels.

Listing reads only names and captions. A job later reads the bytes of its own items from the Parquet file. Nothing is unpacked
to disk. Standard library and pyarrow only.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from ..base.list_files import Rows, cell_text, open_list
from ..errors import ClipError, VidmemError
from .files import check_file, known_files, walk_folder
from .item import Item, make_item

PICTURE_COLUMNS = ("image", "img", "jpg", "png", "webp", "video", "mp4")
CAPTION_COLUMNS = ("caption", "text", "prompt", "label", "fine_label")


def list_parquet(source: dict) -> Iterator[Item]:
    """Rows of Parquet files as the hub stores them.

    One column holds the footage, as bytes or as structs with bytes. Another column may hold captions or labels.

    A file is member if its name starts with train, and held out if it starts with test or val. Otherwise the innermost folder
    with a name such as train or test decides; the source's path counts, too. Without such a folder the source's split holds.

    Raises:
        VidmemError: no such file, a damaged file, a file without a known column of footage, or a folder that may not be
            entered.
    """
    root = Path(source["path"])
    inside = os.path.isdir(root)
    paths = [path for path in known_files(walk_folder(root)) if path.name.endswith(".parquet")] if inside else [root]
    if not paths:
        raise VidmemError("Parquet files", "none", f"{root} (source {source['name']})")
    for path in paths:
        names, rows = open_list(path)
        footage = next((name for name in PICTURE_COLUMNS if name in names), None)
        if footage is None:
            raise VidmemError(f"a column of {', '.join(PICTURE_COLUMNS)}", names, str(path))
        told = next((name for name in CAPTION_COLUMNS if name in names), None)
        classes = class_names(path, told)
        name = path.relative_to(root).as_posix() if inside else path.name
        split = _split_of([*path.relative_to(root.parent).parts] if inside else path.parts[-2:], source["split"])
        for index, caption in _captions(path, rows, told):
            caption = classes.get(caption, caption)
            part = f"{index}:{footage}"
            yield make_item(source, f"{name}/{index}", str(path), part=part, split=split, caption=caption)


def _captions(path: Path, rows: Callable[[Sequence[str]], Rows], column: str | None) -> Iterator[tuple[int, str]]:
    """Index and caption of every row. If the file has no captions, only its number of rows is read."""
    if column is None:
        import pyarrow.parquet

        yield from ((index, "") for index in range(pyarrow.parquet.ParquetFile(path).metadata.num_rows))
        return
    for line, row in rows([column]):
        yield line - 1, cell_text(row.get(column), f"{path}, row {line}")


MEMBERS, HELD_OUT = ("train",), ("test", "val")
SPLIT_FOLDER = re.compile(r"(?:partial-)?(?:(train|training)|(test|testing|val|valid|validation))")
"""Names of folders that hold a split. The hub's own conversion to Parquet writes partial- before some of them."""


def _split_of(parts: Sequence[str], split: str) -> str:
    """Split of a file: by its name, else by its innermost folder that is named after a split, else `split`.

    >>> _split_of(["default", "train", "test-0.parquet"], "member"), _split_of(["test", "0000.parquet"], "member")
    ('heldout', 'heldout')
    """
    *folders, name = parts
    if name.startswith((*MEMBERS, *HELD_OUT)):
        return "member" if name.startswith(MEMBERS) else "heldout"
    found = next(filter(None, map(SPLIT_FOLDER.fullmatch, reversed(folders))), None)
    return split if found is None else "member" if found[1] else "heldout"


def class_names(path: Path, column: str | None) -> Mapping[str, str]:
    """Names of the classes in a column by their numbers, as the hub notes them in the file; empty if it notes none."""
    import pyarrow.parquet

    noted = (pyarrow.parquet.read_schema(path).metadata or {}).get(b"huggingface", b"{}")
    try:
        about = json.loads(noted)["info"]["features"][column]["names"]
    except (ValueError, KeyError, TypeError):
        return {}
    return {str(number): str(name) for number, name in enumerate(about)} if isinstance(about, list) else {}


def read_cell(path: Path, part: str) -> bytes:
    """Read the bytes of a cell of a Parquet file. The cell may hold bytes, or a struct with bytes.

    Args:
        path: the Parquet file.
        part: row:column.

    Raises:
        ClipError: no such file, no such row, or a cell without bytes.
    """
    check_file(path)
    row, _, column = part.partition(":")
    first, cells = _row_group(str(path), column, int(row), path.stat().st_mtime_ns)
    value = cells[int(row) - first]
    value = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(value, bytes):
        raise ClipError("missing", "the row has no bytes")
    return value


def _row_group(path: str, column: str, row: int, state: int) -> tuple[int, list]:
    """Find the row group with a row: its first row, and its cells of a column. A change of `state` empties the caches."""
    first = 0
    for group, rows in enumerate(_group_sizes(path, state)):
        if row < first + rows:
            return first, _cells(path, column, group, state)
        first += rows
    raise ClipError("missing", "no such row")


@lru_cache(maxsize=4)
def _group_sizes(path: str, state: int) -> list[int]:
    import pyarrow.parquet

    about = pyarrow.parquet.ParquetFile(path).metadata
    return [about.row_group(group).num_rows for group in range(about.num_row_groups)]


@lru_cache(maxsize=1)
def _cells(path: str, column: str, group: int, state: int) -> list:
    """Cells of a column in a row group. A shard reads its rows in the order of the file, so one group in memory is enough."""
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(path).read_row_group(group, columns=[column]).column(column).to_pylist()


def is_picture(part: str) -> bool:
    """Whether a cell is a picture and not a video, by the name of its column."""
    return not re.search("video|mp4|webm", part)

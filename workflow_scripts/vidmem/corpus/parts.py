"""The bytes of one item out of a larger file: a member of a tar, a record of a CIFAR-10 batch, a cell of a Parquet file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from ..containers import CIFAR_RECORD
from ..errors import ClipError
from .decode import File, Footage, check_file


def read_member(path: Path, part: str) -> File:
    """Content of a member of a tar.

    Args:
        part: offset+size.suffix, as containers.list_webdataset writes it.
    """
    check_file(path)
    span = part.partition(".")[0]
    offset, size = (int(number) for number in span.split("+"))
    with open(path, "rb") as file:
        file.seek(offset)
        content = file.read(size)
    if len(content) < size:
        raise ClipError("undecodable", "the tar ends within this member")
    return content


def read_record(path: Path, part: str) -> Footage:
    """A picture of a CIFAR-10 batch: uint8 [1, 32, 32, 3]."""
    check_file(path)
    with open(path, "rb") as file:
        file.seek(int(part) * CIFAR_RECORD)
        record = file.read(CIFAR_RECORD)
    if len(record) < CIFAR_RECORD:
        raise ClipError("undecodable", "the batch ends within this record")
    planes = np.frombuffer(record, np.uint8, offset=1).reshape(3, 32, 32)
    return Footage(np.ascontiguousarray(planes.transpose(1, 2, 0))[None], 0.0)


def read_cell(path: Path, part: str) -> File:
    """Content of a cell of a Parquet file: bytes, or a struct with bytes.

    Args:
        part: row:column.
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
    """First row of the row group that a row is in, and the cells of a column there."""
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
    """The rows of a shard come in the order of the file: one row group in memory is enough."""
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(path).read_row_group(group, columns=[column]).column(column).to_pylist()

"""CSV lists that users write: one strict reader, so that no cell is shifted, swallowed or lost."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import VidmemError

CELL = 2**24  # characters; the csv module's own limit is 131,072, which a long caption can pass


def read_header(path: Path | str, delimiter: str = ",") -> list[str]:
    """Names of the columns of a CSV file; none for an empty one.

    Raises:
        VidmemError: no such file, or another encoding.
    """
    path = Path(path)
    with _named_errors(path, [1]), open(_existing(path), newline="", encoding="utf-8-sig") as file:
        return next(csv.reader(file, delimiter=delimiter, strict=True), [])


def read_list(
    path: Path | str, required: Sequence[str], optional: Sequence[str] = (), delimiter: str = ","
) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with their line numbers; a cell that is not there reads as ''.

    Args:
        path: UTF-8, with or without a byte order mark.
        required: columns that must be there; optional: columns that may be. No others may.
        delimiter: between cells.

    Raises:
        VidmemError: no such file, another encoding, other columns, more cells than columns (a comma without quotes), or a
            quote that is never closed.
    """
    path, line = Path(path), [1]
    columns = f"columns {', '.join(required)}" + (f" and some of {', '.join(optional)}" if optional else "")
    with _named_errors(path, line), open(_existing(path), newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, restval="", strict=True, delimiter=delimiter)
        fields = list(reader.fieldnames or [])
        if not set(required) <= set(fields) <= {*required, *optional} or len(set(fields)) < len(fields):
            raise VidmemError(columns, fields, str(path), "the first line names the columns")
        for row in reader:
            line[0] = reader.line_num
            if None in row:
                extra = delimiter.join(row.pop(None))
                where = f"{path}, line {line[0]}"
                raise VidmemError(f"{len(fields)} cells", f"more: {extra[:80]!r}", where, "quote commas")
            yield line[0], row


def _existing(path: Path) -> Path:
    csv.field_size_limit(CELL)
    if not path.is_file():
        raise VidmemError("a CSV file", "none", str(path))
    return path


@contextmanager
def _named_errors(path: Path, line: list[int]) -> Iterator[None]:
    """What the reader stumbles over as an error that names the file and the last line that was whole."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise VidmemError("text in UTF-8", str(error), str(path), "save the list as UTF-8") from error
    except csv.Error as error:
        where = f"{path}, after line {line[0]}"
        raise VidmemError("a CSV file", str(error), where, "a quote that is not closed?") from error

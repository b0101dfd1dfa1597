"""CSV lists that users write: one strict reader, so that no cell is shifted, swallowed or lost."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from .errors import VidmemError

CELL = 2**24  # characters; the csv module's own limit is 131,072, which a long caption can pass


def read_list(path: Path | str, required: Sequence[str], optional: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with their line numbers; a cell that is not there reads as ''.

    Args:
        path: UTF-8, with or without a byte order mark.
        required: columns that must be there; optional: columns that may be. No others may.

    Raises:
        VidmemError: no such file, another encoding, other columns, more cells than columns (a comma without quotes), or a
            quote that is never closed.
    """
    path = Path(path)
    if not path.is_file():
        raise VidmemError("a CSV file", "none", str(path))
    csv.field_size_limit(CELL)
    columns, line = f"columns {', '.join(required)}" + (f" and some of {', '.join(optional)}" if optional else ""), 1
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="", strict=True)
            fields = list(reader.fieldnames or [])
            if not set(required) <= set(fields) <= {*required, *optional} or len(set(fields)) < len(fields):
                raise VidmemError(columns, fields, str(path), "the first line names the columns")
            for row in reader:
                line = reader.line_num
                if None in row:
                    extra = ",".join(row.pop(None))
                    raise VidmemError(f"{len(fields)} cells", f"more: {extra[:80]!r}", f"{path}, line {line}", "quote commas")
                yield line, row
    except UnicodeDecodeError as error:
        raise VidmemError("text in UTF-8", str(error), str(path), "save the list as UTF-8") from error
    except csv.Error as error:
        raise VidmemError("a CSV file", str(error), f"{path}, after line {line}", "a quote that is not closed?") from error

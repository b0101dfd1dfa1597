"""Strict readers for lists that users write or publish, so that no cell is shifted, swallowed or lost.

The readers refuse pickles, because reading a pickle runs its code. They use the standard library only, except for Parquet.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import VidmemError
from .file_faults import file_fault

PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".joblib", ".dill", ".npy", ".npz")
CELL = 2**24  # characters of a cell; the csv module's own limit of 131,072 is too low for long captions

Rows = Iterator[tuple[int, Mapping[str, object]]]
Reader = Callable[[Path], tuple[list[str], Callable[[Sequence[str]], Rows]]]


def read_header(path: Path | str, delimiter: str = ",") -> list[str]:
    """Names of the columns of a CSV file; [] for an empty file.

    Raises:
        VidmemError: no such file, or another encoding.
    """
    path = Path(path)
    with _named_errors(path, [1]), open(_existing(path), newline="", encoding="utf-8-sig") as file:
        return next(csv.reader(file, delimiter=delimiter, strict=True), [])


def read_list(
    path: Path | str, required: Sequence[str], optional: Sequence[str] = (), delimiter: str = ","
) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with their line numbers; a missing cell reads as ''.

    Args:
        path: file in UTF-8, with or without a byte order mark.
        required: columns that the file must have.
        optional: columns that the file may have. All other columns are errors.
        delimiter: character between cells.

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
            raise VidmemError(columns, fields or "an empty file", str(path), header_hint(fields, [*required, *optional]))
        for row in reader:
            line[0] = reader.line_num
            if None in row:
                extra = delimiter.join(row.pop(None))
                where = f"{path}, line {line[0]}"
                raise VidmemError(f"{len(fields)} cells", f"more: {extra[:80]!r}", where, "quote commas")
            yield line[0], row


def header_hint(fields: Sequence[str], known: Sequence[str]) -> str:
    """Hint for a first line that does not name the expected columns."""
    if len(fields) == 1 and any(sign in fields[0] for sign in ";\t"):
        return "separate the cells by commas, in every line"
    alike = {name: field for field in fields for name in known if field != name and field.strip().lower() == name}
    if alike:
        return "rename " + ", ".join(f"{field!r} to {name!r}" for name, field in alike.items()) + " in the first line"
    return "the first line names the columns"


def _existing(path: Path) -> Path:
    csv.field_size_limit(CELL)
    if fault := file_fault(path):
        raise VidmemError("a CSV file", fault.reason, str(path))
    return path


@contextmanager
def _named_errors(path: Path, line: list[int]) -> Iterator[None]:
    """Turn errors of the CSV reader into a VidmemError with the file and the last line that was read whole.

    Args:
        line: one element, the number of that line; the caller keeps it up to date.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise VidmemError("text in UTF-8", str(error), str(path), "save the list as UTF-8") from error
    except csv.Error as error:
        where = f"{path}, after line {line[0]}"
        raise VidmemError("a CSV file", str(error), where, "a quote that is not closed?") from error


def cell_text(value: object, where: str) -> str:
    """A cell as text: '' for a missing value, and the items of a list with spaces between.

    Raises:
        VidmemError: a value of another type, or text that UTF-8 cannot hold.
    """
    if type(value) is str and value.isascii():
        return value  # a shortcut for nearly every cell: lists have millions
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list):
        return " ".join(cell_text(item, where) for item in value)
    if not isinstance(value, (str, bool, int, float)):
        raise VidmemError("text, a number or a list of them", type(value).__name__, where)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise VidmemError("text that UTF-8 can hold", str(error), where, "half of a surrogate pair?") from error
    return text


def open_list(path: Path | str) -> tuple[list[str], Callable[[Sequence[str]], Rows]]:
    """Open a list of any supported format.

    Args:
        path: .csv, .tsv, .jsonl, .ndjson, .parquet or .txt. A .txt file has one column, prompt, and one prompt a line.

    Returns:
        Names of the columns, and a function that reads the rows one by one. It takes the wanted columns and gives an iterator
        over (line number, row). A row may hold further columns.

    Raises:
        VidmemError: a pickle, another format, no such file, or a line that cannot be read.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        hint = "reading it would run code of its author; write it as CSV, JSONL or Parquet where you trust it"
        raise VidmemError("a list that is no pickle", path.name, str(path), hint)
    if suffix not in READERS:
        raise VidmemError(f"a list in {', '.join(READERS)}", path.name, str(path), "unpack or convert it")
    if fault := file_fault(path):
        raise VidmemError("a list", fault.reason, str(path))
    return READERS[suffix](path)


def _read_csv(path: Path) -> tuple[list[str], Callable[[Sequence[str]], Rows]]:
    """Read a CSV file: tabs part the cells of a .tsv file, semicolons if the first line has them and no comma, else commas."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    names = read_header(path, delimiter)
    if len(names) == 1 and ";" in names[0]:
        delimiter = ";"
        names = read_header(path, delimiter)
    return names, lambda _: read_list(path, names, delimiter=delimiter)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a text file with their numbers, without the line breaks."""
    with open(path, "rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                where = f"{path}, line {number}"
                raise VidmemError("text in UTF-8", str(error), where, "save the list as UTF-8") from error
            yield number, text.removesuffix("\n").removesuffix("\r")


def _read_text(path: Path) -> tuple[list[str], Callable[[Sequence[str]], Rows]]:
    return ["prompt"], lambda _: ((line, {"prompt": text}) for line, text in _lines(path))


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"a key twice: {[key for key, _ in pairs]}")
    return dict(pairs)


def _objects(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    for line, text in _lines(path):
        if not text.strip():
            continue
        try:
            value = json.loads(text, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise VidmemError("a JSON object a line", str(error)[:200], f"{path}, line {line}") from error
        if not isinstance(value, dict):
            raise VidmemError("a JSON object a line", type(value).__name__, f"{path}, line {line}")
        yield line, value


def _read_jsonl(path: Path) -> tuple[list[str], Callable[[Sequence[str]], Rows]]:
    """Read the file twice, first for its keys and then for its rows, so that a long list never lies in memory as a whole."""
    names = dict.fromkeys(key for _, row in _objects(path) for key in row)
    return list(names), lambda _: _objects(path)


def _read_parquet(path: Path) -> tuple[list[str], Callable[[Sequence[str]], Rows]]:
    import pyarrow
    import pyarrow.parquet

    @contextmanager
    def named() -> Iterator[None]:
        try:
            yield
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise VidmemError("a whole Parquet file", str(error)[:200], str(path), "fetch or copy it again") from error

    with named():
        file = pyarrow.parquet.ParquetFile(path)

    def rows(columns: Sequence[str]) -> Rows:
        with named():
            batches = file.iter_batches(columns=list(columns))
            yield from enumerate((row for batch in batches for row in batch.to_pylist()), 1)

    return file.schema_arrow.names, rows


READERS: dict[str, Reader] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": _read_parquet,
    ".txt": _read_text,
}

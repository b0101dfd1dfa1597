"""Files of the workflow: atomic writes, arrays and tables with checksums, hashes, safe names.

Every writer writes a temporary file in the same folder, calls fsync and renames the file. So a killed job never leaves a
partial file under the final name. Arrays and tables carry checksums, and their readers check them.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from ..errors import VidmemError
from .checksums import TABLE_KEYS, CheckedFile, append_checksums, check_table, damaged, sign_table
from .identity import hash_text as hash_text
from .identity import shard_of as shard_of
from .identity import slug as slug

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NOT_ALLOWED = {errno.EROFS, errno.EACCES, errno.EPERM}
NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}
_JOB = {"recipe": ""}


def write_as(recipe: str) -> None:
    """Set the recipe (digest of the job's parameters) that all arrays and tables of this process will state."""
    _JOB["recipe"] = recipe


@contextmanager
def writing(path: Path | str) -> Iterator[BinaryIO]:
    """Open a file for reading and writing that gets its final name only if the block ends without an error.

    Args:
        path: final name. Missing parent folders are made.

    Raises:
        VidmemError: there is no room, no permission to write there, or another process writes this file.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _claim(temporary) as file:
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                os.replace(temporary, path)  # renamed while it is locked, so that no other process has it open
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:
        if error.filename is None or Path(error.filename) in (temporary, *path.parents):
            raise _named(error, path) from error
        raise


def _claim(temporary: Path) -> BinaryIO:
    """Open a temporary file, lock it, and empty it: a killed writer may have left something in it.

    The kernel drops a lock when its process dies, however it dies.
    """
    while True:
        file = os.fdopen(os.open(temporary, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            hint = "two runs in one folder? wait for the other, or end it"
            raise VidmemError("to be the only writer of a file", "another process", str(temporary), hint) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        if _is_at(temporary, file):
            file.truncate(0)
            return file
        file.close()  # another writer has just given this file its final name: try again with a new one


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _named(error: OSError, path: Path) -> Exception:
    """Error of the operating system as a VidmemError that names the file, if the user can act on it."""
    again = "then run again: it goes on from the files that are whole"
    if error.errno in NO_ROOM:
        return VidmemError("room for a file", error.strerror, str(path), f"make room, {again}")
    if error.errno in NOT_ALLOWED:
        return VidmemError("a folder that can be written", error.strerror, str(path), f"make it writable, {again}")
    return error


def write_atomic(path: Path | str, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file whole or not at all.

    Args:
        path: final name. Missing parent folders are made.
        write: function that writes the content into a binary file, open for reading and writing.
    """
    with writing(path) as file:
        write(file)


def save_checked(path: Path | str, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file whole or not at all, with a footer of checksums. Readers of its format must ignore bytes behind the end."""
    with writing(path) as file:
        write(file)
        append_checksums(file, _JOB["recipe"])


def vouch_for(path: Path | str) -> None:
    """Append a footer of checksums to a file that another library has written and that no other job reads yet."""
    with open(path, "r+b") as file:
        append_checksums(file, _JOB["recipe"])
        file.flush()
        os.fsync(file.fileno())


def save_array(path: Path | str, array: np.ndarray) -> None:
    """Save one array as .npy (memory-mappable, no pickle) with checksums."""
    save_checked(path, lambda file: np.save(file, np.ascontiguousarray(array), allow_pickle=False))


class CheckedArray:
    """A .npy array, mapped read-only. Rows are checked against their checksums when they are first read.

    Args:
        path: file that save_array or ArrayWriter wrote.

    Attributes:
        array: the mapped array, unchecked.
        shape, dtype: shape and type of the array.

    Raises:
        VidmemError: the file is truncated or damaged, holds objects, is no .npy file or carries no checksums.
    """

    def __init__(self, path: Path | str):
        self._file = CheckedFile(path)
        self._file.check(0, 1)  # the header decides how the rest is read
        try:
            self.array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise damaged(path, "a whole .npy array", error) from error
        self.shape, self.dtype = self.array.shape, self.array.dtype
        self._start = self._file.footer.length - self.array.nbytes

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Checked rows [n, ...]: mapped for a slice, copied for an array of row numbers."""
        if isinstance(rows, np.ndarray):
            return self._chosen(rows)
        first, last, step = rows.indices(len(self))
        if step != 1:
            raise VidmemError("rows one after another", rows, "CheckedArray")
        width = self.array.nbytes // max(1, len(self))
        if last > first:
            self._file.check(self._start + first * width, self._start + last * width)
        return self.array[rows]

    def _chosen(self, rows: np.ndarray) -> np.ndarray:
        width, block = self.array.nbytes // max(1, len(self)), self._file.footer.block
        first = self._start + np.asarray(rows, np.int64) * width
        for number in np.unique(np.concatenate([first // block, (first + width - 1) // block])):
            self._file.check(int(number) * block, int(number) * block + 1)
        return self.array[rows]


def load_array(path: Path | str, verify: bool = True) -> np.ndarray:
    """Map a .npy array read-only.

    Args:
        verify: read and check the whole file now; otherwise only its length and header are checked.

    Raises:
        VidmemError: see CheckedArray.
    """
    checked = CheckedArray(path)
    return checked[:] if verify else checked.array


class ArrayWriter:
    """Writes a .npy array of unknown length part by part, so that a shard need not fit in memory.

    Use it as a context manager; the file gets its final name only if the block ends without an error.

    Args:
        path: final name.
        tail: shape of one row.
        dtype: type of the array's elements.
    """

    def __init__(self, path: Path | str, tail: tuple[int, ...], dtype: str):
        self.path, self.tail, self.dtype, self.count = Path(path), tuple(tail), np.dtype(dtype), 0

    def __enter__(self) -> ArrayWriter:
        self._writing = writing(self.path)
        self._file = self._writing.__enter__()
        self._write_header()
        return self

    def append(self, rows: np.ndarray) -> int:
        """Write rows [n, *tail] and return the row number of the first one."""
        if rows.shape[1:] != self.tail:
            raise VidmemError(f"rows of shape {self.tail}", rows.shape[1:], str(self.path))
        self._file.write(np.ascontiguousarray(rows, dtype=self.dtype).tobytes())
        self.count += len(rows)
        return self.count - len(rows)

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if error_type is None:
            try:
                self._file.seek(0)
                self._write_header()
                append_checksums(self._file, _JOB["recipe"])
            except OSError as failure:
                return self._writing.__exit__(type(failure), failure, failure.__traceback__)
        return self._writing.__exit__(error_type, error, trace)

    def _write_header(self) -> None:
        """Write the header for the rows so far. NumPy pads it, so its length does not depend on the number of rows."""
        about = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(self._file, {**about, "shape": (self.count, *self.tail)})


def save_table(path: Path | str, table: pd.DataFrame) -> None:
    """Save a table as Parquet with its checksum."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    columns, memory = arrow.Table.from_pandas(table, preserve_index=False), io.BytesIO()
    noted = dict(zip(TABLE_KEYS, (_JOB["recipe"], "0" * 8)))
    parquet.write_table(columns.replace_schema_metadata({**(columns.schema.metadata or {}), **noted}), memory)
    content = sign_table(memory.getvalue())
    write_atomic(path, lambda file: file.write(content))


def load_table(path: Path | str, columns: Iterable[str] | None = None) -> pd.DataFrame:
    """Load a Parquet table that save_table wrote: the given columns, or all.

    Raises:
        VidmemError: the file is truncated or damaged, or carries no checksum.
    """
    content = Path(path).read_bytes()
    check_table(path, content)
    return pd.read_parquet(io.BytesIO(content), columns=None if columns is None else list(columns))


def load_tables(paths: Iterable[Path | str], columns: Iterable[str] | None = None) -> pd.DataFrame:
    """Load the shards of one table, with the given columns or all, and stack them in the given order.

    A shard without rows does not change the types of the columns.
    """
    return stacked([load_table(path, columns) for path in paths])


def stacked(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Stack tables in the given order. Tables without rows do not change the types of the columns."""
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]


def save_csv(path: Path | str, table: pd.DataFrame) -> None:
    """Save a table as CSV with numbers of six significant digits, so that files can be compared byte by byte."""
    text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_atomic(path, lambda file: file.write(text.encode()))


def save_json(path: Path | str, value: Any) -> None:
    """Save a value as JSON with sorted keys; NaN and infinity raise ValueError."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
    write_atomic(path, lambda file: file.write(text.encode()))


def save_text(path: Path | str, text: str) -> None:
    """Save text in UTF-8."""
    write_atomic(path, lambda file: file.write(text.encode()))


def hash_file(path: Path | str) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_frames(frames: np.ndarray) -> str:
    """First sixteen hexadecimal digits of the SHA-256 of a clip's shape and pixels; '' for a clip without frames."""
    if not len(frames):
        return ""
    digest = hashlib.sha256(str(frames.shape).encode())
    digest.update(np.ascontiguousarray(frames).tobytes())
    return digest.hexdigest()[:16]


def check_hash(path: Path, expected: str) -> str:
    """Check that the SHA-256 of a file begins with the expected hexadecimal digits, and return all its digits."""
    found = hash_file(path)
    if not found.startswith(expected):
        raise VidmemError(f"SHA-256 {expected}", found, str(path), "another version, or a damaged download: delete it")
    return found

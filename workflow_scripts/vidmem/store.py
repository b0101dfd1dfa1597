"""Files of the workflow: atomic writes, array shards with their tables, checksums, hashes, safe names.

Every writer goes through a temporary file in the same folder, fsync and rename, so that a killed job never
leaves a partial file under the final name. Arrays and tables carry checksums, and their readers look at them.
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
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from .checksums import TABLE_KEYS, CheckedFile, append_checksums, check_table, damaged, sign_table
from .errors import VidmemError
from .identity import hash_text as hash_text
from .identity import shard_of as shard_of
from .identity import slug as slug

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NOT_ALLOWED = {errno.EROFS, errno.EACCES, errno.EPERM}
NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}
_JOB = {"recipe": ""}


def write_as(recipe: str) -> None:
    """Say once a process what recipe the arrays and tables it writes are of: a digest of the job's parameters."""
    _JOB["recipe"] = recipe


@contextmanager
def writing(path: Path | str) -> Iterator[BinaryIO]:
    """A file, open for reading and writing, that appears under its name when the block ends without an error.

    Args:
        path: final name. Parents are made.

    Raises:
        VidmemError: no room, no permission to write there, or another process that writes the same file.
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
                os.replace(temporary, path)  # while it is locked: nobody else may have it open then
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:
        if error.filename is None or Path(error.filename) in (temporary, *path.parents):
            raise _named(error, path) from error
        raise


def _claim(temporary: Path) -> BinaryIO:
    """Open a temporary file and lock it; what a killed writer left in it goes.

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
        file.close()  # its writer has just finished it: it lies under its final name


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _named(error: OSError, path: Path) -> Exception:
    again = "then run again: it goes on from the files that are whole"
    if error.errno in NO_ROOM:
        return VidmemError("room for a file", error.strerror, str(path), f"make room, {again}")
    if error.errno in NOT_ALLOWED:
        return VidmemError("a folder that can be written", error.strerror, str(path), f"make it writable, {again}")
    return error


def write_atomic(path: Path | str, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file whole or not at all.

    Args:
        path: final name. Parents are made.
        write: called with a binary file open for reading and writing.
    """
    with writing(path) as file:
        write(file)


def save_checked(path: Path | str, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file whole or not at all, with checksums behind it; for formats whose readers ignore what follows."""
    with writing(path) as file:
        write(file)
        append_checksums(file, _JOB["recipe"])


def vouch_for(path: Path | str) -> None:
    """Write checksums behind a file that a library has written by its path and that nobody reads yet."""
    with open(path, "r+b") as file:
        append_checksums(file, _JOB["recipe"])
        file.flush()
        os.fsync(file.fileno())


def save_array(path: Path | str, array: np.ndarray) -> None:
    """Save one array as .npy (memory-mappable, no pickle) with checksums."""
    save_checked(path, lambda file: np.save(file, np.ascontiguousarray(array), allow_pickle=False))


class CheckedArray:
    """A .npy array, mapped read-only; rows are checked against their checksums when they are first asked for.

    Args:
        path: written by save_array or ArrayWriter.

    Attributes:
        array: mapped, unchecked; shape, dtype: of it.

    Raises:
        VidmemError: the file is truncated, damaged, holds objects, is not .npy or carries no checksums.
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
        """Rows, checked: [n, ...]; a slice of them is mapped, chosen ones are copied."""
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
        verify: read it once now and check it; without, only length and header are.

    Raises:
        VidmemError: see CheckedArray.
    """
    checked = CheckedArray(path)
    return checked[:] if verify else checked.array


class ArrayWriter:
    """Writes an .npy array of unknown length block by block, so that a shard never has to fit in memory.

    Use as a context manager; the file appears under its name when the block ends without an error.

    Args:
        path: final name.
        tail: shape of one row.
        dtype: of the array.
    """

    HEADER = 128

    def __init__(self, path: Path | str, tail: tuple[int, ...], dtype: str):
        self.path, self.tail, self.dtype, self.count = Path(path), tuple(tail), np.dtype(dtype), 0

    def __enter__(self) -> ArrayWriter:
        self._writing = writing(self.path)
        self._file = self._writing.__enter__()
        self._file.write(bytes(self.HEADER))
        return self

    def append(self, rows: np.ndarray) -> int:
        """Write rows [n, *tail] and return the number of the first."""
        if rows.shape[1:] != self.tail:
            raise VidmemError(f"rows of shape {self.tail}", rows.shape[1:], str(self.path))
        self._file.write(np.ascontiguousarray(rows, dtype=self.dtype).tobytes())
        self.count += len(rows)
        return self.count - len(rows)

    def __exit__(self, kind, error, trace) -> bool | None:
        if kind is None:
            try:
                self._file.seek(0)
                self._file.write(self._header())
                append_checksums(self._file, _JOB["recipe"])
            except OSError as failure:
                return self._writing.__exit__(type(failure), failure, failure.__traceback__)
        return self._writing.__exit__(kind, error, trace)

    def _header(self) -> bytes:
        shape = (self.count, *self.tail)
        text = f"{{'descr': {np.lib.format.dtype_to_descr(self.dtype)!r}, 'fortran_order': False, 'shape': {shape}, }}"
        prefix = np.lib.format.magic(1, 0) + (self.HEADER - 10).to_bytes(2, "little")
        return prefix + text.ljust(self.HEADER - 11).encode("latin1") + b"\n"


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
    """Load a Parquet table that save_table wrote, or some of its columns.

    Raises:
        VidmemError: the file is truncated or damaged, or carries no checksum.
    """
    content = Path(path).read_bytes()
    check_table(path, content)
    return pd.read_parquet(io.BytesIO(content), columns=None if columns is None else list(columns))


def load_tables(paths: Iterable[Path | str], columns: Iterable[str] | None = None) -> pd.DataFrame:
    """Load shards of one table, or some of its columns, in the given order and put them under each other.

    All-null columns of an empty shard take the type the other shards have.
    """
    return stacked([load_table(path, columns) for path in paths])


def stacked(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables under each other; empty ones have no say in the types of the columns."""
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]


def save_csv(path: Path | str, table: pd.DataFrame) -> None:
    """Save a table as CSV with numbers at six significant digits, so that files compare byte by byte."""
    text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_atomic(path, lambda file: file.write(text.encode()))


def save_json(path: Path | str, value: Any) -> None:
    """Save JSON with sorted keys; NaN and infinity are refused."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
    write_atomic(path, lambda file: file.write(text.encode()))


def save_text(path: Path | str, text: str) -> None:
    """Save UTF-8 text."""
    write_atomic(path, lambda file: file.write(text.encode()))


def hash_file(path: Path | str) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_frames(frames: np.ndarray) -> str:
    """First sixteen hexadecimal digits of the SHA-256 of a clip's shape and pixels; '' for no frames."""
    if not len(frames):
        return ""
    digest = hashlib.sha256(str(frames.shape).encode())
    digest.update(np.ascontiguousarray(frames).tobytes())
    return digest.hexdigest()[:16]

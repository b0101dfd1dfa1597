"""Checksums inside the files that they protect, so that checksum and content are written as one atomic file.

* **Arrays and indexes.** Their readers know the length of the content, so a footer can stand behind it. The footer holds the
  CRC-32 of every block.
* **Parquet tables.** Their readers start at the end of the file, so the CRC-32 of the whole file stands in the key-value
  metadata. Parquet's own page checksums do not protect headers and footer. In a test with single flipped bits in a small
  table, some tables were read with other values and without an error.

Both also carry the recipe: a digest of the parameters of the job that wrote the file.
"""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..errors import VidmemError

BLOCK = 1 << 20
FOOTER = struct.Struct("<QI16sI8s")  # length of the content, length of a block, recipe, CRC-32 of all before it, MAGIC
MAGIC = b"vidmem\r\n"
TABLE_KEYS = (b"vidmem_recipe", b"vidmem_crc32")
TABLE_CRC = re.compile(rb"vidmem_crc32\x18\x08([0-9a-f]{8})")  # key, field and length as Thrift writes them, value


def damaged(path: Path | str, expected: str, got: object) -> VidmemError:
    """Error for a file that differs from what was written. Its hint is the command that makes the file again."""
    hint = f"snakemake --cores all --force {path}, with the options of this run; then run again"
    return VidmemError(expected, got, str(path), hint)


def append_checksums(file: BinaryIO, recipe: str = "") -> None:
    """Write the footer behind the content of a file.

    Args:
        file: open for reading and writing, positioned anywhere.
        recipe: at most sixteen letters.
    """
    length = file.seek(0, 2)
    file.seek(0)
    sums = b"".join(_crc(block).to_bytes(4, "little") for block in iter(lambda: file.read(BLOCK), b""))
    known = sums + FOOTER.pack(length, BLOCK, recipe.encode(), 0, b"")[:-12]
    file.seek(length)
    file.write(known + _crc(known).to_bytes(4, "little") + MAGIC)


class Footer(NamedTuple):
    """Footer of a file.

    Attributes:
        length: bytes of the content.
        block: bytes of a block.
        sums: CRC-32 of every block, uint32 [blocks].
        recipe: recipe of the job that wrote the file.
    """

    length: int
    block: int
    sums: np.ndarray
    recipe: str


def read_footer(path: Path | str) -> Footer:
    """Footer of a file.

    Raises:
        VidmemError: the file has no footer, or its length differs from the length in the footer.
    """
    whole = "a whole file with checksums behind its content"
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - FOOTER.size))
        end = file.read()
        if len(end) < FOOTER.size or not end.endswith(MAGIC):
            raise damaged(path, whole, f"{size} bytes without a checksum: cut short, or of an older version")
        length, block, recipe, crc, _ = FOOTER.unpack(end)
        count = -(-length // block) if block else -1
        if size != length + 4 * count + FOOTER.size:
            raise damaged(path, f"{whole}, {length} bytes of it", f"{size} bytes")
        file.seek(length)
        known = file.read(4 * count + FOOTER.size - 12)
    if _crc(known) != crc:
        raise damaged(path, f"{whole}, CRC-32 {crc:08x}", f"checksums with CRC-32 {_crc(known):08x}")
    return Footer(length, block, np.frombuffer(known[: 4 * count], "<u4"), recipe.rstrip(b"\0").decode())


class CheckedFile:
    """Maps a file into memory and checks each block once, when it is first needed.

    Attributes:
        footer: footer of the file.
        content: bytes of the file without its footer, mapped, uint8 [length].
    """

    def __init__(self, path: Path | str):
        self.path, self.footer = path, read_footer(path)
        self.content = np.memmap(path, np.uint8, "r", shape=(self.footer.length,)) if self.footer.length else np.empty(0, "u1")
        self._checked = np.zeros(len(self.footer.sums), bool)

    def check(self, first: int, last: int) -> None:
        """Check the blocks that hold the bytes from first to before last.

        Raises:
            VidmemError: a block differs from what was written.
        """
        block = self.footer.block
        for number in range(first // block, -(-last // block)):
            if self._checked[number]:
                continue
            found, wanted = _crc(self.content[number * block : (number + 1) * block]), int(self.footer.sums[number])
            if found != wanted:
                place = f"bytes {number * block} to {min((number + 1) * block, self.footer.length)}"
                raise damaged(self.path, f"CRC-32 {wanted:08x} of {place}", f"{found:08x}")
            self._checked[number] = True


def check_file(path: Path | str) -> str:
    """Check every block of a file and return its path, for readers that take a path.

    Raises:
        VidmemError: see CheckedFile.
    """
    file = CheckedFile(path)
    file.check(0, file.footer.length)
    return str(path)


def sign_table(content: bytes) -> bytes:
    """Write the CRC-32 of a Parquet file over the placeholder in its metadata."""
    place = _place_of_crc(content)
    return content[:place] + f"{_table_crc(content, place):08x}".encode() + content[place + 8 :]


def check_table(path: Path | str, content: bytes) -> None:
    """Check the content of a Parquet file against its checksum.

    Raises:
        VidmemError: the content differs from what was written, or carries no checksum.
    """
    place = _place_of_crc(content)
    if place < 0 or not content.endswith(b"PAR1"):
        what = "without: cut short, of an older version, or not of this workflow"
        raise damaged(path, "a whole Parquet table that carries its checksum", f"{len(content)} bytes {what}")
    wanted, found = bytes(content[place : place + 8]).decode(), f"{_table_crc(content, place):08x}"
    if found != wanted:
        raise damaged(path, f"CRC-32 {wanted}", found)


def recipe_of(path: Path | str) -> str:
    """Recipe that a file states; '' for a file that was written outside a job.

    Raises:
        VidmemError: the file carries no checksum, or is cut short.
    """
    if Path(path).suffix != ".parquet":
        return read_footer(path).recipe
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    try:
        found = parquet.read_metadata(path).metadata or {}
    except (arrow.ArrowException, OSError) as error:
        raise damaged(path, "a whole Parquet table", str(error)[:120]) from error
    if TABLE_KEYS[1] not in found:
        raise damaged(path, "a table that carries its checksum", "none: of an older version")
    return found.get(TABLE_KEYS[0], b"").decode()


def _place_of_crc(content: bytes) -> int:
    """Where the value of the last CRC-32 key begins, in bytes; -1 for none. Text in the table itself may look like a key."""
    start = max(content.rfind(TABLE_KEYS[1]), 0)
    found = TABLE_CRC.match(content, start)
    return found.start(1) if found else -1


def _table_crc(content: bytes, place: int) -> int:
    view = memoryview(content)
    return zlib.crc32(view[place + 8 :], zlib.crc32(b"00000000", zlib.crc32(view[:place])))


def _crc(data: Any) -> int:
    """CRC-32 of bytes, a memoryview or an array of bytes (Python 3.11 has no type for all of them)."""
    return zlib.crc32(data)

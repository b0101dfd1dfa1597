"""CIFAR-10: binary batches with one record for each picture. The batches for Python are pickles and are refused.

Listing needs the standard library only; reading pixels needs numpy.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.file_faults import NO_FILE, file_fault
from ..errors import ClipError, VidmemError
from .files import check_file
from .item import Item, make_item

if TYPE_CHECKING:
    import numpy as np

CIFAR_RECORD = 3073  # bytes: one of the label, then 32 x 32 each of red, green and blue
CIFAR_BATCHES = {**{f"data_batch_{number}.bin": "member" for number in range(1, 6)}, "test_batch.bin": "heldout"}


def list_cifar10(source: dict) -> Iterator[Item]:
    """Pictures of CIFAR-10's binary version. Captions are class names.

    The pictures of data_batch_1.bin to data_batch_5.bin are member, and those in test_batch.bin are held out.

    Raises:
        VidmemError: the folder has no binary batch that can be read, for example because it holds the pickles of the version
            for Python. The names of its classes may not be read.
    """
    folder = Path(source["path"])
    faults = [file_fault(folder / name) for name in CIFAR_BATCHES]
    if all(faults):
        pickled = os.path.isfile(folder / "data_batch_1")
        other = next((fault.reason for fault in faults if fault and fault.reason != NO_FILE), "none")
        got = "the version for Python, whose batches are pickles" if pickled else other
        hint = "take cifar-10-binary.tar.gz of the same page, or the Parquet files of the hub with kind: parquet"
        raise VidmemError("cifar-10-batches-bin with data_batch_1.bin ...", got, str(folder), hint)
    classes = _class_names(folder / "batches.meta.txt")
    for name, split in CIFAR_BATCHES.items():
        yield from _batch_items(source, folder / name, split, classes)


def _class_names(path: Path) -> list[str]:
    """Names of the classes; [] if there is no such file."""
    if not os.path.lexists(path):
        return []
    if fault := file_fault(path):
        raise VidmemError("names of the classes", fault.reason, str(path))
    return path.read_text(encoding="utf-8", errors="replace").split()


def _batch_items(source: dict, path: Path, split: str, classes: list[str]) -> Iterator[Item]:
    if fault := file_fault(path):
        why = "no such batch" if fault.reason == NO_FILE else fault.reason
        yield make_item(source, path.name, str(path), split=split, problem=f"{why}: its images are not counted",
                        status=fault.status)  # fmt: skip
        return
    with open(path, "rb") as file:
        index = 0
        while record := file.read(CIFAR_RECORD):
            label = record[0]
            problem = "" if len(record) == CIFAR_RECORD else "the batch ends within this record"
            about: dict[str, Any] = {"problem": problem, "status": "undecodable"} if problem else {}
            caption = classes[label] if label < len(classes) else ""
            name = f"{path.stem}-{index}"
            yield make_item(source, name, str(path), part=str(index), split=split, caption=caption, **about)
            index += 1


def read_record(path: Path, part: str) -> np.ndarray:
    """Read a picture of a CIFAR-10 batch.

    Args:
        path: the batch.
        part: index of the picture in the batch, counted from 0.

    Returns:
        uint8 [1, 32, 32, 3], RGB.

    Raises:
        ClipError: no such batch, or the batch ends within the record.
    """
    import numpy as np

    check_file(path)
    with open(path, "rb") as file:
        file.seek(int(part) * CIFAR_RECORD)
        record = file.read(CIFAR_RECORD)
    if len(record) < CIFAR_RECORD:
        raise ClipError("undecodable", "the batch ends within this record")
    planes = np.frombuffer(record, np.uint8, offset=1).reshape(3, 32, 32)
    return np.ascontiguousarray(planes.transpose(1, 2, 0))[None]

"""Why a file cannot be read, told without an error that would end a run. Standard library only."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from ..errors import ClipError

NO_FILE = "no such file"
ABSENT = {
    errno.ENOENT: NO_FILE,
    errno.ENOTDIR: NO_FILE,
    errno.ENAMETOOLONG: f"{NO_FILE}: its name is too long",
    errno.ELOOP: f"{NO_FILE}: its link leads in a circle",
}
DENIED = (errno.EACCES, errno.EPERM)
AS_THIS_USER = {"effective_ids": True} if os.access in os.supports_effective_ids else {}


def file_fault(path: Path | str) -> ClipError | None:
    """Why a file cannot be read, as status and reason of its row; None if it can be read.

    The reason names no file. The status is one of:

    - missing: there is no such file.
    - skipped: it may not be read.
    - undecodable: the disk does not give it.

    Args:
        path: any text.
    """
    try:
        kind = os.stat(path).st_mode
    except OSError as error:
        if error.errno in ABSENT:
            return ClipError("missing", ABSENT[error.errno])
        return ClipError("skipped" if error.errno in DENIED else "undecodable", f"the file may not be read: {cause_of(error)}")
    except ValueError:  # a NUL, or half of a surrogate pair
        return ClipError("missing", f"{NO_FILE}: no file can have its name")
    if not stat.S_ISREG(kind):
        return ClipError("missing", f"{NO_FILE}: a folder or a device has its name")
    if not os.access(path, os.R_OK, **AS_THIS_USER):
        return ClipError("skipped", "the file may not be read: permission denied")
    return None


def cause_of(error: OSError) -> str:
    """What the system says of an error, without the name of the file."""
    return (error.strerror or type(error).__name__).lower()

"""Digest of source modules, for rules that must run again when the code of their number changes.

Standard library only: the workflow computes it in every job. And the commit that a result was made with.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable
from pathlib import Path


def digest_modules(library: Path, modules: Iterable[str]) -> str:
    """First twelve hexadecimal digits of the SHA-256 of modules' sources.

    Args:
        library: folder of the package.
        modules: names such as 'content' or 'corpus/decode'.
    """
    digest = hashlib.sha256()
    for module in modules:
        digest.update((library / f"{module}.py").read_bytes())
    return digest.hexdigest()[:12]


def code_commit(folder: Path) -> str | None:
    """Commit that a folder is checked out at, '-dirty' added where tracked files differ; None outside a git checkout."""
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None

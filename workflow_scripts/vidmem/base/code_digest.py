"""Digests of code and of users' files: a stage runs again when its digest changes. Also the commit behind a result.

This module uses the standard library only, because the workflow computes the digests while it plans.
"""

from __future__ import annotations

import ast
import hashlib
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

DIGITS = 12  # hexadecimal digits of a digest
PLANNED = "as planned"
"""Stands for a digest in the process of a job on a cluster: only the main process computes digests."""


def digest_script(scripts: Path, name: str) -> str:
    """Digest of a script of the workflow and of all library modules that it imports, directly or not.

    Args:
        scripts: folder of the scripts, with the library `vidmem` in it.
        name: name of the script, without .py.

    Returns:
        The first twelve hexadecimal digits of a SHA-256.
    """
    digest = hashlib.sha256((scripts / f"{name}.py").read_bytes())
    for module in script_modules(scripts, name):
        digest.update((scripts / f"vidmem/{module}.py").read_bytes())
    return digest.hexdigest()[:DIGITS]


def digest_modules(library: Path, modules: Iterable[str]) -> str:
    """Digest of library modules.

    Args:
        library: folder of the package.
        modules: names such as 'features/content'.

    Returns:
        The first twelve hexadecimal digits of the SHA-256 of their sources.
    """
    digest = hashlib.sha256()
    for module in modules:
        digest.update((library / f"{module}.py").read_bytes())
    return digest.hexdigest()[:DIGITS]


def digest_files(*paths: str) -> str:
    """Digest of the paths and contents of files that a user writes. Dates do not show a change: clocks and copies alter them.

    A file that does not exist counts as an empty file.
    """
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path}\n".encode() + (Path(path).read_bytes() if Path(path).is_file() else b""))
    return digest.hexdigest()[:DIGITS]


def script_modules(scripts: Path, name: str) -> list[str]:
    """Library modules that a script imports, directly or not: sorted names such as 'features/content'."""
    library, named = scripts / "vidmem", set()
    for module in _absolute_imports(scripts / f"{name}.py"):
        if module.startswith("vidmem."):
            named.add(module.removeprefix("vidmem.").replace(".", "/"))
    return imported_modules(library, [module for module in named if (library / f"{module}.py").is_file()])


def imported_modules(library: Path, modules: Iterable[str]) -> list[str]:
    """The given modules and all modules of the package that they import, directly or not: sorted names."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += _imports(library, module)
    return sorted(found)


@cache
def _imports(library: Path, module: str) -> tuple[str, ...]:
    """Modules of the package that a module names in its relative imports, also inside functions."""
    here, imported = (library / module).parent, []
    for node in ast.walk(ast.parse((library / f"{module}.py").read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = here.joinpath(*[".."] * (node.level - 1), *(node.module or "").split(".")).resolve()
            candidates = [base, *(base / alias.name for alias in node.names)]
            imported += [path.relative_to(library.resolve()) for path in candidates if path.with_suffix(".py").is_file()]
    return tuple(path.as_posix() for path in imported)


def imported_packages(scripts: Path) -> set[str]:
    """Packages that the rules' scripts and the library import anywhere, without the standard library.

    Args:
        scripts: folder of the scripts.
    """
    files = [*scripts.glob("*.py"), *scripts.glob("vidmem/**/*.py")]
    own = {"vidmem", *(path.stem for path in scripts.glob("*.py"))}
    named = {name.partition(".")[0] for path in files for name in _absolute_imports(path)}
    return named - own - set(sys.stdlib_module_names)


@cache
def _absolute_imports(path: Path) -> tuple[str, ...]:
    """Modules that a file imports by their full name, also inside functions; `from a import b` gives a and a.b."""
    nodes = list(ast.walk(ast.parse(path.read_bytes())))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    listed = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return (
        *plain,
        *(str(node.module) for node in listed),
        *(f"{node.module}.{alias.name}" for node in listed for alias in node.names),
    )


def code_commit(folder: Path) -> str | None:
    """Commit that a folder is checked out at, with '-dirty' if tracked files differ from it; None outside a git checkout."""
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None

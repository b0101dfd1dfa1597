"""Digest of source modules, for rules that must run again when the code of their number changes.

Standard library only: the workflow computes it in every job. And the commit that a result was made with.
"""

from __future__ import annotations

import ast
import hashlib
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
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


def imported_modules(library: Path, modules: Iterable[str]) -> list[str]:
    """Modules with all modules of the package that they import, directly or not, sorted."""
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
    """Modules of the package that a module names in its relative imports."""
    here, imported = (library / module).parent, []
    for node in ast.walk(ast.parse((library / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = here.joinpath(*[".."] * (node.level - 1), *(node.module or "").split(".")).resolve()
            candidates = [base, *(base / alias.name for alias in node.names)]
            imported += [path.relative_to(library.resolve()) for path in candidates if path.with_suffix(".py").is_file()]
    return tuple(path.as_posix() for path in imported)


def imported_packages(scripts: Path) -> set[str]:
    """Packages that the rules' scripts and the library beside them import anywhere, without those of the standard library.

    Args:
        scripts: folder of the scripts.
    """
    files = [*scripts.glob("*.py"), *scripts.glob("vidmem/**/*.py")]
    own = {"vidmem", *(path.stem for path in scripts.glob("*.py"))}
    named = {name.partition(".")[0] for path in files for name in _absolute_imports(path)}
    return named - own - set(sys.stdlib_module_names)


@cache
def _absolute_imports(path: Path) -> tuple[str, ...]:
    """Modules that a file imports by their full name, inside functions, too."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return (*plain, *(node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level))


def model_files(path: Path) -> list[Path]:
    """Files of a saved pipeline that decide what it generates.

    Components lie in folders; beside model_index.json there are cards and logs, which decide nothing, or a component
    that has no folder, with its config.json.
    """
    every = [file for file in Path(path).rglob("*") if file.is_file()]
    kept = (".py", ".safetensors", ".json") if (Path(path) / "config.json").is_file() else (".py",)
    return sorted(file for file in every if file.parent != path or file.suffix in kept or file.name == "model_index.json")


def code_commit(folder: Path) -> str | None:
    """Commit that a folder is checked out at, '-dirty' added where tracked files differ; None outside a git checkout."""
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None

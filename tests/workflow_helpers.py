"""What the workflow tests share."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
SMOKE = ("--configfile", "tests/config/smoke.yaml", "--replace-workflow-config")


def exhibits(folder: Path, run: str) -> dict[str, bytes]:
    """Bytes of every table, figure and clip of an audit, by relative name."""
    root = folder / "results" / run
    files = [path for kind in ("tables", "figures", "clips") for path in sorted((root / kind).iterdir())]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def changed(folder: Path, path: str, value: object) -> tuple[str, ...]:
    """Arguments for the smoke audit with one key changed; path is the key's path, parts joined by slashes."""
    config = yaml.safe_load((folder / "tests/config/smoke.yaml").read_text())
    *parents, last = path.split("/")
    inner = config
    for part in parents:
        inner = inner.setdefault(part, {})
    inner[last] = value
    (folder / "changed.yaml").write_text(yaml.safe_dump(config))
    return "--configfile", "changed.yaml", "--replace-workflow-config"

"""What the workflow tests share."""

from __future__ import annotations

from pathlib import Path

SMOKE = ("--configfile", "tests/config/smoke.yaml", "--replace-workflow-config")


def exhibits(folder: Path, run: str) -> dict[str, bytes]:
    """Bytes of every table, figure and clip of an audit, by relative name."""
    root = folder / "results" / run
    files = [path for kind in ("tables", "figures", "clips") for path in sorted((root / kind).iterdir())]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}

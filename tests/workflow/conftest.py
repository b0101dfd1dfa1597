"""A copy of the project in which workflows run, with the fetched weights shared by all tests."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from workflow_helpers import SMOKE

PARTS = (
    "Snakefile",
    "config.yaml",
    "rules",
    "workflow_scripts",
    "configs",
    "envs",
    "profiles",
    "reference_models",
    "tests/config",
)


def copy_project(root: Path, folder: Path, weights: Path) -> Path:
    for part in PARTS:
        source, target = root / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (folder / "results").mkdir(exist_ok=True)
    (folder / "results/weights").symlink_to(weights)
    return folder


@pytest.fixture(scope="session")
def weights(root, tmp_path_factory) -> Path:
    """Fetched once, by the library itself."""
    from vidmem.fetch import fetch_weights

    folder = tmp_path_factory.mktemp("weights")
    for name in ("sscd_distilled", "sscd_int8"):
        fetched = root / "results/weights" / name
        fetch_weights(name, folder / name, str(fetched) if fetched.is_file() else "")
    return folder


@pytest.fixture(scope="session")
def project(root, weights, tmp_path_factory) -> Callable[[], Path]:
    return lambda: copy_project(root, tmp_path_factory.mktemp("project"), weights)


@pytest.fixture(scope="session")
def run() -> Callable[..., subprocess.CompletedProcess]:
    def call(folder: Path, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess:
        import os

        command = [sys.executable, "-m", "snakemake", *arguments]
        variables = {name: value for name, value in os.environ.items() if name != "SLURM_CONF"} | environment
        result = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
        result.text = result.stdout + result.stderr
        assert not check or result.returncode == 0, result.text[-6000:]
        return result

    return call


@pytest.fixture(scope="session")
def smoke(project, run) -> tuple[Path, subprocess.CompletedProcess]:
    """A finished smoke audit and what it printed."""
    folder = project()
    return folder, run(folder, "--cores", "2", *SMOKE)

"""One Slurm for all tests that need one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm_cluster import Cluster, why_not


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    reason = why_not()
    if reason:
        pytest.skip(f"no Slurm: {reason}")
    # A socket's path may have 108 characters: not pytest's folder.
    with tempfile.TemporaryDirectory(prefix="vidmem-slurm-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        try:
            started = Cluster(folder)
        except PermissionError as error:  # a container may make no devices
            pytest.skip(f"no Slurm: {error}")
        try:
            started.start_all()
            yield started
        finally:
            started.stop()

"""Checkpoints that a test may damage."""

from __future__ import annotations

import shutil

import pytest

from checkpoints import SHAPES
from refusals import IMAGE
from vidmem.generation.adapter import GenerationSpec


@pytest.fixture
def copy(saved, tmp_path):
    """A copy of a checkpoint, to be damaged, and what loads it."""

    def of(name=IMAGE):
        folder = tmp_path / name
        shutil.copytree(saved(name), folder)
        frames, size = SHAPES[name]
        return folder, GenerationSpec(name, str(folder), steps=2, frames=frames, size=size)

    return of

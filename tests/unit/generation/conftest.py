"""Settings of small checkpoints."""

from __future__ import annotations

from dataclasses import replace

import pytest

from checkpoints import SHAPES
from published_pipelines import STEPS
from vidmem.generation.adapter import GenerationSpec


@pytest.fixture
def spec_of(saved):
    def build(name, **changes):
        frames, size = SHAPES[name]
        spec = GenerationSpec(name, str(saved(name)), steps=STEPS, guidance=3.0, frames=frames, size=size, batch=3)
        given = {"first_frame": "target", "drop_frames": 1} if name == "StableVideoDiffusionPipeline" else {}
        return replace(spec, **{**given, **changes})

    return build

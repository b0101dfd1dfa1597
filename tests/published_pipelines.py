"""Requests to published pipeline classes, and distances of their samples."""

from __future__ import annotations

import numpy as np

from checkpoints import SHAPES
from vidmem.generation.adapter import Request

STEPS, PROMPTS = 2, ["a red ball", "two cats on a wall", ""]
UNPROMPTED = ("DDPMPipeline", "LDMPipeline")
CLASSES = list(SHAPES)
GREY_LEVELS = 1  # of 255, between a sample made alone and one made in a batch, in float32


def requests_for(name, count=3):
    pictures = np.random.default_rng(3).integers(0, 256, (count, 40, 48, 3), dtype=np.uint8)
    texts = [""] * count if name in UNPROMPTED else (PROMPTS * count)[:count]
    return [Request(f"p{number}", text, number, first_frame=pictures[number]) for number, text in enumerate(texts)]


def apart(one, other):
    """Greatest difference of two clips in grey levels."""
    return int(np.abs(one.frames.astype(int) - other.frames).max())

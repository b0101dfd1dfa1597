"""Requests, and errors that must name something."""

from __future__ import annotations

import pytest

from vidmem.errors import VidmemError
from vidmem.generation.adapter import Request

REQUESTS = [Request(f"p{number}", text, 0) for number, text in enumerate(["a red ball", "two cats", "a wall"])]
IMAGE, VIDEO = "StableDiffusionPipeline", "TextToVideoSDPipeline"


def refused(call, *parts):
    """The error of a call, which names these parts."""
    with pytest.raises(VidmemError) as caught:
        call()
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    return caught.value

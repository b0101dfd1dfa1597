"""Three prompts and the guidance of their first steps."""

from __future__ import annotations

from vidmem.generation.adapter import Request
from vidmem.generation.guidance import guidance_magnitudes

REQUESTS = [Request(f"p{number}", text, number % 2) for number, text in enumerate(["a red ball", "two cats", "a wall"])]


def first_steps(adapter, reduce=guidance_magnitudes, extra_pass=False):
    probed = [sample for batch in adapter.probe(REQUESTS, reduce, extra_pass) for sample in batch]
    return {sample.request: sample.guidance[0] if sample.guidance else {} for sample in probed}

"""What a model made of some requests."""

from __future__ import annotations

from collections.abc import Sequence

from vidmem.models.adapter import PipelineAdapter, Request, Sample


def samples_of(adapter: PipelineAdapter, requests: Sequence[Request]) -> list[Sample]:
    """Samples of all batches, one after another."""
    return [sample for batch in adapter.generate(requests) for sample in batch]

"""What a model made of some requests."""

from __future__ import annotations

from collections.abc import Sequence

from vidmem.generation.adapter import PipelineAdapter, Request, Sample


def samples_of(adapter: PipelineAdapter, requests: Sequence[Request]) -> list[Sample]:
    """Samples of all batches, one after another."""
    return [sample for batch in adapter.generate(requests) for sample in batch]


def generate(spec, requests, adapter=None):
    """Samples of requests by a model, loaded where no adapter is given."""
    return samples_of(adapter or PipelineAdapter(spec, 0), requests)

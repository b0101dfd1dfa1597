"""Guidance of the first denoising step of prompts, read without generating clips."""

from __future__ import annotations

from collections.abc import Sequence

from ..base.logs import LOGGER, progress
from .adapter import PipelineAdapter, Request
from .guidance import first_step_reducer, with_settings
from .readings import probing
from .shard import clip_id_of, guidance_rows


def probe_rows(
    adapter: PipelineAdapter, requests: Sequence[Request], guidance: float, baselines: Sequence[str], extra_pass: bool
) -> list[tuple]:
    """First-step guidance of every request as rows of GUIDANCE_COLUMNS.

    A request that fails has no row, and the log says why. The tables count it among the prompts without guidance.

    Args:
        adapter: loaded pipeline.
        requests: one request for each prompt.
        guidance: scale of the classifier-free guidance.
        baselines: names of detectors whose quantities are recorded, too, as in the configuration.
        extra_pass: if the pipeline makes no guidance pass, run the first step again with an empty prompt.
    """
    scheduler, rows = adapter.pipeline.scheduler, []
    reduce = probing(with_settings(first_step_reducer(scheduler, guidance)), scheduler, baselines)
    probed = (sample for batch in adapter.probe(requests, reduce, extra_pass) for sample in batch)
    for sample in progress(probed, "probe", len(requests), "prompt"):
        if sample.status != "ok":
            clip_id, prompt = clip_id_of(sample.request), sample.request.prompt
            LOGGER.error("no guidance of %s, prompt %.80r: %s", clip_id, prompt, sample.reason)
        rows += guidance_rows(sample)
    return rows

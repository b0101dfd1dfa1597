"""A shard of generated clips: requests, parts that survive a kill, and the tables beside the frames."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from .clip_table import clip_row
from .corpus.frames import frame_information
from .models.adapter import PipelineAdapter, Request, Sample
from .seeding import seed_of
from .store import hash_text, save_array, save_table

GUIDANCE_COLUMNS = ["clip_id", "prompt_id", "step", "frame", "quantity", "value"]


def requests_of(prompts: pd.DataFrame, samples: int) -> list[Request]:
    """Samples to generate for the prompts whose status is ok."""
    usable = prompts[prompts["status"] == "ok"]
    return [Request(row.prompt_id, row.prompt, sample) for row in usable.itertuples() for sample in range(samples)]


def clip_id_of(request: Request) -> str:
    """Clip id of a sample."""
    return f"{request.prompt_id}-s{request.sample}"


def generate_resumable(adapter: PipelineAdapter, requests: list[Request], parts: Path, recipe: str) -> Iterator[Sample]:
    """Generate, keeping every batch on disk, so that a killed job continues where it was.

    Args:
        adapter: loaded pipeline.
        requests: what to generate; the answers come in this order.
        parts: folder for finished samples.
        recipe: everything that decides the result besides the request; parts of another recipe are not used.
    """
    missing = [request for request in requests if not _part(parts, recipe, request).exists()]
    fresh = {request: sample for request, sample in _generate_new(adapter, missing, parts, recipe)} if missing else {}
    for request in requests:
        yield fresh.get(request) or _load_part(_part(parts, recipe, request), request)


def _generate_new(adapter, missing: list[Request], parts: Path, recipe: str) -> Iterator[tuple[Request, Sample]]:
    from .logs import progress

    batches = adapter.generate(missing)
    for sample in progress((sample for batch in batches for sample in batch), "generate", len(missing), "clip"):
        _save_part(_part(parts, recipe, sample.request), sample)
        yield sample.request, _load_part(_part(parts, recipe, sample.request), sample.request)


def drop_parts(parts: Path, recipe: str, requests: list[Request]) -> None:
    """Remove the parts of requests once their shard is written."""
    for request in requests:
        for suffix in (".json", ".npy"):
            _part(parts, recipe, request).with_suffix(suffix).unlink(missing_ok=True)
    if parts.is_dir() and not any(parts.iterdir()):
        parts.rmdir()


def _part(parts: Path, recipe: str, request: Request) -> Path:
    return parts / f"{hash_text(recipe, request.prompt_id, request.prompt, request.sample)[:24]}.json"


def _save_part(path: Path, sample: Sample) -> None:
    """Frames first, the small file that vouches for them last."""
    from .store import save_json

    save_array(path.with_suffix(".npy"), sample.frames)
    guidance = [{name: np.asarray(value, np.float64).tolist() for name, value in step.items()} for step in sample.guidance]
    save_json(path, {"status": sample.status, "reason": sample.reason, "guidance": guidance})


def _load_part(path: Path, request: Request) -> Sample:
    record = json.loads(path.read_text(encoding="utf-8"))
    steps = [{name: np.asarray(value) for name, value in step.items()} for step in record["guidance"]]
    return Sample(request, np.load(path.with_suffix(".npy"), mmap_mode="r"), record["status"], record["reason"], steps)


def sample_row(sample: Sample, prompt, model: str, first: int, fps: float, seed: int, provenance: dict) -> dict:
    """Row of the clip table for a generated sample."""
    return clip_row(
        provenance,
        clip_id=clip_id_of(sample.request),
        seed=seed_of(seed, sample.request.prompt_id, sample.request.sample),
        first=first,
        count=len(sample.frames),
        fps=float(fps),
        information=frame_information(np.asarray(sample.frames)) if len(sample.frames) else 0.0,
        status=sample.status,
        reason=sample.reason,
        **_prompt_fields(prompt, model),
    )


def unused_rows(prompts: pd.DataFrame, model: str) -> list[dict]:
    """Rows of prompts that were not generated, so that no denominator loses them."""
    unused = prompts[prompts["status"] != "ok"].itertuples()
    return [
        clip_row({}, clip_id=f"{row.prompt_id}-s0", status=row.status, reason=row.reason, **_prompt_fields(row, model))
        for row in unused
    ]


def _prompt_fields(prompt, model: str) -> dict:
    return {
        "set": f"generated-{model}",
        "source": model,
        "caption": prompt.prompt,
        "prompt_id": prompt.prompt_id,
        "target": prompt.target,
        "split": prompt.split,
        "copies": int(prompt.copies),
    }


def guidance_rows(samples: Iterable[Sample]) -> pd.DataFrame:
    """Guidance magnitudes as a tidy table: one row a clip, step, frame and quantity."""
    rows = [
        (clip_id_of(sample.request), sample.request.prompt_id, step, frame, name, float(value))
        for sample in samples
        for step, quantities in enumerate(sample.guidance)
        for name, values in quantities.items()
        for frame, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=GUIDANCE_COLUMNS)


def save_guidance(path: Path | str, samples: Iterable[Sample]) -> None:
    """Save the guidance table; the values are stored as float32."""
    save_table(path, guidance_rows(samples).astype({"value": "float32", "step": "int16", "frame": "int16"}))

"""A shard of generated clips: requests, parts that survive a kill, and the tables beside the frames."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from .clip_frames import Frames
from .clip_table import GUIDANCE_COLUMNS, clip_row, clip_table
from .corpus.frames import frame_information
from .errors import VidmemError
from .features import usable
from .logs import LOGGER, progress
from .models.adapter import PipelineAdapter, Request, Sample
from .seeding import seed_of
from .store import ArrayWriter, hash_frames, hash_text, load_array, save_array, save_json, save_table, shard_of


def requests_of(prompts: pd.DataFrame, samples: int, first: dict[str, np.ndarray] | None = None) -> list[Request]:
    """Samples to generate for the prompts whose status is ok.

    Args:
        first: frame to start from by prompt id, for models that start from one.
    """
    first = first or {}
    return [
        Request(row.prompt_id, row.prompt, sample, first_frame=first.get(row.prompt_id))
        for row in prompts[prompts["status"] == "ok"].itertuples()
        for sample in range(samples)
    ]


def first_frames(prompts: pd.DataFrame, corpus: Frames) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Prompts with the status of those that have nothing to start from, and the first frame of every other's target.

    Args:
        prompts: their column target is a clip id of the corpus, or ''.
        corpus: frames of the corpus alone.

    Returns:
        The table, and by prompt id uint8 [H, W, 3].
    """
    (name,) = sorted(set(corpus.clips["set"]))
    prompts, known = prompts.copy(), set(usable(corpus.clips)["clip_id"])
    without = (prompts["status"] == "ok") & ~prompts["target"].isin(known)
    prompts.loc[without, ["status", "reason"]] = "skipped", "no target clip that gives the first frame"
    chosen = prompts[prompts["status"] == "ok"]
    corpus.read(name, chosen["target"])
    return prompts, {row.prompt_id: np.array(corpus.of(name, row.target)[0]) for row in chosen.itertuples()}


def prompts_of_shard(prompts: pd.DataFrame, shard: int, shards: int) -> pd.DataFrame:
    """The prompts that belong to a shard by their identity."""
    mine = [shard_of(prompt_id, shards) == shard for prompt_id in prompts["prompt_id"]]
    return prompts[np.array(mine, dtype=bool)]


def clip_id_of(request: Request) -> str:
    """Clip id of a sample."""
    return f"{request.prompt_id}-s{request.sample}"


def generate_resumable(adapter: PipelineAdapter, requests: list[Request], parts: Path, recipe: str) -> Iterator[Sample]:
    """Generate, keeping every finished sample on disk, so that a killed job continues where it was.

    Failures are not kept: a job that is killed and run again tries them again. Once the shard is written they stay in it, each
    with its reason.

    Args:
        adapter: loaded pipeline.
        requests: what to generate; the answers come in this order, one in memory at a time.
        parts: folder for finished samples.
        recipe: everything that decides the result besides the request; parts of another recipe are not used.
    """
    missing = _unfinished(requests, adapter.batch, parts, recipe)
    failed = {}
    generated = (sample for batch in adapter.generate(missing) for sample in batch)
    for sample in progress(generated, "generate", len(missing), "clip"):
        if sample.status == "ok":
            _save_part(_part(parts, recipe, sample.request), sample)
        else:
            failed[sample.request] = sample
    for request in requests:
        yield failed.get(request) or _load_part(_part(parts, recipe, request), request)


def _unfinished(requests: list[Request], batch: int, parts: Path, recipe: str) -> list[Request]:
    """Requests of every batch that is not on disk whole.

    The last bits of a sample depend on the batch it is in: the batches of a resumed job must be those of one that never died.
    """
    batches = [requests[first : first + batch] for first in range(0, len(requests), batch)]
    due = [part for part in batches if not all([_is_whole(_part(parts, recipe, request)) for request in part])]
    return [request for part in due for request in part]


def drop_parts(parts: Path, recipe: str, requests: list[Request]) -> None:
    """Remove the parts of requests once their shard is written, and those that another recipe left behind."""
    mine = {_part(parts, recipe, request).stem for request in requests}
    for path in parts.iterdir() if parts.is_dir() else ():
        if path.stem in mine or not path.name.lstrip(".").startswith(_prefix(recipe)):
            path.unlink(missing_ok=True)
    if parts.is_dir() and not any(parts.iterdir()):
        parts.rmdir()


def _prefix(recipe: str) -> str:
    return hash_text(recipe)[:8]


def _part(parts: Path, recipe: str, request: Request) -> Path:
    return parts / f"{_prefix(recipe)}-{hash_text(recipe, request.prompt_id, request.prompt, request.sample)[:24]}.json"


def _save_part(path: Path, sample: Sample) -> None:
    """Frames first, the small file that vouches for them last."""
    save_array(path.with_suffix(".npy"), sample.frames)
    guidance = [{name: np.asarray(value, np.float64).tolist() for name, value in step.items()} for step in sample.guidance]
    save_json(path, {"guidance": guidance, "reason": sample.reason, "sha256": _digest([guidance, sample.reason])})


def _digest(told: list) -> str:
    return hash_text(json.dumps(told, sort_keys=True))


def _is_whole(path: Path) -> bool:
    """Whether a part is there and what was written; one that is damaged is named in the log and generated again."""
    if not path.exists():
        return False
    try:
        load_array(path.with_suffix(".npy"))
        record = json.loads(path.read_text(encoding="utf-8"))
        found = _digest([record["guidance"], record["reason"]])
        if record["sha256"] != found:
            raise VidmemError(f"guidance of SHA-256 {record['sha256']}", found, str(path))
    except (VidmemError, FileNotFoundError, ValueError, KeyError, TypeError) as error:
        LOGGER.warning("a damaged part is generated again: %s: %s", path, error)
        return False
    return True


def _load_part(path: Path, request: Request) -> Sample:
    record = json.loads(path.read_text(encoding="utf-8"))
    steps = [{name: np.asarray(value) for name, value in step.items()} for step in record["guidance"]]
    return Sample(request, np.array(load_array(path.with_suffix(".npy"))), reason=record["reason"], guidance=steps)


@dataclass(frozen=True)
class ClipSet:
    """What all clips of a generated set share.

    Attributes:
        name: generated-<model> or mitigated-<name>; model: that made them.
        size: (height, width); fps: frames a second.
        seed: of the run.
        provenance: how they came about.
    """

    name: str
    model: str
    size: tuple[int, int]
    fps: float
    seed: int
    provenance: dict


def save_clip_set(output, samples: Iterable[Sample], prompts: pd.DataFrame, about: ClipSet) -> None:
    """Write a shard of generated clips one by one: frames, recorded guidance, and the clip table.

    Args:
        output: paths frames, guidance and clips.
        samples: what came of the requests.
        prompts: their prompts; those whose status is not ok get a row, too, so that no denominator loses them.
    """
    by_id = {row.prompt_id: row for row in prompts.itertuples()}
    rows, guidance = unused_rows(prompts, about), []
    with ArrayWriter(output.frames, (*about.size, 3), "uint8") as writer:
        for sample in samples:
            first = writer.append(sample.frames)
            guidance += guidance_rows(sample)
            rows.append(sample_row(sample, by_id[sample.request.prompt_id], first, about))
    save_guidance(output.guidance, guidance)
    save_table(output.clips, clip_table(rows))


def sample_row(sample: Sample, prompt, first: int, about: ClipSet) -> dict:
    """Row of the clip table for a generated sample."""
    return clip_row(
        about.provenance,
        clip_id=clip_id_of(sample.request),
        seed=seed_of(about.seed, sample.request.prompt_id, sample.request.sample),
        first=first,
        count=len(sample.frames),
        fps=float(about.fps),
        information=frame_information(np.asarray(sample.frames)) if len(sample.frames) else 0.0,
        pixels=hash_frames(np.asarray(sample.frames)),
        status=sample.status,
        reason=sample.reason,
        **_prompt_fields(prompt, about),
    )


def unused_rows(prompts: pd.DataFrame, about: ClipSet) -> list[dict]:
    """Rows of prompts that were not generated, so that no denominator loses them."""
    unused = prompts[prompts["status"] != "ok"].itertuples()
    return [
        clip_row({}, clip_id=f"{row.prompt_id}-s0", status=row.status, reason=row.reason, **_prompt_fields(row, about))
        for row in unused
    ]


def _prompt_fields(prompt, about: ClipSet) -> dict:
    return {
        "set": about.name,
        "source": about.model,
        "caption": prompt.prompt,
        "prompt_id": prompt.prompt_id,
        "target": prompt.target,
        "split": prompt.split,
        "copies": int(prompt.copies),
    }


def guidance_rows(sample: Sample) -> list[tuple]:
    """Guidance magnitudes of a sample as rows of GUIDANCE_COLUMNS: one a step, frame and quantity."""
    return [
        (clip_id_of(sample.request), sample.request.prompt_id, step, frame, name, float(value))
        for step, quantities in enumerate(sample.guidance)
        for name, values in quantities.items()
        for frame, value in enumerate(values)
    ]


def save_guidance(path: Path | str, rows: list[tuple]) -> None:
    """Save the guidance table; the values are stored as float32."""
    table = pd.DataFrame(rows, columns=GUIDANCE_COLUMNS)
    save_table(path, table.astype({"clip_id": "str", "value": "float32", "step": "int16", "frame": "int16"}))

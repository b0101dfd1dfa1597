"""A shard of generated clips: its requests, finished samples that survive a killed job, and the tables beside the frames."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..base.clip_table import GUIDANCE_COLUMNS, clip_row, clip_table, usable
from ..base.logs import LOGGER, progress
from ..base.seeding import seed_of
from ..base.store import ArrayWriter, hash_frames, hash_text, load_array, save_array, save_json, save_table, shard_of
from ..corpus.clip_frames import Frames
from ..corpus.frames import frame_information
from ..errors import VidmemError
from .adapter import PipelineAdapter, Request, Sample


def requests_of(prompts: pd.DataFrame, samples: int, first: dict[str, np.ndarray] | None = None) -> list[Request]:
    """Requests for all samples of the prompts whose status is ok.

    Args:
        prompts: rows of the prompt table.
        samples: number of samples for each prompt.
        first: first frames by prompt id, uint8 [H, W, 3], for models that start from an image.
    """
    first = first or {}
    return [
        Request(row.prompt_id, row.prompt, sample, first_frame=first.get(row.prompt_id))
        for row in prompts[prompts["status"] == "ok"].itertuples()
        for sample in range(samples)
    ]


def first_frames(prompts: pd.DataFrame, corpus: Frames) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """First frames of the prompts' targets, for models that start from an image.

    Args:
        prompts: prompt table; its column target is a clip id of the corpus, or ''.
        corpus: frames of the corpus and of no other set.

    Returns:
        The prompt table, in which prompts without a usable target are skipped; and the first frames uint8 [H, W, 3] of the
        others by prompt id.
    """
    (name,) = sorted(set(corpus.clips["set"]))
    prompts, known = prompts.copy(), set(usable(corpus.clips)["clip_id"])
    without = (prompts["status"] == "ok") & ~prompts["target"].isin(known)
    prompts.loc[without, ["status", "reason"]] = "skipped", "no target clip that gives the first frame"
    chosen = prompts[prompts["status"] == "ok"]
    corpus.read(name, chosen["target"])
    return prompts, {row.prompt_id: np.array(corpus.of(name, row.target)[0]) for row in chosen.itertuples()}


def prompts_of_shard(prompts: pd.DataFrame, shard: int, shards: int) -> pd.DataFrame:
    """Prompts of a shard. The prompt id decides to which of the `shards` shards a prompt belongs."""
    mine = [shard_of(prompt_id, shards) == shard for prompt_id in prompts["prompt_id"]]
    return prompts[np.array(mine, dtype=bool)]


def clip_id_of(request: Request) -> str:
    """Clip id of a request's sample."""
    return f"{request.prompt_id}-s{request.sample}"


def generate_resumable(adapter: PipelineAdapter, requests: list[Request], parts: Path, recipe: str) -> Iterator[Sample]:
    """Generate samples and keep every finished one on disk, so that a killed job can continue.

    A failed sample is not kept: if the job is killed and runs again, it is tried again. In the finished shard a failed sample
    is a row with its reason.

    Args:
        adapter: loaded pipeline.
        requests: what to generate.
        parts: folder for finished samples.
        recipe: text of everything besides the request that decides the result. Samples of another recipe are not used.

    Yields:
        The samples in the order of the requests, loaded one at a time.
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
    """Requests of every batch of which a sample is not yet on disk.

    The last bits of a sample depend on its batch. A resumed job must therefore form the batches of a job that was never killed.
    """
    batches = [requests[first : first + batch] for first in range(0, len(requests), batch)]
    due = [group for group in batches if not all([_is_whole(_part(parts, recipe, request)) for request in group])]
    return [request for group in due for request in group]


def drop_parts(parts: Path, recipe: str, requests: list[Request]) -> None:
    """Remove the kept samples of requests once their shard is written, and samples that another recipe left behind."""
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
    """Write the frames first and the small file with its hash last: only a whole sample has both."""
    save_array(path.with_suffix(".npy"), sample.frames)
    guidance = [{name: np.asarray(value, np.float64).tolist() for name, value in step.items()} for step in sample.guidance]
    save_json(path, {"guidance": guidance, "reason": sample.reason, "sha256": _digest([guidance, sample.reason])})


def _digest(told: list) -> str:
    return hash_text(json.dumps(told, sort_keys=True))


def _is_whole(path: Path) -> bool:
    """Whether a kept sample is there and undamaged. The log names a damaged one, which is generated again."""
    if not path.exists():
        return False
    try:
        load_array(path.with_suffix(".npy"))
        record = json.loads(path.read_text(encoding="utf-8"))
        found = _digest([record["guidance"], record["reason"]])
        if record["sha256"] != found:
            raise VidmemError(f"guidance of SHA-256 {record['sha256']}", found, str(path))
    except (VidmemError, FileNotFoundError, ValueError, KeyError, TypeError) as error:
        LOGGER.warning("a damaged sample is generated again: %s: %s", path, error)
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
        name: generated-<model> or mitigated-<name>; model: name of the model that made them.
        size: (height, width) in pixels; fps: frames per second.
        seed: seed of the run.
        provenance: how the clips came about.
    """

    name: str
    model: str
    size: tuple[int, int]
    fps: float
    seed: int
    provenance: dict


class ClipSetFiles(NamedTuple):
    """Files of a shard of generated clips: its frames, its clip table, and the guidance that was recorded."""

    frames: Path
    clips: Path
    guidance: Path


def generate_clip_set(
    files: ClipSetFiles, adapter: PipelineAdapter, requests: list[Request], recipe: str, prompts: pd.DataFrame, about: ClipSet
) -> None:
    """Generate a shard and write it. Until it is written, its finished samples lie in a folder `parts` beside it.

    Args:
        files: where the shard is written.
        adapter, requests, recipe: see generate_resumable.
        prompts, about: see save_clip_set.
    """
    parts = files.frames.parent / "parts"
    save_clip_set(files, generate_resumable(adapter, requests, parts, recipe), prompts, about)
    drop_parts(parts, recipe, requests)


def save_clip_set(files: ClipSetFiles, samples: Iterable[Sample], prompts: pd.DataFrame, about: ClipSet) -> None:
    """Write a shard of generated clips one by one: frames, recorded guidance, and the clip table.

    Args:
        files: where the shard is written.
        samples: outcomes of the requests.
        prompts: the prompts of the requests. A prompt whose status is not ok gets a row, too, so that rates count it.
        about: what all clips of the set share.
    """
    by_id = {row.prompt_id: row for row in prompts.itertuples()}
    rows, guidance = unused_rows(prompts, about), []
    with ArrayWriter(files.frames, (*about.size, 3), "uint8") as writer:
        for sample in samples:
            first = writer.append(sample.frames)
            guidance += guidance_rows(sample)
            rows.append(sample_row(sample, by_id[sample.request.prompt_id], first, about))
    save_guidance(files.guidance, guidance)
    save_table(files.clips, clip_table(rows))


def sample_row(sample: Sample, prompt: Any, first: int, about: ClipSet) -> dict:
    """Row of the clip table for a generated sample.

    Args:
        sample: the sample.
        prompt: its prompt, a row of the prompt table as itertuples yields it.
        first: index of its first frame in the frame array of the shard.
        about: what all clips of the set share.
    """
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
    """Rows of the clip table for prompts that were not generated, so that rates count them."""
    unused = prompts[prompts["status"] != "ok"].itertuples()
    return [
        clip_row({}, clip_id=f"{row.prompt_id}-s0", status=row.status, reason=row.reason, **_prompt_fields(row, about))
        for row in unused
    ]


def _prompt_fields(prompt: Any, about: ClipSet) -> dict:
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
    """Recorded guidance of a sample as rows of GUIDANCE_COLUMNS: a row for each step, frame and quantity."""
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

"""What the jobs of an inversion read: its model, its targets, the descriptor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch

from ..clip_frames import Frames
from ..descriptors import PRESETS, describe_frames, load_encoder
from ..devices import Device, check_precision, torch_device
from ..errors import VidmemError
from ..features import usable
from ..logs import LOGGER
from ..models.loading import GenerationSpec, load_pipeline
from ..store import shard_of
from .adapters import InvertibleModel
from .engine import InversionPlan, Target
from .outcome import choose_targets


def load_model(inversion: dict, device: Device) -> InvertibleModel:
    """Model of an inversion.

    Args:
        inversion: its entry in the configuration.
        device: as claim_device gives it.
    """
    names = ("pipeline", "path", "revision", "variant", "dtype", "trust_remote_code")
    spec = GenerationSpec(**{key: inversion[key] for key in names})
    check_precision(spec.pipeline, spec.dtype, torch_device(device))
    return InvertibleModel(load_pipeline(spec).to(torch_device(device)), tuple(inversion["size"]), inversion["frames"])


def load_targets(
    pictures: Frames, inversion: dict, seed: int, shard: int = 0, shards: int = 1
) -> tuple[pd.DataFrame, list[Target]]:
    """Table of the targets of a shard, and the targets: the middle frames of their clips.

    Args:
        pictures: of the corpus.
        shards: 1 for all targets.
    """
    length = inversion["frames"]
    table = usable(pictures.clips)
    chosen = choose_targets(table[table["count"] >= length], inversion["splits"], inversion["images_each"], seed)
    if not len(chosen):
        got = f"{len(table)} usable clips, {int((table['count'] >= length).sum())} of them of {length} frames or more"
        raise VidmemError(f"clips of the splits {inversion['splits']} with {length} frames", got, "inversion", "frames, splits")
    if short := int((table["count"] < length).sum()):
        LOGGER.warning("%d clips have fewer than %d frames and are no targets", short, length)
    if inversion["mode"] == "caption" and (chosen["caption"] == "").any():
        bare = chosen[chosen["caption"] == ""]["clip_id"].iloc[0]
        raise VidmemError("a caption of every target", f"none of {bare}", "inversion.mode: caption", "mode empty or prompt")
    chosen = chosen[np.array([shard_of(clip_id, shards) == shard for clip_id in chosen["clip_id"]], dtype=bool)]
    for name, rows in chosen.groupby("set"):
        pictures.read(name, rows["clip_id"])
    targets = []
    for row in chosen.itertuples():
        whole = pictures.of(row.set, row.clip_id)
        first = len(whole) // 2 - length // 2  # of one frame that on which image models are trained
        targets.append(Target(row.clip_id, whole[first : first + length], row.caption))
    return chosen, targets


def load_describer(weights: str, preset: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Descriptors of frames, float32 [N, d], by a preset."""
    encode = load_encoder(PRESETS[preset], weights, threads)
    return lambda frames: np.concatenate(list(describe_frames(np.asarray(frames), encode, PRESETS[preset])))


def plain_samples(model: InvertibleModel, plan: InversionPlan, captions: Sequence[str], count: int, seed: int) -> np.ndarray:
    """Samples from the prior, as the acceptance test of an inversion would draw them: uint8 [count, T, H, W, 3].

    Args:
        captions: of the training data; a model that is told captions takes the next one for every test.
    """
    from ..seeding import torch_stream
    from .sampling import sample

    parts = []
    for first in range(0, count, 32):
        places = range(first, min(first + 32, count))
        streams = [torch_stream("plain", seed, place) for place in places]
        starts = torch.stack([torch.randn(model.shape, generator=stream) for stream in streams]).to(model.device)
        tests = [place // plan.acceptance.samples for place in places]
        told = model.embed([captions[test % len(captions)] if plan.mode == "caption" else "" for test in tests])
        scales = torch.full((len(starts),), plan.acceptance.scales[0])
        parts.append(sample(model, starts, told, model.embed([""]), scales, plan.sampler, plan.sampler_steps, streams))
    return np.concatenate(parts)

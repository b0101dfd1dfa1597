"""Inputs of the jobs of an inversion: its model, its targets, the descriptor, and plain samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch

from ..base.clip_table import usable
from ..base.devices import Device, check_precision, torch_device
from ..base.logs import LOGGER
from ..base.store import shard_of
from ..corpus.clip_frames import Frames
from ..errors import VidmemError
from ..features.descriptors import PRESETS, describe_frames, load_encoder
from ..models.loading import GenerationSpec, load_pipeline
from .adapters import InvertibleModel
from .engine import InversionPlan, Target
from .outcome import choose_targets


def load_model(inversion: dict, device: Device) -> InvertibleModel:
    """Load the model of an inversion.

    Args:
        inversion: entry of the inversion in the configuration.
        device: device that claim_device gave the job.
    """
    names = ("pipeline", "path", "revision", "variant", "dtype", "trust_remote_code")
    spec = GenerationSpec(**{key: inversion[key] for key in names})
    check_precision(spec.pipeline, spec.dtype, torch_device(device))
    return InvertibleModel(load_pipeline(spec).to(torch_device(device)), tuple(inversion["size"]), inversion["frames"])


def load_targets(
    pictures: Frames, inversion: dict, seed: int, shard: int = 0, shards: int = 1
) -> tuple[pd.DataFrame, list[Target]]:
    """Choose the targets of a shard and read their frames, which are the middle frames of their clips.

    Args:
        pictures: clips and frames of the corpus.
        inversion: entry of the inversion in the configuration.
        seed: seed of the audit.
        shard: number of the shard.
        shards: number of shards; 1 for all targets.

    Returns:
        Rows of the clip table of the chosen clips, and the targets in this order.

    Raises:
        VidmemError: no clip of the splits has enough frames; or a target has no caption in mode caption.
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
        first = len(whole) // 2 - length // 2  # for one frame, the middle frame: image models are trained on it
        targets.append(Target(row.clip_id, whole[first : first + length], row.caption))
    return chosen, targets


def load_describer(weights: str, preset: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Function from frames to their descriptors, float32 [N, d], computed by a preset of the SSCD descriptor."""
    encode = load_encoder(PRESETS[preset], weights, threads)
    return lambda frames: np.concatenate(list(describe_frames(np.asarray(frames), encode, PRESETS[preset])))


def plain_samples(model: InvertibleModel, plan: InversionPlan, captions: Sequence[str], count: int, seed: int) -> np.ndarray:
    """Draw samples from the prior with the sampler of the acceptance test: uint8 [count, T, H, W, 3].

    Args:
        model: the model.
        plan: plan of the inversion.
        captions: captions of the training data. In mode caption, all samples of one test share a caption, and the next test
            takes the next caption.
        count: number of samples.
        seed: seed of the audit.
    """
    from ..base.seeding import torch_stream
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

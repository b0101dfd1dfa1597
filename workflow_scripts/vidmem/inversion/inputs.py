"""What the jobs of an inversion read: its model, its targets, the descriptor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch

from ..descriptors import PRESETS, describe_frames, load_encoder
from ..devices import Device, torch_device
from ..exhibit_data import Frames
from ..features import usable
from ..models.adapter import GenerationSpec, load_pipeline
from ..store import shard_of
from .adapters import InvertibleModel
from .engine import Target
from .outcome import choose_targets


def load_model(inversion: dict, device: Device) -> InvertibleModel:
    """Model of an inversion.

    Args:
        inversion: its entry in the configuration.
        device: as claim_device gives it.
    """
    names = ("pipeline", "path", "revision", "variant", "dtype", "trust_remote_code")
    spec = GenerationSpec(**{key: inversion[key] for key in names})
    return InvertibleModel(load_pipeline(spec).to(torch_device(device)), tuple(inversion["size"]), inversion["frames"])


def load_targets(
    clips: Sequence[str], frames: Sequence[str], inversion: dict, seed: int, shard: int = 0, shards: int = 1
) -> tuple[pd.DataFrame, list[Target]]:
    """Table of the targets of a shard, and the targets: the middle frames of their clips.

    Args:
        clips, frames: files of the corpus.
        shards: 1 for all targets.
    """
    pictures, length = Frames(clips, frames), inversion["frames"]
    table = usable(pictures.clips)
    chosen = choose_targets(table[table["count"] >= length], inversion["splits"], inversion["images_each"], seed)
    chosen = chosen[[shard_of(clip_id, shards) == shard for clip_id in chosen["clip_id"]]]
    targets = []
    for row in chosen.itertuples():
        whole = pictures.of(row.set, row.clip_id)
        first = (len(whole) - length) // 2
        targets.append(Target(row.clip_id, whole[first : first + length], row.caption))
    return chosen, targets


def load_describer(weights: str, preset: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Descriptors of frames, float32 [N, d], by a preset."""
    encode = load_encoder(PRESETS[preset], weights, threads)
    return lambda frames: np.concatenate(list(describe_frames(np.asarray(frames), encode, PRESETS[preset])))


def plain_samples(model: InvertibleModel, captions: Sequence[str], count: int, sampler: str, steps: int, seed: int):
    """Samples from the prior as the model is used, without an inversion: uint8 [count, T, H, W, 3].

    Args:
        captions: of the training data, taken in turn by a model with text.
        sampler, steps: of the acceptance test.
    """
    from ..seeding import torch_stream
    from .sampling import sample

    parts = []
    for first in range(0, count, 32):
        places = range(first, min(first + 32, count))
        streams = [torch_stream("plain", seed, place) for place in places]
        starts = torch.stack([torch.randn(model.shape, generator=stream) for stream in streams]).to(model.device)
        told = model.embed([captions[place % len(captions)] for place in places]) if model.prompted else {}
        scales = torch.ones(len(starts))
        parts.append(sample(model, starts, told, model.embed([""]), scales, sampler, steps, streams))
    return np.concatenate(parts)

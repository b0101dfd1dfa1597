"""Random streams that depend on the identity of a clip or sample, never on its place in a batch or shard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .store import hash_text

if TYPE_CHECKING:
    import torch


def seed_of(*identity: object) -> int:
    """63-bit seed of an identity such as (run seed, prompt id, sample number).

    >>> seed_of(0, "p1", 0) == seed_of(0, "p1", 0) != seed_of(0, "p1", 1)
    True
    """
    return int(hash_text(*identity)[:16], 16) >> 1


def random_stream(*identity: object) -> np.random.Generator:
    """NumPy generator seeded by an identity."""
    return np.random.default_rng(seed_of(*identity))


def torch_stream(*identity: object) -> torch.Generator:
    """Torch generator on the CPU, seeded by an identity, so that the noise does not depend on the model's device."""
    import torch

    return torch.Generator("cpu").manual_seed(seed_of(*identity))

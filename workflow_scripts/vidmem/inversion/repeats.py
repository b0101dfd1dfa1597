"""Inversion of a set of targets with several seeds, one seed after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..base.logs import Progress
from .adapters import InvertibleModel
from .engine import Describe, Inversion, InversionPlan, Inverter, Report, Target
from .noise_files import array_name


def invert_with_seeds(
    model: InvertibleModel,
    plan: InversionPlan,
    describe: Describe,
    targets: Sequence[Target],
    checkpoints: Mapping[int, Path],
    slots: int,
    identity: str,
    label: str = "inversion",
) -> dict[int, list[Inversion]]:
    """Invert targets with every seed.

    Args:
        model, plan, describe, slots: see Inverter.
        targets, identity: see Inverter.run.
        checkpoints: seed -> its checkpoint. All checkpoints are kept: a run that is killed at a later seed need not repeat the
            earlier seeds. The caller removes them once the outcomes are saved.
        label: name in the log.

    Returns:
        Seed -> outcomes of the targets, in order.
    """
    found = {}
    for seed, checkpoint in checkpoints.items():
        inverter = Inverter(model, plan, describe, seed, slots)
        shown = Progress(f"invert {label}, seed {seed}", len(targets), "image")
        found[seed] = inverter.run(targets, checkpoint, report=_told_by(shown), identity=identity, keep=True)
        shown.end()
    return found


def _told_by(shown: Progress) -> Report:
    return lambda done, replicated, censored: shown.show(done, f"{replicated} replicated, {censored} censored")


def noise_arrays(found: Mapping[int, Sequence[Inversion]]) -> dict[str, np.ndarray]:
    """Arrays for a file of noises, by name: for every image and seed its noise, replays, optimised prompt and trace."""
    arrays: dict[str, np.ndarray] = {}
    for seed, results in found.items():
        for result in results:
            parts = {"mean": result.mean, "log_variance": result.log_variance, "replays": result.replays, **result.prompt}
            parts["trace"] = np.array(result.trace, np.float32)
            arrays |= {array_name(result.image_id, seed, part): value for part, value in parts.items()}
    return arrays

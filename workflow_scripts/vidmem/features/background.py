"""The background of motion: the spectrum of the motion that clips have in common, by which motion is compared without it.

A pan, a zoom or a thing that scrolls fills the low spatial frequencies of a flow field. Two clips that pan agree there,
although neither is a copy of the other. A whitened field has each of its frequencies divided by how much of it is common.
docs/methods.md derives the measure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.fft

from ..base.identity import video_of
from ..base.seeding import seed_of
from ..base.store import hash_text, load_table, save_table
from ..errors import VidmemError
from .motion import EPSILON, check_flows, pool_flows

GRID = 16
"""Side of the grid on which motion is compared without the background, in cells."""
FOLDS = 5
"""Parts of the background. Clips of one video are in one part, which is left out where one of them is looked up."""
NUMBERS = 2 * GRID * GRID
"""Numbers of a field on that grid."""
DAMPING = 0.15
"""A vector counts with its length to this power: 1 is the cosine 'field', and 0 is nearly the cosine 'pixel'."""
POWER = 0.21
"""A frequency is divided by its mean energy to this power. 0.5 would whiten it, 0 would leave it as it is."""
FLOOR = 3e-4
"""Energy that is added to every frequency, as a share of the largest: few fields say nothing of some frequencies."""
LEAST = 16
"""Fewest fields that make a background."""
UNIT = 2.0**-40
"""Energies are summed in whole multiples of this number. Such sums do not depend on the order, so not on the shards either."""


@dataclass(frozen=True)
class Background:
    """Energies of the frequencies of flow fields, as many of them as were sampled.

    Attributes:
        clips: name of the set of clips that was sampled, such as 'corpus-films'.
        computed_by: estimator of the flows.
        energies: sums over the fields of each part, int64 [FOLDS, 2, GRID, GRID], in multiples of UNIT.
        counts: fields of each part, int64 [FOLDS].
    """

    clips: str
    computed_by: str
    energies: np.ndarray
    counts: np.ndarray

    def fold_of(self, clip_id: str) -> int:
        """The part of the background that a clip's video belongs to. The name of a set in front of the id does not count."""
        return seed_of("background", video_of(clip_id.rpartition("/")[2])) % FOLDS

    def spectrum(self, without: int | None = None) -> np.ndarray:
        """Mean energy of every frequency of a field of unit norm, float64 [2, GRID, GRID]. All are equal if there is no field.

        Args:
            without: number of a part to leave out; None for the whole background.
        """
        kept = np.arange(FOLDS) != (-1 if without is None else without)
        if not self.counts[kept].sum():
            return np.full((2, GRID, GRID), 1 / (2 * GRID * GRID))
        return self.energies[kept].sum(axis=0) * UNIT / self.counts[kept].sum()

    @cached_property
    def weights(self) -> dict[int | None, np.ndarray]:
        """For every part that is left out, and for None, the factor of every frequency, float32 [2, GRID, GRID]."""
        return {without: frequency_weights(self.spectrum(without)) for without in (None, *range(FOLDS))}

    @cached_property
    def name(self) -> str:
        """What scores cite: a digest of the energies."""
        return hash_text(self.energies.tolist(), self.counts.tolist())[:16]


def save_background(path: Path | str, background: Background) -> None:
    """Save a background: a row for every part and frequency, with the fields of the part."""
    places = np.indices(background.energies.shape).reshape(4, -1)
    columns = dict(zip(("fold", "component", "row", "column"), places))
    table = pd.DataFrame(columns | {"energy": background.energies.ravel(), "fields": background.counts[places[0]]})
    save_table(path, table.assign(set=background.clips, computed_by=background.computed_by, damping=DAMPING))


def load_background(path: Path | str) -> Background:
    """Load a background that save_background saved.

    Raises:
        VidmemError: a table of another shape, or of fields that were pooled in another way.
    """
    table = load_table(path)
    if missing := sorted({"set", "computed_by", "energy", "fields", "damping"} - set(table.columns)):
        hint = "measure it again with this version, or take another file"
        raise VidmemError("a background that this version measured", f"no column {missing[0]}", str(path), hint)
    if set(table["damping"]) != {DAMPING}:
        raise VidmemError(f"fields with the damping {DAMPING:g}", sorted(set(table["damping"])), str(path), "measure it again")
    if len(table) != FOLDS * 2 * GRID * GRID:
        raise VidmemError(f"{FOLDS} parts of 2 x {GRID} x {GRID} frequencies", f"{len(table)} rows", str(path))
    table = table.sort_values(["fold", "component", "row", "column"])
    energies = table["energy"].to_numpy(np.int64).reshape(FOLDS, 2, GRID, GRID)
    counts = table["fields"].to_numpy(np.int64).reshape(FOLDS, -1)[:, 0]
    return Background(table["set"].iloc[0], table["computed_by"].iloc[0], energies, counts)


def frequency_weights(spectrum: np.ndarray) -> np.ndarray:
    """Factors that divide the frequencies of a field by a power of their mean energy: float32 of the shape of `spectrum`."""
    return ((spectrum + FLOOR * spectrum.max()) ** -POWER).astype(np.float32)


def pooled_fields(flows: np.ndarray) -> np.ndarray:
    """Flow fields as they are stored for this comparison: vectors of damped lengths, pooled to GRID x GRID.

    A vector has its length to the power DAMPING, so that a fast object does not outweigh the rest of the frame. A vector too
    short to have a direction is zero.

    Args:
        flows: float [P, 2, h, w], grid pixels per frame step, on a grid whose sides GRID divides. Fields that are pooled
            already, [P, 2 * GRID * GRID], are returned as they are.

    Returns:
        float16 [P, 2 * GRID * GRID]; zero for a field without motion.

    Raises:
        VidmemError: flows of another shape or not finite, or a grid that GRID does not divide.
    """
    if flows.ndim == 2 and flows.shape[1] == NUMBERS:
        if not np.isfinite(np.einsum("pn->p", flows, dtype=np.float32)).all():
            raise VidmemError("finite fields", "NaN or infinity", "pooled flow fields")
        return flows.astype(np.float16, copy=False)
    flows = check_flows(flows)
    if flows.shape[2] % GRID or flows.shape[3] % GRID:
        raise VidmemError(f"flows on a grid that {GRID} divides", flows.shape[2:], "flow.grid", "give a multiple of 16")
    lengths = np.sqrt(np.einsum("pchw,pchw->phw", flows, flows))[:, None]
    flows *= np.where(lengths >= EPSILON, np.maximum(lengths, EPSILON) ** (DAMPING - 1), 0)  # a copy of ours
    return pool_flows(flows, GRID).reshape(len(flows), NUMBERS).astype(np.float16)


def field_frequencies(pooled: np.ndarray) -> np.ndarray:
    """Frequencies of pooled fields: the two-dimensional cosine transform (DCT-II, orthonormal) of each component.

    Args:
        pooled: see pooled_fields.

    Returns:
        float32 [P, 2, GRID, GRID]. The inner product of two fields is that of their frequencies.
    """
    return scipy.fft.dctn(pooled.astype(np.float32).reshape(-1, 2, GRID, GRID), axes=(2, 3), norm="ortho").astype(np.float32)


def whitened_fields(flows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Flow fields without what is common, as vectors whose inner product is their cosine.

    Args:
        flows: float [P, 2, h, w], grid pixels per frame step, or pooled; see pooled_fields.
        weights: factor of every frequency, float32 [2, GRID, GRID]; see Background.weights.

    Returns:
        float32 [P, 2 * GRID * GRID], of unit norm; zero for a field without motion.

    Raises:
        VidmemError: flows of another shape or not finite, or a grid that GRID does not divide.
    """
    fields = (field_frequencies(pooled_fields(flows)) * weights).reshape(len(flows), NUMBERS)
    return (fields / np.maximum(np.linalg.norm(fields, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def without_background(flows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Flow fields as they are compared, with the background removed; for figures.

    Args:
        flows: float [P, 2, h, w].
        weights: see whitened_fields.

    Returns:
        float32 [P, 2, GRID, GRID]. The longest vector of a field is as long as before on that grid.
    """
    pooled = pool_flows(flows, GRID)
    fields = scipy.fft.idctn(whitened_fields(flows, weights).reshape(pooled.shape), axes=(2, 3), norm="ortho")
    before, after = (np.hypot(side[:, 0], side[:, 1]).max(axis=(1, 2)) for side in (pooled, fields))
    return (fields * (before / np.maximum(after, 1e-12))[:, None, None, None]).astype(np.float32)


def fit_background(clips: str, computed_by: str, sampled: Iterable[tuple[str, np.ndarray]]) -> Background:
    """Measure the background on flows of clips.

    Args:
        clips: name of the set of the clips.
        computed_by: estimator of the flows.
        sampled: clip id and flows of every sampled clip, pooled or not; see pooled_fields. Memory holds one clip at a time.

    Raises:
        VidmemError: flows that are not finite, or of a grid that GRID does not divide.
    """
    background = Background(clips, computed_by, np.zeros((FOLDS, 2, GRID, GRID), np.int64), np.zeros(FOLDS, np.int64))
    for clip_id, flows in sampled:
        pooled = pooled_fields(flows)
        fields = field_frequencies(pooled[pooled.any(axis=1)]).astype(np.float64)
        energies = fields**2
        shares = energies / np.maximum(energies.sum(axis=(1, 2, 3), keepdims=True), 1e-300)
        fold = background.fold_of(clip_id)
        background.energies[fold] += np.rint(shares / UNIT).astype(np.int64).sum(axis=0)
        background.counts[fold] += len(fields)
    return background


def check_origin(background: Background, estimator: str, where: str) -> None:
    """Check that the background of another audit was measured on flows like those that it is to be compared with.

    Args:
        estimator: what computed the flows here; '' if there are none.
        where: place named in the message.

    Raises:
        VidmemError: another estimator, side, grid or weights.
    """
    if estimator and background.computed_by != estimator:
        raise VidmemError(f"a background of flows by {estimator}", background.computed_by, where, "compute one of them again")


def check_background(background: Background, pairs: int, where: str) -> None:
    """Stop the run if a background says too little.

    Args:
        pairs: frame pairs of the set that was sampled. A set without any, such as one of still images, needs no background.
        where: place named in the message.

    Raises:
        VidmemError: fewer than LEAST fields move.
    """
    found = int(background.counts.sum())
    if pairs and found < LEAST:
        hint = "sample more splits (motion.background.splits), take the background of another audit, or use metric: ofs_k"
        raise VidmemError(f"at least {LEAST} flow fields with motion for the background", found, where, hint)

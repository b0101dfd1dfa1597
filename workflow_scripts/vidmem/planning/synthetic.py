"""Any number of synthetic descriptors with the spectrum of real ones, to measure what a search costs at scale.

A clip is a centre (mean plus a Gaussian with the fitted spectrum) and frames around it. Part of a frame's deviation is drawn
anew at every frame, and part is a random walk. How far the frames of a clip spread is drawn from the spreads of real clips.

Clips are made in groups of fixed size, and each group has its own random stream. So a descriptor only depends on the seed and
its position.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..base.seeding import random_stream
from ..base.store import ArrayWriter, save_json
from ..errors import VidmemError
from ..features.descriptors import normalise

FILE = Path(__file__).with_name("spectrum.json")
GROUP = 512  # clips that are always made at once: matrix products of another shape could round differently
SHARES = np.linspace(0, 1, 33)
"""Shares of clips at which the quantiles of the spread are kept."""
KINDS = ("copy", "near-duplicate", "stranger")
COPY_COSINES = (0.5, 0.95)
"""Range of the cosine between a copy and its original, drawn uniformly. Generated copies lie at the lower end, re-encoded
copies at the upper end."""


@dataclass(frozen=True)
class Spectrum:
    """Parameters of the distribution of synthetic descriptors.

    Attributes:
        width: numbers in a descriptor.
        mean: norm of the mean descriptor.
        mean_exponent: the energy of the mean along an axis is proportional to this power of the axis's variance.
        exponent: the variances of the centres along the axes fall as (1, 2, 3, ...)^-exponent.
        within_exponent: exponent for the variances of the frames around their centre.
        spread: variance of a clip's frames about their mean, as quantiles at the shares SHARES of clips.
        steady, walk: variance that a frame draws anew, and variance that a step of the walk adds, for a clip of spread 1.
        provenance: which clips it was fitted to; reference: similarity_quantiles of these clips.
    """

    width: int
    mean: float
    mean_exponent: float
    exponent: float
    within_exponent: float
    spread: tuple[float, ...]
    steady: float
    walk: float
    provenance: str
    reference: dict

    @cached_property
    def variances(self) -> np.ndarray:
        """Variance of the centres along every axis, float64 [width], falling. Their sum is 1 minus the mean's squared norm."""
        return _power_law(self.width, self.exponent) * (1 - self.mean**2)

    @cached_property
    def within(self) -> np.ndarray:
        """Variance of frames about their centre along every axis, for a spread of 1, float64 [width]."""
        return _power_law(self.width, self.within_exponent)

    @cached_property
    def centre(self) -> np.ndarray:
        """The mean descriptor, float64 [width], along the axes of `variances`."""
        energy = self.variances**self.mean_exponent
        return self.mean * np.sqrt(energy / energy.sum())


def _power_law(width: int, exponent: float) -> np.ndarray:
    values = np.arange(1, width + 1) ** -float(exponent)
    return values / values.sum()


def fit_spectrum(clips: Sequence[np.ndarray], provenance: str) -> Spectrum:
    """Fit a spectrum to the descriptors of real clips.

    The spectrum of the centres is fitted to one frame of each clip, and only to products of different clips. A small number of
    clips does not bias these products. It would bias the eigenvalues of a covariance with more axes than clips.

    Args:
        clips: descriptors of each clip, float [T, d], unit norm. Each clip shows one scene; a still is a clip of one frame.
        provenance: which clips these are, in words.

    Raises:
        VidmemError: fewer than three clips, or none with frames to compare.
    """
    films = [np.asarray(clip, np.float64) for clip in clips if len(clip) > 1]
    if len(clips) < 3 or not films:
        raise VidmemError("at least three clips, one of several frames", f"{len(clips)}, {len(films)}", "fit_spectrum")
    frames = np.stack([np.asarray(clip, np.float64)[len(clip) // 2] for clip in clips])
    count, width = frames.shape
    pairs = np.triu_indices(count, 1)
    mean = max(0.0, float((frames @ frames.T)[pairs].mean())) ** 0.5
    centred = frames - frames.mean(0)
    squares = float(((centred @ centred.T)[pairs] ** 2).mean()) * (count / (count - 1)) ** 2
    exponent = _solve(lambda a: (1 - mean**2) ** 2 * float((_power_law(width, a) ** 2).sum()), squares, 0, 3)
    variances = _power_law(width, exponent) * (1 - mean**2)
    others = ((frames @ frames.T).sum(1) - 1) / (count - 1)
    along = max(
        0.0, float(others.var(ddof=1)) - squares / (count - 1)
    )  # variance of the product with the mean, minus the bias of few clips
    share = _solve(lambda b: mean**2 * float((variances ** (b + 1)).sum() / (variances**b).sum()), along, -5, 20)
    deviations = np.concatenate([clip - clip.mean(0) for clip in films])
    product = deviations @ deviations.T if len(deviations) < width else deviations.T @ deviations
    concentration = float((product**2).sum() / np.trace(product) ** 2)
    steady, walk = _fit_walk(films)
    within = _solve(lambda a: float((_power_law(width, a) ** 2).sum()), concentration, 0, 3)
    spread = _rounded(*np.quantile([clip.var(0).sum() for clip in films], SHARES))
    mean, share, exponent, within, steady, walk = _rounded(mean, share, exponent, within, steady, walk)
    reference = similarity_quantiles(clips)
    return Spectrum(width, mean, share, exponent, within, spread, steady, walk, provenance, reference)


def _rounded(*values: float) -> tuple[float, ...]:
    return tuple(float(f"{value:.5g}") for value in values)


def _solve(rising: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Argument at which a rising function reaches a target, by bisection. If it does not, an end of the interval."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < target else (low, middle)
    return (low + high) / 2


def _fit_walk(films: Sequence[np.ndarray]) -> tuple[float, float]:
    """Variance that is drawn anew at every frame, and variance that a step adds, scaled to clips of spread 1."""
    longest = max(len(clip) for clip in films)
    films = [clip for clip in films if len(clip) == longest]
    lags = np.arange(1, longest)
    halves = [np.mean([((clip[:-lag] - clip[lag:]) ** 2).sum(1).mean() / 2 for clip in films]) for lag in lags]
    step, anew = np.polyfit(lags, halves, 1) if len(lags) > 1 else (0.0, float(halves[0]))
    anew, step = max(anew, 0.0), max(2 * step, 0.0)
    whole = anew * (1 - 1 / longest) + step * (longest**2 - 1) / (6 * longest)
    return (anew / whole, step / whole) if whole else (1.0, 0.0)


def similarity_quantiles(clips: Sequence[np.ndarray]) -> dict:
    """Quantiles of the cosines between frames of real or synthetic clips.

    Args:
        clips: descriptors of each clip, float [T, d], unit norm.

    Returns:
        'shares', and the quantiles at these shares: 'strangers' between middle frames of different clips, 'next_frame' between
        successive frames of a clip.
    """
    shares = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
    middle = np.stack([np.asarray(clip, np.float64)[len(clip) // 2] for clip in clips])
    strangers = (middle @ middle.T)[np.triu_indices(len(middle), 1)]
    moved = [(np.asarray(clip, np.float64)[:-1] * clip[1:]).sum(1) for clip in clips if len(clip) > 1]
    following = np.concatenate(moved) if moved else np.zeros(0)
    quantiles = {name: _rounded(*np.quantile(values, shares)) if values.size else ()
                 for name, values in (("strangers", strangers), ("next_frame", following))}  # fmt: skip
    return {"shares": shares, **quantiles}


def load_spectrum(path: Path | str = FILE) -> Spectrum:
    """Load a fitted spectrum.

    Raises:
        VidmemError: a file of another form.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return Spectrum(**content | {"spread": tuple(content["spread"])})
    except (json.JSONDecodeError, TypeError, KeyError) as error:
        raise VidmemError("a spectrum of fit_spectrum", error, str(path)) from error


def save_spectrum(path: Path | str, spectrum: Spectrum) -> None:
    """Save a fitted spectrum as JSON."""
    save_json(path, asdict(spectrum))


class SyntheticCorpus:
    """Descriptors of clips of equal length, which are computed when they are needed.

    Args:
        spectrum: parameters of their distribution.
        frames: number of frames of every clip.
        seed: seed of the corpus. Corpora with different seeds share no clip.

    Raises:
        VidmemError: less than one frame.
    """

    def __init__(self, spectrum: Spectrum, frames: int = 8, seed: int | str = 0):
        if frames < 1:
            raise VidmemError("at least one frame a clip", frames, "SyntheticCorpus")
        self.spectrum, self.frames, self.seed = spectrum, frames, seed
        # All corpora share one rotation. Quantisers cut along the axes, and real descriptors do not vary along these.
        noise = random_stream("synthetic rotation", spectrum.width).standard_normal((spectrum.width, spectrum.width))
        self.rotation = np.linalg.qr(noise)[0].astype(np.float32)

    def group(self, number: int, frames: int = 0) -> np.ndarray:
        """Clips of a group: float16 [GROUP, frames, width], unit norm.

        Args:
            number: number of the group.
            frames: frames of each clip; 0 for the corpus's number. If it is larger, further frames follow the usual ones.
        """
        spectrum, stream = self.spectrum, random_stream("synthetic", self.seed, number)
        spread = np.interp(stream.random((GROUP, 1)), SHARES, spectrum.spread)
        room = np.sqrt(
            np.maximum(0, 1 - spread / (1 - spectrum.mean**2))
        )  # the spread of the frames is variance that the centres lack
        shape = (GROUP, spectrum.width)
        centres = spectrum.centre + room * np.sqrt(spectrum.variances) * stream.standard_normal(shape, np.float32)
        scale, walk, made = np.sqrt(spread * spectrum.within), np.zeros(shape, np.float32), []
        for _ in range(frames or self.frames):
            anew = stream.standard_normal(shape, np.float32)
            frame = centres + scale * (np.sqrt(spectrum.steady) * anew + np.sqrt(spectrum.walk) * walk)
            made.append(normalise(frame.astype(np.float32) @ self.rotation).astype(np.float16))
            walk = walk + stream.standard_normal(shape, np.float32)
        return np.stack(made, axis=1)

    def blocks(self, first: int, last: int) -> Iterator[np.ndarray]:
        """Yield the descriptors of the rows first to last - 1, one group at a time, each float16 [n, width]."""
        rows = GROUP * self.frames
        for number in range(first // rows, -(-last // rows)):
            begin = number * rows
            yield self.group(number).reshape(rows, -1)[max(0, first - begin) : min(rows, last - begin)]


def write_shards(corpus: SyntheticCorpus, folder: Path, rows: int, shard_rows: int) -> list[Path]:
    """Write the first rows of a corpus as shards, with one group in memory at a time. Existing shards are kept.

    Args:
        corpus: the corpus.
        folder: where the shards are written.
        rows: number of rows in all shards; shard_rows: number of rows in every shard but the last.

    Returns:
        Paths in the order of the rows.
    """
    paths = []
    for first in range(0, rows, shard_rows):
        last = min(first + shard_rows, rows)
        path = folder / f"{first:010d}-{last:010d}.npy"
        paths.append(path)
        if not path.exists():
            with ArrayWriter(path, (corpus.spectrum.width,), "float16") as writer:
                for block in corpus.blocks(first, last):
                    writer.append(block)
    return paths


class Queries(NamedTuple):
    """Queries and what they show.

    Attributes:
        vectors: float16 [Q, width].
        kinds: [Q], each one of KINDS.
        origins: int64 [Q]: for a copy the row that was copied, for a near-duplicate the first row of its clip, else -1.
        cosines: float64 [Q], cosine between a copy and the row that was copied; NaN for other queries.
    """

    vectors: np.ndarray
    kinds: np.ndarray
    origins: np.ndarray
    cosines: np.ndarray


def make_queries(corpus: SyntheticCorpus, rows: int, count: int, seed: int = 0) -> Queries:
    """Make queries, of the KINDS in turn.

    A copy is its original turned towards a stranger's descriptor, until their cosine is a number drawn from COPY_COSINES. A
    near-duplicate is the frame that would have followed a clip. A stranger comes from a clip outside the corpus.

    Args:
        corpus: the corpus.
        rows: copies and near-duplicates are drawn from the first so many rows, which have to be whole clips.
        count: number of queries.
        seed: further seed of the queries.
    """
    stream, width = random_stream("synthetic queries", corpus.seed, seed), corpus.spectrum.width
    clips = stream.integers(rows // corpus.frames, size=count)
    frames, cosines = stream.integers(corpus.frames, size=count), stream.uniform(*COPY_COSINES, size=count)
    strangers = SyntheticCorpus(corpus.spectrum, 1, f"strangers {corpus.seed} {seed}")
    foreign = np.concatenate(list(strangers.blocks(0, count))).astype(np.float64)
    kinds = np.array(KINDS)[np.arange(count) % len(KINDS)]
    vectors, origins = foreign.copy(), np.full(count, -1)
    for number in np.unique(clips[kinds != "stranger"] // GROUP):
        longer = corpus.group(int(number), corpus.frames + 1).astype(np.float64)
        for place in np.flatnonzero((clips // GROUP == number) & (kinds != "stranger")):
            clip = longer[clips[place] % GROUP]
            copied = kinds[place] == "copy"
            vectors[place] = _turned(clip[frames[place]], foreign[place], cosines[place]) if copied else clip[-1]
            origins[place] = clips[place] * corpus.frames + (frames[place] if copied else 0)
    vectors = normalise(vectors.reshape(-1, width)).astype(np.float16)
    return Queries(vectors, kinds, origins, np.where(kinds == "copy", cosines, np.nan))


def _turned(vector: np.ndarray, towards: np.ndarray, cosine: float) -> np.ndarray:
    """Turn a vector, scaled to unit norm, towards another one until their old and new direction have a given cosine."""
    vector = vector / np.linalg.norm(vector)
    across = towards - (towards @ vector) * vector
    return cosine * vector + (1 - cosine**2) ** 0.5 * across / np.linalg.norm(across)

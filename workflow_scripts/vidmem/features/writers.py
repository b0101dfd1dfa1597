"""Writers of the feature files of a shard: descriptors and flows, with the tables of their rows.

A stage that has the frames of a clip appends the clip to each writer, whether the frames themselves are stored or not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
import pandas as pd

from ..base.clip_table import clip_table
from ..base.logs import progress
from ..base.store import ArrayWriter, hash_file, save_table
from .background import NUMBERS, pooled_fields
from .clip_features import ClipFeatures, open_features
from .descriptors import DIMENSION, PRESETS, describe_frames, load_encoder
from .flow import clip_flows, load_estimator
from .flow_measures import flow_features


class DescriptorFiles:
    """Writer of the descriptors of a shard. Use as a context manager; the files appear when it ends without an error.

    Frames wait in memory until a batch is full. A batch holds frames of several clips, in order. Memory never holds more than
    one batch and one clip.

    Args:
        array, rows: files of the descriptors and of their row table.
        weights: file of the network, whose hash the fetch stage has checked.
        preset: a key of PRESETS.
        batch: frames described at once.
        threads, device: see load_encoder.
    """

    def __init__(self, array: Path, rows: Path, weights: Path, preset: str, batch: int, threads: int = 1, device: str = "cpu"):
        self._array, self._rows, self._preset, self._batch = array, rows, PRESETS[preset], batch
        self._encode = load_encoder(self._preset, weights, threads, device)
        self._computed_by = f"{preset} {hash_file(weights)[:16]}"
        self._waiting: list[np.ndarray] = []
        self._tables = [pd.DataFrame({"clip_id": [], "frame": []})]

    def __enter__(self) -> DescriptorFiles:
        self._open = ExitStack()
        self._writer = self._open.enter_context(ArrayWriter(self._array, (DIMENSION,), "float16"))
        return self

    def append(self, clip_id: str, frames: np.ndarray) -> None:
        """Take the frames uint8 [T, H, W, 3] of the next clip."""
        self._tables.append(pd.DataFrame({"clip_id": clip_id, "frame": range(len(frames))}))
        for first in range(0, len(frames), self._batch):
            self._waiting.append(frames[first : first + self._batch])
            self._describe(self._batch)

    def _describe(self, least: int) -> None:
        """Describe waiting frames, batch by batch, as long as at least `least` frames wait."""
        while self._waiting and sum(map(len, self._waiting)) >= least:
            together = np.concatenate(self._waiting)
            for block in describe_frames(together[: self._batch], self._encode, self._preset, self._batch):
                self._writer.append(block)
            self._waiting = [together[self._batch :]] if len(together) > self._batch else []

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._describe(1)
        self._open.__exit__(kind, error, trace)
        if kind is None:
            table = _table(self._tables, {"clip_id": "str", "frame": "int32"})
            save_table(self._rows, table.assign(computed_by=self._computed_by))


class FlowFiles:
    """Writer of the optical flow of a shard, with the measures that the natural motion filter needs.

    Use as a context manager; the files appear when it ends without an error.

    Args:
        array, pooled, rows: files of the flows, of the pooled fields (see pooled_fields), and of their row table.
        weights: file of the estimator's network; None for an estimator without a network.
        flow: the section `flow` of the configuration, of which estimator, side and grid are read.
        device: 'cpu' or 'cuda'.
    """

    MEASURED = ("magnitude", "area", "energy", "residual", "entropy")

    def __init__(self, array: Path, pooled: Path, rows: Path, weights: Path | None, flow: dict, device: str = "cpu"):
        self._array, self._pooled, self._rows = array, pooled, rows
        self._side, self._grid = flow["side"], flow["grid"]
        self._estimate = load_estimator(flow["estimator"], weights, device)
        known = [hash_file(weights)[:16]] if weights else []
        self._computed_by = " ".join([f"{flow['estimator']} side {self._side} grid {self._grid}", *known])
        self._tables = [pd.DataFrame(columns=["clip_id", "pair", *self.MEASURED])]

    def __enter__(self) -> FlowFiles:
        self._open = ExitStack()
        self._writer = self._open.enter_context(ArrayWriter(self._array, (2, self._grid, self._grid), "float16"))
        self._pooler = self._open.enter_context(ArrayWriter(self._pooled, (NUMBERS,), "float16"))
        return self

    def append(self, clip_id: str, frames: np.ndarray) -> None:
        """Take the frames uint8 [T, H, W, 3] of the next clip."""
        fields = clip_flows(frames, self._estimate, self._side, self._grid)
        self._writer.append(fields)
        self._pooler.append(pooled_fields(fields))
        if len(fields):
            measured = vars(flow_features(fields, size=frames.shape[1:3]))
            self._tables.append(pd.DataFrame({"clip_id": clip_id, "pair": range(len(fields)), **measured}))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.__exit__(kind, error, trace)
        if kind is None:
            table = _table(self._tables, {"clip_id": "str", "pair": "int32", **dict.fromkeys(self.MEASURED, "float64")})
            save_table(self._rows, table.assign(computed_by=self._computed_by))


def write_clips(
    clips: Iterable[tuple[dict, np.ndarray]], descriptors: DescriptorFiles, flows: FlowFiles, table: Path
) -> pd.DataFrame:
    """Write the features of clips while they are read, and their clip table; return the table.

    Args:
        clips: row of the clip table and frames uint8 [T, H, W, 3] of each clip; T = 0 if it could not be read.
        table: file of the clip table.
    """
    rows = []
    with descriptors, flows:
        for row, pictures in clips:
            rows.append(row)
            if len(pictures):
                descriptors.append(row["clip_id"], pictures)
                flows.append(row["clip_id"], pictures)
    made = clip_table(rows)
    save_table(table, made)
    return made


def features_of(
    clips: Iterable[tuple[dict, np.ndarray]], descriptors: Mapping, flow: dict, weights: str, flow_weights: Sequence[str],
    threads: int,
) -> tuple[pd.DataFrame, dict[str, ClipFeatures]]:  # fmt: skip
    """Clip table and features of a few clips that belong to no set of the audit; nothing is kept on disk.

    Args:
        clips: as for write_clips.
        descriptors, flow: sections of the configuration.
        weights: file of the descriptor's network; flow_weights: that of the flow estimator, if it has one.

    Returns:
        The table, and 'content' and 'motion' -> descriptors and flows.
    """
    with tempfile.TemporaryDirectory() as folder:
        table, array, rows, fields, pooled, pairs = (
            Path(folder, name) for name in ("clips", "array", "rows", "fields", "pooled", "pairs")
        )
        described = DescriptorFiles(array, rows, Path(weights), descriptors["preset"], descriptors["batch"], threads)
        flows = FlowFiles(fields, pooled, pairs, Path(flow_weights[0]) if flow_weights else None, flow)
        made = write_clips(clips, described, flows, table)
        return made, {"content": open_features(table, array, rows), "motion": open_features(table, fields, pairs)}


def write_features(files: DescriptorFiles | FlowFiles, clips: Mapping[str, np.ndarray], label: str) -> None:
    """Write the features of all clips of a shard.

    Args:
        files: the writer.
        clips: frames uint8 [T, H, W, 3] by clip id.
        label: label of the progress bar.
    """
    with files:
        for clip_id, frames in progress(clips.items(), label, unit="clip"):
            files.append(clip_id, frames)


def _table(tables: list[pd.DataFrame], types: dict[str, str]) -> pd.DataFrame:
    """Concatenate tables, the first of which is empty and states the columns.

    Args:
        types: type of each column.
    """
    return pd.concat(tables[1:] or tables, ignore_index=True).astype(types)[list(types)]

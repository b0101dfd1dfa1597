"""Feature shards: descriptors and flows, with a row table that names the clip of each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from ..base.clip_table import REFERENCE_SPLITS, query_clips, usable
from ..base.shards import LISTED, load_shards
from ..base.store import load_array, load_table, load_tables, stacked
from ..errors import VidmemError
from .flow_measures import FlowFeatures

ShardFiles = Sequence[str | Path]
"""Files of the shards of a set, in shard order."""


@dataclass
class ClipFeatures:
    """Features of the clips of one set. Arrays are memory-mapped, not loaded.

    Attributes:
        clips: clip table, one row a clip.
        spans: clip id -> (shard, first row, row after the last) of its descriptors or flows in the array of the shard.
        arrays: one mapped array a shard.
        rows: row table, one row for each descriptor or flow: of all shards, or of the clips in `places` only.
        provenance: what computed the features: preset or estimator, and the hash of its weights.
        places: clip id -> its first row in `rows`. None if `rows` holds the row tables of all shards, one after another.
    """

    clips: pd.DataFrame
    spans: dict[str, tuple[int, int, int]]
    arrays: list[np.ndarray]
    rows: pd.DataFrame
    provenance: str
    places: dict[str, int] | None = None

    def of(self, clip_id: str) -> np.ndarray:
        """Features of one clip: [n, ...]; n = 0 for a clip without features."""
        if clip_id not in self.spans:
            return self.arrays[0][:0]
        shard, first, last = self.spans[clip_id]
        return np.asarray(self.arrays[shard][first:last])

    def table_of(self, clip_ids: Sequence[str]) -> pd.DataFrame:
        """Feature rows of several clips, in the order of `select`."""
        starts = np.concatenate([[0], np.cumsum([len(array) for array in self.arrays])])
        places = []
        for clip_id in (clip_id for clip_id in clip_ids if clip_id in self.spans):
            shard, first, last = self.spans[clip_id]
            begin = starts[shard] + first if self.places is None else self.places[clip_id]
            places.append(np.arange(begin, begin + last - first))
        return self.rows.iloc[np.concatenate(places) if places else []]

    def select(self, clip_ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Features of several clips, concatenated along the first axis, and the number of features of each clip."""
        features = [self.of(clip_id) for clip_id in clip_ids]
        counts = np.array([len(own) for own in features], dtype=np.int64)
        return (np.concatenate(features) if features else self.arrays[0][:0]), counts

    def only(self, clip_ids: Sequence[str]) -> ClipFeatures:
        """The features of some clips of the set. Their row table is in memory; their arrays stay mapped."""
        spans = {name: self.spans[name] for name in clip_ids if name in self.spans}
        counts = [last - first for _, first, last in spans.values()]
        places = dict(zip(spans, (np.cumsum(counts) - counts).tolist()))
        clips = self.clips[self.clips["clip_id"].isin(set(clip_ids))]
        return ClipFeatures(clips, spans, self.arrays, self.table_of(list(spans)), self.provenance, places)


def load_features(clips: ShardFiles, arrays: ShardFiles, rows: ShardFiles) -> ClipFeatures:
    """Open the shards of a set.

    Args:
        clips, arrays, rows: files of the clip tables, the arrays and their row tables; all three list the shards in one order.

    Raises:
        VidmemError: shards of different presets or estimators, or a row table that does not fit its array.
    """
    return joined([open_features(*files) for files in zip(clips, arrays, rows, strict=True)])


def listed_features(path: Path | str, kind: str, chosen: Collection[str] | None = None) -> ClipFeatures:
    """Open the shards of a list; see load_features.

    Args:
        kind: 'content' or 'motion'.
        chosen: clip ids that are opened; None for all clips. Only their rows are held in memory.
    """
    listed = load_shards(path)
    clips, arrays, rows = (listed[name] for name in LISTED[kind])
    return load_features(clips, arrays, rows) if chosen is None else load_chosen(clips, arrays, rows, chosen)


def listed_clips(path: Path | str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Clip table of all shards of a list, with all columns or some."""
    return load_tables(load_shards(path)["clips"], columns)


def mean_magnitudes(path: Path | str) -> pd.Series:
    """Mean flow magnitude of every clip of a list of flows, by clip id. Each clip is one row.

    Raises:
        VidmemError: flows of different estimators.
    """
    means, estimators = [], set()
    for rows in load_shards(path)["pairs"]:
        table = load_table(rows, ["clip_id", "magnitude", "computed_by"])
        estimators |= set(table["computed_by"])
        means.append(table.groupby("clip_id")["magnitude"].mean())
    same_provenance(estimators, str(path))
    return pd.concat([mean for mean in means if len(mean)] or means[:1])


def open_features(clips: Path | str, array: Path | str, rows: Path | str, verify: bool = True) -> ClipFeatures:
    """Open one shard; see load_features.

    Args:
        verify: whether the whole array is read and compared with its checksums.
    """
    table, mapped = load_table(rows), load_array(array, verify=verify)
    if len(table) != len(mapped):
        raise VidmemError(f"{len(table)} rows as in its table", len(mapped), str(array), "delete both, run again")
    spans = {clip_id: (0, first, last) for clip_id, first, last in _runs(table["clip_id"].to_numpy())}
    return ClipFeatures(load_table(clips), spans, [mapped], table, same_provenance(table["computed_by"].unique(), str(array)))


def joined(parts: Sequence[ClipFeatures]) -> ClipFeatures:
    """Join shards to one set, in the order given.

    Raises:
        VidmemError: shards of different presets or estimators.
    """
    provenance = same_provenance([part.provenance for part in parts], "features of a set")
    spans = {name: (shard, first, last) for shard, part in enumerate(parts) for name, (_, first, last) in part.spans.items()}
    clips, rows = (stacked(tables) for tables in zip(*((part.clips, part.rows) for part in parts)))
    starts = np.cumsum([0, *(len(part.rows) for part in parts)])
    chosen = [(part.places, int(start)) for part, start in zip(parts, starts) if part.places is not None]
    places = {name: start + place for own, start in chosen for name, place in own.items()} if chosen else None
    return ClipFeatures(clips, spans, [array for part in parts for array in part.arrays], rows, provenance, places)


def load_queries(
    clips: ShardFiles, arrays: ShardFiles, rows: ShardFiles, chosen: Collection[str] | None = None
) -> ClipFeatures:
    """Load the query clips of a set; see load_features. A shard without a query clip is not opened.

    Args:
        chosen: clip ids to choose the query clips from; None for all.
    """

    def names_of(table: pd.DataFrame) -> list[str]:
        return [name for name in query_clips(table) if chosen is None or name in chosen]

    return _load_some(clips, arrays, rows, names_of)


def load_chosen(clips: ShardFiles, arrays: ShardFiles, rows: ShardFiles, chosen: Collection[str]) -> ClipFeatures:
    """Load the clips of a set that have the chosen ids; see load_features.

    A shard without a chosen clip is not opened: its features may come from another preset.
    """
    return _load_some(clips, arrays, rows, lambda table: [name for name in table["clip_id"] if name in chosen])


def _load_some(
    clips: ShardFiles, arrays: ShardFiles, rows: ShardFiles, names_of: Callable[[pd.DataFrame], list[str]]
) -> ClipFeatures:
    """Load the clips that `names_of` chooses from the clip table of each shard."""
    shards = []
    for files in zip(clips, arrays, rows, strict=True):
        if names := names_of(load_table(files[0])):
            shards.append(open_features(*files).only(names))
    return joined(shards or [_no_features(clips[0], arrays[0], rows[0])])


def _no_features(clips: Path | str, array: Path | str, rows: Path | str) -> ClipFeatures:
    """A set without clips, whose array and tables have the shapes and columns of a shard."""
    return ClipFeatures(load_table(clips)[:0], {}, [load_array(array, verify=False)[:0]], load_table(rows)[:0], "", {})


def _runs(names: np.ndarray) -> Iterator[tuple[str, int, int]]:
    """Runs of equal names: the name, the place of its first row, and the place after its last row."""
    if not len(names):
        return
    edges = np.flatnonzero(names[1:] != names[:-1]) + 1
    for first, last in zip(np.r_[0, edges], np.r_[edges, len(names)]):
        yield str(names[first]), int(first), int(last)


def clip_blocks(features: ClipFeatures, clip_ids: Sequence[str], rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Features of whole clips, as ClipFeatures.select returns them, in blocks of at least `rows` rows.

    The last block may be smaller.
    """
    waiting: list[str] = []
    size = 0
    for clip_id in clip_ids:
        _, first, last = features.spans[clip_id]
        waiting.append(clip_id)
        size += last - first
        if size >= rows:
            yield features.select(waiting)
            waiting, size = [], 0
    if waiting:
        yield features.select(waiting)


def motion_features(rows: pd.DataFrame) -> FlowFeatures:
    """The measures that the natural motion filter looks at, from rows of a flow table."""
    return FlowFeatures(**{field.name: rows[field.name].to_numpy(np.float64) for field in fields(FlowFeatures)})


def same_provenance(found: Iterable[str], where: str) -> str:
    """The preset or estimator that computed several sets of features; '' if no set has any features.

    Args:
        found: provenance of each set of features; '' for a shard without rows.

    Raises:
        VidmemError: the features come from more than one preset or estimator.
    """
    names = sorted({name for name in found if name})
    if len(names) > 1:
        hint = "scores of different presets do not compare: compute one of them again"
        raise VidmemError("features of one preset", names, where, hint)
    return names[0] if names else ""


def check_same_preset(first: ClipFeatures, second: ClipFeatures) -> str:
    """The preset or estimator of two sets that are to be compared.

    Raises:
        VidmemError: they differ.
    """
    return same_provenance([first.provenance, second.provenance], "features of two sets")


def reference_clips(features: ClipFeatures) -> list[str]:
    """Clip ids of the references that have features, sorted, so that ties do not depend on how the shards were cut."""
    chosen = set(usable(features.clips, REFERENCE_SPLITS)["clip_id"])
    return sorted(name for name in features.spans if name in chosen)


def reference_rows(features: ClipFeatures, theirs: Sequence[str]) -> np.ndarray:
    """Rows of some clips in the array of their shard, in the order of the array.

    Args:
        features: features of one shard.
        theirs: clip ids, each with features.

    Returns:
        int64 [n].
    """
    spans = sorted(features.spans[name][1:] for name in theirs)
    return np.concatenate([np.arange(first, last) for first, last in spans]) if spans else np.zeros(0, np.int64)


def frame_rows(clips: pd.DataFrame, path: Path | str) -> dict[str, np.ndarray]:
    """Frames of the usable clips of a shard: clip id -> uint8 [T, H, W, 3], memory-mapped."""
    frames = load_array(path)
    return {row.clip_id: frames[row.first : row.first + row.count] for row in usable(clips).itertuples()}

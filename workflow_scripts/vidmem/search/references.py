"""The references of a corpus, one shard in memory at a time, and a scan over all of them that survives a killed job."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..base.logs import LOGGER
from ..base.shards import LISTED, load_shards
from ..base.store import CheckedArray, load_table, save_table
from ..corpus.item import shard_of_clip
from ..errors import VidmemError
from ..features.clip_features import (
    ClipFeatures,
    ShardFiles,
    load_chosen,
    open_features,
    reference_clips,
    same_provenance,
)  # fmt: skip
from .exact import TopK


class Candidates(NamedTuple):
    """The k best reference clips found so far for each of Q query clips.

    Attributes:
        scores: float32 [Q, k], descending; -inf if there are fewer than k clips.
        names: clip ids, str [Q, k]; '' if there are fewer than k clips.
    """

    scores: np.ndarray
    names: np.ndarray

    def of(self, query: int) -> list[str]:
        """Reference clips of a query clip, best first."""
        return [str(name) for name in self.names[query] if name]


def no_candidates(queries: int, k: int) -> Candidates:
    """Candidates of a search that has found nothing yet."""
    return Candidates(np.full((queries, k), -np.inf, np.float32), np.full((queries, k), "", dtype="U1"))


def merge_candidates(first: Candidates, second: Candidates) -> Candidates:
    """The best of two sets of candidates, as many as the first has.

    If scores are equal, the lower clip id wins. The result therefore does not depend on the order in which sets are merged.
    """
    k = first.scores.shape[1]
    scores, names = (np.concatenate(pair, axis=1) for pair in zip(first, second))
    order = np.lexsort((names, -scores), axis=1)[:, :k]
    found = Candidates(np.take_along_axis(scores, order, axis=1), np.take_along_axis(names, order, axis=1))
    found.names[np.isneginf(found.scores)] = ""
    return found


def named(answer: TopK, theirs: Sequence[str]) -> Candidates:
    """Candidates from an answer whose rows are places in the list of clip ids `theirs`."""
    return Candidates(answer.scores, np.array([*theirs, ""])[answer.rows])  # row -1 means no clip and takes the last name


class ReferenceShards:
    """The shards of a corpus. One of them is open at a time.

    Args:
        clips, arrays, rows: files of the clip tables, of the descriptors or flows, and of their row tables, in shard order.
    """

    def __init__(self, clips: ShardFiles, arrays: ShardFiles, rows: ShardFiles):
        self.files = list(zip(clips, arrays, rows, strict=True))
        self._open: tuple[int, ClipFeatures] | None = None
        self._verified: set[int] = set()  # so that a stage that scans several times checks each array once
        self._computed_by = ""  # provenance of the shards opened so far

    @classmethod
    def listed(cls, path: Path | str, kind: str) -> ReferenceShards:
        """The shards of a list.

        Args:
            path: file of the list.
            kind: 'content' for descriptors, 'motion' for flows, or 'pooled' for pooled flow fields.

        Raises:
            VidmemError: the list names no files of that kind.
        """
        files = load_shards(path)
        if missing := [name for name in LISTED[kind] if name not in files]:
            hint = "an earlier version wrote it: delete it, and run again"
            raise VidmemError(f"a list with {', '.join(LISTED[kind])}", f"no {missing[0]}", str(path), hint)
        clips, arrays, rows = (files[name] for name in LISTED[kind])
        return cls(clips, arrays, rows)

    def __len__(self) -> int:
        return len(self.files)

    def shard(self, number: int) -> ClipFeatures:
        """Features of one shard. The shard opened last stays open.

        Raises:
            VidmemError: its features come from another preset or estimator than those of the shards opened before.
        """
        if self._open is None or self._open[0] != number:
            features = open_features(*self.files[number], verify=number not in self._verified)
            self._verified.add(number)
            self._computed_by = same_provenance([self._computed_by, features.provenance], str(self.files[number][1]))
            self._open = (number, features)
        return self._open[1]

    def names(self, number: int) -> list[str]:
        """Clip ids of the references of a shard, sorted."""
        return reference_clips(self.shard(number))

    def number_of(self, clip_id: str) -> int:
        """Number of the shard that holds a clip."""
        return shard_of_clip(clip_id, len(self))

    def features_of(self, clip_ids: Collection[str]) -> ClipFeatures:
        """Features of some clips, references or not. Their rows are in memory; their arrays are memory-mapped."""
        clips, arrays, rows = (list(files) for files in zip(*self.files))
        return load_chosen(clips, arrays, rows, set(clip_ids))

    @property
    def provenance(self) -> str:
        """What computed the features of the first shard that has any. Each other shard is checked when it is opened."""
        tables = (load_table(rows, ["computed_by"])["computed_by"] for _, _, rows in self.files)
        return next((str(column.iloc[0]) for column in tables if len(column)), "")

    def check_preset(self, queries: ClipFeatures) -> str:
        """The preset or estimator of the references and of the query clips.

        Raises:
            VidmemError: they differ.
        """
        return same_provenance([queries.provenance, self.provenance], "features of two sets")

    def array(self, number: int) -> CheckedArray:
        """Stored features of a shard, memory-mapped. Rows are checked when they are read."""
        return CheckedArray(self.files[number][1])

    def owners(self, number: int) -> np.ndarray:
        """Clip id of every row of a shard."""
        return load_table(self.files[number][2], ["clip_id"])["clip_id"].to_numpy()

    def stamp(self) -> list[list]:
        """Name, size and time of every file, which show whether any file has changed."""
        stats = [(str(path), Path(path).stat()) for files in self.files for path in files]
        return [[path, stat.st_size, stat.st_mtime_ns] for path, stat in stats]


class OpenReferences(ReferenceShards):
    """References whose features are open already, as a single shard.

    Args:
        features: features of a set.
        theirs: clip ids of the set that count as references.
    """

    def __init__(self, features: ClipFeatures, theirs: Sequence[str]):
        self._features, self._theirs = features, sorted(theirs)

    def __len__(self) -> int:
        return 1

    def shard(self, number: int) -> ClipFeatures:
        return self._features

    def names(self, number: int) -> list[str]:
        return [name for name in self._theirs if name in self._features.spans]

    def number_of(self, clip_id: str) -> int:
        return 0

    def features_of(self, clip_ids: Collection[str]) -> ClipFeatures:
        return self._features.only(sorted(clip_ids))

    @property
    def provenance(self) -> str:
        return self._features.provenance


def scan(
    references: ReferenceShards,
    found: list[Candidates],
    look: Callable[[int], list[Candidates]],
    state: ScanState | None = None,
) -> list[Candidates]:
    """Best references of all shards, searched one after another.

    Args:
        found: candidates to start from, one set for each score that is searched at once.
        look: returns the candidates of one shard, in the order of `found`, from the number of the shard.
        state: saves the progress on disk, so that a killed job can continue.
    """
    first, found = (0, found) if state is None else state.load(found)
    for number in range(first, len(references)):
        found = [merge_candidates(old, new) for old, new in zip(found, look(number), strict=True)]
        if state is not None:
            state.save(number + 1, found)
    return found


class ScanState:
    """The progress of a scan, in a file that is deleted when the scan is over.

    Args:
        path: the file.
        key: everything that the scan depends on, as text. A file with another key is ignored.
        every_s: shortest time between two writes, in seconds.
    """

    def __init__(self, path: Path, key: str, every_s: float = 60.0):
        self.path, self.key, self.every_s = path, key, every_s
        self._saved = time.monotonic()

    def load(self, found: list[Candidates]) -> tuple[int, list[Candidates]]:
        """Number of the next shard, and the candidates from the shards before it.

        Args:
            found: candidates to start from if nothing was saved.
        """
        try:
            table = load_table(self.path)
        except FileNotFoundError:
            return 0, found
        except VidmemError as error:  # only time is lost
            LOGGER.warning("The scan starts anew: %s", error)
            return 0, found
        if not len(table) or set(table["key"]) != {self.key}:
            return 0, found
        tables = [own for _, own in table.groupby("kind")]
        shapes = [one.scores.shape for one in found]
        columns = [[own[name].to_numpy().reshape(shape) for name in ("score", "name")] for own, shape in zip(tables, shapes)]
        return int(table["next"].iloc[0]), [Candidates(scores, names.astype(str)) for scores, names in columns]

    def save(self, following: int, found: list[Candidates]) -> None:
        """Write the number of the next shard and the candidates so far, unless the last write is more recent than `every_s`."""
        if time.monotonic() - self._saved < self.every_s:
            return
        tables = [pd.DataFrame({"score": one.scores.ravel(), "name": one.names.ravel()}).assign(kind=kind)
                  for kind, one in enumerate(found)]  # fmt: skip
        save_table(self.path, pd.concat(tables, ignore_index=True).assign(key=self.key, next=following))
        self._saved = time.monotonic()

    def drop(self) -> None:
        """Delete the file: the scan is over."""
        self.path.unlink(missing_ok=True)


def in_order_of_shards(references: ReferenceShards, found: Candidates) -> Iterator[tuple[int, str, ClipFeatures]]:
    """Every candidate of every query clip: number of the query clip, clip id of the candidate, and features of its shard.

    Each shard is opened once. All query clips of one candidate come one after another.
    """
    pairs = [(references.number_of(name), name, query) for query in range(len(found.names)) for name in found.of(query)]
    for number, name, query in sorted(pairs):
        yield query, name, references.shard(number)

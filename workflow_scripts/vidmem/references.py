"""The references of a corpus, one shard in memory at a time: what a search of any size looks through."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from .errors import VidmemError
from .features import ClipFeatures, load_chosen, open_features, reference_clips, same_provenance
from .logs import LOGGER
from .search import TopK
from .shards import LISTED, load_shards
from .store import CheckedArray, load_table, save_table, shard_of


class Candidates(NamedTuple):
    """The best reference clips of every query clip so far.

    Attributes:
        scores: float32 [Q, k], descending; -inf where there are fewer.
        names: clip ids [Q, k]; '' where there are fewer.
    """

    scores: np.ndarray
    names: np.ndarray

    def of(self, query: int) -> list[str]:
        """Reference clips of a query clip, best first."""
        return [str(name) for name in self.names[query] if name]


def no_candidates(queries: int, k: int) -> Candidates:
    """Nothing found yet."""
    return Candidates(np.full((queries, k), -np.inf, np.float32), np.full((queries, k), "", dtype="U1"))


def merge_candidates(first: Candidates, second: Candidates) -> Candidates:
    """The best of both, as many as the first has; of equal scores the lower clip id wins, whatever the order of the parts."""
    k = first.scores.shape[1]
    scores, names = (np.concatenate(pair, axis=1) for pair in zip(first, second))
    order = np.lexsort((names, -scores), axis=1)[:, :k]
    found = Candidates(np.take_along_axis(scores, order, axis=1), np.take_along_axis(names, order, axis=1))
    found.names[np.isneginf(found.scores)] = ""
    return found


def named(answer: TopK, theirs: Sequence[str]) -> Candidates:
    """An answer whose rows are places in a list of clips."""
    return Candidates(answer.scores, np.array([*theirs, ""])[answer.rows])  # row -1, where there are fewer, is the last


class ReferenceShards:
    """The shards of a corpus, opened one after another.

    Args:
        clips, arrays, rows: files of the clip tables, of descriptors or flows, and of their row tables, in the order of shards.
    """

    def __init__(self, clips: Sequence, arrays: Sequence, rows: Sequence):
        self.files = list(zip(clips, arrays, rows, strict=True))
        self._open: tuple[int, ClipFeatures] | None = None
        self._verified: set[int] = set()  # a stage that scans several times checks the arrays once
        self._computed_by = ""  # of the shards opened so far

    @classmethod
    def listed(cls, path: Path | str, kind: str) -> ReferenceShards:
        """The shards of a list.

        Args:
            path: of the list; kind: 'content' or 'motion'.
        """
        files = load_shards(path)
        return cls(*(files[name] for name in LISTED[kind]))

    def __len__(self) -> int:
        return len(self.files)

    def shard(self, number: int) -> ClipFeatures:
        """Features of one shard. The latest one is kept open.

        Raises:
            VidmemError: computed otherwise than those before.
        """
        if self._open is None or self._open[0] != number:
            features = open_features(*self.files[number], verify=number not in self._verified)
            self._verified.add(number)
            self._computed_by = same_provenance([self._computed_by, features.provenance], str(self.files[number][1]))
            self._open = (number, features)
        return self._open[1]

    def names(self, number: int) -> list[str]:
        """Reference clips of a shard."""
        return reference_clips(self.shard(number))

    def number_of(self, clip_id: str) -> int:
        """Shard of a clip."""
        return shard_of(clip_id, len(self))

    def features_of(self, clip_ids: Collection[str]) -> ClipFeatures:
        """Features of some clips, references or not: their rows in memory, their arrays mapped."""
        return load_chosen(*(list(part) for part in zip(*self.files)), set(clip_ids))

    @property
    def provenance(self) -> str:
        """What computed the features: that of the first shard with any; every other one is checked when it is opened."""
        tables = (load_table(rows, ["computed_by"])["computed_by"] for _, _, rows in self.files)
        return next((str(column.iloc[0]) for column in tables if len(column)), "")

    def check_preset(self, queries: ClipFeatures) -> str:
        """Preset or estimator of the references and of the clips that are looked up in them, or an error if they differ."""
        return same_provenance([queries.provenance, self.provenance], "features of two sets")

    def array(self, number: int) -> CheckedArray:
        """Stored features of a shard, mapped; rows are checked when they are asked for."""
        return CheckedArray(self.files[number][1])

    def owners(self, number: int) -> np.ndarray:
        """Clip id of every row of a shard."""
        return load_table(self.files[number][2], ["clip_id"])["clip_id"].to_numpy()

    def stamp(self) -> list[list]:
        """Name, size and time of every file, to tell whether they are the same still."""
        stats = [(str(path), Path(path).stat()) for files in self.files for path in files]
        return [[path, stat.st_size, stat.st_mtime_ns] for path, stat in stats]


class OpenReferences(ReferenceShards):
    """Features that are open already, as a single shard.

    Args:
        features: of a set; theirs: clip ids that count as references.
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
    """Best references of all shards, one after another.

    Args:
        found: what is known before, one for every kind of score that is looked for at once.
        look: the same of one shard.
        state: kept on disk, so that a killed job goes on where it was.
    """
    first, found = (0, found) if state is None else state.load(found)
    for number in range(first, len(references)):
        found = [merge_candidates(old, new) for old, new in zip(found, look(number), strict=True)]
        if state is not None:
            state.save(number + 1, found)
    return found


class ScanState:
    """How far a scan has come, in a file that is deleted when it is over.

    Args:
        path: of the file.
        key: what the scan depends on, as text: the state of another one is not taken up.
        every_s: seconds between two writes.
    """

    def __init__(self, path: Path, key: str, every_s: float = 60.0):
        self.path, self.key, self.every_s = path, key, every_s
        self._saved = time.monotonic()

    def load(self, found: list[Candidates]) -> tuple[int, list[Candidates]]:
        """Number of the next shard and what was found in those before; `found` where nothing was saved."""
        try:
            table = load_table(self.path)
        except FileNotFoundError:
            return 0, found
        except VidmemError as error:  # what is lost is time
            LOGGER.warning("The scan starts anew: %s", error)
            return 0, found
        if not len(table) or set(table["key"]) != {self.key}:
            return 0, found
        parts = [part for _, part in table.groupby("kind")]
        shapes = [one.scores.shape for one in found]
        columns = [[part[name].to_numpy().reshape(shape) for name in ("score", "name")] for part, shape in zip(parts, shapes)]
        return int(table["next"].iloc[0]), [Candidates(scores, names.astype(str)) for scores, names in columns]

    def save(self, following: int, found: list[Candidates]) -> None:
        """Write what was found, if the last time is long enough ago."""
        if time.monotonic() - self._saved < self.every_s:
            return
        tables = [pd.DataFrame({"score": one.scores.ravel(), "name": one.names.ravel()}).assign(kind=kind)
                  for kind, one in enumerate(found)]  # fmt: skip
        save_table(self.path, pd.concat(tables, ignore_index=True).assign(key=self.key, next=following))
        self._saved = time.monotonic()

    def drop(self) -> None:
        """The scan is over."""
        self.path.unlink(missing_ok=True)


def in_order_of_shards(references: ReferenceShards, found: Candidates) -> Iterator[tuple[int, str, ClipFeatures]]:
    """Every pair of a query's number and a candidate of it, with the features of its shard.

    Each shard is opened once, and the pairs of a clip come one after another.
    """
    pairs = [(references.number_of(name), name, query) for query in range(len(found.names)) for name in found.of(query)]
    for number, name, query in sorted(pairs):
        yield query, name, references.shard(number)

"""Frames of clips by set and clip id. If a corpus stores no frames, they are read again from its footage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..base.clip_table import usable
from ..base.shards import load_shards
from ..base.store import CheckedArray, load_table
from ..errors import VidmemError
from .listing import find_items
from .reading import read_clips


class Frames:
    """Frames of many clips.

    Args:
        clips: paths of clip tables, a table for each shard of each set.
        frames: paths of the frame arrays beside the tables. A corpus with keep_frames: false has no arrays.
        corpora: entries of the configuration by name. Corpora with keep_frames: false are read again.

    Raises:
        VidmemError: a table without a frame array whose corpus is not to be read again, or an array without a table.
    """

    def __init__(self, clips: Sequence[str], frames: Sequence[str], corpora: Mapping[str, dict] | None = None):
        tables = []
        self.frames: dict = {}
        self._stored: dict = {}
        self._open: dict = {}
        self.corpora = {f"corpus-{name}": corpus for name, corpus in (corpora or {}).items() if not corpus["keep_frames"]}
        stored = {path.removesuffix(".frames.npy"): path for path in frames}
        for table_path in clips:
            table, name = load_table(table_path), Path(table_path).parent.name
            path = stored.pop(table_path.removesuffix(".clips.parquet"), "")
            if path:
                rows = usable(table)
                places = zip(rows["clip_id"], rows["first"], rows["count"])
                self._stored |= {(name, clip_id): (path, int(first), int(count)) for clip_id, first, count in places}
            elif name not in self.corpora:
                raise VidmemError("the frames of every set", "none", table_path, "keep_frames: true")
            tables.append(table.assign(set=name))
        if stored:
            raise VidmemError("a clip table beside every frame array", "none", min(stored.values()))
        self.clips = pd.concat(tables, ignore_index=True)

    @classmethod
    def listed(cls, paths: Sequence[Path | str], corpora: Mapping[str, dict] | None = None) -> Frames:
        """Frames of the clips of all shards that some shard lists name.

        Args:
            paths: shard lists, as load_shards reads them.
            corpora: as for the class.
        """
        files = load_shards(*paths)
        return cls(files["clips"], files["frames"], corpora)

    def read(self, name: str, clip_ids: Iterable[str]) -> None:
        """Load the frames of some clips of a set. The lists of the corpus are read once for all these clips.

        Raises:
            VidmemError: the footage has changed since its descriptors were computed.
        """
        for key in {(name, clip_id) for clip_id in clip_ids} & set(self._stored):
            path, first, count = self._stored.pop(key)
            if path not in self._open:
                self._open[path] = CheckedArray(path)
            self.frames[key] = self._open[path][first : first + count]
        absent = {clip_id for clip_id in clip_ids if (name, clip_id) not in self.frames}
        if not absent or name not in self.corpora:
            return
        corpus = self.corpora[name]
        read = read_clips(corpus, name.removeprefix("corpus-"), find_items(corpus["sources"], absent))
        again = {row["clip_id"]: (row["pixels"], pictures) for row, pictures in read}
        chosen = self.clips[(self.clips["set"] == name) & self.clips["clip_id"].isin(absent)]
        for clip_id, pixels in zip(chosen["clip_id"], chosen["pixels"]):
            found, pictures = again.get(clip_id, ("", None))
            if not pixels or found != pixels:
                hint = "the footage changed while the audit ran: run it again"
                raise VidmemError(f"frames of digest {pixels!r}", found, f"{clip_id} of {name}", hint)
            self.frames[name, clip_id] = pictures

    def of(self, name: str, clip_id: str) -> np.ndarray:
        """Frames of a clip of the set `name`, uint8 [T, H, W, 3]."""
        self.read(name, [clip_id])
        return np.asarray(self.frames[name, clip_id])

    def fps(self, name: str, clip_id: str) -> float:
        """Frames per second of a clip."""
        chosen = self.clips[(self.clips["set"] == name) & (self.clips["clip_id"] == clip_id)]
        return float(chosen["fps"].iloc[0])

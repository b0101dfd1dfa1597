"""Frames of clips by set and id: mapped from their shards, or read again from the sources where a corpus keeps none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from .corpus.reading import read_clips
from .errors import VidmemError
from .features import usable
from .listing import find_items
from .shards import load_shards
from .store import CheckedArray, load_table


class Frames:
    """Frames of many clips.

    Args:
        clips: clip tables of the shards of any sets.
        frames: frame arrays beside them; a corpus that keeps none has none here.
        corpora: entries of the configuration by name; those that keep no frames are read again.
    """

    def __init__(self, clips: Sequence[str], frames: Sequence[str], corpora: Mapping[str, dict] | None = None):
        tables, self.frames, self._stored, self._open = [], {}, {}, {}
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
        """Frames of all shards of some lists."""
        files = load_shards(*paths)
        return cls(files["clips"], files["frames"], corpora)

    def read(self, name: str, clip_ids: Iterable[str]) -> None:
        """Have the frames of some clips of a set at hand, those of all in one reading of the corpus's lists.

        Raises:
            VidmemError: the footage is not what it was when its descriptors were computed.
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
        """Frames uint8 [T, H, W, 3] of a clip of a set."""
        self.read(name, [clip_id])
        return np.asarray(self.frames[name, clip_id])

    def fps(self, name: str, clip_id: str) -> float:
        """Frames per second of a clip."""
        chosen = self.clips[(self.clips["set"] == name) & (self.clips["clip_id"] == clip_id)]
        return float(chosen["fps"].iloc[0])

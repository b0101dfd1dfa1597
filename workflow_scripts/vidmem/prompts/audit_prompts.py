"""Prompts of an audit: the captions of a corpus, a user's list, or none for an unconditional model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..base.logs import LOGGER
from ..errors import VidmemError
from .prompt_lists import load_prompt_list

COLUMNS = ["prompt_id", "prompt", "target", "split", "copies", "status", "reason"]


def prompts_of_corpus(
    clips: pd.DataFrame, splits: Sequence[str], limit: int = 0, ranks: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Prompts from the captions of a corpus: one prompt a caption, captions with the most copies first.

    If several clips share a caption, the clip with the most copies is the target. A clip without a caption keeps its row, with
    a status and a reason.

    Args:
        clips: clip tables of the corpus, all shards.
        splits: splits whose captions become prompts.
        limit: number of prompts that are kept, from the top; 0 for all.
        ranks: caption without surrounding blanks -> rank. If given, the prompts are sorted by it instead of by the copies, and
            captions without a rank come last.

    Returns:
        Table of COLUMNS; the target is a clip id.
    """
    chosen = clips[clips["split"].isin(splits)].sort_values(["copies", "clip_id"], ascending=[False, True])
    text = chosen["caption"].str.strip()
    repeated = text.duplicated() & (text != "")
    LOGGER.info("%d clips have the same caption as another clip: each caption is one prompt", int(repeated.sum()))
    rows = []
    for clip in chosen[~repeated].itertuples():
        status, reason = ("ok", "") if clip.caption.strip() else ("skipped", "no caption")
        rows.append((f"p-{clip.clip_id}", clip.caption, clip.clip_id, clip.split, clip.copies, status, reason))
    table = pd.DataFrame(rows, columns=COLUMNS)
    if ranks is not None:
        place = table["prompt"].str.strip().map(ranks).astype(float).to_numpy()  # NaN sorts last
        table = table.iloc[np.argsort(place, kind="stable")].reset_index(drop=True)
    return table.head(limit) if limit else table


def prompts_of_file(
    path: Path | str, clips: pd.DataFrame, limit: int = 0, columns: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Prompts from a list in any format that load_prompt_list reads.

    In a user's own list, a target is a clip id of the corpus. In a published list, a target names footage elsewhere: it is kept
    if it is also a clip id of the corpus, and is '' otherwise.

    Args:
        path: the list.
        clips: clip tables of the corpus, all shards.
        limit: number of prompts that are kept, from the top; 0 for all.
        columns: field -> column, for a list whose columns are not those of a published list.

    Returns:
        Table of COLUMNS.

    Raises:
        VidmemError: see load_prompt_list; or a user's own list has a target that is no clip id of the corpus.
    """
    layout, listed = load_prompt_list(path, columns)
    known = clips.set_index("clip_id")[["split", "copies"]]
    strange = listed[(listed["target"] != "") & ~listed["target"].isin(known.index)]
    if layout.clips and len(strange):
        first = strange.iloc[0]
        raise VidmemError("a clip id of the corpus", first["target"], f"{path}, line {first['line']}")
    LOGGER.info("%d prompts of %d have a target that is not in the corpus", len(strange), len(listed))
    listed.loc[strange.index, "target"] = ""
    found = known.reindex(listed["target"])
    listed["split"] = found["split"].fillna("").to_numpy()
    listed["copies"] = found["copies"].fillna(0).astype(int).to_numpy()
    listed.loc[listed["status"] == "ok", "reason"] = ""
    return listed[COLUMNS].head(limit) if limit else listed[COLUMNS]


def unprompted(count: int) -> pd.DataFrame:
    """Prompt table for so many clips of an unconditional model: ids without text and without target."""
    rows = [(f"u-{number:06d}", "", "", "", 0, "ok", "") for number in range(count)]
    return pd.DataFrame(rows, columns=COLUMNS)

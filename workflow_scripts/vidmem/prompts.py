"""Prompts of an audit: the captions of a corpus, a user's list, or none for an unconditional model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from .errors import VidmemError
from .logs import LOGGER
from .prompt_lists import load_prompt_list

COLUMNS = ["prompt_id", "prompt", "target", "split", "copies", "status", "reason"]


def prompts_of_corpus(
    clips: pd.DataFrame, splits: Sequence[str], limit: int = 0, ranks: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """One prompt a caption, most copies first; the target of a caption is its clip with the most copies.

    A clip without a caption keeps its row, with a status and a reason.

    Args:
        clips: clip tables of the corpus, all shards.
        splits: splits to prompt for.
        limit: the first so many prompts; 0 for all.
        ranks: caption without surrounding blanks -> rank, to go by instead of the copies; captions without one come last.

    Returns:
        COLUMNS; target is the clip id.
    """
    chosen = clips[clips["split"].isin(splits)].sort_values(["copies", "clip_id"], ascending=[False, True])
    text = chosen["caption"].str.strip()
    repeated = text.duplicated() & (text != "")
    LOGGER.info("%d clips carry the caption of another clip: they are prompted for once", int(repeated.sum()))
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
    """Prompts of a list in any format that load_prompt_list reads.

    The target of a user's own list is a clip id of the corpus. A published list names footage elsewhere: such a target is
    kept where it is a clip of the corpus, too, and is '' otherwise.

    Args:
        columns: field -> column, for a list that is laid out like no published one.
    """
    layout, listed = load_prompt_list(path, columns)
    known = clips.set_index("clip_id")[["split", "copies"]]
    strange = listed[(listed["target"] != "") & ~listed["target"].isin(known.index)]
    if layout.clips and len(strange):
        first = strange.iloc[0]
        raise VidmemError("a clip id of the corpus", first["target"], f"{path}, line {first['line']}")
    LOGGER.info("%d of %d targets are no clips of the corpus", len(strange), len(listed))
    listed.loc[strange.index, "target"] = ""
    found = known.reindex(listed["target"])
    listed["split"] = found["split"].fillna("").to_numpy()
    listed["copies"] = found["copies"].fillna(0).astype(int).to_numpy()
    listed.loc[listed["status"] == "ok", "reason"] = ""
    return listed[COLUMNS].head(limit) if limit else listed[COLUMNS]


def unprompted(count: int) -> pd.DataFrame:
    """Rows for clips of an unconditional model: an identity, no text, no target."""
    rows = [(f"u-{number:06d}", "", "", "", 0, "ok", "") for number in range(count)]
    return pd.DataFrame(rows, columns=COLUMNS)

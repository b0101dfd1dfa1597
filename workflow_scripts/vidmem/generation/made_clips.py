"""Reading of clips generated elsewhere. Every listed clip becomes a row, even if its file cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from ..base.clip_table import clip_row
from ..corpus.reading import Wanted, read_items
from ..errors import VidmemError
from .elsewhere import Made, provenance_of

Targeted = tuple[Made, str, int]
"""A clip with the split and the copies of its target in the corpus; '' and 0 if it has no target."""


def with_targets(made: Iterable[Made], corpus: pd.DataFrame, folder: Path) -> list[Targeted]:
    """Clips, each with the split and the copies of its target.

    Args:
        made: clips, as list_made returns them.
        corpus: clips of the corpus with the columns split and copies, indexed by clip id.
        folder: folder of the clip tables of the corpus, for the error message.

    Raises:
        VidmemError: a target that is no clip of the corpus.
    """
    found = []
    for one in made:
        if one.target and one.target not in corpus.index:
            hint = f"clip ids are in {folder}/*.clips.parquet; leave the column empty where unknown"
            raise VidmemError("a clip id of the corpus in target, or nothing", one.target, one.where, hint)
        known = (corpus.loc[one.target, "split"], int(corpus.loc[one.target, "copies"])) if one.target else ("", 0)
        found.append((one, *known))
    return found


def read_made(name: str, model: dict, made: Iterable[Targeted]) -> Iterator[tuple[dict, np.ndarray]]:
    """Read clips generated elsewhere, one at a time.

    Args:
        name: name of the model; model: its entry in the configuration.
        made: clips, as with_targets returns them.

    Yields:
        The row of the clip table, and the frames uint8 [T, H, W, 3]; T = 0 if the clip cannot be read.
    """
    first = 0
    about = (model["frames"], tuple(model["size"]), model["fps"], model["fit"])
    wanted = Wanted(*about, max_damaged=model["max_damaged"])
    for one, split, copies in made:
        record = read_items([one.item], wanted)[0]
        row = clip_row(
            provenance_of(one),
            clip_id=one.item.clip_id,
            set=f"generated-{name}",
            source=name,
            caption=one.item.caption,
            prompt_id=one.prompt_id,
            target=one.target,
            split=split,
            copies=copies,
            seed=one.seed,
            first=first,
            **record.fields(),
        )
        first += len(record.frames)
        yield row, record.frames

"""Index of the playable clips of a model whose clips were generated elsewhere: which file each of them shows."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from .best_matches import Pair
from .table_files import short_name

COLUMNS = ("clip", "file", "generated", "training", "score")
SHOWN = "training clip left, generated clip right"
UNSAFE = str.maketrans("<>{}", "‹›()")
"""Snakemake takes braces in a label for wildcards, and writes labels into a script of the report as they are."""


def clip_index(model: str, pairs: Sequence[Pair]) -> pd.DataFrame:
    """Table of the playable clips of a model, best match first: name of the clip, file, ids of both clips, score."""
    rows = [(f"{model}-{rank}.mp4", pair.file, pair.generated, pair.training, pair.score) for rank, pair in enumerate(pairs, 1)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def clip_label(index: Path, clip: str) -> str:
    """What a report says of a playable clip, with its file if the index lists it.

    Args:
        index: CSV file of a table of clip_index; it need not exist.
        clip: name of the playable clip.
    """
    if not index.exists():
        return SHOWN
    with open(index, encoding="utf-8", newline="") as file:
        files = {row["clip"]: row["file"] for row in csv.DictReader(file)}
    return f"{SHOWN}: {short_name(files[clip], 80).translate(UNSAFE)}" if clip in files else SHOWN

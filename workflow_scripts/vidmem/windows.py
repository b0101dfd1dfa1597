"""k-windows of flow as vectors, for a motion index: OFS-k is one inner product of two of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from .motion_search import MotionBlock


def window_vectors(blocks: Iterable[MotionBlock], k: int, tables: list[pd.DataFrame]) -> Iterator[np.ndarray]:
    """Vectors of all k-windows that may carry a verdict: k normalised fields over the square root of k.

    Args:
        blocks: clips with normalised fields.
        tables: receives clip_id and frame (first pair) of the rows of every block, in order.

    Yields:
        float32 [windows, k * 2 h w]: the inner product of two is their OFS-k.
    """
    for block in blocks:
        starts = np.flatnonzero(block.natural == "")
        owners = np.repeat(np.arange(len(block.counts)), block.counts)[starts]
        places = starts - block.starts[owners] if len(starts) else starts
        names = np.array(block.clip_ids, dtype=object)[owners]
        tables.append(pd.DataFrame({"clip_id": names, "frame": places}))
        windows = [block.fields[starts + m] for m in range(k)]
        yield np.concatenate(windows, axis=1) / np.float32(np.sqrt(k))

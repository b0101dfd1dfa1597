"""The content searches by name, and the matches of a set of clips by several content metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import pandas as pd

from ..base.clip_table import query_clips
from ..errors import VidmemError
from ..features.clip_features import ClipFeatures
from ..features.metrics import Metric
from .matches import content_matches, nearest_aligned, nearest_clips, nearest_pairs
from .references import Candidates, ReferenceShards, ScanState
from .through_index import CertifiedIndex, content_candidates


class Request(NamedTuple):
    """What every content search is asked for.

    Attributes:
        queries: features of the set of the query clips.
        names: clip ids of the query clips.
        references: clips to search.
        top: matches wanted for each query clip.
    """

    queries: ClipFeatures
    names: Sequence[str]
    references: ReferenceShards
    top: int


SEARCHES: dict[str, Callable[[Metric, Request, int], Candidates]] = {
    "frames": lambda metric, request, block: nearest_clips(*request, block),
    "aligned": lambda metric, request, block: nearest_aligned(*request),
    "pairs": lambda metric, request, block: nearest_pairs(metric.pair, *request),
}
"""Exact searches by the name that the record of a metric gives. Each takes the metric, a request, and the reference rows that
it may hold in memory at once."""


def exact_candidates(
    metric: Metric, queries: ClipFeatures, names: Sequence[str], references: ReferenceShards, top: int, block: int
) -> Candidates:
    """Candidates of some query clips by an exact scan, with the search that the record of a metric names.

    Args:
        names: clip ids of the query clips.
        top: matches wanted for each query clip; a few more candidates are kept.
        block: reference rows in memory at once.

    Raises:
        VidmemError: the record names a search that does not exist.
    """
    if metric.search not in SEARCHES:
        raise VidmemError(f"a search of {', '.join(SEARCHES)}", metric.search, f"metric {metric.name}")
    return SEARCHES[metric.search](metric, Request(queries, names, references, top), block)


def exact_matches(
    metric: Metric, queries: ClipFeatures, names: Sequence[str], references: ReferenceShards, top: int, block: int, preset: str
) -> pd.DataFrame:
    """Best matches of some query clips by an exact scan; see exact_candidates and content_matches."""
    found = exact_candidates(metric, queries, names, references, top, block)
    return content_matches(metric, queries, names, references, found, top, "exact", preset)


def search_content(
    metrics: Sequence[Metric], queries: ClipFeatures, references: ReferenceShards, search: dict,
    index: CertifiedIndex | None = None, state: ScanState | None = None, device: str = "cpu",
) -> pd.DataFrame:  # fmt: skip
    """Best matches of the query clips of a set by several content metrics.

    Args:
        search: section `search` of the configuration.
        index: index for the search 'frames'; None for an exact scan. All other searches are exact.
        state: saved progress of the exact scan by frames.
        device: device on which the exact scan by frames multiplies, 'cpu' or 'cuda'.
    """
    names, preset, top = query_clips(queries.clips), references.check_preset(queries), search["top_k"]
    tables = []
    for metric in metrics:
        request, method = Request(queries, names, references, top), "exact"
        if metric.search != "frames":
            found = exact_candidates(metric, *request, search["block"])
        elif index is None:
            found = _scan_of_frames(request, search["block"], state, device)
        else:
            found, method = content_candidates(index.index, queries, names, references, search, top), index.words
        tables.append(content_matches(metric, queries, names, references, found, top, method, preset))
    return pd.concat(tables, ignore_index=True)


def _scan_of_frames(request: Request, block: int, state: ScanState | None, device: str) -> Candidates:
    if device == "cpu":
        return nearest_clips(*request, block, state)
    from .exact_gpu import ROWS, search_clips_gpu  # imports torch, which a search on the CPU does not need

    return nearest_clips(*request, max(block, ROWS), state, partial(search_clips_gpu, device=device))

"""Motion matches of a set of clips, with the natural motion filter and without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd

from ..base.clip_table import query_clips
from ..errors import VidmemError
from ..features.clip_features import ClipFeatures
from ..features.metrics import UNFILTERED, Metric
from ..features.motion_rule import MotionRule
from .exact_motion import MotionBlock
from .matches import block_of, motion_matches, nearest_motion, rescored_motion
from .references import ReferenceShards, ScanState
from .through_index import CertifiedIndex, motion_candidates

QUERY_CLIPS = 256  # bounds the memory of a block of queries: 256 clips of 7 pairs on a 64 x 64 grid are 59 MB
SEARCHES = {"windows": nearest_motion}
"""Exact motion searches by the name that the record of a metric gives."""


def search_motion_set(
    metric: Metric, queries: ClipFeatures, references: ReferenceShards, rule: MotionRule, search: dict,
    state_of: Callable[[int], ScanState], index: CertifiedIndex | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Best matches of the query clips of a set by a motion metric, with the filter and without it.

    Args:
        search: section `search` of the configuration.
        state_of: returns the saved progress of the scan of a block of query clips, from the number of its first clip.
        index: index for the filtered search; None for an exact scan. The unfiltered search is always exact, because the index
            holds only windows that can support a verdict.

    Raises:
        VidmemError: the record names a search that does not exist.
    """
    if metric.search not in SEARCHES:
        raise VidmemError(f"a search of {', '.join(SEARCHES)}", metric.search, f"metric {metric.name}")
    names, estimator = query_clips(queries.clips), references.check_preset(queries)
    tables: list[pd.DataFrame] = []
    for first in range(0, max(1, len(names)), QUERY_CLIPS):
        chosen = names[first : first + QUERY_CLIPS]
        coarse = block_of(queries, chosen, rule, search["motion_grid"]) if index else None
        block, state = block_of(queries, chosen, rule), state_of(first)
        tables += _matches_of_block(metric, block, coarse, references, rule, search, state, index, estimator)
    return pd.concat(tables, ignore_index=True)


def _matches_of_block(
    metric: Metric, block: MotionBlock, coarse: MotionBlock | None, references: ReferenceShards, rule: MotionRule,
    search: dict, state: ScanState, index: CertifiedIndex | None, estimator: str,
) -> Iterator[pd.DataFrame]:  # fmt: skip
    """Matches of a block of query clips with the filter, then without it.

    Args:
        coarse: the block on the grid of the index; None without an index.
    """
    sides, methods, found = [rule.filter.sides, None], ["exact", "exact"], []
    if index is not None and coarse is not None:
        methods[0], found = index.words, [motion_candidates(index.index, coarse, references, rule, search)]
    found += SEARCHES[metric.search](block, references, rule, sides[len(found) :], search["top_k"], state)
    for name, method, side, candidates in zip((metric.name, metric.name + UNFILTERED), methods, sides, found, strict=True):
        matches = rescored_motion(block, references, candidates, rule, side, search["top_k"])
        yield motion_matches(block, matches, name, method, estimator)

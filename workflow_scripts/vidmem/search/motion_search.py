"""Motion matches of a set of clips by every motion metric, with the natural motion filter and without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pandas as pd

from ..base.clip_table import query_clips
from ..errors import VidmemError
from ..features.clip_features import ClipFeatures
from ..features.metrics import UNFILTERED, Metric
from ..features.motion_comparison import MotionComparison
from ..features.motion_rule import MotionRule
from .matches import COLUMNS, block_of, motion_matches, nearest_motion, rescored_motion
from .references import ReferenceShards, ScanState
from .through_index import CertifiedIndex, index_grid, motion_candidates

QUERY_CLIPS = 128  # bounds the memory of a block: 128 clips of 7 pairs, each seen twice, on a 64 x 64 grid are 59 MB
SEARCHES = {"windows": nearest_motion}
"""Exact motion searches by the name that the record of a metric gives."""


def search_motion_set(
    comparison: MotionComparison, queries: ClipFeatures, references: Mapping[str, ReferenceShards], search: dict,
    state_of: Callable[[int], ScanState | None], index: CertifiedIndex | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Best matches of the query clips of a set by every motion metric, with the filter and without it.

    Args:
        comparison: the motion metrics and their rules.
        references: references by kind of features, at least those that the rules ask for; see MotionRule.features.
        search: section `search` of the configuration.
        state_of: returns the saved progress of the scan of a block of query clips, from the number of the block; or None.
        index: index for the filtered search by the configured metric; None for an exact scan. Every other search is exact,
            because the index holds only windows that can support a verdict.

    Raises:
        VidmemError: the record of a metric names a search that does not exist.
    """
    names, tables, number = query_clips(queries.clips), [pd.DataFrame(columns=COLUMNS)], 0
    for metric in comparison.metrics:
        if metric.search not in SEARCHES:
            raise VidmemError(f"a search of {', '.join(SEARCHES)}", metric.search, f"metric {metric.name}")
        theirs, own = references[comparison.rule_of(metric).features], index if metric is comparison.configured else None
        preset = comparison.preset(metric, theirs.check_preset(queries))
        for rule, group in comparison.by_rule(metric, queries.clips, names):
            for first in range(0, len(group), QUERY_CLIPS):
                chosen = group[first : first + QUERY_CLIPS]
                tables += _matches_of_block(metric, queries, chosen, theirs, rule, search, state_of(number), own, preset)
                number += 1
    return pd.concat(tables[1:] or tables, ignore_index=True)


def _matches_of_block(
    metric: Metric, queries: ClipFeatures, names: list[str], references: ReferenceShards, rule: MotionRule, search: dict,
    state: ScanState | None, index: CertifiedIndex | None, preset: str,
) -> Iterator[pd.DataFrame]:  # fmt: skip
    """Matches of some query clips with the filter, then without it."""
    block = block_of(queries, names, rule, query=True)
    sides, methods, found = [rule.filter.sides, None], ["exact", "exact"], []
    if index is not None:
        coarse = block_of(queries, names, rule, index_grid(rule, search), query=True)
        methods[0], found = index.words, [motion_candidates(index.index, coarse, references, rule, search)]
    found += SEARCHES[metric.search](block, references, rule, sides[len(found) :], search["top_k"], state)
    for name, method, side, candidates in zip((metric.name, metric.name + UNFILTERED), methods, sides, found, strict=True):
        matches = rescored_motion(block, references, candidates, rule, side, search["top_k"])
        yield motion_matches(block, matches, name, method, preset)

"""Validation of the metrics on pairs of clips whose answer is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ..base.clip_table import usable
from ..base.logs import LOGGER
from ..base.seeding import random_stream
from ..features.clip_features import ClipFeatures, motion_features
from ..features.metrics import Metric, metric_of, metrics_of
from ..features.motion import COSINES, PAIRINGS
from ..features.motion_comparison import MotionComparison
from ..features.motion_rule import MotionRule
from ..features.natural_motion import NaturalMotionFilter
from ..search.exact_motion import MotionBlock, clip_scores, motion_block
from .control_plan import STAGED, staged_pairs, unrelated_pairs
from .controls import EXPECTED

FILTERS = ("none", "static", "static+affine", "static+affine+entropy")
COLUMNS = ["metric", "variant", "filter", "control", "first", "second", "cluster", "value"]
CLIPS = 200
"""Largest number of corpus clips that form unrelated pairs. From a larger corpus a seeded sample is drawn."""


def sample_clips(clips: pd.DataFrame, seed: int) -> list[str]:
    """Clip ids of at most CLIPS usable clips of a corpus, sorted."""
    ids = sorted(usable(clips)["clip_id"])
    order = random_stream("validation", seed).permutation(len(ids))[:CLIPS]
    return sorted(ids[place] for place in order)


def pair_scores(
    sampled: list[str],
    descriptors: tuple[ClipFeatures, ClipFeatures],
    flows: tuple[ClipFeatures, ClipFeatures],
    comparison: MotionComparison,
    moving: float,
    seed: int,
) -> pd.DataFrame:
    """Scores of all pairs with a known answer, by every metric.

    Args:
        sampled: clips of the corpus that form unrelated pairs.
        descriptors, flows: features of the corpus and of the controls. Those of the corpus need only hold the sampled clips and
            the clips that the controls were made from.
        comparison: the motion metrics and their rules.
        moving: smallest mean magnitude of the flow of a clip that counts as moving.
        seed: seed of the sample of unrelated pairs.

    Returns:
        Table of COLUMNS.
    """
    corpus, controls = descriptors
    magnitude = flows[0].rows.groupby("clip_id")["magnitude"].mean()
    movers = [clip_id for clip_id in sampled if magnitude.get(clip_id, 0.0) >= moving and clip_id in flows[0].spans]
    pairs = known_pairs(controls.clips, sampled, movers, seed)
    names = sorted(set(pairs["first"]) | set(pairs["second"]))
    vectors = {name: features.of(name) for features in descriptors for name in names if name in features.spans}
    seen_to_move = pairs[~pairs["control"].isin(["unrelated", "picture-of-motion-twin"])]
    preset = (corpus.provenance.split() or [""])[0]
    tables = [content_values(pairs, vectors, preset), motion_values(seen_to_move, flows, comparison)]
    LOGGER.info("%d pairs, %d clips move", len(pairs), len(movers))
    return pd.concat(tables, ignore_index=True)


def known_pairs(plan: pd.DataFrame, corpus: list[str], movers: list[str], seed: int) -> pd.DataFrame:
    """Pairs of clips with a known answer.

    Args:
        plan: clip table of the controls.
        corpus: clips that form unrelated pairs.
        movers: clips of `corpus` that move.
        seed: seed of the sample of unrelated pairs.

    Returns:
        Table of control, first, second, cluster (the unit that a bootstrap draws). Pairs 'unrelated' are of all clips, and
        pairs 'unrelated-moving' are of clips that move. Pairs of staged clips are those of staged_pairs.
    """
    rows = [(row.control, row.clip_id, row.origin, row.origin) for row in plan.itertuples() if row.control not in STAGED]
    rows += [(f"picture-of-{row.control}", row.clip_id, row.picture, row.origin)
             for row in plan[plan["control"] == "motion-twin"].itertuples()]  # fmt: skip
    rows += [(control, first, second, first) for control, first, second in staged_pairs(plan)]
    for name, clips in (("unrelated", corpus), ("unrelated-moving", movers)):
        rows += [(name, first, second, first) for first, second in unrelated_pairs(clips, seed)]
    return pd.DataFrame(rows, columns=["control", "first", "second", "cluster"])


def content_values(pairs: pd.DataFrame, vectors: dict[str, np.ndarray], preset: str) -> pd.DataFrame:
    """Scores of pairs by every content metric.

    Args:
        pairs: table of known_pairs. Pairs 'unrelated-moving' are left out, because the pairs 'unrelated' include them.
        vectors: clip id -> descriptors, float [T, d].
        preset: name of the preset, for the column `variant`.

    Returns:
        Table of COLUMNS.
    """
    chosen = pairs[pairs["control"] != "unrelated-moving"]
    if not len(chosen):
        return _empty()
    names = sorted(set(chosen["first"]) | set(chosen["second"]))
    place = {name: index for index, name in enumerate(names)}
    first, second = chosen["first"].map(place).to_numpy(), chosen["second"].map(place).to_numpy()
    clips = [vectors[name] for name in names]
    tables = [
        chosen.assign(metric=metric.name, variant=preset, filter="none", value=_values_of(metric, clips, first, second))
        for metric in metrics_of("content")
    ]
    return pd.concat(tables, ignore_index=True)[COLUMNS]


def _values_of(metric: Metric, clips: list[np.ndarray], first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Scores of pairs of clips by a content metric, float [n]; `first` and `second` are places in `clips`."""
    if metric.pairs:
        return metric.pairs(clips, first, second)
    return np.array([metric.pair(clips[one], clips[other]).score for one, other in zip(first, second)], float)


def _empty() -> pd.DataFrame:
    return pd.DataFrame(columns=COLUMNS).astype({"value": float})


def partial_filter(rule: NaturalMotionFilter, parts: str) -> NaturalMotionFilter:
    """The filter with only some of its criteria.

    Args:
        parts: one of FILTERS, which names the criteria that are kept.
    """
    names = [] if parts == "none" else parts.split("+")
    kept = {name: getattr(rule, name) if name in names else None for name in ("static", "affine", "entropy")}
    return NaturalMotionFilter(**kept, sides=rule.sides)


def motion_values(pairs: pd.DataFrame, flows: Sequence[ClipFeatures], comparison: MotionComparison) -> pd.DataFrame:
    """Scores of pairs by every motion metric, for both pairings and every filter of FILTERS; of OFS-k also for both cosines.

    A pair gets -1 if no window can support a verdict, so that it never fires, whatever the threshold. A pair gets NaN if one of
    its clips is shorter than a window.

    Args:
        pairs: table of known_pairs.
        flows: features of the corpus and of the controls. A pair is left out if one of its clips has no flows.
        comparison: the motion metrics and their rules.

    Returns:
        Table of COLUMNS.
    """
    owner = {name: features for features in flows for name in features.spans}
    chosen = pairs[pairs["first"].isin(owner) & pairs["second"].isin(owner)]
    clips = pd.concat([features.clips[["clip_id", "set"]] for features in flows])
    tables = [_empty()]
    for metric in comparison.metrics:
        for rule, names in comparison.by_rule(metric, clips, list(dict.fromkeys(chosen["first"]))):
            group = chosen[chosen["first"].isin(names)]
            rules = [rule] if metric.whitened else [replace(rule, cosine=cosine) for cosine in COSINES]
            tables += [_values_by_rule(group, owner, varied).assign(metric=metric.name) for varied in rules]
    result = pd.concat(tables[1:] or tables, ignore_index=True)[COLUMNS]
    return result.sort_values(["metric", "variant", "filter"], kind="stable", ignore_index=True)


def _values_by_rule(pairs: pd.DataFrame, owner: dict[str, ClipFeatures], rule: MotionRule) -> pd.DataFrame:
    """Scores of pairs for both pairings and every filter of FILTERS: the table `pairs` with variant, filter and value."""
    sides = [list(dict.fromkeys(pairs[side])) for side in ("first", "second")]
    first, second = (pairs[side].map({name: n for n, name in enumerate(names)}).to_numpy()
                     for side, names in zip(("first", "second"), sides))  # fmt: skip
    tables, cosines = [], None
    defined: dict[str, np.ndarray] = {}
    for parts in FILTERS:
        varied = replace(rule, filter=partial_filter(rule.filter, parts))
        queries, block = _block(sides[0], owner, varied, query=True), _block(sides[1], owner, varied)
        cosines = queries.fields @ block.fields.T if cosines is None else cosines
        for pairing in PAIRINGS:
            used = replace(varied, pairing=pairing)
            (scores,) = clip_scores(queries, block, used, [None if parts == "none" else rule.filter.sides], cosines)
            best = scores.reshape(-1, len(sides[0]), len(sides[1])).max(axis=0)[first, second]  # of the views
            defined.setdefault(pairing, np.isfinite(best))  # the first of FILTERS is no filter
            values = np.where(defined[pairing], np.where(np.isfinite(best), best, -1.0), np.nan)
            tables.append(pairs.assign(variant=used.variant, filter=parts, value=values))
    return pd.concat(tables, ignore_index=True)


def _block(names: list[str], owner: dict[str, ClipFeatures], rule: MotionRule, query: bool = False) -> MotionBlock:
    """Flows of some clips, prepared for the search; `owner` gives the features that hold each clip."""
    fields = [owner[name].of(name) for name in names]
    rows = {id(features): features.rows.set_index("clip_id") for features in owner.values()}
    features = pd.concat([rows[id(owner[name])].loc[[name]] for name in names])
    counts = np.array([len(field) for field in fields])
    return motion_block(names, counts, np.concatenate(fields), motion_features(features), rule, query)


def expected_answers(metric: str) -> dict[str, bool | None]:
    """Whether a metric must fire on each control (True) or must not (False). None allows both."""
    kind = metric_of(metric).kind
    answers = {name: getattr(expectation, kind) for name, expectation in EXPECTED.items()}
    if kind == "content":
        answers["picture-of-motion-twin"] = True  # the motion twin shows this picture
    return answers


def unrelated_control(metric: str) -> str:
    """Control name of the unrelated pairs on which a metric must not fire. For a motion metric these are clips that move."""
    return "unrelated-moving" if metric_of(metric).kind == "motion" else "unrelated"

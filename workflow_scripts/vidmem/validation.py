"""Validation of the metrics on pairs of clips whose answer is known."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from .content import check_descriptors, vsscd
from .control_plan import camera_pairs, unrelated_pairs
from .controls import EXPECTED
from .features import ClipFeatures, motion_features
from .motion import COSINES, PAIRINGS, NaturalMotionFilter
from .motion_search import MotionBlock, clip_scores, motion_block

FILTERS = ("none", "static", "static+affine", "static+affine+entropy")
COLUMNS = ["metric", "variant", "filter", "control", "first", "second", "cluster", "value"]


def known_pairs(plan: pd.DataFrame, corpus: list[str], movers: list[str], seed: int) -> pd.DataFrame:
    """Pairs with a known answer.

    Args:
        plan: control clips with their control and origin.
        corpus: usable clips; movers: those that move.

    Returns:
        control, first, second, cluster (what a bootstrap draws). 'unrelated' pairs are of all clips,
        'unrelated-moving' of those that move, 'camera' are two camera moves of one kind over two photographs.
    """
    rows = [(row.control, row.clip_id, row.origin, row.origin) for row in plan.itertuples() if row.control != "camera"]
    rows += [(f"picture-of-{row.control}", row.clip_id, row.picture, row.origin)
             for row in plan[plan["control"] == "motion-twin"].itertuples()]  # fmt: skip
    rows += [("camera", first, second, first) for first, second in camera_pairs(plan)]
    for name, clips in (("unrelated", corpus), ("unrelated-moving", movers)):
        rows += [(name, first, second, first) for first, second in unrelated_pairs(clips, seed)]
    return pd.DataFrame(rows, columns=["control", "first", "second", "cluster"])


def content_values(pairs: pd.DataFrame, vectors: dict[str, np.ndarray], preset: str) -> pd.DataFrame:
    """GSSCD and VSSCD of pairs.

    Args:
        pairs: of known_pairs; the moving ones are left out, being among the unrelated.
        vectors: clip id -> descriptors [T, d].
    """
    chosen = pairs[pairs["control"] != "unrelated-moving"]
    if not len(chosen):
        return _empty()
    names = sorted(set(chosen["first"]) | set(chosen["second"]))
    stacked = check_descriptors(np.concatenate([vectors[name] for name in names]), "validation")
    starts = np.cumsum([0] + [len(vectors[name]) for name in names])[:-1]
    similarities = np.clip(stacked @ stacked.T, -1, 1)
    best = np.maximum.reduceat(np.maximum.reduceat(similarities, starts, axis=0), starts, axis=1)
    place = {name: index for index, name in enumerate(names)}
    first, second = chosen["first"].map(place).to_numpy(), chosen["second"].map(place).to_numpy()
    baseline = [vsscd(vectors[a], vectors[b]) for a, b in zip(chosen["first"], chosen["second"])]
    tables = [
        chosen.assign(metric=metric, variant=preset, filter="none", value=values)
        for metric, values in (("gsscd", best[first, second]), ("vsscd", baseline))
    ]
    return pd.concat(tables, ignore_index=True)[COLUMNS]


def _empty() -> pd.DataFrame:
    return pd.DataFrame(columns=COLUMNS).astype({"value": float})


def partial_filter(rule: NaturalMotionFilter, parts: str) -> NaturalMotionFilter:
    """The filter with only some of its parts: one of FILTERS."""
    names = () if parts == "none" else parts.split("+")
    kept = {name: getattr(rule, name) if name in names else None for name in ("static", "affine", "entropy")}
    return NaturalMotionFilter(**kept, sides=rule.sides)


def motion_values(pairs: pd.DataFrame, flows: list[ClipFeatures], rule: NaturalMotionFilter, k: int) -> pd.DataFrame:
    """OFS-k of pairs for both cosines, both pairings and every stage of the filter.

    A pair without a window that may carry a verdict gets -1: it never fires, whatever the threshold. A pair of which a
    clip is shorter than a window gets NaN.

    Args:
        pairs: of known_pairs, those between moving clips.
        flows: corpus and controls.
    """
    names = sorted(set(pairs["first"]) | set(pairs["second"]))
    owner = {name: features for features in flows for name in features.spans}
    names = [name for name in names if name in owner]
    place = {name: index for index, name in enumerate(names)}
    chosen = pairs[pairs["first"].isin(place) & pairs["second"].isin(place)]
    if not len(chosen):
        return _empty()
    first, second = chosen["first"].map(place).to_numpy(), chosen["second"].map(place).to_numpy()
    tables, defined = [], {}
    for cosine, parts in product(COSINES, FILTERS):
        block = _block(names, owner, k, cosine, partial_filter(rule, parts))
        cosines = block.fields @ block.fields.T
        for pairing in PAIRINGS:
            scores = clip_scores(cosines, block, block, k, pairing, None if parts == "none" else rule.sides)
            if parts == "none":
                defined = {**defined, pairing: np.isfinite(scores)[first, second]}
            values = np.where(np.isfinite(scores), scores, -1.0)[first, second]
            values = np.where(defined[pairing], values, np.nan)
            tables.append(chosen.assign(metric="ofs_k", variant=f"{cosine} {pairing}", filter=parts, value=values))
    return pd.concat(tables, ignore_index=True)[COLUMNS]


def _block(names: list[str], owner: dict[str, ClipFeatures], k: int, cosine: str, rule: NaturalMotionFilter) -> MotionBlock:
    fields = [owner[name].of(name) for name in names]
    rows = {id(features): features.rows.set_index("clip_id") for features in owner.values()}
    features = pd.concat([rows[id(owner[name])].loc[[name]] for name in names])
    counts = np.array([len(field) for field in fields])
    return motion_block(names, counts, np.concatenate(fields), motion_features(features), k, cosine, rule)


def expected_answers(metric: str) -> dict[str, bool]:
    """Which controls a metric must fire on (True) and must not (False); those with either answer are left out."""
    kind = "motion" if metric.startswith("ofs") else "content"
    answers = {name: getattr(expectation, kind) for name, expectation in EXPECTED.items()}
    if kind == "content":
        answers["picture-of-motion-twin"] = True  # the twin shows that very picture
    return {name: answer for name, answer in answers.items() if answer is not None}

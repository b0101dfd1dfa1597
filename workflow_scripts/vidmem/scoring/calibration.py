"""Calibration: scores, by the audit's own search, of clips that are known to have no true match among the references.

A score of the audit is a maximum over all references. A threshold is therefore chosen on such maxima, not on scores of pairs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..base.clip_table import query_clips, usable
from ..base.identity import video_of
from ..base.seeding import seed_of
from ..features.clip_features import ClipFeatures
from ..features.metrics import SCENES, Metric, metric_names, metric_of, metrics_of
from ..features.motion_comparison import MotionComparison
from ..features.motion_rule import MotionRule
from ..features.statistics import negatives_needed, threshold_at
from ..search.content_search import exact_matches
from ..search.exact_motion import MotionBlock, search_motion
from ..search.matches import COLUMNS as MATCH_COLUMNS
from ..search.matches import SPARE, block_of, motion_blocks, motion_matches, rescored_motion
from ..search.references import Candidates, OpenReferences, ReferenceShards, no_candidates, scan
from .control_plan import STAGED
from .scores import UNDEFINED
from .validation import expected_answers

COLUMNS = [
    "metric", "preset", "normalisation", "kind", "control", "clip_id", "source", "cluster", "match", "value", "left_out",
]  # fmt: skip
NORMALISATIONS = ("raw", "normalised")
NEGATIVES = ("held-out", "leave-one-out")
FLOOR = -1.0  # a score that never fires, as in the pairs of the validation
DEPTH = 256  # best references kept for each query clip; a query clip with more near-duplicates than that gets no score
QUERY_CLIPS = 128  # query clips in a block, which bounds its memory


class Footage(NamedTuple):
    """Descriptors and flows of some clips. Their row tables are in memory."""

    descriptors: ClipFeatures
    flows: ClipFeatures

    def references(self, theirs: Sequence[str]) -> References:
        """Some of the clips as references."""
        return References(OpenReferences(self.descriptors, theirs), OpenReferences(self.flows, theirs))


class References(NamedTuple):
    """Descriptors and flows of the references of a corpus, one shard in memory at a time."""

    descriptors: ReferenceShards
    flows: ReferenceShards

    def features_of(self, clip_ids: Collection[str]) -> Footage:
        """Features of some clips of the corpus, which may be held-out clips."""
        return Footage(self.descriptors.features_of(clip_ids), self.flows.features_of(clip_ids))


def nearest(
    queries: Footage, names: Sequence[str], references: References, block: int, comparison: MotionComparison
) -> dict[str, pd.DataFrame]:
    """Best references of some query clips by every metric, found by the audit's own exact search.

    Args:
        queries: features of the set that holds the query clips.
        names: clip ids of the query clips.
        block: reference rows in memory at once.

    Returns:
        Metric -> table of matches.
    """
    frames, vectors = queries.descriptors, references.descriptors
    content = {
        metric.name: exact_matches(metric, frames, names, vectors, DEPTH, block, vectors.provenance)
        for metric in metrics_of("content")
    }
    return content | {
        metric.name: _nearest_motion(metric, queries.flows, names, references.flows, comparison)
        for metric in comparison.metrics
    }


def _nearest_motion(
    metric: Metric, queries: ClipFeatures, names: Sequence[str], references: ReferenceShards, comparison: MotionComparison
) -> pd.DataFrame:
    """Best references of some query clips by a motion metric."""
    preset = comparison.preset(metric, references.provenance)
    tables = [pd.DataFrame(columns=MATCH_COLUMNS)]
    for rule, group in comparison.by_rule(metric, queries.clips, names):
        for block, found in _candidates(queries, group, references, rule):
            matches = rescored_motion(block, references, found, rule, rule.filter.sides, DEPTH)
            tables.append(motion_matches(block, matches, metric.name, "exact", preset))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def _candidates(
    queries: ClipFeatures, names: Sequence[str], references: ReferenceShards, rule: MotionRule
) -> list[tuple[MotionBlock, Candidates]]:
    """Query clips in blocks, and their candidates. Each shard is opened once for all blocks."""
    starts = range(0, len(names), QUERY_CLIPS)
    blocks = [block_of(queries, names[first : first + QUERY_CLIPS], rule, query=True) for first in starts]
    most = DEPTH + SPARE

    def look(number: int) -> list[Candidates]:
        theirs = references.shard(number), references.names(number)
        streams = (motion_blocks(*theirs, rule) for _ in blocks)
        return [search_motion(block, stream, rule, [rule.filter.sides], most)[0]
                for block, stream in zip(blocks, streams)]  # fmt: skip

    by_block = scan(references, [no_candidates(len(block.clip_ids), most) for block in blocks], look)
    return list(zip(blocks, by_block, strict=True))


def same_scene(
    matches: pd.DataFrame, names: Sequence[str], duplicate: float, references: Sequence[str] = ()
) -> dict[str, set[str]]:
    """The clips that show the scene of each clip: the clip itself, other clips of its video, and its near-duplicates.

    Args:
        matches: matches of the clips by the metric SCENES, among the references or among the clips themselves.
        names: clip ids of the clips.
        duplicate: smallest score by SCENES of near-duplicates, -1..1.
        references: clip ids among which there may be other clips of the same videos.

    Returns:
        Clip id -> clip ids of its scene.
    """
    windows: dict[str, set[str]] = {video_of(name): set() for name in names}
    for reference in references:
        if (video := video_of(reference)) in windows:
            windows[video].add(reference)
    scenes = {name: {name} | windows[video_of(name)] for name in names}
    for query, reference in matches.loc[matches["score"] >= duplicate, ["query", "reference"]].itertuples(index=False):
        scenes[query].add(reference)
    return scenes


def scene_names(scenes: Mapping[str, set[str]]) -> dict[str, str]:
    """Clip id -> name of its scene. Clips with overlapping scenes share a name: the first clip id of all clips so joined."""
    name = {clip_id: clip_id for clips in scenes.values() for clip_id in clips}

    def root(clip_id: str) -> str:
        while name[clip_id] != clip_id:
            clip_id = name[clip_id]
        return clip_id

    for clips in scenes.values():
        roots = sorted({root(clip_id) for clip_id in clips})
        name.update(dict.fromkeys(roots, roots[0]))
    return {clip_id: root(clip_id) for clip_id in scenes}


def choose_background(scenes: Mapping[str, str], share: float, seed: int) -> list[str]:
    """All clips of a seeded share of the scenes, sorted; the choice does not depend on the order of `scenes`.

    Args:
        scenes: held-out clip -> name of its scene.
        share: share of the scenes, 0..1.
    """
    ranked = sorted(set(scenes.values()), key=lambda scene: (seed_of("background", seed, scene), scene))
    chosen = set(ranked[: round(share * len(ranked))])
    return sorted(clip_id for clip_id, scene in scenes.items() if scene in chosen)


def choose_negatives(clip_ids: Sequence[str], count: int, seed: int) -> list[str]:
    """A seeded sample of at most `count` references, sorted; it does not depend on the order of `clip_ids`."""
    ranked = sorted(clip_ids, key=lambda clip_id: (seed_of("negatives", seed, clip_id), clip_id))
    return sorted(ranked[:count])


def best_elsewhere(matches: pd.DataFrame, names: Sequence[str], scenes: Mapping[str, set[str]]) -> pd.DataFrame:
    """Best match of every clip outside its own scene: the largest score that a false alarm can reach.

    Args:
        matches: matches of the clips among the references.
        names: clip ids of the clips.
        scenes: clip id -> clip ids of its scene, which are left out.

    Returns:
        Table of clip_id, match, value and left_out, the number of references left out. The value is FLOOR if no window can
        support a verdict, and NaN if no score is defined.
    """
    inside = np.array([reference in scenes[query] for query, reference in zip(matches["query"], matches["reference"])], bool)
    elsewhere = matches[~inside & matches["score"].notna().to_numpy()]
    best = elsewhere.sort_values(["score", "reference"], ascending=[False, True]).drop_duplicates("query").set_index("query")
    silent = _never_fire(matches)
    left_out = matches[inside].groupby("query").size()
    return pd.DataFrame(
        {
            "clip_id": list(names),
            "match": [best["reference"].get(name, "") for name in names],
            "value": [float(best["score"].get(name, FLOOR if name in silent else np.nan)) for name in names],
            "left_out": [int(left_out.get(name, 0)) for name in names],
        }
    )


def _never_fire(matches: pd.DataFrame) -> set[str]:
    """Query clips whose windows are all natural: they have a score, but it never fires."""
    return set(matches.loc[(matches["natural"] != "") & ~matches["natural"].isin(UNDEFINED), "query"])


def known_answers(plan: pd.DataFrame, metric: str, scenes: Mapping[str, set[str]]) -> pd.DataFrame:
    """Controls for which a metric must find a known clip: control, clip_id, target (the clip to be found).

    A control is left out if its target is not a reference, because then there is nothing to find.

    Args:
        plan: clip table of the controls.
        scenes: reference -> clip ids of its scene.
    """
    rows = [(row.control, row.clip_id, row.origin) for row in plan.itertuples() if row.control not in STAGED]
    rows += [
        (f"picture-of-{row.control}", row.clip_id, row.picture) for row in plan.itertuples() if row.control == "motion-twin"
    ]
    fires = [name for name, answer in expected_answers(metric).items() if answer]
    kept = [row for row in rows if row[0] in fires and row[2] in scenes]
    return pd.DataFrame(sorted(kept), columns=["control", "clip_id", "target"])


def right_answers(matches: pd.DataFrame, answers: pd.DataFrame, scenes: Mapping[str, set[str]]) -> pd.DataFrame:
    """Score of every control whose best match is its target or shows the scene of its target. A wrong match scores FLOOR.

    Args:
        matches: matches of the controls among the references.
        answers: table of known_answers.
        scenes: target -> clip ids of its scene.

    Returns:
        `answers` with match, value (NaN if no score is defined) and left_out.
    """
    best = matches[matches["rank"] == 1].set_index("query")
    undefined = set(best.index[best["natural"].isin(UNDEFINED)])
    match = [best["reference"].get(clip_id, "") for clip_id in answers["clip_id"]]
    values = [
        np.nan if clip_id in undefined else float(best.loc[clip_id, "score"]) if found in scenes[target] else FLOOR
        for clip_id, target, found in zip(answers["clip_id"], answers["target"], match)
    ]
    return answers.assign(match=match, value=values, left_out=0)


def background_level(matches: pd.DataFrame, top: int) -> pd.Series:
    """Mean of the `top` best scores of every query clip among the background clips. A clip without scores is left out."""
    ranked = matches[matches["score"].notna()].sort_values("score", ascending=False)
    return ranked.groupby("query")["score"].apply(lambda scores: float(scores.head(top).mean())).astype(float)


def normalise(scores: pd.DataFrame, level: pd.Series, beta: float) -> pd.DataFrame:
    """The raw scores, and the normalised scores: raw score minus beta times the background level of the clip.

    A score that never fires gets FLOOR - beta, which is never above a normalised score. Without a background no normalised
    score is defined.

    Args:
        level: background level by clip id, see background_level.
    """
    shift = scores["clip_id"].map(level).astype(float)
    values = scores["value"] - beta * shift
    values = values.where(scores["value"] > FLOOR, FLOOR - beta).where(scores["value"].notna() & (len(level) > 0))
    return pd.concat(
        [scores.assign(normalisation="raw"), scores.assign(normalisation="normalised", value=values)], ignore_index=True
    )


def calibration_scores(
    clips: pd.DataFrame, corpus: References, controls: Footage, calibration: dict, block: int, comparison: MotionComparison,
    seed: int,
) -> pd.DataFrame:  # fmt: skip
    """Scores of the negatives and the positives of one corpus, raw and normalised.

    Args:
        clips: clip table of the corpus, with clip_id, set, source, split and status.
        corpus: features of the corpus. Row tables of the query clips are held in memory.
        controls: features of the controls of the corpus.
        calibration: section `calibration` of the configuration.
        block: reference rows in memory at once.

    Returns:
        Table of COLUMNS. Its column `kind` is 'held-out', 'leave-one-out' or 'positive'. Clips of the background have no row.
    """
    source = usable(clips).set_index("clip_id")["source"]
    references = sorted(name for shard in range(len(corpus.descriptors)) for name in corpus.descriptors.names(shard))
    negatives = choose_negatives(references, calibration["negatives"], seed)
    plan = usable(controls.descriptors.clips)
    targets = (set(plan["origin"]) | set(plan["picture"])) & set(references)
    known = corpus.features_of({*query_clips(clips), *negatives, *targets})
    held = sorted(set(query_clips(clips)) & set(known.descriptors.spans))
    among = exact_matches(metric_of(SCENES), known.descriptors, held, OpenReferences(known.descriptors, held), DEPTH, block, "")
    held_scenes = scene_names(same_scene(among, held, calibration["duplicate"]))
    background = choose_background(held_scenes, calibration["background"], seed)
    asked = {"held-out": sorted(set(held) - set(background)), "leave-one-out": negatives}
    looked_up = sorted({*asked["held-out"], *asked["leave-one-out"], *targets})
    found = nearest(known, looked_up, corpus, block, comparison)
    scenes = same_scene(found[SCENES], looked_up, calibration["duplicate"], references)
    named = held_scenes | scene_names({name: scenes[name] for name in looked_up if name not in held_scenes})
    copies = nearest(controls, sorted(plan["clip_id"]), corpus, block, comparison)
    ours = nearest(known, looked_up, known.references(background), block, comparison)
    theirs = nearest(controls, sorted(plan["clip_id"]), known.references(background), block, comparison)
    tables = []
    for metric in found:
        copied = {name: scenes[name] for name in targets}
        parts = [best_elsewhere(found[metric][found[metric]["query"].isin(names)], names, scenes).assign(kind=kind, control="")
                 for kind, names in asked.items()]  # fmt: skip
        parts += [right_answers(copies[metric], known_answers(plan, metric, copied), copied).assign(kind="positive")]
        rows = pd.concat([part.assign(target=part.get("target", part["clip_id"])) for part in parts], ignore_index=True)
        rows = rows.assign(source=rows["target"].map(source), cluster=rows["target"].map(named), metric=metric)
        estimator = (corpus.flows if metric_of(metric).kind == "motion" else corpus.descriptors).provenance
        preset = comparison.preset(metric_of(metric), estimator)
        level = pd.concat([background_level(side[metric], calibration["top"]) for side in (ours, theirs)])
        tables.append(normalise(rows.assign(preset=preset), level, calibration["beta"]))
    return pd.concat(tables, ignore_index=True)[COLUMNS].astype({"value": float, "left_out": int})


def choose_thresholds(scores: pd.DataFrame, rate: float) -> dict[str, dict]:
    """Threshold of every metric at a stated false-positive rate, from all negatives of a corpus.

    Args:
        scores: table of calibration_scores. Only raw scores are used, because the audit does not normalise.
        rate: false-positive rate, 0..1.

    Returns:
        Metric -> threshold (None if there are too few negatives for the rate), rate, n_negative (negatives there are), needs
        (negatives that the rate needs).
    """
    chosen = {}
    for metric in metric_names():
        values = negatives_of(scores, metric)
        enough = len(values) >= negatives_needed(rate)
        threshold = threshold_at(values, rate) if enough else None
        chosen[metric] = {
            "threshold": threshold, "rate": rate, "n_negative": len(values), "needs": negatives_needed(rate),
        }  # fmt: skip
    return chosen


def negatives_of(scores: pd.DataFrame, metric: str, normalisation: str = "raw", kinds: Sequence[str] = NEGATIVES) -> np.ndarray:
    """Scores of the negatives by one metric that are defined: float [n]."""
    of_metric = (scores["metric"] == metric) & (scores["normalisation"] == normalisation)
    return scores.loc[of_metric & scores["kind"].isin(kinds), "value"].dropna().to_numpy(float)

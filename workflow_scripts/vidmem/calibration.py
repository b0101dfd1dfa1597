"""Calibration: scores of clips whose true match is known not to be there, as the audit's search makes them.

A score of the audit is a maximum over all references, so that a threshold is chosen on maxima, not on pairs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from . import matching
from .features import ClipFeatures, query_clips, usable
from .items import video_of
from .motion_search import search_motion
from .references import Candidates, OpenReferences, ReferenceShards, no_candidates, scan
from .scores import UNDEFINED
from .seeding import seed_of
from .statistics import negatives_needed, threshold_at
from .validation import expected_answers

COLUMNS = [
    "metric", "preset", "normalisation", "kind", "control", "clip_id", "source", "cluster", "match", "value", "left_out",
]  # fmt: skip
METRICS = ("gsscd", "vsscd", "ofs_k")
NORMALISATIONS = ("raw", "normalised")
NEGATIVES = ("held-out", "leave-one-out")
FLOOR = -1.0  # a score that never fires, as in the validation pairs
DEPTH = 256  # best references kept of each query: more near-duplicates than that leave no score
QUERY_CLIPS = 256  # bounds the memory of a block of queries


class Footage(NamedTuple):
    """Descriptors and flows of some clips, their rows in memory."""

    descriptors: ClipFeatures
    flows: ClipFeatures

    def references(self, theirs: Sequence[str]) -> References:
        """Some of the clips as what others are looked up in."""
        return References(OpenReferences(self.descriptors, theirs), OpenReferences(self.flows, theirs))


class References(NamedTuple):
    """Descriptors and flows of the references of a corpus, a shard in memory at a time."""

    descriptors: ReferenceShards
    flows: ReferenceShards

    def features_of(self, clip_ids: Collection[str]) -> Footage:
        """Features of some clips of the corpus, held-out ones too."""
        return Footage(self.descriptors.features_of(clip_ids), self.flows.features_of(clip_ids))


def nearest(
    queries: Footage, names: Sequence[str], references: References, search: dict, motion: dict
) -> dict[str, pd.DataFrame]:
    """Best references of some clips by every metric, as the audit searches them.

    Args:
        queries: the set of the clips `names`.
        search: block; motion: k, cosine, pairing, filter.

    Returns:
        metric -> table of matches.
    """
    frames, vectors = queries.descriptors, references.descriptors
    found = matching.nearest_clips(frames, names, vectors, DEPTH, search["block"])
    return {
        "gsscd": matching.content_matches(frames, names, vectors, found, DEPTH, "exact", vectors.provenance),
        "vsscd": matching.aligned_matches(frames, names, vectors, DEPTH, vectors.provenance),
        "ofs_k": _nearest_motion(queries.flows, names, references.flows, motion),
    }


def _nearest_motion(queries: ClipFeatures, names, references: ReferenceShards, motion: dict) -> pd.DataFrame:
    """Every shard is opened once for all blocks of queries, and once more for the exact scores of their candidates."""
    if not len(names):
        return pd.DataFrame(columns=matching.COLUMNS)
    sides, most = motion["filter"]["sides"], DEPTH + matching.SPARE
    starts = range(0, len(names), QUERY_CLIPS)
    blocks = [matching.block_of(queries, names[first : first + QUERY_CLIPS], motion) for first in starts]

    def look(number: int) -> list[Candidates]:
        theirs = references.shard(number), references.names(number)
        streams = (matching.motion_blocks(*theirs, motion) for _ in blocks)
        return [search_motion(block, stream, motion["k"], motion["pairing"], [sides], most)[0]
                for block, stream in zip(blocks, streams)]  # fmt: skip

    parts = scan(references, [no_candidates(len(block.clip_ids), most) for block in blocks], look)
    whole = matching.block_of(queries, names, motion)
    found = Candidates(*(np.concatenate(values) for values in zip(*parts)))
    matches = matching.rescored_motion(whole, references, found, motion, sides, DEPTH)
    return matching.motion_matches(whole, matches, "motion", "exact", references.provenance)


def same_scene(
    matches: pd.DataFrame, names: Sequence[str], duplicate: float, references: Sequence[str] = ()
) -> dict[str, set[str]]:
    """Of every clip the clips that show its scene: itself, other windows of its video, and its near-duplicates.

    Args:
        matches: of the metric 'vsscd', clips looked up among the references or among themselves.
        duplicate: mean similarity of frames at equal times from which two clips are near-duplicates.
        references: among which there may be further windows of the clips' videos.
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
    """Name of every clip's scene: the first clip id of those joined by near-duplicates of near-duplicates."""
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
    """Clips of a share of the scenes, whole, whatever their order.

    Args:
        scenes: clip -> scene of the held-out clips.
    """
    ranked = sorted(set(scenes.values()), key=lambda scene: (seed_of("background", seed, scene), scene))
    chosen = set(ranked[: round(share * len(ranked))])
    return sorted(clip_id for clip_id, scene in scenes.items() if scene in chosen)


def choose_negatives(clip_ids: Sequence[str], count: int, seed: int) -> list[str]:
    """At most so many of the references, a seeded sample that does not depend on their order."""
    ranked = sorted(clip_ids, key=lambda clip_id: (seed_of("negatives", seed, clip_id), clip_id))
    return sorted(ranked[:count])


def best_elsewhere(matches: pd.DataFrame, names: Sequence[str], scenes: Mapping[str, set[str]]) -> pd.DataFrame:
    """Best match of every clip outside its scene: the largest score it can reach by a false alarm.

    Args:
        matches: clips looked up among the references.
        scenes: of each clip those that are left out.

    Returns:
        clip_id, match, value (FLOOR where no window may carry a verdict, NaN where no score is defined), left_out (references).
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
    """Queries whose windows are all natural: they have a score, and it never fires."""
    return set(matches.loc[(matches["natural"] != "") & ~matches["natural"].isin(UNDEFINED), "query"])


def known_answers(plan: pd.DataFrame, metric: str, scenes: Mapping[str, set[str]]) -> pd.DataFrame:
    """Controls a metric must find: control, clip_id, target (the clip to be found).

    Controls of clips that are no reference are left out: there is nothing to find.

    Args:
        plan: clip table of the controls; scenes: of every reference.
    """
    rows = [(row.control, row.clip_id, row.origin) for row in plan.itertuples()]
    rows += [
        (f"picture-of-{row.control}", row.clip_id, row.picture) for row in plan.itertuples() if row.control == "motion-twin"
    ]
    fires = [name for name, answer in expected_answers(metric).items() if answer]
    kept = [row for row in rows if row[0] in fires and row[2] in scenes]
    return pd.DataFrame(sorted(kept), columns=["control", "clip_id", "target"])


def right_answers(matches: pd.DataFrame, answers: pd.DataFrame, scenes: Mapping[str, set[str]]) -> pd.DataFrame:
    """Score of every control whose best match is its target, or a near-duplicate of it; FLOOR for a wrong one.

    Args:
        matches: controls looked up among the references; answers: of known_answers.
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
    """Mean of the `top` best scores of every query among the background clips; clips without any are not in it."""
    ranked = matches[matches["score"].notna()].sort_values("score", ascending=False)
    return ranked.groupby("query")["score"].apply(lambda scores: float(scores.head(top).mean())).astype(float)


def normalise(scores: pd.DataFrame, level: pd.Series, beta: float) -> pd.DataFrame:
    """Scores less beta times the background level of their clip, next to the raw ones.

    A score that never fires keeps the lowest value there is; without a background no normalised score is defined.
    """
    shift = scores["clip_id"].map(level).astype(float)
    values = scores["value"] - beta * shift
    values = values.where(scores["value"] > FLOOR, FLOOR - beta).where(scores["value"].notna() & (len(level) > 0))
    return pd.concat(
        [scores.assign(normalisation="raw"), scores.assign(normalisation="normalised", value=values)], ignore_index=True
    )


def calibration_scores(
    clips: pd.DataFrame, corpus: References, controls: Footage, calibration: dict, search: dict, motion: dict, seed: int
) -> pd.DataFrame:
    """Scores of the negatives and the positives of one corpus, raw and normalised.

    Args:
        clips: of the corpus: clip_id, set, source, split, status.
        corpus: its features, of which those of clips that are looked up are held in memory; controls: features of its controls.
        calibration, search, motion: of the configuration.

    Returns:
        COLUMNS; kind is 'held-out', 'leave-one-out' or 'positive'. The clips of the background are in no kind.
    """
    source = usable(clips).set_index("clip_id")["source"]
    references = sorted(name for shard in range(len(corpus.descriptors)) for name in corpus.descriptors.names(shard))
    negatives = choose_negatives(references, calibration["negatives"], seed)
    plan = usable(controls.descriptors.clips)
    targets = (set(plan["origin"]) | set(plan["picture"])) & set(references)
    known = corpus.features_of({*query_clips(clips), *negatives, *targets})
    held = sorted(set(query_clips(clips)) & set(known.descriptors.spans))
    among = matching.aligned_matches(known.descriptors, held, OpenReferences(known.descriptors, held), DEPTH, "")
    held_scenes = scene_names(same_scene(among, held, calibration["duplicate"]))
    background = choose_background(held_scenes, calibration["background"], seed)
    asked = {"held-out": sorted(set(held) - set(background)), "leave-one-out": negatives}
    looked_up = sorted({*asked["held-out"], *asked["leave-one-out"], *targets})
    found = nearest(known, looked_up, corpus, search, motion)
    scenes = same_scene(found["vsscd"], looked_up, calibration["duplicate"], references)
    named = held_scenes | scene_names({name: scenes[name] for name in looked_up if name not in held_scenes})
    copies = nearest(controls, sorted(plan["clip_id"]), corpus, search, motion)
    ours = nearest(known, looked_up, known.references(background), search, motion)
    theirs = nearest(controls, sorted(plan["clip_id"]), known.references(background), search, motion)
    tables = []
    for metric in METRICS:
        copied = {name: scenes[name] for name in targets}
        parts = [best_elsewhere(found[metric][found[metric]["query"].isin(names)], names, scenes).assign(kind=kind, control="")
                 for kind, names in asked.items()]  # fmt: skip
        parts += [right_answers(copies[metric], known_answers(plan, metric, copied), copied).assign(kind="positive")]
        rows = pd.concat([part.assign(target=part.get("target", part["clip_id"])) for part in parts], ignore_index=True)
        rows = rows.assign(source=rows["target"].map(source), cluster=rows["target"].map(named), metric=metric)
        preset = (corpus.flows if metric == "ofs_k" else corpus.descriptors).provenance
        level = pd.concat([background_level(side[metric], calibration["top"]) for side in (ours, theirs)])
        tables.append(normalise(rows.assign(preset=preset), level, calibration["beta"]))
    return pd.concat(tables, ignore_index=True)[COLUMNS].astype({"value": float, "left_out": int})


def choose_thresholds(scores: pd.DataFrame, rate: float) -> dict[str, dict]:
    """Threshold of every metric at a stated false-positive rate, on all negatives of a corpus.

    Args:
        scores: of calibration_scores; the raw ones count, as the audit does not normalise.

    Returns:
        metric -> threshold (None where the negatives are too few for the rate), rate, n_negative, needs.
    """
    chosen = {}
    for metric in METRICS:
        values = negatives_of(scores, metric)
        enough = len(values) >= negatives_needed(rate)
        threshold = threshold_at(values, rate) if enough else None
        chosen[metric] = {
            "threshold": threshold, "rate": rate, "n_negative": len(values), "needs": negatives_needed(rate),
        }  # fmt: skip
    return chosen


def negatives_of(scores: pd.DataFrame, metric: str, normalisation: str = "raw", kinds: Sequence[str] = NEGATIVES) -> np.ndarray:
    """Defined scores of the negatives: float [n]."""
    of_metric = (scores["metric"] == metric) & (scores["normalisation"] == normalisation)
    return scores.loc[of_metric & scores["kind"].isin(kinds), "value"].dropna().to_numpy(float)

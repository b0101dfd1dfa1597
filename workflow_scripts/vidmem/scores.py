"""Scores of clips, and the verdict of a prompt from the scores of its samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from .content import gsscd, vsscd
from .errors import VidmemError
from .features import ClipFeatures, is_usable, motion_features, usable
from .motion import NaturalMotionFilter, allowed_pairs, best_window, natural_windows, normalise_flows, window_scores

COLUMNS = [
    "clip_id", "prompt_id", "metric", "value", "match", "query_frame", "reference_frame", "natural", "threshold",
    "verdict", "preset", "search",
]  # fmt: skip
TOP_METRICS = {"content": "gsscd", "content_aligned": "vsscd", "motion": "ofs_k", "motion_unfiltered": "ofs_k_unfiltered"}


def top_scores(matches: pd.DataFrame, prompt_of: dict[str, str], thresholds: dict[str, float]) -> pd.DataFrame:
    """Score of every clip from its best match.

    Args:
        matches: table of matches of one or more kinds; rank 1 counts.
        prompt_of: prompt id of every clip.
        thresholds: metric -> threshold.
    """
    best = matches[matches["rank"] == 1]
    metric = best["kind"].map(TOP_METRICS)
    threshold = metric.map(thresholds).astype(float)
    result = pd.DataFrame(
        {
            "clip_id": best["query"],
            "prompt_id": best["query"].map(prompt_of).fillna(""),
            "metric": metric,
            "value": best["score"],
            "match": best["reference"],
            "query_frame": best["query_frame"],
            "reference_frame": best["reference_frame"],
            "natural": best["natural"],
            "threshold": threshold,
            "verdict": best["score"] >= threshold,  # a score that is not defined is no verdict
            "preset": best["preset"],
            "search": best["search"],
        }
    )
    return result[COLUMNS]


def own_scores(
    clips: pd.DataFrame,
    own: tuple[ClipFeatures, ClipFeatures],
    corpus: tuple[ClipFeatures, ClipFeatures],
    motion: dict,
    thresholds: dict[str, float],
) -> pd.DataFrame:
    """Scores of generated clips against the clip whose caption prompted them.

    Args:
        clips: generated clips with a target.
        own, corpus: (descriptors, flows) of the generated clips and of the corpus.
        motion: k, cosine, pairing, filter.
    """
    rows = []
    for clip in usable(clips).itertuples():
        if not clip.target or clip.target not in corpus[0].spans:
            continue
        for metric, value, first, second, natural in _pair_scores(clip.clip_id, clip.target, own, corpus, motion):
            preset = own[1 if metric.startswith("ofs") else 0].provenance
            limit = thresholds.get(metric.removesuffix("_own"), np.nan)
            verdict = bool(value is not None and value >= limit)
            value = np.nan if value is None else value
            rows.append(
                (
                    clip.clip_id,
                    clip.prompt_id,
                    metric,
                    value,
                    clip.target,
                    first,
                    second,
                    natural,
                    limit,
                    verdict,
                    preset,
                    "pair",
                )
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def _pair_scores(clip_id: str, target: str, own, corpus, motion: dict) -> Iterator[tuple]:
    mine, theirs = own[0].of(clip_id), corpus[0].of(target)
    best = gsscd(mine, theirs)
    yield "gsscd_own", best.score, best.first, best.second, ""
    yield "vsscd_own", vsscd(mine, theirs), -1, -1, ""
    first, second = own[1].of(clip_id), corpus[1].of(target)
    if min(len(first), len(second)) < motion["k"]:
        yield "ofs_k_own", None, -1, -1, "short"
        return
    cosines = normalise_flows(first, motion["cosine"]) @ normalise_flows(second, motion["cosine"]).T
    scores = window_scores(cosines, motion["k"])
    rule = NaturalMotionFilter(**motion["filter"])
    natural = [window_reasons(features, name, motion["k"], rule) for features, name in ((own[1], clip_id), (corpus[1], target))]
    filtered = best_window(scores, motion["pairing"], allowed_pairs(natural[0] != "", natural[1] != "", rule.sides))
    reason = "" if filtered.score is not None else next((r for side in natural for r in side if r), "")
    yield "ofs_k_own", filtered.score, filtered.first, filtered.second, reason
    plain = best_window(scores, motion["pairing"])
    yield "ofs_k_unfiltered_own", plain.score, plain.first, plain.second, ""


def window_reasons(features: ClipFeatures, clip_id: str, k: int, rule: NaturalMotionFilter) -> np.ndarray:
    """Reason of every k-window of one clip, see natural_windows."""
    return natural_windows(motion_features(features.table_of([clip_id])), k, rule)


UNDEFINED = ("short", "no reference window")  # no window on one side: there is no score, and no share of zero


def is_defined(natural: pd.Series) -> pd.Series:
    """Whether a score exists at all, by the reason in its row: a natural window is a score that may not fire."""
    return ~natural.isin(UNDEFINED)


def prompt_verdicts(clips: pd.DataFrame, scores: pd.DataFrame, metric: str, samples: str) -> pd.DataFrame:
    """One row a prompt: whether any or every sample of it is memorised.

    Prompts without a usable sample stay in the table with verdict False: a denominator counts them all.

    Args:
        clips: clip table of a model, all statuses.
        scores: its scores.
        metric: whose verdicts count.
        samples: 'any' or 'every'.

    Returns:
        prompt_id, target, split, copies, n_samples, n_ok, value (best of the samples), defined
        (some sample could be scored at all), memorised, share (of samples).
    """
    if samples not in ("any", "every"):
        raise VidmemError("samples 'any' or 'every'", samples, "prompt_verdicts")
    chosen = scores[scores["metric"] == metric].set_index("clip_id")
    table = clips.assign(
        ok=is_usable(clips),
        value=clips["clip_id"].map(chosen["value"]),
        verdict=clips["clip_id"].map(chosen["verdict"]).eq(True),
        defined=clips["clip_id"].map(is_defined(chosen["natural"])).eq(True),
    )
    grouped = table.groupby("prompt_id", sort=True)
    result = grouped.agg(
        target=("target", "first"), split=("split", "first"), copies=("copies", "first"), n_samples=("ok", "size"),
        n_ok=("ok", "sum"), value=("value", "max"), found=("verdict", "sum"), defined=("defined", "any"),
    ).reset_index()  # fmt: skip
    needed = 1 if samples == "any" else result["n_samples"]
    result["memorised"] = (result["found"] >= needed) & (result["n_ok"] > 0)
    result["share"] = result["found"] / result["n_samples"]
    return result.drop(columns="found")

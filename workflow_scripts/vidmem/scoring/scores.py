"""Scores of generated clips, and the verdict on a prompt from the scores of its samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..base.clip_table import is_usable, usable
from ..errors import VidmemError
from ..features.clip_features import ClipFeatures, motion_features
from ..features.metrics import OWN, UNFILTERED, metrics_of
from ..features.motion import WindowMatch, best_window
from ..features.motion_comparison import MotionComparison
from ..features.motion_rule import MotionRule
from ..features.natural_motion import allowed_pairs, natural_windows

COLUMNS = [
    "clip_id", "prompt_id", "metric", "value", "match", "query_frame", "reference_frame", "natural", "threshold",
    "verdict", "preset", "search", "view",
]  # fmt: skip


class PairScore(NamedTuple):
    """The score of a generated clip against its own training clip, which is the clip whose caption prompted it.

    Attributes:
        metric: name of the metric, with the ending UNFILTERED for a score without the natural motion filter.
        value: -1..1; None if the score is not defined.
        first, second: frames or frame pairs that gave the score; -1 if it is not that of a single pair.
        natural: why no window can support a verdict; '' if the score is defined.
        view: how the generated clip was seen, '' for as it is.
    """

    metric: str
    value: float | None
    first: int = -1
    second: int = -1
    natural: str = ""
    view: str = ""


@dataclass(frozen=True)
class VerdictRule:
    """How a verdict on a prompt is reached: a section `content` or `motion` of the configuration.

    Attributes:
        metric: metric whose scores count.
        samples: whether 'any' or 'every' sample of a prompt must reach the threshold.
    """

    metric: str
    samples: str = "any"

    @classmethod
    def of(cls, section: Mapping) -> VerdictRule:
        """The rule that a section of the configuration states. The other keys of the section are not read."""
        return cls(section["metric"], section["samples"])


def top_scores(matches: pd.DataFrame, prompt_of: dict[str, str], thresholds: dict[str, float]) -> pd.DataFrame:
    """Score and verdict of every clip, from its best match by each metric.

    Args:
        matches: table of matches by one or more metrics; only matches of rank 1 count.
        prompt_of: clip id -> prompt id.
        thresholds: metric -> threshold.

    Returns:
        Table of COLUMNS.
    """
    best = matches[matches["rank"] == 1]
    threshold = best["metric"].map(thresholds).astype(float)
    result = pd.DataFrame(
        {
            "clip_id": best["query"],
            "prompt_id": best["query"].map(prompt_of).fillna(""),
            "metric": best["metric"],
            "value": best["score"],
            "match": best["reference"],
            "query_frame": best["query_frame"],
            "reference_frame": best["reference_frame"],
            "natural": best["natural"],
            "threshold": threshold,
            "verdict": best["score"] >= threshold,  # False if the score is not defined
            "preset": best["preset"],
            "search": best["search"],
            "view": best["view"],
        }
    )
    return result[COLUMNS]


def own_scores(
    clips: pd.DataFrame,
    own: tuple[ClipFeatures, ClipFeatures],
    corpus: tuple[ClipFeatures, ClipFeatures],
    comparison: MotionComparison,
    thresholds: dict[str, float],
) -> pd.DataFrame:
    """Score of every generated clip against the training clip whose caption prompted it, by every metric.

    Args:
        clips: clip table of generated clips; `target` is the training clip, or empty.
        own, corpus: (descriptors, flows) of the generated clips and of the corpus.
        comparison: the motion metrics and their rules.
        thresholds: metric -> threshold. Without a threshold the verdict is False.

    Returns:
        Table of COLUMNS, in which the name of each metric ends with OWN.
    """
    rows, presets = [], {metric.name: comparison.preset(metric, own[1].provenance) for metric in comparison.metrics}
    for clip in usable(clips).itertuples():
        if not clip.target or clip.target not in corpus[0].spans:
            continue
        content = _content_scores(own[0].of(clip.clip_id), corpus[0].of(clip.target))
        motion = _motion_scores(clip.clip_id, clip.target, own[1], corpus[1], comparison)
        for features, found in ((own[0], content), (own[1], motion)):
            for score in found:
                preset = presets.get(score.metric.removesuffix(UNFILTERED), features.provenance)
                limit = thresholds.get(score.metric, np.nan)
                verdict = bool(score.value is not None and score.value >= limit)
                value = np.nan if score.value is None else score.value
                frames = score.first, score.second
                about = clip.clip_id, clip.prompt_id, score.metric + OWN, value, clip.target, *frames, score.natural
                rows.append((*about, limit, verdict, preset, "pair", score.view))
    return pd.DataFrame(rows, columns=COLUMNS)


def _content_scores(mine: np.ndarray, theirs: np.ndarray) -> Iterator[PairScore]:
    for metric in metrics_of("content"):
        yield PairScore(metric.name, *metric.pair(mine, theirs))


def _motion_scores(
    clip_id: str, target: str, own: ClipFeatures, corpus: ClipFeatures, comparison: MotionComparison
) -> Iterator[PairScore]:
    """Scores by every motion metric, with the filter and without it. Clips shorter than a window have one undefined score."""
    sides, first, second = ((own, clip_id), (corpus, target)), own.of(clip_id), corpus.of(target)
    for metric in comparison.metrics:
        rule = comparison.rule_of(metric)
        if min(len(first), len(second)) < rule.k:
            yield PairScore(metric.name, None, natural="short")
            continue
        natural = [window_reasons(features, name, rule) for features, name in sides]
        allowed = allowed_pairs(natural[0] != "", natural[1] != "", rule.filter.sides)
        views = {view: metric.pair(flows, second, rule) for view, flows in rule.seen(first).items()}
        filtered, plain = (_best_view(views, rule, chosen) for chosen in (allowed, None))
        reason = "" if filtered[0].score is not None else next((r for side in natural for r in side if r), "")
        yield PairScore(metric.name, *filtered[0], reason, filtered[1])
        yield PairScore(metric.name + UNFILTERED, *plain[0], "", plain[1])


def _best_view(views: dict[str, np.ndarray], rule: MotionRule, allowed: np.ndarray | None) -> tuple[WindowMatch, str]:
    """The best pair of windows of all views of a clip, and the view. If scores are equal, the first view wins."""
    matches = {view: best_window(scores, rule.pairing, allowed) for view, scores in views.items()}
    view = max(matches, key=lambda view: (matches[view].score is not None, matches[view].score or 0))
    return matches[view], view


def window_reasons(features: ClipFeatures, clip_id: str, rule: MotionRule) -> np.ndarray:
    """The reason why each k-window of one clip is natural; see natural_windows."""
    return natural_windows(motion_features(features.table_of([clip_id])), rule.k, rule.filter)


UNDEFINED = ("short", "no reference window")  # one of the clips has no window: there is no score, and no share to count it in


def is_defined(natural: pd.Series) -> pd.Series:
    """Whether a score is defined, by the reason in its row. A score of natural windows is defined, although it never fires."""
    return ~natural.isin(UNDEFINED)


def prompt_verdicts(clips: pd.DataFrame, scores: pd.DataFrame, metric: str, samples: str) -> pd.DataFrame:
    """Verdict on every prompt: whether any or every sample of it is memorised.

    A prompt without a usable sample stays in the table with verdict False, so that denominators count all prompts.

    Args:
        clips: clip table of a model, with clips of every status.
        scores: table of scores of the model.
        metric: metric whose verdicts count.
        samples: 'any' or 'every'.

    Returns:
        One row for each prompt: prompt_id, target, split, copies, n_samples, n_ok (usable samples), value (best score of the
        samples), defined (whether some sample has a score), memorised, share (of the samples that are memorised).

    Raises:
        VidmemError: another value of `samples`.
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

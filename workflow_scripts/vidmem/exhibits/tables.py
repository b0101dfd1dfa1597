"""The tables. They are tidy, their shares have intervals, and every prompt is in a denominator."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..base.clip_table import usable
from ..features.clip_features import motion_features
from ..features.metrics import GSSCD, OFS, OWN, UNFILTERED
from ..features.natural_motion import NaturalMotionFilter, natural_windows
from ..features.statistics import IntervalRule, precision_recall, share_columns
from ..generation.elsewhere import NOT_DONE
from ..scoring.control_plan import STAGED
from ..scoring.scores import VerdictRule, is_defined, prompt_verdicts
from ..scoring.validation import FILTERS, expected_answers, unrelated_control
from .table_files import on_one_line

VALIDATION_COLUMNS = [
    "metric", "variant", "filter", "control", "expected", "n_positive", "n_negative", "auc", "auc_low", "auc_high",
    "threshold", "precision", "recall", "false_positive_rate", "corpus",
]  # fmt: skip


WORDS = {True: "fires", False: "silent", None: "either"}
"""What Table 1 says of a control: must the metric fire on it?"""


def validation_table(pairs: pd.DataFrame, thresholds: dict[str, float], interval: IntervalRule, seed: int) -> pd.DataFrame:
    """AUC, precision and recall of every metric on every control.

    If the metric must fire on a control, the control is the positive class and unrelated pairs are the negative class. If it
    must not fire, the control is the negative class, and all controls on which it must fire are the positive class. Where both
    answers are right, the row says how often it fires. Motion metrics are judged on clips that move.

    Args:
        pairs: scores of pairs with a known answer, for one or more corpora (column corpus).
        thresholds: metric -> threshold.
    """
    rows = []
    defined = pairs[pairs["value"].notna()]  # pairs of clips that are too short for the metric are in no class
    for (corpus, metric, variant, stage), group in defined.groupby(["corpus", "metric", "variant", "filter"], sort=True):
        answers = expected_answers(metric)
        negatives = group[group["control"] == unrelated_control(metric)]
        fires = group[group["control"].isin([name for name, answer in answers.items() if answer])]
        for control, answer in answers.items():
            own = group[group["control"] == control]
            positive, negative = (fires, own) if answer is False else (own, negatives)
            row = _compare(positive, negative, thresholds[metric], interval, seed)
            rows.append((metric, variant, stage, control, WORDS[answer], *row, corpus))
    return pd.DataFrame(rows, columns=VALIDATION_COLUMNS)


def _compare(positive: pd.DataFrame, negative: pd.DataFrame, threshold: float, interval: IntervalRule, seed: int) -> tuple:
    ours, theirs = positive["value"].to_numpy(), negative["value"].to_numpy()
    own, other = (part[["first", "second"]] if _is_pairing(part) else part["cluster"] for part in (positive, negative))
    area = interval.auc(ours, theirs, own, other, seed)
    precision, recall = precision_recall(ours, theirs, threshold)
    alarms = float((theirs >= threshold).mean()) if len(theirs) else np.nan
    return len(ours), len(theirs), *area, threshold, precision, recall, alarms


def _is_pairing(part: pd.DataFrame) -> bool:
    """Whether both clips of a pair can be in many pairs, so that a bootstrap has to draw clips on both sides."""
    return bool(part["control"].isin(["unrelated", "unrelated-moving", "human", "walkers-apart", *STAGED]).all())


def label_table(
    scores: pd.DataFrame, thresholds: dict[str, dict[str, float]], interval: IntervalRule, seed: int
) -> pd.DataFrame:
    """The metrics against human labels, with the columns of Table 1. Pairs with the label copy are the positive class.

    Args:
        scores: scores that label_scores returns, with the corpus of every pair.
        thresholds: corpus -> metric -> threshold.
    """
    rows = []
    defined = scores[scores["value"].notna()]
    for (corpus, metric, variant, stage), group in defined.groupby(["corpus", "metric", "variant", "filter"], sort=True):
        judged = group["label"].astype(bool)
        row = _compare(group[judged], group[~judged], thresholds[corpus][metric], interval, seed)
        rows.append((metric, variant, stage, "human", "fires", *row, corpus))
    return pd.DataFrame(rows, columns=VALIDATION_COLUMNS)


def filter_table(pairs: pd.DataFrame, metric: str, threshold: float, variant: str, interval: IntervalRule) -> pd.DataFrame:
    """Effect of every stage of the natural motion filter on the pairs that fire by a motion metric.

    There is a row for every stage of the filter and every kind of pair. It has the share of pairs that fire. It also has the
    number of pairs that fire without the filter and are silenced by it. 'motion copies' are motion twins and edits that keep
    the motion. 'unrelated, any of the corpus' counts clips, not pairs. A search takes the best of all references, so its false
    alarms grow with their number.
    """
    chosen = pairs[(pairs["metric"] == metric) & (pairs["variant"] == variant) & pairs["value"].notna()]
    copies = [name for name, answer in expected_answers(metric).items() if answer]
    kinds = {
        "motion copies": copies, "camera moves": ["camera"], "nothing moves": ["still"], "walkers apart": ["walkers-apart"],
        "unrelated": ["unrelated-moving"],
    }  # fmt: skip
    rows = []
    for corpus, group in chosen.groupby("corpus", sort=True):
        plain = group[group["filter"] == "none"].set_index(["control", "first", "second"])["value"] >= threshold
        for stage in FILTERS:
            values = group[group["filter"] == stage].set_index(["control", "first", "second"])["value"] >= threshold
            for kind, controls in kinds.items():
                before, after = (series[series.index.get_level_values("control").isin(controls)] for series in (plain, values))
                fired, kept = int(before.sum()), int((after & before.reindex(after.index)).sum())
                share = interval.share(int(after.sum()), len(after))
                removed = 1 - kept / fired if fired else np.nan
                rows.append((corpus, metric, variant, stage, kind, len(after), *share, fired, removed))
            before, after = (_clips_that_fire(series) for series in (plain, values))
            share = interval.share(int(after.sum()), len(after))
            fired, removed = int(before.sum()), 1 - int((after & before).sum()) / before.sum() if before.any() else np.nan
            rows.append((corpus, metric, variant, stage, "unrelated, any of the corpus", len(after), *share, fired, removed))
    columns = ["corpus", "metric", "variant", "filter", "pairs", "n", "fires", "low", "high", "n_fired_unfiltered", "removed"]
    return pd.DataFrame(rows, columns=columns)


def _clips_that_fire(fires: pd.Series) -> pd.Series:
    """Whether any pair of a clip fires, for every clip of the unrelated moving pairs."""
    pairs = fires[fires.index.get_level_values("control") == "unrelated-moving"]
    sides = [pairs.groupby(level=side).any() for side in ("first", "second")]
    return pd.concat(sides).groupby(level=0).any().sort_index()


NOT_DONE_COLUMNS = ["model", "what", "status", "reason"]


def not_done_table(models: Mapping[str, Mapping], detection: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Parts of the audit that were left out, for each model, with the reason.

    Args:
        models: model -> its entry in the configuration.
        detection: 'content detection' and 'motion detection' -> Table 3 and Table 4.
    """
    rows = []
    for model, settings in models.items():
        for what, table in detection.items():
            own = table[(table["model"] == model) & (table["detector"] == "all") & (table["status"] == "not_defined")]
            rows += [(model, what, "not_defined", reason) for reason in own["reason"]]
            rows += _undetected(model, what, table[(table["model"] == model) & (table["detector"] != "all")])
        if settings["kind"] == "files":
            rows += [(model, what, "not_defined", NOT_DONE[what]) for what in ("inversion", "mitigation")]
    return pd.DataFrame(rows, columns=NOT_DONE_COLUMNS)


def _undetected(model: str, what: str, own: pd.DataFrame) -> list[tuple[str, str, str, str]]:
    """Row for a detection table in which no detector has a number for any truth; else no row."""
    if own.empty or (own["status"] != "not_defined").any():
        return []
    reasons = "; ".join(sorted(set(own["reason"])))
    cure = " (detection.negatives names prompts that nothing was planted for)" if "no negative prompt" in reasons else ""
    return [(model, what, "not_defined", reasons + cure)]


PROMPT_COLUMNS = (
    "rank", "combined", "prompt_id", "prompt", "source", "target", "split", "cluster", "label", "label_source", "availability",
    "status", "reason", "copies", "n_identical_captions", "n_near_captions", "n_near_duplicate_clips", "white_box",
    "cluster_reason",
)  # fmt: skip

HELD_OUT = "real held-out clips"
"""Model name in the rows of Table 2 for real held-out clips, which no model generated."""
VERDICTS = ("content", "motion", "unfiltered", "images", "gsscd", "ofs")


def memorization_rows(
    model: str, corpus: str, clips: pd.DataFrame, scores: pd.DataFrame, references: pd.DataFrame, content: VerdictRule,
    motion: VerdictRule, interval: IntervalRule,
) -> list[dict]:  # fmt: skip
    """Rows of table 2 for one model: one for all prompts, and one for every split of the prompts' target clips.

    The denominator of every share is n_prompts. Prompts that failed or were skipped count as not memorised. So do prompts
    without a score; <kind>_scored counts those that have one. A match may be in another split than the target of the prompt.
    content_share_images counts matches with a training image.

    Args:
        clips: clip table of the model.
        scores: table that score_clips writes.
        references: clip table of the corpus.
        content, motion: rules of the verdicts.
    """
    images = set(references[references["split"] == "image"]["clip_id"])
    matched = scores.assign(verdict=scores["verdict"] & scores["match"].isin(images))
    verdicts = {
        "gsscd": prompt_verdicts(clips, scores, GSSCD, content.samples),
        "ofs": prompt_verdicts(clips, scores, OFS, motion.samples),
        "images": prompt_verdicts(clips, matched, content.metric, content.samples),
        "content": prompt_verdicts(clips, scores, content.metric, content.samples),
        "motion": prompt_verdicts(clips, scores, motion.metric, motion.samples),
        "unfiltered": prompt_verdicts(clips, scores, motion.metric + UNFILTERED, motion.samples),
    }
    splits = verdicts["content"]["split"].replace({"": "all"})
    groups = ["all"] + sorted(set(splits) - {"all"})
    return [_memorization_row(model, corpus, split, verdicts, splits, interval) for split in groups]


def _memorization_row(
    model: str, corpus: str, split: str, verdicts: Mapping[str, pd.DataFrame], splits: pd.Series, interval: IntervalRule
) -> dict:
    mask = np.ones(len(splits), bool) if split == "all" else (splits == split).to_numpy()
    content, motion, plain, images, gsscd, ofs = (verdicts[name][mask] for name in VERDICTS)
    total, usable = len(content), int((content["n_ok"] > 0).sum())
    row = {"model": model, "corpus": corpus, "kind": split, "n_prompts": total, "n_ok": usable, "n_failed": total - usable}
    for name, table in (("content", content), ("motion", motion)):
        row |= share_columns(name, int(table["memorised"].sum()), total, bool(table["defined"].any()), interval)
        row[f"{name}_scored"] = int(table["value"].notna().sum())
    row["motion_share_unfiltered"] = float(plain["memorised"].mean()) if plain["defined"].any() else np.nan
    row["content_share_images"] = float(images["memorised"].mean()) if content["defined"].any() else np.nan
    return row | {
        "mean_top_gsscd": float(gsscd["value"].mean()),
        "mean_top_ofs": float(ofs["value"].mean()),
        "content_share_samples": float(content["share"].mean()) if content["defined"].any() else np.nan,
        "motion_share_samples": float(motion["share"].mean()) if motion["defined"].any() else np.nan,
    }


def real_rows(
    corpus: str, clips: pd.DataFrame, scores: pd.DataFrame, content: VerdictRule, motion: VerdictRule, interval: IntervalRule
) -> list[dict]:
    """Rows of Table 2 for real held-out clips, matched against the members as if they were generated."""
    held = clips[clips["split"] == "heldout"]
    row = {"model": HELD_OUT, "corpus": corpus, "kind": "heldout", "n_prompts": len(held)}
    row |= {"n_ok": len(usable(held)), "n_failed": len(held) - len(usable(held))}
    for name, rule in (("content", content), ("motion", motion)):
        own = scores[scores["metric"] == rule.metric]
        row |= share_columns(name, int(own["verdict"].sum()), len(held), bool(is_defined(own["natural"]).any()), interval)
        row |= {f"{name}_scored": int(own["value"].notna().sum()), f"{name}_share_samples": row[f"{name}_share"]}
    plain = scores[scores["metric"] == motion.metric + UNFILTERED]
    defined = bool(is_defined(plain["natural"]).any())
    row["motion_share_unfiltered"] = float(plain["verdict"].sum() / len(held)) if defined else np.nan
    row["mean_top_gsscd"] = float(scores[scores["metric"] == GSSCD]["value"].mean())
    row["mean_top_ofs"] = float(scores[scores["metric"] == OFS]["value"].mean())
    return [row]


def motion_of_corpus(clips: pd.DataFrame, pairs: pd.DataFrame, k: int, rule: NaturalMotionFilter) -> pd.DataFrame:
    """Shares of the k-windows of every split that are natural or not, by the first reason that applies.

    Args:
        clips: clip table of one corpus.
        pairs: flow table of that corpus.
        k: number of frame pairs of a window.
    """
    about = clips.set_index("clip_id")
    rows = []
    for clip_id, group in pairs.groupby("clip_id", sort=True):
        for reason in natural_windows(motion_features(group), k, rule):
            rows.append((about.loc[clip_id, "set"], about.loc[clip_id, "split"], reason or "moving"))
    windows = pd.DataFrame(rows, columns=["set", "split", "reason"])
    result = []
    for (name, split), group in windows.groupby(["set", "split"], sort=True):
        shares = group["reason"].value_counts(normalize=True)
        row = {"set": name, "split": split, "windows": len(group)}
        result.append(row | {reason: float(shares.get(reason, 0.0)) for reason in ("static", "affine", "entropy", "moving")})
    return pd.DataFrame(result, columns=["set", "split", "windows", "static", "affine", "entropy", "moving"])


def copies_rows(
    model: str, clips: pd.DataFrame, scores: pd.DataFrame, content: VerdictRule, interval: IntervalRule
) -> list[dict]:
    """Share of prompts that replay their own clip, by number of copies in training. Held-out captions have 0 copies."""
    prompted = clips[clips["target"] != ""]
    if not len(prompted):
        return []
    verdicts = prompt_verdicts(prompted, scores, content.metric + OWN, content.samples)
    verdicts["gsscd"] = prompt_verdicts(prompted, scores, GSSCD + OWN, content.samples)["value"]
    videos = verdicts[verdicts["split"] != "image"]
    rows = []
    for kind, table in (("video", videos), ("image", verdicts[verdicts["split"] == "image"])):
        for copies, group in table.groupby("copies", sort=True):
            found = int(group["memorised"].sum())
            share = interval.share(found, len(group))
            row = {"model": model, "data": kind, "copies": int(copies), "n": len(group)}
            row |= {"content_share": share.value, "low": share.low, "high": share.high}
            rows.append(row | {"mean_own_gsscd": float(group["gsscd"].mean())})
    return rows


def prompt_rows(corpus: str, curated: pd.DataFrame, limit: int) -> pd.DataFrame:
    """First rows of a curated data set for readers. Long prompts are cut; line ends and invisible marks are removed.

    Args:
        curated: table that curation.curate returns.
        limit: number of rows; 0 for all.
    """
    columns = [name for name in curated.columns if name in PROMPT_COLUMNS]
    shown = (curated.head(limit) if limit else curated)[columns].copy()
    for name in set(columns) & {"prompt", "target", "label", "label_source", "reason", "cluster_reason"}:
        shown[name] = [on_one_line(text) for text in shown[name]]
    shown.insert(0, "corpus", corpus)
    return shown

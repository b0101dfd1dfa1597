"""The tables: tidy, with intervals, every prompt in a denominator."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

import numpy as np
import pandas as pd

from .elsewhere import NOT_DONE
from .features import motion_features, usable
from .motion import NaturalMotionFilter, natural_windows
from .scores import is_defined, prompt_verdicts
from .statistics import auc_interval, precision_recall, share_interval
from .store import save_csv, save_text
from .validation import FILTERS, expected_answers

VALIDATION_COLUMNS = [
    "metric", "variant", "filter", "control", "expected", "n_positive", "n_negative", "auc", "auc_low", "auc_high",
    "threshold", "precision", "recall", "false_positive_rate", "corpus",
]  # fmt: skip


def validation_table(pairs: pd.DataFrame, thresholds: dict[str, float], interval: dict, seed: int) -> pd.DataFrame:
    """AUC, precision and recall of every metric on every control.

    A control the metric must fire on is the positive class, unrelated pairs are the negative one. A control it must
    not fire on is the negative class, and all controls it must fire on are the positive one. Motion is judged
    among clips that move.

    Args:
        pairs: scores of known pairs, one corpus or more (column corpus).
        thresholds: metric -> threshold.
        interval: level and draws.
    """
    rows = []
    defined = pairs[pairs["value"].notna()]  # clips too short for the metric are in no class
    for (corpus, metric, variant, stage), group in defined.groupby(["corpus", "metric", "variant", "filter"], sort=True):
        answers = expected_answers(metric)
        negatives = group[group["control"] == ("unrelated-moving" if metric == "ofs_k" else "unrelated")]
        fires = group[group["control"].isin([name for name, answer in answers.items() if answer])]
        for control, answer in answers.items():
            positive, negative = (
                (group[group["control"] == control], negatives) if answer else (fires, group[group["control"] == control])
            )
            row = _compare(positive, negative, thresholds[metric], interval, seed)
            rows.append((metric, variant, stage, control, "fires" if answer else "silent", *row, corpus))
    return pd.DataFrame(rows, columns=VALIDATION_COLUMNS)


def _compare(positive: pd.DataFrame, negative: pd.DataFrame, threshold: float, interval: dict, seed: int) -> tuple:
    ours, theirs = positive["value"].to_numpy(), negative["value"].to_numpy()
    clusters = [part[["first", "second"]] if _is_pairing(part) else part["cluster"] for part in (positive, negative)]
    area = auc_interval(ours, theirs, *clusters, seed, interval["draws"], interval["level"])
    precision, recall = precision_recall(ours, theirs, threshold)
    alarms = float((theirs >= threshold).mean()) if len(theirs) else np.nan
    return len(ours), len(theirs), *area, threshold, precision, recall, alarms


def _is_pairing(part: pd.DataFrame) -> bool:
    """Whether the pairs are of clips that stand in many pairs, on both sides."""
    return bool(part["control"].isin(["unrelated", "unrelated-moving", "camera", "human"]).all())


def label_table(scores: pd.DataFrame, thresholds: dict[str, dict[str, float]], interval: dict, seed: int) -> pd.DataFrame:
    """The metrics against human labels, in the columns of Table 1: pairs labelled a copy are the positive class.

    Args:
        scores: of label_scores, with the corpus of every pair.
        thresholds: corpus -> metric -> threshold.
    """
    rows = []
    defined = scores[scores["value"].notna()]
    for (corpus, metric, variant, stage), group in defined.groupby(["corpus", "metric", "variant", "filter"], sort=True):
        judged = group["label"].astype(bool)
        row = _compare(group[judged], group[~judged], thresholds[corpus][metric], interval, seed)
        rows.append((metric, variant, stage, "human", "fires", *row, corpus))
    return pd.DataFrame(rows, columns=VALIDATION_COLUMNS)


def filter_table(pairs: pd.DataFrame, threshold: float, variant: str, interval: dict) -> pd.DataFrame:
    """What every part of the natural motion filter removes and costs.

    Rows: filter stage and kind of pair, with the share of pairs that fire and the share of those firing without a
    filter that it silenced. 'motion copies' are the edits that keep the motion and the motion twins. 'unrelated, any of
    the corpus' counts clips, not pairs: a search takes the best of all references, so that its false alarms grow with them.
    """
    chosen = pairs[(pairs["metric"] == "ofs_k") & (pairs["variant"] == variant) & pairs["value"].notna()]
    copies = [name for name, answer in expected_answers("ofs_k").items() if answer]
    kinds = {"motion copies": copies, "camera moves": ["camera"], "unrelated": ["unrelated-moving"]}
    rows = []
    for corpus, group in chosen.groupby("corpus", sort=True):
        plain = group[group["filter"] == "none"].set_index(["control", "first", "second"])["value"] >= threshold
        for stage in FILTERS:
            values = group[group["filter"] == stage].set_index(["control", "first", "second"])["value"] >= threshold
            for kind, controls in kinds.items():
                before, after = (series[series.index.get_level_values("control").isin(controls)] for series in (plain, values))
                fired, kept = int(before.sum()), int((after & before.reindex(after.index)).sum())
                share = share_interval(int(after.sum()), len(after), interval["level"], interval["method"])
                removed = 1 - kept / fired if fired else np.nan
                rows.append((corpus, variant, stage, kind, len(after), *share, fired, removed))
            before, after = (_clips_that_fire(series) for series in (plain, values))
            share = share_interval(int(after.sum()), len(after), interval["level"], interval["method"])
            fired, removed = int(before.sum()), 1 - int((after & before).sum()) / before.sum() if before.any() else np.nan
            rows.append((corpus, variant, stage, "unrelated, any of the corpus", len(after), *share, fired, removed))
    columns = ["corpus", "variant", "filter", "pairs", "n", "fires", "low", "high", "n_fired_unfiltered", "removed"]
    return pd.DataFrame(rows, columns=columns)


def _clips_that_fire(fires: pd.Series) -> pd.Series:
    """For every clip of the unrelated moving pairs, whether any of its pairs fires."""
    pairs = fires[fires.index.get_level_values("control") == "unrelated-moving"]
    sides = [pairs.groupby(level=side).any() for side in ("first", "second")]
    return pd.concat(sides).groupby(level=0).any().sort_index()


NOT_DONE_COLUMNS = ["model", "what", "status", "reason"]


def not_done_table(models: Mapping[str, Mapping], detection: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What an audit left out, model by model, and why.

    Args:
        models: their entries in the configuration.
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
    """A row for a detection of which no detector and no truth has a number."""
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
"""Model of the rows of Table 2 that are its floor."""
VERDICTS = ("content", "motion", "unfiltered", "images", "gsscd")


def memorization_rows(
    model: str, corpus: str, clips: pd.DataFrame, scores: pd.DataFrame, references: pd.DataFrame, config: dict
) -> list[dict]:
    """Rows of table 2 for one model: all prompts, and by the split of the clip they were prompted for.

    The denominator of every share is n_prompts: prompts that failed or were skipped count as not memorised. The match
    may be of another split than the prompt: content_share_images counts those that match a training image.

    Args:
        references: clip table of the corpus.
    """
    images = set(references[references["split"] == "image"]["clip_id"])
    matched = scores.assign(verdict=scores["verdict"] & scores["match"].isin(images))
    verdicts = {
        "gsscd": prompt_verdicts(clips, scores, "gsscd", config["content"]["samples"]),
        "images": prompt_verdicts(clips, matched, config["content"]["metric"], config["content"]["samples"]),
        "content": prompt_verdicts(clips, scores, config["content"]["metric"], config["content"]["samples"]),
        "motion": prompt_verdicts(clips, scores, "ofs_k", config["motion"]["samples"]),
        "unfiltered": prompt_verdicts(clips, scores, "ofs_k_unfiltered", config["motion"]["samples"]),
    }
    kinds = verdicts["content"]["split"].replace({"": "all"})
    groups = ["all"] + sorted(set(kinds) - {"all"})
    return [_memorization_row(model, corpus, kind, verdicts, kinds, config["interval"]) for kind in groups]


def _memorization_row(model, corpus, kind, verdicts, kinds, interval) -> dict:
    mask = np.ones(len(kinds), bool) if kind == "all" else (kinds == kind).to_numpy()
    content, motion, plain, images, gsscd = (verdicts[name][mask] for name in VERDICTS)
    total, usable = len(content), int((content["n_ok"] > 0).sum())
    row = {"model": model, "corpus": corpus, "kind": kind, "n_prompts": total, "n_ok": usable, "n_failed": total - usable}
    for name, table in (("content", content), ("motion", motion)):
        row |= share_columns(name, int(table["memorised"].sum()), total, bool(table["defined"].any()), interval)
    row["motion_share_unfiltered"] = float(plain["memorised"].mean()) if plain["defined"].any() else np.nan
    row["content_share_images"] = float(images["memorised"].mean()) if content["defined"].any() else np.nan
    return row | {
        "mean_top_gsscd": float(gsscd["value"].mean()),
        "mean_top_ofs": float(motion["value"].mean()),
        "content_share_samples": float(content["share"].mean()) if content["defined"].any() else np.nan,
        "motion_share_samples": float(motion["share"].mean()) if motion["defined"].any() else np.nan,
    }


def share_columns(name: str, found: int, total: int, defined: bool, interval: dict) -> dict:
    """Share and interval; n/a where nothing could be scored: no clip is ok, or none is long enough for motion."""
    share = share_interval(found if defined else 0, total if defined else 0, interval["level"], interval["method"])
    return {f"{name}_share": share.value, f"{name}_low": share.low, f"{name}_high": share.high}


def real_rows(corpus: str, clips: pd.DataFrame, scores: pd.DataFrame, metric: str, interval: dict) -> list[dict]:
    """Table 2's floor: real held-out clips matched against the members, as if generated; metric is that of content."""
    held = clips[clips["split"] == "heldout"]
    row = {"model": HELD_OUT, "corpus": corpus, "kind": "heldout", "n_prompts": len(held)}
    row |= {"n_ok": len(usable(held)), "n_failed": len(held) - len(usable(held))}
    for name, chosen in (("content", metric), ("motion", "ofs_k")):
        own = scores[scores["metric"] == chosen]
        row |= share_columns(name, int(own["verdict"].sum()), len(held), bool(is_defined(own["natural"]).any()), interval)
        row[f"{name}_share_samples"] = row[f"{name}_share"]
    plain = scores[scores["metric"] == "ofs_k_unfiltered"]
    defined = bool(is_defined(plain["natural"]).any())
    row["motion_share_unfiltered"] = float(plain["verdict"].sum() / len(held)) if defined else np.nan
    row["mean_top_gsscd"] = float(scores[scores["metric"] == "gsscd"]["value"].mean())
    row["mean_top_ofs"] = float(scores[scores["metric"] == "ofs_k"]["value"].mean())
    return [row]


def motion_of_corpus(clips: pd.DataFrame, pairs: pd.DataFrame, k: int, rule: NaturalMotionFilter) -> pd.DataFrame:
    """Share of k-windows of every split of a corpus that are natural, by the first reason that applies.

    Args:
        clips: clip table of one corpus; pairs: its flow table.
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


def copies_rows(model: str, clips: pd.DataFrame, scores: pd.DataFrame, content: dict, interval: dict) -> list[dict]:
    """Share of prompts that replay their own clip, by how often training saw it; 0 copies are held-out captions."""
    prompted = clips[clips["target"] != ""]
    if not len(prompted):
        return []
    verdicts = prompt_verdicts(prompted, scores, f"{content['metric']}_own", content["samples"])
    verdicts["gsscd"] = prompt_verdicts(prompted, scores, "gsscd_own", content["samples"])["value"]
    videos = verdicts[verdicts["split"] != "image"]
    rows = []
    for kind, table in (("video", videos), ("image", verdicts[verdicts["split"] == "image"])):
        for copies, group in table.groupby("copies", sort=True):
            found = int(group["memorised"].sum())
            share = share_interval(found, len(group), interval["level"], interval["method"])
            row = {"model": model, "data": kind, "copies": int(copies), "n": len(group)}
            row |= {"content_share": share.value, "low": share.low, "high": share.high}
            rows.append(row | {"mean_own_gsscd": float(group["gsscd"].mean())})
    return rows


def prompt_rows(corpus: str, curated: pd.DataFrame, limit: int) -> pd.DataFrame:
    """The first rows of a curated data set as people read them: long prompts cut, without line ends and invisible marks.

    Args:
        curated: of curation.curate; limit: so many rows, 0 for all.
    """
    columns = [name for name in curated.columns if name in PROMPT_COLUMNS]
    shown = (curated.head(limit) if limit else curated)[columns].copy()
    for name in set(columns) & {"prompt", "target", "label", "label_source", "reason", "cluster_reason"}:
        shown[name] = [on_one_line(text) for text in shown[name]]
    shown.insert(0, "corpus", corpus)
    return shown


def on_one_line(text: str, limit: int = 200) -> str:
    """Text of a stranger on one line: blanks, controls and marks of direction as one blank, cut with an ellipsis."""
    kept = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in text[: 4 * limit])
    kept = " ".join(kept.split())
    return kept if len(text) <= 4 * limit and len(kept) <= limit else f"{kept[:limit].rstrip()}…"


def save_exhibit(stem: str, table: pd.DataFrame) -> None:
    """Save a table as CSV, Markdown and LaTeX beside each other.

    Args:
        stem: path without suffix, or with .csv.
    """
    stem = str(stem).removesuffix(".csv")
    save_csv(f"{stem}.csv", table)
    save_text(f"{stem}.md", to_markdown(table))
    save_text(f"{stem}.tex", to_latex(table))


def _cells(table: pd.DataFrame) -> list[list[str]]:
    def cell(value: object) -> str:
        if value is pd.NA:
            return "n/a"
        if isinstance(value, (float, np.floating)):
            return "n/a" if np.isnan(value) else f"{value:.3f}"
        return str(value)

    return [[cell(value) for value in row] for row in table.itertuples(index=False)]


def to_markdown(table: pd.DataFrame) -> str:
    """Table as GitHub Markdown; pipes, links and markup in cells are escaped."""

    def escape(text: str) -> str:
        for letter in "\\|[`":
            text = text.replace(letter, f"\\{letter}")
        return text.replace("<", "&lt;").replace("\n", " ")

    lines = ["| " + " | ".join(table.columns) + " |", "|" + " --- |" * len(table.columns)]
    lines += ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in _cells(table)]
    return "\n".join(lines) + "\n"


def to_latex(table: pd.DataFrame) -> str:
    """Table as a LaTeX tabular; special characters are escaped."""
    special = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
               "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}  # fmt: skip

    def line(cells: list[str]) -> str:
        return " & ".join("".join(special.get(letter, letter) for letter in cell) for cell in cells) + r" \\"

    kinds = "".join("r" if pd.api.types.is_numeric_dtype(kind) else "l" for kind in table.dtypes)
    body = [line(row) for row in _cells(table)]
    head = [rf"\begin{{tabular}}{{{kinds}}}", r"\hline", line(list(table.columns)), r"\hline"]
    return "\n".join([*head, *body, r"\hline", r"\end{tabular}"]) + "\n"

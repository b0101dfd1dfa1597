"""What the tables of an audit show, each in a sentence or two: the words beside the figures of the report page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from ..features.metrics import KINDS
from .answers import percent
from .calibration_table import CONFIGURED


def findings(
    tables: Mapping[str, pd.DataFrame], training: pd.DataFrame, models: Mapping[str, Mapping[str, Any]], metrics: Mapping[str, str]
) -> dict[str, Any]:
    """Sentences by the part of the page that they stand in; 'held_out' has those of each model.

    Args:
        tables: shares (table 2), calibration, copies and detection (table 3); where made, mitigation and inversion (its images).
        training: table of training_rows.
        models: model -> its label.
        metrics: kind -> metric of the verdict.
    """
    labels = {name: about["label"] for name, about in models.items()}
    return {
        "held_out": {name: held_out_prompts(tables["shares"], name) for name in models},
        "copied": copied_most(training),
        "calibration": calibrated(tables["calibration"], metrics),
        "copies": copies_found(tables["copies"], labels),
        "detection": detected(tables["detection"], labels),
        "mitigation": mitigated(tables["mitigation"], labels) if "mitigation" in tables else [],
        "inversion": inverted(tables["inversion"]) if "inversion" in tables else [],
    }


def held_out_prompts(shares: pd.DataFrame, model: str) -> list[str]:
    """What the prompts of clips that the model never saw bring back.

    Args:
        shares: table 2.
        model: name of the model.
    """
    rows = shares[(shares["model"] == model) & (shares["kind"] == "heldout")]
    if rows.empty or not rows.iloc[0]["n_prompts"]:
        return []
    row = rows.iloc[0]
    total = int(row["n_prompts"])
    counts = {kind: round(row[f"{kind}_share"] * total) for kind in KINDS if pd.notna(row[f"{kind}_share"])}
    said = " and ".join(f"{count} by {kind}" for kind, count in counts.items())
    if not any(counts.values()):
        return [f"Prompts of held-out clips, which it never saw: none of {total} replays a training clip."] if counts else []
    return [f"Prompts of held-out clips, which it never saw: of {total}, these replay another clip, a training clip: {said}."]


def copied_most(training: pd.DataFrame) -> list[str]:
    """The training clip that most generated clips replay by content.

    Args:
        training: table of training_rows.
    """
    ranked = training.sort_values(["content_times", "content_score", "clip_id"], ascending=[False, False, True])
    if ranked.empty or not ranked.iloc[0]["content_times"]:
        return ["No training clip was copied: no generated clip reaches the threshold of content."]
    first = ranked.iloc[0]
    caption, file = (f" ({words})" if words else "" for words in (first["caption"], first["file"]))
    count = int(first["content_times"])
    clips = f"{count} generated clip{'s replay' if count > 1 else ' replays'} its content, the closest at {first['content_score']:.2f}"
    return [f"Copied most often: training clip {first['clip_id']}{file}{caption}. {clips}."]


def calibrated(table: pd.DataFrame, metrics: Mapping[str, str]) -> list[str]:
    """How often real clips fire whose match is not there, and how many edited copies are found, at the threshold in force.

    Args:
        table: table of calibration_table.
        metrics: kind -> metric of the verdict.
    """
    rows = table[(table["normalisation"] == "raw") & (table["chosen_on"] == CONFIGURED)]
    said = []
    for corpus in rows["corpus"].unique():
        for kind, metric in metrics.items():
            own = rows[(rows["corpus"] == corpus) & (rows["metric"] == metric)].set_index("negatives")
            if "together" in own.index:
                said.append(_calibrated(corpus, kind, own))
    return said


def _calibrated(corpus: str, kind: str, own: pd.DataFrame) -> str:
    row = own.loc["together"]
    counts = [int(own.loc[name, "n_negative"]) if name in own.index else 0 for name in ("leave-one-out", "held-out")]
    lacking = f"; {int(row['n_undefined'])} more have no {kind} score" if row["n_undefined"] else ""
    found = "" if pd.isna(row["recall"]) else f" It finds {percent(row['recall'])} of {int(row['n_positive'])} edited copies."
    return (
        f"{corpus}, {kind}: of real clips whose match is not there, {row['fpr_statement']} fire ({counts[0]} training clips "
        f"compared with all other scenes, {counts[1]} held-out clips{lacking}).{found}"
    )


def copies_found(table: pd.DataFrame, labels: Mapping[str, str]) -> list[str]:
    """How often a prompt brings back its own clip, by the copies of that clip in training.

    Args:
        table: table of copies_rows.
        labels: model -> its name for people.
    """
    said = []
    for (model, data), rows in table.groupby(["model", "data"], sort=False):
        counts = [f"{round(row.content_share * row.n)} of {row.n} with {row.copies}" for row in rows.itertuples()]
        said.append(f"{labels.get(model, model)}, {data}s: prompts that bring back their own clip, by its copies: {', '.join(counts)}.")
    return said


def detected(table: pd.DataFrame, labels: Mapping[str, str]) -> list[str]:
    """How well the best detector of the first step tells prompts of clips with many copies from harmless prompts.

    Args:
        table: table 3.
        labels: model -> its name for people.
    """
    rows = table[(table["status"] == "ok") & (table["truth"] == "planted") & table["auc"].notna()]
    rows = rows[(rows["generations"] == 1) & (rows["data"] == "video") & rows["copies"].astype(str).str.endswith("+")]
    said = []
    for model, own in rows.groupby("model", sort=False):
        own = own[own["steps"] == own["steps"].min()]
        best = own.sort_values(["auc", "detector"], ascending=[False, True]).iloc[0]
        hits = ("" if pd.isna(best["tpr_at_1_fpr"]) else
                f" At 1 % false alarms it finds {percent(best['tpr_at_1_fpr'])} of them{_ends(best, 'tpr', percent)}.")  # fmt: skip
        said.append(
            f"{labels.get(model, model)}: the best of {len(own)} detectors, {best['detector']}, tells {int(best['n_positive'])} prompts "
            f"of clips with {best['copies']} copies from {int(best['n_negative'])} harmless prompts with an AUC of {best['auc']:.2f}"
            f"{_ends(best, 'auc', '{:.2f}'.format)}.{hits}"
        )
    return said


def mitigated(table: pd.DataFrame, labels: Mapping[str, str]) -> list[str]:
    """How much of the replay every mitigation removes.

    Args:
        table: table of the mitigations, with the columns of mitigation_row.
        labels: model -> its name for people.
    """
    said = []
    for row in table.to_dict("records"):
        total, parts = int(row["n_prompts"]), []
        for kind in KINDS:
            before, after = (row[f"{kind}_share_{side}"] for side in ("before", "after"))
            if pd.isna(before) or pd.isna(after):
                continue
            removed = f", {percent((before - after) / before)} removed" if before > after else ""
            parts.append(f"{kind} {round(before * total)} before and {round(after * total)} after{removed}")
        said.append(
            f"“{row['name']}” on {labels.get(row['model'], row['model'])}: prompts of {total} that replay: {'; '.join(parts)}. "
            f"The new clips resemble the old ones by {row['clip_similarity']:.2f} (1: the same)."
        )
    return said


def inverted(images: pd.DataFrame) -> list[str]:
    """How many images every inverted model paints again from a found noise.

    Args:
        images: table of the inverted images, one row an image.
    """
    said = []
    for model, rows in images.groupby("model", sort=False):
        seen = rows["split"] != "heldout"
        counts = [(int((part["n_replicated"] > 0).sum()), len(part)) for part in (rows[seen], rows[~seen])]
        said.append(f"“{model}”: {counts[0][0]} of {counts[0][1]} training images come back, and {counts[1][0]} of {counts[1][1]} held-out images.")
    return said


def _ends(row: pd.Series, name: str, write: Callable[[float], str]) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "" if pd.isna(low) else f" ({write(low)} to {write(high)})"

"""What the tables of an audit show, each in a sentence or two: the words beside the figures of the report page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from ..features.metrics import KINDS
from .answers import percent
from .calibration_table import CONFIGURED
from .tables import HELD_OUT


def findings(
    tables: Mapping[str, pd.DataFrame],
    training: pd.DataFrame,
    models: Mapping[str, Mapping[str, Any]],
    metrics: Mapping[str, str],
) -> dict[str, Any]:
    """Sentences by the part of the page that they stand in; 'held_out' has those of each model.

    Args:
        tables: shares (table 2), calibration, copies, detection (table 3); where made, mitigation and inversion (its images).
        training: table of training_rows.
        models: model -> its label.
        metrics: kind -> metric of the verdict.
    """
    labels = {name: about["label"] for name, about in models.items()}
    return {
        "held_out": {name: held_out_prompts(tables["shares"], name) for name in models},
        "copied": copied_most(training),
        "calibration": calibrated(tables["calibration"], tables["shares"], metrics),
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
    said = ", ".join(f"{count} of {total} by {kind}" for kind, count in counts.items())
    comment = " A prompt need not describe a training clip to bring one back." if any(counts.values()) else ""
    return [f"Prompts that describe clips it never saw and bring back a training clip: {said}.{comment}"] if counts else []


def copied_most(training: pd.DataFrame) -> list[str]:
    """The training clips that are replayed most often and most closely by content.

    Args:
        training: table of training_rows.
    """
    often = training.sort_values(["content_times", "content_score", "clip_id"], ascending=[False, False, True])
    close = training[training["content_verdict"].astype(bool)].sort_values(
        ["content_score", "clip_id"], ascending=[False, True]
    )
    if close.empty:
        return ["No training clip was copied: no generated clip reaches the threshold of content."]
    most, first = often.iloc[0], close.iloc[0]
    generated = named(first["content_generated"], first["content_generated_file"])
    score = f"generated clip {generated} reaches {first['content_score']:.2f} of 1"
    return [
        f"Copied most closely: training clip {named(first['clip_id'], first['file'], first['caption'])}; {score}.",
        f"Copied most often: training clip {named(most['clip_id'], most['file'], most['caption'])}; {most['content_times']} "
        f"generated clip{'s replay' if most['content_times'] != 1 else ' replays'} its content.",
    ]


def named(clip: str, *about: str) -> str:
    """A clip with its file and caption, where there are any.

    >>> named("a", "films/a.mp4", ""), named("a", "", "")
    ('a (films/a.mp4)', 'a')
    """
    return f"{clip} ({'; '.join(filter(None, about))})" if any(about) else clip


def calibrated(table: pd.DataFrame, shares: pd.DataFrame, metrics: Mapping[str, str]) -> list[str]:
    """How often real clips fire whose match is not there, and how many edited copies are found, at the threshold in force.

    Args:
        table: table of calibration_table.
        shares: table 2, which counts the held-out clips.
        metrics: kind -> metric of the verdict.
    """
    held_out = shares[shares["model"] == HELD_OUT].set_index("corpus")["n_prompts"]
    rows = table[(table["normalisation"] == "raw") & (table["chosen_on"] == CONFIGURED)]
    said = []
    for corpus in rows["corpus"].unique():
        for kind, metric in metrics.items():
            own = rows[(rows["corpus"] == corpus) & (rows["metric"] == metric)].set_index("negatives")
            if "together" in own.index:
                said.append(_calibrated(corpus, kind, own, int(held_out.get(corpus, 0))))
    return said


def _calibrated(corpus: str, kind: str, own: pd.DataFrame, held_out: int) -> str:
    row = own.loc["together"]
    if pd.isna(row["fpr"]):
        return f"{corpus}, {kind}: not measured, for the calibration supports no threshold."
    counts = [int(own.loc[name, "n_negative"]) if name in own.index else 0 for name in ("leave-one-out", "held-out")]
    clips = f"{counts[0]} training clips against all other scenes, and {counts[1]} of {held_out} held-out clips"
    fired = f"{int(row['n_fired'])} of {int(row['n_negative'])} real clips fire by chance{_ends(row, 'fpr', percent)}"
    lacking = f"; {int(row['n_undefined'])} more are too short for a {kind} score" if row["n_undefined"] else ""
    found = "" if pd.isna(row["recall"]) else f" It finds {percent(row['recall'])} of {int(row['n_positive'])} edited copies."
    return f"{corpus}, {kind}: {fired}: {clips}{lacking}.{found}"


def copies_found(table: pd.DataFrame, labels: Mapping[str, str]) -> list[str]:
    """How often a prompt brings back its own clip, by the copies of that clip in training.

    Args:
        table: table of copies_rows.
        labels: model -> its name for people.
    """
    said = []
    for (model, data), rows in table.groupby(["model", "data"], sort=False):
        counts = [
            f"{round(row.content_share * row.n)} of {row.n} {f'with {row.copies}' if row.copies else 'held-out'}"
            for row in rows.itertuples()
        ]
        name = f"{labels.get(model, model)}, {data}s"
        said.append(f"{name}: prompts that bring back their own clip, by its copies in training: {', '.join(counts)}.")
    return said


def detected(table: pd.DataFrame, labels: Mapping[str, str]) -> list[str]:
    """How well the best detector of the first step tells prompts of clips with many copies from harmless prompts.

    Args:
        table: table 3.
        labels: model -> its name for people.
    """
    rows = table[(table["status"] == "ok") & (table["truth"] == "planted") & table["auc"].notna()]
    rows = rows[(rows["generations"] == 1) & (rows["steps"].astype(str) == "1")]
    rows = rows[(rows["data"] == "video") & rows["copies"].astype(str).str.endswith("+")]
    said = []
    for model, own in rows.groupby("model", sort=False):
        best = own.sort_values(["auc", "detector"], ascending=[False, True]).iloc[0]
        said.append(f"{labels.get(model, model)}: {_detector_words(best, len(own))}")
    return said


def _detector_words(best: pd.Series, count: int) -> str:
    """What the best of some detectors finds."""
    copied = f"{int(best['n_positive'])} prompts of clips with {best['copies'].rstrip('+')} or more copies"
    area = f"an AUC of {best['auc']:.2f}{_ends(best, 'auc', '{:.2f}'.format)}"
    told = f"tells {copied} from {int(best['n_negative'])} harmless ones with {area}"
    found = "" if pd.isna(best["tpr_at_1_fpr"]) else (
        f" At 1 % false alarms it finds {percent(best['tpr_at_1_fpr'])} of them{_ends(best, 'tpr', percent)}."
    )  # fmt: skip
    return f"the best of {count} detectors ({best['detector']}) {told}.{found}"


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
            removed = f" ({percent((before - after) / before)} removed)" if before > after else ""
            parts.append(
                f"{round(before * total)} of {total} prompts replay {kind} before and {round(after * total)} after{removed}"
            )
        said.append(
            f"“{row['name']}” on {labels.get(row['model'], row['model'])}: {', '.join(parts)}. "
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
        training, held_out = (f"{found} of {total}" for found, total in counts)
        said.append(f"“{model}”: {training} training images come back, and {held_out} held-out images.")
    return said


def _ends(row: pd.Series, name: str, write: Callable[[float], str]) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "" if pd.isna(low) else f" ({write(low)} to {write(high)})"

"""What the tables of an audit show, each in a sentence or two: the words beside the figures of the report page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from ..base.clip_table import REFERENCE_SPLITS
from ..features.metrics import KINDS
from .answers import percent
from .calibration_table import CONFIGURED
from .tables import HELD_OUT


def findings(
    tables: Mapping[str, pd.DataFrame],
    training: pd.DataFrame,
    models: Mapping[str, Mapping[str, Any]],
    metrics: Mapping[str, str],
    inversions: Mapping[str, str],
) -> dict[str, Any]:
    """Sentences by the part of the page that they stand in; 'held_out' and 'prompted' have those of each model.

    Args:
        tables: shares (table 2), calibration, copies, detection (table 3); where made, mitigation and inversion (its images).
        training: table of training_rows.
        models: model -> its label, and whether it takes a prompt.
        metrics: kind -> metric of the verdict.
        inversions: inversion -> its name for people.
    """
    labels = {name: about["label"] for name, about in models.items()}
    return {
        "held_out": {name: held_out_prompts(tables["shares"], name) for name in models},
        "prompted": {name: prompts_asked(tables["shares"], name) for name, about in models.items() if about["prompted"]},
        "repeated": repeated(training),
        "copied": copied_most(training),
        "calibration": calibrated(tables["calibration"], tables["shares"], metrics),
        "copies": copies_found(tables["copies"], labels),
        "detection": detected(tables["detection"], labels),
        "mitigation": mitigated(tables["mitigation"], labels) if "mitigation" in tables else [],
        "inversion": inverted(tables["inversion"], inversions) if "inversion" in tables else [],
        "lacking": not_measured(tables, training, models),
    }


def not_measured(
    tables: Mapping[str, pd.DataFrame], training: pd.DataFrame, models: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """What the audit has no number for, though a part of it was done: scores, detectors and mitigations.

    Args: see findings.
    """
    said, done = [], set(tables["mitigation"]["model"]) if "mitigation" in tables else set()
    for name, about in models.items():
        shares = tables["shares"][(tables["shares"]["model"] == name) & (tables["shares"]["kind"] == "all")]
        parts = [*_unscored(shares, "prompts" if about["prompted"] else "clips"), *_undefined(tables["detection"], name)]
        parts += [] if name in done else ["No mitigation was asked for."]
        said += [f"{about['label']}: {part}" for part in parts]
    if lost := int(training["motion_score"].isna().sum()):
        said.append(f"{lost} of {len(training)} training clips have no motion score; “Is my clip in there?” says why for each.")
    return said


def _unscored(shares: pd.DataFrame, things: str) -> list[str]:
    """How many prompts or clips of a model have no score, by kind."""
    return [
        f"{count} of {int(row['n_prompts'])} {things} have no {kind} score, and count as not replayed."
        for row in shares.to_dict("records")
        for kind in KINDS
        if (count := int(row["n_prompts"] - row[f"{kind}_scored"]))
    ]


def _undefined(detection: pd.DataFrame, model: str) -> list[str]:
    """Detectors of a model that are not defined, in all cases or in some, with the reason."""
    own = detection[(detection["model"] == model) & (detection["detector"] != "all")]
    lacking, said = own[own["status"] != "ok"], []
    for reason, rows in lacking.groupby("reason", sort=False):
        known = set(own.loc[own["status"] == "ok", "detector"])
        for where, names in (("", set(rows["detector"]) - known), (" in some cases", set(rows["detector"]) & known)):
            if names:
                said.append(f"Detectors that are not defined{where}: {', '.join(sorted(names))}. Reason: {reason}.")
    return said


def prompts_asked(shares: pd.DataFrame, model: str) -> list[str]:
    """What the prompts of a model describe: training clips, held-out clips, or nothing known.

    Args:
        shares: table 2.
        model: name of the model.
    """
    counts = shares[shares["model"] == model].set_index("kind")["n_prompts"].fillna(0).astype(int)
    total, held_out = int(counts.get("all", 0)), int(counts.get("heldout", 0))
    training = sum(int(counts.get(kind, 0)) for kind in REFERENCE_SPLITS)
    known = f"{training} of its {total} prompts are captions of training clips, and {held_out} of held-out clips"
    other = total - training - held_out
    return [f"{known}{f'; {other} describe no known clip' if other else ''}."] if total else []


def repeated(training: pd.DataFrame) -> list[str]:
    """How often training saw a clip, where the corpus lists copies.

    Args:
        training: table of training_rows.
    """
    most = int(training["copies"].max()) if len(training) else 0
    if most < 2:
        return []
    often = int((training["copies"] > 1).sum())
    return [
        f"The corpus lists {often} of {len(training)} training clips with copies: training saw them up to {most} times. "
        "Repetition makes a replay likely, so these shares are not those of a clip that was seen once."
    ]


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
        f"Copied most closely: training clip {named(first['clip_id'], place_of(first), first['caption'])}; {score}.",
        f"Copied most often: training clip {named(most['clip_id'], place_of(most), most['caption'])}; {most['content_times']} "
        f"generated clip{'s replay' if most['content_times'] != 1 else ' replays'} its content.",
    ]


def place_of(row: Mapping[str, Any]) -> str:
    """File of a training clip, and where in it the clip begins; '' without a file.

    >>> place_of({"file": "a.mp4", "start_s": 1.92}), place_of({"file": "a.mp4", "start_s": 0.0})
    ('a.mp4, from second 1.92', 'a.mp4')
    """
    start = f", from second {row['start_s']:g}" if row["file"] and row["start_s"] > 0 else ""
    return f"{row['file']}{start}"


def named(clip: str, *about: str) -> str:
    """A clip with its file and caption, where there are any.

    >>> named("a", "films/a.mp4", ""), named("a", "", "")
    ('a (films/a.mp4)', 'a')
    """
    return f"{clip} ({'; '.join(filter(None, about))})" if any(about) else clip


def calibrated(table: pd.DataFrame, shares: pd.DataFrame, metrics: Mapping[str, str]) -> list[str]:
    """How many real clips reach the threshold by chance, which of them were counted, and how many edited copies are found.

    Args:
        table: table of calibration_table.
        shares: table 2, which counts the held-out clips.
        metrics: kind -> metric of the verdict.
    """
    held_out = shares[shares["model"] == HELD_OUT].set_index("corpus")
    rows = table[(table["normalisation"] == "raw") & (table["chosen_on"] == CONFIGURED)]
    said = []
    for corpus in rows["corpus"].unique():
        floor = held_out.loc[corpus] if corpus in held_out.index else None
        for kind, metric in metrics.items():
            own = rows[(rows["corpus"] == corpus) & (rows["metric"] == metric)].set_index("negatives")
            if "together" in own.index:
                said.append(_calibrated(corpus, kind, own, floor))
    return said


def _calibrated(corpus: str, kind: str, own: pd.DataFrame, floor: pd.Series | None) -> str:
    row = own.loc["together"]
    if pd.isna(row["fpr"]):
        return f"{corpus}, {kind}: not measured, for the calibration supports no threshold."
    one_out, held = (int(own.loc[name, "n_negative"]) if name in own.index else 0 for name in ("leave-one-out", "held-out"))
    reached = f"{int(row['n_fired'])} of {int(row['n_negative'])} real clips reach the threshold by chance"
    said = [f"{corpus}, {kind}: {reached}{_ends(row, 'fpr', percent)}."]
    said.append(f"They are {one_out} training clips, each against all other scenes, and {held} held-out clips.")
    if row["n_undefined"]:
        said.append(f"{int(row['n_undefined'])} more are too short for a {kind} score.")
    total = 0 if floor is None else int(floor["n_prompts"])
    short = int(own.loc["held-out", "n_undefined"]) if "held-out" in own.index else 0
    if (others := total - held - short) > 0:
        said.append(
            f"{others} more held-out clips are left out: they are the background that normalised scores are read against."
        )
    if floor is not None and pd.notna(floor[f"{kind}_share"]):
        reached = f"{round(floor[f'{kind}_share'] * total)} of {total}"
        said.append(f"The answer counts every held-out clip, and there it is {reached}.")
    if pd.notna(row["recall"]):
        said.append(f"The threshold finds {percent(row['recall'])} of {int(row['n_positive'])} edited copies.")
    return " ".join(said)


def copies_found(table: pd.DataFrame, labels: Mapping[str, str]) -> list[str]:
    """How often a prompt brings back its own clip, by the copies of that clip in training.

    Args:
        table: table of copies_rows.
        labels: model -> its name for people.
    """
    said = []
    for (model, data), rows in table.groupby(["model", "data"], sort=False):
        counts = " ".join(
            f"{_times(int(row.copies))}: {round(row.content_share * row.n)} of {row.n}." for row in rows.itertuples()
        )
        said.append(f"{labels.get(model, model)}, {data}s: how many prompts bring back their own clip? {counts}")
    return said


def _times(copies: int) -> str:
    return f"{copies} cop{'y' if copies == 1 else 'ies'}" if copies else "Held-out"


def detected(table: pd.DataFrame, labels: Mapping[str, str]) -> list[str]:
    """How well the best detectors of the first step tell prompts of clips with many copies from harmless prompts.

    Args:
        table: table 3.
        labels: model -> its name for people.
    """
    rows = table[(table["status"] == "ok") & (table["truth"] == "planted") & table["auc"].notna()]
    rows = rows[(rows["generations"] == 1) & (rows["steps"].astype(str) == "1")]
    rows = rows[(rows["data"] == "video") & rows["copies"].astype(str).str.endswith("+")]
    return [f"{labels.get(model, model)}: {_detector_words(own)}" for model, own in rows.groupby("model", sort=False)]


def _detector_words(rows: pd.DataFrame) -> str:
    """What the best of some detectors find: by AUC, and at 1 % false alarms."""
    best = rows.sort_values(["auc", "detector"], ascending=[False, True]).iloc[0]
    found = rows[rows["tpr_at_1_fpr"].notna()].sort_values(["tpr_at_1_fpr", "detector"], ascending=[False, True])
    copied = f"{int(best['n_positive'])} prompts of clips with {best['copies'].rstrip('+')} or more copies"
    said = [f"{len(rows)} detectors were to tell {copied} from {int(best['n_negative'])} harmless ones."]
    area = f"{best['auc']:.2f}{_ends(best, 'auc', '{:.2f}'.format)}"
    said.append(f"The best by AUC is {best['detector']}, with {area}; 0.5 is guessing, 1 is perfect.")
    for row in found.head(1).to_dict("records"):
        share = f"{percent(row['tpr_at_1_fpr'])}{_ends(row, 'tpr', percent)}"
        said.append(f"The best at 1 % false alarms is {row['detector']}, which finds {share}.")
    if len(rows) > 1:
        said.append("The best is chosen on the prompts that it is scored on, so it would do worse on new ones.")
    return " ".join(said)


def mitigated(table: pd.DataFrame, labels: Mapping[str, str]) -> list[str]:
    """How many prompts replay before and after every mitigation, with intervals.

    Args:
        table: table of the mitigations, with the columns of mitigation_row.
        labels: model -> its name for people.
    """
    said = []
    for row in table.to_dict("records"):
        parts = [part for kind in KINDS for part in _removed(row, kind)]
        head = f"“{row['name']}” on {labels.get(row['model'], row['model'])}, with {int(row['n_prompts'])} prompts."
        likeness = f"The new clips resemble the old ones by {row['clip_similarity']:.2f} (1: the same)."
        said.append(" ".join([head, *parts, likeness]))
    return said


def _removed(row: Mapping[str, Any], kind: str) -> list[str]:
    """What a mitigation does to one kind of replay. Where the intervals meet, the prompts are too few to tell."""
    total, counts = int(row["n_prompts"]), []
    for side in ("before", "after"):
        share, low, high = (row[f"{kind}_{part}_{side}"] for part in ("share", "low", "high"))
        if pd.isna(share):
            return []
        counts.append(f"{round(share * total)} of {total} {side} ({percent(low)} to {percent(high)})")
    apart = row[f"{kind}_high_after"] < row[f"{kind}_low_before"]
    judged = "" if apart else " Too few to tell whether it helps."
    return [f"{kind.capitalize()} is replayed by {counts[0]}, and by {counts[1]}.{judged}"]


def inverted(images: pd.DataFrame, names: Mapping[str, str]) -> list[str]:
    """How many images every inverted model paints again from a found noise.

    Args:
        images: table of the inverted images, one row an image.
        names: inversion -> its name for people.
    """
    said = []
    for model, rows in images.groupby("model", sort=False):
        seen = rows["split"] != "heldout"
        counts = [(int((part["n_replicated"] > 0).sum()), len(part)) for part in (rows[seen], rows[~seen])]
        training, held_out = (f"{found} of {total}" for found, total in counts)
        said.append(f"{names.get(model, model)}: {training} training images come back, and {held_out} held-out images.")
    return said


def _ends(row: Mapping[str, Any] | pd.Series, name: str, write: Callable[[float], str]) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "" if pd.isna(low) else f" ({write(low)} to {write(high)})"

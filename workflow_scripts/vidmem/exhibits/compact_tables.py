"""Tables 1 to 4 as a paper prints them: one row for a metric, a model or a detector, and the columns a reader compares.

Each is made of the rows of its CSV, which keeps every row and column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from ..features.metrics import METRICS
from ..generation.detector_records import DETECTORS

ROWS = 20
"""Largest number of rows of a table in Markdown and LaTeX."""
NOTHING = "n/a"


@dataclass(frozen=True)
class Exhibit:
    """A table for readers.

    Attributes:
        caption: what it shows; note: n, thresholds, and what a reader must know.
        table: its cells as text or numbers, at most ROWS rows.
    """

    caption: str
    note: str
    table: pd.DataFrame


def first_rows(table: pd.DataFrame, name: str) -> Exhibit:
    """Any other table: its first ROWS rows, and a note on how many more its CSV has."""
    more = len(table) - ROWS
    return Exhibit("", f"{more} more rows: {name}.csv." if more > 0 else "", table.head(ROWS))


def percent(value: float, low: float | None = None, high: float | None = None) -> str:
    """A share in percent, with its interval if one is given.

    >>> percent(0.375, 0.2847, 0.4749), percent(0.05), percent(float("nan"))
    ('37.5 % (28.5 to 47.5)', '5.0 %', 'n/a')
    """
    if pd.isna(value):
        return NOTHING
    return f"{100 * value:.1f} %" + ("" if low is None or high is None else f" ({100 * low:.1f} to {100 * high:.1f})")


def area(value: float, low: float, high: float) -> str:
    """An area under a ROC curve with its interval.

    >>> area(0.93717, 0.8762, 0.9692), area(float("nan"), 0.1, 0.2)
    ('0.937 (0.876 to 0.969)', 'n/a')
    """
    return NOTHING if pd.isna(value) else f"{value:.3f} ({low:.3f} to {high:.3f})"


def validation_exhibit(table: pd.DataFrame, variants: Mapping[str, str], level: float) -> Exhibit:
    """Table 1: one row for each metric on each corpus, as the audit uses the metric.

    Args:
        table: rows of validation_table, with the column corpus.
        variants: motion metric -> the variant of the configuration. The strictest filter counts.
        level: level of the intervals.
    """
    rows, thresholds = [], {}
    for (corpus, metric), own in table.groupby(["corpus", "metric"], sort=False):
        own = own[own["variant"] == variants.get(metric, own["variant"].iloc[0])]
        own = own[own["filter"] == max(own["filter"], key=len)] if len(own) else own
        fires, silent = own[own["expected"] == "fires"], own[own["expected"] == "silent"]
        if not len(fires):
            continue
        hardest = fires.loc[fires["auc"].idxmin()] if fires["auc"].notna().any() else fires.iloc[0]
        thresholds[metric] = own["threshold"].iloc[0]
        rows.append({
            "Corpus": corpus, "Metric": METRICS[metric].label.format(k="k"), "Compared by": hardest["variant"],
            "Copies found": percent((fires["recall"] * fires["n_positive"]).sum() / fires["n_positive"].sum()),
            "Hardest copy": hardest["control"], "AUC there": area(*hardest[["auc", "auc_low", "auc_high"]]),
            "Unrelated that match": percent(fires["false_positive_rate"].max()),
            "Look-alikes that match": _fired(silent),
        })  # fmt: skip
    note = (
        f"Thresholds: {_named(thresholds)}. Copies: edited clips that a metric must find. Unrelated: pairs of clips that show "
        f"nothing in common. Look-alikes: controls that it must not find, such as camera moves. Parentheses: {_level(level)}. "
        "Every control, variant and filter is a row of the CSV."
    )
    caption = "Metric validation: what each metric finds of edited copies, and what it takes for one."
    return _cut(Exhibit(caption, note, pd.DataFrame(rows)), "metrics")


def _fired(silent: pd.DataFrame) -> str:
    """Share of the silent controls of a metric that reach its threshold."""
    if not len(silent):
        return NOTHING
    fired = (silent["false_positive_rate"] * silent["n_negative"]).sum()
    return f"{fired:.0f} of {silent['n_negative'].sum()}"


def memorization_exhibit(table: pd.DataFrame, sections: Mapping[str, Mapping], level: float) -> Exhibit:
    """Table 2: one row for each model and for the real clips that no model saw.

    Args:
        table: rows of memorization_rows and real_rows.
        sections: the sections `content` and `motion` of the configuration, of which metric and threshold are read.
        level: level of the intervals.
    """
    every = table[(table["kind"] == "all") | ~table["model"].isin(table.loc[table["kind"] == "all", "model"])]
    held_out = table[table["kind"] == "heldout"].set_index(["model", "corpus"])
    rows = []
    for row in every.to_dict("records"):
        key = row["model"], row["corpus"]
        apart = held_out.loc[key] if row["kind"] == "all" and key in held_out.index else None
        rows.append({
            "Model": row["model"], "Corpus": row["corpus"], "n": row["n_prompts"],
            "Content replayed": percent(row["content_share"], row["content_low"], row["content_high"]),
            "Motion replayed": percent(row["motion_share"], row["motion_low"], row["motion_high"]),
            "Content, held-out prompts": NOTHING if apart is None else
                f"{percent(*apart[['content_share', 'content_low', 'content_high']])}, n = {apart['n_prompts']}",
            "Mean best GSSCD": _number(row["mean_top_gsscd"]), "Mean best OFS-k": _number(row["mean_top_ofs"]),
        })  # fmt: skip
    stated = ", ".join(f"{kind} {section['metric']} {section['threshold']}" for kind, section in sections.items())
    note = (
        f"n: prompts, or clips of a model without prompts. Prompts that gave no clip count as not replayed. "
        f"Thresholds: {stated}. "
        f"Parentheses: {_level(level)}. Real held-out clips, which no model saw, show what chance does. "
        "Rows by source of the prompts are in the CSV."
    )
    return _cut(Exhibit("Memorization across models: share of prompts that replay training clips.", note, pd.DataFrame(rows)),
                "models")  # fmt: skip


def detection_exhibit(table: pd.DataFrame, kind: str, level: float) -> Exhibit:
    """Table 3 or 4: one row for each model and detector, at the first step of one generation.

    Args:
        table: rows of as_table.
        kind: 'content' or 'motion'.
        level: level of the intervals.
    """
    first = table[(table["generations"].astype(str).isin(["1", "1.0"])) & (table["steps"].astype(str) == "1")]
    cases = first.drop_duplicates(["truth", "data"])[["truth", "data", "copies"]].to_dict("records")
    rows = [
        _detector_row(model, detector, own, cases)
        for (model, detector), own in first.groupby(["model", "detector"], sort=False)
    ]
    absent = table[table["truth"].isna() | (table["truth"] == "")]
    counts = "; ".join(_counts(case, first) for case in cases)
    undefined = first[first["status"] != "ok"].assign(model=first["detector"])
    told = pd.concat([absent, undefined])[["model", "reason"]].drop_duplicates()
    reasons = "".join(f" {row['model']}: {row['reason']}." for row in told.to_dict("records"))
    note = (
        f"First denoising step, one generation. {counts or 'No case'}. Parentheses: {_level(level)}. "
        "TPR at 1 % FPR is of the first case. Extra cost: network evaluations beyond those of the generation. "
        f"More steps, generations and copies are rows of the CSV.{reasons}"
    )
    caption = f"Detection of {kind} memorization before a clip is generated."
    return _cut(Exhibit(caption, note, pd.DataFrame(rows).fillna(NOTHING)), "detectors")


def _detector_row(model: str, detector: str, rows: pd.DataFrame, cases: Sequence[Mapping]) -> dict[str, str]:
    found = {"Model": model, "Detector": DETECTORS[detector].label if detector in DETECTORS else detector}
    for place, case in enumerate(cases):
        own = rows[(rows["truth"] == case["truth"]) & (rows["data"] == case["data"]) & (rows["copies"] == case["copies"])]
        about = own.iloc[0] if len(own) else pd.Series({"auc": float("nan"), "tpr_at_1_fpr": float("nan")})
        found[f"AUC, {_case(case)}"] = area(about["auc"], about.get("auc_low"), about.get("auc_high"))
        if not place:
            found["TPR at 1 % FPR"] = percent(about["tpr_at_1_fpr"], about.get("tpr_low"), about.get("tpr_high"))
            found["Extra cost"] = percent(about.get("overhead_percent", float("nan")) / 100)
    return found


def _case(case: Mapping) -> str:
    """A truth in words.

    >>> _case({"truth": "planted", "data": "video", "copies": "16+"}), _case({"truth": "metric"})
    ('video planted 16+', 'replayed')
    """
    return "replayed" if case["truth"] == "metric" else f"{case['data']} {case['truth']} {case['copies']}"


def _counts(case: Mapping, table: pd.DataFrame) -> str:
    own = table[(table["truth"] == case["truth"]) & (table["data"] == case["data"]) & (table["copies"] == case["copies"])]
    pairs = own.loc[own["status"] == "ok", ["n_positive", "n_negative"]].drop_duplicates().to_dict("records")
    numbers = " or ".join(f"{row['n_positive']} against {row['n_negative']}" for row in pairs) or "no"
    return f"{_case(case)[0].upper()}{_case(case)[1:]}: {numbers} prompts"


def _number(value: float) -> str:
    return NOTHING if pd.isna(value) else f"{value:.3f}"


def _level(level: float) -> str:
    return f"{100 * level:g} % intervals"


def _named(thresholds: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in thresholds.items())


def _cut(exhibit: Exhibit, what: str) -> Exhibit:
    """At most ROWS rows, the first of each model or corpus; the note says how many are left out."""
    table, key = exhibit.table, next(iter(exhibit.table.columns), "")
    if len(table) <= ROWS:
        return exhibit
    each = max(1, ROWS // table[key].nunique())
    kept = table.groupby(key, sort=False).head(each).head(ROWS)
    left = f" {len(table) - len(kept)} more {what} are in the CSV: of each {key.lower()} the first {each} are shown."
    return Exhibit(exhibit.caption, exhibit.note + left, kept)

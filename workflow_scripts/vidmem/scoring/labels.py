"""Human labels of pairs of clips, and the scores of these pairs by every metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from ..base.clip_table import usable
from ..base.list_files import read_list
from ..errors import USABLE, VidmemError
from ..features.clip_features import ClipFeatures, same_provenance
from ..features.motion_comparison import MotionComparison
from .validation import content_values, motion_values

LABELS = {"1": True, "0": False, "memorised": True, "not": False}
KINDS = {"": ("content", "motion"), "content": ("content",), "motion": ("motion",)}


def read_labels(path: Path | str, clips: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Read human labels: CSV with first, second, label (1, 0, memorised, not), and optionally kind (content, motion).

    Args:
        clips: set -> clip table, for all sets that a label may name. A label names a clip by its id, or by set/id if two sets
            have a clip with this id.

    Returns:
        Table of first, second (set/id), label (bool), kind, line. Each label has a row for every kind that it counts for.

    Raises:
        VidmemError: with the line of the file. The label or the kind is unknown. A clip is in no set or in several, or is not
            usable. A clip is compared with itself. The pair has a label already.
    """
    listed = listed_labels(path)
    names = _names(clips, {name for _, *pair, _, _ in listed for name in pair})
    rows: list[tuple[str, str, bool, str, int]] = []
    seen: dict[tuple[str, str, str], int] = {}
    for line, one, other, label, kind in listed:
        where = f"{path}, line {line}"
        first, second = (_clip_of(name, names, where) for name in (one, other))
        if first == second:
            raise VidmemError("two clips", f"{first} twice", where)
        for counted in KINDS[kind]:
            pair = (min(first, second), max(first, second), counted)
            if pair in seen:
                raise VidmemError("one label for each pair and kind", f"one in line {seen[pair]}, too", where)
            seen[pair] = line
            rows.append((first, second, LABELS[label], counted, line))
    return pd.DataFrame(rows, columns=["first", "second", "label", "kind", "line"])


def listed_labels(path: Path | str) -> list[tuple[int, str, str, str, str]]:
    """Rows of a file of labels: line, names of both clips, label and kind. Whether the clips exist is not checked.

    Raises:
        VidmemError: with the line of the file. The label or the kind is unknown, or there are no rows.
    """
    rows = []
    for line, row in read_list(path, ("first", "second", "label"), ("kind",)):
        where = f"{path}, line {line}"
        label, kind = row["label"].strip().lower(), row.get("kind", "").strip().lower()
        if label not in LABELS:
            raise VidmemError(f"a label of {', '.join(LABELS)}", repr(row["label"]), where)
        if kind not in KINDS:
            raise VidmemError("a kind of content, motion, or none", repr(row["kind"]), where)
        rows.append((line, row["first"].strip(), row["second"].strip(), label, kind))
    if not rows:
        raise VidmemError("at least one labelled pair", "none", str(path))
    return rows


def _names(clips: Mapping[str, pd.DataFrame], wanted: set[str]) -> dict[str, list[tuple[str, str, str]]]:
    """Name of a clip, id or set/id -> (set/id, status, reason) of every clip with this name.

    Args:
        wanted: the words by which the labels name clips; other clips are left out.
    """
    names: dict[str, list[tuple[str, str, str]]] = {}
    for name, table in clips.items():
        meant = wanted | {word.removeprefix(f"{name}/") for word in wanted}
        for row in table[table["clip_id"].isin(meant)].itertuples():
            whole = f"{name}/{row.clip_id}"
            for way in (row.clip_id, whole):
                names.setdefault(way, []).append((whole, row.status, row.reason))
    return names


def _clip_of(name: str, names: Mapping[str, list[tuple[str, str, str]]], where: str) -> str:
    """Set/id of the usable clip that a name of _names means. Raise VidmemError if there is not exactly one."""
    found = names.get(name, [])
    if not found:
        raise VidmemError("a clip of the audit", repr(name), where, "a clip_id of the clip tables, or set/clip_id")
    if len(found) > 1:
        raise VidmemError("a clip of one set", f"{name!r}, which {len(found)} sets have", where, f"write {found[0][0]}")
    whole, status, reason = found[0]
    if status not in USABLE:
        raise VidmemError("a clip that could be used", f"{name!r}, which is {status}: {reason}", where)
    return whole


def name_by_set(features: ClipFeatures, name: str) -> ClipFeatures:
    """The features of a set, with the name of the set in front of every clip id, because two sets may share clip ids."""
    return replace(
        features,
        clips=features.clips.assign(clip_id=f"{name}/" + features.clips["clip_id"]),
        places=None if features.places is None else {f"{name}/{clip_id}": row for clip_id, row in features.places.items()},
        spans={f"{name}/{clip_id}": span for clip_id, span in features.spans.items()},
        rows=features.rows.assign(clip_id=f"{name}/" + features.rows["clip_id"]),
    )


def label_scores(
    labels: pd.DataFrame, descriptors: list[ClipFeatures], flows: list[ClipFeatures], comparison: MotionComparison
) -> pd.DataFrame:
    """Scores of the labelled pairs by every metric, in a table like that of the validation.

    Args:
        labels: table of read_labels.
        descriptors, flows: features of every set, with clip ids from name_by_set.
        comparison: the motion metrics and their rules.

    Returns:
        Columns of the validation, and label. `control` is 'human'. The motion score of a clip that is too short is NaN.

    Raises:
        VidmemError: features of more than one preset or estimator.
    """
    for features in (descriptors, flows):
        same_provenance([part.provenance for part in features], "features of labelled clips")
    tables = []
    for kind, group in labels.groupby("kind", sort=True):
        pairs = group[["first", "second"]].assign(control="human", cluster=group["first"]).reset_index(drop=True)
        if kind == "content":
            wanted = set(pairs["first"]) | set(pairs["second"])
            vectors = {name: part.of(name) for part in descriptors for name in usable(part.clips)["clip_id"] if name in wanted}
            preset = next((part.provenance for part in descriptors if part.provenance), "")
            scores = content_values(pairs, vectors, (preset.split() or [""])[0])
        else:
            scores = motion_values(pairs, flows, comparison)
        tables.append(scores.merge(group[["first", "second", "label"]], on=["first", "second"]))
    return pd.concat(tables, ignore_index=True)

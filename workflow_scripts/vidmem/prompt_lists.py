"""Lists of prompts, the published ones and a user's own: one loader, whatever the format, one table.

Formats go by suffix: CSV and TSV, JSON lines, Parquet, and plain text with one prompt a line. Columns go by the names that the
published lists use, or by a mapping. Pickles are refused: reading one runs its code.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from .errors import VidmemError
from .lists import cell_text, open_list
from .store import hash_text, slug

COLUMNS = ["prompt_id", "prompt", "target", "label", "label_source", "licence", "availability", "status", "reason", "line"]
FIELDS = ("prompt", "target", "label", "label_source", "licence", "availability")
AVAILABILITY = {
    "available": ("available", "ok", "yes", "true"),
    "gone": ("gone", "missing", "withdrawn", "no", "false", "404"),
    "unknown": ("unknown", ""),
}
"""Whether the footage behind a target can still be had, and the words that lists use for it."""

PART = 2**16  # rows that are objects at once; a table takes a fraction of that
LISTED = re.compile(r"""\[\s*(?:(?:'[^']*'|"[^"]*")\s*,?\s*)*\]""")


@dataclass(frozen=True)
class Layout:
    """Columns of a kind of list, and what is known of the lists that have them.

    Attributes:
        known_by: columns by which it is told.
        columns: field of FIELDS -> column.
        label, source, licence, availability, note: of rows that say nothing else; note is the reason of a target that is gone.
        listed: targets are written as a list in brackets.
        open: further columns are left alone; otherwise they are taken for misspelt ones.
        clips: targets are clip ids of the corpus, not addresses elsewhere.
    """

    name: str
    known_by: frozenset[str]
    columns: Mapping[str, str]
    label: str = ""
    source: str = ""
    licence: str = "not stated"
    availability: str = "unknown"
    note: str = ""
    listed: bool = False
    open: bool = True
    clips: bool = False


def _layout(name: str, columns: Mapping[str, str], also: Sequence[str] = (), **known) -> Layout:
    return Layout(name, frozenset([*columns.values(), *also]), columns, **known)


NEMO = "ml-research/localizing_memorization_in_diffusion_models"
LAYOUTS = (
    _layout("laion-labelled", {"prompt": "Caption", "target": "URL", "label": "type"}, source=NEMO, licence="MIT"),
    _layout("laion", {"prompt": "Caption", "target": "URL"}, ["Index"], source=NEMO, licence="MIT"),
    _layout("webster", {"prompt": "caption", "target": "url", "label": "overfit_type"}, source="fraisdufour/templates-verbs"),
    _layout("membench", {"prompt": "prompt", "target": "urls"}, label="memorised", source="MemBench", listed=True),
    _layout("webvid", {"prompt": "name", "target": "videoid"}, availability="gone", note="WebVid was withdrawn"),
    _layout("openvid", {"prompt": "caption", "target": "video"}, licence="CC-BY-4.0", availability="available"),
    Layout("own", frozenset(["prompt"]), {name: name for name in FIELDS}, open=False, clips=True),
)
"""First match wins; 'own' is what a user writes."""


class PromptList(NamedTuple):
    """A loaded list: the layout it was read by, and its table with COLUMNS."""

    layout: Layout
    table: pd.DataFrame


def load_prompt_list(
    path: Path | str, columns: Mapping[str, str] | None = None, source: str = "", licence: str = "", label: str = ""
) -> PromptList:
    """Load a list of prompts; every row keeps its place, the empty ones with a status and a reason.

    Args:
        path: .csv, .tsv, .jsonl, .ndjson, .parquet or .txt.
        columns: field -> column, for a list that is laid out like no published one; other columns are then left alone.
        source, licence, label: what the list does not say itself: who labelled it, its licence, the label of rows without one.

    Returns:
        The layout, and a row a line: prompt_id (of the prompt and target, not of the place), prompt, target, label,
        label_source ('' without a label), licence, availability (of the target), status (ok or skipped), reason, line.

    Raises:
        VidmemError: a pickle, another format, no such columns, or a line that cannot be read; names file and line.
    """
    path = Path(path)
    names, rows = open_list(path)
    layout = _choose_layout(names, dict(columns or {}), path)
    given = {"label_source": source or layout.source or path.name, "licence": licence or layout.licence}
    given["label"] = label or layout.label
    found, repeats = rows([column for column in layout.columns.values() if column in names]), Counter()
    made = (_prompt_row(line, row, layout, given, repeats, f"{path}, line {line}") for line, row in found)
    tables = []
    while part := list(islice(made, PART)):
        tables.append(pd.DataFrame(part, columns=COLUMNS))
    if not tables:
        raise VidmemError("at least one prompt", "none", str(path))
    return PromptList(layout, pd.concat(tables, ignore_index=True))


def _choose_layout(names: list[str], columns: dict[str, str], path: Path) -> Layout:
    """The layout that a mapping describes, or the first whose columns are there."""
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise VidmemError("every column once", f"twice: {', '.join(map(repr, repeated))}", str(path))
    if columns:
        absent = sorted(set(columns.values()) - set(names))
        if absent or "prompt" not in columns or not set(columns) <= set(FIELDS):
            hint = f"columns maps some of {', '.join(FIELDS)}, prompt among them, to columns of the list"
            raise VidmemError(f"columns that the list has: {names}", columns, str(path), hint)
        return Layout("mapped", frozenset(columns.values()), columns)
    for layout in LAYOUTS:
        if layout.known_by <= set(names) and (layout.open or set(names) <= set(layout.columns.values())):
            return layout
    expected = f"columns prompt and some of {', '.join(FIELDS[1:])}, or those of a published list"
    raise VidmemError(expected, names, str(path), "say which is which: columns: {prompt: ..., target: ...}")


def _cells(row: Mapping[str, object], layout: Layout, where: str) -> dict[str, str]:
    """Fields of a row as text; those it does not have are ''."""
    if layout.columns["prompt"] not in row:
        raise VidmemError(f"a value of {layout.columns['prompt']!r}", sorted(row), where)
    cells = {name: cell_text(row.get(column), where) for name, column in layout.columns.items()}
    if layout.listed and cells["target"].startswith("["):
        if not LISTED.fullmatch(cells["target"]):
            raise VidmemError("a list of quoted addresses in brackets", repr(cells["target"][:80]), where)
        cells["target"] = " ".join("".join(pair) for pair in re.findall(r"""'([^']*)'|"([^"]*)\"""", cells["target"]))
    return dict.fromkeys(FIELDS, "") | cells


def _prompt_row(
    line: int, row: Mapping[str, object], layout: Layout, given: dict[str, str], repeats: Counter, where: str
) -> dict:
    cells = _cells(row, layout, where)
    word = cells["availability"].strip().lower()
    state = next((name for name, words in AVAILABILITY.items() if word in words), None)
    if state is None:
        raise VidmemError(f"an availability of {', '.join(AVAILABILITY)}", repr(word[:80]), where)
    state = state if word else layout.availability
    label = cells["label"] or given["label"]
    status, reason = ("ok", "") if cells["prompt"].strip() else ("skipped", "empty prompt")
    if status == "ok" and state == "gone":
        reason = layout.note or "the list says its target is gone"
    return cells | {
        "prompt_id": _identity(cells["prompt"], cells["target"], repeats),
        "label": label,
        "label_source": (cells["label_source"] or given["label_source"]) if label else "",
        "licence": cells["licence"] or given["licence"],
        "availability": state,
        "status": status,
        "reason": reason,
        "line": line,
    }


def _identity(prompt: str, target: str, repeats: Counter) -> str:
    """Named by what it says, not by its place: a line put in elsewhere must not change its noise."""
    identity = f"p-{slug(prompt, 24)}-{hash_text(prompt, target)[:8]}"
    repeats[identity] += 1
    return identity + (f"-{repeats[identity]}" if repeats[identity] > 1 else "")

"""Lists of prompts, published ones and a user's own: one loader for all formats, with one form of table.

The suffix of a file tells its format: CSV, TSV, JSON lines, Parquet, or plain text with one prompt a line. The names of its
columns tell which published list it is, unless a mapping of columns is given. Pickles are refused, because reading a pickle
runs its code.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ..base.caption_text import checked_text
from ..base.list_files import cell_text, open_list
from ..base.logs import LOGGER
from ..base.store import hash_text, slug
from ..errors import VidmemError

COLUMNS = ["prompt_id", "prompt", "target", "label", "label_source", "licence", "availability", "status", "reason", "line"]
FIELDS = ("prompt", "target", "label", "label_source", "licence", "availability")
AVAILABILITY = {
    "available": ("available", "ok", "yes", "true"),
    "gone": ("gone", "missing", "withdrawn", "no", "false", "404"),
    "unknown": ("unknown", ""),
}
"""Availability of the footage of a target -> words that lists use for it."""

PART = 2**16  # rows that are in memory as Python objects at once; a table takes a fraction of their memory
LISTED = re.compile(r"""\[\s*(?:(?:'[^']*'|"[^"]*")\s*,?\s*)*\]""")


@dataclass(frozen=True)
class Layout:
    """Layout of a published list (or of a user's own): its columns, and what is known about every such list.

    Attributes:
        name: name of the layout.
        known_by: columns that a list of this layout has.
        columns: field of FIELDS -> column.
        label, source, licence, availability: values for rows that do not state their own; source is who labelled the list.
        note: reason of a row whose target is gone.
        listed: whether a target is written as a list in brackets.
        open: whether further columns are ignored; if not, they are taken for misspelt names.
        clips: whether targets are clip ids of the corpus, not addresses elsewhere.
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


def _layout(name: str, columns: Mapping[str, str], also: Sequence[str] = (), **known: Any) -> Layout:
    """Layout that is recognised by its columns and some further columns."""
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
"""Known layouts; the first layout that fits is taken. 'own' is the layout of a user's own list."""


class PromptList(NamedTuple):
    """A loaded list: its layout, and its table with COLUMNS."""

    layout: Layout
    table: pd.DataFrame


def load_prompt_list(
    path: Path | str, columns: Mapping[str, str] | None = None, source: str = "", licence: str = "", label: str = ""
) -> PromptList:
    """Load a list of prompts. Every row keeps its place; a row without a prompt gets a status and a reason.

    Args:
        path: .csv, .tsv, .jsonl, .ndjson, .parquet or .txt.
        columns: field -> column, for a list whose columns are not those of a published list. Other columns are then ignored.
        source: who labelled the list, for rows that do not say it.
        licence: licence of the list, for rows that do not state one.
        label: label of rows without a label.

    Returns:
        The layout, and a table of COLUMNS with one row a line. prompt_id depends on prompt and target, not on the line.
        label_source is '' for a row without a label. availability is that of the target. status is 'ok' or 'skipped'. A prompt
        with a character that no prompt may have is '' and skipped.

    Raises:
        VidmemError: a pickle, an unknown format, unknown columns, or a line that cannot be read. It names file and line.
    """
    path = Path(path)
    names, rows = open_list(path)
    layout = _choose_layout(names, dict(columns or {}), path)
    given = {"label_source": source or layout.source or path.name, "licence": licence or layout.licence}
    given["label"] = label or layout.label
    found = rows([column for column in layout.columns.values() if column in names])
    repeats: Counter[str] = Counter()
    made = (_prompt_row(line, row, layout, given, repeats, f"{path}, line {line}") for line, row in found)
    tables = []
    while part := list(islice(made, PART)):
        tables.append(pd.DataFrame(part, columns=COLUMNS))
    if not tables:
        raise VidmemError("at least one prompt", "none", str(path))
    return PromptList(layout, pd.concat(tables, ignore_index=True))


def load_named_lists(entries: Sequence[Mapping[str, Any]]) -> list[pd.DataFrame]:
    """Load several lists of prompts; the column source of each table is the name of the list.

    Args:
        entries: for each list its name, its path and further arguments of load_prompt_list.
    """
    tables = []
    for entry in entries:
        how = {key: value for key, value in entry.items() if key != "name"}
        layout, table = load_prompt_list(**how)
        LOGGER.info("%s: %d prompts, columns as in the layout %s", entry["name"], len(table), layout.name)
        tables.append(table.assign(source=entry["name"]))
    return tables


def _choose_layout(names: list[str], columns: dict[str, str], path: Path) -> Layout:
    """The layout that a mapping of columns describes; without a mapping, the first known layout that fits the columns."""
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
    """Fields of a row as text; '' for fields that the row does not have."""
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
    prompt, fault = checked_text(cells["prompt"])
    status, reason = ("ok", "") if prompt.strip() else ("skipped", f"no prompt: {fault}" if fault else "empty prompt")
    if status == "ok" and state == "gone":
        reason = layout.note or "the list says its target is gone"
    return cells | {
        "prompt_id": _identity(prompt or cells["prompt"], cells["target"], repeats),
        "prompt": prompt,
        "label": label,
        "label_source": (cells["label_source"] or given["label_source"]) if label else "",
        "licence": cells["licence"] or given["licence"],
        "availability": state,
        "status": status,
        "reason": reason,
        "line": line,
    }


def _identity(prompt: str, target: str, repeats: Counter) -> str:
    """Id of a prompt from its text and target, not from its line: an added line must not change the noise of other prompts."""
    identity = f"p-{slug(prompt, 24)}-{hash_text(prompt, target)[:8]}"
    repeats[identity] += 1
    return identity + (f"-{repeats[identity]}" if repeats[identity] > 1 else "")

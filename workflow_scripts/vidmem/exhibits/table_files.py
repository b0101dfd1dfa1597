"""Tables as files for readers: CSV, Markdown and LaTeX."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd

from ..base.store import save_csv, save_text
from .compact_tables import Exhibit, first_rows


def on_one_line(text: str, limit: int = 200) -> str:
    """Put untrusted text on one line and cut it with an ellipsis. Blanks, control and direction marks become one blank."""
    kept = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in text[: 4 * limit])
    kept = " ".join(kept.split())
    return kept if len(text) <= 4 * limit and len(kept) <= limit else f"{kept[:limit].rstrip()}…"


def short_name(name: str, width: int) -> str:
    """Put an untrusted file name on one line. A long name keeps more of its end, by which files of one folder differ.

    >>> short_name("a/very/long/folder" + chr(10) + "/clip-0007.mp4", 20)
    'a/very…clip-0007.mp4'
    """
    whole = on_one_line(name, max(1, len(name)))
    head = (width - 1) // 3
    return whole if len(whole) <= width else f"{whole[:head]}…{whole[head + 1 - width :]}"


def save_exhibit(stem: str, table: pd.DataFrame, exhibit: Exhibit | None = None) -> None:
    """Save a table as CSV, and what readers see of it as Markdown and LaTeX, in one folder.

    Args:
        stem: path without suffix, or with .csv.
        exhibit: what readers see; None for the first rows of the table.
    """
    stem = str(stem).removesuffix(".csv")
    shown = exhibit or first_rows(table, Path(stem).name)
    save_csv(f"{stem}.csv", table)
    save_text(f"{stem}.md", to_markdown(shown.table, shown.caption, shown.note))
    save_text(f"{stem}.tex", to_latex(shown.table, shown.caption, shown.note, Path(stem).name))


def _cells(table: pd.DataFrame) -> list[list[str]]:
    def cell(value: object) -> str:
        if value is pd.NA:
            return "n/a"
        if isinstance(value, (float, np.floating)):
            return "n/a" if np.isnan(value) else f"{value:.3f}"
        return str(value)

    return [[cell(value) for value in row] for row in table.itertuples(index=False)]


def to_markdown(table: pd.DataFrame, caption: str = "", note: str = "") -> str:
    """Format a table as GitHub Markdown, its caption above and its note below. Pipes, links and markup are escaped."""

    def escape(text: str) -> str:
        for letter in "\\|[`":
            text = text.replace(letter, f"\\{letter}")
        return text.replace("<", "&lt;").replace("\n", " ")

    lines = ["| " + " | ".join(table.columns) + " |", "|" + " --- |" * len(table.columns)]
    lines += ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in _cells(table)]
    head, foot = [f"**{escape(caption)}**", ""] if caption else [], ["", escape(note)] if note else []
    return "\n".join([*head, *lines, *foot]) + "\n"


def to_latex(table: pd.DataFrame, caption: str = "", note: str = "", label: str = "") -> str:
    """Format a table as a LaTeX tabular, in a table environment if it has a caption. Special characters are escaped."""
    special = {
        "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_\allowbreak{}", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}",
        "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "*": "{*}",
    }  # fmt: skip
    # A row that begins with [ or * would be read as an argument of the line end before it.

    def escape(text: str) -> str:
        return "".join(special.get(letter, letter) for letter in text)

    def line(cells: list[str]) -> str:
        return " & ".join(map(escape, cells)) + r" \\"

    kinds = "".join("r" if pd.api.types.is_numeric_dtype(kind) else "l" for kind in table.dtypes)
    if caption:  # columns of one width, so that the table fits the page
        kinds = rf"p{{\dimexpr{1 / max(1, len(table.columns)):.3f}\linewidth-2\tabcolsep}}" * len(table.columns)
    body = [line(row) for row in _cells(table)]
    head = [rf"\begin{{tabular}}{{{kinds}}}", r"\hline", line(list(table.columns)), r"\hline"]
    lines = [*head, *body, r"\hline", r"\end{tabular}"]
    below = [r"\\[1ex]", rf"\parbox{{\linewidth}}{{\footnotesize {escape(note)}}}"] if note else []
    if caption:
        named = [rf"\caption{{{escape(caption)}}}", rf"\label{{tab:{label}}}"]
        lines = [r"\begin{table}", r"\centering\scriptsize\setlength{\tabcolsep}{3pt}", *named, *lines, *below, r"\end{table}"]
    else:
        lines += below
    return "\n".join(lines) + "\n"

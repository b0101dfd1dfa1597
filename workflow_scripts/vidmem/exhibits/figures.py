"""The figures. They are safe for colour-blind readers, readable in print, and have equal bytes on every run."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.text import Text

from ..base.store import write_atomic
from .fonts import drawable, installed_families, split_line
from .table_files import short_name

PALETTE = sns.color_palette("colorblind")
MEMBER, HELDOUT, UNRELATED, IMAGE = PALETTE[0], PALETTE[1], PALETTE[7], PALETTE[2]
STYLE = {
    "font.family": list(installed_families()), "font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "legend.fontsize": 8,
    "figure.dpi": 100, "savefig.dpi": 200, "svg.hashsalt": "vidmem", "svg.fonttype": "none", "axes.grid": True,
    "grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False,
}  # fmt: skip


def save_figure(figure: plt.Figure, path: Path | str) -> None:
    """Save as PNG and SVG. The files hold no date, so that equal data give equal bytes."""
    stem = str(path).removesuffix(".png")
    for text in figure.findobj(Text):  # names of models are the user's, too
        text.set_text(drawable(text.get_text()))
    # The style is set again, because its hash salt makes the ids in an SVG equal on every run.
    with plt.rc_context(STYLE):
        for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            write = partial(figure.savefig, format=suffix, metadata=metadata, bbox_inches="tight")
            write_atomic(f"{stem}.{suffix}", write)
    plt.close(figure)


def plain_text(text: str, width: int = 34, lines: int = 2) -> str:
    """Make untrusted text safe for a figure: without control characters and TeX, wrapped and cut.

    Args:
        width: letters of ordinary width that a line has room for; see fonts.cells.

    >>> plain_text("a $x$ " + chr(10) + "b"), plain_text("one top three", 8, 1)
    ('a \\\\$x\\\\$ b', 'one top…')
    """
    clean = " ".join(drawable("".join(letter if letter.isprintable() else " " for letter in text)).split())
    wrapped: list[str] = []
    rest = clean
    while rest and len(wrapped) < lines:
        line, rest = split_line(rest, width)
        wrapped.append(line)
    if rest:
        wrapped[-1] = split_line(wrapped[-1], width - 1)[0] + "…"
    return "\n".join(wrapped or [""]).replace("$", r"\$")


def strip(frames: np.ndarray, count: int, marked: int = -1, border: int = 2) -> np.ndarray:
    """Put evenly chosen frames beside each other. The marked frame is always among them and has a border.

    Args:
        frames: uint8 [T, H, W, 3].
        count: number of frames that are shown; the rest is white if the clip is shorter.
        marked: index of the frame with an orange border; -1 for none.
        border: width of the border, pixels.

    Returns:
        uint8 [H, count * W, 3].
    """
    chosen = np.unique(np.round(np.linspace(0, len(frames) - 1, min(count, len(frames)))).astype(int))
    if marked >= 0 and marked not in chosen:
        chosen[np.argmin(np.abs(chosen - marked))] = marked
        chosen = np.sort(chosen)
    tiles = np.full((count, *frames.shape[1:]), 255, np.uint8)
    tiles[: len(chosen)] = frames[chosen]
    if marked >= 0:
        place = int(np.flatnonzero(chosen == marked)[0])
        framed = np.full_like(tiles[place], np.round(np.array(HELDOUT) * 255).astype(np.uint8))
        framed[border:-border, border:-border] = tiles[place][border:-border, border:-border]
        tiles[place] = framed
    return np.concatenate(list(tiles), axis=1)


def pair_words(row: dict, width: int) -> str:
    """Caption of the training clip of a match. The prompt of the generated clip comes first if it differs.

    The file of a clip that was generated elsewhere comes last.
    """
    caption, prompt, file = row["caption"], row["prompt"], row.get("file", "")
    named = f"\nfile: {plain_text(short_name(file, width - 6), width, 1)}" if file else ""
    if prompt in ("", caption):
        return plain_text(caption, width, 1) + named
    asked, found = (plain_text(words, width - 11, 1) for words in (prompt, caption))
    return f"asked for: {asked}\nfound: {found}{named}"


def picture_grid(
    pictures: Sequence[np.ndarray], titles: Sequence[str], columns: int, width: float, sides: Sequence[str] = ()
) -> plt.Figure:
    """Figure of pictures in rows, each with a title of as many lines as it has.

    Args:
        pictures: uint8 [H, W, 3] each.
        titles: words above each picture.
        columns: pictures beside each other; width: width of a picture in inches.
        sides: words left of the upper and of the lower half of each picture.
    """
    lines = -(-len(pictures) // columns)
    heights = [
        max(width * len(picture) / picture.shape[1] + 0.13 * (1 + title.count("\n")) + 0.12
            for picture, title in list(zip(pictures, titles))[line * columns : (line + 1) * columns])
        for line in range(lines)
    ]  # fmt: skip
    figure, axes = plt.subplots(
        lines, columns, figsize=((width + 0.2) * columns, sum(heights) + 0.5), squeeze=False, layout="constrained",
        height_ratios=heights,
    )  # fmt: skip
    for axis in axes.flat:
        axis.axis("off")
    for axis, picture, title in zip(axes.flat, pictures, titles):
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(title, fontsize=7.5, loc="left")
        room = width * len(picture) / picture.shape[1] / max(1, len(sides))  # inches beside each half of the picture
        for place, side in enumerate(sides):
            at = len(picture) * (place + 0.5) / len(sides)
            axis.text(-4, at, side, rotation=90, ha="right", va="center", fontsize=min(7, 95 * room / len(side)))
    return figure


def above_each_other(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Two pictures of one width above each other, with a white line between them."""
    return np.concatenate([upper, np.full((3, upper.shape[1], 3), 255, np.uint8), lower])


def gallery(rows: Sequence[dict], title: str, columns: int = 2, count: int = 6) -> plt.Figure:
    """Figure of matches: training clip above generated clip, with the score and the caption.

    Args:
        rows: dictionaries with training, generated (frames), training_frame, generated_frame, score, threshold (of its
            verdict), copies, caption, prompt, label, and file if the clip was generated elsewhere. If there are no rows, the
            figure says so.
        title: title of the figure if at least one match is memorised.
    """
    with plt.rc_context({**STYLE, "axes.grid": False}):
        if not rows:
            return empty_figure(title, "no clip of these models could be scored")
        pictures = [above_each_other(strip(row["training"], count, row["training_frame"]),
                                     strip(row["generated"], count, row["generated_frame"])) for row in rows]  # fmt: skip
        titles = [f"{_head(row)}\n{pair_words(row, 62)}" for row in rows]
        figure = picture_grid(pictures, titles, columns, 4.4, ("training", "generated"))
        named = ", ".join(f"{threshold:.3g}" for threshold in sorted({row["threshold"] for row in rows}))
        if all(row["score"] < row["threshold"] for row in rows):
            title = f"{title}: nothing; the closest pairs"
        figure.suptitle(f"{title}  (threshold {named}, most similar frames in orange)", fontsize=9.5)
        return figure


def _head(row: dict) -> str:
    """First line above a match: model, score, verdict, and how often training saw the clip."""
    verdict = "memorised" if row["score"] >= row["threshold"] else "below threshold"
    seen = f"seen {row['copies']}x" if row["copies"] else ""
    label = plain_text(row["label"], 40, 1)
    return ", ".join(part for part in (label, f"{row['metric']} {row['score']:.2f} ({verdict})", seen) if part)


def empty_figure(title: str, reason: str) -> plt.Figure:
    """Figure that says why there is nothing to show."""
    figure, axis = plt.subplots(figsize=(6, 1.6))
    axis.axis("off")
    axis.text(0.5, 0.5, f"{title}\n{reason}", ha="center", va="center")
    return figure


def image_panel(rows: Sequence[dict], columns: int = 4) -> plt.Figure:
    """Figure of training images, each beside the most similar generated frame.

    Args:
        rows: dictionaries with image, frame (uint8 [H, W, 3]), score, threshold, caption, copies, label, prompt, and file if
            the clip was generated elsewhere.
    """
    title = "Image training data beside the most similar generated frame"
    with plt.rc_context({**STYLE, "axes.grid": False}):
        if not rows:
            return empty_figure(title, "no still images in the training data, or no match among them")
        between = [np.full((len(row["image"]), 3, 3), 255, np.uint8) for row in rows]
        pictures = [np.concatenate([row["image"], gap, row["frame"]], axis=1) for row, gap in zip(rows, between)]
        titles = [f"{_head(row | {'label': ''})}\n{pair_words(row, 40)}" for row in rows]
        figure = picture_grid(pictures, titles, columns, 2.7)
        figure.suptitle(f"{title}  (left: training, right: generated)", fontsize=9.5)
        return figure


def motion_panel(rows: Sequence[dict], k: int) -> plt.Figure:
    """Figure of the best motion matches: frame pairs and their flow as colours.

    Args:
        rows: dictionaries of motion_row.
        k: number of frame pairs of a window.
    """
    title = f"Motion matches: the {k} frame pairs of the best window, and their flow"
    with plt.rc_context({**STYLE, "axes.grid": False}):
        if not rows:
            return empty_figure(title, "no window of any clip may carry a motion verdict")
        pictures = [above_each_other(*(_pair_row(row[side]) for side in ("training", "generated"))) for row in rows]
        figure = picture_grid(pictures, [_motion_words(row) for row in rows], 1, 8.0, ("training", "generated"))
        whitened = "; beside it the flow without what clips have in common" if len(rows[0]["training"][0]) > 3 else ""
        figure.suptitle(f"{title}\n(hue: direction, saturation: speed{whitened})", fontsize=9.5)
        return figure


def _motion_words(row: dict) -> str:
    verdict = "motion-memorised" if row["score"] >= row["threshold"] else "below threshold"
    seen = f", the generated clip {row['view']}" if row["view"] else ""
    label = plain_text(row["label"], 40, 1)
    return f"{label}, {row['metric']} {row['score']:.3f} ({verdict}{seen})\n{pair_words(row, 90)}"


def _pair_row(pairs: Sequence[tuple[np.ndarray, ...]]) -> np.ndarray:
    tiles = []
    for pictures in pairs:
        tiles += [*pictures, np.full((len(pictures[0]), 4, 3), 255, np.uint8)]
    return np.concatenate(tiles[:-1], axis=1)


def say_nothing(axis: plt.Axes, reason: str) -> None:
    """Put words in the place of a panel that has nothing to draw."""
    axis.set_axis_off()
    axis.text(0.5, 0.5, textwrap.fill(reason, 34), ha="center", va="center", transform=axis.transAxes, color="0.35")


def points(
    axis: plt.Axes, places: Sequence[float] | np.ndarray, values: np.ndarray, counts: np.ndarray,
    error: np.ndarray | None = None, **style: Any,
) -> None:  # fmt: skip
    """Points with a line through those that rest on more than one observation. The others are hollow and stand alone.

    Args:
        places, values, counts: x, y and number of observations of each point; NaN values are left out.
        error: distance to the lower and upper end of each interval, [2, n]; None for no intervals.
        style: color, marker and label.
    """
    at, values, counts = (np.asarray(own, float) for own in (places, values, counts))
    error, label = np.zeros((2, len(at))) if error is None else error, style.pop("label", None)
    drawn = ((counts > 1, style), (counts <= 1, {**style, "mfc": "white", "linestyle": ""}))
    for chosen, look in drawn:
        chosen = chosen & np.isfinite(values)
        if chosen.any():
            axis.errorbar(at[chosen], values[chosen], error[:, chosen], capsize=3, linewidth=1.4, label=label, **look)
            label = None


def hollow_note(counts: Iterable[float]) -> str:
    """Words for an axis with points that rest on one observation; '' if there are none.

    >>> hollow_note([4, 1]), hollow_note([4])
    (' (hollow: n = 1)', '')
    """
    return " (hollow: n = 1)" if any(count <= 1 for count in counts) else ""


def score_distributions(table: pd.DataFrame, thresholds: dict[str, Sequence[float]]) -> plt.Figure:
    """Distributions of the content and motion scores, one curve for each group of clips.

    Args:
        table: metric ('GSSCD', 'VSSCD' or 'OFS-k'), group, value.
        thresholds: metric -> thresholds in force, which are drawn as lines.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(thresholds), figsize=(5.2 * len(thresholds), 3.4), squeeze=False)
        for axis, (metric, drawn) in zip(axes[0], thresholds.items()):
            own = table[table["metric"] == metric]
            chosen, order = own[own["value"].notna()], list(dict.fromkeys(own["group"]))
            if len(chosen):
                sns.boxplot(
                    chosen, x="value", y="group", order=order, hue="group", hue_order=order, ax=axis, width=0.55,
                    palette=PALETTE[: len(order)], fliersize=0, legend=False, linewidth=0.8,
                )  # fmt: skip
                jitter = np.random.default_rng(0).uniform(-0.18, 0.18, len(chosen))
                places = chosen["group"].map(order.index).to_numpy() + jitter
                axis.plot(chosen["value"], places, ".", color="black", alpha=0.25, markersize=2.5, rasterized=True)
                counts = chosen["group"].value_counts()
                axis.set_yticks(range(len(order)), [f"{name}\n(n = {counts.get(name, 0)})" for name in order])
            else:
                say_nothing(axis, f"{metric}: no clip has such a score")
                continue
            for threshold in drawn:
                axis.axvline(threshold, color="black", linestyle="--", linewidth=1)
            axis.set(xlabel=f"{metric} (dashed: threshold {', '.join(f'{value:.3g}' for value in drawn)})", ylabel="")
        figure.tight_layout()
        return figure


def copies_figure(table: pd.DataFrame) -> plt.Figure:
    """Share of prompts that replay their own training clip, and the mean score, against planted copies.

    Args:
        table: table of the rows that copies_rows returns.
    """
    with plt.rc_context(STYLE):
        if not len(table):
            return empty_figure("Memorization against planted copies", "no model was prompted with captions of the corpus")
        figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.2))
        counts = sorted(set(table["copies"]))
        for place, ((model, data), group) in enumerate(table.groupby(["model", "data"], sort=True)):
            group = group.sort_values("copies")
            positions = [counts.index(copies) for copies in group["copies"]]
            error = np.clip([group["content_share"] - group["low"], group["high"] - group["content_share"]], 0, None)
            style = {"color": PALETTE[place % 10], "marker": "osv^D"[place % 5], "label": f"{model}, {data}"}
            points(axes[0], positions, group["content_share"], group["n"], error, **style)
            points(axes[1], positions, group["mean_own_gsscd"], group["n"], **style)
        labels = ["held out" if copies == 0 else str(copies) for copies in counts]
        for axis, label in zip(axes, ("share of prompts that replay their own clip", "mean GSSCD to own clip")):
            axis.set(
                xticks=range(len(counts)),
                xticklabels=labels,
                ylim=(-0.03, 1.03),
                xlabel=f"copies in training{hollow_note(table['n'])}",
            )
            axis.set_ylabel(textwrap.fill(label, 34))
        if table["mean_own_gsscd"].isna().all():
            say_nothing(axes[1], "mean GSSCD to own clip: no clip could be compared with its own")
        axes[0].legend(loc="upper left")
        figure.tight_layout()
        return figure

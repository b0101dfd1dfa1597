"""Figures of the inversions."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from .figures import (
    HELDOUT,
    IMAGE,
    MEMBER,
    PALETTE,
    STYLE,
    empty_figure,
    hollow_note,
    picture_grid,
    plain_text,
    points,
    say_nothing,
    strip,
)


def inversion_scores(table: pd.DataFrame) -> plt.Figure:
    """Heat maps of models against planted copies: share of inversions that replicated, and their mean score.

    Args:
        table: table that image_means returns, with model, mode, copies, split, n_seeds, n_replicated, score.
    """
    with plt.rc_context({**STYLE, "axes.grid": False}):
        if not len(table):
            return empty_figure("Inversion scores against planted copies", "no image was inverted")
        cells = table.assign(score=table["score"].where(np.isfinite(table["score"]))).groupby(["model", "copies"])
        cells = cells.agg(n=("n_seeds", "sum"), found=("n_replicated", "sum"), score=("score", "mean"))
        counted = cells["found"].astype(str) + "/" + cells["n"].astype(str)
        scored = cells["score"].map("{:.2g}".format).where(cells["score"].notna(), "-")
        height = 1.5 + 0.3 * table["model"].nunique()
        figure, axes = plt.subplots(1, 2, figsize=(9.2, height), sharey=True)
        _heat_map(axes[0], cells["found"] / cells["n"], counted, "inversions that replicated", "Blues", vmin=0, vmax=1)
        _heat_map(
            axes[1], np.log10(cells["score"]), scored, "mean score of those, nats per dimension", "Oranges_r", vmin=-4, vmax=-1
        )
        figure.tight_layout()
        return figure


def _heat_map(axis: plt.Axes, values: pd.Series, texts: pd.Series, title: str, colours: str, **limits: float) -> None:
    """Draw a cell with its text for every model and number of copies. A cell without a value stays white."""
    grid, written = values.unstack(), texts.unstack().fillna("")
    look = {"cmap": colours, "linewidths": 0.6, "cbar": False, "annot_kws": {"fontsize": 7}}
    sns.heatmap(grid.astype(float), annot=written, fmt="", ax=axis, **look, **limits)
    for (row, column), text in np.ndenumerate(written.where(grid.isna(), "").to_numpy()):
        axis.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=7, color="0.5")
    axis.set(title=title, xlabel="copies in training", ylabel="")
    axis.set_xticklabels(["held out" if copies == 0 else str(copies) for copies in grid.columns])
    axis.tick_params(axis="y", rotation=0, length=0)


def inversion_distribution(table: pd.DataFrame) -> plt.Figure:
    """Cumulative distribution of the inversion scores by split. Censored scores keep a curve below 1.

    Args:
        table: one row for every image and seed: model, split, score.
    """
    with plt.rc_context(STYLE):
        if not len(table):
            return empty_figure("Distribution of the inversion scores", "no image was inverted")
        figure, panels = _panel_a_model(table, "share of inversions\nup to the score")
        colours = {"heldout": HELDOUT, "image": IMAGE, "member": MEMBER}
        seen = table["score"][np.isfinite(table["score"])]
        lowest, highest = (seen.min(), seen.max()) if len(seen) else (0.1, 1)
        for axis, own in panels:
            for split, group in own.groupby("split", sort=True):
                found = np.sort(group["score"][np.isfinite(group["score"])])
                heights = np.r_[0, np.arange(1, len(found) + 1), len(found)] / len(group)
                label = f"{split} ({len(found)} of {len(group)})"
                axis.step(np.r_[lowest / 2, found, highest * 2], heights, where="post", color=colours[split], label=label)
            axis.set(xlabel="score, nats per dimension", xscale="log", xlim=(lowest / 2, highest * 2))
            below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.22)}  # beside no curve
            axis.legend(title="replicated", fontsize=6.5, title_fontsize=6.5, ncols=3, **below)
        return figure


def _panel_a_model(table: pd.DataFrame, label: str) -> tuple[plt.Figure, list[tuple[plt.Axes, pd.DataFrame]]]:
    """Make a panel of shares from 0 to 1 for the rows of each model, at most four beside each other."""
    groups = list(table.groupby("model", sort=True))
    columns = min(4, len(groups))
    lines = -(-len(groups) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(3.6 * columns, 3.5 * lines), squeeze=False, sharey=True,
                                layout="constrained")  # fmt: skip
    for axis in axes.flat[len(groups) :]:
        axis.axis("off")
    for axis in axes[:, 0]:
        axis.set_ylabel(label)
    for axis, (model, _) in zip(axes.flat, groups):
        axis.set(title=model, ylim=(-0.03, 1.03))
    return figure, [(axis, own) for axis, (_, own) in zip(axes.flat, groups)]


def inversion_samples(rows: Sequence[dict], count: int = 3) -> plt.Figure:
    """Figure of targets, samples from the noise that inversion found, and samples from the prior.

    Args:
        rows: dictionaries with target (uint8 [H, W, 3]), found and prior (uint8 [n, H, W, 3]), title, caption.
    """
    title = "Target, samples from the inverted noise, samples from the prior"
    with plt.rc_context({**STYLE, "axes.grid": False}):
        if not rows:
            return empty_figure(title, "no image was inverted")
        pictures = [_tiles(row, count) for row in rows]
        titles = [f"{row['title']}\n{plain_text(row['caption'], 62, 1)}" for row in rows]
        figure = picture_grid(pictures, titles, 2, 4.4)
        figure.suptitle(title, fontsize=9.5)
        return figure


def _tiles(row: dict, count: int) -> np.ndarray:
    gap = np.full((len(row["target"]), 4, 3), 255, np.uint8)
    parts = [row["target"][None], row["found"][:count], row["prior"][:count]]
    target, found, prior = (strip(part, len(part)) for part in parts)
    return np.concatenate([target, gap, found, gap, prior], axis=1)


def inversion_training_steps(table: pd.DataFrame) -> plt.Figure:
    """Results of inversion at the checkpoints of one training run.

    Args:
        table: table that factor_table returns.
    """
    title = "Inversion against training steps"
    rows = table[(table["factor"] == "training_steps") & (table["level"].astype(str) != "all")]
    rows = rows.assign(level=rows["level"].astype(float)).sort_values("level")
    with plt.rc_context(STYLE):
        if not len(rows):
            return empty_figure(title, "no checkpoints were inverted: configs/invmm-factors.yaml has the study")
        figure, axes = plt.subplots(1, 3, figsize=(10.2, 3.1))
        steps = rows["level"]
        _with_interval(axes[0], steps, rows, ("replicated_share", "share_low", "share_high"))
        points(axes[1], steps, rows["score"], rows["n_replicated"], marker="o", color=PALETTE[0])
        _with_interval(axes[2], steps, rows, ("auc", "auc_low", "auc_high"))
        names = (
            "share of planted images replicated",
            "mean score of those, nats per dimension",
            "AUC, planted against held-out",
        )
        for axis, name, column in zip(axes, names, ("replicated_share", "score", "auc")):
            if rows[column].isna().all():
                say_nothing(axis, f"{name}: not defined, for no image was replicated")
                continue
            axis.set(xscale="log", xticks=list(steps), xlabel=f"training steps{hollow_note(rows['n_images'])}")
            axis.set_xticklabels([f"{step:.0f}" for step in steps])
            axis.minorticks_off()
            axis.set_ylabel(textwrap.fill(name, 28))
        figure.tight_layout()
        return figure


def _with_interval(
    axis: plt.Axes, places: Sequence[float] | np.ndarray, rows: pd.DataFrame, names: tuple[str, str, str], **look: str
) -> None:
    value, low, high = (rows[name].to_numpy(float) for name in names)
    error = np.nan_to_num(np.clip([value - low, high - value], 0, None))
    points(axis, places, value, rows["n_images"], error, marker="o", color=PALETTE[0], **look)
    axis.set_ylim(-0.03, 1.03)


def inversion_sampling(table: pd.DataFrame) -> plt.Figure:
    """Results of inversion with each sampler, number of steps, guidance and conditioning.

    Args:
        table: table that factor_table returns.
    """
    title = "Inversion against sampling and conditioning"
    kinds = ("sampler", "guidance", "conditioning", "preset")
    rows = table[table["factor"].isin(kinds) & (table["level"].astype(str) != "all")]
    with plt.rc_context(STYLE):
        if not len(rows):
            return empty_figure(title, "no sampling was studied: configs/invmm-factors.yaml has the study")
        present = [kind for kind in kinds if (rows["factor"] == kind).any()]
        figure, axes = plt.subplots(2, len(present), figsize=(3.2 * len(present), 5.4), squeeze=False, sharey="row")
        for column, kind in enumerate(present):
            own = rows[rows["factor"] == kind]
            places = np.arange(len(own))
            _with_interval(axes[0, column], places, own, ("replicated_share", "share_low", "share_high"), linestyle="")
            _with_interval(axes[1, column], places, own, ("auc", "auc_low", "auc_high"), linestyle="")
            for axis in axes[:, column]:
                axis.set(xticks=places, xlim=(-0.5, len(own) - 0.5))
                axis.set_xticklabels([str(level) for level in own["level"]], rotation=30, ha="right")
            axes[0, column].set_title(kind.replace("_", " "))
        axes[0, 0].set_ylabel("share of planted\nimages replicated")
        axes[1, 0].set_ylabel("AUC, planted\nagainst held-out")
        figure.tight_layout()
        return figure


def inversion_membership(table: pd.DataFrame) -> plt.Figure:
    """How well every method tells trained from held-out images, by number of copies, and the share that is replicated.

    Args:
        table: table that membership_table returns.
    """
    methods = {"loss": "training loss", "secmi": "SecMI", "invmm": "InvMM"}
    with plt.rc_context(STYLE):
        if not len(table):
            return empty_figure("Memorization against membership", "no image was inverted")
        figure, panels = _panel_a_model(table, "against held-out images")
        for axis, own in panels:
            counts = sorted(set(own["copies"]))
            for place, (method, label) in enumerate(methods.items()):
                part = own[own["method"] == method].sort_values("copies")
                at = [counts.index(copies) + 0.08 * (place - 1) for copies in part["copies"]]
                error = np.nan_to_num(np.clip([part["auc"] - part["auc_low"], part["auc_high"] - part["auc"]], 0, None))
                style = {"color": PALETTE[place], "marker": "osv"[place], "label": f"{label}, AUC"}
                points(axis, at, part["auc"], part[["n_positive", "n_negative"]].min(axis=1), error, **style)
            shares = own[own["method"] == "invmm"].sort_values("copies")["replicated_share"]
            axis.bar(range(len(counts)), shares, width=0.5, color="0.85", label="replicated, share", zorder=0)
            axis.axhline(0.5, color="0.4", linestyle=":", linewidth=1)
            axis.set(
                xticks=range(len(counts)), xticklabels=counts, xlabel=f"copies in training{hollow_note(own['n_positive'])}"
            )
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=7)
        return figure

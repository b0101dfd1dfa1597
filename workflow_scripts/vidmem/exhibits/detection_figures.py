"""Figures of detection: ROC curves of the first step, and guidance magnitudes along the denoising steps."""

from __future__ import annotations

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ..detection.evaluation import RATE
from ..generation.detector_records import DETECTORS
from .figures import HELDOUT, MEMBER, PALETTE, STYLE, empty_figure, say_nothing


def detection_roc(panels: list[dict]) -> plt.Figure:
    """ROC curves of the detectors at the first step of one generation. A line marks 1 % false positives.

    Args:
        panels: dictionaries with title, labels (bool by prompt id) and scores (detector -> values by prompt id).
    """
    from sklearn.metrics import roc_curve

    shown = sorted((record for record in DETECTORS.values() if record.curve), key=lambda record: record.curve)
    with plt.rc_context(STYLE):
        if all(panel["labels"].nunique() < 2 for panel in panels):
            return empty_figure("Detection while generating", "no case has prompts of both classes")
        figure, axes = plt.subplots(1, len(panels), figsize=(3.7 * len(panels), 3.7), squeeze=False, sharey=True)
        for axis, panel in zip(axes[0], panels):
            if panel["labels"].nunique() < 2:
                say_nothing(axis, f"{panel['title']}: no prompts of both classes")
                continue
            for colour, record in zip(cycle(PALETTE), shown):
                known = panel["scores"][record.name].dropna()
                if len(known) and panel["labels"][known.index].nunique() == 2:
                    false, true, _ = roc_curve(panel["labels"][known.index], known, drop_intermediate=False)
                    axis.plot(false, true, color=colour, label=record.label, linewidth=1.3)
            axis.axvline(RATE, color="black", linestyle=":", linewidth=1)
            counts = f"{int(panel['labels'].sum())} against {int((~panel['labels']).sum())} prompts"
            axis.set(title=f"{panel['title']}\n{counts}", xlabel="false-positive rate (dotted: 1 %)", xlim=(-0.02, 1.02))
        axes[0, 0].set_ylabel("true-positive rate")
        drawn = [axis for axis in axes[0] if axis.lines]
        drawn[-1].legend(loc="lower right", fontsize=6.5)
        figure.tight_layout()
        return figure


def magnitude_steps(table: pd.DataFrame) -> plt.Figure:
    """Content and motion magnitude along the denoising steps: medians and quartiles of memorised and other prompts.

    Args:
        table: model, quantity ('content' or 'motion'), step, memorised, value (mean over frames of a sample).
    """
    with plt.rc_context(STYLE):
        if not len(table):
            return empty_figure("Magnitudes along the denoising steps", "no guidance was recorded")
        models = sorted(set(table["model"]))
        figure, axes = plt.subplots(len(models), 2, figsize=(8.2, 3.1 * len(models)), squeeze=False)
        for line, model in zip(axes, models):
            for axis, quantity in zip(line, ("content", "motion")):
                own = table[(table["model"] == model) & (table["quantity"] == quantity) & table["value"].notna()]
                if not len(own):
                    say_nothing(axis, f"no {quantity} magnitude was recorded")
                    continue
                for memorised, colour in ((True, MEMBER), (False, HELDOUT)):
                    _band(axis, own[own["memorised"] == memorised], colour, "memorised" if memorised else "not memorised")
                axis.set(title=f"{model}, by {quantity}", xlabel="denoising step", ylabel=f"{quantity} magnitude")
                axis.legend()
        figure.tight_layout()
        return figure


def _band(axis: plt.Axes, rows: pd.DataFrame, colour: tuple[float, float, float], label: str) -> None:
    if not len(rows):
        return
    low, middle, high = (rows.groupby("step")["value"].quantile(share) for share in (0.25, 0.5, 0.75))
    steps = np.asarray(middle.index) + 1
    samples = int(rows.groupby("step").size().max())
    axis.plot(steps, middle, color=colour, linewidth=1.5, label=f"{label} (n = {samples})")
    axis.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)

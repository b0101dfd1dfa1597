"""Prompts with known labels and made-up guidance of their first steps."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vidmem.features.statistics import IntervalRule

INTERVAL = IntervalRule(draws=100)


def guidance_table(rows):
    return pd.DataFrame(rows, columns=["clip_id", "prompt_id", "step", "frame", "quantity", "value"])


def some_prompts(planted=6, harmless=120, stills=2):
    rows = [(f"p-{n}", "x" * (n + 1), f"t{n}", "member", 16 if n % 2 else 64) for n in range(planted)]
    rows += [(f"p-one-{n}", "once", f"o{n}", "member", 1) for n in range(2)]
    rows += [(f"p-still-{n}", "still", f"s{n}", "image", 16) for n in range(stills)]
    rows += [("p-held", "held", "h", "heldout", 0)]
    rows += [(f"n-{n}", "no", "", "negative", 0) for n in range(harmless)]
    return pd.DataFrame(rows, columns=["prompt_id", "prompt", "target", "split", "copies"])


def probe_rows(prompts, samples=1, steps=1, shift=3.0):
    stream = np.random.default_rng(0)
    rows = []
    for row in prompts.itertuples():
        for sample in range(samples):
            for step in range(steps):
                for quantity in ("content", "motion", "conditional", "latent"):
                    for frame in range(2):
                        level = shift * (row.copies >= 16) * (quantity in ("content", "motion"))
                        rows.append((f"{row.prompt_id}-s{sample}", row.prompt_id, step, frame, quantity,
                                     10 + level + stream.normal()))  # fmt: skip
    return guidance_table(rows)

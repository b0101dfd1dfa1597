"""Which captions of a corpus are most prone to trigger memorization: a column for every signal, and one combined rank.

The signals of a caption are:

* How often the training data hold its clip.
* How many training captions are identical or near.
* How many training clips are near-duplicates of its clip.
* How suspicious one denoising step of a model looks (Webster 2305.08694).

A high value is suspicious. The combined rank is a mean of the ranks by single signals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from ..base.clip_table import REFERENCE_SPLITS
from ..base.identity import video_of
from ..base.logs import LOGGER
from .audit_prompts import prompts_of_corpus
from .captions import caption_groups, normalise_caption

SPLITS = ("member", "heldout", "image")
AVAILABLE = {"ok": "available", "recovered": "available", "missing": "gone", "gone": "gone"}
"""Status of a clip -> availability of its footage. For other statuses it is unknown: another file may have that name."""
STATIC = ("copies", "n_identical_captions", "n_near_captions", "n_near_duplicate_clips")
SIGNALS = (*STATIC, "white_box")
COLUMNS = (
    "rank", "combined", "prompt_id", "prompt", "source", "target", "split", "cluster", "label", "label_source", "licence",
    "availability", "status", "reason", *SIGNALS, *(f"rank_{name}" for name in SIGNALS), "caption", "cluster_reason", "line",
)  # fmt: skip


def static_signals(clips: pd.DataFrame, clusters: pd.DataFrame, caption_similarity: float) -> pd.DataFrame:
    """Signals of every caption that need no model, with their ranks.

    Args:
        clips: clip table of the corpus.
        clusters: table of near_duplicate_clusters.
        caption_similarity: least cosine of near captions; see caption_groups.

    Returns:
        One row a caption, and one row a clip without a caption. The columns are those of prompts_of_corpus, availability (of
        the clip), caption, cluster, cluster_reason, STATIC and the columns of rank_prompts.
    """
    table = prompts_of_corpus(clips, SPLITS)
    # Clips whose file cannot be read here count, too: the captions of these clips were in the training data all the same.
    first = clips["clip_id"] == clips["clip_id"].map(video_of)  # a caption counts once for each video, not for each window
    training = clips.loc[clips["split"].isin(REFERENCE_SPLITS) & first, "caption"]
    said = table["status"] == "ok"
    groups = caption_groups(list(table["prompt"][said]), list(training), caption_similarity)
    for name in groups:
        kind = "str" if name == "caption" else "Int64"
        table[name] = groups[name].set_axis(table.index[said]).reindex(table.index).astype(kind)
    table["caption"] = table["caption"].fillna("")
    found = clusters.set_index("clip_id").loc[table["target"]].reset_index(drop=True)
    states = clips.set_index("clip_id")["status"].map(AVAILABLE).fillna("unknown")
    table["availability"] = states.loc[table["target"]].to_numpy()
    return rank_prompts(pd.concat([table.reset_index(drop=True), found], axis=1).astype({"copies": "Int64"}), STATIC)


def add_white_box(table: pd.DataFrame, scores: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Add the one-step scores of models: a column white_box_<model> for each model, and white_box for all models together.

    Scores of different models cannot be compared. So each score becomes the share of the model's prompts that score lower,
    where prompts with an equal score count half. white_box is the mean of these shares, 0 to 1, over the models that probed the
    prompt. Prompts are matched by their text.

    Args:
        table: prompts.
        scores: model -> table with the columns prompt and value; higher is more suspicious. If a prompt is listed twice, its
            higher value counts.
    """
    text, shares = table["prompt"].str.strip(), []
    for model, probed in scores.items():
        best = probed.assign(prompt=probed["prompt"].str.strip()).groupby("prompt")["value"].max().dropna()
        strange = int((~best.index.isin(text)).sum())
        LOGGER.info("%s: %d prompts probed, %d of them not among the curated prompts", model, len(best), strange)
        share = pd.Series((rankdata(best) - 0.5) / max(len(best), 1), index=best.index)
        table = table.assign(**{f"white_box_{model}": text.map(best).astype(float)})
        shares.append(text.map(share).astype(float))
    mean = pd.concat(shares, axis=1).mean(axis=1) if shares else np.nan
    return table.assign(white_box=pd.Series(mean, index=table.index, dtype=float))


def curate(
    static: pd.DataFrame, scores: Mapping[str, pd.DataFrame], lists: Sequence[pd.DataFrame], source: str, licence: str
) -> pd.DataFrame:
    """Curated prompts of a corpus: its captions and the prompts of further lists, every signal, and the combined rank.

    Args:
        static: table of static_signals.
        scores: one-step scores by model; see add_white_box.
        lists: further lists of prompts; see append_lists.
        source, licence: source and licence of the corpus, for its captions.

    Returns:
        Table of COLUMNS, then white_box_<model> for every model that was probed.
    """
    table = append_lists(static.assign(source=source, licence=licence), lists)
    table = rank_prompts(add_white_box(table, scores))
    return table[[*COLUMNS, *(f"white_box_{model}" for model in scores)]]


def append_lists(table: pd.DataFrame, lists: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Append the prompts of further lists to the captions of a corpus.

    If a prompt equals a caption of the corpus after normalisation, it gets the static signals of that caption.

    Args:
        table: table of static_signals, most suspicious first, with the column source.
        lists: tables of load_prompt_list, with the column source.
    """
    about = ["cluster", "cluster_reason", *STATIC]
    said = table[(table["status"] == "ok") & ~table["caption"].duplicated()]  # the first of the captions with equal text
    known = said.set_index("caption")[about]
    parts = [table.assign(label="", label_source="", line=pd.array([pd.NA] * len(table), "Int64"))]
    for listed in lists:
        found = known.reindex([normalise_caption(text) for text in listed["prompt"]]).reset_index(names="caption")
        found[["cluster", "cluster_reason"]] = found[["cluster", "cluster_reason"]].fillna("")
        parts.append(pd.concat([listed.reset_index(drop=True), found], axis=1).assign(split=""))
    return pd.concat(parts, ignore_index=True).astype({"line": "Int64"})


def rank_prompts(table: pd.DataFrame, signals: Sequence[str] = SIGNALS) -> pd.DataFrame:
    """Rank prompts by all signals together, and sort them, the most suspicious first.

    Every signal ranks the prompts that have it: its highest value has rank 1, and equal values share the mean of their ranks.
    combined is the mean of (rank - 0.5) / number of ranked prompts. The mean is over the signals that the prompt has and that
    differ between prompts, so a missing signal neither helps nor harms. Equal means are sorted by prompt id. Prompts whose
    status is not 'ok' have no rank and come last.

    Args:
        table: prompt_id, status and the signals; rows in any order.
        signals: names of the columns with signals.

    Returns:
        The table with rank (1, 2, ...), combined, and rank_<signal>, which is missing where the signal is missing.
    """
    usable_rows, shares = (table["status"] == "ok").to_numpy(), {}
    for name in signals:
        values = table[name].astype(float).to_numpy(dtype=float, na_value=np.nan)
        measured = usable_rows & ~np.isnan(values)
        ranks = np.full(len(table), np.nan)
        ranks[measured] = rankdata(-values[measured])
        table = table.assign(**{f"rank_{name}": ranks})
        if len(np.unique(values[measured])) > 1:
            shares[name] = (ranks - 0.5) / measured.sum()
    count = sum((~np.isnan(share) for share in shares.values()), np.zeros(len(table), int))
    total = sum((np.nan_to_num(share) for share in shares.values()), np.zeros(len(table)))
    combined = np.divide(total, count, out=np.full(len(table), np.nan), where=count > 0)
    LOGGER.info("signals that differ between prompts: %s", ", ".join(shares) or "none")
    keys = [name for name in ("prompt_id", "source", "line") if name in table]
    table = table.assign(combined=combined, unusable=~usable_rows).sort_values(["unusable", "combined", *keys])
    order = pd.array(np.where(table["unusable"], np.nan, np.arange(1, len(table) + 1)), dtype="Int64")
    return table.assign(rank=order).drop(columns="unusable").reset_index(drop=True)

"""A row for every training clip: is it in there, and which generated clip comes closest to it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..base.clip_table import REFERENCE_SPLITS
from ..features.clip_features import ClipFeatures, motion_features
from ..features.metrics import KINDS, OWN
from ..features.motion_rule import MotionRule
from ..features.natural_motion import natural_windows
from ..generation.elsewhere import file_of

ABOUT = ["clip_id", "corpus", "source", "split", "file", "start_s", "caption", "copies", "status", "reason"]
FOUND = [
    "score", "threshold", "verdict", "model", "generated", "generated_file", "prompt", "training_frame", "training_s",
    "generated_frame", "generated_s", "view",
]  # fmt: skip
COLUMNS = [*ABOUT, *(f"{kind}_{name}" for kind in KINDS for name in (*FOUND, "times")), "answer"]


def training_file(provenance: str) -> tuple[str, float]:
    """File of a training clip as its list or folder names it, hostile text, and where the clip begins in it, in seconds.

    >>> training_file('{"kind": "folder", "file": "a.mp4", "start_s": 2.5}'), training_file('{"kind": "gameplay"}')
    (('a.mp4', 2.5), ('', 0.0))
    """
    about = json.loads(provenance or "{}")
    return str(about.get("file") or about.get("url") or ""), float(about.get("start_s") or 0.0)


def pair_scores(matches: pd.DataFrame, scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The score of every known pair of a generated clip and a training clip, from what a search kept and from own targets.

    A search keeps the best training clips of every generated clip. A training clip may be in none of these lists, and its
    caption no prompt. Then it has no row: other training clips come closer to every generated clip.

    Args:
        matches: tables of matches of some models, with the column model.
        scores: tables of scores of these models, with the column model.

    Returns:
        Table with the columns clip_id, score, model, generated, query_frame, reference_frame and view; one row a pair, the
        strongest first.
    """
    columns = ["clip_id", "score", "model", "generated", "query_frame", "reference_frame", "view"]
    found = matches[(matches["metric"] == metric) & (matches["reference"] != "") & matches["score"].notna()]
    found = found.rename(columns={"reference": "clip_id", "query": "generated"})[columns]
    own = scores[(scores["metric"] == metric + OWN) & scores["value"].notna()]
    own = own.rename(columns={"clip_id": "generated"}).rename(columns={"match": "clip_id", "value": "score"})[columns]
    both = pd.concat([found, own], ignore_index=True)
    both = both.sort_values(["score", "model", "generated"], ascending=[False, True, True])
    return both.drop_duplicates(["clip_id", "model", "generated"])


def nearest_generated(pairs: pd.DataFrame) -> pd.DataFrame:
    """The best generated clip of every training clip, one row a clip; `pairs` is a table of pair_scores."""
    return pairs.drop_duplicates("clip_id")


def times_replayed(pairs: pd.DataFrame, threshold: float) -> pd.Series:
    """Number of generated clips that replay a training clip, by its id: all that reach the threshold, best match or not."""
    return pairs.loc[pairs["score"] >= threshold, "clip_id"].value_counts()


def without_motion(training: pd.DataFrame, flows: ClipFeatures, rule: MotionRule) -> dict[str, str]:
    """Why a training clip can have no motion score, by its id; a clip that can have one is not in there.

    Args:
        training: clip table of the clips in question.
        flows: their flows.
        rule: says which windows are natural.
    """
    reasons = {}
    for clip in training.itertuples():
        windows = natural_windows(motion_features(flows.table_of([clip.clip_id])), rule.k, rule.filter)
        if clip.count == 1:
            reasons[clip.clip_id] = "it is a still image and has no movement"
        elif not len(windows):
            reasons[clip.clip_id] = "it is too short for a motion score"
        elif (windows != "").all() and rule.filter.sides in ("either", "reference"):
            reasons[clip.clip_id] = "it has no movement of its own"
    return reasons


def training_rows(
    training: pd.DataFrame, made: pd.DataFrame, pairs: Mapping[str, pd.DataFrame], thresholds: Mapping[str, float],
    motionless: Mapping[str, str],
) -> pd.DataFrame:  # fmt: skip
    """A row for every clip of a corpus that models are compared with.

    Args:
        training: clip table of the corpus.
        made: clip tables of the models of this corpus, with the column model.
        pairs: kind ('content', 'motion') -> table of pair_scores.
        thresholds: kind -> threshold of the verdict.
        motionless: training clip -> why it can have no motion score; see without_motion.

    Returns:
        Table of COLUMNS, ordered by clip id. Captions, prompts and files are untrusted.
    """
    rows = training[training["split"].isin(REFERENCE_SPLITS)].sort_values("clip_id").reset_index(drop=True)
    files = [training_file(text) for text in rows["provenance"]]
    rows = rows.assign(corpus=rows["set"].str.removeprefix("corpus-"), file=[name for name, _ in files])
    rows["start_s"] = [start for _, start in files]
    about = made.set_index(["model", "clip_id"])
    for kind in KINDS:
        found = nearest_generated(pairs[kind]).set_index("clip_id").reindex(rows["clip_id"]).reset_index(drop=True)
        keys = pd.MultiIndex.from_frame(found[["model", "generated"]])
        clip = about.reindex(keys).reset_index(drop=True)
        rows[f"{kind}_score"], rows[f"{kind}_threshold"] = found["score"], thresholds[kind]
        rows[f"{kind}_verdict"] = found["score"] >= thresholds[kind]
        rows[f"{kind}_times"] = rows["clip_id"].map(times_replayed(pairs[kind], thresholds[kind])).fillna(0).astype(int)
        for name in ("model", "generated", "view"):
            rows[f"{kind}_{name}"] = found[name].fillna("")
        rows[f"{kind}_generated_file"] = [file_of(text) if isinstance(text, str) else "" for text in clip["provenance"]]
        rows[f"{kind}_prompt"] = clip["caption"].fillna("")
        for side, name in (("training", "reference_frame"), ("generated", "query_frame")):
            rows[f"{kind}_{side}_frame"] = found[name].fillna(-1).astype(int)
        rows[f"{kind}_training_s"] = rows["start_s"] + found["reference_frame"] / rows["fps"]
        rows[f"{kind}_generated_s"] = found["query_frame"] / clip["fps"].replace(0, np.nan)
    rows["motionless"] = rows["clip_id"].map(motionless).fillna("")
    return rows.assign(answer=[clip_answer(row) for row in rows.to_dict("records")])[COLUMNS]


def clip_answer(row: Mapping) -> str:
    """Whether a training clip is in there, in a sentence or two."""
    if row["status"] != "ok":
        return f"Not known: the clip could not be compared ({row['status']})."
    said = []
    for kind in KINDS:
        score = row[f"{kind}_score"]
        if pd.isna(score):
            lacks = row["motionless"] if kind == "motion" else ""
            said.append(f"Its {kind}: {lacks or 'no score, for no generated clip has it among its closest clips'}.")
        elif row[f"{kind}_verdict"]:
            often = f", and {row[f'{kind}_times']} in all replay it" if row[f"{kind}_times"] > 1 else ""
            said.append(f"Its {kind} is replayed: {row[f'{kind}_generated']} reaches {score:.2f}{often}.")
        else:
            said.append(f"Its {kind}: not found, the closest is {row[f'{kind}_generated']} at {score:.2f}.")
    return " ".join(said)

"""The sentences beside the figures of the report page, against tables whose numbers are counted by hand."""

import re

import numpy as np
import pandas as pd
import pytest

from vidmem.exhibits.findings import (
    calibrated,
    copied_most,
    copies_found,
    detected,
    held_out_prompts,
    inverted,
    mitigated,
    not_measured,
    prompts_asked,
    repeated,
)
from vidmem.exhibits.tables import HELD_OUT

LABELS = {"m": "Model M"}


def longest(text):
    """Words of the longest sentence."""
    return max(len(sentence.split()) for sentence in re.split(r"[.?!:;] ", text))


def test_prompts_of_clips_the_model_never_saw_are_commented_on():
    row = {"model": "m", "kind": "heldout", "n_prompts": 18, "content_share": 2 / 18, "motion_share": np.nan}
    assert held_out_prompts(pd.DataFrame([row]), "m") == [
        "Prompts that describe clips it never saw and bring back a training clip: 2 of 18 by content. "
        "A prompt need not describe a training clip to bring one back."
    ]
    (none,) = held_out_prompts(pd.DataFrame([row | {"content_share": 0.0, "motion_share": 0.0}]), "m")
    assert none.endswith("bring back a training clip: 0 of 18 by content, 0 of 18 by motion.")
    assert held_out_prompts(pd.DataFrame([row]), "other") == []


def test_the_clips_copied_most_closely_and_most_often_are_named():
    columns = ["clip_id", "file", "start_s", "caption", "content_score", "content_verdict", "content_times",
               "content_generated", "content_generated_file"]  # fmt: skip
    rows = [("a", "a.mp4", 1.92, "a cat", 0.95, True, 1, "g1", ""), ("b", "", 0.0, "", 0.7, True, 3, "g2", "g.mp4"),
            ("c", "", 0.0, "", 0.2, False, 0, "g3", "")]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    assert copied_most(table) == [
        "Copied most closely: training clip a (a.mp4, from second 1.92; a cat); generated clip g1 reaches 0.95 of 1.",
        "Copied most often: training clip b; 3 generated clips replay its content.",
    ]
    assert (
        copied_most(table.iloc[1:])[0] == "Copied most closely: training clip b; generated clip g2 (g.mp4) reaches 0.70 of 1."
    )
    assert copied_most(table.iloc[2:])[0].startswith("No training clip was copied")


def test_the_calibration_says_which_clips_it_counts():
    row = {"corpus": "x", "metric": "wofs_k", "normalisation": "raw", "chosen_on": "configuration", "n_undefined": 26}
    row |= {"n_fired": 1, "fpr": 1 / 61, "fpr_low": 0.0029, "fpr_high": 0.0872, "n_positive": 59, "recall": 0.881356}
    rows = [
        row | {"negatives": name, "n_negative": n} for name, n in (("held-out", 9), ("leave-one-out", 52), ("together", 61))
    ]
    rows[0] |= {"n_undefined": 2}
    shares = pd.DataFrame([{"model": HELD_OUT, "corpus": "x", "n_prompts": 18, "motion_share": 1 / 18}])
    table, metrics = pd.DataFrame(rows), {"content": "gsscd", "motion": "wofs_k"}
    told = (
        "x, motion: 1 of 61 real clips reach the threshold by chance (0.3 % to 8.7 %). "
        "They are 52 training clips, each against all other scenes, and 9 held-out clips. "
        "26 more are too short for a motion score. "
        "7 more held-out clips are left out: they are the background that normalised scores are read against. "
        "The answer counts every held-out clip, and there it is 1 of 18. The threshold finds 88 % of 59 edited copies."
    )
    assert calibrated(table, shares, metrics) == [told]
    assert longest(told) <= 25
    (few,) = calibrated(table, shares.assign(n_prompts=11), metrics)
    assert "background" not in few
    (alone,) = calibrated(table, shares[:0], metrics)
    assert "The answer counts" not in alone
    assert calibrated(table.assign(fpr=np.nan), shares, metrics) == [
        "x, motion: not measured, for the calibration supports no threshold."
    ]


def test_copies_are_counted_with_their_prompts():
    rows = [("m", "video", 0, 18, 0.0), ("m", "video", 4, 16, 0.25), ("m", "image", 1, 6, 0.0)]
    told = copies_found(pd.DataFrame(rows, columns=["model", "data", "copies", "n", "content_share"]), LABELS)
    assert told == [
        "Model M, videos: how many prompts bring back their own clip? Held-out: 0 of 18. 4 copies: 4 of 16.",
        "Model M, images: how many prompts bring back their own clip? 1 copy: 0 of 6.",
    ]
    assert max(map(longest, told)) <= 25


def test_the_best_detector_is_told_with_what_it_finds():
    row = {"model": "m", "steps": "1", "generations": 1, "truth": "planted", "data": "video", "copies": "16+", "status": "ok",
           "n_positive": 19, "n_negative": 258, "auc_low": 0.8, "auc_high": 0.97, "tpr_low": 0.1, "tpr_high": 0.4}  # fmt: skip
    best = row | {"detector": "content", "auc": 0.937, "tpr_at_1_fpr": 0.210526}
    table = pd.DataFrame([
        row | {"detector": "motion", "auc": 0.79, "tpr_at_1_fpr": 0.3}, best,
        best | {"detector": "late", "auc": 0.99, "steps": "all"}, best | {"detector": "few", "auc": 0.99, "copies": "4"},
        best | {"detector": "none", "auc": np.nan, "status": "not_defined"},
    ])  # fmt: skip
    told = (
        "Model M: 2 detectors were to tell 19 prompts of clips with 16 or more copies from 258 harmless ones. "
        "The best by AUC is content, with 0.94 (0.80 to 0.97); 0.5 is guessing, 1 is perfect. "
        "The best at 1 % false alarms is motion, which finds 30 % (10 % to 40 %). "
        "The best is chosen on the prompts that it is scored on, so it would do worse on new ones."
    )
    assert detected(table, LABELS) == [told]
    assert longest(told) <= 25
    assert "false alarms" not in detected(table.assign(tpr_at_1_fpr=np.nan), LABELS)[0]
    assert "chosen" not in detected(table[1:], LABELS)[0]
    assert detected(table.assign(status="not_defined"), LABELS) == []


def test_a_mitigation_says_what_it_removes_and_costs_and_where_prompts_are_too_few():
    row = {"name": "soft", "model": "m", "n_prompts": 8, "clip_similarity": 0.2545,
           "content_share_before": 1.0, "content_low_before": 0.68, "content_high_before": 1.0,
           "content_share_after": 0.0, "content_low_after": 0.0, "content_high_after": 0.32,
           "motion_share_before": 0.375, "motion_low_before": 0.137, "motion_high_before": 0.69,
           "motion_share_after": 0.0, "motion_low_after": 0.0, "motion_high_after": 0.32}  # fmt: skip
    told = (
        "“soft” on Model M, with 8 prompts. "
        "Content is replayed by 8 of 8 before (68 % to 100 %), and by 0 of 8 after (0 % to 32 %). "
        "Motion is replayed by 3 of 8 before (14 % to 69 %), and by 0 of 8 after (0 % to 32 %). "
        "Too few to tell whether it helps. "
        "The new clips resemble the old ones by 0.25 (1: the same)."
    )
    assert mitigated(pd.DataFrame([row]), LABELS) == [told]
    assert longest(told) <= 25
    assert "Motion" not in mitigated(pd.DataFrame([row | {"motion_share_before": np.nan}]), LABELS)[0]


def test_the_head_says_what_the_prompts_describe_and_how_often_clips_were_seen():
    rows = [("m", "all", 96), ("m", "heldout", 18), ("m", "image", 26), ("m", "member", 50), ("n", "all", 4)]
    shares = pd.DataFrame(rows, columns=["model", "kind", "n_prompts"])
    told = "76 of its 96 prompts are captions of training clips, and 18 of held-out clips; 2 describe no known clip."
    assert prompts_asked(shares, "m") == [told]
    assert prompts_asked(shares, "n") == [
        "0 of its 4 prompts are captions of training clips, and 0 of held-out clips; 4 describe no known clip."
    ]
    assert repeated(pd.DataFrame({"copies": [1, 64, 4]}))[0].startswith(
        "The corpus lists 2 of 3 training clips with copies: training saw them up to 64 times."
    )
    assert repeated(pd.DataFrame({"copies": [1, 1]})) == []
    assert repeated(pd.DataFrame({"copies": []})) == []


def test_what_has_no_number_is_listed():
    shares = pd.DataFrame({"model": ["m", "n"], "kind": "all", "n_prompts": [96, 4], "content_scored": [96, 4],
                           "motion_scored": [73, 4]})  # fmt: skip
    columns = ["model", "detector", "status", "reason"]
    rows = [("m", "content", "ok", ""), ("m", "late", "ok", ""), ("m", "late", "not_defined", "first step only"),
            ("m", "bright", "not_defined", "no mask"), ("m", "bright", "not_defined", "no mask"),
            ("n", "all", "not_defined", "no prompt")]  # fmt: skip
    tables = {"shares": shares, "detection": pd.DataFrame(rows, columns=columns), "mitigation": pd.DataFrame({"model": ["m"]})}
    models = {"m": {"label": "Model M", "prompted": True}, "n": {"label": "Model N", "prompted": False}}
    training = pd.DataFrame({"motion_score": [0.1, np.nan]})
    assert not_measured(tables, training, models) == [
        "Model M: 23 of 96 prompts have no motion score, and count as not replayed.",
        "Model M: Detectors that are not defined in some cases: late. Reason: first step only.",
        "Model M: Detectors that are not defined: bright. Reason: no mask.",
        "Model N: No mitigation was asked for.",
        "1 of 2 training clips have no motion score; “Is my clip in there?” says why for each.",
    ]


@pytest.mark.parametrize("split", ["member", "image"])
def test_an_inversion_counts_training_images_and_held_out_ones(split):
    rows = [("net", split, 1), ("net", split, 0), ("net", "heldout", 0)]
    assert inverted(pd.DataFrame(rows, columns=["model", "split", "n_replicated"]), {"net": "Net (P, a/b)"}) == [
        "Net (P, a/b): 1 of 2 training images come back, and 0 of 1 held-out images."
    ]

"""The sentences beside the figures of the report page, against tables whose numbers are counted by hand."""

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
)
from vidmem.exhibits.tables import HELD_OUT

LABELS = {"m": "Model M"}


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
    columns = ["clip_id", "file", "caption", "content_score", "content_verdict", "content_times", "content_generated",
               "content_generated_file"]  # fmt: skip
    rows = [("a", "a.mp4", "a cat", 0.95, True, 1, "g1", ""), ("b", "", "", 0.7, True, 3, "g2", "g.mp4"),
            ("c", "", "", 0.2, False, 0, "g3", "")]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    assert copied_most(table) == [
        "Copied most closely: training clip a (a.mp4; a cat); generated clip g1 reaches 0.95 of 1.",
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
    shares = pd.DataFrame([{"model": HELD_OUT, "corpus": "x", "n_prompts": 18}])
    table, metrics = pd.DataFrame(rows), {"content": "gsscd", "motion": "wofs_k"}
    assert calibrated(table, shares, metrics) == [
        "x, motion: 1 of 61 real clips fire by chance (0.3 % to 8.7 %): 52 training clips against all other scenes, and "
        "9 of 18 held-out clips; 26 more are too short for a motion score. It finds 88 % of 59 edited copies."
    ]
    assert calibrated(table.assign(fpr=np.nan), shares, metrics) == [
        "x, motion: not measured, for the calibration supports no threshold."
    ]


def test_copies_are_counted_with_their_prompts():
    rows = [("m", "video", 0, 18, 0.0), ("m", "video", 4, 16, 0.25), ("m", "image", 1, 6, 0.0)]
    assert copies_found(pd.DataFrame(rows, columns=["model", "data", "copies", "n", "content_share"]), LABELS) == [
        "Model M, videos: prompts that bring back their own clip, by its copies in training: 0 of 18 held-out, 4 of 16 with 4.",
        "Model M, images: prompts that bring back their own clip, by its copies in training: 0 of 6 with 1.",
    ]


def test_the_best_detector_is_told_with_what_it_finds():
    row = {"model": "m", "steps": "1", "generations": 1, "truth": "planted", "data": "video", "copies": "16+", "status": "ok",
           "n_positive": 19, "n_negative": 258, "auc_low": 0.8, "auc_high": 0.97, "tpr_low": 0.1, "tpr_high": 0.4}  # fmt: skip
    best = row | {"detector": "content", "auc": 0.937, "tpr_at_1_fpr": 0.210526}
    table = pd.DataFrame([
        row | {"detector": "motion", "auc": 0.79, "tpr_at_1_fpr": 0.3}, best,
        best | {"detector": "late", "auc": 0.99, "steps": "all"}, best | {"detector": "few", "auc": 0.99, "copies": "4"},
        best | {"detector": "none", "auc": np.nan, "status": "not_defined"},
    ])  # fmt: skip
    assert detected(table, LABELS) == [
        "Model M: the best of 2 detectors (content) tells 19 prompts of clips with 16 or more copies from 258 harmless ones "
        "with an AUC of 0.94 (0.80 to 0.97). At 1 % false alarms it finds 21 % of them (10 % to 40 %)."
    ]
    assert "false alarms" not in detected(table.assign(tpr_at_1_fpr=np.nan), LABELS)[0]
    assert detected(table.assign(status="not_defined"), LABELS) == []


def test_a_mitigation_says_what_it_removes_and_costs():
    row = {"name": "soft", "model": "m", "n_prompts": 8, "clip_similarity": 0.2545, "content_share_before": 1.0,
           "content_share_after": 0.125, "motion_share_before": 0.0, "motion_share_after": 0.0}  # fmt: skip
    assert mitigated(pd.DataFrame([row]), LABELS) == [
        "“soft” on Model M: 8 of 8 prompts replay content before and 1 after (88 % removed), 0 of 8 prompts replay motion "
        "before and 0 after. The new clips resemble the old ones by 0.25 (1: the same)."
    ]


@pytest.mark.parametrize("split", ["member", "image"])
def test_an_inversion_counts_training_images_and_held_out_ones(split):
    rows = [("net", split, 1), ("net", split, 0), ("net", "heldout", 0)]
    assert inverted(pd.DataFrame(rows, columns=["model", "split", "n_replicated"])) == [
        "“net”: 1 of 2 training images come back, and 0 of 1 held-out images."
    ]

"""Groups of scores behind the figure of their distributions."""

import numpy as np
import pandas as pd

from vidmem.exhibits.score_groups import generated_scores, real_scores, thresholds_in_force, unrelated_scores

SCORES = pd.DataFrame(
    [("b", "ofs_k", 0.2, np.nan), ("b", "gsscd", 0.9, 0.5), ("a", "gsscd", 0.1, 0.4), ("c", "gsscd", 0.3, 0.5)],
    columns=["clip_id", "metric", "value", "threshold"],
)


def pairs(*rows):
    names = ["metric", "variant", "filter", "control", "first", "second", "value"]
    return pd.DataFrame(rows, columns=names)


def test_scores_are_grouped_by_the_split_of_their_prompt_in_the_order_of_clips():
    clips = pd.DataFrame({"clip_id": ["c", "b", "a"], "split": ["", "heldout", "member"]})
    table = generated_scores(SCORES, clips, "Net")
    assert table["group"].tolist() == ["Net:\n" + name for name in ("member captions", *["held-out captions"] * 2, "no prompt")]
    assert table["value"].tolist() == [0.1, 0.9, 0.2, 0.3]
    shuffled = generated_scores(SCORES[::-1], clips[::-1], "Net")
    pd.testing.assert_frame_equal(table, shuffled)
    assert set(real_scores(SCORES)["group"]) == {"real held-out clips"}


def test_every_unrelated_clip_counts_with_its_best_pair():
    table = pairs(
        ("gsscd", "sscd", "none", "unrelated", "a", "b", 0.1),
        ("gsscd", "sscd", "none", "unrelated", "b", "c", 0.3),
        ("gsscd", "sscd", "none", "edit", "a", "c", 1.0),
        ("vsscd", "sscd", "none", "unrelated", "a", "b", 0.9),
    )
    found = unrelated_scores(table, "gsscd", "ofs_k", "joint exact")
    assert found["value"].tolist() == [0.1, 0.3, 0.3]


def test_motion_counts_in_its_own_variant_after_the_whole_filter():
    last = "static+affine+entropy"
    table = pairs(
        ("ofs_k", "joint exact", last, "unrelated-moving", "a", "b", 0.4),
        ("ofs_k", "joint exact", "none", "unrelated-moving", "a", "b", 0.8),
        ("ofs_k", "mean exact", last, "unrelated-moving", "a", "b", 0.7),
        ("ofs_k", "joint exact", last, "unrelated-moving", "c", "d", -1.0),
    )
    assert unrelated_scores(table, "gsscd", "ofs_k", "joint exact")["value"].tolist() == [0.4, 0.4]


def test_thresholds_in_force_are_those_that_judged():
    found = thresholds_in_force(SCORES, {"gsscd": "GSSCD", "ofs_k": "OFS-4", "vsscd": "VSSCD"})
    assert found == {"GSSCD": [0.4, 0.5], "OFS-4": [], "VSSCD": []}

"""Signals of captions, ranks, and lists that are appended."""

import numpy as np
import pandas as pd
import pytest

from captioned_clips import signals
from hostile_prompts import HOSTILE
from vidmem.prompts.curation import add_white_box, append_lists, rank_prompts


def test_every_signal_of_a_caption_is_a_column(captioned):
    found = signals(captioned).set_index("target")
    assert set(found.index) == {"a", "b", "c", "d", "f"}  # e says what b says
    assert found.loc[["a", "b", "c", "d"], "n_near_duplicate_clips"].tolist() == [1, 1, 0, 0]
    assert found.loc[["a", "b", "c", "f"], "n_identical_captions"].tolist() == [2, 2, 1, 1]  # e is held out
    assert found.loc["b", "cluster"] == "a"
    assert found.loc["f", ["cluster_reason", "availability"]].tolist() == ["missing: no such file", "gone"]
    assert found.loc["d", "status"] == "skipped"
    assert found.loc["d", "rank"] is pd.NA
    assert found.loc["d", "n_identical_captions"] is pd.NA
    assert sorted(found["rank"].dropna()) == [1, 2, 3, 4]
    assert found.index[0] == "a"
    shuffled = signals(captioned.sample(frac=1, random_state=3).reset_index(drop=True)).set_index("target")
    pd.testing.assert_frame_equal(shuffled, found)


def test_ranks_are_means_over_what_was_measured():
    table = pd.DataFrame(
        {
            "prompt_id": list("vwxyz"),
            "status": ["ok", "ok", "ok", "ok", "skipped"],
            "copies": pd.array([4, 4, 1, None, 64], "Int64"),
            "white_box": [0.1, 0.9, 0.5, 0.9, 1.0],
            "n_near_captions": 0,
        }
    )
    found = rank_prompts(table, ["copies", "white_box", "n_near_captions"]).set_index("prompt_id")
    assert found["rank_copies"].to_dict() == pytest.approx({"v": 1.5, "w": 1.5, "x": 3, "y": np.nan, "z": np.nan}, nan_ok=True)
    wanted = {"v": (1 / 3 + 3.5 / 4) / 2, "w": (1 / 3 + 1 / 4) / 2, "x": (2.5 / 3 + 2.5 / 4) / 2, "y": 1 / 4, "z": np.nan}
    assert found["combined"].to_dict() == pytest.approx(wanted, nan_ok=True)
    assert list(found.index) == ["y", "w", "v", "x", "z"]
    assert found["rank"].tolist()[:4] == [1, 2, 3, 4]
    assert found.loc["z", "rank"] is pd.NA
    assert set(found.loc[list("vwxy"), "rank_n_near_captions"]) == {2.5}  # kept, but it says nothing
    nothing = rank_prompts(table.assign(copies=1, white_box=np.nan), ["copies", "white_box"])
    assert list(nothing["prompt_id"]) == list("vwxyz")
    assert nothing["combined"].isna().all()


def test_one_step_scores_of_models_meet_on_one_scale(captioned):
    table = signals(captioned)
    probed = pd.DataFrame({"prompt_id": "", "prompt": ["A cat. ", "a dog", "A cat.", "else"], "value": [3.0, 7.0, 5.0, 100.0]})
    found = add_white_box(table, {"one": probed, "two": probed.assign(value=probed["value"] * -1000)}).set_index("prompt")
    assert found.loc["A cat.", "white_box_one"] == 5
    assert found.loc["a dog", "white_box_two"] == -7000
    shares = {"A cat.": (0.5 / 3 + 2.5 / 3) / 2, "a dog": (1.5 / 3 + 1.5 / 3) / 2}
    assert found.loc[list(shares), "white_box"].to_dict() == pytest.approx(shares)
    assert found.loc["a cat", "white_box"] != found.loc["a cat", "white_box"]  # not probed: missing, not 0
    alone = add_white_box(table, {"one": probed}).set_index("prompt")
    assert alone.loc["a dog", "white_box"] > alone.loc["A cat.", "white_box"]
    assert add_white_box(table, {})["white_box"].isna().all()


def test_lists_are_appended_with_their_labels_and_the_signals_of_their_captions(curated):
    assert len(curated) == 5 + 12
    same_text = curated[curated["caption"] == "a dog"].set_index("source")
    own, listed = same_text.loc["corpus-c"], same_text.loc["extra"]
    same = ["cluster", "copies", "n_identical_captions", "n_near_duplicate_clips"]
    assert own[same].tolist() == listed[same].tolist()
    assert listed[["label", "label_source", "licence", "target", "line"]].tolist() == ["VM|x", "a paper", "MIT", "http://a", 1]
    assert own[["label", "label_source", "licence", "split"]].tolist() == ["", "", "CC0", "image"]
    assert (own["white_box_tiny"], np.isnan(listed["white_box_tiny"])) == (1.0, True)  # the model was not shown that text
    other = curated[curated["prompt"] == HOSTILE[0]].iloc[0]
    assert other["copies"] is pd.NA
    assert other["white_box_tiny"] == 5
    assert curated["status"].value_counts().to_dict() == {"ok": 15, "skipped": 2}
    assert sorted(curated["rank"].dropna()) == list(range(1, 16))
    assert curated["rank"].tail(2).isna().all()


def test_appending_nothing_changes_no_row(captioned):
    table = signals(captioned).assign(source="corpus-c", licence="")
    pd.testing.assert_frame_equal(append_lists(table, [])[list(table)], table)

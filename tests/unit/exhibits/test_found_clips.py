"""The answer to "is this file in there?" from made matches."""

import json

import numpy as np
import pandas as pd

from vidmem.exhibits.found_clips import COLUMNS, answer_lines, chance_lines, found_page, found_rows, headline
from vidmem.search.matches import COLUMNS as MATCHES

WINDOWS = pd.DataFrame({
    "clip_id": ["0-0001", "0-0002", "0-0003"], "fps": 8.0, "count": [16, 16, 0], "reason": ["", "", "the end is damaged"],
    "provenance": [json.dumps({"start_s": start}) for start in (0.0, 2.0, 4.0)],
})  # fmt: skip
CLIPS = pd.DataFrame({
    "clip_id": ["a", "b"], "set": "corpus-films", "caption": ["<b>a</b>", ""], "fps": 4.0,
    "provenance": [json.dumps({"kind": "folder", "file": "films/a.mp4", "start_s": 10.0}), json.dumps({"kind": "folder"})],
})  # fmt: skip


def match(query, reference, score, kind, frames=(4, 2), natural="", rank=1, view=""):
    return dict(zip(MATCHES, (query, reference, *frames, score, rank, "exact", kind, natural, "p", view))) | {"kind": kind}


def found(*matches, role="training"):
    return found_rows(pd.DataFrame(matches), WINDOWS, CLIPS, role, "films", {"content": 0.5, "motion": 0.4})


def test_rows_have_the_seconds_of_both_files():
    rows = found(match("0-0002", "a", 0.8, "content"), match("0-0002", "b", 0.7, "content", rank=2))
    assert list(rows.columns) == COLUMNS
    (row,) = rows.to_dict("records")
    assert (row["window_s"], row["file_s"], row["clip_s"]) == (2.0, 2.5, 10.5)
    assert (row["file"], row["verdict"], row["threshold"]) == ("films/a.mp4", True, 0.5)


def test_a_window_without_a_score_says_why():
    (row,) = found(match("0-0001", "", np.nan, "motion", (-1, -1), natural="static")).to_dict("records")
    assert (row["verdict"], row["clip_id"], row["reason"]) == (False, "", "static")
    assert np.isnan(row["clip_s"])


def test_the_answer_says_what_matches_and_where():
    rows = found(
        match("0-0001", "a", 0.8, "content"), match("0-0002", "b", 0.6, "content", view="mirrored"),
        match("0-0001", "b", 0.3, "motion"), match("0-0002", "", np.nan, "motion", (-1, -1), natural="static"),
    )  # fmt: skip
    assert answer_lines("x\n.mp4", WINDOWS, rows) == [
        "Found: x .mp4, or a part of it, looks or moves like a training clip; no generated clip is like it. "
        "2 windows of it were looked up.",
        "1 window could not be read: the end is damaged.",
        "Training clips of films, content: found. 2 of 2 windows match 2 clips.",
        "  a (films/a.mp4): second 0.50 of the file is second 10.50, score 0.800",
        "  b: second 2.50 of the file is second 0.50, score 0.600, mirrored",
        "Training clips of films, motion: not found. The closest is b at 0.300, below the threshold 0.400.",
    ]
    still = found(match("0-0001", "", np.nan, "motion", (-1, -1), natural="short"))
    assert answer_lines("x", WINDOWS, still)[-1] == (
        "Training clips of films, motion: not compared, the file shows no movement of its own."
    )


def test_the_headline_weighs_training_and_generated_clips():
    def told(*found_in):
        return headline("x", pd.concat([found(match("0-0001", "a", score, "content"), role=role) for role, score in found_in]))

    assert told(("training", 0.9), ("generated", 0.8)) == (
        "Found: x, or a part of it, looks or moves like a training clip; models generated clips like it."
    )
    assert told(("training", 0.2), ("generated", 0.8)) == (
        "Not found in the training data: x, or a part of it, matches no training clip; models generated clips like it."
    )
    assert told(("training", 0.2), ("held out", 0.9), ("generated", 0.1)) == (
        "Not found in the training data: x, or a part of it, matches no training clip; no generated clip is like it. "
        "It matches a clip that was held out."
    )


def test_the_answer_says_how_often_chance_matches():
    table = pd.DataFrame({"corpus": "films", "metric": ["gsscd", "wofs_k"], "normalisation": "raw", "negatives": "together",
                          "chosen_on": "configuration", "fpr": [0.0, np.nan], "n_fired": [1, 0], "n_negative": [61, 0],
                          "recall": [0.96, np.nan]})  # fmt: skip
    content, motion, last = chance_lines(table, "films", {"content": "gsscd", "motion": "wofs_k"})
    assert content == (
        "For comparison: 1 of 61 unrelated real clips reach the threshold of content, and so do 96 % of edited copies."
    )
    assert motion == "How often motion matches by chance was not measured."
    assert "try of its own" in last


def test_hostile_names_are_text_on_the_page():
    rows = found(match("0-0001", "a", 0.8, "content"))
    shown = [row | {"video": "data:video/mp4;base64,AA", "words": "Training clips"} for row in rows.to_dict("records")]
    page = found_page("<script>alert(1)</script>", "mine", ["<i>one</i>"], rows, shown)
    assert "<script>" not in page.split("</style>")[1]
    assert "&lt;b&gt;a&lt;/b&gt;" in page
    assert "&lt;i&gt;one&lt;/i&gt;" in page

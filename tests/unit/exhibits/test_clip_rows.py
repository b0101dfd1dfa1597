"""A row for every training clip: what comes closest to it, from which file, and the answer in a sentence."""

import numpy as np
import pandas as pd

from vidmem.base.clip_table import clip_row, clip_table
from vidmem.exhibits.clip_rows import COLUMNS, clip_answer, nearest_generated, times_replayed, training_rows


def clips(names, clip_set, **about):
    rows = [clip_row(about.get("provenance", {}), clip_id=name, set=clip_set, source="s", first=0, count=8, fps=8.0,
                     split=about.get("split", "member"), caption=f"caption of {name}") for name in names]  # fmt: skip
    return clip_table(rows)


def match(metric, query, reference, score, frames=(2, 4)):
    return {"metric": metric, "query": query, "reference": reference, "score": score, "query_frame": frames[0],
            "reference_frame": frames[1], "view": "", "model": "m"}  # fmt: skip


MATCHES = pd.DataFrame([
    match("gsscd", "g1", "a", 0.9), match("gsscd", "g2", "a", 0.95), match("gsscd", "g1", "b", 0.3),
    match("gsscd", "g2", "", np.nan),
    match("wofs_k", "g1", "b", 0.6),
])  # fmt: skip
OWN = pd.DataFrame([{"metric": "gsscd_own", "clip_id": "g3", "match": "c", "value": 0.2, "query_frame": 1, "reference_frame": 1,
                     "view": "", "model": "m"}])  # fmt: skip


def table():
    film = {"kind": "file", "file": "films/a.mp4", "start_s": 3.0}
    training = pd.concat([clips(["b", "a", "c", "d"], "corpus-x", provenance=film),
                          clips(["h"], "corpus-x", split="heldout")])  # fmt: skip
    training.loc[training["clip_id"] == "d", "status"] = "missing"
    made = clips(["g1", "g2", "g3"], "generated-m", provenance={"kind": "files", "file": "out/g.mp4"}).assign(model="m")
    nearest = {kind: nearest_generated(MATCHES, OWN, metric) for kind, metric in (("content", "gsscd"), ("motion", "wofs_k"))}
    scores = pd.DataFrame({"metric": "gsscd", "match": ["a", "a", "b"], "verdict": [True, True, False]})
    times = {"content": times_replayed(scores, "gsscd"), "motion": times_replayed(scores, "wofs_k")}
    return training_rows(training, made, nearest, {"content": 0.5, "motion": 0.5}, times).set_index("clip_id")


def test_every_training_clip_has_its_best_generated_clip():
    rows = table()
    assert list(rows.index) == ["a", "b", "c", "d"]
    assert list(rows.reset_index().columns) == COLUMNS
    assert rows["content_generated"].tolist() == ["g2", "g1", "g3", ""]
    assert rows["content_score"].tolist()[:3] == [0.95, 0.3, 0.2]
    assert rows["content_verdict"].tolist() == [True, False, False, False]
    assert rows["content_times"].tolist() == [2, 0, 0, 0]
    assert rows.loc["b", ["motion_generated", "motion_verdict"]].tolist() == ["g1", True]
    assert rows.loc["a", ["content_training_s", "content_generated_s"]].tolist() == [3.5, 0.25]
    assert rows.loc["a", ["content_training_frame", "content_generated_frame"]].tolist() == [4, 2]
    assert rows.loc["a", ["file", "content_generated_file", "content_prompt"]].tolist() == [
        "films/a.mp4", "out/g.mp4", "caption of g2",
    ]  # fmt: skip


def test_the_answer_on_a_clip_says_what_is_known():
    rows = table()["answer"]
    assert rows["a"] == (
        "Its content is replayed: g2 reaches 0.95, and 2 in all replay it. "
        "Its motion: no score, for no generated clip has it among its closest clips."
    )
    assert rows["b"] == "Its content: not found, the closest is g1 at 0.30. Its motion is replayed: g1 reaches 0.60."
    assert rows["d"] == "Not known: the clip could not be compared (missing)."
    assert "no score" in clip_answer({"status": "ok", "content_score": np.nan, "motion_score": np.nan})


def test_without_a_threshold_nothing_is_replayed():
    training, made = clips(["a"], "corpus-x"), clips(["g1", "g2"], "generated-m").assign(model="m")
    nearest = {kind: nearest_generated(MATCHES, OWN, "gsscd") for kind in ("content", "motion")}
    unknown, never = dict.fromkeys(("content", "motion"), np.nan), dict.fromkeys(("content", "motion"), pd.Series(dtype=int))
    assert not training_rows(training, made, nearest, unknown, never)["content_verdict"].any()

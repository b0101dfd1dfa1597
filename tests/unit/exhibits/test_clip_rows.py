"""A row for every training clip: what comes closest to it, from which file, and the answer in a sentence."""

import numpy as np
import pandas as pd

from vidmem.base.clip_table import clip_row, clip_table
from vidmem.exhibits.clip_rows import COLUMNS, clip_answer, pair_scores, training_rows, without_motion
from vidmem.features.clip_features import ClipFeatures
from vidmem.features.motion_rule import MotionRule
from vidmem.features.natural_motion import NaturalMotionFilter


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
    match("wofs_k", "g1", "b", 0.6), match("gsscd", "g3", "b", 0.55), match("gsscd", "g3", "a", 0.7),
])  # fmt: skip
OWN = pd.DataFrame([{"metric": "gsscd_own", "clip_id": "g3", "match": "c", "value": 0.2, "query_frame": 1, "reference_frame": 1,
                     "view": "", "model": "m"}])  # fmt: skip


def table():
    film = {"kind": "file", "file": "films/a.mp4", "start_s": 3.0}
    training = pd.concat([clips(["b", "a", "c", "d"], "corpus-x", provenance=film),
                          clips(["h"], "corpus-x", split="heldout")])  # fmt: skip
    training.loc[training["clip_id"] == "d", "status"] = "missing"
    made = clips(["g1", "g2", "g3"], "generated-m", provenance={"kind": "files", "file": "out/g.mp4"}).assign(model="m")
    pairs = {kind: pair_scores(MATCHES, OWN, metric) for kind, metric in (("content", "gsscd"), ("motion", "wofs_k"))}
    motionless = {"a": "it has no movement of its own"}
    return training_rows(training, made, pairs, {"content": 0.5, "motion": 0.5}, motionless).set_index("clip_id")


def test_every_training_clip_has_its_best_generated_clip():
    rows = table()
    assert list(rows.index) == ["a", "b", "c", "d"]
    assert list(rows.reset_index().columns) == COLUMNS
    assert rows["content_generated"].tolist() == ["g2", "g3", "g3", ""]
    assert rows["content_score"].tolist()[:3] == [0.95, 0.55, 0.2]
    assert rows["content_verdict"].tolist() == [True, True, False, False]
    assert rows["content_times"].tolist() == [3, 1, 0, 0]  # g3 replays two clips, and b is the best match of no clip
    assert rows.loc["b", ["motion_generated", "motion_verdict"]].tolist() == ["g1", True]
    assert rows.loc["a", ["content_training_s", "content_generated_s"]].tolist() == [3.5, 0.25]
    assert rows.loc["a", ["content_training_frame", "content_generated_frame"]].tolist() == [4, 2]
    assert rows.loc["a", ["file", "content_generated_file", "content_prompt"]].tolist() == [
        "films/a.mp4", "out/g.mp4", "caption of g2",
    ]  # fmt: skip


def test_the_answer_on_a_clip_says_what_is_known():
    rows = table()["answer"]
    assert rows["a"] == (
        "Its content is replayed: g2 reaches 0.95, and 3 in all replay it. Its motion: it has no movement of its own."
    )
    assert rows["b"] == "Its content is replayed: g3 reaches 0.55. Its motion is replayed: g1 reaches 0.60."
    assert rows["d"] == "Not known: the clip could not be compared (missing)."
    assert rows["c"] == (
        "Its content: not found, the closest is g3 at 0.20. "
        "Its motion: no score, for no generated clip has it among its closest clips."
    )
    unknown = {"status": "ok", "content_score": np.nan, "motion_score": np.nan, "motionless": ""}
    assert clip_answer(unknown).count("no score") == 2


def test_a_clip_of_two_generated_clips_counts_each_of_them_once():
    own = OWN.assign(clip_id="g2", match="a", value=0.6)  # a pair that the search found, too
    pairs = pair_scores(MATCHES, own, "gsscd")
    assert pairs[pairs["clip_id"] == "a"][["generated", "score"]].values.tolist() == [["g2", 0.95], ["g1", 0.9], ["g3", 0.7]]


def test_a_clip_without_movement_says_why():
    """Flow measures by hand: nothing moves in 'still', a pan explains all of 'pan', and half of 'moving'."""
    pairs = [("still", 0.0, 0.0, 0.0), ("pan", 0.9, 10.0, 0.1), ("moving", 0.9, 10.0, 5.0)]
    rows = pd.DataFrame([
        {"clip_id": name, "pair": pair, "area": area, "energy": energy, "residual": residual, "entropy": 2.0, "magnitude": 1.0}
        for name, area, energy, residual in pairs for pair in range(3)
    ])  # fmt: skip
    spans = {name: (0, 3 * place, 3 * place + 3) for place, (name, *_) in enumerate(pairs)}
    training = clips(["still", "pan", "moving", "image", "short"], "corpus-x")
    training.loc[training["clip_id"] == "image", "count"] = 1
    training.loc[training["clip_id"] == "short", "count"] = 2
    flows = ClipFeatures(training, spans, [np.zeros((9, 2, 1, 1))], rows, "dis")
    rule = MotionRule(k=3, filter=NaturalMotionFilter(static=0.005, affine=0.65, entropy=0.1))
    natural, image = "it has no movement of its own", "it is a still image and has no movement"
    short = "it is too short for a motion score"
    assert without_motion(training, flows, rule) == {"still": natural, "pan": natural, "image": image, "short": short}
    both = MotionRule(k=3, filter=NaturalMotionFilter(static=0.005, sides="both"))
    assert without_motion(training, flows, both) == {"image": image, "short": short}


def test_without_a_threshold_nothing_is_replayed():
    training, made = clips(["a"], "corpus-x"), clips(["g1", "g2"], "generated-m").assign(model="m")
    pairs = {kind: pair_scores(MATCHES, OWN, "gsscd") for kind in ("content", "motion")}
    rows = training_rows(training, made, pairs, dict.fromkeys(("content", "motion"), np.nan), {})
    assert rows[["content_verdict", "content_times"]].to_numpy().tolist() == [[False, 0]]

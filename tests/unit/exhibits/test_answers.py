"""The answer of an audit: a share read against real clips, and what is said of it."""

import copy

import numpy as np
import pytest

from refusals import refused
from vidmem.exhibits.answers import (
    INCONCLUSIVE,
    NO_EVIDENCE,
    REPLAYS,
    UNDEFINED,
    AnswerRule,
    Floor,
    answer_of,
    comparison_of,
    difference_interval,
    lacking_parts,
    percent,
    strongest_matches,
    summary_of,
)
from vidmem.features.statistics import Interval, share_interval

RULE = AnswerRule(margin=0.1, missing=0.1)


def test_the_interval_of_a_difference_is_newcombes():
    """Newcombe, Statistics in Medicine 17, 1998, table II, method 10."""
    for first, second, low, high in (((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090)):
        found = difference_interval(share_interval(*first), share_interval(*second))
        assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_the_interval_of_a_difference_covers_it(stream):
    covered = 0
    for _ in range(2000):
        found = stream.binomial(96, 0.3), stream.binomial(18, 0.1)
        interval = difference_interval(share_interval(found[0], 96), share_interval(found[1], 18))
        covered += interval.low <= 0.2 <= interval.high
    assert 0.93 < covered / 2000 < 0.99


def test_the_floor_is_that_of_as_many_clips_as_a_prompt_has(stream):
    reached = (stream.random((200_000, 3)) < 0.1).any(axis=1).mean()
    assert Floor(Interval(0.1, 0.05, 0.2), 3).raised.value == pytest.approx(reached, abs=0.005)
    assert Floor(Interval(0.1, 0.05, 0.2)).raised == pytest.approx((0.1, 0.05, 0.2))


@pytest.mark.parametrize(
    ("found", "floor", "answer", "reason"),
    [((38, 100), (0, 18), REPLAYS, "at least 18 percentage points above chance (floor 0 %)"),
     ((3, 100), (0, 100), NO_EVIDENCE, "at most 8.5 percentage points above chance (floor 0 %)"),
     ((0, 1000), (90, 100), NO_EVIDENCE, "at least 83 percentage points below chance (floor 90 %)"),
     ((12, 96), (2, 18), INCONCLUSIVE, "from 21 percentage points below chance to 13 above it (floor 11 %)"),
     ((48, 48), (18, 18), INCONCLUSIVE, "from 7.4 percentage points below chance to 18 above it (floor 100 %)"),
     ((0, 8), (0, 8), INCONCLUSIVE, "from 32 percentage points below chance to 32 above it (floor 0 %)"),
     ((0, 1000), (0, 1000), NO_EVIDENCE, "at most 0.4 percentage points above chance (floor 0 %)")],
)  # fmt: skip
def test_a_share_is_read_against_its_floor(found, floor, answer, reason):
    read = answer_of(share_interval(*found), Floor(share_interval(*floor)), [], RULE)
    assert (read.answer, read.reason) == (answer, reason)


def test_more_tries_make_replays_harder_and_no_evidence_no_easier():
    """By hand, 6 of 96 and 1 of 18: 0.0625 - 0.0556 + hypot(0.1297 - 0.0625, 0.0556 - 0.0099) = 0.088, whatever the tries."""
    few, floor = share_interval(3, 96), share_interval(1, 18)
    told = "at most 4.8 percentage points above chance (floor 5.6 % for one clip, 11 % for 2 independent tries)"
    read = answer_of(few, Floor(floor, 2), [], RULE)
    assert (read.answer, read.reason) == (NO_EVIDENCE, told)
    assert read.difference.high == answer_of(few, Floor(floor), [], RULE).difference.high == pytest.approx(0.0485, abs=1e-4)
    assert read.difference.low < answer_of(few, Floor(floor), [], RULE).difference.low
    assert Floor(floor, 8).excess(share_interval(6, 96)).high == pytest.approx(0.0882, abs=1e-4)
    # 12 of 96 are no 'no evidence', though chance had 8 tries; 40 of 96 exceed the floor of one try, not that of eight.
    assert answer_of(share_interval(12, 96), Floor(floor, 8), [], RULE).answer == INCONCLUSIVE
    answers = [answer_of(share_interval(40, 96), Floor(floor, tries), [], RULE).answer for tries in (1, 8)]
    assert answers == [REPLAYS, INCONCLUSIVE]


def test_what_is_missing_makes_an_answer_inconclusive():
    share, floor = share_interval(90, 100), Floor(share_interval(0, 50))
    assert answer_of(share, floor, [], RULE).answer == REPLAYS
    lacking = lacking_parts({"ok": 6, "missing": 8, "undecodable": 2}, 30, 100, RULE)
    assert lacking == ["10 of 16 training clips could not be compared", "30 of 100 prompts gave no clip"]
    answer = answer_of(share, floor, lacking, RULE)
    assert (answer.answer, answer.reason) == (INCONCLUSIVE, "; ".join(lacking))
    assert lacking_parts({"ok": 9, "missing": 1}, 10, 100, RULE) == []
    assert len(lacking_parts({}, 0, 0, RULE)) == 2
    assert answer_of(share, None, [], RULE).answer == INCONCLUSIVE
    assert answer_of(None, floor, [], RULE).answer == UNDEFINED


def test_a_rule_outside_its_range_is_refused():
    refused(lambda: AnswerRule(margin=1.5, missing=0.1), "margin", "0..1", "1.5")


MODEL = {
    "label": "Reference", "prompted": True, "prompts": ["a", "b"], "n_prompts": 96, "n_failed": 0,
    "replayed": {"content": ["a", "b"], "motion": ["a"]},
    "training": {"n_clips": 78, "n_compared": 78},
    "content": {"share": 0.375, "low": 0.284726, "high": 0.474893, "answer": REPLAYS, "n_scored": 96,
                "held_out": {"n": 18, "n_scored": 18, "share": 0.0},
                "worst": [{"generated": "p-1", "training": "t-2", "score": 0.953, "memorised": True}]},
    "motion": {"share": 0.125, "low": 0.073, "high": 0.206, "answer": INCONCLUSIVE, "n_scored": 73,
               "held_out": {"n": 18, "n_scored": 14, "share": 2 / 18}, "worst": []},
}  # fmt: skip


def test_the_summary_says_shares_floor_answers_and_what_is_missing():
    assert summary_of(MODEL, "Reference", 0.95) == (
        "Reference: 38 % of 96 prompts replay training content (95 % interval 28 to 47 %); "
        "12 % replay its motion (7.3 to 21 %; 73 have a motion score). "
        "Real clips it never saw: 0 of 18 by content, 2 of 18 by motion (14 have a motion score). "
        "Content: replays. Motion: inconclusive. 2 prompts replay content, at up to 0.95: p-1 against training clip t-2."
    )
    model = copy.deepcopy(MODEL) | {"prompted": False, "n_failed": 4, "training": {"n_clips": 16, "n_compared": 6}}
    model["motion"] |= {"share": None, "answer": UNDEFINED}
    text = summary_of(model, "a\u2028b\n<script>", 0.9)
    assert text.startswith("a b <script>: 38 % of 96 clips replay training content (90 % interval 28")
    assert "whether prompts replay its motion is not defined" in text
    assert "10 of 16 training clips could not be compared. 4 of 96 prompts gave no clip." in text
    assert "Real clips it never saw: 0 of 18 by content." in text
    model["motion"] |= {"share": 0.125, "held_out": {"n": 18, "n_scored": 0, "share": None}}
    assert "0 of 18 by content, none by motion." in summary_of(model, "a", 0.95)


def test_a_strong_match_by_motion_is_named_whatever_the_answer_is():
    best = {"generated": "p-3", "generated_file": "out/3.mp4", "training": "t-4", "score": 0.774, "memorised": True}
    model = copy.deepcopy(MODEL)
    model["motion"] |= {"worst": [best], "answer": NO_EVIDENCE}
    assert strongest_matches(model)[1] == "1 prompt replays motion, at up to 0.77: p-3 (out/3.mp4) against training clip t-4."
    assert "Motion: no evidence beyond chance. 2 prompts replay content" in summary_of(model, "a", 0.95)
    model["motion"]["worst"] = [best | {"memorised": False}]
    model["content"]["worst"][0] |= {"memorised": False, "score": 0.3}
    assert strongest_matches(model) == ["Strongest match by content: p-1 against training clip t-2, 0.30."]
    model["motion"]["worst"], model["replayed"]["motion"] = [best], []  # every clip of a prompt must count, and one does not
    assert strongest_matches(model)[1].startswith("Strongest match by motion: p-3")


def model(label, content, motion, prompts=("a", "b"), corpus="x", tries=1, answer=REPLAYS):
    """Part of a verdict with these shares: (value, low, high), or None."""
    parts = {
        kind: dict(zip(("share", "low", "high"), share or (None,) * 3)) | {"answer": answer, "tries": tries}
        for kind, share in (("content", content), ("motion", motion))
    }
    return {"label": label, "prompts": list(prompts), "corpus": corpus, **parts}


def test_models_are_compared_with_the_interval_of_their_difference():
    """By hand: 0.5 - 0.3 = 0.2, less and more hypot(0.1, 0.05) = 0.112; 0.1 - 0.08 = 0.02, less and more hypot(0.05, 0.04)."""
    first = model("A\u2028a", (0.3, 0.25, 0.35), (0.1, 0.05, 0.15))
    second = model("B", (0.5, 0.4, 0.6), (0.08, 0.04, 0.12))
    assert comparison_of([first], 0.95) == []
    assert comparison_of([first, second], 0.95) == [
        "By content, B is worse than A a by 20 percentage points (95 % interval 8.8 to 31). "
        "By motion, A a and B cannot be told apart: A a leads B by 2 percentage points (95 % interval -4.4 to 8.4)."
    ]
    (text,) = comparison_of([first, model("C", None, None, ("u",)), second], 0.95)
    assert text.startswith("By content, B is worse than A a by 20")
    assert text.endswith("The models were not given the same prompts, so part of a difference may come from that.")
    assert comparison_of([model(name, None, (0.1, 0.0, 0.2)) for name in "AB"], 0.95)[0].startswith(
        "By content, there are no two models"
    )


def test_what_makes_a_comparison_uneven_is_said_and_what_does_not_compare_is_left_out():
    share = (0.5, 0.4, 0.6), (0.1, 0.0, 0.2)
    (text,) = comparison_of([model("A", *share, tries=2), model("B", *share)], 0.95)
    assert text.endswith("A prompt counts if any of its clips does. Clips, and so tries, of a prompt: A 2, B 1.")
    apart = "Models of different corpora are not compared: their training clips and their floors differ."
    assert comparison_of([model("A", *share), model("B", *share, corpus="y")], 0.95) == [apart]
    (text,) = comparison_of([model("A", *share), model("B", *share, corpus="y"), model("C", *share)], 0.95)
    assert text.startswith(f"{apart} Corpus x: By content, A and C cannot be told apart")
    assert " B " not in text
    (text,) = comparison_of([model("A", *share), model("B", *share), model("C", *share, answer=INCONCLUSIVE)], 0.95)
    assert "By content, A and B cannot be told apart" in text
    assert text.count("for the answer is inconclusive: C.") == 2


def test_the_worst_of_many_models_is_named_with_those_like_it():
    rest = [model(name, (0.1, 0.05, 0.15), (0.5, 0.3, 0.7)) for name in "BCDEF"]
    (text,) = comparison_of([*rest, model("A", (0.9, 0.8, 0.95), (0.6, 0.4, 0.8))], 0.95)
    content, motion = text.split(" By motion, ")
    told = "A is worse than B, the next of 6 models, by 80 percentage points (95 % interval 69 to 87)."
    assert content == f"By content, {told}"
    told = "A, B, C and 3 more cannot be told apart: A leads B by 10 percentage points (95 % interval -18 to 38)"
    assert motion.startswith(told)


def test_percents_are_short_and_keep_their_sign():
    assert [percent(share) for share in (0, 0.004, 0.1, 0.999, 1, -0.5)] == ["0 %", "0.4 %", "10 %", "100 %", "100 %", "-50 %"]
    assert percent(np.float64(-0.0001)) == "0 %"

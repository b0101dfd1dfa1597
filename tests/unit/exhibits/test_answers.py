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
    answer_of,
    comparison_of,
    difference_interval,
    floor_of_prompts,
    lacking_parts,
    percent,
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
    fired = (stream.random((200_000, 3)) < 0.1).any(axis=1).mean()
    assert floor_of_prompts(Interval(0.1, 0.05, 0.2), 3).value == pytest.approx(fired, abs=0.005)
    assert floor_of_prompts(Interval(0.1, 0.05, 0.2), 1) == pytest.approx((0.1, 0.05, 0.2))


@pytest.mark.parametrize(
    ("found", "floor", "answer"),
    [((38, 100), (0, 18), REPLAYS), ((3, 100), (0, 100), NO_EVIDENCE), ((12, 96), (2, 18), INCONCLUSIVE),
     ((48, 48), (18, 18), INCONCLUSIVE), ((0, 8), (0, 8), INCONCLUSIVE), ((0, 1000), (0, 1000), NO_EVIDENCE)],
)  # fmt: skip
def test_a_share_is_read_against_its_floor(found, floor, answer):
    assert answer_of(share_interval(*found), share_interval(*floor), [], RULE).answer == answer


def test_what_is_missing_makes_an_answer_inconclusive():
    share, floor = share_interval(90, 100), share_interval(0, 50)
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
    "training": {"n_clips": 78, "n_compared": 78},
    "content": {"share": 0.375, "low": 0.284726, "high": 0.474893, "answer": REPLAYS, "n_scored": 96,
                "held_out": {"n": 18, "n_scored": 18, "share": 0.0},
                "worst": [{"generated": "p-1", "training": "t-2", "score": 0.953}]},
    "motion": {"share": 0.125, "low": 0.073, "high": 0.206, "answer": INCONCLUSIVE, "n_scored": 73,
               "held_out": {"n": 18, "n_scored": 14, "share": 2 / 18}, "worst": []},
}  # fmt: skip


def test_the_summary_says_shares_floor_answers_and_what_is_missing():
    assert summary_of(MODEL, "Reference") == (
        "Reference: 38 % of 96 prompts replay training content (28 to 47 %); 12 % replay its motion (7.3 to 21 %; "
        "73 have a motion score). Real clips it never saw: 0 of 18 by content, 2 of 18 by motion (14 have a motion score). "
        "Content: replays. Motion: inconclusive. Strongest match: p-1 against training clip t-2, 0.95."
    )
    model = copy.deepcopy(MODEL) | {"prompted": False, "n_failed": 4, "training": {"n_clips": 16, "n_compared": 6}}
    model["motion"] |= {"share": None, "answer": UNDEFINED}
    text = summary_of(model, "a\u2028b\n<script>")
    assert text.startswith("a b <script>: 38 % of 96 clips")
    assert "whether prompts replay its motion is not defined" in text
    assert "10 of 16 training clips could not be compared. 4 of 96 prompts gave no clip." in text
    assert "Real clips it never saw: 0 of 18 by content." in text
    model["motion"] |= {"share": 0.125, "held_out": {"n": 18, "n_scored": 0, "share": None}}
    assert "0 of 18 by content, none by motion." in summary_of(model, "a")


def model(label, content, motion, prompts=("a", "b")):
    """Part of a verdict with these shares: (value, low, high), or None."""
    parts = {
        kind: dict(zip(("share", "low", "high"), share or (None,) * 3))
        for kind, share in (("content", content), ("motion", motion))
    }
    return {"label": label, "prompts": list(prompts), **parts}


def test_models_are_compared_with_the_interval_of_their_difference():
    """By hand: 0.5 - 0.3 = 0.2, less and more hypot(0.1, 0.05) = 0.112; 0.1 - 0.08 = 0.02, less and more hypot(0.05, 0.04)."""
    first = model("A\u2028a", (0.3, 0.25, 0.35), (0.1, 0.05, 0.15))
    second = model("B", (0.5, 0.4, 0.6), (0.08, 0.04, 0.12))
    assert comparison_of([first]) == []
    assert comparison_of([first, second]) == [
        "By content, B is worse than A a by 20 percentage points (8.8 to 31). "
        "By motion, A a and B cannot be told apart: A a leads B by 2 percentage points (-4.4 to 8.4)."
    ]
    (text,) = comparison_of([first, model("C", None, None, ("u",)), second])
    assert text.startswith("By content, B is worse than A a by 20")
    assert text.endswith("The models were not given the same prompts, so part of a difference may come from that.")
    assert comparison_of([model(name, None, (0.1, 0.0, 0.2)) for name in "AB"])[0].startswith(
        "By content, there are no two models"
    )


def test_the_worst_of_many_models_is_named_with_those_like_it():
    rest = [model(name, (0.1, 0.05, 0.15), (0.5, 0.3, 0.7)) for name in "BCDEF"]
    (text,) = comparison_of([*rest, model("A", (0.9, 0.8, 0.95), (0.6, 0.4, 0.8))])
    content, motion = text.split(" By motion, ")
    assert content == "By content, A is worse than B, the next of 6 models, by 80 percentage points (69 to 87)."
    assert motion.startswith("A, B, C and 3 more cannot be told apart: A leads B by 10 percentage points (-18 to 38)")


def test_percents_are_short_and_keep_their_sign():
    assert [percent(share) for share in (0, 0.004, 0.1, 0.999, 1, -0.5)] == ["0 %", "0.4 %", "10 %", "100 %", "100 %", "-50 %"]
    assert percent(np.float64(-0.0001)) == "0 %"

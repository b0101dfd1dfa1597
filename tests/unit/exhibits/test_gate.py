"""The gate: two verdicts compared prompt by prompt, limits, and verdicts that do not compare."""

import copy
import importlib.util
import json

import pandas as pd
import pytest

from refusals import refused
from vidmem.exhibits.gate import (
    COLUMNS,
    NOT_DEFINED,
    check_comparable,
    check_complete,
    check_limits,
    compare_verdicts,
    gate_text,
    mcnemar,
    paired_difference,
    paired_models,
    read_verdict,
)


def verdict(content, motion=(), prompts=40, name="m"):
    ids = [f"p{number:02d}" for number in range(prompts)]
    definition = {"definition": {"metric": "gsscd", "threshold": 0.5}}
    kinds = {
        kind: definition | {"share": len(own) / prompts, "high": 0.9}
        for kind, own in (("content", content), ("motion", motion))
    }
    model = {"prompts": ids, "n_prompts": prompts, "replayed": {"content": list(content), "motion": list(motion)}, **kinds}
    model |= {"prompted": True, "n_failed": 0, "training": {"n_clips": 78, "n_compared": 78}}
    rule = {"margin": 0.1, "missing": 0.1}
    return {"format": 1, "models": {name: model}, "provenance": {"corpus_sha256": "a" * 64}, "answer": rule}


def lacking(compared=78, failed=0):
    """A verdict of an audit of which much is missing, so that it found nothing."""
    made = verdict([])
    made["models"]["m"] |= {"n_failed": failed, "training": {"n_clips": 78, "n_compared": compared}}
    return made


def rows(now, before, margin=0.0, common=0.9, level=0.95):
    section = {"margin": margin, "common": common}
    return pd.DataFrame(compare_verdicts(now, before, section, level), columns=COLUMNS).set_index("kind")


FEW, MANY = [f"p{number:02d}" for number in range(3)], [f"p{number:02d}" for number in range(15)]


def test_a_worse_model_is_held_back_and_its_new_prompts_are_named():
    table = rows(verdict(MANY), verdict(FEW))
    row = table.loc["content"]
    assert not row["passes"]
    assert row[["before", "now", "n"]].tolist() == [3 / 40, 15 / 40, 40]
    assert row["new"].split() == MANY[3:]
    assert row["low"] > 0
    assert table.loc["motion", "passes"]
    text = gate_text(table.reset_index())
    assert "FAIL  m, content: 7.5 % -> 38 % of 40 prompts" in text
    assert "difference 14 to 43 percentage points, allowed 0, p = 0.000488 (McNemar)" in text
    assert "new: p14" in text
    assert text.endswith("The gate holds the models back.")


def test_chance_and_the_margin_let_a_model_through():
    assert rows(verdict(FEW), verdict(MANY))["passes"].all()
    assert rows(verdict([*FEW, "p09"]), verdict(FEW))["passes"].all()  # one prompt is chance
    assert rows(verdict(MANY), verdict(FEW), margin=0.3)["passes"].all()
    assert gate_text(rows(verdict(FEW), verdict(FEW)).reset_index()).endswith("lets the models through.")


def test_the_interval_of_a_paired_difference_covers_it(stream):
    covered = 0
    for _ in range(2000):
        new, gone, _ = stream.multinomial(60, [0.25, 0.05, 0.7])
        interval = paired_difference(int(new), int(gone), 60, 0.95)
        covered += interval.low <= 0.2 <= interval.high
    assert 0.93 < covered / 2000 < 0.98


def test_mcnemar_is_a_sign_test():
    assert mcnemar(8, 0) == pytest.approx(2 / 2**8)
    assert mcnemar(0, 0) == mcnemar(3, 3) == 1


def test_mcnemar_decides_and_not_the_interval():
    """Five new prompts of 40: the interval lies above 0, and the exact test calls it chance."""
    row = rows(verdict(MANY[:5]), verdict([])).loc["content"]
    assert row["low"] > 0
    assert (row["p"], row["passes"]) == (2 / 2**5, True)
    assert not rows(verdict(MANY[:5]), verdict([]), level=0.9).loc["content", "passes"]
    row = rows(verdict(MANY[:6]), verdict([])).loc["content"]
    assert (row["p"], row["passes"]) == (2 / 2**6, False)
    assert rows(verdict(MANY[:6]), verdict([]), margin=6 / 40).loc["content", "passes"]  # at the margin is let through


def test_shares_are_of_the_prompts_in_both_audits():
    now, before = verdict(["p00", "p38", "p39"]), verdict(["p01"])
    now["models"]["m"]["prompts"] = now["models"]["m"]["prompts"][1:]
    row = rows(now, before).loc["content"]
    assert row[["before", "now", "n"]].tolist() == [1 / 39, 2 / 39, 39]
    assert (row["new"], row["gone"]) == ("p38 p39", "p01")
    said = "both shares are of the 39 prompts in both audits (40 before, 39 now)"
    assert row["note"] == said
    assert f"\n      {said}\n" in gate_text(rows(now, before).reset_index())


def test_too_few_prompts_in_both_audits_are_refused_by_name():
    few = verdict(["p01"], prompts=35)
    refused(lambda: rows(few, verdict(FEW)), "90 % of the prompts", "35 of 40; old only: p35, p36, p37", "prompts of model m")
    refused(lambda: rows(verdict(FEW), few), "35 of 40; new only: p35, p36, p37", "gate.common")
    assert rows(few, verdict(FEW), common=35 / 40)["n"].tolist() == [35, 35]
    assert rows(verdict([], prompts=36), verdict([]))["n"].tolist() == [36, 36]  # nine tenths are enough


def test_clips_of_a_model_without_prompts_are_called_clips():
    now, before = verdict(FEW), verdict(FEW)
    for made in (now, before):
        made["models"]["m"]["prompted"] = False
    assert "7.5 % -> 7.5 % of 40 clips, difference" in gate_text(rows(now, before).reset_index())
    now["models"]["m"]["n_failed"] = 40
    assert [row["note"] for row in check_complete(now)] == ["40 of 40 clips were not made"]


def test_a_model_that_is_gone_fails_and_a_new_one_is_named():
    now, before = verdict(FEW), verdict(FEW)
    now["models"]["fresh"] = before["models"]["old"] = now["models"]["m"]
    table = rows(now, before).set_index("model")
    assert table["passes"].tolist() == [True, True, True, False]
    assert table.loc["fresh", "note"] == "new, compared with nothing"
    assert table.loc["old", "note"] == "is not in the new verdict"
    text = gate_text(rows(now, before).reset_index())
    assert "pass  fresh, against: new, compared with nothing\nFAIL  old, against: is not in the new verdict\n" in text
    assert [row["model"] for row in check_limits(now, {"content_share": 0.5})] == ["m", "fresh"]


def test_a_share_that_is_not_defined_is_a_row():
    now, before = verdict(FEW), verdict(FEW)
    before["models"]["m"]["motion"]["share"] = None
    assert rows(now, before).loc["motion", ["passes", "note"]].tolist() == [False, NOT_DEFINED]
    assert rows(before, now).loc["motion", ["passes", "note"]].tolist() == [False, NOT_DEFINED]
    now["models"]["m"]["motion"]["share"] = None  # a model of images has no motion, before and now
    assert rows(now, before).loc["motion", ["passes", "note"]].tolist() == [True, f"{NOT_DEFINED} in either verdict"]
    for made in (now, before):
        made["models"]["m"]["content"]["share"] = None
    assert not rows(now, before)["passes"].any()  # nothing is left that was compared


def test_limits_are_checked():
    found = list(check_limits(verdict(FEW), {"content_share": 0.1, "content_share_high": 0.5}))
    assert [(row["rule"], row["passes"]) for row in found] == [("content_share", True), ("content_share_high", False)]
    undefined = verdict(FEW)
    undefined["models"]["m"]["motion"]["share"] = None
    (row,) = check_limits(undefined, {"motion_share": 0.0})
    assert (row["kind"], row["now"], row["passes"], row["note"]) == ("motion", None, False, NOT_DEFINED)
    text = gate_text(pd.DataFrame([*found, row], columns=COLUMNS))
    assert "FAIL  m, content_share_high: 90 %, allowed 50 %" in text
    assert "FAIL  m, motion_share: not checked: the share is not defined" in text


@pytest.mark.parametrize(("part", "reason"), [
    ({"compared": 5}, "73 of 78 training clips could not be compared"),
    ({"failed": 40}, "40 of 40 prompts gave no clip"),
    ({"compared": 0, "failed": 5}, "78 of 78 training clips could not be compared; 5 of 40 prompts gave no clip"),
])  # fmt: skip
def test_an_audit_that_saw_little_is_held_back(part, reason):
    (row,) = check_complete(lacking(**part))
    assert (row["model"], row["rule"], row["passes"], row["note"]) == ("m", "missing", False, reason)
    text = gate_text(pd.DataFrame([row], columns=COLUMNS))
    assert text == f"FAIL  m, missing: {reason}\nThe gate holds the models back."


def test_a_verdict_says_how_much_may_be_missing():
    assert list(check_complete(lacking(compared=71, failed=4))) == []  # 7 of 78 and 4 of 40 are at most a tenth
    strict = lacking(compared=71, failed=4) | {"answer": {"margin": 0.1, "missing": 0.0}}
    assert len(list(check_complete(strict))) == 1


def test_an_older_audit_that_saw_little_is_no_yardstick():
    refused(lambda: rows(verdict(FEW), lacking(compared=5)), "whole audit", "73 of 78 training clips", "model m")
    refused(lambda: rows(verdict(FEW), lacking(failed=40)), "whole audit", "40 of 40 prompts gave no clip", "audit the older")


def test_verdicts_that_do_not_compare_are_refused_by_name():
    now = verdict(FEW)
    other = copy.deepcopy(now)
    other["provenance"]["corpus_sha256"] = "b" * 64
    refused(lambda: check_comparable(now, other, 0.9), "one corpus", "bbbb", "against: corpus")
    other = copy.deepcopy(now)
    other["models"]["m"]["content"]["definition"]["threshold"] = 0.6
    refused(lambda: check_comparable(now, other, 0.9), "one definition", "0.5 and 0.6", "content.threshold")
    other = copy.deepcopy(now)
    other["models"]["m"]["prompts"] = ["q"]
    refused(
        lambda: check_comparable(now, other, 0.9), "90 % of the prompts in both audits", "0 of 40", "old only: q", "model m"
    )
    other = verdict(FEW, name="n")
    assert paired_models(now, other) == {"m": "n"}
    assert set(rows(now, other)["note"]) == {"compared with model n"}
    other["models"]["o"] = other["models"]["n"]
    refused(lambda: paired_models(now, other), "same name", "against")


def without(*keys):
    made = verdict(FEW)
    inner = made
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    return made


@pytest.mark.parametrize(("text", "parts"), [
    ("{", ["as JSON", "Expecting property name"]), ("\udcff", ["as JSON", "decode"]), ("[]", ["format 1", "no format"]),
    ("{}", ["format 1", "no format"]), (json.dumps(verdict(FEW) | {"format": 2}), ["format 1", "Got format 2"]),
    (json.dumps(without("models")), ["whole verdict", "'models' is a required property"]),
    (json.dumps(verdict(FEW) | {"models": {}}), ["whole verdict", "verdict.models"]),
    (json.dumps(without("models", "m", "content", "share")), ["'share' is a required", "verdict.models.m.content"]),
    (json.dumps(without("answer", "missing")), ["'missing' is a required", "verdict.answer"]),
    (json.dumps(verdict(FEW)).replace("0.075", "NaN"), ["as JSON", "NaN is no number"]),
])  # fmt: skip
def test_a_file_that_is_no_verdict_is_refused(tmp_path, text, parts):
    path = tmp_path / "other.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    refused(lambda: read_verdict(path, "against"), *parts, f"Where: against: {path}", "verdict.json of an audit")


def test_a_verdict_is_read_whole_and_a_folder_is_none(tmp_path):
    (tmp_path / "verdict.json").write_text(json.dumps(verdict(FEW)))
    assert read_verdict(tmp_path / "verdict.json", "against") == verdict(FEW)
    refused(lambda: read_verdict(tmp_path, "against"), "a verdict as JSON", "Is a directory", "against")


def test_the_script_fails_and_writes_what_it_found(root, tmp_path):
    spec = importlib.util.spec_from_file_location("gate", root / "workflow_scripts/gate.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for name, content in (("now", MANY), ("before", FEW)):
        (tmp_path / f"{name}.json").write_text(json.dumps(verdict(content)))
    section = {"margin": 0.0, "common": 0.9, "limits": {}}
    arguments = tmp_path / "now.json", str(tmp_path / "before.json"), section, 0.95, tmp_path / "gate"
    assert not script.gate(*arguments)
    assert "FAIL" in (tmp_path / "gate.txt").read_text()
    assert len(pd.read_csv(tmp_path / "gate.csv")) == 2
    limits = section | {"limits": {"content_share": 0.5}}
    (tmp_path / "blind.json").write_text(json.dumps(lacking(compared=5)))
    assert not script.gate(tmp_path / "blind.json", "", limits, 0.95, tmp_path / "gate")
    assert pd.read_csv(tmp_path / "gate.csv")["passes"].tolist() == [False, True]
    assert script.gate(tmp_path / "before.json", "", limits, 0.95, tmp_path / "gate")
    assert not script.gate(tmp_path / "before.json", "", section, 0.95, tmp_path / "gate")  # nothing to check is no pass
    other = verdict(FEW)
    other["provenance"]["corpus_sha256"] = "b" * 64
    (tmp_path / "before.json").write_text(json.dumps(other))
    refused(lambda: script.gate(*arguments), "one corpus", "against")
    assert not (tmp_path / "gate.txt").exists()

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


def rows(now, before, margin=0.0):
    return pd.DataFrame(compare_verdicts(now, before, margin, 0.95), columns=COLUMNS).set_index("kind")


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
    refused(lambda: check_comparable(now, other), "one corpus", "bbbb", "against: corpus")
    other = copy.deepcopy(now)
    other["models"]["m"]["content"]["definition"]["threshold"] = 0.6
    refused(lambda: check_comparable(now, other), "one definition", "0.5 and 0.6", "content.threshold")
    other = copy.deepcopy(now)
    other["models"]["m"]["prompts"] = ["q"]
    refused(lambda: check_comparable(now, other), "prompts that both audits have", "none", "model m")
    other = verdict(FEW, name="n")
    assert paired_models(now, other) == {"m": "n"}
    other["models"]["o"] = other["models"]["n"]
    refused(lambda: paired_models(now, other), "same name", "against")


def test_the_script_fails_and_writes_what_it_found(root, tmp_path):
    spec = importlib.util.spec_from_file_location("gate", root / "workflow_scripts/gate.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for name, content in (("now", MANY), ("before", FEW)):
        (tmp_path / f"{name}.json").write_text(json.dumps(verdict(content)))
    section = {"margin": 0.0, "limits": {}}
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

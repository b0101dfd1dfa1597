"""The profile for Slurm fits the rules, and a controller that is away is noticed."""

import re

import pytest
import yaml

from vidmem.base.slurm import held_jobs, ping_controller, watch_controller


@pytest.fixture
def rules(root):
    """Text of every rule by its name."""
    found = {}
    for path in (root / "rules").glob("*.smk"):
        _, *parts = re.split(r"^rule (\w+):$", path.read_text(), flags=re.MULTILINE)
        found |= dict(zip(parts[::2], parts[1::2]))
    return found


@pytest.fixture
def profile(root):
    return yaml.safe_load((root / "profiles/slurm/profile.yaml").read_text())


def outputs(text):
    return text.split("    output:")[1].split("    log:")[0] if "    output:" in text else ""


def test_every_sharded_rule_is_an_array(rules, profile):
    arrays = set(profile["slurm-array-jobs"].replace(" ", "").split(","))
    assert arrays == {name for name, text in rules.items() if "{shard}" in outputs(text) or "{part}" in outputs(text)}


def test_jobs_of_a_part_state_how_many_there_are(rules):
    """Which shards are a part's depends on it: files of another number must not pass for theirs."""
    parted = {name: text for name, text in rules.items() if "{part}" in outputs(text)}
    assert set(parted) == {"fill_index", "search_content", "search_motion"}
    assert [name for name, text in parted.items() if "parts=len(audit.sample_shards)" not in text] == []


def test_cores_are_stated_where_a_laptop_would_share_its_own(rules, profile):
    assert set(profile["set-threads"]) == {name for name, text in rules.items() if "share_of_cores(" in text}


def test_every_rule_on_a_gpu_has_a_place_for_its_model(rules, profile):
    assert set(profile["set-resources"]) == {name for name, text in rules.items() if re.search(r"\bgpu=", text)}


def test_jobs_are_not_limited_below_an_array(profile):
    """The executor would wait for the missing tasks of an array, which wait for it."""
    assert profile["jobs"] > profile["slurm-array-limit"]


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """A scontrol, and a squeue, that say what the test writes."""
    said = tmp_path / "said"
    for name in ("scontrol", "squeue"):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\n/bin/cat "{said}"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return said


def test_a_backup_that_answers_is_enough(scontrol):
    scontrol.write_text("Slurmctld(primary) at one is DOWN\nSlurmctld(backup) at two is UP\n")
    assert ping_controller() == ""


def test_what_was_heard_instead(scontrol, monkeypatch, tmp_path):
    scontrol.write_text("Slurmctld(primary) at one is DOWN\n*****\n")
    assert ping_controller() == "Slurmctld(primary) at one is DOWN"
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert "scontrol" in ping_controller()


def test_held_jobs_are_those_of_a_workflow_that_wait_for_somebody(scontrol):
    lines = (
        "7|launch failed requeued held|rule_score_clips_wildcards_tiny",
        "8_[2]|JobHeldUser|rule_read_corpus_wildcards_0",
        "9|Resources|rule_read_corpus_wildcards_1",
        "10|JobHeldAdmin|somebody's own|job",
        "slurm_load_jobs error: Unable to contact slurm controller",
    )
    scontrol.write_text("\n".join(lines))
    held = held_jobs()
    assert held.keys() == {"7", "8_[2]"}
    for words in ("rule_score_clips_wildcards_tiny", "launch failed requeued held", "scontrol release '7'", "scancel '7'"):
        assert words in held["7"]


def test_what_others_wrote_into_their_jobs_ends_no_watch(scontrol):
    scontrol.write_bytes(b"6|Resources|f\374r mich\n7|JobHeldUser|rule_score_clips\n")
    assert held_jobs().keys() == {"7"}


def test_a_held_job_is_named_once(monkeypatch):
    """An array of which some tasks are held by now is the same array."""
    answers = iter(["", "", "", "", "DOWN"])
    held = iter([{}, {"7": "held"}, {"7": "held", "8_[1-3]": "too"}, {"7": "held", "8_[2-3]": "fewer"}])
    monkeypatch.setattr("vidmem.base.slurm.ping_controller", lambda: next(answers))
    monkeypatch.setattr("vidmem.base.slurm.held_jobs", lambda: next(held))
    monkeypatch.setattr("vidmem.base.slurm.time.sleep", lambda seconds: None)
    warned = []
    watch_controller(lambda error: None, warned.append, patience_s=0)
    assert warned == ["held", "too"]


def test_silence_that_lasts_is_reported_once_and_an_answer_starts_anew(monkeypatch):
    """Away, back, away for good: the clock of the second absence starts at the answer between them."""
    now, answers = [0.0], iter(["DOWN", "DOWN", "", "DOWN", "DOWN", "DOWN", "DOWN"])
    monkeypatch.setattr("vidmem.base.slurm.ping_controller", lambda: next(answers))
    monkeypatch.setattr("vidmem.base.slurm.held_jobs", dict)
    monkeypatch.setattr("vidmem.base.slurm.time.sleep", lambda seconds: now.append(now[-1] + seconds))
    monkeypatch.setattr("vidmem.base.slurm.time.monotonic", lambda: now[-1])
    heard = []
    watch_controller(heard.append, lambda words: None, patience_s=30, every_s=10)
    assert now[-1] == 60  # answered at 30
    (error,) = heard
    assert (error.expected, error.got) == ("an answer of the Slurm controller", "'DOWN' for 30 s")
    assert "scancel" in error.hint

"""The smoke audit killed at twenty random moments, in every stage, ends with the same bytes."""

import random
import re

import pytest

from workflow_helpers import SMOKE, STAGES, exhibits, kill_when, running, started

pytestmark = pytest.mark.slow

KILLS = 20
BESIDE = {"train", "inversion", "estimate", "preflight", "gate", "find"}  # stages the smoke audit does not have


def timed_rules(smoke) -> dict[str, str]:
    """A rule of every stage of the smoke audit, one with a benchmark if there is one: those take long enough to be hit."""
    timed = {path.stem for path in (smoke[0] / "results/smoke/benchmarks").iterdir()}
    counted = set(re.findall(r"^(\w+) +\d+$", smoke[1].text, re.M)) & set(STAGES)
    return {STAGES[rule]: rule for rule in [*sorted(counted - timed), *sorted(counted & timed)]}


def test_killed_at_twenty_moments_in_every_stage(smoke, project, run):
    folder, moments, hit, rules = project(), random.Random(20), {}, timed_rules(smoke)
    for kill in range(KILLS):
        left = sorted(set(STAGES.values()) - BESIDE - set(hit))
        # Stages that were not hit yet come first: a job of theirs is made to run again, and killed. Then whatever comes next.
        stage, nth = left[0] if left else "", moments.randint(1, 3)
        again = ("--forcerun", rules[stage]) if stage else ()
        delay = moments.uniform(0, 0.3 if stage else 1.2)

        def ready(text: str, stage=stage, nth=nth) -> bool:
            return stage in running(text) if stage else len(started(text)) >= nth

        for met in running(kill_when(folder, ready, delay, (*SMOKE, *again))):
            hit.setdefault(met, kill)
        run(folder, "--unlock", *SMOKE)
    assert set(hit) == set(STAGES.values()) - BESIDE
    run(folder, "--cores", "2", *SMOKE)
    first, second = exhibits(smoke[0], "smoke"), exhibits(folder, "smoke")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert list((folder / "results/smoke").rglob(".*.tmp")) == []
    assert list((folder / "results/smoke").rglob("parts")) == []
    assert "Nothing to be done" in run(folder, "-n", "--cores", "2", *SMOKE).text


def test_a_list_of_shards_does_not_outlive_a_killed_shard(smoke, finished, run):
    def describing(text: str) -> bool:
        return "describe_frames" in [rule for job, rule in started(text).items() if f"Finished jobid: {job} " not in text]

    data = smoke[0] / "results/smoke/data"
    made = [path.relative_to(smoke[0]) for path in sorted(data.rglob("*.descriptors.npy"))]
    for delay in (0.3, 0.15, 0.6, 0.0, 1.0):  # a short job may be over before it is killed, or not have begun
        kill_when(finished, describing, delay, (*SMOKE, "--forcerun", "describe_frames"))
        gone = [path for path in made if not (finished / path).exists()]
        if gone:
            break
        run(finished, "--unlock", *SMOKE)
    assert gone
    assert [path for path in gone if (finished / path.parent / "shards-content.json").exists()] == []
    run(finished, "--unlock", *SMOKE)
    # What follows reads the lists. With a list that names a file that is gone, it would fail.
    run(finished, "--cores", "2", "--forcerun", "score_clips", "search_content", *SMOKE)
    assert [path for path in made if (finished / path).read_bytes() != (smoke[0] / path).read_bytes()] == []
    first, second = exhibits(smoke[0], "smoke"), exhibits(finished, "smoke")
    assert [name for name in first if first[name] != second.get(name)] == []

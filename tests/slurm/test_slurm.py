"""The audit on a real Slurm: arrays, GPUs, a cancelled job, a dead controller."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slurm_cluster import wait_for
from workflow_helpers import SMOKE, at_once, changed, exhibits, gpu_jobs

pytestmark = pytest.mark.slow

# Without accounting squeue must be asked; a test does not wait 40 s before it looks; and two threads a job, as in the smoke
# audit on two cores: sums in another order round differently.
THREADED = (
    "describe_frames", "compute_flow", "train_index", "search_content", "search_motion", "generate_clips", "probe_guidance",
    "mitigate_clips",
)  # fmt: skip
PROFILE = (
    "--workflow-profile", "profiles/slurm", "--set-threads", *(f"{rule}=2" for rule in THREADED),
    "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2", "--slurm-status-attempts", "3",
    "--max-status-checks-per-second", "1", "--latency-wait", "5",
)  # fmt: skip
GPU_RULES = ("generate_clips", "probe_guidance", "mitigate_clips")


class Run:
    """A run on the cluster, watched from outside."""

    def __init__(self, cluster, folder: Path, *arguments: str, **environment: str) -> None:
        self.cluster = cluster
        self.log = folder / "run.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "snakemake", *PROFILE, *arguments],
                cwd=folder, stdout=log, stderr=log, env=os.environ | cluster.environment | environment,
            )  # fmt: skip

    def wait_for_job(self, rule: str, limit_s: float = 240) -> dict[str, str]:
        """The first running job of a rule."""
        found: list[dict[str, str]] = []

        def running() -> bool:
            assert self.process.poll() is None, self.text()
            found[:] = [job for job in self.jobs() if job["state"] == "RUNNING" and job["what"].startswith(f"rule_{rule}")]
            return bool(found)

        wait_for(running, f"a job of {rule}", limit_s)
        return found[0]

    def jobs(self) -> list[dict[str, str]]:
        """Jobs of this run alone: their name at Slurm is the run's."""
        names = [line.split()[-1] for line in self.text().splitlines() if "SLURM run ID" in line]
        return [job for job in self.cluster.jobs() if job["run"] in names]

    def wait(self, limit_s: float = 600) -> int:
        try:
            return self.process.wait(limit_s)
        finally:
            self.process.kill()

    def text(self) -> str:
        return self.log.read_text()


@pytest.fixture(scope="module")
def audited(cluster, project):
    """The whole smoke audit through Slurm, during which one of its GPU jobs was cancelled."""
    folder = project()
    run = Run(cluster, folder, *SMOKE)
    victim = run.wait_for_job("generate_clips")
    cluster.ask("scancel", victim["id"])
    assert run.wait() == 0, run.text()[-6000:]
    return folder, victim, run.jobs()


def test_the_audit_has_the_same_bytes_as_on_a_laptop(audited, smoke):
    here, there = exhibits(smoke[0], "smoke"), exhibits(audited[0], "smoke")
    assert here.keys() == there.keys()
    assert [name for name in here if here[name] != there[name]] == []


def test_a_cancelled_job_is_tried_again_with_more_memory(audited):
    _, victim, jobs = audited
    assert [job["state"] for job in jobs if job["id"] == victim["id"]] == ["CANCELLED"]
    finished = [job["memory"] for job in jobs if job["state"] == "COMPLETED" and job["what"].startswith("rule_generate_clips")]
    assert len(finished) == 2
    assert "8000M" in finished  # twice 4000


def test_jobs_ask_for_the_gpus_of_their_rule(audited):
    finished = [job for job in audited[2] if job["state"] == "COMPLETED"]
    on_gpus = [job for job in finished if job["what"].startswith(tuple(f"rule_{rule}" for rule in GPU_RULES))]
    assert len(on_gpus) == 4
    assert {job["gpus"] for job in on_gpus} == {"gres:gpu:1"}
    assert {job["gpus"] for job in finished if job not in on_gpus} == {"N/A"}


def test_a_second_run_makes_what_is_missing_and_nothing_else(audited, cluster):
    """What jobs on the cluster made states the recipes that the next run expects."""
    folder, before = audited[0], exhibits(audited[0], "smoke")
    target = "results/smoke/tables/table2_memorization.csv"
    (folder / target).unlink()
    again = Run(cluster, folder, target, *SMOKE)
    assert again.wait() == 0, again.text()[-6000:]
    (made,) = again.jobs()
    assert made["what"].startswith("rule_tabulate_memorization"), again.text()[-6000:]
    assert exhibits(folder, "smoke") == before


def test_models_run_side_by_side_and_no_gpu_is_used_twice(cluster, project):
    """Two models in two shards each: four jobs, as one array, on four GPUs.

    What they need is made first: else one model may be done before the other's prompts are there. So all four start at once,
    in whatever order, take their own times, and what an earlier run on the cluster made is taken as it is.
    """
    folder, models = project(), ("tiny-text", "tiny-unconditional")
    needs = [f"results/smoke/{made}" for name in models for made in (f"prompts/{name}.parquet", f"models/{name}.json")]
    first = Run(cluster, folder, *needs, *changed(folder, "shards", 2))
    assert first.wait() == 0, first.text()[-6000:]
    submitted = first.jobs()
    targets = [f"results/smoke/data/generated-{name}/{shard}.clips.parquet" for name in models for shard in range(2)]
    run = Run(cluster, folder, *targets, *changed(folder, "shards", 2))
    assert run.wait() == 0, run.text()[-6000:]
    jobs = gpu_jobs(folder)
    pairs = at_once(jobs)
    assert len(jobs) >= 3  # a shard may be empty
    assert len({job.gpu for job in jobs}) > 2
    assert {job.gpu for job in jobs} <= {"0", "1", "2", "3"}
    assert any(one.model != other.model for one, other in pairs)
    assert [pair for pair in pairs if pair[0].gpu == pair[1].gpu] == []
    submitted += run.jobs()
    sharded = [job["id"] for job in submitted if job["what"].startswith(("rule_generate_", "rule_read_corpus"))]
    assert len(sharded) == 6
    assert all("_" in number for number in sharded)  # tasks of arrays


def without(smoke, folder: Path, model: str) -> str:
    """A copy of the audit that lacks a model's scores and what follows; the target that makes them again."""
    shutil.copytree(smoke[0], folder, symlinks=True)
    (folder / f"results/smoke/scores/generated-{model}.parquet").unlink()
    target = "results/smoke/tables/table2_memorization.csv"
    (folder / target).unlink()
    return target


def test_a_dead_controller_ends_the_run_and_the_next_one_finishes(cluster, smoke, tmp_path):
    folder = tmp_path / "project"
    target = without(smoke, folder, "tiny-text")
    before = exhibits(smoke[0], "smoke")
    run = Run(cluster, folder, target, *SMOKE, VIDMEM_CONTROLLER_PATIENCE_S="9")
    run.wait_for_job("score_clips")
    cluster.end_controller()
    try:
        assert run.wait(limit_s=180) == 1
    finally:
        cluster.restart_controller()
    for words in ("The cluster does not answer", "Expected an answer of the Slurm controller", "Hint: when it is back"):
        assert words in run.text()
    cluster.clear()
    again = Run(cluster, folder, target, *SMOKE)
    assert again.wait() == 0, again.text()[-6000:]  # nothing to unlock
    after = exhibits(folder, "smoke")
    assert [name for name in before if before[name] != after[name]] == []


def test_a_job_that_is_held_is_named(cluster, smoke, tmp_path):
    """The executor would wait for it without a word."""
    folder = tmp_path / "project"
    target = without(smoke, folder, "tiny-text")
    cluster.ask("scontrol", "update", "NodeName=n1", "State=DRAIN", "Reason=test")  # so that the job waits
    try:
        run = Run(cluster, folder, target, *SMOKE)
        wait_for(run.jobs, "a job", 120)
        (job,) = run.jobs()
        cluster.ask("scontrol", "hold", job["id"])
        wait_for(lambda: "will not start it by itself: JobHeldAdmin" in run.text(), "a word on the job", 60)
        assert f"scontrol release '{job['id']}'" in run.text()
    finally:
        cluster.ask("scontrol", "update", "NodeName=n1", "State=RESUME")
    cluster.ask("scontrol", "release", job["id"])
    assert run.wait() == 0, run.text()[-6000:]
    assert exhibits(folder, "smoke") == exhibits(smoke[0], "smoke")

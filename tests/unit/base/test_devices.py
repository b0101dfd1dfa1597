"""Every job on a machine of several GPUs holds a device of its own, and a killed job's device is free again."""

import os
import signal
import subprocess
import sys
import time

import pytest

from vidmem.base.devices import claim_device, visible_gpus
from vidmem.errors import VidmemError

HOLD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from vidmem.base.devices import claim_device
print(claim_device("auto", 1, wait_s=float(sys.argv[2])).gpu, flush=True)
time.sleep(60)
"""


@pytest.fixture
def pretend(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDMEM_PRETEND_GPUS", "4")
    monkeypatch.setenv("VIDMEM_LOCKS", str(tmp_path / "locks"))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    jobs = []
    yield jobs
    for job in jobs:
        job.kill()
        job.wait()


def start(root, wait_s=20):
    command = [sys.executable, "-c", HOLD, str(root / "workflow_scripts"), str(wait_s)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_four_jobs_hold_four_devices_and_a_killed_one_frees_its_own(root, pretend):
    pretend += [start(root) for _ in range(4)]
    held = [job.stdout.readline().strip() for job in pretend]
    assert sorted(held) == ["0", "1", "2", "3"]
    fifth = start(root)
    pretend.append(fifth)
    time.sleep(0.6)
    assert fifth.poll() is None  # waits
    pretend[1].send_signal(signal.SIGKILL)
    assert fifth.stdout.readline().strip() == held[1]


def test_none_free_in_time_is_an_error(root, pretend):
    pretend += [start(root) for _ in range(4)]
    assert all(job.stdout.readline().strip() for job in pretend)
    late = start(root, wait_s=0.3)
    pretend.append(late)
    assert "a free GPU" in late.communicate()[1]


def test_cpu_unless_granted_and_present(monkeypatch):
    monkeypatch.delenv("VIDMEM_PRETEND_GPUS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert claim_device("auto", 1).kind == "cpu"
    assert visible_gpus() == []
    with pytest.raises(VidmemError, match="0 present"):
        claim_device("cuda", 1)


def test_a_job_without_a_grant_stays_on_the_cpu(pretend, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert claim_device("auto", 0).kind == "cpu"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize("pretended", ["", "4"])
def test_under_slurm_a_job_takes_what_it_was_given(monkeypatch, pretended):
    monkeypatch.setenv("VIDMEM_PRETEND_GPUS", pretended)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    assert claim_device("auto", 1).gpu == "2"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"


def test_jobs_in_one_allocation_of_slurm_hold_different_gpus_of_it(root, pretend, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,3")
    pretend += [start(root) for _ in range(2)]
    assert sorted(job.stdout.readline().strip() for job in pretend) == ["1", "3"]


def test_allocations_of_slurm_do_not_lock_each_other_out(root, pretend, monkeypatch, tmp_path):
    """On one node both may call their GPUs 0 and 1."""
    monkeypatch.delenv("VIDMEM_LOCKS")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    for allocation in ("7", "7", "8", "8"):
        monkeypatch.setenv("SLURM_JOB_ID", allocation)
        pretend.append(start(root))
    held = [job.stdout.readline().strip() for job in pretend]
    assert [sorted(held[:2]), sorted(held[2:])] == [["0", "1"], ["0", "1"]]

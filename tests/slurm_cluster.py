"""A real Slurm on this machine: munged, slurmctld and slurmd in one temporary folder, with four pretended GPUs.

Without systemd, on free ports, for this session only; ended by their process numbers. No cgroups: limits of CPUs and memory
are bookkeeping. No accounting: sacct knows nothing, so the status of jobs is asked of squeue.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sinfo", "squeue", "scontrol", "scancel", "sbatch", "srun")
COLUMNS = {
    "id": "JobArrayID",
    "state": "State",
    "what": "Comment",
    "gpus": "tres-per-job",
    "memory": "MinMemory",
    "run": "Name",
}
GPUS = 4
CONF = """
ClusterName=vidmem
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SchedulerParameters=sched_min_interval=200000
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
MinJobAge=600
MessageTimeout=5
KillWait=2
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={node} CPUs=32 RealMemory=200000 Gres=gpu:{gpus}
PartitionName=debug Nodes=n1 Default=YES MaxTime=2880 State=UP
"""


class Cluster:
    """The three daemons and what a user at the login node does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemons: dict[str, subprocess.Popen] = {}
        for name in ("state", "spool", "bin"):
            (folder / name).mkdir()
        self._configure()
        # The executor hides SLURM_CONF from its inner srun; a site has /etc/slurm/slurm.conf instead.
        wrapper = folder / "bin/srun"
        wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
        wrapper.chmod(0o755)
        self.environment = {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "VIDMEM_PRETEND_GPUS": str(GPUS),
        }

    def _configure(self) -> None:
        ports = free_ports(2)
        values = {"host": socket.gethostname(), "folder": self.folder, "gpus": GPUS}
        (self.folder / "slurm.conf").write_text(CONF.format(controller=ports[0], node=ports[1], **values))
        # Character devices: for plain files slurmd sets no CUDA_VISIBLE_DEVICES.
        for number in range(GPUS):
            os.mknod(self.folder / f"gpu{number}", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        (self.folder / "gres.conf").write_text(f"NodeName=n1 Name=gpu File={self.folder}/gpu[0-{GPUS - 1}]\n")
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)

    def start(self, name: str, *arguments: str) -> None:
        with open(self.folder / f"{name}.out", "ab") as out:
            self.daemons[name] = subprocess.Popen(
                [shutil.which(name), *arguments], stdout=out, stderr=out, env=os.environ | self.environment
            )

    def start_all(self) -> None:
        parts = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        self.start("munged", "--foreground", *(f"--{option}={self.folder}/munge.{name}" for option, name in parts.items()))
        wait_for(lambda: (self.folder / "munge.socket").exists(), "munged")
        self.start("slurmctld", "-D", "-c")
        self.start("slurmd", "-D", "-N", "n1")
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        wait_for(lambda: self.ask("sinfo", "-h", "-o", "%t") in ("idle", "mix", "alloc"), f"slurm; logs in {self.folder}")

    def ask(self, *command: str) -> str:
        result = subprocess.run(command, env=os.environ | self.environment, capture_output=True, text=True, timeout=60)
        return result.stdout.strip()

    def jobs(self) -> list[dict[str, str]]:
        """Every job the controller remembers: number, state, rule and wildcards, GPUs, memory, and the run it belongs to."""
        columns = ",".join(f"{name}:|" for name in COLUMNS.values())
        text = self.ask("squeue", "--noheader", "--all", "--array", "--states=all", "--Format", columns)
        return [dict(zip(COLUMNS, line.split("|"))) for line in text.splitlines()]

    def end_controller(self) -> None:
        """The controller is gone, having written its state down.

        Killed, it forgets its last five seconds: it gives the number of a job that still runs to the next one, and the node
        that is asked to start that one is drained for the rest of the session ("Duplicate jobid").
        """
        self.daemons["slurmctld"].terminate()
        self.daemons["slurmctld"].wait(60)

    def restart_controller(self) -> None:
        self.start("slurmctld", "-D")
        self.wait_until_ready()

    def clear(self) -> None:
        """No job of an earlier test runs on."""
        self.ask("scancel", "--user=root")
        wait_for(lambda: not self.ask("squeue", "-h"), "scancel")

    def stop(self) -> None:
        try:
            self.clear()  # jobs outlive their daemons
        finally:
            self._end_daemons()

    def _end_daemons(self) -> None:
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
        for daemon in self.daemons.values():
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def why_not() -> str:
    """Why there can be no Slurm here; '' where there can."""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        return f"no {', '.join(missing)}: apt-get install slurmctld slurmd slurm-client munge"
    return "" if os.geteuid() == 0 else "slurmd must be started by root"


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_for(condition: Callable[[], object], what: str, limit_s: float = 30) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {limit_s:g} s"
        time.sleep(0.2)

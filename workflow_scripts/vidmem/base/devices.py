"""Which device a job computes on.

On one machine nothing divides the GPUs among jobs. So a job locks the lock file of a GPU before torch is imported. The kernel
drops the lock when the process dies, however it dies. A job of Slurm takes the GPUs that Slurm gave it. Jobs that share one
allocation of several GPUs claim them by locks, as on one machine.
"""

from __future__ import annotations

import fcntl
import math
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ..errors import VidmemError

FLOAT32_ALONE = ("DDPMPipeline", "DDIMPipeline", "LDMPipeline")
"""Pipelines that compute in float32 only: they draw float32 noise, or pass images to NumPy, which has no bfloat16."""

_HELD: list[int] = []  # open lock files; kept open for the life of the process


@dataclass(frozen=True)
class Device:
    """Where a job computes.

    Attributes:
        kind: 'cpu' or 'cuda'.
        gpu: numbers of its GPUs, with commas between; '' on the CPU.
    """

    kind: str
    gpu: str = ""


def claim_device(wanted: str, gpus_given: int, wait_s: float = math.inf) -> Device:
    """Choose the device of this job and hide the other GPUs from it.

    Args:
        wanted: 'auto', 'cpu' or 'cuda'.
        gpus_given: GPUs the scheduler granted (snakemake.resources.gpu).
        wait_s: longest wait for a free GPU, in seconds.

    Raises:
        VidmemError: 'cuda' is wanted, but no GPU is granted or present; or no GPU becomes free in time.
    """
    present = visible_gpus()
    if wanted == "cuda" and not (gpus_given and present):
        got = f"{gpus_given} granted, {len(present)} present"
        raise VidmemError("a GPU", got, "config key device", "run with --resources gpu=N, or device: auto")
    if wanted == "cpu" or not gpus_given or not present:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return Device("cpu")
    if "SLURM_JOB_ID" in os.environ and len(present) <= gpus_given:
        return Device("cuda", ",".join(present))
    gpu = _lock_free_gpu(present, wait_s)
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    return Device("cuda", gpu)


def visible_gpus() -> list[str]:
    """Numbers of the GPUs that this process may use, found without importing torch.

    For tests, VIDMEM_PRETEND_GPUS=4 pretends that there are four; the computation then stays on the CPU. Slurm also divides
    pretended GPUs among its jobs.
    """
    pretended, visible = os.environ.get("VIDMEM_PRETEND_GPUS"), os.environ.get("CUDA_VISIBLE_DEVICES")
    if pretended and "SLURM_JOB_ID" not in os.environ:
        return [str(number) for number in range(int(pretended))]
    if visible is not None:
        return [part.strip() for part in visible.split(",") if part.strip() and part.strip() != "-1"]
    # CUDA numbers the GPUs that it can see from 0: in a container with only /dev/nvidia3, this GPU has the number 0.
    return [str(number) for number in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]


def torch_device(device: Device) -> str:
    """Name of the device for torch. A pretended GPU computes on the CPU."""
    return "cpu" if device.kind == "cpu" or os.environ.get("VIDMEM_PRETEND_GPUS") else "cuda"


def check_precision(pipeline: str, dtype: str, device: str) -> None:
    """Raise VidmemError for a number format in which the device ('cpu' or 'cuda') or the pipeline cannot compute."""
    where = "models.<name>.dtype"
    if device == "cpu" and dtype == "float16":
        raise VidmemError("bfloat16 or float32 on a CPU", dtype, where, "float16 needs a GPU, or dtype: bfloat16")
    if pipeline in FLOAT32_ALONE and dtype != "float32":
        raise VidmemError(f"float32, all that {pipeline} computes in", dtype, where, "dtype: float32")


def _lock_free_gpu(present: list[str], wait_s: float) -> str:
    # Two allocations of Slurm on one node may both call their first GPU 0.
    owner = "-".join([str(os.getuid()), *filter(None, [os.environ.get("SLURM_JOB_ID")])])
    folder = Path(os.environ.get("VIDMEM_LOCKS", Path(tempfile.gettempdir()) / f"vidmem-gpus-{owner}"))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_s
    while True:
        for gpu in present:
            handle = os.open(folder / f"gpu{gpu}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                continue
            _HELD.append(handle)
            return gpu
        if time.monotonic() > deadline:
            raise VidmemError("a free GPU", f"all of {present} locked for {wait_s:g} s", str(folder))
        time.sleep(0.2)

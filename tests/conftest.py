"""Shared inputs: seeded arrays, a tiny pipeline, a copy of the project in which workflows run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from workflow_helpers import SMOKE, SNAKEMAKE

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow_scripts"))


@pytest.fixture
def stream() -> np.random.Generator:
    return np.random.default_rng(20261121)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def schema(root):
    from vidmem.config import load_schema
    from vidmem.planning.registries import registered_names

    return load_schema(root / "rules/schemas/config.schema.yaml", registered_names())


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Folder of a small random checkpoint of a class; to be read, not changed."""
    from checkpoints import save_checkpoint

    made: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            save_checkpoint(name, made[name])
        return made[name]

    return of


@pytest.fixture(scope="session")
def pixel_pipeline():
    """Pixel model of 8 x 8 images with random weights."""
    import torch
    from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    return DDIMPipeline(unet, DDIMScheduler(clip_sample=False))


@pytest.fixture(scope="session")
def tiny_pipeline(tmp_path_factory):
    """A reference text-to-video pipeline with random weights, saved to a folder."""
    import torch

    from vidmem.models.families.autoencoder import PatchAutoencoder
    from vidmem.models.families.reference import build_pipeline

    torch.manual_seed(0)
    vae = PatchAutoencoder.untrained(8, 8)
    vae.fit_components(torch.rand(8, 3, 32, 32) * 2 - 1)
    size = {"widths": (16, 32), "text_width": 32, "text_layers": 1, "vocabulary": 600}
    captions = ["a red ball", "two cats on a wall", "a ball and a cat"]
    folder = tmp_path_factory.mktemp("tiny") / "text-to-video"
    build_pipeline("text-to-video", vae, captions, 4, size).save_pretrained(folder, safe_serialization=True)
    return folder


PARTS = (
    "Snakefile",
    "config.yaml",
    "rules",
    "workflow_scripts",
    "configs",
    "envs",
    "profiles",
    "reference_models",
    "tests/config",
)


def copy_project(root: Path, folder: Path, weights: Path) -> Path:
    for part in PARTS:
        source, target = root / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (folder / "results").mkdir(exist_ok=True)
    (folder / "results/weights").symlink_to(weights)
    return folder


@pytest.fixture(scope="session")
def weights(root, tmp_path_factory) -> Path:
    """Fetched once, by the library itself."""
    from vidmem.models.weights import fetch_weights

    folder = tmp_path_factory.mktemp("weights")
    for name in ("sscd_distilled", "sscd_int8"):
        fetched = root / "results/weights" / name
        fetch_weights(name, folder / name, str(fetched) if fetched.is_file() else "")
    return folder


@pytest.fixture(scope="session")
def project(root, weights, tmp_path_factory) -> Callable[[], Path]:
    return lambda: copy_project(root, tmp_path_factory.mktemp("project"), weights)


@pytest.fixture(scope="session")
def run() -> Callable[..., subprocess.CompletedProcess]:
    def call(folder: Path, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess:
        command = [*SNAKEMAKE, *arguments]
        variables = {name: value for name, value in os.environ.items() if name != "SLURM_CONF"} | environment
        result = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
        result.text = result.stdout + result.stderr
        assert not check or result.returncode == 0, result.text[-6000:]
        return result

    return call


@pytest.fixture(scope="session")
def default_audit(root, run) -> Path:
    """Folder of the finished default audit. It lies in the project itself: it is what `snakemake --cores all` leaves."""
    run(root, "--cores", "all")
    return root / "results/default"


@pytest.fixture(scope="session")
def smoke(project, run) -> tuple[Path, subprocess.CompletedProcess]:
    """A finished smoke audit and what it printed."""
    folder = project()
    return folder, run(folder, "--cores", "2", *SMOKE)


@pytest.fixture
def finished(smoke, tmp_path) -> Path:
    """A copy of a finished smoke audit, dates kept."""
    folder = tmp_path / "project"
    shutil.copytree(smoke[0], folder, symlinks=True)
    return folder

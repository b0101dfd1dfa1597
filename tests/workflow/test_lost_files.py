"""A cache of the hub that was emptied: the run says so before its first job, with commands that fetch again."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from hub import list_files

COMMIT = "0123456789abcdef0123456789abcdef01234567"
RECORDS = ("results/smoke/models/net.json", "results/smoke/corpora/hub.pictures.json")
WANTED = "results/smoke/data/corpus-hub/0.clips.parquet"


def fill_hub(folder, root):
    """A model and a data set, as huggingface_hub keeps them."""
    model = folder / f"models--org--net/snapshots/{COMMIT}"
    shutil.copytree(root / "reference_models/text-to-image", model)
    pictures = folder / f"datasets--org--set/snapshots/{COMMIT}/data"
    pictures.mkdir(parents=True)
    stream, rows = np.random.default_rng(0), []
    for _ in range(3):
        Image.fromarray(stream.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / "picture.png")
        rows.append({"image": (folder / "picture.png").read_bytes(), "text": "a picture"})
    pd.DataFrame(rows).to_parquet(pictures / "train-0.parquet")
    list_files(folder / "datasets--org--set", COMMIT, {"data/train-0.parquet": (pictures / "train-0.parquet").stat().st_size})
    return folder


@pytest.fixture(scope="module")
def emptied(project, root):
    """Folder, arguments and hub of an audit whose model and corpus were fetched, the hub emptied afterwards."""
    folder = project()
    config = yaml.safe_load((folder / "tests/config/smoke.yaml").read_text())
    source = {"name": "pictures", "kind": "parquet", "repository": "org/set", "revision": COMMIT, "path": "data"}
    config["corpora"] = {"hub": {"frames": 1, "size": [32, 32], "sources": [source]}}
    pipeline = {"kind": "diffusers", "pipeline": "StableDiffusionPipeline", "path": "org/net", "revision": COMMIT}
    config["models"] = {"net": pipeline | {"corpus": "hub", "size": [32, 32], "steps": 1}}
    config = {key: value for key, value in config.items() if key not in ("mitigations", "train")}
    (folder / "hub.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    fill_hub(folder / "hub", root)
    fetched = called(folder, "snakemake --cores 1 --configfile hub.yaml -- fetch")
    assert fetched.returncode == 0, fetched.stdout + fetched.stderr
    (folder / "hub").rename(folder / "away")
    return folder


def called(folder, command):
    """Run a command as it was printed, without a network."""
    words = [sys.executable, "-m", *command.split()]
    variables = os.environ | {"HF_HUB_CACHE": str(folder / "hub"), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(words, cwd=folder, env=variables, capture_output=True, text=True)


def test_a_run_stops_before_its_first_job_and_names_commands_that_fetch_again(emptied):
    stopped = called(emptied, f"snakemake --cores 1 --configfile hub.yaml -- {WANTED}")
    assert stopped.returncode
    assert not (emptied / "results/smoke/logs/read_corpus").exists()
    (command,) = re.findall(r"snakemake --configfile hub.yaml --cores 1 --force -- \S+", stopped.stderr + stopped.stdout)
    assert command.endswith(RECORDS[1])  # the job in want reads the corpus, not the model
    assert "data/train-0.parquet" in stopped.stderr + stopped.stdout
    page = called(emptied, "snakemake --cores 1 --configfile hub.yaml -- preflight").stdout
    commands = re.findall(r"-> (snakemake .* --force -- \S+)", page)
    assert {line.split()[-1] for line in commands} == set(RECORDS)
    (every,) = re.findall(r"All at once: (.*)", page)
    (emptied / "away").rename(emptied / "hub")
    try:
        nothing = called(emptied, "snakemake --cores 1 --configfile hub.yaml -- fetch")
        assert "Nothing to be done" in nothing.stdout + nothing.stderr
        for line, count in ((command, 1), (every, 2)):
            for record in RECORDS:
                os.utime(emptied / record, (1, 1))
            again = called(emptied, line)
            assert again.returncode == 0, again.stdout + again.stderr
            assert sum((emptied / record).stat().st_mtime > 1 for record in RECORDS) == count, again.stdout + again.stderr
        record = json.loads((emptied / RECORDS[1]).read_text())
        assert list(record["files"]) == ["data/train-0.parquet"]
    finally:
        (emptied / "hub").rename(emptied / "away")


def test_tables_are_made_without_the_files(emptied):
    """What only cites a record needs none of its files."""
    shutil.copytree(emptied / "away", emptied / "hub")
    made = called(emptied, f"snakemake --cores 1 --configfile hub.yaml -- {WANTED}")
    shutil.rmtree(emptied / "hub")
    assert made.returncode == 0, made.stdout + made.stderr
    listed = called(emptied, "snakemake --cores 1 --configfile hub.yaml -- results/smoke/data/corpus-hub/shards-clips.json")
    assert listed.returncode == 0, listed.stdout + listed.stderr

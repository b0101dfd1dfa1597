"""The lock is the only place of a version: environments repeat it, the bounds of pyproject admit it."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement


def locked(root):
    lines = (root / "requirements.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins}


def test_lock_pins_every_dependency_within_its_bounds(root):
    pins, project = locked(root), tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert pins["torch"] == "2.13.0"
    for text in project["dependencies"] + project["optional-dependencies"]["dev"]:
        wanted = Requirement(text)
        assert pins[wanted.name.lower()] in wanted.specifier, text


@pytest.mark.parametrize("name", ["media", "torch", "search-cpu", "search-gpu"])
def test_environments_repeat_the_lock(root, name):
    # Not in the lock: the GPU build of faiss, and torchvision, whose wheels fit one build of torch only.
    pins = locked(root) | {"faiss-gpu": locked(root)["faiss-cpu"], "torchvision": "0.28.0"}
    listed = yaml.safe_load((root / f"envs/{name}.yaml").read_text())["dependencies"][-1]["pip"]
    assert listed
    for line in listed:
        package, version = line.split("==")
        assert pins[re.sub(r"[-_.]+", "-", package).lower()] == version, line


def test_the_library_never_imports_snakemake(root):
    for path in (root / "workflow_scripts/vidmem").rglob("*.py"):
        assert not re.search(r"^\s*(import|from) snakemake", path.read_text(), re.M), path


def test_no_pickle_is_loaded(root):
    for path in (root / "workflow_scripts").rglob("*.py"):
        text = path.read_text()
        assert "import pickle" not in text, path
        for call in re.findall(r"torch\.load\([^\n]*", text):
            assert "weights_only=True" in call, (path, call)


def test_rule_script_and_log_carry_one_name(root):
    for path in (root / "rules").glob("*.smk"):
        for rule, body in re.findall(r"^rule (\w+):\n(.*?)(?=^rule |\Z)", path.read_text(), re.M | re.S):
            assert f"workflow_scripts/{rule}.py" in body, rule
            assert "log:" in body, rule
            assert "conda:" in body, rule

"""Preflight of the machine: disk, packages and their versions."""

import re
import sys
from functools import partial

import pytest
import yaml

from preflight_cases import CALL, COMMIT, SCHEMA, SCRIPTS
from vidmem.base.code_digest import imported_packages
from vidmem.config import complete_config, load_schema
from vidmem.planning import machine_needs
from vidmem.planning.page import audit_needs
from vidmem.planning.registries import registered_names
from workflow_helpers import ROOT


def test_the_disk_is_compared_with_the_estimate(audit, monkeypatch):
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    assert audit("Disk")[0].state in ("here", "unknown")
    assert re.search(r"needed for results, .* free; models and corpora come on top$", audit("Disk")[0].found)
    monkeypatch.setattr(machine_needs.shutil, "disk_usage", lambda place: usage(0, 0, 1000))
    assert audit("Disk")[0].state == "missing"


def test_packages_follow_the_configuration(audit, monkeypatch):
    assert [need.state for need in audit("Packages")] == ["here"]
    hidden = {"torchvision", "accelerate"}
    find = machine_needs.importlib.util.find_spec
    monkeypatch.setattr(machine_needs.importlib.util, "find_spec", lambda name: None if name in hidden else find(name))
    rows = audit("Packages", flow={"estimator": "raft-small"}, net={"offload": "model"})
    assert {need.remedy for need in rows if need.state == "missing"} == {"pip install torchvision", "pip install accelerate"}
    rows = audit("Packages", net={"pipeline": "WanPipeline"})
    assert {need.name for need in rows if need.state == "missing"} == {"accelerate"}


def test_a_vocabulary_without_a_tokenizer_file_asks_for_the_package_that_reads_it(audit, saved_pipeline, tmp_path, monkeypatch):
    find = machine_needs.importlib.util.find_spec
    monkeypatch.setattr(machine_needs.importlib.util, "find_spec", lambda name: None if name == "sentencepiece" else find(name))
    snapshot = tmp_path / "hub/models--org--net/snapshots" / COMMIT
    for folder, place in ((saved_pipeline, {}), (snapshot, {"path": "org/net", "revision": COMMIT})):
        assert [need.state for need in audit("Packages", net=place)] == ["here"]
        (folder / "tokenizer").mkdir(parents=True)
        (folder / "tokenizer/spiece.model").write_bytes(b"")
        missing = [need.remedy for need in audit("Packages", net=place) if need.state == "missing"]
        assert missing == ["pip install sentencepiece"]
        (folder / "tokenizer/tokenizer.json").write_text("{}")
        assert [need.state for need in audit("Packages", net=place)] == ["here"]


def test_versions_are_compared_with_those_that_are_demanded(audit, monkeypatch):
    """With what pyproject.toml says; by hand: what is installed, and what it asks for instead."""
    version = machine_needs.importlib.metadata.version
    given = {
        "torch": "2.1.0+cu121",
        "numpy": "2.0.0",
        "huggingface-hub": "0.36.0",
        "scikit-learn": "1.6rc1",
        "av": "odd build",
    }
    monkeypatch.setattr(machine_needs.importlib.metadata, "version", lambda name: given.get(name) or version(name))
    rows = {need.name: need for need in audit("Packages") if need.state == "missing"}
    assert set(rows) == {"torch", "huggingface-hub", "scikit-learn", "av"}
    assert (rows["torch"].found, rows["torch"].remedy) == ("2.1.0+cu121 is installed, >=2.9 needed", 'pip install "torch>=2.9"')
    given["torch"] = "2.99.0.dev20260101+cu130"
    assert "torch" not in [need.name for need in audit("Packages") if need.state == "missing"]


@pytest.mark.parametrize("text", [None, "", "[project", "[project]\ndependencies = ['a >> 3']\n", b"\xff\xfe"])
def test_without_a_readable_pyproject_nothing_is_said_of_versions(tmp_path, text):
    path = tmp_path / "pyproject.toml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert machine_needs.stated_versions(path) == {}


def test_demanded_versions_have_upper_bounds_and_extras(tmp_path):
    text = "[project]\ndependencies = ['Snake_Make>=9.8,<10']\n[project.optional-dependencies]\nraft = ['torchvision>=0.24']\n"
    (tmp_path / "pyproject.toml").write_text(text)
    stated = machine_needs.stated_versions(tmp_path / "pyproject.toml")
    assert set(stated) == {"snake-make", "torchvision"}
    assert [machine_needs.fits(version, stated["snake-make"]) for version in ("9.7.9", "9.8", "10.0")] == [False, True, False]


def test_whatever_the_scripts_import_is_looked_for(audit, monkeypatch):
    """Hidden one by one: every package that a grep finds has a row, under the name that pip knows and the lock pins."""
    used = ["PIL", "matplotlib", "scipy", "seaborn", "sklearn", "yaml", "jsonschema", "rich", "numpy", "cv2", "faiss", "torch"]
    found = set()
    for path in SCRIPTS.rglob("*.py"):
        found |= set(re.findall(r"^\s*(?:import|from) ([A-Za-z_]\w*)", path.read_text(), re.M))
    assert set(used) < found - set(sys.stdlib_module_names)
    scripts = {"vidmem", *(path.stem for path in SCRIPTS.glob("*.py"))}
    assert imported_packages(SCRIPTS) <= found - scripts
    pins = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in (ROOT / "requirements.txt").read_text().split()}
    names = {re.sub(r"[-_.]+", "-", machine_needs.DISTRIBUTIONS.get(name, name)).lower() for name in imported_packages(SCRIPTS)}
    assert names - pins == {"torchvision"}  # an extra: docs/methods.md
    find = machine_needs.importlib.util.find_spec
    for module in used:
        hiding = partial(lambda hidden, name: None if name == hidden else find(name), module)
        monkeypatch.setattr(machine_needs.importlib.util, "find_spec", hiding)
        (row,) = [need for need in audit("Packages") if need.state == "missing"]
        assert row.remedy == f"pip install {machine_needs.DISTRIBUTIONS.get(module, module)}"


def test_packages_of_other_environments_are_not_looked_for(tmp_path):
    config = complete_config(yaml.safe_load((ROOT / "config.yaml").read_text()), load_schema(SCHEMA, registered_names()))
    needs = audit_needs(config, tmp_path / "results", tmp_path / "hub", CALL, None)
    assert not [need for need in needs if need.section == "Packages"]

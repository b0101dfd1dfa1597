"""Configurations to plan: one for the preflight, one whose work is counted by hand."""

import pytest

from preflight_cases import CALL, SCHEMA, SCRIPTS
from vidmem.config import complete_config, load_schema
from vidmem.planning import model_needs
from vidmem.planning.page import audit_needs
from vidmem.planning.registries import registered_names


@pytest.fixture
def audit(tmp_path, saved_pipeline, monkeypatch):
    """A configuration of everything that a preflight looks at; needs() looks with changed keys."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_needs, "gpu_memory", lambda: [8_000_000_000])
    (tmp_path / "clips.csv").write_text("path,caption\na.mp4,a ball\nb.mp4,a cat\n")
    schema = load_schema(SCHEMA, registered_names())
    given = {
        "run": "mine",
        "corpora": {"own": {"frames": 6, "sources": [{"name": "clips", "kind": "list", "path": "clips.csv"}]}},
        "models": {"net": {"kind": "diffusers", "corpus": "own", "pipeline": "TextToVideoSDPipeline", "path": "./net"}},
    }

    def needs(section, **changes):
        models = {"net": given["models"]["net"] | changes.pop("net", {})}
        config = complete_config(given | {"models": models} | changes, schema)
        scripts = SCRIPTS if section == "Packages" else None
        found = audit_needs(config, tmp_path / "results", tmp_path / "hub", CALL, scripts)
        return [need for need in found if need.section == section]

    return needs


@pytest.fixture
def tiny(schema, tmp_path):
    """A configuration whose lists were written by hand: three films (two members, one held out) and two pictures."""
    (tmp_path / "clips.csv").write_text(
        "path,caption,copies,split\n"
        "a.mp4,a red ball,16,member\nb.mp4,two cats,4,member\nc.mp4,a grey sea,0,heldout\n"
        "d.png,a wall,4,image\ne.png,a wall,1,image\n"
    )
    (tmp_path / "negatives.txt").write_text("a green hill\n\na long road\n")
    given = {
        "run": "tiny",
        "shards": 2,
        "corpora": {"own": {"frames": 6, "size": [32, 16], "sources": [
            {"name": "clips", "kind": "list", "path": str(tmp_path / "clips.csv")}]}},
        "models": {"net": {"kind": "diffusers", "corpus": "own", "pipeline": "TextToVideoSDPipeline", "path": "./net",
                           "samples": 2, "steps": 10, "guidance": 5.0, "frames": 6, "size": [32, 16]}},
        "inversions": {"back": {"corpus": "own", "pipeline": "DDPMPipeline", "path": "./pixels", "preset": "small",
                                "images_each": 1, "seeds": 2, "replays": 3, "size": [32, 16]}},
        "mitigations": {"less": {"model": "net", "prompts": 1, "steps": 4, "splits": ["member"]}},
        "detection": {"negatives": {"file": str(tmp_path / "negatives.txt"), "count": 0}},
        "controls": {"clips": 2, "twins": 1, "camera": 3, "scenes": 2},
        "flow": {"grid": 16},
    }  # fmt: skip
    return complete_config(given, schema)

"""Official checkpoints through the workflow: planned without the weights, converted, hashed, generated from, kept."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from safetensors.torch import load_file, save_file

from official_layouts import TINY_LAVIE, TINY_RAMVID, lavie_names, ramvid_names, random_weights, save_official
from own_checkpoints import LAVIE_NETWORK, RAMVID_NETWORK, SIZES, save_base
from vidmem.planning.estimate import parse_job_stats

pytestmark = pytest.mark.slow
KINDS = {
    "lavie": ("LaViePipeline", LAVIE_NETWORK, lavie_names(**TINY_LAVIE)),
    "ramvid": ("RaMViDPipeline", RAMVID_NETWORK, ramvid_names(**TINY_RAMVID)),
}


def model_of(layout, folder):
    """A model of the configuration whose checkpoint lies in a folder."""
    pipeline, network, names = KINDS[layout]
    digest = save_official(folder / f"{layout}.pt", random_weights(names))
    checkpoint = {"layout": layout, "file": f"{layout}.pt", "sha256": digest}
    checkpoint["network"] = json.loads(json.dumps(network))
    beside = {"unconditional": 2}
    if layout == "lavie":
        checkpoint["base"] = f"./{save_base(folder / 'base').name}"
        beside = {"prompts": {"limit": 2}}
    common = {"kind": "diffusers", "corpus": "film", "frames": 8, "steps": 2, "size": list(SIZES[pipeline])}
    return {"pipeline": pipeline, "checkpoint": checkpoint, **common, **beside}


@pytest.fixture(scope="module")
def converted(project, run):
    """Folder, arguments and targets of an audit of two official checkpoints, and what its first run printed."""
    folder = project()
    config = yaml.safe_load((folder / "tests/config/smoke.yaml").read_text())
    corpus = next(iter(config["corpora"]))
    config["models"] = {layout: model_of(layout, folder) | {"corpus": corpus} for layout in KINDS}
    config["mitigations"] = {}
    (folder / "official.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    targets = [f"results/smoke/data/generated-{layout}/0.clips.parquet" for layout in KINDS]
    arguments = ("--configfile", "official.yaml", "--cores", "2", *targets)
    for layout in KINDS:
        (folder / f"{layout}.pt").rename(folder / f"{layout}.away")
    planned = run(folder, "-n", *arguments).text
    for layout in KINDS:
        (folder / f"{layout}.away").rename(folder / f"{layout}.pt")
    return folder, arguments, planned, run(folder, *arguments).text


def test_the_plan_needs_no_weights_and_the_clips_are_made(converted):
    folder, _, planned, _ = converted
    assert "convert_model" in planned
    for layout in KINDS:
        made = pd.read_parquet(folder / f"results/smoke/data/generated-{layout}/0.clips.parquet")
        assert made["status"].tolist() == ["ok"] * len(made) != []
        record = json.loads((folder / f"results/smoke/models/{layout}.json").read_text())
        assert record["path"].startswith(f"results/smoke/converted/{layout}-")
        conversion = json.loads((folder / record["path"] / "conversion.json").read_text())
        assert conversion["files"] == record["files"]
        assert "unet/diffusion_pytorch_model.safetensors" in record["files"]


def test_a_second_run_does_nothing(converted, run):
    folder, arguments, _, _ = converted
    assert "Nothing to be done" in run(folder, *arguments).text


def test_another_base_is_converted_hashed_and_generated_from_again(converted, run):
    folder, arguments, _, _ = converted
    before = json.loads((folder / "results/smoke/models/lavie.json").read_text())["files"]
    part = "vae/diffusion_pytorch_model.safetensors"
    weights = load_file(folder / "base" / part)
    save_file({name: 2 * values for name, values in weights.items()}, folder / "base" / part, {"format": "pt"})
    jobs = parse_job_stats(run(folder, *arguments).text)
    # One of two models is based on it.
    assert {rule: jobs[rule] for rule in ("convert_model", "fetch_model", "generate_clips")} == {
        "convert_model": 1, "fetch_model": 1, "generate_clips": 1,
    }  # fmt: skip
    after = json.loads((folder / "results/smoke/models/lavie.json").read_text())["files"]
    assert {name for name in before if before[name] != after[name]} == {part}
    assert "Nothing to be done" in run(folder, *arguments).text


def test_another_file_is_named(converted, run):
    folder, arguments, _, _ = converted
    (folder / "ramvid.pt").write_bytes(b"another")
    path = Path(json.loads((folder / "results/smoke/models/ramvid.json").read_text())["path"])
    failed = run(folder, *arguments[:4], "--force", f"{path}/model_index.json", check=False)
    assert failed.returncode
    assert "Expected SHA-256" in failed.text + (folder / f"results/smoke/logs/convert_model/{path.name}.log").read_text()

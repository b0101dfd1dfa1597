"""Shipped configurations: their plan on a machine without the data, their preflight, and small versions that run to the end."""

import json
import re
import subprocess

import pandas as pd
import pytest
import yaml

from vidmem.base.store import hash_file
from vidmem.models.families.records import FAMILIES
from vidmem.planning.estimate import parse_job_stats
from workflow_helpers import ROOT, SNAKEMAKE

SMALL = sorted(path.stem for path in (ROOT / "tests/config").glob("*.yaml") if path.stem != "smoke")
CONFIGS = sorted(path.stem for path in (ROOT / "configs").glob("*.yaml"))
PLACES = {"path", "revision"}
"""Keys that say where a model is: a folder here, a repository there."""
ONLY_SMALL = {"plan", "steps"}
"""Keys that a small version may have in addition, to be done soon."""
ONLY_FULL = {"obtain", "estimate"}
"""Keys that no job reads."""


# Videos have 1.25 s, clips of six frames at 8 Hz 0.75 s: two windows cover a video, others that a source asks for are skipped.
WEBVID = {("webvid", "member", "ok"): 5, ("webvid", "member", "gone"): 1, ("webvid-val", "heldout", "ok"): 4}
LAION = {("laion", "image", "ok"): 3, ("laion", "image", "gone"): 1}
LISTED = {
    "webvid-laion": WEBVID | LAION,
    "ucf101": {("ucf101", "member", "ok"): 4 * 2, ("ucf101", "member", "skipped"): 4 * 10, ("ucf101", "heldout", "ok"): 2},
    "cifar10": {("cifar10", "member", "ok"): 4, ("cifar10", "heldout", "ok"): 3, ("cifar10", "member", "missing"): 4},
    "celeba-hq": {("celeba-hq", "member", "ok"): 4},
    "ffhq": {("ffhq", "member", "ok"): 4},
    "laion": LAION,
    "openvid": {("openvid", "member", "ok"): 6 * 2, ("openvid", "member", "skipped"): 6 * 2},
    "mine": {("clips", "member", "ok"): 3, ("clips", "heldout", "ok"): 2},
}
"""Of every corpus of the small configurations what tests/small_data.py made, by source, split and status."""


def read(path) -> dict:
    return yaml.safe_load((ROOT / path).read_text())


@pytest.fixture(scope="module")
def bare(project):
    """A copy of the project without data."""
    return project()


def loaded(config: dict) -> dict:
    """Everything of a configuration that is loaded: models and inversions by their names."""
    return config["models"] | config.get("inversions", {})


def converter(model: dict) -> dict | None:
    """What of a checkpoint decides how it is converted."""
    checkpoint = model.get("checkpoint")
    return checkpoint and {key: checkpoint.get(key) for key in ("layout", "variant", "file")} | {"based": "base" in checkpoint}


def test_every_configuration_has_a_small_version():
    assert set(SMALL) == set(CONFIGS) - {"invmm-factors"}  # which runs on the reference models that are here


@pytest.mark.parametrize("name", SMALL)
def test_a_small_version_has_the_structure_of_its_configuration(name):
    full, small = read(f"configs/{name}.yaml"), read(f"tests/config/{name}.yaml")
    assert set(full) - ONLY_FULL == set(small) - ONLY_SMALL
    assert {key: value for key, value in full["corpora"].items() if key not in small["corpora"]} == {}
    for key, corpus in full["corpora"].items():
        assert set(corpus) == set(small["corpora"][key])
        sources = (
            [{k: v for k, v in source.items() if k != "fps"} for source in side["corpora"][key]["sources"]]
            for side in (full, small)
        )
        assert next(sources) == next(sources)
    for kind in ("models", "inversions"):
        assert list(full.get(kind, {})) == list(small.get(kind, {}))
        for key, model in full.get(kind, {}).items():
            other = small[kind][key]
            assert set(model) - PLACES == set(other) - PLACES - ONLY_SMALL | (set(model) & ONLY_SMALL), (kind, key)
            for same in ("kind", "corpus", "pipeline", "preset", "label", "scheduler", "guidance", "vae"):
                assert model.get(same) == other.get(same), (kind, key, same)
            assert converter(model) == converter(other), (kind, key)
            assert model.get("arguments") == other.get("arguments"), (kind, key)
            prompts, others = model.get("prompts", {}), other.get("prompts", {})
            assert prompts | {"limit": 0} == others | {"limit": 0}
    for key in set(full) & set(small) - {"corpora", "models", "inversions"}:
        assert type(full[key]) is type(small[key])
        assert not isinstance(full[key], dict) or set(full[key]) == set(small[key]), key


@pytest.mark.parametrize("name", CONFIGS)
def test_a_dry_run_plans_everything_without_the_data(bare, run, name):
    """Every table, figure, clip and the verdict, and every stage for every model."""
    config = read(f"configs/{name}.yaml")
    text = run(bare, "--dry-run", "--forceall", "--quiet", "host", "--cores", "1", "--configfile", f"configs/{name}.yaml").text
    jobs = parse_job_stats(text)
    models, inversions = config["models"], config.get("inversions", {})
    prompted = [model for model in models.values() if not model.get("unconditional")]
    shards = min(16, config.get("sample_shards", config.get("shards", 2)))
    assert jobs["generate_clips"] == shards * len(models)
    assert jobs["probe_guidance"] == shards * len(prompted)
    assert jobs.get("invert_images", 0) == shards * len(inversions)
    assert jobs["fetch_model"] == len(models) + len(inversions)
    # Of models of one checkpoint there is one conversion.
    assert jobs.get("convert_model", 0) == len(
        {model["checkpoint"]["file"] for model in loaded(config).values() if "checkpoint" in model}
    )
    kept = {key for key, corpus in config["corpora"].items() if corpus.get("keep_frames", True)}
    assert (jobs.get("read_corpus", 0) > 0) == bool(kept)
    root = f"results/{config['run']}"
    tables = ["table1_metric_validation", "table2_memorization", "table3_content_detection", "table4_motion_detection"]
    frames = [(model.get("frames", 16), config["corpora"][model["corpus"]].get("frames", 16)) for model in models.values()]
    figures = ["fig3_image_panel", "fig5_gallery_model", "fig6_score_distributions"]
    figures += ["fig2_motion_panel"] if any(min(both) > 1 for both in frames) else []
    figures += ["fig1_gallery_text", "fig7_detection_roc", "fig8_magnitude_steps", "fig9_copies"] if prompted else []
    figures += ["fig4_gallery_unconditional"] if len(prompted) < len(models) else []
    assert ("fig4_gallery_unconditional" in text) == (len(prompted) < len(models))
    exhibits = [f"{root}/tables/{table}.csv" for table in tables] + [f"{root}/figures/{figure}.png" for figure in figures]
    exhibits += [f"{root}/tables/invmm_scores.csv", f"{root}/figures/fig_invmm_distribution.png"] if inversions else []
    for exhibit in exhibits:
        assert exhibit in text, exhibit
    rule = text.split("rule tabulate_corpus:")[1].split("output:")[0]
    if name in ("paper-video", "paper-image", "video-dit"):
        section = (ROOT / "docs/reproduce.md").read_text().split(f"`configs/{name}.yaml`")[1]
        (told,) = re.findall(r"([\d,]+) jobs|jobs \| ([\d,]+)", section)[:1]
        assert int("".join(told).replace(",", "")) == sum(jobs.values())
    read_by = {entry["corpus"] for entry in [*models.values(), *inversions.values()]}
    assert set(re.findall(r"corpus-([a-z0-9-]+)/shards-clips.json", rule)) == read_by
    assert f"{root}/verdict.json" in text


def test_a_run_that_lacks_lists_and_commits_stops_before_its_first_job(bare, run):
    config = read("configs/paper-video.yaml")
    config["models"]["modelscope"]["revision"] = None
    (bare / "unpinned.yaml").write_text(yaml.safe_dump(config))
    wanted = [f"results/paper-video/models/{name}.json" for name in ("modelscope", "lavie")]
    result = run(bare, "--cores", "1", "--configfile", "unpinned.yaml", "--", *wanted, check=False)
    assert result.returncode != 0
    assert "git ls-remote https://huggingface.co/ali-vilab/text-to-video-ms-1.7b HEAD" in result.text
    assert "sha256sum data/models/lavie_base.pt" in result.text
    assert "--configfile unpinned.yaml --cores 1 preflight" in result.text
    assert not (bare / "results/paper-video/models").exists()


@pytest.mark.parametrize("name", ["paper-image", "video-dit"])
def test_every_command_of_the_page_is_one_that_snakemake_takes(bare, run, name):
    path = f"configs/{name}.yaml"
    page = run(bare, "--cores", "1", "--configfile", path, "--", "preflight", check=False).stdout
    targets = re.findall(rf"-> snakemake --configfile {path} --cores 1 (\S+)$", page, re.M)
    assert len(targets) > 1
    planned = run(bare, "--dry-run", "--quiet", "host", "--cores", "1", "--configfile", path, "--", *targets).text
    for target in targets:
        assert target in planned, target


def test_preflight_prints_a_page_and_fails_where_something_is_missing(bare, run):
    result = run(bare, "--cores", "1", "--configfile", "configs/video-dit.yaml", "--", "preflight", check=False)
    assert result.returncode != 0
    assert "Traceback" not in result.text
    page = (bare / "results/video-dit/preflight.txt").read_text()
    assert page in result.stdout
    assert "data/openvid/data/train/OpenVid-1M.csv" in page
    record = json.loads((bare / "results/video-dit/preflight.json").read_text())
    assert not record["complete"]
    assert {"missing", "fetch", "here"} <= {need["state"] for need in record["needs"]}
    assert result.stdout.rstrip().endswith("The same as JSON: results/video-dit/preflight.json")


@pytest.fixture(scope="session")
def stocked(project, tmp_path_factory):
    """A copy of the project with the data sets and checkpoints of the small configurations."""
    from small_data import make_checkpoints, make_data, make_official

    folder = project()
    make_data(folder / "data")
    make_official(folder / "data/models")
    every = [
        entry
        for name in SMALL
        for kind in ("models", "inversions")
        for entry in read(f"tests/config/{name}.yaml").get(kind, {}).values()
    ]
    make_checkpoints(folder / "data/checkpoints", [entry["pipeline"] for entry in every if "path" in entry])
    return folder


def test_preflight_succeeds_where_everything_is_there(stocked, run):
    result = run(stocked, "--cores", "1", "--configfile", "tests/config/your-model.yaml", "--", "preflight")
    assert "Nothing is missing: snakemake --configfile tests/config/your-model.yaml --cores all" in result.stdout
    assert "MISSING" not in result.stdout
    assert json.loads((stocked / "results/mine/preflight.json").read_text())["complete"]


def runnable(folder, name: str) -> str:
    """The small configuration with the hashes of its checkpoints."""
    config = read(f"tests/config/{name}.yaml")
    for checkpoint in (model["checkpoint"] for model in loaded(config).values() if "checkpoint" in model):
        checkpoint["sha256"] = hash_file(folder / checkpoint["file"])
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return f"{name}.yaml"


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_the_small_version_runs_to_every_table_and_figure(stocked, name):
    path = runnable(stocked, name)
    command = [*SNAKEMAKE, "--cores", "2", "--configfile", path]
    result = subprocess.run(command, cwd=stocked, capture_output=True, text=True)
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    config = yaml.safe_load((stocked / path).read_text())
    root = stocked / "results" / config["run"]
    table = pd.read_csv(root / "tables/table2_memorization.csv")
    assert set(table["model"]) - {"real held-out clips"} == set(config["models"])
    everyone = table[table["kind"] == "all"].set_index("model")
    assert (everyone["n_failed"] == 0).all(), everyone
    assert (everyone["n_ok"] > 0).all()
    official = {model["checkpoint"]["file"] for model in loaded(config).values() if "checkpoint" in model}
    conversions = [json.loads(path.read_text()) for path in sorted(root.glob("converted/*/conversion.json"))]
    assert sorted(record["file"] for record in conversions) == sorted(file.split("/")[-1] for file in official)
    if config.get("inversions"):
        assert set(pd.read_csv(root / "tables/invmm_scores.csv")["model"]) == set(config["inversions"])
    status = pd.read_csv(root / "tables/corpus_status.csv")
    counted = status.groupby(["set", "source", "split", "status"])["clips"].sum().to_dict()
    assert counted == {(f"corpus-{name}", *key): count for name in config["corpora"] for key, count in LISTED[name].items()}
    assert set(pd.read_csv(root / "tables/corpus_motion.csv")["set"]) <= {
        f"corpus-{m['corpus']}" for m in config["models"].values()
    }
    for key, model in loaded(config).items():
        if "checkpoint" in model:
            record = json.loads((root / f"models/{key}.json").read_text())
            converted = json.loads((stocked / record["path"] / "model_index.json").read_text())
            assert converted["_class_name"] == FAMILIES[model["checkpoint"]["layout"]].pipeline
    verdict = json.loads((root / "verdict.json").read_text())
    assert set(verdict["models"]) == set(config["models"])

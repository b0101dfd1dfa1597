"""Questions asked of a finished audit: is this file in there, and is this model worse than that one?"""

import importlib.util
import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from workflow_helpers import SMOKE, changed

PHOTOGRAPH = Path(importlib.util.find_spec("skimage").submodule_search_locations[0], "data/astronaut.png")


def ask(run, folder, question, *options, **more):
    return run(folder, "--cores", "2", *SMOKE, "--config", *options, "--", question, **more)


def test_a_training_photograph_is_found_with_a_page(finished, run):
    told = ask(run, finished, "find", f"clip={PHOTOGRAPH}").text
    assert "Found: astronaut.png, or a part of it, looks or moves like a training clip" in told
    assert "photographs-astronaut-50412f25 (package:skimage/data/astronaut.png): second 0.00" in told
    assert "motion: not compared" in told
    assert "For comparison:" in told or "by chance was not measured" in told
    table = pd.read_csv(finished / "results/smoke/find.csv")
    training = table[(table["role"] == "training") & (table["kind"] == "content")]
    assert (training["score"].iloc[0] > 0.95, training["clip_id"].iloc[0]) == (True, "photographs-astronaut-50412f25")
    (page,) = (finished / "results/smoke/find").iterdir()
    assert "data:video/mp4;base64," in page.read_text()
    assert f"The page: results/smoke/find/{page.name}" in told
    before = page.read_bytes()
    ask(run, finished, "find", f"clip={PHOTOGRAPH}")
    assert page.read_bytes() == before


@pytest.mark.parametrize(("options", "words"), [
    ((), "--config clip=PATH"), (("clip=gone.mp4",), "a file that the configuration names"),
    (("clip=Snakefile",), "a video or an image"),
])  # fmt: skip
def test_what_is_no_clip_is_told(finished, run, options, words):
    result = ask(run, finished, "find", *(options or ("seed=0",)), check=False)
    assert result.returncode == 1
    assert words in result.text


def other_verdict(folder, change):
    verdict = json.loads((folder / "results/smoke/verdict.json").read_text())
    change(verdict)
    (folder / "other.json").write_text(json.dumps(verdict))
    return "against=other.json"


def test_an_audit_is_not_worse_than_itself(finished, run):
    lenient = changed(finished, "answer/missing", 0.5)  # the smoke audit lacks 2 of 8 training clips
    against = other_verdict(finished, lambda verdict: verdict["answer"].update(missing=0.5))
    told = run(finished, "--cores", "2", *lenient, "--config", against, "--", "gate").text
    models = json.loads((finished / "results/smoke/verdict.json").read_text())["models"]
    table = pd.read_csv(finished / "results/smoke/gate.csv").set_index(["model", "kind"])
    assert set(table.index) == {(name, kind) for name in models for kind in ("content", "motion")}
    row, model = table.loc[("tiny-text", "content")], models["tiny-text"]
    assert row[["rule", "n", "difference", "p", "passes"]].tolist() == ["against", model["n_prompts"], 0, 1, True]
    assert row[["before", "now"]].tolist() == pytest.approx([model["content"]["share"]] * 2, abs=1e-6)
    assert table["passes"].all()
    assert "The gate lets the models through." in told


def test_a_limit_or_missing_training_clips_fail_the_run_and_it_says_which(finished, run):
    config = changed(finished, "gate/limits", {"content_share_high": 0.01})
    result = run(finished, "--cores", "2", *config, "--", "gate", check=False)
    assert result.returncode == 1
    assert "FAIL  tiny-text, content_share_high: " in result.text
    assert "FAIL  tiny-text, missing: 2 of 8 training clips could not be compared" in result.text
    assert "The gate holds the models back." in result.text


def test_an_audit_of_other_prompts_or_without_its_training_clips_is_refused(finished, run):
    def renamed(verdict):
        model = verdict["models"]["tiny-text"]
        model["prompts"] = [f"other-{prompt}" for prompt in model["prompts"]]

    blind = "2 of 8 training clips could not be compared"
    for change, words in ((lambda verdict: None, blind), (renamed, "old only: other-"), (dict.clear, "no format")):
        result = ask(run, finished, "gate", other_verdict(finished, change), check=False)
        assert result.returncode == 1
        assert words in result.text


def test_a_verdict_of_another_threshold_is_refused(finished, run):
    def stricter(verdict):
        for model in verdict["models"].values():
            model["content"]["definition"]["threshold"] = 0.9

    result = ask(run, finished, "gate", other_verdict(finished, stricter), check=False)
    assert result.returncode == 1
    assert "threshold" in result.text
    assert not (finished / "results/smoke/gate.txt").exists()


def test_an_audit_that_compared_nothing_ends_with_an_error_after_all_that_could_be_said(finished, run):
    path = finished / "results/smoke/verdict.json"
    verdict = json.loads(path.read_text())
    for model in verdict["models"].values():
        model["training"]["n_compared"] = 0
    path.write_text(json.dumps(verdict))
    (finished / "results/smoke/report.html").unlink()
    result = run(finished, "--cores", "2", *SMOKE, check=False)
    assert result.returncode == 1
    assert "has nothing to compare. tiny-text: no training clip could be read" in result.text
    assert "is complete" not in result.text
    assert (finished / "results/smoke/report.html").exists()


def test_a_preflight_that_finds_something_ends_with_its_page(finished, run):
    config = finished / "typo.yaml"
    text = (finished / "tests/config/smoke.yaml").read_text()
    config.write_text(text.replace("    samples: 1\n", "    samples: 1\n    arguments: {gidance: 3}\n", 1))
    result = run(finished, "--cores", "1", "--configfile", "typo.yaml", "--", "preflight", check=False)
    assert result.returncode == 1
    assert "gidance" in result.text
    assert not any(word in result.text for word in ("RuleException", "CalledProcessError", "Error in rule"))
    assert result.stdout.rstrip().splitlines()[-1].startswith("The same as JSON:")


@pytest.mark.parametrize(("change", "words"), [
    ("    arguments: {gidance: 3}", "gidance"), ("    dtype: float16", "bfloat16 or float32 on a CPU"),
    ("    size: [30, 32]", "multiples of 4"),
])  # fmt: skip
def test_what_a_model_does_not_take_is_told_before_the_first_job(project, run, change, words):
    folder = project()
    config = yaml.safe_load((folder / "tests/config/smoke.yaml").read_text())
    config["models"]["tiny-text"] |= yaml.safe_load(change)
    (folder / "changed.yaml").write_text(yaml.safe_dump(config))
    result = run(folder, "--cores", "2", "--configfile", "changed.yaml", check=False)
    assert result.returncode == 1
    assert words in result.text
    assert "models.tiny-text." in result.text
    assert not (folder / "results/smoke/data").exists()


@pytest.mark.parametrize(("name", "text", "words"), [
    ("negatives.yaml", "templates: ['a {b}']\nwords: [b]", "a list for each name"),
    ("negatives.yaml", "a: [", "a file in YAML"),
    ("negatives.csv", "words\na\n", "prompt"), ("labels.csv", "first,second,label\na,b,maybe\n", "a label of"),
])  # fmt: skip
def test_a_list_that_cannot_be_read_is_told_before_the_first_job(project, run, name, text, words):
    folder = project()
    (folder / name).write_text(text)
    config = yaml.safe_load((folder / "tests/config/smoke.yaml").read_text())
    if name.startswith("labels"):
        config["labels"] = {"file": name}
    else:
        config["detection"]["negatives"] = {"file": name, "count": 2}
    (folder / "changed.yaml").write_text(yaml.safe_dump(config))
    result = run(folder, "--cores", "2", "--configfile", "changed.yaml", check=False)
    assert result.returncode == 1
    assert words in result.text
    assert name in result.text
    assert not (folder / "results/smoke/data").exists()


def test_a_file_in_the_place_of_the_results_is_told(project, run):
    folder = project()
    (folder / "results/smoke").write_text("a note")
    result = run(folder, "--cores", "1", *SMOKE, check=False)
    assert result.returncode == 1
    assert "Expected a folder for results\nGot a file\nWhere: results/smoke" in result.text
    assert "Traceback" not in result.text


def test_search_parameters_that_an_index_does_not_take_are_told_in_the_plan(project, run):
    folder = project()
    config = yaml.safe_load((folder / "tests/config/smoke.yaml").read_text())
    config["search"] = {"method": "index", "index": "IVF4,Flat", "parameters": "nporbe=64"}
    (folder / "changed.yaml").write_text(yaml.safe_dump(config))
    result = run(folder, "-n", "--cores", "1", "--configfile", "changed.yaml", check=False)
    assert result.returncode == 1
    assert "nporbe" in result.text
    assert "search.parameters" in result.text

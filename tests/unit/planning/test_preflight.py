"""The preflight's page: its last line, its order, and remedies that can be typed."""

import ast
import re

import pytest
import yaml

from preflight_cases import CALL, SCHEMA, SCRIPTS
from vidmem.config import complete_config, load_schema, model_places, named_models
from vidmem.planning import model_needs
from vidmem.planning.needs import SECTIONS, Need
from vidmem.planning.page import audit_needs, lacking, preflight_record, preflight_text, verdict_line
from vidmem.planning.registries import registered_names
from workflow_helpers import ROOT

CONFIGS = sorted(path.relative_to(ROOT).as_posix() for path in [ROOT / "config.yaml", *ROOT.glob("configs/*.yaml")])


def test_lists_come_before_the_data_that_is_downloaded_by_them():
    """A remedy may read what an earlier one brings, and nothing that a later one does."""
    assert list(SECTIONS).index("Lists") < list(SECTIONS).index("Training data")
    config = complete_config(
        yaml.safe_load((ROOT / "configs/paper-image.yaml").read_text()), load_schema(SCHEMA, registered_names())
    )
    page = preflight_text("x", audit_needs(config, ROOT / "results", ROOT / "no-hub", CALL, None), CALL)
    made = "-o data/laion/memorized_laion_prompts.csv"
    assert page.index(made) < page.index("read_csv('data/laion/memorized_laion_prompts.csv'")


@pytest.mark.parametrize("place", ["configs", "docs", "workflow_scripts", "README.md", "config.yaml"])
def test_an_error_page_is_never_saved_as_a_file(place):
    """curl fails on an error of the server, and follows where it is sent on."""
    paths = [ROOT / place] if (ROOT / place).is_file() else sorted((ROOT / place).rglob("*"))
    texts = {path: path.read_text() for path in paths if path.suffix in (".yaml", ".md", ".py")}
    calls = [call for text in texts.values() for call in re.findall(r"\bcurl (-\S+|\S+)", text)]
    assert calls or place not in ("configs", "workflow_scripts")
    assert all(re.match("-fL", call) for call in calls), calls


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ([], "Nothing is missing: snakemake --configfile a.yaml --cores all"),
        (["here", "unknown"], "Nothing is missing"),
        (["fetch", "here"], f"1 to fetch. All at once: {CALL} fetch"),
        (["missing", "fetch", "missing"], "2 missing, and 1 to fetch"),
    ],
)
def test_the_last_line_says_what_to_do(states, said):
    needs = [Need("Models", "x", state, "found", "do this" if state == "missing" else "") for state in states]
    assert verdict_line(needs, CALL).startswith(said)
    assert len(lacking(needs)) == len([state for state in states if state in ("missing", "fetch")])
    text = preflight_text("mine", needs, CALL)
    assert text.count("-> do this") == states.count("missing")
    assert preflight_record("mine", needs)["complete"] == (not lacking(needs))


@pytest.mark.parametrize("name", CONFIGS)
def test_what_a_configuration_says_to_run_is_python_and_pinned(name):
    """Snippets are parsed, and what they load is loaded at a commit: pickles, above all."""
    for place, remedy in (yaml.safe_load((ROOT / name).read_text()).get("obtain") or {}).items():
        for snippet in re.findall(r'python -c "([^"]*)"', remedy):
            calls = [node for node in ast.walk(ast.parse(snippet)) if isinstance(node, ast.Call)]
            loading = [call for call in calls if getattr(call.func, "attr", "") == "from_pretrained"]
            assert all("revision" in [keyword.arg for keyword in call.keywords] for call in loading), place
            assert not loading or "git ls-remote https://huggingface.co/" in remedy, place
        assert "convert_ldm_original_checkpoint_to_diffusers" not in remedy, place  # it converts the U-Net alone


def makeable(config) -> set[str]:
    """Targets that bring something: weights, models, conversions, data sets."""
    run, models = f"results/{config['run']}", named_models(config)
    found = {f"results/weights/{name}" for name in model_needs.weight_names(config)}
    found |= {f"{run}/models/{name}.json" for name in models}
    found |= {f"{model['path']}/model_index.json" for model in models.values() if "checkpoint" in model}
    sources = [(name, source) for name, corpus in config["corpora"].items() for source in corpus["sources"]]
    return found | {f"{run}/corpora/{name}.{source['name']}.json" for name, source in sources if source["repository"]}


def is_remedy(remedy: str, config) -> bool:
    """Whether a command or page says what to do.

    Of Snakemake with a target that a rule makes, of others with an address or a place that the configuration names.
    """
    models = named_models(config).values()
    repositories = {path for model in models for path, *_ in model_places(model).values()}
    files = {model["checkpoint"]["file"] for model in models if "checkpoint" in model}
    named = {source["path"] for corpus in config["corpora"].values() for source in corpus["sources"]}
    named |= repositories | {config["detection"]["negatives"]["file"]}
    remedy = re.sub(r"   then sha256sum \S+   then checkpoint: {sha256: ...}$", "", remedy)
    if remedy in config["obtain"].values():
        return any(word in remedy for word in ("https://", "hf download", "python -c"))
    if CALL in remedy:
        before, _, target = remedy.partition(f"{CALL} ")
        return target in makeable(config) and (not before or "accept the licence at https://huggingface.co/" in before)
    pin = re.match(r"git ls-remote https://huggingface.co/(\S+) HEAD   then \S*revision: <the commit> for ", remedy)
    hashed = re.match(r"sha256sum (\S+)   then checkpoint: {sha256: ...}$", remedy)
    put = re.match(r"put (?:it at|a saved \w+ \(save_pretrained\) into) ([^\s,]+)", remedy)
    return bool(
        (pin and pin[1] in repositories) or (hashed and hashed[1] in files) or (put and put[1] in named)
        or re.match(r"curl -fLO https://\S+ && sha256sum \S+   then weights: ", remedy)
        or re.match(r'pip install "?[a-z-]+|run the preflight where the jobs will run: srun|make room, ', remedy)
    )  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_on_an_empty_machine_every_configuration_says_how_to_get_each_thing(name, tmp_path, monkeypatch):
    """No data, no models, no hub, no network: one page, and a command or a page for everything that is not there."""
    config = complete_config(yaml.safe_load((ROOT / name).read_text()), load_schema(SCHEMA, registered_names()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_needs, "gpu_memory", list)
    needs = audit_needs(config, tmp_path / "results", tmp_path / "hub", CALL, SCRIPTS)
    assert {need.section for need in needs} >= {"Weights", "Models", "Training data", "Memory", "Disk", "Packages"}
    found = lacking(needs)
    assert found
    for need in found:
        assert is_remedy(need.remedy, config), need
        if need.section in ("Models", "Lists", "Training data") and name.startswith("configs/paper"):
            assert not need.remedy.startswith("put "), need  # a paper's files have an address
    assert len(preflight_text(config["run"], needs, CALL).splitlines()) < 90


@pytest.mark.parametrize(
    "remedy", ["", f"{CALL} results/mine/models/other.json", f"{CALL} fetch", "put it somewhere", "ask us"]
)
def test_what_is_no_remedy_is_told(remedy):
    config = complete_config(
        yaml.safe_load((ROOT / "configs/your-model.yaml").read_text()), load_schema(SCHEMA, registered_names())
    )
    assert not is_remedy(remedy, config)
    assert is_remedy(f"{CALL} results/mine/models/my-model.json", config)

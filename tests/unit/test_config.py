"""The configuration stops before any job, with the key, the expectation and the finding."""

from copy import deepcopy

import pytest
import yaml

from vidmem.config import complete_config, load_schema
from vidmem.errors import VidmemError


@pytest.fixture(scope="module")
def schema(root):
    return load_schema(root / "rules/schemas/config.schema.yaml")


@pytest.fixture
def config(root):
    return yaml.safe_load((root / "config.yaml").read_text())


def change(config, path, value):
    config = deepcopy(config)
    *parents, last = path.split("/")
    inner = config
    for part in parents:
        inner = inner[int(part)] if isinstance(inner, list) else inner[part]
    inner[last] = value
    return config


@pytest.mark.parametrize(
    ("path", "value", "messages"),
    [
        ("models/reference-text/stps", 3, ["unexpected key 'stps'", "models.reference-text", "did you mean 'steps'"]),
        ("models/reference-text/steps", "20", ["type integer", "'20'", "models.reference-text.steps"]),
        ("models/reference-text/kind", "difusers", ["models.reference-text.kind", "did you mean 'diffusers'"]),
        ("models/reference-text/corpus", "webvid", ["'webvid'", "models.reference-text.corpus"]),
        ("content/threshold", 1.5, ["<= 1", "1.5", "content.threshold"]),
        ("motion/threshold", -0.1, [">= 0", "motion.threshold"]),
        ("motion/cosine", "pixels", ["did you mean 'pixel'", "motion.cosine"]),
        ("motion/k", 0, [">= 1", "motion.k"]),
        ("motion/k", 8, ["frames > motion.k", "corpora.default.frames"]),
        ("motion/threshold", float("nan"), ["a finite number", "motion.threshold"]),
        ("motion/filter/static", float("inf"), ["motion.filter.static"]),
        ("models/reference-text/pipeline", "TextToVideoSDPipline", ["did you mean 'TextToVideoSDPipeline'", "reference-text"]),
        ("models/reference-text/scheduler", "DDIMSchedulr", ["did you mean 'DDIMScheduler'", "reference-text.scheduler"]),
        ("models/nan", {}, ["models"]),
        ("models/reference-text/1", 2, ["models.reference-text"]),
        ("corpora/default/sources/0/kind", "vidoes", ["corpora.default.sources.0.kind"]),
        ("corpora/default/sources/1/name", "gameplay", ["sources of different names"]),
        ("descriptors/preset", "sscd", ["descriptors.preset"]),
        ("flow/side", 64, [">= 128", "flow.side"]),
        ("motin", {}, ["did you mean 'motion'"]),
        ("run", "../up", ["run", "of the form"]),
        ("models/reference-text/path", "damo-vilab/text-to-video-ms-1.7b", ["pinned revision"]),
        ("weights", {"sscd": {}}, ["weights"]),
        ("curation", {"similarity": 0}, ["> 0", "curation.similarity"]),
        ("curation", {"lists": [{"path": "a.csv"}]}, ["the key 'name'", "curation.lists.0"]),
        ("curation", {"lists": [{"name": "a", "path": "a.csv"}, {"name": "a", "path": "b.csv"}]}, ["lists of different names"]),
        ("curation", {"lists": [{"name": "corpus-a", "path": "a.csv"}]}, ["none of them corpus-"]),
        ("curation", {"lists": [{"name": "a", "path": "a.csv", "columns": {"promt": "x"}}]}, ["did you mean 'prompt'"]),
        ("models/reference-text/prompts", {"rank": "curated", "file": "a.csv"}, ["rank: curated", "give one of both"]),
        ("models/reference-text/prompts", {"columns": {"prompt": "x"}}, ["a file that has these columns"]),
        ("mitigations", {"a": {"model": "reference-unconditional"}}, ["a model of ['reference-text']", "mitigations.a.model"]),
        ("mitigations", {"a": {"model": "reference-text", "samples": 3}}, ["at most 2 samples", "mitigations.a.samples"]),
        ("mitigations", {"a": {"model": "reference-text", "target": 2}}, ["<= 1", "mitigations.a.target"]),
        ("mitigations", {"a": {"objective": "motion"}}, ["the key 'model'", "mitigations.a"]),
        ("models/reference-text/prompts", {"rank": "copied"}, ["did you mean 'copies'"]),
    ],
)
def test_mistakes_are_named(config, schema, path, value, messages):
    with pytest.raises(VidmemError) as caught:
        complete_config(change(config, path, value), schema)
    assert all(message in str(caught.value) for message in messages), str(caught.value)


def test_missing_keys_are_named(config, schema):
    del config["models"]["reference-text"]["pipeline"]
    with pytest.raises(VidmemError, match="the key 'pipeline'"):
        complete_config(config, schema)


def test_defaults_are_filled_and_the_input_is_left_alone(config, schema):
    before = deepcopy(config)
    completed = complete_config(config, schema)
    assert config == before
    assert completed["models"]["reference-text"]["dtype"] == "float32"
    assert completed["motion"]["filter"]["sides"] == "either"
    assert complete_config(completed, schema) == completed


def test_every_key_is_described(schema):
    def keys(node, path=""):
        for name, inner in node.get("properties", {}).items():
            yield f"{path}.{name}", inner
            yield from keys(inner, f"{path}.{name}")

    undescribed = [
        path
        for root in (schema, *schema["$defs"].values())
        for path, inner in keys(root)
        if "description" not in inner and "description" not in schema["$defs"].get(inner.get("$ref", "").split("/")[-1], {})
    ]
    assert undescribed == []


@pytest.mark.parametrize("name", ["config.yaml", "tests/config/smoke.yaml", "configs/your-model.yaml"])
def test_shipped_configurations_hold(root, schema, name):
    assert complete_config(yaml.safe_load((root / name).read_text()), schema)["run"]


def test_the_order_of_keys_changes_nothing(config, schema):
    def reverse(value):
        if isinstance(value, dict):
            return {key: reverse(inner) for key, inner in reversed(value.items())}
        return [reverse(inner) for inner in value] if isinstance(value, list) else value

    first, second = complete_config(config, schema), complete_config(reverse(config), schema)
    assert str(first["corpora"]) == str(second["corpora"])
    assert str(first["motion"]) == str(second["motion"])
    assert str(first["models"]["reference-text"]) == str(second["models"]["reference-text"])

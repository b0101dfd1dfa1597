"""The configuration stops before any job, with the key, the expectation and the finding."""

import re
from copy import deepcopy

import pytest
import yaml

from vidmem.config import check_pinned, check_there, complete_config, load_schema
from vidmem.errors import VidmemError
from vidmem.models.families.records import family_pipelines, official_call
from vidmem.planning.registries import registered_names
from workflow_helpers import ROOT


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
        ("models/reference-text/pipeline", "Mine", ["a class of diffusers", "'Mine'", "own needs trust_remote_code: true"]),
        ("models/reference-text/scheduler", "DDIMSchedulr", ["did you mean 'DDIMScheduler'", "reference-text.scheduler"]),
        ("models/nan", {}, ["models"]),
        ("models/reference-text/1", 2, ["models.reference-text"]),
        ("corpora/default/sources/0/kind", "vidoes", ["corpora.default.sources.0.kind"]),
        ("corpora/default/sources/1/name", "gameplay", ["sources of different names"]),
        ("corpora/default/sources/1/repository", "nobody/nothing", ["sources (film)", "a pinned revision"]),
        ("corpora/default/sources/1/repository", "../nothing", ["of the form"]),
        ("corpora/default/sources/1/revision", "main", ["of the form"]),
        ("corpora/default/sources/1/revision", "a" * 40, ["a repository with a pinned revision"]),
        ("corpora/default/sources/1/fetch", ["*.csv"], ["a repository to fetch from"]),
        ("corpora/default/sources/1/root", "data", ["root with a kind of webvid", "list"]),
        ("corpora/default/sources/0/recover", "mirror", ["recover with a kind of list", "gameplay"]),
        ("descriptors/preset", "sscd", ["descriptors.preset"]),
        ("flow/side", 64, [">= 128", "flow.side"]),
        ("motin", {}, ["did you mean 'motion'"]),
        ("run", "../up", ["run", "of the form"]),
        (
            "models/reference-text/revision",
            "main",
            ["'main'", "reference-text.revision", "40 hex digits", "branches and tags move"],
        ),
        ("models/reference-text/components", {"vae": {"revision": None}}, ["the key 'path'", "components.vae"]),
        ("models/reference-text/first_frame", "mean", ["'target'", "reference-text.first_frame"]),
        ("models/reference-unconditional/first_frame", "target", ["unconditional: 0", "reference-unconditional.unconditional"]),
        ("models/reference-text/drop_frames", 8, ["frames > drop_frames = 8", "reference-text.frames"]),
        ("models/reference-text/drop_frames", 5, ["frames > motion.k = 3 and the 5 dropped", "reference-text.frames"]),
        ("models/reference-text/arguments", {"sigmas": [1]}, ["number", "reference-text.arguments.sigmas"]),
        ("models/reference-text/vae", {"tilling": True}, ["did you mean 'tiling'", "reference-text.vae"]),
        (
            "models/reference-text/path",
            "https://huggingface.co/a/b",
            ["a hub repository of the form owner/name", "models.reference-text.path", "the name alone: a/b"],
        ),
        (
            "models/reference-text/components",
            {"vae": {"path": "https://hf.co/a/b/tree/main"}},
            ["components.vae.path", ": a/b"],
        ),
        ("models/reference-text/path", "hf://a", ["models.reference-text.path", "the name alone"]),
        ("models/reference-text/offload", "cpu", ["reference-text.offload", "none"]),
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
        complete_config(change(config, path, value), schema, family_pipelines())
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


SHIPPED = sorted(path.relative_to(ROOT).as_posix() for path in [ROOT / "config.yaml", *ROOT.glob("**/config*/*.yaml")])


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_configurations_hold(root, schema, name):
    assert complete_config(yaml.safe_load((root / name).read_text()), schema, family_pipelines())["run"]


HUB = {"path": "ali-vilab/text-to-video-ms-1.7b", "revision": None, "variant": None}
OFFICIAL = {"layout": "lavie", "file": "lavie.pt", "sha256": "0" * 64, "base": "CompVis/x", "base_revision": "0" * 40}


@pytest.mark.parametrize(
    ("model", "messages"),
    [
        (HUB, ["a pinned revision", "revision of net", f"git ls-remote https://huggingface.co/{HUB['path']} HEAD"]),
        (HUB | {"path": "./x", "components": {"motion_adapter": HUB}}, ["components.motion_adapter.revision of net"]),
        ({"checkpoint": OFFICIAL | {"base_revision": None}}, ["checkpoint.base_revision of net", "ls-remote"]),
        ({"checkpoint": OFFICIAL | {"sha256": None}}, ["checkpoint.sha256 of net", "sha256sum lavie.pt"]),
    ],
)
def test_a_model_that_is_not_pinned_is_refused_before_it_is_fetched(model, messages):
    with pytest.raises(VidmemError) as caught:
        check_pinned("net", model)
    assert all(message in str(caught.value) for message in messages), str(caught.value)


def test_a_folder_that_is_given_a_commit_is_refused(tmp_path, monkeypatch):
    """Its files would be recorded under a revision that nobody compared them with."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / HUB["path"]).mkdir(parents=True)
    check_pinned("net", HUB)
    part = {"path": "./x", "revision": None, "variant": None, "components": {"vae": HUB | {"revision": "0" * 40}}}
    for model, key in ((HUB | {"revision": "0" * 40}, "revision"), (part, "components.vae.revision")):
        with pytest.raises(VidmemError, match=f"a folder {HUB['path']}, and {'0' * 40}\nWhere: config key {key} of net"):
            check_pinned("net", model)


@pytest.mark.parametrize(
    "model", [HUB | {"revision": "0" * 40}, HUB | {"path": "./x"}, HUB | {"path": "/a/b"}, {"checkpoint": OFFICIAL}]
)
def test_pinned_models_and_folders_pass(model):
    check_pinned("net", model)


def test_commits_of_shipped_configurations_are_whole_and_one_a_repository(root):
    """A typing error in one of two places would fetch another model there."""
    pins = {}
    for path in sorted(root.glob("configs/*.yaml")):
        for repository, commit in re.findall(
            r"^ +(?:path|base): (\S+/\S+)\n +(?:base_)?revision: (\S+)$", path.read_text(), re.MULTILINE
        ):
            pins.setdefault(repository, set()).add(commit)
    assert len(pins) >= 10
    for repository, commits in pins.items():
        assert len(commits) == 1, (repository, commits)
        assert all(re.fullmatch("[0-9a-f]{40}|null", commit) for commit in commits), (repository, commits)


def test_the_order_of_keys_changes_nothing(config, schema):
    def reverse(value):
        if isinstance(value, dict):
            return {key: reverse(inner) for key, inner in reversed(value.items())}
        return [reverse(inner) for inner in value] if isinstance(value, list) else value

    first, second = complete_config(config, schema), complete_config(reverse(config), schema)
    assert str(first["corpora"]) == str(second["corpora"])
    assert str(first["motion"]) == str(second["motion"])
    assert str(first["models"]["reference-text"]) == str(second["models"]["reference-text"])


def test_a_frame_that_was_given_is_dropped_unless_the_configuration_says_otherwise(config, schema):
    name = "models/reference-text"
    assert complete_config(config, schema)["models"]["reference-text"]["drop_frames"] == 0
    given = change(config, f"{name}/first_frame", "target")
    assert complete_config(given, schema)["models"]["reference-text"]["drop_frames"] == 1
    assert complete_config(change(given, f"{name}/drop_frames", 0), schema)["models"]["reference-text"]["drop_frames"] == 0


def test_clips_from_elsewhere_are_sampled_as_their_corpus(config, schema):
    """A copy that is read at another rate or size is less alike."""
    corpus = next(iter(config["corpora"]))
    sources = [
        {"name": "a", "kind": "list", "path": "a.csv", "fps": 12.5, "fit": "stretch"},
        {"name": "b", "kind": "folder", "path": "b", "split": "image"},
    ]
    given = change(config, f"corpora/{corpus}", {"frames": 6, "size": [32, 48], "sources": sources})
    given = change(given, "models", {"closed": {"kind": "files", "corpus": corpus, "path": "made"}})
    given |= {"inversions": {}, "mitigations": {}}
    keys = ("frames", "size", "fps", "fit")
    closed = complete_config(given, schema)["models"]["closed"]
    assert [closed[key] for key in keys] == [6, [32, 48], 12.5, "stretch"]
    assert complete_config(complete_config(given, schema), schema)["models"]["closed"] == closed
    own = complete_config(change(given, "models/closed/fps", 8), schema)["models"]["closed"]
    assert [own[key] for key in keys] == [6, [32, 48], 8, "stretch"]
    several = change(given, f"corpora/{corpus}/sources", [*sources, {"name": "c", "kind": "list", "path": "c.csv", "fps": 8}])
    with pytest.raises(VidmemError, match="the fps of its clips: sources of corpus .* differ"):
        complete_config(several, schema)


def test_what_is_not_there_is_told_before_the_first_job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hub = {"path": "org/net", "revision": "0" * 40, "variant": None}
    local = {"path": "./net", "revision": None, "variant": None}
    official = {"path": "results/a/converted/x", "checkpoint": OFFICIAL}
    check_there("net", hub, ())
    check_there("net", local, {"./net/model_index.json"})
    for model, message in (
        (local, "nothing at ./net\nWhere: config key path of net"),
        (hub | {"components": {"vae": local}}, "nothing at ./net\nWhere: config key components.vae.path of net"),
        (official, "nothing at lavie.pt\nWhere: config key checkpoint.file of net"),
        (official | {"checkpoint": OFFICIAL | {"base": "./net"}}, "config key checkpoint.base of net"),
    ):
        with pytest.raises(VidmemError, match=message):
            check_there("net", model, ())
    (tmp_path / "net").mkdir()
    (tmp_path / "lavie.pt").touch()
    check_there("net", local, ())
    check_there("net", official, ())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("content", {"threshold": "calibratd"}, "calibrated"),
        ("motion", {"threshold": None}, "motion.threshold"),
        ("calibration", {"false_positive_rate": 0}, "> 0"),
        ("calibration", {"false_positive_rat": 0.1}, "did you mean 'false_positive_rate'"),
        ("calibration", {"top": 0}, ">= 1"),
        ("labels", {"file": 3}, "labels.file"),
    ],
)
def test_settings_that_are_none(root, key, value, message):
    config = yaml.safe_load((root / "config.yaml").read_text())
    with pytest.raises(VidmemError, match=message):
        complete_config(config | {key: value}, load_schema(root / "rules/schemas/config.schema.yaml", registered_names()))


def test_the_settings_have_their_defaults(root):
    config = yaml.safe_load((root / "config.yaml").read_text())
    schema = load_schema(root / "rules/schemas/config.schema.yaml", registered_names())
    completed = complete_config(config, schema)
    assert (completed["content"]["threshold"], completed["motion"]["threshold"]) == (0.5, 0.5)
    assert completed["calibration"]["false_positive_rate"] == 0.01
    assert completed["labels"] == {"file": None}
    assert complete_config(config | {"content": {"threshold": "calibrated"}}, schema)["content"]["threshold"] == "calibrated"


def test_training_needs_frames_that_are_kept(root):
    import yaml

    from vidmem.config import complete_config, load_schema
    from vidmem.planning.registries import registered_names

    schema = load_schema(root / "rules/schemas/config.schema.yaml", registered_names())
    config = yaml.safe_load((root / "tests/config/smoke.yaml").read_text())
    config["corpora"]["tiny"]["keep_frames"] = False
    with pytest.raises(VidmemError, match="train.corpus"):
        complete_config(config, schema)
    del config["train"]
    assert complete_config(config, schema)["corpora"]["tiny"]["keep_frames"] is False


def called(config, schema, **model):
    given = deepcopy(config) | {"inversions": {}, "mitigations": {}}
    place = {"path": "reference_models/text-to-video", **model}
    given["models"] = {"m": {"kind": "diffusers", "corpus": "default", **(model if "checkpoint" in model else place)}}
    made = complete_config(given, schema, official_call=official_call)["models"]["m"]
    return made["steps"], made["guidance"], made["arguments"]


def test_a_family_is_called_as_its_official_script_does_unless_the_configuration_says_otherwise(config, schema):
    checkpoint = {"layout": "videocrafter", "file": "a.ckpt", "sha256": "0" * 64, "base": "b"}
    crafter, lavie = {"pipeline": "VideoCrafterPipeline"}, {"pipeline": "LaViePipeline"}
    assert called(config, schema, **lavie) == (50, 7.5, {})
    second = crafter | {"checkpoint": checkpoint | {"variant": "v2-512"}}
    assert called(config, schema, **second) == (50, 12.0, {"fps": 28})
    assert called(config, schema, **crafter | {"checkpoint": checkpoint | {"variant": "v1-512"}}) == (50, 12.0, {})
    mine = {"steps": 20, "guidance": 3.0, "arguments": {"fps": 8, "eta": 0.0}}
    assert called(config, schema, **second | mine) == (20, 3.0, {"fps": 8, "eta": 0.0})
    assert called(config, schema, pipeline="TextToVideoSDPipeline")[2] == {}

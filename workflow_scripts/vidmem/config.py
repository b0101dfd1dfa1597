"""The configuration, checked before any job starts: a closed schema, its defaults, and references between keys."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import json
import math
import re
from collections.abc import Callable, Container, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import yaml

from .errors import VidmemError

if TYPE_CHECKING:
    from jsonschema import ValidationError

try:  # Every job reads the schema. The loader of libyaml, which most builds of PyYAML have, is several times faster.
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeLoader

Config = dict[str, Any]
BACKGROUND_GRID = 16
"""Side of the grid of a background of motion, GRID of features/background.py, which loads more than a job's plan should."""
ADJUSTABLE = ("TextToVideoSDPipeline", "StableDiffusionPipeline")
"""Pipelines whose text embedding can be adjusted. They have one text encoder and a U-Net, and take prompt_embeds."""


def load_schema(path: Path | str, names: Mapping[str, Sequence[str]] = MappingProxyType({})) -> Config:
    """Read a JSON Schema written as YAML with its sections, and fill in the names of registered records.

    A top-level key may refer to a file beside the schema (`$ref: sections/search.yaml`). That file replaces the reference, and
    its `$defs` join those of the schema.

    A key whose value is the name of a record (a metric, a detector, a model family, a layout) says `names: <registry>` in place
    of `enum`. So a new record needs no change of the schema. A key of a source that only some kinds of sources take says
    `kinds: <registry>`.

    Args:
        path: the YAML file.
        names: registry -> names of its records. The values of a registry that is not given are not checked.

    Returns:
        The schema.
    """
    schema = _read_yaml(Path(path))
    for key, inner in schema["properties"].items():
        if inner.get("$ref", "").endswith(".yaml"):
            section = _read_yaml(Path(path).parent / inner["$ref"])
            schema["$defs"] |= section.pop("$defs", {})
            schema["properties"][key] = section
    return _with_names(schema, names)


def _read_yaml(path: Path) -> Config:
    return yaml.load(path.read_text(encoding="utf-8"), SafeLoader)


def _with_names(schema: Any, names: Mapping[str, Sequence[str]]) -> Any:
    if isinstance(schema, list):
        return [_with_names(inner, names) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    filled = {key: _with_names(inner, names) for key, inner in schema.items()}
    for word, filled_in in (("names", "enum"), ("kinds", "kinds")):
        if isinstance(schema.get(word), str) and schema[word] in names:
            filled[filled_in] = list(names[schema[word]])
    return filled


MOST_SAMPLE_SHARDS = 16


def complete_config(
    config: Config,
    schema: Config,
    families: Mapping[str, str] = MappingProxyType({}),
    official_call: Callable[[Mapping[str, Any]], Config] = lambda model: {},
) -> Config:
    """Check a configuration and fill in the schema's defaults.

    Args:
        config: as read from YAML; not changed.
        schema: closed JSON Schema.
        families: model family -> class name of its pipeline. Class names of pipelines are not checked if none are given.
        official_call: keys of a model, and its arguments, as the official script of its family has them.

    Returns:
        A new configuration in which every key of the schema has a value.

    Raises:
        VidmemError: names the key path, what was expected and what was found.
    """
    from jsonschema import Draft202012Validator

    config = deepcopy(dict(config))
    _check_keys(config, "")
    errors = sorted(Draft202012Validator(schema).iter_errors(config), key=lambda error: (-len(error.path), str(error.path)))
    if errors:
        raise _explain(errors[0])
    completed = _fill(config, schema, schema)
    if completed["sample_shards"] is None:
        # A corpus may be thousands of times larger than what is generated.
        completed["sample_shards"] = min(completed["shards"], MOST_SAMPLE_SHARDS)
    for model in completed["models"].values():
        if model["kind"] == "diffusers" and model["drop_frames"] is None:
            model["drop_frames"] = int(model["first_frame"] is not None)  # the model did not generate the frame it was given
    _follow_families(completed, config, official_call)
    _follow_corpora(completed, config)
    _check_finite(completed, "")
    _place_checkpoints(completed, families)
    _check_references(completed, families)
    _check_sources(completed, schema)
    return completed


def _follow_families(config: Config, given: Config, official_call: Callable[[Mapping[str, Any]], Config]) -> None:
    """Call models of a family as its official script does, where the configuration does not say otherwise."""
    for name, model in config["models"].items():
        if model["kind"] == "diffusers":
            stated, official = given["models"][name], official_call(model)
            told = official.pop("arguments", {})
            model.update({key: value for key, value in official.items() if key not in stated})
            model["arguments"] = told | model["arguments"]


def _follow_corpora(config: Config, given: Config) -> None:
    """Give clips that were generated elsewhere the frames, size and rate of their corpus, unless the configuration says more.

    A copy at another rate or size would look less similar.
    """
    for name, model in config["models"].items():
        corpus = config["corpora"].get(model["corpus"])
        if model["kind"] != "files" or corpus is None:
            continue
        moving = [source for source in corpus["sources"] if source.get("split") != "image"]  # pictures have no rate
        for key in (key for key in ("frames", "size", "fps", "fit", "max_damaged") if key not in given["models"][name]):
            values = [corpus[key]] if key in corpus else [source[key] for source in moving or corpus["sources"]]
            if any(value != values[0] for value in values):
                where = f"config key models.{name}.{key}"
                raise VidmemError(f"the {key} of its clips: sources of corpus {model['corpus']} differ", values, where)
            model[key] = deepcopy(values[0])


def _place_checkpoints(config: Config, families: Mapping[str, str]) -> None:
    """Set the path of every model with an official checkpoint to its folder of converted files: one folder a checkpoint."""
    loaded = [(f"models.{name}", model) for name, model in config["models"].items() if model["kind"] == "diffusers"]
    for name, model in loaded + [(f"inversions.{name}", model) for name, model in config["inversions"].items()]:
        where, checkpoint = f"config key {name}", model.get("checkpoint")
        folder = f"results/{config['run']}/converted/{conversion_of(checkpoint)}" if checkpoint else None
        if model.get("path", folder) is None or (checkpoint and model.get("path", folder) != folder):
            got = sorted(key for key in ("path", "checkpoint") if key in model)
            raise VidmemError("a path, or a checkpoint to convert", got or "neither", where)
        if checkpoint is None:
            continue
        model["path"] = folder
        made = families.get(checkpoint["layout"], model["pipeline"])
        if model["pipeline"] != made:
            raise VidmemError(f"{made} for layout {checkpoint['layout']}", model["pipeline"], f"{where}.pipeline")


def conversion_of(checkpoint: Config) -> str:
    """Name of the folder that an official checkpoint is converted to: its layout, and a digest of the checkpoint's keys.

    >>> conversion_of({"layout": "ramvid", "file": "a.pt"}) == conversion_of({"file": "a.pt", "layout": "ramvid"})
    True
    """
    text = json.dumps(checkpoint, sort_keys=True)
    return f"{checkpoint['layout']}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _check_keys(value: Any, where: str) -> None:
    """Raise VidmemError for a key that YAML did not read as text, such as 1 or yes."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if isinstance(value, dict) and not isinstance(key, str):
            raise VidmemError("keys that are text", repr(key), f"config key {where or '(top level)'}", "put it in quotes")
        _check_keys(inner, f"{where}.{key}".lstrip("."))


def _check_finite(value: Any, where: str) -> None:
    """Raise VidmemError for .nan and .inf, which pass every bound of a schema."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if isinstance(inner, float) and not math.isfinite(inner):
            raise VidmemError("a finite number", inner, f"config key {where}.{key}".replace("key .", "key "))
        _check_finite(inner, f"{where}.{key}".lstrip("."))


def _explain(error: ValidationError) -> VidmemError:
    """Error of the schema validator as a VidmemError, with the key it is about and a hint."""
    while error.context:
        error = _closest_branch(error)
    where = "config key " + (".".join(str(part) for part in error.absolute_path) or "(top level)")
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        unknown = sorted(set(error.instance) - set(known))
        near = difflib.get_close_matches(unknown[0], known, n=1, cutoff=0.5)
        return VidmemError(
            "only the keys " + ", ".join(known),
            "unexpected key " + ", ".join(repr(key) for key in unknown),
            where,
            f"did you mean {near[0]!r}?" if near else "",
        )
    expectations = {
        "type": lambda: f"a value of type {error.validator_value}",
        "enum": lambda: f"one of {error.validator_value}",
        "const": lambda: repr(error.validator_value),
        "minimum": lambda: f"a number >= {error.validator_value}",
        "maximum": lambda: f"a number <= {error.validator_value}",
        "exclusiveMinimum": lambda: f"a number > {error.validator_value}",
        "exclusiveMaximum": lambda: f"a number < {error.validator_value}",
        "pattern": lambda: f"text of the form {error.validator_value}",
        "required": lambda: f"the key {error.message.split(' is ')[0]}",
    }
    expected = expectations.get(error.validator, lambda: error.message)()
    hint = str(error.schema.get("description", "")) if isinstance(error.schema, dict) else ""
    if error.validator == "enum" and isinstance(error.instance, str):
        near = difflib.get_close_matches(error.instance, [str(value) for value in error.validator_value], n=1)
        hint = f"did you mean {near[0]!r}?" if near else hint
    got = sorted(error.instance) if error.validator == "required" else error.instance
    return VidmemError(expected, repr(got), where, hint)


def _closest_branch(error: ValidationError) -> ValidationError:
    """The error from the branch of a oneOf whose 'kind' fits; if no branch fits, an error from any branch."""
    branches: dict[Any, list] = {}
    for child in error.context:
        branches.setdefault(child.schema_path[0], []).append(child)
    fitting = [found for found in branches.values() if not any(child.validator == "const" for child in found)]
    return sorted(fitting[0] if fitting else error.context, key=lambda child: -len(child.path))[0]


def _fill(value: Any, schema: Config, root: Config) -> Any:
    """Value with the schema's defaults. Its keys stand in the schema's order, so that their order in the file is irrelevant."""
    schema = resolve(schema, root)
    if "oneOf" in schema and isinstance(value, dict):
        kind = value.get("kind")
        branches = [resolve(branch, root) for branch in schema["oneOf"]]
        schema = next(branch for branch in branches if branch["properties"]["kind"].get("const") == kind)
    if isinstance(value, dict):
        return _fill_mapping(value, schema, root)
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return [_fill(item, schema["items"], root) for item in value]
    return value


def _fill_mapping(value: Config, schema: Config, root: Config) -> Config:
    filled = {}
    for key, inner in schema.get("properties", {}).items():
        resolved = resolve(inner, root)
        if key in value or "default" in resolved:
            filled[key] = _fill(value[key] if key in value else deepcopy(resolved["default"]), inner, root)
    extra = schema.get("additionalProperties")
    named = {key: inner for key, inner in value.items() if key not in filled}
    return filled | {key: _fill(inner, extra, root) if isinstance(extra, dict) else inner for key, inner in named.items()}


def resolve(schema: Config, root: Config) -> Config:
    """Part of a schema, its `$ref` replaced by the definition. Keywords beside the reference take precedence."""
    if "$ref" not in schema:
        return schema
    target = root
    for part in schema["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    return {**resolve(target, root), **{key: value for key, value in schema.items() if key != "$ref"}}


def _check_references(config: Config, families: Mapping[str, str]) -> None:
    corpora = sorted(config["corpora"])
    for name, model in config["models"].items():
        if model["corpus"] not in corpora:
            raise VidmemError(f"a corpus of {corpora}", repr(model["corpus"]), f"config key models.{name}.corpus")
        if model["kind"] == "diffusers":
            _check_pipeline("models", name, model, families)
            _check_prompts(name, model["prompts"])
    for name, inversion in config["inversions"].items():
        if name in config["models"]:
            raise VidmemError("a name that no model has", repr(name), f"config key inversions.{name}")
        if inversion["corpus"] not in corpora:
            raise VidmemError(f"a corpus of {corpora}", repr(inversion["corpus"]), f"config key inversions.{name}.corpus")
        _check_pipeline("inversions", name, inversion, families)
        _check_inversion(name, inversion)
    for name, mitigation in config["mitigations"].items():
        _check_mitigation(f"config key mitigations.{name}", mitigation, config["models"])
    motion = config["motion"]
    for kind in ("corpora", "models"):
        for name, entry in config[kind].items():
            dropped = entry.get("drop_frames", 0)
            if entry["frames"] <= dropped:
                raise VidmemError(f"frames > drop_frames = {dropped}", entry["frames"], f"config key {kind}.{name}.frames")
            if 1 < entry["frames"] - dropped <= motion["k"]:
                expected = f"frames > motion.k = {motion['k']}" + f" and the {dropped} dropped" * (dropped > 0)
                hint = f"a window of {motion['k']} frame pairs needs one frame more; or lower motion.k"
                raise VidmemError(expected, entry["frames"], f"config key {kind}.{name}.frames", hint)
    if config["search"]["method"] == "index" and (motion["pairing"], motion["filter"]["sides"]) != ("max", "either"):
        got = {"pairing": motion["pairing"], "sides": motion["filter"]["sides"]}
        raise VidmemError("pairing max and sides either", got, "config key search.method: index", "use method: exact")
    if config["flow"]["grid"] % BACKGROUND_GRID:
        got, hint = config["flow"]["grid"], "such as 64"
        raise VidmemError(f"a multiple of {BACKGROUND_GRID}", got, "config key flow.grid", hint)
    if config["flow"]["grid"] % config["search"]["motion_grid"]:
        got, hint = config["search"]["motion_grid"], "as large as flow.grid at most"
        raise VidmemError(f"a divisor of flow.grid = {config['flow']['grid']}", got, "config key search.motion_grid", hint)
    for name, corpus in config["corpora"].items():
        names = [source["name"] for source in corpus["sources"]]
        if len(set(names)) < len(names):
            raise VidmemError("sources of different names", names, f"config key corpora.{name}.sources")
    lists = [entry["name"] for entry in config["curation"]["lists"]]
    if len(set(lists)) < len(lists) or any(name.startswith("corpus-") for name in lists):
        raise VidmemError("lists of different names, none of them corpus-...", lists, "config key curation.lists")
    if config["train"]["models"] and config["train"]["corpus"] not in corpora:
        raise VidmemError(f"a corpus of {corpora}", repr(config["train"]["corpus"]), "config key train.corpus")
    if config["train"]["models"] and not config["corpora"][config["train"]["corpus"]]["keep_frames"]:
        hint = "train on a corpus with keep_frames: true, or leave train out: an audit needs none"
        raise VidmemError("a corpus that keeps its frames", "keep_frames: false", "config key train.corpus", hint)


HINTS = {
    "root": "paths of a list are those of its own folder; a folder is its own root",
    "recover": "its files have no listed hash",
}
"""Keys that only some kinds of sources take -> hint of the error for other kinds."""


def _check_sources(config: Config, schema: Config) -> None:
    kinds = {key: schema["$defs"]["source"]["properties"][key].get("kinds") for key in HINTS}
    for name, corpus in config["corpora"].items():
        for source in corpus["sources"]:
            where = f"config key corpora.{name}.sources ({source['name']})"
            _check_repository(source, where)
            for key, known in kinds.items():
                if source[key] and isinstance(known, list) and source["kind"] not in known:
                    raise VidmemError(f"{key} with a kind of {', '.join(known)}", source["kind"], where, HINTS[key])


def _check_repository(source: Config, where: str) -> None:
    if bool(source["repository"]) != bool(source["revision"]):
        hint = "give both: a commit hash pins what is fetched"
        got = {key: source[key] for key in ("repository", "revision")}
        raise VidmemError("a repository with a pinned revision", got, where, hint)
    if source["fetch"] and not source["repository"]:
        raise VidmemError("a repository to fetch from", f"fetch: {source['fetch']}", where)
    if source["repository"] and (source["path"].startswith("/") or ".." in Path(source["path"]).parts):
        raise VidmemError("a path in the repository", source["path"], where, "relative, without ..")


def _check_prompts(name: str, prompts: Config) -> None:
    where = f"config key models.{name}.prompts"
    if prompts["file"] and prompts["rank"] == "curated":
        raise VidmemError("rank: curated for captions of the corpus", f"file: {prompts['file']}", where, "give one of both")
    if prompts["columns"] and not prompts["file"]:
        raise VidmemError("a file that has these columns", prompts["columns"], f"{where}.columns")


def _check_mitigation(where: str, mitigation: Config, models: Config) -> None:
    adjustable = sorted(name for name, model in models.items() if model.get("pipeline") in ADJUSTABLE)
    if mitigation["model"] not in adjustable:
        hint = "its pipeline must be one of " + ", ".join(ADJUSTABLE)
        raise VidmemError(f"a model of {adjustable}", repr(mitigation["model"]), f"{where}.model", hint)
    model = models[mitigation["model"]]
    if mitigation["objective"] == "motion" and model["pipeline"] == "StableDiffusionPipeline":
        raise VidmemError("objective: content for a model of images", "motion", f"{where}.objective")
    if mitigation["samples"] > model["samples"]:
        expected = f"at most {model['samples']} samples, as the model generates without mitigation"
        raise VidmemError(expected, mitigation["samples"], f"{where}.samples")


def _check_inversion(name: str, inversion: Config) -> None:
    where, study = f"config key inversions.{name}", inversion["study"]
    if study.get("factor") == "training_steps" and not (isinstance(study["level"], (int, float)) and study["level"] > 0):
        raise VidmemError("a number of steps > 0", repr(study["level"]), f"{where}.study.level")
    if "sampler" in inversion["plan"]:
        _check_class(inversion["plan"]["sampler"], diffusers_classes("Scheduler"), f"{where}.plan.sampler")
    if inversion["mode"] == "none" and "scales" in inversion["plan"]:
        raise VidmemError("no guidance scales in mode none", inversion["plan"]["scales"], f"{where}.plan.scales")


def diffusers_classes(ending: str) -> list[str]:
    """Names of the classes of the installed diffusers with an ending; empty where diffusers is not installed.

    They are read from the text of the package's __init__.py, because importing diffusers takes seconds.
    """
    found = importlib.util.find_spec("diffusers")
    if found is None or found.origin is None:
        return []
    contents = Path(found.origin).read_text(encoding="utf-8")
    return sorted(set(re.findall(rf'"([A-Z][A-Za-z0-9]*{ending})"', contents)))


def _check_class(wanted: str, known: list[str], where: str, otherwise: str = "") -> None:
    if known and wanted not in known:
        near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.75)
        raise VidmemError("a class of diffusers", repr(wanted), where, f"did you mean {near[0]!r}?" if near else otherwise)


def hub_repository(path: str) -> bool:
    """Whether a model's path names a repository of the hub, not a folder.

    >>> [hub_repository(path) for path in ("genmo/mochi-1-preview", "./data/model", "reference_models/text-to-image")]
    [True, False, False]
    """
    local = path.startswith((".", "/", "reference_models/")) or path.count("/") != 1
    return not local and not Path(path).exists()


def check_pinned(name: str, model: Config) -> None:
    """Check that a model from the hub has a commit. The plan of an audit needs no commit, but its jobs do.

    Raises:
        VidmemError: the commit is missing (the hint names the command that finds it); a commit is given, but the path is a
            folder; or the hash of an official checkpoint is missing.
    """
    for key, (path, revision, _) in model_places(model).items():
        check_place(path, revision, f"config key {key} of {name}")
        if hub_repository(path) and revision is None:
            hint = f"give a commit hash: git ls-remote https://huggingface.co/{path} HEAD"
            raise VidmemError("a pinned revision for a hub repository", None, f"config key {key} of {name}", hint)
    if "checkpoint" in model and model["checkpoint"]["sha256"] is None:
        file = model["checkpoint"]["file"]
        raise VidmemError("the hash of a checkpoint", None, f"config key checkpoint.sha256 of {name}", f"sha256sum {file}")


def check_there(name: str, model: Config, made: Container[str]) -> None:
    """Check that the folders and the checkpoint exist that a model is loaded or converted from.

    Args:
        name: name of the model.
        model: its keys in the configuration.
        made: files that this run makes, such as the files of a model that it trains.

    Raises:
        VidmemError: a folder or a checkpoint does not exist.
    """
    for key, (path, _, _) in model_places(model).items():
        if not hub_repository(path) and not Path(path).is_dir() and f"{path}/model_index.json" not in made:
            where = key.replace("base_revision", "base").replace("revision", "path")
            raise VidmemError("a saved model", f"nothing at {path}", f"config key {where} of {name}")
    checkpoint = model.get("checkpoint")
    if checkpoint and not Path(checkpoint["file"]).is_file():
        raise VidmemError("an official checkpoint", f"nothing at {checkpoint['file']}", f"config key checkpoint.file of {name}")


def check_place(path: str, revision: str | None, where: str) -> None:
    """Raise VidmemError for a folder with a commit: nobody knows whether the files in it belong to the commit."""
    if revision is not None and Path(path).is_dir():
        hint = "revision: null audits the folder; to audit the commit, give the folder another name"
        raise VidmemError("a folder, or a hub repository at a revision", f"a folder {path}, and {revision}", where, hint)


def named_models(config: Config) -> dict[str, Config]:
    """Keys of the models that generate here and of the inverted models, by name."""
    return {name: model for name, model in config["models"].items() if model["kind"] == "diffusers"} | config["inversions"]


def model_places(model: Config) -> dict[str, tuple[str, str | None, str | None]]:
    """Path, commit and variant of every place that a model is loaded from, by the configuration key of the commit.

    The places are the model's own, the base of its official checkpoint, and components with a path of their own.
    """
    checkpoint = model.get("checkpoint")
    places = {} if checkpoint else {"revision": (model["path"], model["revision"], model["variant"])}
    if checkpoint and checkpoint["base"]:
        places["checkpoint.base_revision"] = (checkpoint["base"], checkpoint["base_revision"], None)
    for name, part in model.get("components", {}).items():
        places[f"components.{name}.revision"] = (part["path"], part["revision"], None)
    return places


def _check_addresses(where: str, model: Config) -> None:
    """Raise VidmemError for a path that is an address (https://...): it must be a folder or the name of a repository."""
    places = {"path": model["path"], "checkpoint.base": (model.get("checkpoint") or {}).get("base")}
    places |= {f"components.{name}.path": part["path"] for name, part in model.get("components", {}).items()}
    for key, path in places.items():
        if path and "://" in path:
            name = "/".join(path.partition("://")[2].split("/")[1:3])
            hint = f"the name alone: {name}" if "/" in name else "the name alone"
            raise VidmemError("a folder, or a hub repository of the form owner/name", path, f"{where}.{key}", hint)


def _check_pipeline(kind: str, name: str, model: Config, families: Mapping[str, str]) -> None:
    _check_addresses(f"config key {kind}.{name}", model)
    if families and not model["trust_remote_code"]:
        known = diffusers_classes("Pipeline")
        known += list(families.values()) if known else []
        otherwise = "a class of the repository's own needs trust_remote_code: true"
        _check_class(model["pipeline"], known, f"config key {kind}.{name}.pipeline", otherwise)
    if model.get("scheduler"):
        _check_class(model["scheduler"], diffusers_classes("Scheduler"), f"config key {kind}.{name}.scheduler")
    if model.get("first_frame") and model["unconditional"]:
        raise VidmemError(
            "unconditional: 0 with a first frame", model["unconditional"], f"config key {kind}.{name}.unconditional"
        )
    if model["frames"] < 1:
        raise VidmemError("frames >= 1", model["frames"], f"config key {kind}.{name}.frames")

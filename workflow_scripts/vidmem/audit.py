"""What the configuration says of an audit: its names, sets of clips, files, and the keys that decide each result.

This module uses the standard library only, because the workflow imports it in every job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

from .config import Config

FEATURES = {"content": "descriptors", "motion": "flows"}
"""Kind of memorization -> name of the feature files that measure it."""
LISTED_SHARDS = {
    "clips": {"clips": "clips.parquet"},
    "frames": {"clips": "clips.parquet", "frames": "frames.npy"},
    "content": {"clips": "clips.parquet", "descriptors": "descriptors.npy", "rows": "descriptors.parquet"},
    "motion": {"clips": "clips.parquet", "flows": "flows.npy", "pooled": "pooled.npy", "pairs": "flows.parquet"},
}
"""Files that a list of shards names: kind of list -> name of a group of files -> ending of their file names."""
RECIPES: dict[str, int | str] = {
    "generate_clips": 5,
    "train_model": 2,
    "invert_images": 5,
    "probe_guidance": 3,
    "mitigate_clips": 3,
    "read_corpus": 4,
    "read_features": 5,
    "list_shards": "709328a5fda3",
    "list_prompts": 2,
    "list_negatives": 2,
    "fit_detectors": "873524072677",
    "convert_model": 2,
}
"""Recipes (versions) of the stages that take hours, and of the stages that feed them.

A finished result stays valid while its recipe stays. Somebody changes a recipe by hand when a change of the code alters the
result. A test asks for that decision whenever the code of such a stage changes. Every other stage states a digest of its code
instead, and runs again by itself when its code changes. The fetch stage states neither: hashes and commits pin what it brings.

The recipes that look like digests are digests of the code at the time they became recipes: results of that time stay valid.
"""
CALIBRATED = "calibrated"
"""Value of a threshold that the configuration leaves to the calibration."""
UNGENERATED = ("label", "corpus", "prompts", "kind", "unconditional", "batch", "offload", "checkpoint")
OPTIONAL = ("vae", "compile", "components", "first_frame", "drop_frames", "arguments")
NOT_INVERTED = ("label", "corpus", "checkpoint", "slots", "study")


class Audit:
    """Names and files of a configured audit.

    Attributes:
        config: completed configuration.
        run: name of the audit.
        root: folder of everything that the audit makes, `results/<run>`.
        models: names of all audited models.
        prompted: names of the models that generate here.
        from_files: names of the models whose clips were generated elsewhere.
        guided: names of the models for which detection is defined.
        inversions: names of the inverted models.
        mitigations: name of a mitigation -> its keys in the configuration.
        loaded: name of a model that is loaded here -> its keys in the configuration.
        converted: names of the models that are converted from an official checkpoint.
        conversions: name of a folder of converted files -> name of a model that is loaded from it.
        audited: names of the corpora that models are audited against.
        inverted: names of the corpora whose images are inverted.
        read: names of all corpora that are audited or inverted.
        streamed: names of the corpora whose frames are not stored.
        shards: numbers of the shards of a corpus, as text.
        sample_shards: numbers of the shards of every other set, as text.
    """

    def __init__(self, config: Config):
        self.config, self.run = config, config["run"]
        self.root = f"results/{self.run}"
        models = config["models"]
        self.models = list(models)
        self.prompted = [name for name in models if models[name]["kind"] == "diffusers"]
        self.from_files = [name for name in models if models[name]["kind"] == "files"]
        # A negative prompt has no first frame, so detection is not defined for a model that starts from one.
        self.guided = [name for name in self.prompted if not models[name]["unconditional"] and not models[name]["first_frame"]]
        self.inversions, self.mitigations = list(config["inversions"]), config["mitigations"]
        self.loaded = {name: models[name] for name in self.prompted} | config["inversions"]
        self.converted = [name for name, model in self.loaded.items() if "checkpoint" in model]
        self.conversions = {Path(self.loaded[name]["path"]).name: name for name in reversed(self.converted)}
        self.audited = sorted({models[name]["corpus"] for name in models})
        self.inverted = sorted({inversion["corpus"] for inversion in config["inversions"].values()})
        self.read = sorted({*self.audited, *self.inverted})
        self.streamed = [name for name, corpus in config["corpora"].items() if not corpus["keep_frames"]]
        self.shards = [str(shard) for shard in range(config["shards"])]
        self.sample_shards = [str(shard) for shard in range(config["sample_shards"])]

    # What is computed, and with which keys and weights.

    @cached_property
    def descriptor_weights(self) -> str:
        """Name of the weights of the configured preset of SSCD."""
        preset = self.config["descriptors"]["preset"]
        named = {"sscd-mixup": "sscd_disc_mixup", "sscd-large": "sscd_disc_large", "sscd-distilled": "sscd_distilled"}
        return next((weights for prefix, weights in named.items() if preset.startswith(prefix)), "sscd_int8")

    @cached_property
    def descriptor_gpus(self) -> int:
        """GPUs of a job that describes frames: 1 for the TorchScript backend, 0 for the ONNX backend."""
        return int(self.descriptor_weights.startswith("sscd_disc"))

    @cached_property
    def flow_weights(self) -> list[str]:
        """Names of the weights of the flow estimator; DIS needs none, and no GPU."""
        estimator = self.config["flow"]["estimator"]
        return [] if estimator == "dis" else [estimator.replace("-", "_")]

    @cached_property
    def motion_search(self) -> Config:
        """Keys of the motion metric that a search depends on. The threshold is no such key: a new one needs no new search."""
        return {key: self.config["motion"][key] for key in ("metric", "k", "cosine", "pairing", "filter", "views")}

    @cached_property
    def index(self) -> Config:
        """Keys of the search that an index depends on. A new number of candidates needs no new index."""
        return {key: self.config["search"][key] for key in ("index", "parameters", "train", "motion_grid", "block")}

    @cached_property
    def background_files(self) -> list[str]:
        """Background of another audit, if the user gives one."""
        listed = self.config["motion"]["background"]["file"]
        return [listed] if listed else []

    @cached_property
    def labelled(self) -> list[str]:
        """Names of the sets whose clips a human label may name."""
        return [f"corpus-{corpus}" for corpus in self.audited] + [f"generated-{model}" for model in self.models]

    def is_calibrated(self) -> bool:
        """Whether the configuration leaves a threshold to the calibration."""
        return CALIBRATED in (self.config["content"]["threshold"], self.config["motion"]["threshold"])

    def model(self, name: str) -> Config:
        """Keys of an audited or inverted model in the configuration."""
        return self.config["models"].get(name) or self.config["inversions"][name]

    def models_of(self, corpus: str, names: Iterable[str]) -> list[str]:
        """The given models that are audited against a corpus."""
        return [name for name in names if self.config["models"][name]["corpus"] == corpus]

    def corpus_of(self, clips: str) -> str:
        """Corpus that a set of clips is compared with.

        Args:
            clips: name of the set, such as 'generated-mine', 'mitigated-less', 'controls-films' or 'corpus-films'.
        """
        kind, _, name = clips.partition("-")
        model = self.mitigations[name]["model"] if kind == "mitigated" else name
        return self.config["models"][model]["corpus"] if kind in ("generated", "mitigated") else name

    def source(self, corpus: str, name: str) -> Config:
        """Keys of a source of a corpus that decide what the fetch stage downloads."""
        sources = {source["name"]: source for source in self.config["corpora"][corpus]["sources"]}
        return {key: sources[name][key] for key in ("name", "repository", "revision", "path", "fetch")}

    def footage(self, corpus: str) -> Config:
        """Keys of a corpus that change its frames."""
        return {key: value for key, value in self.config["corpora"][corpus].items() if key != "keep_frames"}

    @cached_property
    def moving(self) -> list[str]:
        """Audited models that make videos and are compared with videos."""
        corpora = self.config["corpora"]
        both = {name: (model["frames"], corpora[model["corpus"]]["frames"]) for name, model in self.config["models"].items()}
        return [name for name, frames in both.items() if min(frames) > 1]

    def described(self, name: str) -> Config:
        """What figures say about a model: its label, its corpus, and whether it takes a prompt."""
        model = self.config["models"][name]
        return {"label": model.get("label", name), "corpus": model["corpus"], "prompted": is_prompted(model)}

    # Files.

    def shards_of(self, clips: str) -> list[str]:
        """Shards of a set of clips."""
        return self.shards if clips.startswith("corpus-") else self.sample_shards

    def stems(self, sets: Iterable[str]) -> list[str]:
        """Paths of the shards of sets without the endings of their files, set by set, shard by shard."""
        return [f"{self.root}/data/{name}/{shard}" for name in sets for shard in self.shards_of(name)]

    def lists(self, kind: str, sets: Iterable[str]) -> list[str]:
        """Paths of the lists of shards of sets. A job that reads whole sets takes one list a set, not one file a shard."""
        return [f"{self.root}/data/{name}/shards-{kind}.json" for name in sets]

    def corpus_list(self, kind: str, corpus: str) -> str:
        """Path of the list of shards of one corpus."""
        return self.lists(kind, [f"corpus-{corpus}"])[0]

    def listed_shards(self, clips: str, kind: str) -> dict[str, list[str]]:
        """Files of a list of shards, by the name of their group. The group of frames is empty where none are stored."""
        stems, streamed = self.stems([clips]), clips in [f"corpus-{name}" for name in self.streamed]
        return {
            name: [] if streamed and name == "frames" else [f"{stem}.{end}" for stem in stems]
            for name, end in LISTED_SHARDS[kind].items()
        }

    def looked_up(self, clips: str, part: int, kind: str) -> dict[str, list[str] | str]:
        """Feature files of one part of a set of queries, and the list of shards of the corpus in which they are looked up.

        A search job reads the whole corpus. So a set is cut into no more parts than there are sample shards.

        Args:
            clips: name of the set of queries.
            part: number of the part, from 0.
            kind: 'content' or 'motion'.
        """
        shards = self.shards_of(clips)[part :: len(self.sample_shards)]
        stems, features = [f"{self.root}/data/{clips}/{shard}" for shard in shards], FEATURES[kind]
        return {
            "query_clips": [f"{stem}.clips.parquet" for stem in stems],
            "query_arrays": [f"{stem}.{features}.npy" for stem in stems],
            "query_rows": [f"{stem}.{features}.parquet" for stem in stems],
            "references": self.corpus_list(kind, self.corpus_of(clips)),
        }

    def fetched_sources(self, corpus: str) -> list[str]:
        """Paths of the records of the data sets that the fetch stage downloads for a corpus."""
        sources = self.config["corpora"][corpus]["sources"]
        return [f"{self.root}/corpora/{corpus}.{source['name']}.json" for source in sources if source["repository"]]

    def prompt_files(self, model: str) -> list[str]:
        """File with the prompts of a model, if the user gives one."""
        listed = self.config["models"][model].get("prompts", {}).get("file")
        return [listed] if listed else []

    @cached_property
    def negative_files(self) -> list[str]:
        """File with the negative prompts, if the user gives one."""
        listed = self.config["detection"]["negatives"]["file"]
        return [listed] if listed else []

    @cached_property
    def label_files(self) -> list[str]:
        """File with human labels, if the user gives one."""
        return [self.config["labels"]["file"]] if self.config["labels"]["file"] else []

    @cached_property
    def looked_up_file(self) -> list[str]:
        """File that `snakemake find` looks up, if the user gives one."""
        return [self.config["clip"]] if self.config["clip"] else []

    @cached_property
    def prompt_lists(self) -> list[str]:
        """Paths of the published lists of prompts that the curation adds."""
        return [entry["path"] for entry in self.config["curation"]["lists"]]

    def user_files(self, rule: str, wildcards: Mapping[str, str]) -> list[str]:
        """Files of the user that the jobs of a rule read. The jobs that read a corpus find its folders and lists themselves."""
        if rule == "list_prompts":
            return self.prompt_files(wildcards["model"])
        if rule == "read_generated":
            return [self.config["models"][wildcards["model"]]["path"]]
        files = {
            "list_negatives": self.negative_files,
            "curate_prompts": self.prompt_lists,
            "validate_labels": self.label_files,
            "fit_background": self.background_files,
            "find": self.looked_up_file,
        }
        return files.get(rule, [])


def is_prompted(model: Config) -> bool:
    """Whether a model takes prompts. For clips generated elsewhere: whether they come with prompts."""
    return not model.get("unconditional", 0) and not (model.get("captions") == "none" and Path(model["path"]).is_dir())


def generation_keys(model: Config) -> Config:
    """Keys of a model that change what it generates.

    Its label, prompts, corpus and the settings of the machine are left out. An optional key counts only where it has a value:
    so a new optional key leaves earlier results valid.
    """
    return {
        key: value
        for key, value in model.items()
        if key not in UNGENERATED and not (key in OPTIONAL and value in (None, False, {}))
    }


def probe_keys(model: Config, told_rate: bool | None) -> Config:
    """Keys of a model that change its first denoising step.

    Args:
        told_rate: whether the network takes the frame rate as an input; None where this is unknown.
    """
    beside = ("fps", "samples") if told_rate is False else ("samples",)
    return {key: value for key, value in generation_keys(model).items() if key not in beside}


def inversion_keys(inversion: Config) -> Config:
    """Keys of an inversion that change its scores."""
    return {key: value for key, value in inversion.items() if key not in NOT_INVERTED}

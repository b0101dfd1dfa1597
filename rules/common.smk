"""Configuration, checked and completed, and the few helpers that rules share. Standard library only."""

import os
import re
import sys
from pathlib import Path

SCRIPTS = Path(workflow.basedir) / "workflow_scripts"
if str(SCRIPTS) not in sys.path:
    sys.path.insert(0, str(SCRIPTS))

from vidmem.array_tasks import own_command
from vidmem.config import complete_config, load_schema
from vidmem.errors import VidmemError

# A task of a job array becomes its own job's process; why: vidmem/array_tasks.py.
try:
    command = own_command(sys.argv, os.environ)
except VidmemError as error:
    raise WorkflowError(str(error)) from None
if command is not None:
    os.execvp("sh", ["sh", "-c", command])

try:
    # In place: the scripts are handed this very dictionary.
    completed = complete_config(config, load_schema(Path(workflow.basedir) / "rules/schemas/config.schema.yaml"))
    config.clear()
    config.update(completed)
except VidmemError as error:
    raise WorkflowError(f"The configuration does not hold.\n{error}") from None

RUN = config["run"]
MODELS = list(config["models"])
PROMPTED = [name for name in MODELS if config["models"][name]["kind"] == "diffusers"]
# Negative prompts have no first frame: of models that start from one detection is not defined.
GUIDED = [
    name for name in PROMPTED if not config["models"][name]["unconditional"] and not config["models"][name]["first_frame"]
]
FROM_FILES = [name for name in MODELS if config["models"][name]["kind"] == "files"]
INVERSIONS = list(config["inversions"])
LOADED = {name: config["models"][name] for name in PROMPTED} | config["inversions"]
# Models whose path is a folder that the workflow makes of an official checkpoint.
CONVERTED = [name for name, model in LOADED.items() if "checkpoint" in model]
# Names of these folders, each with a model of it: models of one checkpoint share one.
CONVERSIONS = {Path(LOADED[name]["path"]).name: name for name in reversed(CONVERTED)}
INVERTED = sorted({config["inversions"][name]["corpus"] for name in INVERSIONS})
MITIGATIONS = config["mitigations"]
AUDITED = sorted({config["models"][name]["corpus"] for name in MODELS})
READ = sorted({*AUDITED, *INVERTED})
# Corpora whose frames are not stored: one job reads a shard's clips, describes them and computes their flow.
STREAMED = [name for name, corpus in config["corpora"].items() if not corpus["keep_frames"]]
SHARDS = [str(shard) for shard in range(config["shards"])]
# Of all sets but corpora: generated and mitigated clips, controls, and inversions.
SAMPLE_SHARDS = [str(shard) for shard in range(config["sample_shards"])]
# A job that looks something up scans the corpus: held-out clips of many shards go together, as do shards of an index.
PARTS = SAMPLE_SHARDS
TRAINED = config["train"]["output"]
# Raised by hand when a change of the code must generate or train again; a test guards them.
RECIPES = {"generate_clips": 5, "train_model": 2, "invert_images": 5, "probe_guidance": 3, "mitigate_clips": 3}
# What of the motion definition a search depends on: another threshold must not search again.
MOTION_SEARCH = {key: config["motion"][key] for key in ("k", "cosine", "pairing", "filter")}
# What an index depends on: other candidates or another certificate must not build it again.
INDEX = {key: config["search"][key] for key in ("index", "parameters", "train", "motion_grid", "block")}
CLIP_RANKS = [1, 2, 3, 4]
TABLES = [
    "table1_metric_validation",
    "table2_memorization",
    "table3_content_detection",
    "table4_motion_detection",
    "copies",
    "filter_ablation",
    "not_done",
    "corpus_status",
    "corpus_motion",
    "prompts",
    "calibration",
    "label_validation",
    *(["mitigation"] if MITIGATIONS else []),
]
INVERSION_TABLES = [f"invmm_{name}" for name in ("scores", "images", "separation", "factors", "membership", "chance")]
INVERSION_FIGURES = [
    f"fig_invmm_{name}" for name in ("copies", "distribution", "samples", "training_steps", "sampling", "membership")
]
FIGURES = [
    "fig1_gallery_text",
    "fig2_motion_panel",
    "fig3_image_panel",
    "fig4_gallery_unconditional",
    "fig5_gallery_model",
    "fig6_score_distributions",
    "fig7_detection_roc",
    "fig8_magnitude_steps",
    "fig9_copies",
    "fig10_calibration",
    "fig11_score_normalisation",
]
# Files that a user writes. Rules take them by what they say (digest_files), not by their date.
NEGATIVES = [config["detection"]["negatives"]["file"]] if config["detection"]["negatives"]["file"] else []
LABELS = [config["labels"]["file"]] if config["labels"]["file"] else []
PROMPT_LISTS = [entry["path"] for entry in config["curation"]["lists"]]
# The sets that a human label may name.
LABELLED = [f"corpus-{corpus}" for corpus in AUDITED] + [f"generated-{model}" for model in MODELS]


def one_of(names):
    """Regular expression that matches exactly these names, and nothing for none."""
    return "|".join(re.escape(name) for name in names) or "(?!)"


def none_of(names):
    """Regular expression for a set of clips that is none of these."""
    return f"(?!({one_of(names)})/)(corpus|controls|generated|mitigated)-[a-z0-9-]+"


wildcard_constraints:
    run=re.escape(RUN),
    corpus=one_of(config["corpora"]),
    model=one_of(MODELS),
    mitigation=one_of(MITIGATIONS),
    set="(corpus|controls|generated|mitigated)-[a-z0-9-]+",
    shard=r"\d+",
    part=r"\d+",
    rank=r"\d+",
    kind="[a-z-]+",


def check_index():
    """Stops a plan whose index FAISS does not know, where FAISS is installed; else its job will say it."""
    import importlib.util

    if config["search"]["index"] == "Flat" or not workflow.is_main_process or not importlib.util.find_spec("faiss"):
        return
    from vidmem.faiss_index import needs_training

    try:
        needs_training(512, config["search"]["index"])
    except VidmemError as error:
        raise WorkflowError(f"The configuration does not hold.\n{error}") from None


check_index()


def share_of_cores(jobs=config["shards"]):
    """Threads of a job of which there are so many, by default one a shard: together they fill the machine."""
    return max(1, (workflow.resource_settings.cores or 1) // jobs)


def growing(megabytes):
    """Memory of a job, more at each attempt: one that ran out of it is tried again with twice as much."""
    return lambda wildcards, attempt: megabytes * attempt


def here(paths):
    """Those of some files that are there: a plan of the audit needs none of them, and check_needs stops a run without."""
    return [path for path in paths if Path(path).exists()]


def called_as():
    """How this workflow was called, up to the target."""
    files = " ".join(os.path.relpath(path) for path in workflow.overwrite_configfiles)
    return "snakemake --cores 1" + (f" --configfile {files} --" if files else "")


def check_needs(dag):
    """Before the first job: the user's files, the commits, and the fetched files that jobs of this run are in want of."""
    from vidmem.config import check_pinned, check_there

    made = {path for job in dag.jobs for path in job.output}
    due = set(dag.needrun_jobs())
    errors = lost_records({path for job in due for path in records_of(job)} - {path for job in due for path in job.output})
    for job in due:
        for path in set(files_of(job.rule.name, job.wildcards)) - set(here(files_of(job.rule.name, job.wildcards))):
            errors[path] = VidmemError("a file that the configuration names", "nothing there", path)
        if job.rule.name in ("fetch_model", "convert_model"):
            converts = job.rule.name == "convert_model"
            model = CONVERSIONS[job.wildcards.conversion] if converts else job.wildcards.model
            try:
                check_pinned(model, model_spec(model))
                check_there(model, model_spec(model), made)
            except VidmemError as error:
                errors[model] = error
        if job.rule.name in ("read_corpus", "read_features"):
            for source in config["corpora"][job.wildcards.corpus]["sources"]:
                if not source["repository"] and not here([source["path"]]):
                    where = f"{source['path']} (source {source['name']} of corpus {job.wildcards.corpus})"
                    errors[source["path"]] = VidmemError("a list or a folder", "nothing there", where)
    if errors:
        told = "\n".join(str(errors[name]) for name in sorted(errors))
        raise WorkflowError(f"What the run needs is not there; for everything see {called_as()} preflight\n{told}")


# Stages that load a model or read footage, and those that read it again where a corpus keeps no frames. Others only cite records.
LOADING = ("generate_clips", "mitigate_clips", "probe_guidance", "invert_images", "probe_model", "read_corpus", "read_features")
SHOWING = ("plot_galleries", "plot_motion_panel", "save_clips")


def records_of(job):
    """Records of the fetch stage whose files a job reads."""
    if job.rule.name in SHOWING:
        return [record for name in AUDITED if name in STREAMED for record in fetched_sources(name)]
    folders = (f"results/{RUN}/models/", f"results/{RUN}/corpora/")
    return [str(path) for path in job.input if path.startswith(folders)] if job.rule.name in LOADING else []


def lost_records(records):
    """Of records that are there, an error for each whose files are not: Snakemake would see no reason to fetch them again."""
    import json

    from vidmem.inventory import fetch_command, hub_cache, lost_files

    errors = {}
    for path in (path for path in records if Path(path).exists()):
        if lost := lost_files(json.loads(Path(path).read_text(encoding="utf-8")), hub_cache()):
            got = f"{len(lost)} gone, such as {lost[0]}"
            errors[path] = VidmemError("the files of a record of the fetch stage", got, path, fetch_command(called_as(), path))
    return errors


def files_of(stage, wildcards):
    """Files of the user that jobs of a rule read; folders and lists of a corpus are looked for by its own jobs."""
    if stage == "list_prompts":
        return prompt_files(wildcards.model)
    if stage == "read_generated":
        return [config["models"][wildcards.model]["path"]]
    return {"list_negatives": NEGATIVES, "curate_prompts": PROMPT_LISTS, "validate_labels": LABELS}.get(stage, [])


def watch_cluster():
    """Ends a run on Slurm whose controller has been away for five minutes, and names jobs that are held: the executor alone
    would wait for ever."""
    import os
    import threading

    from vidmem.controller import watch_controller

    def give_up(error):
        workflow.scheduler.executor_error_callback(WorkflowError(f"The cluster does not answer.\n{error}"))

    if workflow.executor_plugin.name == "slurm":
        patience_s = float(os.environ.get("VIDMEM_CONTROLLER_PATIENCE_S", 300))
        watched = (give_up, logger.warning, patience_s, min(10, patience_s / 3))
        threading.Thread(target=watch_controller, args=watched, daemon=True).start()


def footage_of(corpus):
    """Keys of a corpus that change its frames."""
    return {key: value for key, value in config["corpora"][corpus].items() if key != "keep_frames"}


def digest_of(*modules):
    """Digest of library modules and of all they import. A cheap stage carries it, so that editing them reruns it.

    The main process plans with it; a job's own process on a cluster need not compute it again.
    """
    from vidmem.upkeep import PLANNED

    if not workflow.is_main_process:
        return PLANNED
    from vidmem.sources import digest_modules, imported_modules

    return digest_modules(SCRIPTS / "vidmem", imported_modules(SCRIPTS / "vidmem", modules))


def fetched_sources(corpus):
    """Records of the data sets that the fetch stage brings for a corpus."""
    sources = config["corpora"][corpus]["sources"]
    return [f"results/{RUN}/corpora/{corpus}.{source['name']}.json" for source in sources if source["repository"]]


def source_of(wildcards):
    """A source of a corpus, by its name: the keys that decide what of its repository is fetched."""
    sources = {source["name"]: source for source in config["corpora"][wildcards.corpus]["sources"]}
    return {key: sources[wildcards.source][key] for key in ("name", "repository", "revision", "path", "fetch")}


def corpus_of(wildcards):
    """Corpus that a set of clips is compared with."""
    return corpus_of_set(wildcards.set)


def corpus_of_set(clips):
    """The same of the name of a set."""
    kind, _, name = clips.partition("-")
    model = MITIGATIONS[name]["model"] if kind == "mitigated" else name
    return config["models"][model]["corpus"] if kind in ("generated", "mitigated") else name


def weights_of(name):
    """File that the fetch stage leaves behind."""
    return f"results/weights/{name}"


def preflight_page(targets):
    """The page of a preflight, after all that Snakemake has to say of it; '' for other targets."""
    page = Path(f"results/{RUN}/preflight.txt")
    return (
        f"\n{page.read_text()}\nThe same as JSON: {page.with_suffix('.json')}"
        if targets == {"preflight"} and page.exists()
        else ""
    )


def closing_message(targets):
    """Where the results are, in the words of the person who waited; '' where no whole audit was made."""
    root = Path("results") / RUN
    if targets == {"preflight"}:
        return preflight_page(targets)
    # Also after a training or a single table. An estimate has run nothing of it.
    if targets == {"estimate"} or not (root / "verdict.json").exists():
        return ""
    return "\n".join(
        [
            "",
            f"The audit '{RUN}' is complete.",
            f"  tables   {root}/tables/     (CSV, Markdown, LaTeX)",
            f"  figures  {root}/figures/    (PNG, SVG)",
            f"  prompts  {root}/prompts/    (captions by how prone they are to trigger memorization: Parquet and a card)",
            f"  clips    {root}/clips/      (MP4: training clip left, generated clip right)",
            f"  verdict  {root}/verdict.json",
            *(
                [f"  left out {root}/tables/not_done.csv  (models generated elsewhere: detection, inversion)"]
                * bool(FROM_FILES)
            ),
            f"  report   snakemake --report {root}/report.zip",
        ]
    )


def check_results(dag):
    """Before the first job: dates that a clock got wrong, results of another recipe, outputs that will be made again; and the plan
    of recipes for jobs whose own process knows less."""
    import time

    from vidmem import upkeep
    from vidmem.store import save_json

    now, folders = time.time(), [Path("results") / RUN, Path("results/weights")]
    due = set(dag.needrun_jobs())
    kept = {
        path: (job.rule.name, upkeep.digest_parameters(job.params)) for job in dag.jobs if job not in due for path in job.output
    }
    try:
        upkeep.check_clock([*SCRIPTS.rglob("*.py"), *Path(workflow.basedir).glob("rules/*.smk")], now)
        upkeep.check_recipes(kept)
    except VidmemError as error:
        raise WorkflowError(f"The results of an earlier run do not hold.\n{error}") from None
    for path in upkeep.redate(folders, now):
        print(f"Its date lay in the future, is now: {path}", file=sys.stderr)
    upkeep.outdate(path for job in due for path in job.output)
    if workflow.executor_plugin.common_settings.non_local_exec:
        planned = {str(job.log[0]): upkeep.digest_parameters(job.params) for job in due if job.log}
        save_json(Path("results") / RUN / "logs" / upkeep.PLAN, planned)


def digest_folder(path):
    """Digest of names, sizes and times of a model's files in a folder: the rule hashes them; '' for a hub repository."""
    import hashlib

    from vidmem.sources import model_files

    digest, files = hashlib.sha256(), model_files(Path(path))
    for file in files:
        digest.update(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}".encode())
    return digest.hexdigest()[:12] if files else ""


def digest_files(*paths):
    """Digest of what files say, for lists that a user writes: a date is only as good as the clock, and as the copy."""
    import hashlib

    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path}\n".encode() + (Path(path).read_bytes() if Path(path).is_file() else b""))
    return digest.hexdigest()[:12]


_digests = {}


def digest_shard(wildcards):
    """Digest of what a shard of a corpus lists: adding clips to a list must not read the other shards again.

    The main process plans with it, in one reading of the lists for all shards; a job's own process need not.
    """
    from vidmem.listing import digest_shards
    from vidmem.upkeep import PLANNED

    if not workflow.is_main_process:
        return PLANNED
    if wildcards.corpus not in _digests:
        try:
            _digests[wildcards.corpus] = digest_shards(config["corpora"][wildcards.corpus]["sources"], config["shards"])
        except VidmemError as error:  # the job will say it, with the other jobs going on
            _digests[wildcards.corpus] = [str(error)] * config["shards"]
    return _digests[wildcards.corpus][int(wildcards.shard)]


def digest_listed(name):
    """Digest of what a model's list or folder names and of sizes and times of its files; '' where the job will say what is wrong."""
    from vidmem.elsewhere import digest_made
    from vidmem.upkeep import PLANNED

    try:
        return digest_made(name, config["models"][name]) if workflow.is_main_process else PLANNED
    except VidmemError:
        return ""


def generation_spec(model):
    """Keys of a model that change what it generates, without its label, prompts and corpus, nor how a machine makes it.

    Optional keys count where they say something: results of before there was such a key stay as they are.
    """
    beside = ("label", "corpus", "prompts", "kind", "unconditional", "batch", "offload", "checkpoint")
    optional = ("vae", "compile", "components", "first_frame", "drop_frames", "arguments")
    return {
        key: value for key, value in model.items() if key not in beside and not (key in optional and value in (None, False, {}))
    }


def probe_spec(model):
    """Those of them that change its first step: the rate of frames where the network is told it, or where nobody knows."""
    from vidmem.signatures import told_rate

    beside = ("samples",) if told_rate(model["pipeline"]) is not False else ("fps", "samples")
    return {key: value for key, value in generation_spec(model).items() if key not in beside}


def model_spec(name):
    """What the configuration says of an audited or an inverted model."""
    return config["models"].get(name) or config["inversions"][name]


def digest_model(model):
    """Digest of a model's files in its folder, and of those of components that lie elsewhere."""
    parts = [
        f"{name} {place['path']} {place['revision']} {digest_folder(place['path'])}"
        for name, place in sorted(model.get("components", {}).items())
    ]
    return " ".join([digest_folder(model["path"]), *parts])


def given_frames(wildcards):
    """List of the clip tables and frames of the corpus, for models that start from a frame of it."""
    model = config["models"][wildcards.model]
    return lists_of("frames", [f"corpus-{model['corpus']}"] * (model["first_frame"] is not None))


def converted_files(name):
    """What a converted model is known by: its index, and the hashes of all its files."""
    folder = model_spec(name)["path"]
    return [f"{folder}/{file}" for file in ("model_index.json", "conversion.json")] if name in CONVERTED else []


def checkpoint_of(wildcards):
    """Official checkpoint of a conversion, and its keys."""
    return LOADED[CONVERSIONS[wildcards.conversion]]["checkpoint"]


def digest_base(checkpoint):
    """Digest of the folder that a conversion takes parts of; '' for a hub repository, or none."""
    return digest_folder(checkpoint["base"]) if checkpoint["base"] else ""


def inversion_spec(inversion):
    """Keys of an inversion that change its scores."""
    return {key: value for key, value in inversion.items() if key not in ("label", "corpus", "checkpoint", "slots", "study")}


def shards_of(clips):
    """Shards of a set of clips."""
    return SHARDS if clips.startswith("corpus-") else SAMPLE_SHARDS


def stems_of(sets):
    """Files of sets without their endings, set by set, shard by shard."""
    return [f"results/{RUN}/data/{name}/{shard}" for name in sets for shard in shards_of(name)]


def lists_of(kind, sets):
    """Lists of the shards of sets: a job that reads whole sets has one input a set, not one a shard."""
    return [f"results/{RUN}/data/{name}/shards-{kind}.json" for name in sets]


def inverted_corpus(wildcards):
    """List of the clip tables and frames of the corpus whose images are inverted."""
    return lists_of("frames", [f"corpus-{config['inversions'][wildcards.inversion]['corpus']}"])[0]


def captions_of(wildcards):
    """List of the clip tables of a model's corpus."""
    return lists_of("clips", [f"corpus-{config['models'][wildcards.model]['corpus']}"])[0]


def descriptor_weights():
    """Name of the weights of the configured preset."""
    preset = config["descriptors"]["preset"]
    named = {"sscd-mixup": "sscd_disc_mixup", "sscd-large": "sscd_disc_large", "sscd-distilled": "sscd_distilled"}
    return next((weights for prefix, weights in named.items() if preset.startswith(prefix)), "sscd_int8")


def descriptor_gpus():
    """The TorchScript backend computes on a GPU, the ONNX backend does not."""
    return 1 if descriptor_weights().startswith("sscd_disc") else 0


def flow_weights():
    """Weights of the flow estimator; DIS needs none and no GPU."""
    estimator = config["flow"]["estimator"]
    return [] if estimator == "dis" else [estimator.replace("-", "_")]


GUIDANCE_FILES = {"probes": "probe", "guidance": "guidance", "clips": "clips"}
FEATURES = {"content": "descriptors", "motion": "flows"}
# What a list of a set's shards holds, by the names of its files.
LISTED_SHARDS = {
    "clips": {"clips": "clips.parquet"},
    "frames": {"clips": "clips.parquet", "frames": "frames.npy"},
    "content": {"clips": "clips.parquet", "descriptors": "descriptors.npy", "rows": "descriptors.parquet"},
    "motion": {"clips": "clips.parquet", "flows": "flows.npy", "pairs": "flows.parquet"},
}


def listed_shards(wildcards):
    """Files of a list of shards; no frames of a corpus that keeps none."""
    stems, files = stems_of([wildcards.set]), LISTED_SHARDS[wildcards.kind]
    streamed = wildcards.set in [f"corpus-{name}" for name in STREAMED]
    return {
        name: [] if streamed and name == "frames" else [f"{stem}.{ending}" for stem in stems] for name, ending in files.items()
    }


def query_and_reference(wildcards, kind):
    """Feature files of the part of a set that is looked up and the list of those of the corpus it is looked up in."""
    shards = shards_of(wildcards.set)[int(wildcards.part) :: len(PARTS)]
    queries = [f"results/{RUN}/data/{wildcards.set}/{shard}" for shard in shards]
    return {
        "query_clips": [f"{stem}.clips.parquet" for stem in queries],
        "query_arrays": [f"{stem}.{FEATURES[kind]}.npy" for stem in queries],
        "query_rows": [f"{stem}.{FEATURES[kind]}.parquet" for stem in queries],
        "references": f"results/{RUN}/data/corpus-{corpus_of(wildcards)}/shards-{kind}.json",
    }


def index_files(wildcards, kind):
    """The index and its lists, where the configuration searches in it."""
    if config["search"]["method"] == "exact":
        return []
    folder = f"results/{RUN}/index/{corpus_of(wildcards)}"
    return [f"{folder}/{kind}.faiss", f"{folder}/{kind}.lists"]


def certificate_of(wildcards, kind):
    """Recall certificate of the index, where the configuration searches in it: without it nothing is searched."""
    return [f"results/{RUN}/index/{corpus_of(wildcards)}/{kind}.certificate.json"] * (config["search"]["method"] == "index")


def certificate_queries(corpus, kind):
    """Features of the clips that are looked up in a corpus: generated, held out, and the controls."""
    models = [name for name in MODELS if config["models"][name]["corpus"] == corpus]
    return lists_of(kind, [*(f"generated-{name}" for name in models), f"corpus-{corpus}", f"controls-{corpus}"])


def calibrated_thresholds(corpora):
    """Thresholds of the calibration, where the configuration asks for them: a number must not wait for it."""
    asked = "calibrated" in (config["content"]["threshold"], config["motion"]["threshold"])
    return [f"results/{RUN}/scores/thresholds-{corpus}.json" for corpus in corpora] if asked else []


def prompt_files(model):
    """File of the prompts of a model, where its user gives one."""
    listed = config["models"][model].get("prompts", {}).get("file")
    return [listed] if listed else []


def ranked_captions(model):
    """Static signals of the corpus, where the configuration orders the prompts of a model by them."""
    model = config["models"][model]
    curated = model.get("prompts", {}).get("rank") == "curated"
    return [f"results/{RUN}/prompts/signals-{model['corpus']}.parquet"] if curated else []


def one_step_scores(wildcards):
    """One-step scores of the prompted models of a corpus."""
    models = [name for name in GUIDED if config["models"][name]["corpus"] == wildcards.corpus]
    return [f"results/{RUN}/detection/{name}.one_step.parquet" for name in models]


def scored_frames(model="", flows=False):
    """Scores and frames of the models (or of one) and frames of their corpora; with the flows where asked."""
    models = [model] if model else MODELS
    corpora = sorted({config["models"][name]["corpus"] for name in models})
    sets = [f"generated-{name}" for name in models] + [f"corpus-{name}" for name in corpora]
    return {
        "scores": [f"results/{RUN}/scores/generated-{name}.parquet" for name in models],
        "frames": lists_of("frames", sets),
        "flows": lists_of("motion", sets) if flows else [],
    }


def detection_files():
    """Prompts, probes, guidance, clips and scores of the models that take prompts, model by model, shard by shard."""
    stems = stems_of(f"generated-{name}" for name in GUIDED)
    return {
        "prompts": [f"results/{RUN}/prompts/{name}.parquet" for name in GUIDED],
        "negatives": [f"results/{RUN}/prompts/{name}.negatives.parquet" for name in GUIDED],
        "scores": [f"results/{RUN}/scores/generated-{name}.parquet" for name in GUIDED],
        **{kind: [f"{stem}.{ending}.parquet" for stem in stems] for kind, ending in GUIDANCE_FILES.items()},
    }


def mitigation_files():
    """Features and scores before and after every mitigation, and its adjustments, name by name, shard by shard."""
    adjusted = stems_of(f"mitigated-{name}" for name in MITIGATIONS)
    files = {"adjusted": [f"{stem}.adjusted.parquet" for stem in adjusted]}
    sides = {
        "before": [f"generated-{mitigation['model']}" for mitigation in MITIGATIONS.values()],
        "after": [f"mitigated-{name}" for name in MITIGATIONS],
    }
    for side, sets in sides.items():
        files[f"{side}_scores"] = [f"results/{RUN}/scores/{name}.parquet" for name in sets]
        files[f"{side}_content"] = lists_of("content", sets)
    return files


def is_prompted(model):
    """Whether a model takes prompts; of files in a folder, whether they come with any."""
    return not model.get("unconditional", 0) and not (model.get("captions") == "none" and Path(model["path"]).is_dir())


def described(name):
    """What figures say of a model: its label, its corpus, and whether it takes a prompt."""
    model = config["models"][name]
    return {"label": model.get("label", name), "corpus": model["corpus"], "prompted": is_prompted(model)}


def unguided(name):
    """What says why a model has no detection by guidance."""
    model = config["models"][name]
    return {"kind": model["kind"], "unconditional": model.get("unconditional", 0)}


def search_environment():
    """Conda environment of the search stages: torch for the GPU only where the configuration asks for it."""
    return "../envs/search-gpu.yaml" if config["search"]["gpu"] else "../envs/search-cpu.yaml"


def descriptor_environment():
    """Conda environment of the descriptors: TorchScript needs torch, ONNX does not."""
    return "../envs/torch.yaml" if descriptor_gpus() else "../envs/media.yaml"


def flow_environment():
    """Conda environment of the flow: RAFT needs torch."""
    return "../envs/torch.yaml" if flow_weights() else "../envs/media.yaml"


def feature_environment():
    """Conda environment of the job that computes both."""
    return "../envs/torch.yaml" if descriptor_gpus() or flow_weights() else "../envs/media.yaml"

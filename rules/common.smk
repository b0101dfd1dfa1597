"""The checked and completed configuration, and helpers that the stages share. Standard library only: every job reads this."""

import os
import re
import sys
from pathlib import Path

SCRIPTS = Path(workflow.basedir) / "workflow_scripts"
if str(SCRIPTS) not in sys.path:
    sys.path.insert(0, str(SCRIPTS))

from vidmem.audit import LISTED_SHARDS, RECIPES, Audit, generation_keys, inversion_keys, probe_keys
from vidmem.base.code_digest import PLANNED, digest_files, digest_script
from vidmem.base.slurm import own_command
from vidmem.base.strict_yaml import read_strictly
from vidmem.config import complete_config, load_schema
from vidmem.errors import VidmemError
from vidmem.models.families.records import official_call

# A task of a job array replaces its process by the process of its own job; vidmem/base/slurm.py says why.
try:
    command = own_command(sys.argv, os.environ)
except VidmemError as error:
    raise WorkflowError(str(error)) from None
if command is not None:
    os.execvp("sh", ["sh", "-c", command])

names, families, user_files = {}, {}, []
if workflow.is_main_process:  # the process of a job reads a configuration that the main process has checked
    from vidmem.models.families.records import family_pipelines
    from vidmem.planning.registries import registered_names

    names, families = registered_names(), family_pipelines()
    user_files = [*workflow.configfiles, *sorted(Path(workflow.basedir, "profiles").glob("*/*.yaml"))]
try:
    for file in user_files:  # Snakemake has read them already, and told nobody of a key that stands twice
        read_strictly(file)
    # The dictionary is changed in place, because Snakemake passes this object to the scripts.
    schema = load_schema(Path(workflow.basedir) / "rules/schemas/config.schema.yaml", names)
    completed = complete_config(config, schema, families, official_call)
    config.clear()
    config.update(completed)
except VidmemError as error:
    raise WorkflowError(f"The configuration does not hold.\n{error}") from None

audit = Audit(config)
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
    "clips",
    *(["mitigation"] if audit.mitigations else []),
]
# A figure is made only if the audit has what it shows.
STUDIED = {inversion["study"].get("factor") for inversion in config["inversions"].values()} - {None}
FIGURES = [
    *(["fig1_gallery_text"] if any(audit.described(name)["prompted"] for name in audit.models) else []),
    *(["fig2_motion_panel"] if audit.moving else []),
    "fig3_image_panel",
    *(["fig4_gallery_unconditional"] if not all(audit.described(name)["prompted"] for name in audit.models) else []),
    "fig5_gallery_model",
    "fig6_score_distributions",
    *(["fig7_detection_roc", "fig8_magnitude_steps"] if audit.guided else []),
    *(["fig9_copies"] if any(audit.described(name)["prompted"] for name in audit.models) else []),
    "fig10_calibration",
    "fig11_score_normalisation",
]
INVERSION_TABLES = [f"invmm_{name}" for name in ("scores", "images", "separation", "factors", "membership", "chance")]
INVERSION_FIGURES = [
    *(f"fig_invmm_{name}" for name in ("copies", "distribution", "samples", "membership")),
    *(["fig_invmm_training_steps"] if "training_steps" in STUDIED else []),
    *(["fig_invmm_sampling"] if STUDIED - {"training_steps"} else []),
]


def wanted(path):
    """The path of a figure in a list, which is empty if the audit has nothing that the figure shows."""
    return [path] if Path(path).stem in (*FIGURES, *INVERSION_FIGURES) else []


def one_of(names):
    """Regular expression that matches exactly these names; without names it matches nothing."""
    return "|".join(re.escape(name) for name in names) or "(?!)"


def none_of(names):
    """Regular expression that matches the name of every set of clips except these."""
    return f"(?!({one_of(names)})/)(corpus|controls|generated|mitigated)-[a-z0-9-]+"


wildcard_constraints:
    run=re.escape(audit.run),
    corpus=one_of(config["corpora"]),
    model=one_of(audit.models),
    mitigation=one_of(audit.mitigations),
    set="(corpus|controls|generated|mitigated)-[a-z0-9-]+",
    shard=r"\d+",
    part=r"\d+",
    rank=r"\d+",
    kind="[a-z-]+",


def share_of_cores(jobs=config["shards"]):
    """Threads of each of `jobs` jobs that fill the machine together; by default there is one job for each shard."""
    return max(1, (workflow.resource_settings.cores or 1) // jobs)


def growing(megabytes):
    """Memory of a job in MB, which grows with each attempt: a job that ran out of memory is tried again with more."""
    return lambda wildcards, attempt: megabytes * attempt


def here(paths):
    """The given files that exist. An audit can be planned without its files; check_needs stops a run that lacks them."""
    return [path for path in paths if Path(path).exists()]


def digest_of(script):
    """Digest of a script and of all library modules that it imports. A cheap stage carries it and reruns when it changes.

    Only the main process computes the digest, for its plan. The process of a job on a cluster takes PLANNED instead.
    """
    return digest_script(SCRIPTS, script) if workflow.is_main_process else PLANNED


def weights_of(name):
    """Path of fetched weights."""
    return f"results/weights/{name}"


def corpus_records(wildcards):
    """Paths of the records of the data sets that the fetch stage downloads for a corpus."""
    return audit.fetched_sources(wildcards.corpus)


def corpus_captions(wildcards):
    """Path of the list of the clip tables of a model's corpus."""
    return audit.corpus_list("clips", config["models"][wildcards.model]["corpus"])


def corpus_of_set(wildcards):
    """Name of the corpus that a set of clips is compared with."""
    return audit.corpus_of(wildcards.set)


def inverted_frames(wildcards):
    """Path of the list of the clip tables and frames of the corpus whose images are inverted."""
    return audit.corpus_list("frames", config["inversions"][wildcards.inversion]["corpus"])

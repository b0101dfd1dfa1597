# vidmem: what did a diffusion model memorise of its training data?
# Configuration, includes, the default target and the named targets; the rules are in rules/, one stage a file.
from snakemake.utils import min_version

min_version("9.0")


# A configuration given on the command line replaces this one. Snakemake's own switch for that is not handed on to the jobs
# of a cluster, which would then compute with a mixture of both.
if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


include: "rules/common.smk"
include: "rules/fetch.smk"
include: "rules/corpus.smk"
include: "rules/train.smk"
include: "rules/generate.smk"
include: "rules/controls.smk"
include: "rules/features.smk"
include: "rules/search.smk"
include: "rules/curate.smk"
include: "rules/calibrate.smk"
include: "rules/score.smk"
include: "rules/detect.smk"
include: "rules/mitigate.smk"
include: "rules/exhibits.smk"
include: "rules/inversion.smk"
include: "rules/estimate.smk"
include: "rules/preflight.smk"


rule all:
    default_target: True
    input:
        collect("results/{run}/tables/{table}.csv", run=RUN, table=TABLES),
        collect("results/{run}/figures/{figure}.png", run=RUN, figure=FIGURES),
        collect("results/{run}/clips/{model}-{rank}.mp4", run=RUN, model=MODELS, rank=CLIP_RANKS),
        collect("results/{run}/index/{corpus}/{kind}.faiss", run=RUN, corpus=AUDITED, kind=["content", "motion"]),
        f"results/{RUN}/verdict.json",
        collect("results/{run}/tables/{table}.csv", run=RUN, table=INVERSION_TABLES if INVERSIONS else []),
        collect("results/{run}/figures/{figure}.png", run=RUN, figure=INVERSION_FIGURES if INVERSIONS else []),


rule tables:
    input:
        collect("results/{run}/tables/{table}.csv", run=RUN, table=TABLES),


rule figures:
    input:
        collect("results/{run}/figures/{figure}.png", run=RUN, figure=FIGURES),


rule inversion:
    input:
        collect("results/{run}/tables/{table}.csv", run=RUN, table=INVERSION_TABLES if INVERSIONS else []),
        collect("results/{run}/figures/{figure}.png", run=RUN, figure=INVERSION_FIGURES if INVERSIONS else []),


rule fetch:
    input:
        [weights_of(name) for name in [descriptor_weights(), *flow_weights()]],
        collect("results/{run}/models/{model}.json", run=RUN, model=[*PROMPTED, *INVERSIONS]),
        [record for name in config["corpora"] for record in fetched_sources(name)],


rule train_reference:
    input:
        collect("{folder}/{kind}/model_index.json", folder=config["train"]["output"], kind=config["train"]["models"]),


onstart:
    # A dry run and "Nothing to be done" do not come here: they change no file, not even its date.
    check_results(workflow.dag)
    check_needs(workflow.dag)
    watch_cluster()


onsuccess:
    print(closing_message(set(workflow.dag_settings.targets)))


onerror:
    print(preflight_page(set(workflow.dag_settings.targets)))

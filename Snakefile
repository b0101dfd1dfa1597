# vidmem: what did a diffusion model memorise of its training data?
# Configuration, includes, the default target and the named targets. The rules are in rules/, one file for each stage.
from snakemake.utils import min_version

min_version("9.0")


# A configuration on the command line replaces this one. Snakemake's own option for that does not reach the jobs on a cluster,
# which would then compute with a mixture of both configurations.
if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


include: "rules/common.smk"
include: "rules/checks.smk"
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
include: "rules/gate.smk"
include: "rules/find.smk"


rule all:
    default_target: True
    input:
        collect("results/{run}/tables/{table}.csv", run=audit.run, table=TABLES),
        collect("results/{run}/figures/{figure}.png", run=audit.run, figure=FIGURES),
        collect("results/{run}/clips/{model}-{rank}.mp4", run=audit.run, model=audit.models, rank=CLIP_RANKS),
        collect("results/{run}/clips/{model}.csv", run=audit.run, model=audit.from_files),
        collect("results/{run}/index/{corpus}/{kind}.faiss", run=audit.run, corpus=audit.audited, kind=["content", "motion"]),
        f"{audit.root}/verdict.json",
        f"{audit.root}/report.html",
        collect("results/{run}/tables/{table}.csv", run=audit.run, table=INVERSION_TABLES if audit.inversions else []),
        collect("results/{run}/figures/{figure}.png", run=audit.run, figure=INVERSION_FIGURES if audit.inversions else []),


rule tables:
    input:
        collect("results/{run}/tables/{table}.csv", run=audit.run, table=TABLES),


rule figures:
    input:
        collect("results/{run}/figures/{figure}.png", run=audit.run, figure=FIGURES),


rule inversion:
    input:
        collect("results/{run}/tables/{table}.csv", run=audit.run, table=INVERSION_TABLES if audit.inversions else []),
        collect("results/{run}/figures/{figure}.png", run=audit.run, figure=INVERSION_FIGURES if audit.inversions else []),


rule fetch:
    input:
        [weights_of(name) for name in [audit.descriptor_weights, *audit.flow_weights]],
        collect("results/{run}/models/{model}.json", run=audit.run, model=[*audit.prompted, *audit.inversions]),
        [record for name in config["corpora"] for record in audit.fetched_sources(name)],


rule train_reference:
    input:
        collect("{folder}/{kind}/model_index.json", folder=config["train"]["output"], kind=config["train"]["models"]),


onstart:
    # Snakemake skips this in a dry run and when there is nothing to be done, so that neither changes a file or its date.
    check_results(workflow.dag)
    check_needs(workflow.dag)
    watch_cluster()
    show_run()


onsuccess:
    end_display()
    print(closing_message(set(workflow.dag_settings.targets)))
    check_compared(set(workflow.dag_settings.targets))


onerror:
    print(end_display() or page_of(set(workflow.dag_settings.targets)))

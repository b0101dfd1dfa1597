"""Detection while generating: does the guidance of the first step separate planted prompts from harmless prompts?

Takes: prompts, clips, guidance and scores of the models that take prompts; negative prompts of the user.
Makes: negative prompts, probes of the first step, fitted detectors; tables 3, 4 and not_done; figures 7 and 8.
"""


include: "inputs/detect.smk"


rule list_negatives:
    input:
        clips=corpus_captions,
        listed=ancient(here(audit.negative_files)),
    output:
        "results/{run}/prompts/{model}.negatives.parquet",
    log:
        "results/{run}/logs/list_negatives/{model}.log",
    wildcard_constraints:
        model=one_of(audit.guided),
    conda:
        "../envs/media.yaml"
    params:
        negatives=config["detection"]["negatives"],
        listed=digest_files(*audit.negative_files),
        seed=config["seed"],
        code=RECIPES["list_negatives"],
    script:
        "../workflow_scripts/list_negatives.py"


rule probe_guidance:
    input:
        prompts="results/{run}/prompts/{model}.parquet",
        negatives="results/{run}/prompts/{model}.negatives.parquet",
        model="results/{run}/models/{model}.json",
    output:
        "results/{run}/data/generated-{model}/{shard}.probe.parquet",
    log:
        "results/{run}/logs/probe_guidance/{model}.{shard}.log",
    benchmark:
        "results/{run}/benchmarks/probe_guidance/{model}.{shard}.tsv"
    wildcard_constraints:
        model=one_of(audit.guided),
    conda:
        "../envs/torch.yaml"
    threads: share_of_cores()
    resources:
        gpu=1,
        mem_mb=growing(4000),
    params:
        seed=config["seed"],
        shards=config["sample_shards"],
        extra_pass=config["detection"]["extra_pass"],
        baselines=config["detection"]["baselines"],
        spec=probing_keys,
        recipe=RECIPES["probe_guidance"],
    script:
        "../workflow_scripts/probe_guidance.py"


rule fit_detectors:
    input:
        prompts="results/{run}/prompts/{model}.parquet",
        negatives="results/{run}/prompts/{model}.negatives.parquet",
        probes=collect("results/{{run}}/data/generated-{{model}}/{shard}.probe.parquet", shard=audit.sample_shards),
    output:
        detectors="results/{run}/detection/{model}.json",
        one_step="results/{run}/detection/{model}.one_step.parquet",
    log:
        "results/{run}/logs/fit_detectors/{model}.log",
    wildcard_constraints:
        model=one_of(audit.guided),
    conda:
        "../envs/media.yaml"
    params:
        planted=config["detection"]["planted"],
        negative_prompt=lookup("models/{model}/negative_prompt", within=config),
        code=RECIPES["fit_detectors"],
    script:
        "../workflow_scripts/fit_detectors.py"


rule tabulate_detection:
    input:
        unpack(detection_files),
    output:
        content=report(
            "results/{run}/tables/table3_content_detection.csv",
            caption="report/detection.rst",
            category="Tables",
            labels={"exhibit": "Table 3", "what": "detection of content memorization"},
        ),
        motion=report(
            "results/{run}/tables/table4_motion_detection.csv",
            caption="report/detection.rst",
            category="Tables",
            labels={"exhibit": "Table 4", "what": "detection of motion memorization"},
        ),
    log:
        "results/{run}/logs/tabulate_detection.log",
    benchmark:
        "results/{run}/benchmarks/tabulate_detection.tsv"
    conda:
        "../envs/media.yaml"
    params:
        models={name: config["models"][name] for name in audit.models},
        guided=audit.guided,
        detection=config["detection"],
        content=config["content"],
        motion=config["motion"],
        interval=config["interval"],
        seed=config["seed"],
        code=digest_of("tabulate_detection"),
    script:
        "../workflow_scripts/tabulate_detection.py"


rule tabulate_omissions:
    input:
        content="results/{run}/tables/table3_content_detection.csv",
        motion="results/{run}/tables/table4_motion_detection.csv",
    output:
        report(
            "results/{run}/tables/not_done.csv",
            caption="report/not_done.rst",
            category="Tables",
            labels={"exhibit": "Not done", "what": "what is not defined for a model, and why"},
        ),
    log:
        "results/{run}/logs/tabulate_omissions.log",
    conda:
        "../envs/media.yaml"
    params:
        models={name: {"kind": config["models"][name]["kind"]} for name in audit.models},
        code=digest_of("tabulate_omissions"),
    script:
        "../workflow_scripts/tabulate_omissions.py"


rule plot_detection:
    input:
        unpack(detection_files),
    output:
        roc=report(
            wanted("results/{run}/figures/fig7_detection_roc.png"),
            caption="report/detection.rst",
            category="Figures",
            labels={"exhibit": "Figure 7", "what": "ROC of first-step detection"},
        ),
        steps=report(
            wanted("results/{run}/figures/fig8_magnitude_steps.png"),
            caption="report/detection.rst",
            category="Figures",
            labels={"exhibit": "Figure 8", "what": "guidance magnitudes along the denoising steps"},
        ),
    log:
        "results/{run}/logs/plot_detection.log",
    conda:
        "../envs/media.yaml"
    params:
        models={name: audit.described(name) for name in audit.models},
        guided=audit.guided,
        detection=config["detection"],
        content=config["content"],
        motion=config["motion"],
        seed=config["seed"],
        code=digest_of("plot_detection"),
    script:
        "../workflow_scripts/plot_detection.py"

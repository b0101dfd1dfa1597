"""Detection while generating: first-step guidance of prompts that were planted and of prompts that were not, and its tables."""


rule list_negatives:
    input:
        clips=captions_of,
        listed=ancient(here(NEGATIVES)),
    output:
        "results/{run}/prompts/{model}.negatives.parquet",
    log:
        "results/{run}/logs/list_negatives/{model}.log",
    wildcard_constraints:
        model=one_of(GUIDED),
    conda:
        "../envs/media.yaml"
    params:
        negatives=config["detection"]["negatives"],
        listed=digest_files(*NEGATIVES),
        seed=config["seed"],
        code=digest_of("negatives"),
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
        model=one_of(GUIDED),
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
        spec=lambda wildcards: probe_spec(config["models"][wildcards.model]),
        recipe=RECIPES["probe_guidance"],
    script:
        "../workflow_scripts/probe_guidance.py"


rule fit_detectors:
    input:
        prompts="results/{run}/prompts/{model}.parquet",
        negatives="results/{run}/prompts/{model}.negatives.parquet",
        probes=collect("results/{{run}}/data/generated-{{model}}/{shard}.probe.parquet", shard=SAMPLE_SHARDS),
    output:
        detectors="results/{run}/detection/{model}.json",
        one_step="results/{run}/detection/{model}.one_step.parquet",
    log:
        "results/{run}/logs/fit_detectors/{model}.log",
    wildcard_constraints:
        model=one_of(GUIDED),
    conda:
        "../envs/media.yaml"
    params:
        planted=config["detection"]["planted"],
        negative_prompt=lambda wildcards: config["models"][wildcards.model]["negative_prompt"],
        code=digest_of("detection_data"),
    script:
        "../workflow_scripts/fit_detectors.py"


rule tabulate_detection:
    input:
        unpack(lambda wildcards: detection_files()),
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
        models={name: config["models"][name] for name in MODELS},
        guided=GUIDED,
        shards=config["sample_shards"],
        detection=config["detection"],
        content=config["content"],
        motion=config["motion"],
        interval=config["interval"],
        seed=config["seed"],
        code=digest_of("detection_data", "scores", "tables"),
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
        models={name: {"kind": config["models"][name]["kind"]} for name in MODELS},
        code=digest_of("tables"),
    script:
        "../workflow_scripts/tabulate_omissions.py"


rule plot_detection:
    input:
        unpack(lambda wildcards: detection_files()),
    output:
        roc=report(
            "results/{run}/figures/fig7_detection_roc.png",
            caption="report/detection.rst",
            category="Figures",
            labels={"exhibit": "Figure 7", "what": "ROC of first-step detection"},
        ),
        steps=report(
            "results/{run}/figures/fig8_magnitude_steps.png",
            caption="report/detection.rst",
            category="Figures",
            labels={"exhibit": "Figure 8", "what": "guidance magnitudes along the denoising steps"},
        ),
    log:
        "results/{run}/logs/plot_detection.log",
    conda:
        "../envs/media.yaml"
    params:
        models={name: described(name) for name in MODELS},
        guided=GUIDED,
        unguided={name: unguided(name) for name in MODELS if name not in GUIDED},
        shards=config["sample_shards"],
        detection=config["detection"],
        content=config["content"],
        motion=config["motion"],
        seed=config["seed"],
        code=digest_of("detection_data", "detection_plots", "scores"),
    script:
        "../workflow_scripts/plot_detection.py"

"""Calibration: thresholds for a stated false-positive rate, score normalisation, and human labels beside the metrics."""


rule calibrate:
    input:
        corpus_content="results/{run}/data/corpus-{corpus}/shards-content.json",
        corpus_motion="results/{run}/data/corpus-{corpus}/shards-motion.json",
        controls_content="results/{run}/data/controls-{corpus}/shards-content.json",
        controls_motion="results/{run}/data/controls-{corpus}/shards-motion.json",
    output:
        scores="results/{run}/scores/calibration-{corpus}.parquet",
        thresholds="results/{run}/scores/thresholds-{corpus}.json",
    log:
        "results/{run}/logs/calibrate/{corpus}.log",
    benchmark:
        "results/{run}/benchmarks/calibrate/{corpus}.tsv"
    conda:
        "../envs/search-cpu.yaml"
    threads: 2
    resources:
        mem_mb=growing(4000),
    params:
        seed=config["seed"],
        calibration=config["calibration"],
        search={"block": config["search"]["block"]},
        motion=MOTION_SEARCH,
        code=digest_of("calibration"),
    script:
        "../workflow_scripts/calibrate.py"


rule tabulate_calibration:
    input:
        scores=collect("results/{{run}}/scores/calibration-{corpus}.parquet", corpus=AUDITED),
        pairs=collect("results/{{run}}/scores/validation-{corpus}.parquet", corpus=AUDITED),
        thresholds=calibrated_thresholds(AUDITED),
    output:
        report(
            "results/{run}/tables/calibration.csv",
            caption="report/calibration.rst",
            category="Tables",
            labels={"exhibit": "Calibration", "what": "false-positive rates and recall, by negatives and threshold"},
        ),
    log:
        "results/{run}/logs/tabulate_calibration.log",
    conda:
        "../envs/media.yaml"
    params:
        seed=config["seed"],
        corpora=AUDITED,
        content=config["content"],
        motion=config["motion"],
        rate=config["calibration"]["false_positive_rate"],
        interval=config["interval"],
        code=digest_of("calibration_table", "thresholds", "tables"),
    script:
        "../workflow_scripts/tabulate_calibration.py"


rule plot_calibration:
    input:
        scores=collect("results/{{run}}/scores/calibration-{corpus}.parquet", corpus=AUDITED),
        thresholds=calibrated_thresholds(AUDITED),
    output:
        calibration=report(
            "results/{run}/figures/fig10_calibration.png",
            caption="report/calibration_curve.rst",
            category="Figures",
            labels={"exhibit": "Figure 10", "what": "recall and false-positive rate against the threshold"},
        ),
        normalisation=report(
            "results/{run}/figures/fig11_score_normalisation.png",
            caption="report/normalisation.rst",
            category="Figures",
            labels={"exhibit": "Figure 11", "what": "effect of score normalisation"},
        ),
    log:
        "results/{run}/logs/plot_calibration.log",
    conda:
        "../envs/media.yaml"
    params:
        corpora=AUDITED,
        content=config["content"],
        motion=config["motion"],
        rate=config["calibration"]["false_positive_rate"],
        interval=config["interval"],
        code=digest_of("calibration_figures", "thresholds"),
    script:
        "../workflow_scripts/plot_calibration.py"


rule validate_labels:
    input:
        content=lists_of("content", LABELLED * bool(LABELS)),
        motion=lists_of("motion", LABELLED * bool(LABELS)),
        labels=ancient(here(LABELS)),
        thresholds=calibrated_thresholds(AUDITED),
    output:
        report(
            "results/{run}/tables/label_validation.csv",
            caption="report/labels.rst",
            category="Tables",
            labels={"exhibit": "Labels", "what": "metrics against human judgement"},
        ),
    log:
        "results/{run}/logs/validate_labels.log",
    conda:
        "../envs/media.yaml"
    resources:
        mem_mb=growing(3000),
    params:
        seed=config["seed"],
        sets={name: corpus_of_set(name) for name in LABELLED},
        labels=digest_files(*LABELS),
        content=config["content"],
        motion=config["motion"],
        interval=config["interval"],
        code=digest_of("labels", "tables", "thresholds"),
    script:
        "../workflow_scripts/validate_labels.py"

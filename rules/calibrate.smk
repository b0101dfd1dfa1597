"""Calibration: thresholds for a stated false-positive rate, thresholds in force, and human labels beside the metrics.

Takes: features of the corpora and of the controls; scores of the validation; labels of pairs that a user wrote.
Makes: scores and thresholds of the calibration; thresholds in force (results/<run>/thresholds.json), which every stage reads;
tables calibration and label_validation; figures 10 and 11.
"""


include: "inputs/calibrate.smk"


rule calibrate:
    input:
        corpus_content="results/{run}/data/corpus-{corpus}/shards-content.json",
        corpus_motion="results/{run}/data/corpus-{corpus}/shards-motion.json",
        controls_content="results/{run}/data/controls-{corpus}/shards-content.json",
        controls_motion="results/{run}/data/controls-{corpus}/shards-motion.json",
        background="results/{run}/background/{corpus}.parquet",
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
        motion=audit.motion_search,
        code=digest_of("calibrate"),
    script:
        "../workflow_scripts/calibrate.py"


rule write_thresholds:
    input:
        calibrated=calibrated_thresholds,
    output:
        "results/{run}/thresholds.json",
    log:
        "results/{run}/logs/write_thresholds.log",
    conda:
        "../envs/media.yaml"
    params:
        corpora=audit.audited,
        content=config["content"]["threshold"],
        motion=config["motion"]["threshold"],
        code=digest_of("write_thresholds"),
    script:
        "../workflow_scripts/write_thresholds.py"


rule tabulate_calibration:
    input:
        scores=collect("results/{{run}}/scores/calibration-{corpus}.parquet", corpus=audit.audited),
        pairs=collect("results/{{run}}/scores/validation-{corpus}.parquet", corpus=audit.audited),
        thresholds="results/{run}/thresholds.json",
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
        corpora=audit.audited,
        motion=config["motion"],
        rate=config["calibration"]["false_positive_rate"],
        interval=config["interval"],
        code=digest_of("tabulate_calibration"),
    script:
        "../workflow_scripts/tabulate_calibration.py"


rule plot_calibration:
    input:
        scores=collect("results/{{run}}/scores/calibration-{corpus}.parquet", corpus=audit.audited),
        thresholds="results/{run}/thresholds.json",
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
        corpora=audit.audited,
        content=config["content"],
        motion=config["motion"],
        rate=config["calibration"]["false_positive_rate"],
        interval=config["interval"],
        code=digest_of("plot_calibration"),
    script:
        "../workflow_scripts/plot_calibration.py"


rule validate_labels:
    input:
        content=audit.lists("content", audit.labelled if audit.label_files else []),
        motion=audit.lists("motion", audit.labelled if audit.label_files else []),
        background=collect("results/{{run}}/background/{corpus}.parquet", corpus=audit.audited if audit.label_files else []),
        labels=ancient(here(audit.label_files)),
        thresholds="results/{run}/thresholds.json",
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
        sets={name: audit.corpus_of(name) for name in audit.labelled},
        labels=digest_files(*audit.label_files),
        motion=config["motion"],
        interval=config["interval"],
        code=digest_of("validate_labels"),
    script:
        "../workflow_scripts/validate_labels.py"

"""Exhibits: tables, figures and playable clips, made from scores and frames that earlier stages computed.

Takes: scores and frames of the generated clips and of the corpora; thresholds in force; scores of the validation.
Makes: tables 1, 2, copies and filter_ablation; figures 1 to 6 and 9; the best matches of every model as MP4, with an index for
clips that were generated elsewhere.
"""


include: "inputs/exhibits.smk"


rule tabulate_validation:
    input:
        pairs=collect("results/{{run}}/scores/validation-{corpus}.parquet", corpus=audit.audited),
        thresholds="results/{run}/thresholds.json",
    output:
        table=report(
            "results/{run}/tables/table1_metric_validation.csv",
            caption="report/table1.rst",
            category="Tables",
            labels={"exhibit": "Table 1", "what": "metric validation"},
        ),
        ablation=report(
            "results/{run}/tables/filter_ablation.csv",
            caption="report/filter.rst",
            category="Tables",
            labels={"exhibit": "Filter", "what": "what the natural motion filter removes and costs"},
        ),
    log:
        "results/{run}/logs/tabulate_validation.log",
    conda:
        "../envs/media.yaml"
    params:
        seed=config["seed"],
        corpora=audit.audited,
        motion=config["motion"],
        interval=config["interval"],
        code=digest_of("tabulate_validation"),
    script:
        "../workflow_scripts/tabulate_validation.py"


rule tabulate_memorization:
    input:
        scores=collect("results/{{run}}/scores/generated-{model}.parquet", model=audit.models),
        clips=collect("results/{{run}}/data/generated-{model}/shards-content.json", model=audit.models),
        real_scores=collect("results/{{run}}/scores/corpus-{corpus}.parquet", corpus=audit.audited),
        real_clips=collect("results/{{run}}/data/corpus-{corpus}/shards-content.json", corpus=audit.audited),
    output:
        table=report(
            "results/{run}/tables/table2_memorization.csv",
            caption="report/table2.rst",
            category="Tables",
            labels={"exhibit": "Table 2", "what": "memorization across models"},
        ),
        copies=report(
            "results/{run}/tables/copies.csv",
            caption="report/copies.rst",
            category="Tables",
            labels={"exhibit": "Copies", "what": "memorised share against planted copies"},
        ),
    log:
        "results/{run}/logs/tabulate_memorization.log",
    conda:
        "../envs/media.yaml"
    params:
        models={name: config["models"][name]["corpus"] for name in audit.models},
        corpora=audit.audited,
        content=config["content"],
        motion=config["motion"],
        interval=config["interval"],
        code=digest_of("tabulate_memorization"),
    script:
        "../workflow_scripts/tabulate_memorization.py"


rule plot_galleries:
    input:
        unpack(gallery_files),
    output:
        text=report(
            wanted("results/{run}/figures/fig1_gallery_text.png"),
            caption="report/gallery.rst",
            category="Figures",
            labels={"exhibit": "Figure 1", "what": "extractions by prompts"},
        ),
        unconditional=report(
            wanted("results/{run}/figures/fig4_gallery_unconditional.png"),
            caption="report/gallery.rst",
            category="Figures",
            labels={"exhibit": "Figure 4", "what": "extractions without prompts"},
        ),
        model=report(
            "results/{run}/figures/fig5_gallery_model.png",
            caption="report/gallery.rst",
            category="Figures",
            labels={"exhibit": "Figure 5", "what": "best matches of every model"},
        ),
        images=report(
            "results/{run}/figures/fig3_image_panel.png",
            caption="report/images.rst",
            category="Figures",
            labels={"exhibit": "Figure 3", "what": "training images beside generated frames"},
        ),
    log:
        "results/{run}/logs/plot_galleries.log",
    conda:
        "../envs/media.yaml"
    params:
        models={name: audit.described(name) for name in audit.models},
        corpora={name: config["corpora"][name] for name in audit.audited},
        content=config["content"],
        code=digest_of("plot_galleries"),
    script:
        "../workflow_scripts/plot_galleries.py"


rule plot_motion_panel:
    input:
        unpack(motion_panel_files),
    output:
        report(
            wanted("results/{run}/figures/fig2_motion_panel.png"),
            caption="report/motion.rst",
            category="Figures",
            labels={"exhibit": "Figure 2", "what": "frame pairs and their flow"},
        ),
    log:
        "results/{run}/logs/plot_motion_panel.log",
    conda:
        "../envs/media.yaml"
    params:
        models={name: audit.described(name) for name in audit.models},
        corpora={name: config["corpora"][name] for name in audit.audited},
        motion=config["motion"],
        code=digest_of("plot_motion_panel"),
    script:
        "../workflow_scripts/plot_motion_panel.py"


rule plot_scores:
    input:
        scores=collect("results/{{run}}/scores/generated-{model}.parquet", model=audit.models),
        clips=collect("results/{{run}}/data/generated-{model}/shards-content.json", model=audit.models),
        real=collect("results/{{run}}/scores/corpus-{corpus}.parquet", corpus=audit.audited),
        pairs=collect("results/{{run}}/scores/validation-{corpus}.parquet", corpus=audit.audited),
        copies="results/{run}/tables/copies.csv",
    output:
        distributions=report(
            "results/{run}/figures/fig6_score_distributions.png",
            caption="report/distributions.rst",
            category="Figures",
            labels={"exhibit": "Figure 6", "what": "score distributions with thresholds"},
        ),
        copies=report(
            wanted("results/{run}/figures/fig9_copies.png"),
            caption="report/copies.rst",
            category="Figures",
            labels={"exhibit": "Figure 9", "what": "memorised share against planted copies"},
        ),
    log:
        "results/{run}/logs/plot_scores.log",
    conda:
        "../envs/media.yaml"
    params:
        models={name: audit.described(name) for name in audit.models},
        content=config["content"],
        motion=config["motion"],
        code=digest_of("plot_scores"),
    script:
        "../workflow_scripts/plot_scores.py"


rule save_clips:
    input:
        unpack(clip_files),
    output:
        report(
            "results/{run}/clips/{model}-{rank}.mp4",
            caption="report/clip.rst",
            category="Clips",
            subcategory="{model}",
            labels=clip_labels,
        ),
    log:
        "results/{run}/logs/save_clips/{model}.{rank}.log",
    conda:
        "../envs/media.yaml"
    params:
        models=shown_model,
        corpora={name: config["corpora"][name] for name in audit.audited},
        metric=config["content"]["metric"],
        code=digest_of("save_clips"),
    script:
        "../workflow_scripts/save_clips.py"


rule index_clips:
    input:
        unpack(clip_files),
    output:
        "results/{run}/clips/{model}.csv",
    log:
        "results/{run}/logs/index_clips/{model}.log",
    wildcard_constraints:
        model=one_of(audit.from_files),
    conda:
        "../envs/media.yaml"
    params:
        models=shown_model,
        corpora={name: config["corpora"][name] for name in audit.audited},
        metric=config["content"]["metric"],
        clips=len(CLIP_RANKS),
        code=digest_of("index_clips"),
    script:
        "../workflow_scripts/index_clips.py"


rule tabulate_clips:
    input:
        corpus=collect("results/{{run}}/data/corpus-{corpus}/shards-clips.json", corpus=audit.audited),
        corpus_motion=collect("results/{{run}}/data/corpus-{corpus}/shards-motion.json", corpus=audit.audited),
        clips=collect("results/{{run}}/data/generated-{model}/shards-content.json", model=audit.models),
        scores=collect("results/{{run}}/scores/generated-{model}.parquet", model=audit.models),
        matches=collect(
            "results/{{run}}/matches/generated-{model}/{part}.{kind}.parquet",
            model=audit.models,
            part=audit.sample_shards,
            kind=["content", "motion"],
        ),
        thresholds="results/{run}/thresholds.json",
    output:
        report(
            "results/{run}/tables/clips.csv",
            caption="report/clips.rst",
            category="Tables",
            labels={"exhibit": "Clips", "what": "every training clip and the generated clip that comes closest"},
        ),
    log:
        "results/{run}/logs/tabulate_clips.log",
    conda:
        "../envs/media.yaml"
    params:
        models={name: config["models"][name]["corpus"] for name in audit.models},
        metrics={kind: config[kind]["metric"] for kind in ("content", "motion")},
        motion=config["motion"],
        code=digest_of("tabulate_clips"),
    script:
        "../workflow_scripts/tabulate_clips.py"


rule write_report:
    input:
        unpack(report_files),
    output:
        "results/{run}/report.html",
        # Without this the videos and pictures are in the page itself.
        *([directory("results/{run}/report")] if config["report"]["videos"] == "beside" else []),
    log:
        "results/{run}/logs/write_report.log",
    conda:
        "../envs/media.yaml"
    resources:
        mem_mb=growing(2000),
    params:
        models={name: audit.described(name) for name in audit.models},
        corpora={name: config["corpora"][name] for name in audit.audited},
        config={key: value for key, value in config.items() if key not in ("estimate", "obtain")},
        code=digest_of("write_report"),
    script:
        "../workflow_scripts/write_report.py"

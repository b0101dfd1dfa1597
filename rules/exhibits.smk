"""Exhibits: tables, figures and playable clips. Figures read scores and frames, nothing is computed twice."""


rule tabulate_validation:
    input:
        pairs=collect("results/{{run}}/scores/validation-{corpus}.parquet", corpus=AUDITED),
        thresholds=calibrated_thresholds(AUDITED),
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
        corpora=AUDITED,
        content=config["content"],
        motion=config["motion"],
        interval=config["interval"],
        code=digest_of("tables", "statistics", "validation", "thresholds"),
    script:
        "../workflow_scripts/tabulate_validation.py"


rule tabulate_memorization:
    input:
        scores=collect("results/{{run}}/scores/generated-{model}.parquet", model=MODELS),
        clips=collect("results/{{run}}/data/generated-{model}/shards-content.json", model=MODELS),
        real_scores=collect("results/{{run}}/scores/corpus-{corpus}.parquet", corpus=AUDITED),
        real_clips=collect("results/{{run}}/data/corpus-{corpus}/shards-content.json", corpus=AUDITED),
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
        models={name: config["models"][name]["corpus"] for name in MODELS},
        corpora=AUDITED,
        content=config["content"],
        motion=config["motion"],
        interval=config["interval"],
        code=digest_of("tables", "statistics", "scores"),
    script:
        "../workflow_scripts/tabulate_memorization.py"


rule plot_galleries:
    input:
        unpack(lambda wildcards: scored_frames()),
    output:
        text=report(
            "results/{run}/figures/fig1_gallery_text.png",
            caption="report/gallery.rst",
            category="Figures",
            labels={"exhibit": "Figure 1", "what": "text-conditional extractions"},
        ),
        unconditional=report(
            "results/{run}/figures/fig4_gallery_unconditional.png",
            caption="report/gallery.rst",
            category="Figures",
            labels={"exhibit": "Figure 4", "what": "unconditional extractions"},
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
        models={name: described(name) for name in MODELS},
        corpora={name: config["corpora"][name] for name in AUDITED},
        content=config["content"],
        code=digest_of("figures", "exhibit_data"),
    script:
        "../workflow_scripts/plot_galleries.py"


rule plot_motion_panel:
    input:
        unpack(lambda wildcards: scored_frames(flows=True)),
    output:
        report(
            "results/{run}/figures/fig2_motion_panel.png",
            caption="report/motion.rst",
            category="Figures",
            labels={"exhibit": "Figure 2", "what": "frame pairs and their flow"},
        ),
    log:
        "results/{run}/logs/plot_motion_panel.log",
    conda:
        "../envs/media.yaml"
    params:
        models={name: described(name) for name in MODELS},
        corpora={name: config["corpora"][name] for name in AUDITED},
        motion=config["motion"],
        code=digest_of("figures", "exhibit_data", "flow"),
    script:
        "../workflow_scripts/plot_motion_panel.py"


rule plot_scores:
    input:
        scores=collect("results/{{run}}/scores/generated-{model}.parquet", model=MODELS),
        clips=collect("results/{{run}}/data/generated-{model}/shards-content.json", model=MODELS),
        real=collect("results/{{run}}/scores/corpus-{corpus}.parquet", corpus=AUDITED),
        pairs=collect("results/{{run}}/scores/validation-{corpus}.parquet", corpus=AUDITED),
        copies="results/{run}/tables/copies.csv",
    output:
        distributions=report(
            "results/{run}/figures/fig6_score_distributions.png",
            caption="report/distributions.rst",
            category="Figures",
            labels={"exhibit": "Figure 6", "what": "score distributions with thresholds"},
        ),
        copies=report(
            "results/{run}/figures/fig9_copies.png",
            caption="report/copies.rst",
            category="Figures",
            labels={"exhibit": "Figure 9", "what": "memorised share against planted copies"},
        ),
    log:
        "results/{run}/logs/plot_scores.log",
    conda:
        "../envs/media.yaml"
    params:
        models={name: described(name) for name in MODELS},
        content=config["content"],
        motion=config["motion"],
        code=digest_of("figures"),
    script:
        "../workflow_scripts/plot_scores.py"


rule save_clips:
    input:
        unpack(lambda wildcards: scored_frames(wildcards.model)),
    output:
        report(
            "results/{run}/clips/{model}-{rank}.mp4",
            caption="report/clip.rst",
            category="Clips",
            subcategory="{model}",
            labels={"exhibit": "Match {rank}", "what": "training clip left, generated clip right"},
        ),
    log:
        "results/{run}/logs/save_clips/{model}.{rank}.log",
    conda:
        "../envs/media.yaml"
    params:
        models=lambda wildcards: {wildcards.model: described(wildcards.model)},
        corpora={name: config["corpora"][name] for name in AUDITED},
        metric=config["content"]["metric"],
        code=digest_of("clips", "exhibit_data"),
    script:
        "../workflow_scripts/save_clips.py"

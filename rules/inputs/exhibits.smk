"""What the rules of exhibits.smk take: functions of their wildcards."""


def scored_frames(models):
    """Files with the scores and frames of the given models, and with the frames of their corpora."""
    corpora = sorted({config["models"][name]["corpus"] for name in models})
    sets = [f"generated-{name}" for name in models] + [f"corpus-{name}" for name in corpora]
    return {
        "scores": [f"{audit.root}/scores/generated-{name}.parquet" for name in models],
        "frames": audit.lists("frames", sets),
    }


def gallery_files(wildcards):
    """Files with the scores and frames of all models, and with the frames of their corpora."""
    return scored_frames(audit.models)


def motion_panel_files(wildcards):
    """Files with the scores, frames and flows of all models, and with the frames, flows and backgrounds of their corpora."""
    sets = [f"generated-{name}" for name in audit.models] + [f"corpus-{name}" for name in audit.audited]
    return scored_frames(audit.models) | {
        "flows": audit.lists("motion", sets),
        "backgrounds": [f"{audit.root}/background/{corpus}.parquet" for corpus in audit.audited],
    }


def clip_files(wildcards):
    """Files with the scores and frames of one model, and with the frames of its corpus."""
    return scored_frames([wildcards.model])


def shown_model(wildcards):
    """Model of a playable clip -> what its caption says about the model."""
    return {wildcards.model: audit.described(wildcards.model)}


def clip_labels(wildcards):
    """Labels of a playable clip in the report. They name the file of a clip that was generated elsewhere."""
    from vidmem.exhibits.clip_index import clip_label  # imported here, because only a report needs it

    clips = Path(audit.root, "clips")
    label = clip_label(clips / f"{wildcards.model}.csv", f"{wildcards.model}-{wildcards.rank}.mp4")
    return {"exhibit": "Match {rank}", "what": label}


PAGE_FIGURES = {
    "scores": "fig6_score_distributions",
    "copies": "fig9_copies",
    "calibration": "fig10_calibration",
    "detection": "fig7_detection_roc",
    "motion": "fig2_motion_panel",
}
"""What a picture of the report page shows -> name of the figure."""


PAGE_TABLES = {
    "shares": "table2_memorization",
    "calibration": "calibration",
    "copies": "copies",
    "detection": "table3_content_detection",
}
"""What a table tells the report page -> name of the table."""


def report_files(wildcards):
    """Files that the report page is made of."""
    pictures = {what: name for what, name in PAGE_FIGURES.items() if name in FIGURES}
    pictures |= {"inversion": "fig_invmm_copies"} if audit.inversions else {}
    tables = PAGE_TABLES | ({"inversion": "invmm_images"} if audit.inversions else {})
    tables |= {"mitigation": "mitigation"} if audit.mitigations else {}
    return scored_frames(audit.models) | {
        "verdict": f"{audit.root}/verdict.json",
        "rows": f"{audit.root}/tables/clips.csv",
        "status": f"{audit.root}/tables/corpus_status.csv",
        **{f"table_{what}": f"{audit.root}/tables/{name}.csv" for what, name in tables.items()},
        **{f"picture_{what}": f"{audit.root}/figures/{name}.png" for what, name in pictures.items()},
    }

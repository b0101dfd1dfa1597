"""What the rules of search.smk take: functions of their wildcards."""


def background_of_index(wildcards):
    """Path of the background by which an index of motion compares; [] for an index of content."""
    return [f"{audit.root}/background/{wildcards.corpus}.parquet"] if wildcards.kind == "motion" else []


def background_of_set(wildcards):
    """Path of the background of the corpus that a set of clips is compared with."""
    return f"{audit.root}/background/{audit.corpus_of(wildcards.set)}.parquet"


def motion_keys(wildcards):
    """Keys of the motion metric for an index of motion; {} for an index of content."""
    return audit.motion_search if wildcards.kind == "motion" else {}


def certificate_queries(wildcards):
    """Lists of the features of all clips that are looked up in a corpus: generated clips, held-out clips and controls."""
    models = audit.models_of(wildcards.corpus, audit.models)
    sets = [*(f"generated-{name}" for name in models), f"corpus-{wildcards.corpus}", f"controls-{wildcards.corpus}"]
    return audit.lists(wildcards.kind, sets)


def searched_files(wildcards, kind):
    """Features of a part of a set and of its corpus; also the index, its lists and its certificate if the search uses it."""
    folder = f"{audit.root}/index/{audit.corpus_of(wildcards.set)}/{kind}"
    exact = config["search"]["method"] == "exact"
    return audit.looked_up(wildcards.set, int(wildcards.part), kind) | {
        "index": [] if exact else [f"{folder}.faiss", f"{folder}.lists"],
        "certificate": [] if exact else [f"{folder}.certificate.json"],
    }


def searched_content(wildcards):
    """Input files of a content search."""
    return searched_files(wildcards, "content")


def searched_motion(wildcards):
    """Input files of a motion search."""
    return searched_files(wildcards, "motion") | {"background": background_of_set(wildcards)}

"""What the rule of find.smk takes."""


def find_files(wildcards):
    """The file, what it is looked up in, and the weights that describe it."""
    sets = [f"corpus-{name}" for name in audit.audited] + [f"generated-{name}" for name in audit.models]
    indexes = [
        path for corpus in audit.audited for kind in ("content", "motion") for path in sum(index_files(corpus, kind), [])
    ]
    return {
        "clip": ancient(here(audit.looked_up_file)),
        "weights": weights_of(audit.descriptor_weights),
        "flow_weights": [weights_of(name) for name in audit.flow_weights],
        "thresholds": f"{audit.root}/thresholds.json",
        "backgrounds": [f"{audit.root}/background/{corpus}.parquet" for corpus in audit.audited],
        "content": audit.lists("content", sets),
        "motion": audit.lists("motion", sets),
        "frames": audit.lists("frames", sets),
        "indexes": indexes,
        "calibration": f"{audit.root}/tables/calibration.csv",
        "verdict": f"{audit.root}/verdict.json",  # the audit is finished
    }


def index_files(corpus, kind):
    """Files of an index and its lists, and of its certificate; none for an exact search."""
    folder = f"{audit.root}/index/{corpus}/{kind}"
    exact = config["search"]["method"] == "exact"
    return [[], []] if exact else [[f"{folder}.faiss", f"{folder}.lists"], [f"{folder}.certificate.json"]]


def searched_sets(corpus):
    """What a file is looked up in: clips that training saw, clips held out, and what the models of the corpus generated."""
    models = audit.models_of(corpus, audit.models)
    made = [("generated", audit.described(name)["label"], f"generated-{name}", []) for name in models]
    own = [("training", corpus, f"corpus-{corpus}", None), ("held out", corpus, f"corpus-{corpus}", ["heldout"])]
    return {
        "corpus": config["corpora"][corpus],
        "background": f"{audit.root}/background/{corpus}.parquet",
        "sets": [
            {
                "role": role,
                "where": where,
                "set": name,
                "splits": splits,
                "lists": {kind: audit.lists(kind, [name])[0] for kind in ("content", "motion")},
                "indexes": {kind: index_files(corpus, kind) for kind in ("content", "motion")},
            }
            for role, where, name, splits in own + made
        ],
    }

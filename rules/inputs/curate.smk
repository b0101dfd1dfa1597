"""What the rules of curate.smk take: functions of their wildcards."""


def one_step_scores(wildcards):
    """Files of the one-step scores of the models of a corpus for which detection is defined."""
    return [f"{audit.root}/detection/{name}.one_step.parquet" for name in audit.models_of(wildcards.corpus, audit.guided)]

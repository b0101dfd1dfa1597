"""What the rules of score.smk take: functions of their wildcards."""


def reference_content(wildcards):
    """Path of the list of descriptors of the corpus that a set is compared with."""
    return audit.corpus_list("content", audit.corpus_of(wildcards.set))


def reference_motion(wildcards):
    """Path of the list of flows of the corpus that a set is compared with."""
    return audit.corpus_list("motion", audit.corpus_of(wildcards.set))

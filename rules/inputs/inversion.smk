"""What the rules of inversion.smk take: functions of their wildcards."""


def inverting_keys(wildcards):
    """Keys of an inversion that change its scores."""
    return inversion_keys(config["inversions"][wildcards.inversion])

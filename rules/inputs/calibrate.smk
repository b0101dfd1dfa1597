"""What the rules of calibrate.smk take: functions of their wildcards."""


def calibrated_thresholds(wildcards):
    """Thresholds of the calibration, if the configuration leaves one to it. Stated thresholds do not wait for it."""
    return [f"{audit.root}/scores/thresholds-{corpus}.json" for corpus in audit.audited] if audit.is_calibrated() else []

"""Thresholds in force: numbers of the configuration, or those that the calibration of a corpus supports."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .errors import VidmemError

CALIBRATED = "calibrated"


def load_thresholds(paths: Sequence[Path | str], count: int) -> list[dict[str, dict]]:
    """Calibrated thresholds of some corpora; of none where the configuration calibrates nothing and `paths` is empty."""
    return [json.loads(Path(path).read_text(encoding="utf-8")) for path in paths] or [{}] * count


def thresholds_of(
    content: dict, motion: dict, calibrated: Mapping[str, dict], corpus: str, strict: bool = True
) -> dict[str, float]:
    """Thresholds in force: the numbers of the configuration, or those of the calibration where it says 'calibrated'.

    Args:
        content, motion: of the configuration.
        calibrated: of choose_thresholds; may be empty where no threshold is calibrated.
        corpus: name, for the message.
        strict: whether a rate that the calibration cannot support is an error, or a threshold that is NaN.

    Returns:
        gsscd, vsscd, ofs_k -> threshold.

    Raises:
        VidmemError: the calibration had too few negatives for the rate.
    """
    stated = {"gsscd": content["threshold"], "vsscd": content["threshold"], "ofs_k": motion["threshold"]}
    for metric, threshold in stated.items():
        if threshold == CALIBRATED:
            none = not strict and calibrated[metric]["threshold"] is None
            stated[metric] = np.nan if none else _supported(metric, calibrated[metric], corpus)
    return stated


def _supported(metric: str, chosen: dict, corpus: str) -> float:
    if chosen["threshold"] is None:
        hint = "hold out more clips, or state a number as the threshold"
        if chosen["n_negative"]:
            hint = f"hold out more clips, state a rate of at least 1/{chosen['n_negative']}, or a number as the threshold"
        expected = f"{chosen['needs']} negatives for a false-positive rate of {chosen['rate']:g}"
        raise VidmemError(expected, chosen["n_negative"], f"calibration of corpus {corpus}, metric {metric}", hint)
    return float(chosen["threshold"])

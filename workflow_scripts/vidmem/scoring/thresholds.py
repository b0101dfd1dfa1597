"""Thresholds in force: numbers that the configuration states, or thresholds from the calibration of a corpus."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..base.store import save_json
from ..errors import VidmemError
from ..features.metrics import METRICS


@dataclass(frozen=True)
class Threshold:
    """The threshold of a metric on a corpus.

    Attributes:
        value: smallest score that counts as memorised; None if the calibration had too few negatives.
        rate: false-positive rate of the calibration; None if the configuration states a number.
        n_negative: negatives that the calibration had; 0 if the configuration states a number.
        needs: negatives that the rate needs; 0 if the configuration states a number.
    """

    value: float | None
    rate: float | None = None
    n_negative: int = 0
    needs: int = 0

    def required(self, where: str) -> float:
        """The value of the threshold.

        Args:
            where: place named in the message.

        Raises:
            VidmemError: the calibration had too few negatives for the rate.
        """
        if self.value is not None:
            return self.value
        hint = "hold out more clips, or state a number as the threshold"
        if self.n_negative:
            hint = f"hold out more clips, state a rate of at least 1/{self.n_negative}, or a number as the threshold"
        raise VidmemError(f"{self.needs} negatives for a false-positive rate of {self.rate:g}", self.n_negative, where, hint)


def choose_in_force(stated: Mapping[str, float | str], calibrated: Mapping[str, Mapping]) -> dict[str, Threshold]:
    """Thresholds in force on one corpus.

    Args:
        stated: thresholds of the configuration: 'content' and 'motion' -> a number, or 'calibrated'.
        calibrated: result of choose_thresholds; may be empty if no threshold is calibrated.

    Returns:
        Metric -> threshold.
    """
    return {name: _in_force(stated[metric.kind], calibrated.get(name, {})) for name, metric in METRICS.items()}


def _in_force(stated: float | str, chosen: Mapping) -> Threshold:
    if not isinstance(stated, str):
        return Threshold(stated)
    value = None if chosen["threshold"] is None else float(chosen["threshold"])
    return Threshold(value, chosen["rate"], chosen["n_negative"], chosen["needs"])


def save_in_force(path: Path | str, thresholds: Mapping[str, Mapping[str, Threshold]]) -> None:
    """Save thresholds as JSON: corpus -> metric -> threshold."""
    save_json(path, {name: {metric: asdict(one) for metric, one in own.items()} for name, own in thresholds.items()})


def load_in_force(path: Path | str) -> dict[str, dict[str, Threshold]]:
    """Load thresholds that save_in_force saved: corpus -> metric -> threshold."""
    saved = json.loads(Path(path).read_text(encoding="utf-8"))
    return {name: {metric: Threshold(**one) for metric, one in own.items()} for name, own in saved.items()}


def thresholds_of(path: Path | str, corpus: str, metrics: Iterable[str]) -> dict[str, float]:
    """Thresholds in force on a corpus, for stages that give verdicts: metric -> threshold.

    Args:
        path: file of save_in_force.
        corpus: name of the corpus.
        metrics: names of the metrics that give the verdicts.

    Raises:
        VidmemError: the calibration had too few negatives for one of the metrics.
    """
    own = load_in_force(path)[corpus]
    return {metric: own[metric].required(f"calibration of corpus {corpus}, metric {metric}") for metric in metrics}


def shown_thresholds(path: Path | str, corpus: str) -> dict[str, float]:
    """Thresholds in force on a corpus, for exhibits: metric -> threshold, NaN if the calibration had too few negatives."""
    return {metric: np.nan if one.value is None else one.value for metric, one in load_in_force(path)[corpus].items()}

"""Detectors for those who serve a model: magnitudes of prompts known to be harmless, from which any rate has a threshold."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .errors import VidmemError
from .statistics import negatives_needed, threshold_at
from .store import save_json

FORMAT = 1
KINDS = ("content", "motion")


@dataclass(frozen=True)
class Detector:
    """First-step magnitude of one model.

    Attributes:
        model: its name in the audit.
        quantity: 'content' or 'motion'.
        negatives: magnitudes of prompts that no clip was planted for, one generation each, float [n].
        auc: against the videos planted in the audit, to know what to expect; NaN where there are none.
        made_for: what the calls of the audit had in common: frames and elements (values of a frame) of the latents, time of the
            first step, negative_prompt. Magnitudes of other calls do not compare.
    """

    model: str
    quantity: str
    negatives: np.ndarray
    auc: float
    made_for: dict = field(default_factory=dict)

    def threshold(self, rate: float) -> float:
        """Magnitude from which a generation is flagged, for a false-positive rate.

        Raises:
            VidmemError: fewer negatives than the rate needs.
        """
        needed = negatives_needed(rate)
        if len(self.negatives) < needed:
            got = f"{len(self.negatives)} negative prompts"
            raise VidmemError(
                f"at least {needed} for a rate of {rate:g}", got, f"detector of {self.model}", "list more negatives"
            )
        return threshold_at(self.negatives, rate)


def save_detectors(path: Path | str, detectors: list[Detector]) -> None:
    """Save the detectors of one model as JSON; an empty list for a model without guidance."""
    entries = {
        one.quantity: {"negatives": sorted(map(float, one.negatives)), "auc": None if np.isnan(one.auc) else float(one.auc)}
        for one in detectors
    }
    model, made_for = (detectors[0].model, detectors[0].made_for) if detectors else (Path(path).stem, {})
    save_json(path, {"format": FORMAT, "model": model, "step": 1, "made_for": made_for, "quantities": entries})


def load_detector(path: Path | str, quantity: str = "content") -> Detector:
    """Detector of a quantity, from results/<run>/detection/<model>.json.

    Raises:
        VidmemError: another file, or a quantity that it does not have.
    """
    record = _load_record(path)
    if quantity not in record["quantities"]:
        raise VidmemError(f"one of {sorted(record['quantities'])}", quantity, str(path), "a model without guidance has none")
    entry = record["quantities"][quantity]
    auc = float("nan") if entry["auc"] is None else entry["auc"]
    return Detector(record["model"], quantity, np.array(entry["negatives"], float), auc, record["made_for"])


def recorded_quantities(path: Path | str) -> list[str]:
    """Quantities that a file has detectors of; none for a model without guidance."""
    return sorted(_load_record(path)["quantities"])


def _load_record(path: Path | str) -> dict:
    record = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise VidmemError(f"detectors of format {FORMAT}", str(record)[:80], str(path))
    return record

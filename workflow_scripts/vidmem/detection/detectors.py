"""Detectors for people who serve a model.

A detector holds the magnitudes of harmless prompts. A threshold for any false-positive rate follows from them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..base.store import save_json
from ..errors import VidmemError
from ..features.statistics import negatives_needed, threshold_at

FORMAT = 1
KINDS = ("content", "motion")


@dataclass(frozen=True)
class Detector:
    """Detector of memorised prompts by one first-step guidance magnitude of one model.

    Attributes:
        model: name of the model in the audit.
        quantity: 'content' or 'motion'.
        negatives: magnitudes of prompts for which no clip was planted, one generation each, float [n].
        auc: AUC of planted videos against these prompts in the audit, as a hint at the quality; NaN without planted videos.
        made_for: settings of the audit's calls: frames and elements (values of a frame) of the latents, time of the first step,
            negative_prompt. Magnitudes of calls with other settings cannot be compared.
    """

    model: str
    quantity: str
    negatives: np.ndarray
    auc: float
    made_for: dict = field(default_factory=dict)

    def threshold(self, rate: float) -> float:
        """Smallest magnitude that is flagged at a false-positive rate.

        Raises:
            VidmemError: there are fewer negatives than the rate needs.
        """
        needed = negatives_needed(rate)
        if len(self.negatives) < needed:
            got = f"{len(self.negatives)} negative prompts"
            raise VidmemError(
                f"at least {needed} for a rate of {rate:g}", got, f"detector of {self.model}", "list more negatives"
            )
        return threshold_at(self.negatives, rate)


def save_detectors(path: Path | str, detectors: list[Detector]) -> None:
    """Save the detectors of one model as JSON. A model without guidance has an empty list."""
    entries = {
        one.quantity: {"negatives": sorted(map(float, one.negatives)), "auc": None if np.isnan(one.auc) else float(one.auc)}
        for one in detectors
    }
    model, made_for = (detectors[0].model, detectors[0].made_for) if detectors else (Path(path).stem, {})
    save_json(path, {"format": FORMAT, "model": model, "step": 1, "made_for": made_for, "quantities": entries})


def load_detector(path: Path | str, quantity: str = "content") -> Detector:
    """Load the detector of a quantity from results/<run>/detection/<model>.json.

    Raises:
        VidmemError: the file holds no detectors, or no detector of this quantity.
    """
    record = _load_record(path)
    if quantity not in record["quantities"]:
        raise VidmemError(f"one of {sorted(record['quantities'])}", quantity, str(path), "a model without guidance has none")
    entry = record["quantities"][quantity]
    auc = float("nan") if entry["auc"] is None else entry["auc"]
    return Detector(record["model"], quantity, np.array(entry["negatives"], float), auc, record["made_for"])


def recorded_quantities(path: Path | str) -> list[str]:
    """Quantities for which a file has detectors; empty for a model without guidance."""
    return sorted(_load_record(path)["quantities"])


def _load_record(path: Path | str) -> dict:
    record = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise VidmemError(f"detectors of format {FORMAT}", str(record)[:80], str(path))
    return record

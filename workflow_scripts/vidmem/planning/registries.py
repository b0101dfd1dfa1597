"""Names that a configuration may choose from: metrics, detectors, model families, layouts of corpora."""

from __future__ import annotations

from ..corpus.layouts import LAYOUTS
from ..features.metrics import metrics_of
from ..generation.detector_records import baselines
from ..models.families.records import official_families


def registered_names() -> dict[str, list[str]]:
    """Names of the records of every registry. The keys are the words after `names:` in the schema of the configuration."""
    return {
        "content_metrics": [metric.name for metric in metrics_of("content")],
        "motion_metrics": [metric.name for metric in metrics_of("motion")],
        "baselines": baselines(),
        "source_kinds": list(LAYOUTS),
        "rooted_kinds": [name for name, layout in LAYOUTS.items() if layout.rooted],
        "hashed_kinds": [name for name, layout in LAYOUTS.items() if layout.hashed],
        "model_families": list(official_families()),
    }  # fmt: skip

"""vidmem: measure what a video or image diffusion model memorised of its training data.

The library computes on arrays and tables; the workflow around it chooses the paths. The library never imports snakemake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import diffusers

    from .detection.guard import Detector, Guard

__version__ = "0.1.0"


def guard(
    pipeline: diffusers.DiffusionPipeline, detector: Detector | Path | str, rate: float = 0.01, action: str = "flag"
) -> Guard:
    """Flag or stop generations that replay training data, after their first denoising step.

    Args:
        pipeline: pipeline of diffusers that generates.
        detector: a Detector, or the path of results/<run>/detection/<model>.json.
        rate: share of harmless generations that may be flagged, 0 to 1.
        action: 'flag' or 'stop'.

    Returns:
        A context manager; see vidmem.detection.guard.Guard.
    """
    from .detection.guard import guard  # torch is imported only where it is used

    return guard(pipeline, detector, rate, action)

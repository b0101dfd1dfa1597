"""vidmem: measure what a video or image diffusion model memorised of its training data.

The library knows arrays and numbers; the workflow around it knows paths. Nothing in here imports snakemake.
"""

__version__ = "0.1.0"


def guard(pipeline, detector, rate: float = 0.01, action: str = "flag"):
    """Flag or stop generations that replay training data, after their first step: see vidmem.serving.Guard.

    Args:
        pipeline: of diffusers; detector: a Detector, or the path of results/<run>/detection/<model>.json.
        rate: share of harmless generations that may be flagged; action: 'flag' or 'stop'.
    """
    from .serving import guard  # torch is imported only where it is used

    return guard(pipeline, detector, rate, action)

"""vidmem: measure what a video or image diffusion model memorised of its training data.

The library knows arrays and numbers; the workflow around it knows paths. Nothing in here imports snakemake.
"""

__version__ = "0.1.0"

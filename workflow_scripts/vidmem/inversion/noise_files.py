"""Files with the noises that inversions found, and with the samples drawn from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from ..base.store import write_atomic


def array_name(image_id: str, seed: int, part: str) -> str:
    """Name of an array in a file of noises, such as 'mean': one array for an image and a seed."""
    return f"{image_id}/{seed}/{part}"


def save_noise(path: Path | str, arrays: Mapping[str, np.ndarray]) -> None:
    """Save arrays by name as safetensors, whole or not at all."""
    from safetensors.numpy import save

    # safetensors writes the memory of an array and ignores its strides: a view would be read back as another picture.
    contiguous = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
    write_atomic(path, lambda file: file.write(save(contiguous)))


def load_replays(paths: Iterable[Path | str], image_id: str, seed: int) -> np.ndarray | None:
    """Load the samples drawn at the end of an inversion: from the found noise, and from the prior.

    Args:
        paths: files of the shards of one inversion.
        image_id: clip id of the image.
        seed: seed of the inversion.

    Returns:
        uint8 [2, n, T, H, W, 3]; None if no file has the image, or if no sample was drawn.
    """
    from safetensors import safe_open

    name = array_name(image_id, seed, "replays")
    for path in paths:
        with safe_open(path, "numpy") as file:
            if name in file.keys() and 0 not in file.get_slice(name).get_shape():
                return file.get_tensor(name)
    return None

"""Whether a saved pipeline makes clips of the configured size, read from its files before anything is loaded.

Standard library only, as the workflow calls it. What the files do not say is left to the job that loads the pipeline.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import VidmemError
from ..models.signatures import call_of

AUTOENCODERS = ("AutoencoderKL", "VQModel", "AutoencoderKLTemporalDecoder", "PatchAutoencoder")
"""Classes that halve the sides between their levels, and name the widths of the levels."""


def check_saved_size(name: str, model: Mapping[str, Any], folder: Path) -> None:
    """Check the size of a model of the configuration.

    Args:
        name: name of the model; model: its keys pipeline and size.
        folder: folder of the saved pipeline.

    Raises:
        VidmemError: a size that the pipeline does not make.
    """
    call, pixels = call_of(model["pipeline"]) or {}, _pixels_of_latent(folder)
    network = _config(folder / "unet") or _config(folder / "transformer")
    if not network or pixels is None:
        return
    where, size = f"config key models.{name}.size", list(model["size"])
    if "height" not in call:
        side = network.get("sample_size")
        made = [value * pixels for value in (side if isinstance(side, list) else [side] * 2) if value]
        if made and made != size:
            raise VidmemError(f"size: {made}, all that this {model['pipeline']} makes", size, where)
        return
    patch = network.get("patch_size") or 1
    unit = pixels * (patch if isinstance(patch, int) else patch[-1])
    if any(side % unit for side in size):
        near = [max(unit, round(side / unit) * unit) for side in size]
        raise VidmemError(f"height and width in multiples of {unit} for this {model['pipeline']}", size, where, f"{near}")


def _pixels_of_latent(folder: Path) -> int | None:
    """Pixels per latent along each side; 1 without an autoencoder, None if the files do not say it."""
    found = _config(folder / "vae") or _config(folder / "vqvae")
    if not found:
        return None if (folder / "vae").exists() or (folder / "vqvae").exists() else 1
    if found.get("_class_name") == "PatchAutoencoder":
        return found.get("patch")
    widths = found.get("block_out_channels")
    return 2 ** (len(widths) - 1) if found.get("_class_name") in AUTOENCODERS and widths else None


def _config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

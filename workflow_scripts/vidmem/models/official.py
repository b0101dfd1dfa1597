"""Published checkpoints of models that diffusers does not carry, and their conversion to a folder in diffusers form."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import VidmemError
from ..store import hash_file, save_json
from .convert import read_checkpoint
from .fingerprint import base_fingerprint, model_fingerprint
from .latent_diffusion import latent_diffusion_from_official
from .lavie import lavie_from_official
from .ramvid import ramvid_from_official
from .videocrafter import videocrafter_from_official


@dataclass(frozen=True)
class Layout:
    """A layout of official checkpoints.

    Attributes:
        build: from weights, network, choice, base and file to a pipeline.
        variants: (network, choice) of every published model of this layout: what of the network differs from the defaults, and
            what else is chosen, such as the sampler; the first is taken where none is asked for.
        based: a saved Stable Diffusion is needed beside the checkpoint.
    """

    build: Callable
    variants: dict[str, tuple[dict, dict]]
    based: bool = True


LAYOUTS = {
    "lavie": Layout(lavie_from_official, {"base": ({}, {})}),
    "videocrafter": Layout(
        videocrafter_from_official,
        {
            "v1-512": ({}, {}),
            "v1-1024": ({"fps_condition": True}, {"scale_end": 0.3}),
            "v2-512": (
                {"fps_condition": True, "relative_positions": False, "temporal_convolutions": True},
                {"scale_end": 0.7},
            ),
        },
    ),
    "ramvid": Layout(
        ramvid_from_official,
        {"ucf-101": ({}, {}), "kinetics-600": ({}, {}), "bair": ({"residual_blocks": 2}, {})},
        based=False,
    ),
    "ldm": Layout(
        latent_diffusion_from_official, {"ema": ({}, {"averaged": True}), "raw": ({}, {"averaged": False})}, based=False
    ),
}
"""Sources of the numbers: docs/models-not-in-diffusers.md."""


def convert_checkpoint(settings: dict, base: Path | None, destination: Path) -> None:
    """Write an official checkpoint as a folder in diffusers form; conversion.json, with the hashes of all files, comes last.

    Args:
        settings: layout, variant, file, sha256 and network of the configuration.
        base: folder of the Stable Diffusion that it needs, or None.
        destination: folder.

    Raises:
        VidmemError: an unknown layout or variant, a base that is not there or not needed, another file than stated, weights
            that are not those of the model.
    """
    layout = _one_of(LAYOUTS, settings["layout"], "layout")
    variant = settings.get("variant") or next(iter(layout.variants))
    network, choice = _one_of(layout.variants, variant, "variant")
    if layout.based != (base is not None):
        expected = "a saved Stable Diffusion" if layout.based else f"none: {settings['layout']} needs none"
        raise VidmemError(expected, base, "checkpoint.base")
    taken = None if base is None else base_fingerprint(base)
    path = Path(settings["file"])
    weights = read_checkpoint(path, settings["sha256"])
    pipeline = layout.build(weights, network | settings.get("network", {}), choice, base, str(path))
    record = {
        "layout": settings["layout"],
        "variant": variant,
        "file": path.name,
        "sha256": hash_file(path),
        "base": taken,
    }
    _save(pipeline, record, destination)


def _one_of(known: dict, wanted: str, key: str):
    if wanted not in known:
        raise VidmemError(f"one of {sorted(known)}", wanted, f"checkpoint.{key}")
    return known[wanted]


def _save(pipeline, record: dict, destination: Path) -> None:
    """Save a pipeline beside its place and move it there, so that no half of it is ever taken for a model."""
    destination.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=f".{destination.name}-") as folder:
        pipeline.save_pretrained(folder, safe_serialization=True)
        for part in sorted(Path(folder).iterdir(), key=lambda part: part.name == "model_index.json"):
            target = destination / part.name
            if target.is_dir():
                shutil.rmtree(target)
            part.replace(target)
    save_json(destination / "conversion.json", record | {"files": model_fingerprint(destination)})

"""Conversion of published checkpoints, of models that diffusers does not carry, to folders in the format of diffusers."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.store import hash_file, save_json
from ..errors import VidmemError
from .families.checkpoints import read_checkpoint
from .families.records import official_family
from .fingerprint import base_fingerprint, model_fingerprint

if TYPE_CHECKING:
    import diffusers


def convert_checkpoint(settings: dict, base: Path | None, destination: Path) -> None:
    """Convert an official checkpoint to a folder in the format of diffusers.

    The last file written is conversion.json, with the hashes of all files.

    Args:
        settings: section `checkpoint` of the configuration, of which layout, variant, file, sha256 and network are read.
        base: folder of the saved Stable Diffusion whose parts the model needs, or None if it needs none.
        destination: folder to write.

    Raises:
        VidmemError: an unknown layout or variant, or a base that is missing or not needed. The file has another hash than
            stated, or its weights do not fit the model.
    """
    family = official_family(settings["layout"])
    name, variant = family.variant(settings.get("variant"))
    if family.based != (base is not None):
        expected = "a saved Stable Diffusion" if family.based else f"none: {family.name} needs none"
        raise VidmemError(expected, base, "checkpoint.base")
    taken = None if base is None else base_fingerprint(base)
    path = Path(settings["file"])
    weights = read_checkpoint(path, settings["sha256"])
    network = {**variant.network, **settings.get("network", {})}
    pipeline = family.convert()(weights, network, dict(variant.choice), base, str(path))
    record = {"layout": family.name, "variant": name, "file": path.name, "sha256": hash_file(path), "base": taken}
    _save(pipeline, record, destination)


def _save(pipeline: diffusers.DiffusionPipeline, record: dict, destination: Path) -> None:
    """Save a pipeline to a folder beside its destination and then move it, so that half a pipeline never looks like a model.

    Args:
        record: content of conversion.json without the hashes.
    """
    destination.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=f".{destination.name}-") as folder:
        pipeline.save_pretrained(folder, safe_serialization=True)
        for part in sorted(Path(folder).iterdir(), key=lambda part: part.name == "model_index.json"):
            target = destination / part.name
            if target.is_dir():
                shutil.rmtree(target)
            part.replace(target)
    save_json(destination / "conversion.json", record | {"files": model_fingerprint(destination)})

"""Saved pipelines made by hand, and where a preflight looks."""

import json
import struct

from workflow_helpers import ROOT

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CALL = "snakemake --configfile a.yaml --cores 1"
SCRIPTS, SCHEMA = ROOT / "workflow_scripts", ROOT / "rules/schemas/config.schema.yaml"


def write_weights(path, *shapes):
    """A safetensors file by its description: header length, header, numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for number, shape in enumerate(shapes):
        size = 4
        for side in shape:
            size *= side
        header[f"weight{number}"] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))


def write_pipeline(folder, **components):
    """A saved pipeline: component -> shapes of its weights, None for one that has none."""
    index = {"_class_name": "P", "safety_checker": [None, None]}
    for name, shapes in components.items():
        index[name] = ["diffusers", "DDIMScheduler" if shapes is None else "UNet2DModel"]
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / ("scheduler_config.json" if shapes is None else "config.json")).write_text("{}")
        if shapes is not None:
            write_weights(folder / name / "diffusion_pytorch_model.safetensors", *shapes)
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder

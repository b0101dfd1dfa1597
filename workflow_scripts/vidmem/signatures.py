"""What the call of a pipeline takes, read off its source: importing diffusers takes seconds, and may not be possible.

Standard library only: the workflow asks it, too.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from .errors import VidmemError

FRAMES = ("num_frames", "video_length")
"""Names that diffusers' pipelines have for the number of frames; those of images have none of them."""
RATES = ("fps", "frame_rate", "target_fps")
"""Names that they have for the rate of frames that the network is told."""
OWN = {
    "prompt": "prompts", "negative_prompt": "negative_prompt", "prompt_embeds": "prompts", "image": "first_frame",
    "batch_size": "batch", "num_frames": "frames", "video_length": "frames", "height": "size", "width": "size",
    "num_inference_steps": "steps", "guidance_scale": "guidance", "max_guidance_scale": "guidance", "generator": "seed",
    "num_images_per_prompt": "samples", "num_videos_per_prompt": "samples",
}  # fmt: skip
"""Arguments of a pipeline's call that vidmem gives, and the key of the configuration that each follows."""
FIXED = ("self", "latents", "output_type", "return_dict", "callback", "callback_steps", "callback_on_step_end")
"""Those that nobody may give: a sample's noise and what is read of it would be another's."""
EMBEDDED = (
    "FluxPipeline", "HunyuanSkyreelsImageToVideoPipeline", "HunyuanVideoFramepackPipeline", "HunyuanVideoImageToVideoPipeline",
    "HunyuanVideoPipeline", "LatentConsistencyModelPipeline", "QwenImagePipeline", "SanaSprintPipeline",
)  # fmt: skip
"""Pipelines whose network is told the guidance scale: one pass a step, unless true_cfg_scale and a negative prompt ask for two.
Read from diffusers 0.42.1."""


@cache
def call_of(pipeline: str) -> Mapping[str, object] | None:
    """Parameters of a pipeline's call, each with its default where that is a constant, else None.

    Args:
        pipeline: class name, of diffusers or of ours.

    Returns:
        None for a class that is not found here, for example because diffusers is not installed.

    >>> "num_frames" in call_of("LaViePipeline"), call_of("NoSuchPipeline")
    (True, None)
    """
    files = _classes()
    while pipeline in files:
        module = ast.parse(files[pipeline].read_text(encoding="utf-8"))
        kind = next(node for node in module.body if isinstance(node, ast.ClassDef) and node.name == pipeline)
        for node in kind.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__call__":
                return _parameters(node.args)
        pipeline = next((base.id for base in kind.bases if isinstance(base, ast.Name)), "")
    return None


def told_rate(pipeline: str) -> bool | None:
    """Whether a pipeline tells its network the rate of frames; None where its call is not known."""
    call = call_of(pipeline)
    return None if call is None else any(name in call for name in RATES)


def check_arguments(pipeline: str, given: Iterable[str], accepted: Iterable[str]) -> None:
    """Check further arguments of a pipeline's call against those that it takes and that follow no keys of their own.

    Args:
        pipeline: class name.
        given: names in the configuration; accepted: names of the call.
    """
    known = [name for name in accepted if name not in OWN and name not in FIXED and name != "kwargs"]
    for name in given:
        if name in known:
            continue
        key, near = OWN.get(name), difflib.get_close_matches(name, known, n=1)
        hint = f"the key {key} gives it" if key else f"did you mean {near[0]!r}?" if near else ""
        expected = f"arguments of {pipeline} without keys of their own: {', '.join(known)}"
        raise VidmemError(expected, name, "models.<name>.arguments", hint)


@cache
def _classes() -> dict[str, Path]:
    """Files of the classes of pipelines, those of ours first."""
    found = importlib.util.find_spec("diffusers")
    folders = [Path(__file__).parent / "models"]
    folders += [Path(found.origin).parent / "pipelines"] if found and found.origin else []
    files: dict[str, Path] = {}
    for path in (path for folder in folders for path in sorted(folder.rglob("*.py"))):
        for name in re.findall(r"^class (\w+Pipeline)\b", path.read_text(encoding="utf-8"), re.MULTILINE):
            files.setdefault(name, path)
    return files


def _parameters(given: ast.arguments) -> dict[str, object]:
    positional = [*given.posonlyargs, *given.args][1:]  # without self
    defaults = [None] * (len(positional) - len(given.defaults)) + list(given.defaults)
    pairs = [*zip(positional, defaults, strict=True), *zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    return {name.arg: default.value if isinstance(default, ast.Constant) else None for name, default in pairs}

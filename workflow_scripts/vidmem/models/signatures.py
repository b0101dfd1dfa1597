"""Parameters of the call of a pipeline, read from its source, because diffusers takes seconds to import or is not installed.

This module uses the standard library only, because the workflow calls it, too.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from ..errors import VidmemError
from .families.records import family_modules

FRAMES = ("num_frames", "video_length")
"""Names in diffusers of the parameter for the number of frames. Image pipelines have no such parameter."""
RATES = ("fps", "frame_rate", "target_fps")
"""Names in diffusers of the parameter for the frame rate that the network takes."""
OWN = {
    "prompt": "prompts", "negative_prompt": "negative_prompt", "prompt_embeds": "prompts", "image": "first_frame",
    "batch_size": "batch", "num_frames": "frames", "video_length": "frames", "height": "size", "width": "size",
    "num_inference_steps": "steps", "guidance_scale": "guidance", "max_guidance_scale": "guidance", "generator": "seed",
    "num_images_per_prompt": "samples", "num_videos_per_prompt": "samples",
}  # fmt: skip
"""Arguments of a pipeline's call that vidmem gives, and the key of the configuration that states each."""
FIXED = ("self", "latents", "output_type", "return_dict", "callback", "callback_steps", "callback_on_step_end")
"""Arguments that the configuration may not give, because vidmem controls the noise of a sample and reads its output."""
EMBEDDED = (
    "FluxPipeline", "HunyuanSkyreelsImageToVideoPipeline", "HunyuanVideoFramepackPipeline", "HunyuanVideoImageToVideoPipeline",
    "HunyuanVideoPipeline", "LatentConsistencyModelPipeline", "QwenImagePipeline", "SanaSprintPipeline",
)  # fmt: skip
"""Pipelines whose network takes the guidance scale as an input. They need one pass a step, or two if true_cfg_scale and a
negative prompt are given. Read from the source of diffusers 0.42.1."""


def call_of(pipeline: str) -> Mapping[str, object] | None:
    """Parameters of a pipeline's call, each with its default if that is a constant, else with None.

    Args:
        pipeline: class name, of diffusers or of our model families.

    Returns:
        None if the class is not found, for example because diffusers is not installed.

    >>> "num_frames" in call_of("LaViePipeline"), call_of("NoSuchPipeline")
    (True, None)
    """
    return _call_of(pipeline, family_modules())


@cache
def _call_of(pipeline: str, modules: tuple[str, ...]) -> Mapping[str, object] | None:
    files = _classes(modules)
    while pipeline in files:
        module = ast.parse(files[pipeline].read_text(encoding="utf-8"))
        kind = next(node for node in module.body if isinstance(node, ast.ClassDef) and node.name == pipeline)
        for node in kind.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__call__":
                return _parameters(node.args)
        pipeline = next((base.id for base in kind.bases if isinstance(base, ast.Name)), "")
    return None


def told_rate(pipeline: str) -> bool | None:
    """Whether a pipeline takes a frame rate for its network; None if its call is not known."""
    call = call_of(pipeline)
    return None if call is None else any(name in call for name in RATES)


def check_arguments(pipeline: str, given: Iterable[str], accepted: Iterable[str]) -> None:
    """Check the further arguments that the configuration gives to a pipeline's call.

    Args:
        pipeline: class name.
        given: names of the arguments in the configuration.
        accepted: names of the parameters of the call.

    Raises:
        VidmemError: the call has no such parameter, or another key of the configuration states it.
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
def _classes(modules: tuple[str, ...]) -> dict[str, Path]:
    """Class names of pipelines -> files that define them. If two classes share a name, that of a model family counts."""
    specs = [importlib.util.find_spec(module) for module in modules]
    paths = [Path(spec.origin) for spec in specs if spec and spec.origin]
    found = importlib.util.find_spec("diffusers")
    folders = [Path(__file__).parent / "families"]
    folders += [Path(found.origin).parent / "pipelines"] if found and found.origin else []
    files: dict[str, Path] = {}
    for path in paths + [path for folder in folders for path in sorted(folder.rglob("*.py"))]:
        for name in re.findall(r"^class (\w+Pipeline)\b", path.read_text(encoding="utf-8"), re.MULTILINE):
            files.setdefault(name, path)
    return files


def _parameters(given: ast.arguments) -> dict[str, object]:
    positional = [*given.posonlyargs, *given.args][1:]  # without self
    defaults = [None] * (len(positional) - len(given.defaults)) + list(given.defaults)
    pairs = [*zip(positional, defaults, strict=True), *zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    return {name.arg: default.value if isinstance(default, ast.Constant) else None for name, default in pairs}

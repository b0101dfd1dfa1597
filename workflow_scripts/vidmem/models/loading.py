"""Loading of saved pipelines from local files, with an error if anything is missing, and their placement on a device."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from inspect import Parameter, signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from ..base.logs import LOGGER
from ..errors import VidmemError
from .families.records import FAMILIES
from .families.whole import AGAIN, OWN_CODE, load_whole
from .saved_files import find_model, hub_cache, sentencepiece_files

if TYPE_CHECKING:
    import diffusers


@dataclass(frozen=True)
class GenerationSpec:
    """How a pipeline is loaded and called: the keys of a 'diffusers' model in the configuration.

    Attributes:
        pipeline: class name: a class of diffusers, of our model families, or of the repository itself.
        path: folder, or hub repository that is already downloaded.
        revision: commit of a hub repository.
        variant: variant of the weight files, such as 'fp16'.
        dtype: number format of the weights, a dtype of torch.
        scheduler: scheduler class of diffusers; None for the saved scheduler.
        steps: denoising steps.
        guidance: scale of classifier-free guidance; 1 or less switches it off. For a pipeline whose scale grows over the
            frames, this is the scale of the last frame.
        frames: frames of a clip.
        fps: frame rate in Hz, given to pipelines that take one unless `arguments` state another; None gives no rate.
        size: (height, width), pixels.
        batch: clips generated at once.
        trust_remote_code: whether code of the repository may run.
        offload: 'none', or 'model' or 'sequential' to keep weights in CPU memory until they are used.
        vae: 'tiling' and 'slicing' -> whether the autoencoder decodes tile by tile and sample by sample.
        compile: whether the denoisers are compiled.
        components: components that lie in another folder or repository: name -> path and revision.
        first_frame: 'target' for pipelines that start from an image: they get the first frame of the target of the request.
        drop_frames: frames removed at the start of every clip.
        arguments: further arguments of the call of the pipeline.
    """

    pipeline: str
    path: str
    revision: str | None = None
    variant: str | None = None
    dtype: str = "float32"
    scheduler: str | None = None
    steps: int = 25
    guidance: float = 7.5
    negative_prompt: str | None = None
    frames: int = 16
    fps: float | None = None
    size: tuple[int, int] = (256, 256)
    batch: int = 4
    trust_remote_code: bool = False
    offload: str = "none"
    vae: dict[str, bool] = field(default_factory=dict)
    compile: bool = False
    components: dict[str, dict] = field(default_factory=dict)
    first_frame: str | None = None
    drop_frames: int = 0
    arguments: dict[str, float | str | bool] = field(default_factory=dict)


def load_pipeline(spec: GenerationSpec) -> diffusers.DiffusionPipeline:
    """Load a pipeline from local safetensors files. Code of the repository runs only if the specification allows it.

    Raises:
        VidmemError: an unknown class, files that are missing or do not fit, or parameters that no file holds.
    """
    import diffusers

    send_to_log()
    if spec.trust_remote_code:
        LOGGER.warning("RUNNING CODE OF %s: trust_remote_code is set", spec.path)
        place_code()
    folder = folder_of(spec.path, spec.revision, f"a saved {spec.pipeline}")
    kind = class_of(spec, folder)
    check_readable(folder)
    options = {"trust_remote_code": True} if spec.trust_remote_code else {}
    shared = {"torch_dtype": getattr(torch, spec.dtype), "use_safetensors": True, "local_files_only": True}
    components = {name: load_component(kind, name, place, shared) for name, place in spec.components.items()}
    load = partial(kind.from_pretrained, variant=spec.variant, **shared, **options, **components)
    pipeline = load_whole(load, folder, f"a saved {spec.pipeline}", spec.path)
    check_parts(pipeline, spec, folder)
    check_scale(pipeline, spec.path)
    cast_parts(pipeline, getattr(torch, spec.dtype))
    if spec.scheduler:
        if not hasattr(diffusers, spec.scheduler):
            raise VidmemError("a scheduler class of diffusers", spec.scheduler, "models.scheduler")
        pipeline.scheduler = other_scheduler(pipeline.scheduler, getattr(diffusers, spec.scheduler))
    return pipeline


NOISE_LEVELS = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type")
"""Settings of a scheduler that the network was trained with. diffusers takes those that equal the defaults of the saved class
for unset, and lets another class put its own defaults in their place."""


def other_scheduler(
    saved: diffusers.SchedulerMixin, kind: type[diffusers.SchedulerMixin], **options: Any
) -> diffusers.SchedulerMixin:
    """Scheduler of another class with the configuration of the saved one.

    Args:
        options: settings that replace those of the saved one.

    Raises:
        VidmemError: the saved scheduler has a setting of its family that the class cannot express. Pictures would be wrong.
    """
    settings = getattr(type(saved), "NEEDED", {})
    taken = signature(kind.__init__).parameters
    lost = {name: saved.config[name] for name, plain in settings.items() if saved.config[name] != plain and name not in taken}
    if lost:
        told = ", ".join(f"{name} {value}" for name, value in lost.items())
        hint = f"leave models.<name>.scheduler out: the model needs {type(saved).__name__}"
        raise VidmemError(f"a scheduler that takes {', '.join(lost)} ({told})", kind.__name__, "models.<name>.scheduler", hint)
    trained = {name: saved.config[name] for name in NOISE_LEVELS if name in saved.config and name in taken}
    return kind.from_config(saved.config, **trained | options)


def load_component(kind: type[diffusers.DiffusionPipeline], name: str, place: dict, shared: dict) -> torch.nn.Module:
    """Load a component that lies in a folder or repository of its own, such as the motion adapter of AnimateDiff.

    Args:
        kind: class of the pipeline.
        name: name of the component, a parameter of the class.
        place: path and revision of the component.
        shared: options for every from_pretrained.

    Raises:
        VidmemError: the pipeline has no such component, or its files are missing or do not fit.
    """
    import diffusers

    known = [parameter for parameter in signature(kind.__init__).parameters if parameter != "self"]
    if name not in known:
        raise VidmemError(
            f"a component of {kind.__name__}: {', '.join(known)}", name, "models.<name>.components", _near(name, known)
        )
    folder = folder_of(place["path"], place.get("revision"), f"a saved {name}")
    return load_whole(partial(diffusers.AutoModel.from_pretrained, **shared), folder, f"a saved {name}", place["path"])


def folder_of(path: str, revision: str | None, expected: str) -> Path:
    """Folder to load from: a local folder, or the snapshot of a hub repository that the fetch stage downloaded.

    The result is never the name of a repository. Given a name, diffusers would look for other files than those downloaded.

    Args:
        expected: what should be there, for the message.

    Raises:
        VidmemError: no such folder and no snapshot.
    """
    folder = find_model(path, revision, hub_cache())
    if folder is None:
        hint = "the fetch stage brings hub repositories, at a revision; without a network give a folder as path"
        raise VidmemError(
            expected, "no such folder, and none in the cache of the hub", " at ".join(filter(None, (path, revision))), hint
        )
    return folder


def class_of(spec: GenerationSpec, folder: Path) -> type[diffusers.DiffusionPipeline]:
    """Class of a saved pipeline: a class of diffusers or of our model families, or a class of the repository.

    Code of the repository is read only if the specification allows it. model_index.json names the class of a repository
    together with the file that defines it. If it names a class alone that is not known here, the class is in pipeline.py.

    Raises:
        VidmemError: an unknown class, another class than the saved one, or code that is missing or not allowed.
    """
    import diffusers
    from diffusers.utils.dynamic_modules_utils import get_class_from_dynamic_module

    index = load_whole(diffusers.DiffusionPipeline.load_config, folder, f"a saved {spec.pipeline}", spec.path)
    import_families(index)
    file, name = _saved_class(index)
    if file is None:
        if not spec.trust_remote_code or name != spec.pipeline or _known_class(name):
            return pipeline_class(spec.pipeline)
        file = "pipeline"
    if not spec.trust_remote_code:
        raise VidmemError("a pipeline class of diffusers", f"{name} in {file}.py of the repository", spec.path, OWN_CODE)
    if name != spec.pipeline:
        raise VidmemError(f"{name}, as model_index.json of {spec.path} says", spec.pipeline, "models.pipeline")
    if not (folder / f"{file}.py").is_file():
        raise VidmemError(f"{file}.py, which has the class {name}", "none", spec.path, AGAIN)
    load = partial(get_class_from_dynamic_module, module_file=f"{file}.py", class_name=name, trust_remote_code=True)
    return load_whole(load, folder, f"a class {name} in {file}.py", spec.path)


def import_families(index: Mapping[str, object]) -> None:
    """Import the modules of our model families that a saved pipeline needs.

    diffusers finds the classes of other modules only if these are already imported.

    Args:
        index: content of model_index.json.
    """
    named = {entry[0] for entry in index.values() if isinstance(entry, list) and entry}
    for family in FAMILIES.values():
        for name, module in family.modules().items():
            if name in named:
                sys.modules.setdefault(name, importlib.import_module(module))


def _saved_class(index: dict) -> tuple[str | None, str | None]:
    """File and class of a saved pipeline, as its model_index.json names them. The file is None for a class without a file."""
    saved = index.get("_class_name")
    return tuple(saved) if isinstance(saved, list) else (None, saved)


@cache
def place_code() -> TemporaryDirectory:
    """Make a folder for this process alone, to which diffusers copies code of repositories.

    By default diffusers copies all code to one folder of the user, by file name. A job could then run code of another job's
    model.
    """
    from diffusers.utils import dynamic_modules_utils

    folder = TemporaryDirectory()
    dynamic_modules_utils.HF_MODULES_CACHE = folder.name
    sys.path.insert(0, folder.name)
    return folder


def check_readable(folder: Path) -> None:
    """Raise VidmemError for a vocabulary that needs a package not installed here; transformers would name another package."""
    from transformers.utils import is_protobuf_available, is_sentencepiece_available

    there = {"sentencepiece": is_sentencepiece_available(), "protobuf": is_protobuf_available()}
    absent = [name for name, found in there.items() if not found]
    for file in sentencepiece_files(folder) if absent else []:
        expected = f"{' and '.join(absent)}, to read a vocabulary without a tokenizer.json"
        raise VidmemError(expected, "not installed", str(file), f"pip install {' '.join(absent)}")


def check_parts(pipeline: diffusers.DiffusionPipeline, spec: GenerationSpec, folder: Path) -> None:
    """Raise VidmemError for a component that has no files and that diffusers or transformers replaced without an error.

    If the files were saved from another class, diffusers sets the components that they lack to None. A tokenizer without files
    gets an empty vocabulary.
    """
    asked = signature(type(pipeline).__init__).parameters
    saved = _saved_class(pipeline.load_config(folder))[1] or spec.pipeline
    absent = [name for name, part in pipeline.components.items() if part is None and asked[name].default is Parameter.empty]
    if absent and saved != spec.pipeline:
        got = f"a {saved} without {', '.join(absent)}"
        raise VidmemError(f"a saved {spec.pipeline}", got, spec.path, "another pipeline, or models.<name>.components")
    for name, part in pipeline.components.items():
        if name.startswith("tokenizer") and part is not None and part("ball").input_ids == part("cats").input_ids:
            raise VidmemError("a tokenizer that tells words apart", f"{name} without a vocabulary", spec.path, AGAIN)


def check_scale(pipeline: diffusers.DiffusionPipeline, path: str) -> None:
    """Raise VidmemError if the files state no scale of the latents: diffusers would use the scale of Stable Diffusion.

    CompVis/ldm-celebahq-256 is such a repository; its pictures come out wrong (huggingface/diffusers#6725).
    """
    autoencoder = getattr(pipeline, "vqvae", None)
    if autoencoder is not None and "scaling_factor" in autoencoder.config.get("_use_default_values", []):
        got = f"none: {autoencoder.config.scaling_factor:g} is the default of diffusers"
        hint = (
            'latent diffusion scales nothing: add "scaling_factor": 1.0 to it, or convert the official checkpoint (layout: ldm)'
        )
        raise VidmemError("a scaling_factor of the codes", got, f"{path}/vqvae/config.json", hint)


def cast_parts(pipeline: diffusers.DiffusionPipeline, dtype: torch.dtype) -> None:
    """Cast every network of a pipeline that has no parameter of type `dtype`.

    Without accelerate, diffusers leaves the transformer of Stable Diffusion 3 in the number format of its files. Some networks
    keep a few layers in float32 on purpose. Their other layers have the type `dtype`, so that they are left as they are.
    """
    for part in pipeline.components.values():
        kinds = {value.dtype for value in part.parameters()} if isinstance(part, torch.nn.Module) else set()
        if kinds and dtype not in kinds:
            part.to(dtype)


def pipeline_class(name: str) -> type[diffusers.DiffusionPipeline]:
    """Pipeline class by name: a class of diffusers or of our model families.

    Raises:
        VidmemError: no class has this name.
    """
    import diffusers

    if kind := _known_class(name):
        return kind
    known = [known for known in dir(diffusers) if known.endswith("Pipeline")]
    raise VidmemError("a pipeline class of diffusers", name, "models.pipeline", _near(name, known))


def _known_class(name: str) -> type[diffusers.DiffusionPipeline] | None:
    import diffusers

    own = next((family.module for family in FAMILIES.values() if family.pipeline == name), None)
    for module in (diffusers, importlib.import_module(own) if own else None):
        kind = getattr(module, name, None)
        if isinstance(kind, type) and issubclass(kind, diffusers.DiffusionPipeline):
            return kind
    return None


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return f"did you mean {near[0]!r}?" if near else ""


def place_pipeline(
    pipeline: diffusers.DiffusionPipeline, spec: GenerationSpec, device: str, denoisers: list[torch.nn.Module]
) -> diffusers.DiffusionPipeline:
    """Move a pipeline to its device, or offload it, and set up its autoencoder and its denoisers as the specification says.

    Args:
        denoisers: networks of the pipeline to compile if the specification asks for it.

    Raises:
        VidmemError: offloading without a GPU or without accelerate, or an autoencoder without the tiling or slicing asked for.
    """
    for name in (name for name, asked in spec.vae.items() if asked):
        switch = getattr(getattr(pipeline, "vae", None), f"enable_{name}", None)
        if switch is None:
            raise VidmemError(f"an autoencoder with {name}", type(pipeline).__name__, f"models.<name>.vae.{name}")
        switch()
    for denoiser in denoisers if spec.compile else []:
        # Only `forward` is compiled: hooks of the module read the guidance and must see every call.
        denoiser.forward = torch.compile(denoiser.forward)
    if spec.offload == "none":
        return pipeline.to(device)
    where = "models.<name>.offload"
    if device == "cpu":
        raise VidmemError("offload: none on a CPU", spec.offload, where, "weights are offloaded from a GPU: device: cuda")
    if importlib.util.find_spec("accelerate") is None:
        raise VidmemError("accelerate, which moves the weights", "not installed", where, "pip install accelerate")
    switches = {"model": pipeline.enable_model_cpu_offload, "sequential": pipeline.enable_sequential_cpu_offload}
    switches[spec.offload](device=device)
    return pipeline


def send_to_log() -> None:
    """Send messages of diffusers and transformers to the log of a job, without progress bars. Do nothing outside a job."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    for library in (of_diffusers, of_transformers) if LOGGER.handlers else ():
        library.disable_default_handler()
        library.disable_progress_bar()
        for handler in LOGGER.handlers:
            library.add_handler(handler)


@contextmanager
def frozen(pipeline: diffusers.DiffusionPipeline) -> Iterator[None]:
    """Set all networks of a pipeline to evaluation mode without weight gradients, and restore both settings afterwards."""
    modules = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    flags = [(value, value.requires_grad) for module in modules for value in module.parameters()]
    training = [(part, part.training) for module in modules for part in module.modules()]
    try:
        for module in modules:
            module.eval().requires_grad_(False)
        yield
    finally:
        for value, flag in flags:
            value.requires_grad_(flag)
        for part, mode in training:
            part.training = mode

"""Saved pipelines: loaded whole or not at all, from local files, and put where they are to run."""

from __future__ import annotations

import difflib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from inspect import Parameter, signature
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import SafetensorError

from ..errors import VidmemError
from ..inventory import find_model, sentencepiece_files
from ..logs import LOGGER

AGAIN = "damaged or of another version: fetch or copy the files again"
OWN_CODE = "it brings code of its own: read it, then set trust_remote_code: true"
HINTS = {
    "ignore_mismatched_sizes": "the weights are of another class, or of another configuration than their config.json says",
    "trust_remote_code": OWN_CODE,
    "keep_in_fp32_modules": "pip install accelerate",
    "variant": "variant: null loads the files without one",
    "no file named": "fetch or copy the files again; pickles (.bin, .ckpt) are not loaded: save_pretrained, where trusted",
    "Unable to load weights": AGAIN,
    "deserializing": AGAIN,
    "not a valid JSON": AGAIN,
    "tiktoken": AGAIN,  # transformers takes a spiece.model that it cannot read for one of tiktoken
}
"""What to do about an error of diffusers, transformers or safetensors that says one of these."""
SHOWN = 5  # names in a message


@dataclass(frozen=True)
class GenerationSpec:
    """How a pipeline is loaded and called; the keys of a 'diffusers' model in the configuration.

    Attributes:
        pipeline: class name, of diffusers, of the reference models, or of the repository's own.
        path: folder or hub repository (already fetched).
        fps: rate of frames, Hz, told to pipelines that take one; without it, or where arguments give another, not.
        size: (height, width).
        guidance: scale of classifier-free guidance; 1 or less runs without. Of pipelines whose scale grows from the first frame
            to the last it is that of the last.
        offload: none, model or sequential: weights wait in the memory of the CPU.
        vae: tiling, slicing: whether the autoencoder decodes by tiles, by samples.
        compile: whether the denoiser is compiled.
        components: parts that lie elsewhere by name, each with path and revision.
        first_frame: 'target' for pipelines that start from an image: the first frame of the request's target.
        drop_frames: frames left out at the start of every clip.
        arguments: further arguments of the pipeline's call.
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


def load_pipeline(spec: GenerationSpec):
    """Load a pipeline from local files: safetensors only, no remote code unless the specification says so.

    Raises:
        VidmemError: an unknown class, files that are not there or do not fit, parameters that no file has.
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
    parts = {name: load_component(kind, name, place, shared) for name, place in spec.components.items()}
    load = partial(kind.from_pretrained, variant=spec.variant, **shared, **options, **parts)
    pipeline = load_whole(load, folder, f"a saved {spec.pipeline}", spec.path)
    check_parts(pipeline, spec, folder)
    check_scale(pipeline, spec.path)
    cast_parts(pipeline, getattr(torch, spec.dtype))
    if spec.scheduler:
        if not hasattr(diffusers, spec.scheduler):
            raise VidmemError("a scheduler class of diffusers", spec.scheduler, "models.scheduler")
        pipeline.scheduler = getattr(diffusers, spec.scheduler).from_config(pipeline.scheduler.config)
    return pipeline


def load_component(kind: type, name: str, place: dict, shared: dict):
    """A part of a pipeline that lies in a folder or repository of its own, such as the motion adapter of AnimateDiff.

    Args:
        kind: class of the pipeline.
        name: of the part, as the class names it.
        place: path and revision.
        shared: options of every from_pretrained.
    """
    import diffusers

    known = [part for part in signature(kind.__init__).parameters if part != "self"]
    if name not in known:
        raise VidmemError(
            f"a component of {kind.__name__}: {', '.join(known)}", name, "models.<name>.components", _near(name, known)
        )
    folder = folder_of(place["path"], place.get("revision"), f"a saved {name}")
    return load_whole(partial(diffusers.AutoModel.from_pretrained, **shared), folder, f"a saved {name}", place["path"])


def folder_of(path: str, revision: str | None, expected: str) -> Path:
    """Folder that is loaded: a local one, or the snapshot that the fetch stage left of a hub repository.

    Never the name of a repository: diffusers would look for files by a list of its own, which is not what was fetched.
    """
    from huggingface_hub import constants

    folder = find_model(path, revision, Path(constants.HF_HUB_CACHE))
    if folder is None:
        hint = "the fetch stage brings hub repositories, at a revision; without a network give a folder as path"
        raise VidmemError(
            expected, "no such folder, and none in the cache of the hub", " at ".join(filter(None, (path, revision))), hint
        )
    return folder


def class_of(spec: GenerationSpec, folder: Path) -> type:
    """Class of a pipeline: known here, or of the repository's own, whose code is run where that is granted.

    The index names its own class with the file that has it; one that names a class alone has it in pipeline.py.
    """
    import diffusers
    from diffusers.utils.dynamic_modules_utils import get_class_from_dynamic_module

    index = load_whole(diffusers.DiffusionPipeline.load_config, folder, f"a saved {spec.pipeline}", spec.path)
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


def _saved_class(index: dict) -> tuple[str | None, str | None]:
    """File, where the index names one, and class of a saved pipeline."""
    saved = index.get("_class_name")
    return tuple(saved) if isinstance(saved, list) else (None, saved)


@cache
def place_code() -> TemporaryDirectory:
    """Folder of this process, to which diffusers copies code of repositories.

    It copies by the names of files to one folder of the user, where a job would run the code of another job's model.
    """
    from diffusers.utils import dynamic_modules_utils

    folder = TemporaryDirectory()
    dynamic_modules_utils.HF_MODULES_CACHE = folder.name
    sys.path.insert(0, folder.name)
    return folder


def check_readable(folder: Path) -> None:
    """Raise VidmemError for vocabularies that need a package to be read; transformers would ask for another one."""
    from transformers.utils import is_protobuf_available, is_sentencepiece_available

    there = {"sentencepiece": is_sentencepiece_available(), "protobuf": is_protobuf_available()}
    absent = [name for name, found in there.items() if not found]
    for file in sentencepiece_files(folder) if absent else []:
        expected = f"{' and '.join(absent)}, to read a vocabulary without a tokenizer.json"
        raise VidmemError(expected, "not installed", str(file), f"pip install {' '.join(absent)}")


def load_whole(load: Callable, folder: Path | str, expected: str, path: str = ""):
    """What a from_pretrained gives for a folder, or an error that says what to do; nothing whose weights are not all there.

    Args:
        load: from_pretrained with its options.
        expected: what it should give, for the error.
        path: the folder as the configuration names it, where it is another name.

    Raises:
        VidmemError: files that are not there, do not fit or do not hold every parameter.
    """
    where = path or str(folder)
    try:
        with loading_reports() as reports:
            found = load(str(folder))
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except (OSError, ValueError, RuntimeError, ImportError, AttributeError, SafetensorError) as error:
        text = " ".join(str(error).split())
        hint = next((hint for word, hint in HINTS.items() if word in text), "")
        raise VidmemError(expected, f"{type(error).__name__}: {text[:400]}", where, hint) from error
    for name, missing in reports:
        if missing:
            got = f"{name} without {', '.join(missing[:SHOWN])}" + f" and {len(missing) - SHOWN} more" * (len(missing) > SHOWN)
            hint = "diffusers would draw them at random: fetch the files again, or name the class they were saved from"
            raise VidmemError(f"{expected}, every parameter in its files", got, where, hint)
    return found


def check_parts(pipeline, spec: GenerationSpec, folder: Path) -> None:
    """Raise VidmemError for parts that diffusers and transformers make up where there are no files of them.

    A class that other files were saved from gets None for what they lack; a tokenizer without files has an empty vocabulary.
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


def check_scale(pipeline, path: str) -> None:
    """Raise VidmemError for codes of pictures whose scale nobody stated: diffusers would take that of Stable Diffusion.

    CompVis/ldm-celebahq-256 is such a repository; its pictures come out wrong (huggingface/diffusers#6725).
    """
    autoencoder = getattr(pipeline, "vqvae", None)
    made_up = [] if autoencoder is None else autoencoder.config.get("_use_default_values", [])
    if "scaling_factor" in made_up:
        got = f"none: {autoencoder.config.scaling_factor:g} is the default of diffusers"
        hint = (
            'latent diffusion scales nothing: add "scaling_factor": 1.0 to it, or convert the official checkpoint (layout: ldm)'
        )
        raise VidmemError("a scaling_factor of the codes", got, f"{path}/vqvae/config.json", hint)


def cast_parts(pipeline, dtype: torch.dtype) -> None:
    """Bring networks to a number format that nothing of them is in.

    Without accelerate diffusers leaves the transformer of Stable Diffusion 3 in the format of its files. Networks of which
    some layers stay in float32 have others in the format that was asked for, and are left as they are.
    """
    for part in pipeline.components.values():
        kinds = {value.dtype for value in part.parameters()} if isinstance(part, torch.nn.Module) else set()
        if kinds and dtype not in kinds:
            part.to(dtype)


@contextmanager
def loading_reports() -> Iterator[list[tuple[str, list[str]]]]:
    """Class and missing parameters of every model that diffusers or transformers loads meanwhile.

    Both draw at random what a file lacks and go on with a line in a log. They report it to whoever asks a single model for it;
    a pipeline does not ask, so that here every model is asked for it.
    """
    import diffusers
    import transformers

    reports: list[tuple[str, list[str]]] = []
    bases = (diffusers.ModelMixin, transformers.PreTrainedModel)
    originals = [base.__dict__["from_pretrained"] for base in bases]
    for base, original in zip(bases, originals):
        base.from_pretrained = _reporting(original.__func__, reports)
    try:
        yield reports
    finally:
        for base, original in zip(bases, originals):
            base.from_pretrained = original


def _reporting(original: Callable, reports: list[tuple[str, list[str]]]) -> classmethod:
    def load(cls, *given, **named):
        model, report = original(cls, *given, **named | {"output_loading_info": True})
        reports.append((cls.__name__, sorted(report["missing_keys"])))
        return (model, report) if named.get("output_loading_info") else model

    return classmethod(load)


def pipeline_class(name: str) -> type:
    """Pipeline class by name: of diffusers, of the reference models, or of those that diffusers does not carry."""
    import diffusers

    if kind := _known_class(name):
        return kind
    known = [known for known in dir(diffusers) if known.endswith("Pipeline")]
    raise VidmemError("a pipeline class of diffusers", name, "models.pipeline", _near(name, known))


def _known_class(name: str) -> type | None:
    import diffusers

    from . import lavie, ramvid, reference, videocrafter

    for module in (diffusers, reference, lavie, videocrafter, ramvid):
        kind = getattr(module, name, None)
        if isinstance(kind, type) and issubclass(kind, diffusers.DiffusionPipeline):
            return kind
    return None


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return f"did you mean {near[0]!r}?" if near else ""


def place_pipeline(pipeline, spec: GenerationSpec, device: str, denoisers: list[torch.nn.Module]):
    """Put a pipeline where it is to run, its autoencoder and denoisers set as the specification says.

    Raises:
        VidmemError: offloading without a GPU or without accelerate; an autoencoder that does not do what is asked of it.
    """
    for name in (name for name, asked in spec.vae.items() if asked):
        switch = getattr(getattr(pipeline, "vae", None), f"enable_{name}", None)
        if switch is None:
            raise VidmemError(f"an autoencoder with {name}", type(pipeline).__name__, f"models.<name>.vae.{name}")
        switch()
    for denoiser in denoisers if spec.compile else []:
        # Not the module: hooks around it read guidance, and must see every call.
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
    """Lines and bars of diffusers and transformers go to the log of a job; outside of jobs they stay as they are."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    for library in (of_diffusers, of_transformers) if LOGGER.handlers else ():
        library.disable_default_handler()
        library.disable_progress_bar()
        for handler in LOGGER.handlers:
            library.add_handler(handler)

"""One adapter for every diffusers pipeline that returns video or images."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import signature

import numpy as np
import torch
from PIL import Image

from ..attention import AttentionReader
from ..baselines import AttentionQuantities
from ..denoiser_calls import DenoiserCall, denoiser_input, denoiser_output
from ..devices import check_precision
from ..errors import VidmemError
from ..guidance import GuidanceRecorder, Reducer, StopGeneration, by_frame, guidance_magnitudes
from ..logs import LOGGER
from ..seeding import torch_stream
from ..signatures import FRAMES, RATES
from .limits import check_request, cut_prompt, why_alone
from .loading import GenerationSpec, load_pipeline, place_pipeline
from .output import as_frames, flagged, nothing_to_see


@dataclass(frozen=True)
class Request:
    """One sample to generate: its identity seeds its noise.

    Attributes:
        embedding: float [tokens, width], text embedding to generate with in place of the prompt's own; no part of the identity.
        first_frame: uint8 [H, W, 3] to start from, for pipelines that start from an image; no part of the identity either.
    """

    prompt_id: str
    prompt: str
    sample: int
    embedding: torch.Tensor | None = field(default=None, compare=False, repr=False)
    first_frame: np.ndarray | None = field(default=None, compare=False, repr=False)


@dataclass
class Sample:
    """What came of a request.

    Attributes:
        frames: uint8 [T, H, W, 3], T = 0 where it failed.
        reason: why it failed; of one that did not, what of the prompt the model was not told.
        guidance: one dictionary a step, quantity -> float [frames]; empty where none was recorded.
    """

    request: Request
    frames: np.ndarray
    status: str = "ok"
    reason: str = ""
    guidance: list[dict[str, np.ndarray]] = field(default_factory=list)


BatchCall = Callable[[list[Request]], list[Sample]]
"""What is asked of a pipeline for some requests in one batch."""


class PipelineAdapter:
    """A loaded pipeline that answers requests in batches.

    Args:
        attention: read the cross-attention to the prompts, too.

    Raises:
        VidmemError: an unknown pipeline or scheduler class, weights that are not there, or a setting it cannot satisfy.
    """

    def __init__(self, spec: GenerationSpec, seed: int, device: str = "cpu", attention: bool = False):
        self.spec, self.seed, self.device, self.attention = spec, seed, device, attention
        check_precision(spec.pipeline, spec.dtype, device)
        loaded = load_pipeline(spec)
        check_request(loaded, spec)
        self.pipeline = place_pipeline(loaded, spec, device, find_denoisers(loaded))
        self.pipeline.set_progress_bar_config(disable=True)
        self.accepted = set(signature(type(self.pipeline).__call__).parameters)
        self.denoiser = find_denoiser(self.pipeline)
        self.batch, self._warned = spec.batch, False  # of guidance that is not, or not all, recorded
        if spec.batch > 1 and (reason := why_alone(loaded, spec)):
            LOGGER.info("%s: one sample a call: %s", spec.pipeline, reason)
            self.batch = 1

    @property
    def prompted(self) -> bool:
        """Whether the pipeline takes a prompt."""
        return "prompt" in self.accepted

    @property
    def conditioned(self) -> bool:
        """Whether it is told what to make, by a prompt or a first frame: only then is there guidance."""
        return self.prompted or self.spec.first_frame is not None

    def generate(self, requests: Sequence[Request]) -> Iterator[list[Sample]]:
        """Generate batch by batch. Running out of memory halves the batch and goes on.

        A sample's noise depends on (seed, prompt id, sample number) alone.
        """
        if not self.conditioned and any(request.prompt for request in requests):
            hint = "set unconditional to a number of clips"
            raise VidmemError("a pipeline that takes prompts", self.spec.pipeline, "models.<name>.pipeline", hint)
        yield from self._in_batches(requests, self._call)

    def _in_batches(self, requests: Sequence[Request], call: BatchCall) -> Iterator[list[Sample]]:
        """Samples batch by batch. Too little memory halves the batch; a request that fails alone becomes a failed sample."""
        first = 0
        while first < len(requests):
            part = list(requests[first : first + self.batch])
            try:
                samples = call(part)
            except VidmemError:
                raise  # a setting that no request can satisfy
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    samples = self._one_by_one(part, error, call)
                elif len(part) > 1:
                    self.halve(len(part))
                    continue
                else:
                    samples = [self._failed(part[0], "out of memory at one sample a call")]
            except Exception as error:  # a pipeline may raise anything; the other requests go on
                samples = self._one_by_one(part, error, call)
            yield samples
            first += len(part)

    def halve(self, size: int) -> None:
        """Half the batch from now on, after `size` samples did not fit into memory."""
        self.batch = max(1, size // 2)
        LOGGER.warning("out of memory with %d samples a call: going on with %d", size, self.batch)
        gc.collect()
        if self.device != "cpu":
            torch.cuda.empty_cache()

    def _one_by_one(self, part: list[Request], error: Exception, call: BatchCall) -> list[Sample]:
        if len(part) == 1:
            LOGGER.error("prompt %s failed", part[0].prompt_id, exc_info=error)
            return [self._failed(part[0], f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")]
        samples = []
        for request in part:
            try:
                samples += call([request])
            except Exception as single:
                samples += self._one_by_one([request], single, call)
        return samples

    def _failed(self, request: Request, reason: str) -> Sample:
        return Sample(request, self._no_frames(), "failed", reason)

    def _no_frames(self) -> np.ndarray:
        return np.zeros((0, *self.spec.size, 3), np.uint8)

    def _call(self, part: list[Request]) -> list[Sample]:
        reader = self._reader(part)
        reduce = guidance_magnitudes if reader is None else AttentionQuantities()
        recorder = GuidanceRecorder(find_denoisers(self.pipeline), len(part), reduce, attention=reader)
        with recorder, torch.inference_mode():
            output = self.pipeline(**self._arguments(part))
        if isinstance(reduce, AttentionQuantities):
            reduce.finish(recorder.steps)
        videos, censored = as_frames(output), flagged(output) or [False] * len(part)
        self._check_shape(videos.shape)
        self._check_recorded(len(recorder.steps))
        samples = []
        for index, (request, video) in enumerate(zip(part, videos[:, self.spec.drop_frames :], strict=True)):
            guidance = [{name: value[index].cpu().numpy() for name, value in step.items()} for step in recorder.steps]
            if reason := nothing_to_see(video, censored[index]):
                samples.append(self._failed(request, reason))
            else:
                pixels = np.round(np.clip(video, 0, 1) * 255).astype(np.uint8)
                cut = cut_prompt(self.pipeline, self.spec, request.prompt)
                samples.append(Sample(request, pixels, reason=cut, guidance=guidance))
        return samples

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise VidmemError for frames of another size or number than was asked for; images have one."""
        asked = self.spec.frames if self.accepted & set(FRAMES) else 1
        if shape[1] != asked:
            raise VidmemError(f"{asked} frames", shape[1], "models.<name>.frames")
        if tuple(shape[2:4]) != tuple(self.spec.size):
            raise VidmemError(f"frames of size {tuple(self.spec.size)}", shape[2:4], "models.<name>.size")

    def _reader(self, part: list[Request]) -> AttentionReader | None:
        """Reader of the attention to the prompts of some requests, if it is asked for and there are prompts."""
        if not self.attention or not self.prompted:
            return None
        prompts = [request.prompt for request in part]
        return AttentionReader(find_denoisers(self.pipeline), partial(end_tokens, self.pipeline, prompts))

    def _check_recorded(self, steps: int) -> None:
        """Warn, once, of guidance that was not recorded at every step asked for."""
        if self._warned or not self.conditioned or (not steps and self.spec.guidance <= 1):
            return
        if not steps:
            embedded = " (its network is told the scale: there is one pass a step, and no guidance to be defined)"
            told = embedded if self.denoiser.config.get("guidance_embeds") else ""
            LOGGER.warning("%s: no guidance pass seen, no guidance recorded%s", self.spec.pipeline, told)
        elif "num_inference_steps" in self.accepted and steps != self.spec.steps:
            LOGGER.warning("%s: guidance recorded %d times in %d steps", self.spec.pipeline, steps, self.spec.steps)
        else:
            return
        self._warned = True

    def probe(
        self, requests: Sequence[Request], reduce: Reducer = guidance_magnitudes, extra_pass: bool = False
    ) -> Iterator[list[Sample]]:
        """Guidance of the first denoising step of every request, without generating: one step a batch.

        Running out of memory and requests that fail are dealt with as in generate.

        Args:
            requests: as for generate: the same request starts from the same noise.
            extra_pass: for pipelines without a guidance pass, whose first step is run again with an empty prompt.

        Yields:
            Samples without frames, with the guidance of one step; with none where the pipeline makes no guidance pass, or where
            the probe failed: status and reason say so.
        """
        yield from self._in_batches(requests, partial(self._probe, reduce=reduce, extra_pass=extra_pass))

    def _probe(self, part: list[Request], reduce: Reducer, extra_pass: bool) -> list[Sample]:
        found = self._first_step(part, reduce)
        found = self._two_calls(part, reduce) if extra_pass and not found else found
        samples = []
        for index, request in enumerate(part):
            quantities = {name: value[index].cpu().numpy() for name, value in found.items()}
            if all(np.isfinite(values).all() for values in quantities.values()):
                samples.append(Sample(request, self._no_frames(), guidance=[quantities] if quantities else []))
            else:
                samples.append(self._failed(request, "NaN or infinity in the guidance of the first step"))
        return samples

    def _first_step(self, part: list[Request], reduce: Reducer) -> dict[str, torch.Tensor]:
        denoisers, reader = find_denoisers(self.pipeline), self._reader(part)
        recorder = GuidanceRecorder(denoisers, len(part), reduce, _stop, patience=2, attention=reader)
        with recorder, torch.inference_mode():
            stopped(self.pipeline, (), self._arguments(part))
        return recorder.steps[0] if recorder.steps else {}

    def _two_calls(self, part: list[Request], reduce: Reducer) -> dict[str, torch.Tensor]:
        """The first step with the prompts and with none, from the same noise; nothing where a call is not one branch each."""
        with_prompts, without = (self.first_call(ask) for ask in (part, [replace(request, prompt="") for request in part]))
        given, named, latents, conditional = with_prompts
        sizes = {len(latents), len(conditional), len(without.prediction)}
        if sizes != {len(part)}:  # several branches in a call, as perturbed attention guidance stacks them
            LOGGER.warning("%d prompts make calls of %s samples: no guidance to be had", len(part), sorted(sizes))
            return {}
        branches = by_frame(self.denoiser, given, named, latents, without.prediction, conditional)
        return {} if branches is None else reduce(branches._replace(guiding=False))

    def first_call(self, part: list[Request]) -> DenoiserCall:
        """First call of the denoiser for some requests in one batch; the pipeline goes no further.

        Raises:
            VidmemError: a pipeline that does not call it.
        """
        seen: list[DenoiserCall] = []
        handle = self.denoiser.register_forward_hook(partial(_keep_and_stop, seen), with_kwargs=True)
        try:
            with torch.no_grad():  # no inference_mode: its tensors may not enter a gradient later
                stopped(self.pipeline, (), self._arguments(part))
        finally:
            handle.remove()
        if not seen:
            raise VidmemError("a call of the denoiser", "none", type(self.pipeline).__name__)
        return seen[0]

    def _arguments(self, part: list[Request]) -> dict:
        spec = self.spec
        offered = {
            "prompt": [request.prompt for request in part],
            "negative_prompt": None if spec.negative_prompt is None else [spec.negative_prompt] * len(part),
            "batch_size": len(part),
            **dict.fromkeys(FRAMES, spec.frames),
            **dict.fromkeys(RATES, spec.fps),
            "image": self._first_frames(part),
            "height": spec.size[0],
            "width": spec.size[1],
            "num_inference_steps": spec.steps,
            "guidance_scale": spec.guidance,
            "max_guidance_scale": spec.guidance,
            "generator": [torch_stream(self.seed, request.prompt_id, request.sample) for request in part],
            "output_type": "np",
            "clean_caption": False,  # else it would be cleaned where Beautiful Soup is installed, and only there
        }
        if any(request.embedding is not None for request in part):
            offered |= {"prompt": None, "prompt_embeds": self._embeddings(part)}
        return {name: value for name, value in offered.items() if name in self.accepted and value is not None} | spec.arguments

    def _first_frames(self, part: list[Request]) -> list[Image.Image] | None:
        """Images to start from, of the size they are: the pipeline brings them to its own."""
        if self.spec.first_frame is None:
            return None
        if absent := [request.prompt_id for request in part if request.first_frame is None]:
            raise VidmemError("a first frame of every request", f"none of {absent}", "Request.first_frame")
        return [Image.fromarray(request.first_frame) for request in part]

    def _embeddings(self, part: list[Request]) -> torch.Tensor:
        found = [request.embedding for request in part if request.embedding is not None]
        if "prompt_embeds" not in self.accepted or len(found) < len(part):
            got = f"{type(self.pipeline).__name__}, {len(found)} of {len(part)} requests with an embedding"
            raise VidmemError(
                "a pipeline that takes prompt_embeds, and an embedding for every request", got, "Request.embedding"
            )
        return torch.stack(found).to(self.device, self.denoiser.dtype)


def find_denoisers(pipeline) -> list[torch.nn.Module]:
    """U-Net or transformer of a pipeline; of those that share the steps (Wan 2.2) both, that of the first steps first."""
    parts = (getattr(pipeline, name, None) for name in ("unet", "transformer", "transformer_2"))
    found = [part for part in parts if part is not None]
    if not found:
        raise VidmemError("a pipeline with a unet or transformer", type(pipeline).__name__, "models.pipeline")
    return found


def find_denoiser(pipeline) -> torch.nn.Module:
    """U-Net or transformer of a pipeline, that of the first steps where several share them."""
    return find_denoisers(pipeline)[0]


def end_tokens(pipeline, prompts: Sequence[str], tokens: int) -> torch.Tensor | None:
    """Place of the end token of every prompt among so many tokens, int64 [N]; None without a tokenizer that tells it."""
    tokenizer = getattr(pipeline, "tokenizer", None)
    if tokenizer is None:
        return None
    told = tokenizer(list(prompts), padding="max_length", max_length=tokens, truncation=True, return_tensors="pt")
    return told["attention_mask"].sum(1) - 1 if "attention_mask" in told else None


def adapter_of(settings: dict, machine: dict, seed: int, device: str, attention: bool = False) -> PipelineAdapter:
    """Adapter of a model's keys in the configuration.

    Args:
        settings: those that decide its samples.
        machine: batch and offload, which only say how they are made.
    """
    known = {key: value for key, value in settings.items() if key != "samples"}
    own = {key: machine[key] for key in ("batch", "offload")}
    spec = GenerationSpec(**{**known, "size": tuple(known["size"]), **own})
    return PipelineAdapter(spec, seed, device, attention)


def _stop(number: int, quantities: dict[str, torch.Tensor]) -> None:
    raise StopGeneration


def _keep_and_stop(seen: list, module: torch.nn.Module, given: tuple, named: dict, output) -> None:
    seen.append(DenoiserCall(given, named, denoiser_input(given, named), denoiser_output(output)))
    raise StopGeneration


def stopped(pipeline, args: Sequence, kwargs: dict):
    """Output of a pipeline's call, or None if a hook ended it with StopGeneration; its offloading is then put in order."""
    try:
        return pipeline(*args, **kwargs)
    except StopGeneration:
        pipeline.maybe_free_model_hooks()
        return None


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; PyTorch says it in several ways."""
    text = str(error).lower()
    return (
        isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "out of memory" in text or "can't allocate memory" in text
    )

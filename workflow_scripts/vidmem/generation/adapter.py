"""One adapter for every diffusers pipeline that returns video or images."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from ..base.devices import check_precision
from ..base.logs import LOGGER
from ..base.seeding import torch_stream
from ..errors import VidmemError
from ..models.loading import GenerationSpec, load_pipeline, place_pipeline
from ..models.signatures import FRAMES, RATES
from .attention import AttentionReader
from .denoiser_calls import DenoiserCall, denoiser_input, denoiser_output
from .guidance import GuidanceRecorder, Reducer, StopGeneration, by_frame, guidance_magnitudes
from .limits import check_request, cut_prompt, why_alone
from .output import as_frames, flagged, nothing_to_see
from .own_streams import own_streams
from .readings import AttentionQuantities

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from diffusers.utils import BaseOutput

    from .denoiser_calls import DenoiserOutput


@dataclass(frozen=True)
class Request:
    """One sample to generate. Its prompt id and sample number seed its noise.

    Attributes:
        prompt_id: identity of the prompt.
        prompt: text of the prompt.
        sample: number of the sample among those of its prompt.
        embedding: float [tokens, width], text embedding that replaces the prompt's own; two requests may be equal without it.
        first_frame: uint8 [H, W, 3], for pipelines that start from an image; two requests may be equal without it.
    """

    prompt_id: str
    prompt: str
    sample: int
    embedding: torch.Tensor | None = field(default=None, compare=False, repr=False)
    first_frame: np.ndarray | None = field(default=None, compare=False, repr=False)


@dataclass
class Sample:
    """The outcome of a request.

    Attributes:
        request: the request.
        frames: uint8 [T, H, W, 3]; T = 0 if the request failed.
        status: 'ok' or 'failed'.
        reason: why the request failed. If it did not: how much of the prompt the tokenizers cut off, '' for nothing.
        guidance: a dictionary for each step, quantity -> float [frames]; empty if none was recorded.
    """

    request: Request
    frames: np.ndarray
    status: str = "ok"
    reason: str = ""
    guidance: list[dict[str, np.ndarray]] = field(default_factory=list)


BatchCall = Callable[[list[Request]], list[Sample]]
"""Runs a pipeline for the requests of one batch and returns their samples."""


class PipelineAdapter:
    """A loaded pipeline that answers requests in batches.

    Args:
        spec: the pipeline and how samples are generated with it.
        seed: seed of the run.
        device: 'cpu' or a device of CUDA.
        attention: whether the cross-attention to the prompts is read, too.

    Raises:
        VidmemError: an unknown pipeline or scheduler class, absent weights, or a setting that the pipeline cannot satisfy.
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
        self.batch, self._warned = spec.batch, False  # whether the log already says that guidance was not recorded
        if spec.batch > 1 and (reason := why_alone(loaded, spec)):
            LOGGER.info("%s: one sample a call: %s", spec.pipeline, reason)
            self.batch = 1

    @property
    def prompted(self) -> bool:
        """Whether the pipeline takes a prompt."""
        return "prompt" in self.accepted

    @property
    def conditioned(self) -> bool:
        """Whether the pipeline takes a prompt or a first frame. Only then there is guidance."""
        return self.prompted or self.spec.first_frame is not None

    def generate(self, requests: Sequence[Request]) -> Iterator[list[Sample]]:
        """Generate samples batch by batch. If memory runs out, smaller batches are tried.

        The noise of a sample only depends on the seed, the prompt id and the sample number.

        Raises:
            VidmemError: there are prompts, but the pipeline takes none.
        """
        if not self.conditioned and any(request.prompt for request in requests):
            hint = "set unconditional to a number of clips"
            raise VidmemError("a pipeline that takes prompts", self.spec.pipeline, "models.<name>.pipeline", hint)
        yield from self._in_batches(requests, self._call)

    def _in_batches(self, requests: Sequence[Request], call: BatchCall) -> Iterator[list[Sample]]:
        """Yield samples batch by batch.

        If memory runs out, the batch is halved. If a batch fails, its requests are tried one by one. A request that fails by
        itself becomes a failed sample.
        """
        first = 0
        while first < len(requests):
            batch = list(requests[first : first + self.batch])
            try:
                samples = call(batch)
            except VidmemError:
                raise  # the setting is wrong for every request
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    samples = self._one_by_one(batch, error, call)
                elif len(batch) > 1:
                    self.halve(len(batch))
                    continue
                else:
                    samples = [self._failed(batch[0], "out of memory at one sample a call")]
            except Exception as error:  # a pipeline may raise anything; other requests go on
                samples = self._one_by_one(batch, error, call)
            yield samples
            first += len(batch)

    def halve(self, size: int) -> None:
        """Halve the batch from now on, after `size` samples did not fit into memory."""
        self.batch = max(1, size // 2)
        LOGGER.warning("out of memory with %d samples a call: going on with %d", size, self.batch)
        gc.collect()
        if self.device != "cpu":
            torch.cuda.empty_cache()

    def _one_by_one(self, requests: list[Request], error: Exception, call: BatchCall) -> list[Sample]:
        if len(requests) == 1:
            LOGGER.error("prompt %s failed", requests[0].prompt_id, exc_info=error)
            return [self._failed(requests[0], f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")]
        samples = []
        for request in requests:
            try:
                samples += call([request])
            except Exception as single:
                samples += self._one_by_one([request], single, call)
        return samples

    def _failed(self, request: Request, reason: str) -> Sample:
        return Sample(request, self._no_frames(), "failed", reason)

    def _no_frames(self) -> np.ndarray:
        return np.zeros((0, *self.spec.size, 3), np.uint8)

    def _call(self, requests: list[Request]) -> list[Sample]:
        reader = self._reader(requests)
        scheduler = getattr(self.pipeline, "scheduler", None)
        reduce = guidance_magnitudes if reader is None else AttentionQuantities(scheduler=scheduler)
        recorder = GuidanceRecorder(find_denoisers(self.pipeline), len(requests), reduce, attention=reader)
        arguments = self._arguments(requests)
        with recorder, torch.inference_mode(), own_streams(self.pipeline, arguments["generator"]):
            output = self.pipeline(**arguments)
        if isinstance(reduce, AttentionQuantities):
            reduce.finish(recorder.steps)
        videos, censored = as_frames(output), flagged(output) or [False] * len(requests)
        self._check_shape(videos.shape)
        self._check_recorded(len(recorder.steps))
        samples = []
        for index, (request, video) in enumerate(zip(requests, videos[:, self.spec.drop_frames :], strict=True)):
            guidance = [{name: value[index].cpu().numpy() for name, value in step.items()} for step in recorder.steps]
            if reason := nothing_to_see(video, censored[index]):
                samples.append(self._failed(request, reason))
            else:
                pixels = np.round(np.clip(video, 0, 1) * 255).astype(np.uint8)
                cut = cut_prompt(self.pipeline, self.spec, request.prompt)
                samples.append(Sample(request, pixels, reason=cut, guidance=guidance))
        return samples

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise VidmemError if the frames have another size or number than was asked for. An image is one frame."""
        asked = self.spec.frames if self.accepted & set(FRAMES) else 1
        if shape[1] != asked:
            raise VidmemError(f"{asked} frames", shape[1], "models.<name>.frames")
        if tuple(shape[2:4]) != tuple(self.spec.size):
            raise VidmemError(f"frames of size {tuple(self.spec.size)}", shape[2:4], "models.<name>.size")

    def _reader(self, requests: list[Request]) -> AttentionReader | None:
        """Reader of the attention to the prompts of some requests; None if it is not wanted or there are no prompts."""
        if not self.attention or not self.prompted:
            return None
        prompts = [request.prompt for request in requests]
        return AttentionReader(find_denoisers(self.pipeline), partial(end_tokens, self.pipeline, prompts))

    def _check_recorded(self, steps: int) -> None:
        """Warn once if guidance was recorded at fewer or more steps than were asked for."""
        if self._warned or not self.conditioned or (not steps and self.spec.guidance <= 1):
            return
        if not steps:
            embedded = " (the scale is an input of its network: there is one pass per step, so guidance is not defined)"
            told = embedded if self.denoiser.config.get("guidance_embeds") else ""
            LOGGER.warning("%s: no guidance recorded, because no guidance pass was seen%s", self.spec.pipeline, told)
        elif "num_inference_steps" in self.accepted and steps != self.spec.steps:
            LOGGER.warning("%s: guidance recorded %d times in %d steps", self.spec.pipeline, steps, self.spec.steps)
        else:
            return
        self._warned = True

    def probe(
        self, requests: Sequence[Request], reduce: Reducer = guidance_magnitudes, extra_pass: bool = False
    ) -> Iterator[list[Sample]]:
        """Read the guidance of the first denoising step of every request. Each batch is stopped after this step.

        If memory runs out or requests fail, the adapter acts as in generate.

        Args:
            requests: as for generate. A request starts from the noise that generate gives it.
            reduce: makes the quantities to record of a guidance pass.
            extra_pass: if the pipeline makes no guidance pass, run the first step again with an empty prompt.

        Yields:
            Samples without frames, with the guidance of one step. If a probe failed, status and reason say so. Without a
            guidance pass a sample has no guidance.
        """
        yield from self._in_batches(requests, partial(self._probe, reduce=reduce, extra_pass=extra_pass))

    def _probe(self, requests: list[Request], reduce: Reducer, extra_pass: bool) -> list[Sample]:
        found = self._first_step(requests, reduce)
        found = self._two_calls(requests, reduce) if extra_pass and not found else found
        samples = []
        for index, request in enumerate(requests):
            quantities = {name: value[index].cpu().numpy() for name, value in found.items()}
            if all(np.isfinite(values).all() for values in quantities.values()):
                samples.append(Sample(request, self._no_frames(), guidance=[quantities] if quantities else []))
            else:
                samples.append(self._failed(request, "NaN or infinity in the guidance of the first step"))
        return samples

    def _first_step(self, requests: list[Request], reduce: Reducer) -> dict[str, torch.Tensor]:
        denoisers, reader = find_denoisers(self.pipeline), self._reader(requests)
        recorder = GuidanceRecorder(denoisers, len(requests), reduce, _stop, patience=2, attention=reader)
        with recorder, torch.inference_mode():
            stopped(self.pipeline, (), self._arguments(requests))
        return recorder.steps[0] if recorder.steps else {}

    def _two_calls(self, requests: list[Request], reduce: Reducer) -> dict[str, torch.Tensor]:
        """Quantities of the first step, run with the prompts and without them from equal noise.

        The result is empty if a call of the denoiser does not hold exactly one branch.
        """
        with_prompts, without = (
            self.first_call(ask) for ask in (requests, [replace(request, prompt="") for request in requests])
        )
        given, named, latents, conditional = with_prompts
        sizes = {len(latents), len(conditional), len(without.prediction)}
        if sizes != {len(requests)}:  # a call holds several branches, as in perturbed attention guidance
            LOGGER.warning("no guidance recorded: calls for %d prompts hold %s samples", len(requests), sorted(sizes))
            return {}
        branches = by_frame(self.denoiser, given, named, latents, without.prediction, conditional)
        return {} if branches is None else reduce(branches._replace(guiding=False))

    def first_call(self, requests: list[Request]) -> DenoiserCall:
        """First call of the denoiser for some requests in one batch. The pipeline is stopped after this call.

        Raises:
            VidmemError: the pipeline does not call the denoiser.
        """
        seen: list[DenoiserCall] = []
        handle = self.denoiser.register_forward_hook(partial(_keep_and_stop, seen), with_kwargs=True)
        try:
            with torch.no_grad():  # not inference_mode: its tensors could not enter a gradient later
                stopped(self.pipeline, (), self._arguments(requests))
        finally:
            handle.remove()
        if not seen:
            raise VidmemError("a call of the denoiser", "none", type(self.pipeline).__name__)
        return seen[0]

    def _arguments(self, requests: list[Request]) -> dict:
        spec = self.spec
        offered = {
            "prompt": [request.prompt for request in requests],
            "negative_prompt": None if spec.negative_prompt is None else [spec.negative_prompt] * len(requests),
            "batch_size": len(requests),
            **dict.fromkeys(FRAMES, spec.frames),
            **dict.fromkeys(RATES, spec.fps),
            "image": self._first_frames(requests),
            "height": spec.size[0],
            "width": spec.size[1],
            "num_inference_steps": spec.steps,
            "guidance_scale": spec.guidance,
            "max_guidance_scale": spec.guidance,
            "generator": [torch_stream(self.seed, request.prompt_id, request.sample) for request in requests],
            "output_type": "np",
            "clean_caption": False,  # else captions would be cleaned only where Beautiful Soup is installed
        }
        if any(request.embedding is not None for request in requests):
            offered |= {"prompt": None, "prompt_embeds": self._embeddings(requests)}
        return {name: value for name, value in offered.items() if name in self.accepted and value is not None} | spec.arguments

    def _first_frames(self, requests: list[Request]) -> list[Image.Image] | None:
        """First frames as images in their own size, which the pipeline brings to its size; None if none are wanted."""
        if self.spec.first_frame is None:
            return None
        if absent := [request.prompt_id for request in requests if request.first_frame is None]:
            raise VidmemError("a first frame of every request", f"none of {absent}", "Request.first_frame")
        return [Image.fromarray(request.first_frame) for request in requests if request.first_frame is not None]

    def _embeddings(self, requests: list[Request]) -> torch.Tensor:
        found = [request.embedding for request in requests if request.embedding is not None]
        if "prompt_embeds" not in self.accepted or len(found) < len(requests):
            got = f"{type(self.pipeline).__name__}, {len(found)} of {len(requests)} requests with an embedding"
            raise VidmemError(
                "a pipeline that takes prompt_embeds, and an embedding for every request", got, "Request.embedding"
            )
        return torch.stack(found).to(self.device, self.denoiser.dtype)


def find_denoisers(pipeline: DiffusionPipeline) -> list[torch.nn.Module]:
    """U-Net or transformer of a pipeline. If two transformers share the steps (Wan 2.2), the one of the first steps is first.

    Raises:
        VidmemError: a pipeline without a denoiser.
    """
    networks = (getattr(pipeline, name, None) for name in ("unet", "transformer", "transformer_2"))
    found = [network for network in networks if network is not None]
    if not found:
        raise VidmemError("a pipeline with a unet or transformer", type(pipeline).__name__, "models.pipeline")
    return found


def find_denoiser(pipeline: DiffusionPipeline) -> torch.nn.Module:
    """U-Net or transformer of a pipeline. If several share the steps, the one of the first steps."""
    return find_denoisers(pipeline)[0]


def end_tokens(pipeline: DiffusionPipeline, prompts: Sequence[str], tokens: int) -> torch.Tensor | None:
    """Index of each prompt's end token among `tokens` tokens, int64 [N]; None if no tokenizer tells it."""
    tokenizer = getattr(pipeline, "tokenizer", None)
    if tokenizer is None:
        return None
    told = tokenizer(list(prompts), padding="max_length", max_length=tokens, truncation=True, return_tensors="pt")
    return told["attention_mask"].sum(1) - 1 if "attention_mask" in told else None


def adapter_of(settings: dict, machine: dict, seed: int, device: str, attention: bool = False) -> PipelineAdapter:
    """Load the adapter of a model of the configuration.

    Args:
        settings: keys of the model that decide what its samples are.
        machine: keys batch and offload, which only decide how the samples are computed.
        seed, device, attention: as in PipelineAdapter.
    """
    known = {key: value for key, value in settings.items() if key != "samples"}
    own = {key: machine[key] for key in ("batch", "offload")}
    spec = GenerationSpec(**{**known, "size": tuple(known["size"]), **own})
    return PipelineAdapter(spec, seed, device, attention)


def _stop(number: int, quantities: dict[str, torch.Tensor]) -> None:
    raise StopGeneration


def _keep_and_stop(seen: list, module: torch.nn.Module, given: tuple, named: dict, output: DenoiserOutput) -> None:
    seen.append(DenoiserCall(given, named, denoiser_input(given, named), denoiser_output(output)))
    raise StopGeneration


def stopped(pipeline: DiffusionPipeline, args: Sequence, kwargs: dict) -> BaseOutput | None:
    """Call a pipeline. Returns its output, or None if a hook ended the call with StopGeneration.

    After such an end the pipeline's offloaded parts are brought back in order, so that it can be called again.
    """
    try:
        return pipeline(*args, **kwargs)
    except StopGeneration:
        pipeline.maybe_free_model_hooks()
        return None


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out. PyTorch reports this in several ways."""
    text = str(error).lower()
    return (
        isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "out of memory" in text or "can't allocate memory" in text
    )

"""Inversion of many images at once: one network batch holds several images, each with its own history.

Images are independent: their losses are summed, Adam is element-wise, and every random number comes from a stream keyed by
(seed, image id, check). So the score of an image does not depend on the other images of the batch. A run that was killed goes
on from its last checkpoint and ends with equal results. No step makes the CPU wait for the GPU.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from ..base.logs import LOGGER
from ..base.seeding import seed_of
from ..base.store import hash_frames, hash_text, write_atomic
from ..errors import VidmemError
from ..models.loading import frozen
from .acceptance import AcceptanceRule, Similarity, accept
from .adapters import InvertibleModel, full_precision
from .conditioning import Conditioning
from .objective import divergence, prediction_error
from .sampling import dry_step, sample
from .schedule import AdaptiveWeights, WeightRule

Describe = Callable[[np.ndarray], np.ndarray]
"""Function from frames uint8 [M, H, W, 3] to descriptors float [M, d], unit norm."""

Report = Callable[[int, int, int], None]
"""Function that is told the numbers of images done, replicated and censored (not replicated)."""

ARRAYS = ("mean", "log_variance", "replays")

State = dict[str, torch.Tensor]
"""Tensors of all active images by name, [S, ...] each: noise, moments of Adam, weight of the divergence, target, prompt."""


@dataclass(frozen=True)
class InversionPlan:
    """How images are inverted.

    Attributes:
        weights: rule for the weight of the divergence; its check_every is C in the papers.
        acceptance: rule of the acceptance test.
        steps: most steps for an image.
        batch: noises and times that each image draws in a step (B).
        rate: learning rate of Adam.
        sampler: scheduler class that draws the samples of the acceptance test.
        sampler_steps: network evaluations of this sampler.
        mode: how the model is conditioned, one of conditioning.MODES.
        gradient_clip: largest norm of an image's gradient; None, as in the official code, for no limit.
        prior_check: whether the acceptance test also runs before the first step, which the official code never does.
        refine: number of checks for which an image goes on after its first success, to find a lower score that still passes.
        sample_batch: number of samples in one network batch of the acceptance test.
        memory: most bytes for soft prompts.
        replays: number of samples drawn at the end from the found noise, and again from the prior, for people to look at.
    """

    weights: WeightRule
    acceptance: AcceptanceRule
    steps: int = 2000
    batch: int = 32
    rate: float = 0.1
    sampler: str = "DDIMScheduler"
    sampler_steps: int = 50
    mode: str = "none"
    gradient_clip: float | None = None
    prior_check: bool = False
    refine: int = 0
    sample_batch: int = 64
    memory: int = 16 * 2**30
    replays: int = 0


@dataclass(frozen=True)
class Target:
    """Image or clip that an inversion looks for.

    Attributes:
        image_id: its clip id.
        frames: uint8 [T, H, W, 3]; an image is a clip of one frame.
        caption: its caption, '' for none.
    """

    image_id: str
    frames: np.ndarray
    caption: str = ""


@dataclass
class Inversion:
    """Outcome for an image.

    Attributes:
        image_id: clip id of the image.
        status: 'replicated', 'not_replicated' (within the given steps) or 'diverged'.
        score: divergence of a replicated image in nats per dimension; otherwise +inf, a censored value.
        mean_part, variance_part: the two parts of the divergence of the found noise.
        trace: similarity of the first noise's sample at every check (Acceptance.first).
        steps, network_calls, seconds: cost of the image; the seconds are its share of the seconds of its batch.
        mean, log_variance: the found noise, float32 [*shape].
        prompt: tensors optimised with the noise, by name: none, 'words' (logits of a soft prompt) or free embeddings.
        scale: guidance scale of the test in which the noise was found, or of the latest test.
        replays: uint8 [2, plan.replays, T, H, W, 3], samples from the found noise, and from the prior with the same prompt.
    """

    image_id: str
    status: str
    score: float
    mean_part: float
    variance_part: float
    trace: list[float]
    steps: int
    network_calls: int
    seconds: float
    mean: np.ndarray = field(repr=False)
    log_variance: np.ndarray = field(repr=False)
    replays: np.ndarray = field(repr=False)
    prompt: dict[str, np.ndarray] = field(repr=False)
    scale: float = 1.0

    @property
    def best_similarity(self) -> float:
        """Highest value of the trace; -1 if no check was made. It ranks the images with a censored score."""
        return max(self.trace, default=-1.0)


@dataclass
class _Slot:
    """History of an image that is being inverted, without its tensors on the device."""

    target: int
    checks: int = 0
    trace: list[float] = field(default_factory=list)
    calls: int = 0
    seconds: float = 0.0
    found: int = -1  # number of the first check that passed
    score: float = math.inf  # lowest score of a check that passed
    best: State = field(default_factory=dict)  # optimised tensors at that check
    diverged: bool = False
    scale: int = 0  # index of the guidance scale at that check; without one, at the latest check


class Inverter:
    """Inverts a queue of targets, `slots` of them at a time.

    Args:
        model: adapter of a pipeline.
        plan: how images are inverted.
        describe: function that computes descriptors of frames.
        seed: seed of every random stream.
        slots: number of images in one network batch, which then holds slots * plan.batch samples.

    Raises:
        VidmemError: the plan does not fit the model, or soft prompts need more memory than the plan allows.
    """

    def __init__(self, model: InvertibleModel, plan: InversionPlan, describe: Describe, seed: int, slots: int = 4):
        self.model, self.plan, self.describe, self.seed, self.slots = model, plan, describe, seed, slots
        if model.dtype != torch.float32 and getattr(model.path, "prediction", "") == "epsilon":
            hint = "an epsilon rounded to half precision adds up to 0.07 to the error; its progress threshold is 0.001"
            raise VidmemError("float32 weights for a model of epsilon", str(model.dtype), "inversion.dtype", hint)
        self.conditioning = Conditioning(model, plan.mode)
        needed = self.conditioning.bytes_needed(slots, plan.batch)
        if needed > plan.memory:
            got = f"{needed / 2**30:.1f} GiB for {slots} prompts over {model.vocabulary} tokens"
            raise VidmemError(
                f"at most {plan.memory / 2**30:.1f} GiB", got, "inversion.memory", "fewer slots, or mode embedding"
            )
        if not model.prompted and set(plan.acceptance.scales) != {1.0}:
            raise VidmemError("guidance scales (1.0,) for a model without a prompt", plan.acceptance.scales, "inversion.scales")
        if plan.steps % plan.weights.check_every:
            raise VidmemError(
                f"steps that are a multiple of check_every = {plan.weights.check_every}", plan.steps, "inversion.steps"
            )
        self.sampler_calls = dry_step(model, plan.sampler, plan.sampler_steps)
        self.silence = model.embed([""])

    def run(
        self,
        targets: Sequence[Target],
        checkpoint: Path | None = None,
        every: int = 4,
        report: Report | None = None,
        identity: str = "",
        keep: bool = False,
    ) -> list[Inversion]:
        """Invert targets.

        Args:
            targets: images or clips, each with an id of its own.
            checkpoint: file from which a killed run goes on.
            every: number of checks between two writes of the checkpoint.
            report: function that is called after every check.
            identity: text that identifies model and descriptor. A checkpoint of another identity, other targets or another plan
                is not used, and the inversion starts anew.
            keep: whether the checkpoint is kept at the end, with all results; otherwise it is removed.

        Returns:
            Outcome of each target, in order.
        """
        if len({target.image_id for target in targets}) < len(targets):
            raise VidmemError("one id a target", "the same id twice", "Inverter.run")
        self.targets, self.next = list(targets), 0
        self.results: dict[int, Inversion] = {}
        self.active: list[_Slot] = []
        self.clean = [self.model.encode(target.frames) for target in targets]
        self.wanted = [np.asarray(self.describe(target.frames), np.float32) for target in targets]
        self.state: State = {}
        self.identity = hash_text(identity, self._identity())
        if checkpoint is not None and checkpoint.exists():
            self._load(checkpoint)
        with frozen(self.model.pipeline), full_precision():
            self._work(checkpoint, every, report)
        if checkpoint is not None and keep:
            self._save(checkpoint)
        elif checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
        return [self.results[place] for place in range(len(targets))]

    def _work(self, checkpoint: Path | None, every: int, report: Report | None) -> None:
        periods = 0
        while self.active or self.next < len(self.targets):
            self._refill()
            self._advance()
            periods += 1
            if checkpoint is not None and periods % every == 0:
                self._save(checkpoint)
            if report is not None:
                replicated = sum(result.status == "replicated" for result in self.results.values())
                report(len(self.results), replicated, len(self.results) - replicated)

    def _fresh(self, target: int) -> State:
        """Tensors [1, ...] of a target before its first step."""
        device = self.model.device
        zeros = torch.zeros(1, *self.model.shape, device=device)
        free = {"mean": zeros, "log_variance": zeros.clone()} | self.conditioning.free()
        self.optimised = tuple(free)
        moments = {
            f"{moment}.{name}": torch.zeros_like(value) for name, value in free.items() for moment in ("first", "second")
        }
        weights = {f"weight.{name}": value for name, value in AdaptiveWeights(self.plan.weights, 1, device).state().items()}
        given = {"count": torch.zeros(1, device=device), "clean": self.clean[target][None].to(device)}
        return free | moments | weights | given | self.conditioning.given(self.targets[target].caption)

    def _refill(self) -> None:
        while len(self.active) < self.slots and self.next < len(self.targets):
            fresh = self._fresh(self.next)
            self.state = {name: torch.cat([self.state[name], fresh[name]]) if self.state else fresh[name] for name in fresh}
            self.active.append(_Slot(self.next))
            self.next += 1
            if self.plan.prior_check:
                self._test([len(self.active) - 1])
        self._close()

    def _advance(self) -> None:
        """Take the steps of all active images up to their next check, and run the check."""
        if not self.active:
            return
        began, plan = time.monotonic(), self.plan
        weights = AdaptiveWeights(plan.weights, len(self.active), self.model.device)
        weights.load({name.removeprefix("weight."): value for name, value in self.state.items() if name.startswith("weight.")})
        streams = [self._stream(slot, "steps") for slot in self.active]
        for step in range(plan.weights.check_every):
            self._step(streams, weights, check=step == plan.weights.check_every - 1)
        self.state |= {f"weight.{name}": value for name, value in weights.state().items()}
        for slot in self.active:
            slot.checks += 1
            slot.calls += plan.weights.check_every * plan.batch
            slot.seconds += (time.monotonic() - began) / len(self.active)
        self._test(range(len(self.active)))
        self._close()

    def _stream(self, slot: _Slot, purpose: str) -> torch.Generator:
        """Random stream of an image up to its next check. It is new after every check, so checkpoints need not save it."""
        seed = seed_of("inversion", self.seed, self.targets[slot.target].image_id, purpose, slot.checks)
        return torch.Generator(self.model.device).manual_seed(seed)

    def _step(self, streams: list[torch.Generator], weights: AdaptiveWeights, check: bool) -> None:
        model, batch = self.model, self.plan.batch
        free = {name: self.state[name].detach().requires_grad_() for name in self.optimised}
        noise = torch.stack([_normal((batch, *model.shape), stream) for stream in streams])
        times = torch.cat([model.path.draw(batch, stream) for stream in streams])
        start = free["mean"][:, None] + (free["log_variance"] / 2).exp()[:, None] * noise
        clean = self.state["clean"].repeat_interleave(batch, 0)
        noisy = model.path.mix(clean, start.flatten(0, 1), times)
        told = self.conditioning.told(self.state | free, streams, batch)
        output = model.predict(noisy, model.path.network_time(times), told)
        error = prediction_error(model.path, clean, noisy, output, times).reshape(-1, batch).mean(1)
        loss = error + weights.value * sum(divergence(free["mean"], free["log_variance"]))
        gradients = torch.autograd.grad(loss.sum(), list(free.values()))
        self._adam(dict(zip(free, gradients, strict=True)))
        weights.advance(error if self.plan.weights.monitor == "prediction" else loss, check)

    @torch.no_grad()
    def _adam(self, gradients: State, betas: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8) -> None:
        """Step of Adam (Kingma & Ba 1412.6980), element by element, with a step count for every image."""
        state, count = self.state, self.state["count"] + 1
        scale = _norm_scale(gradients, self.plan.gradient_clip)
        for name, gradient in gradients.items():
            wide = (-1, *[1] * (gradient.ndim - 1))
            gradient = gradient if scale is None else gradient * scale.reshape(wide)
            first = state[f"first.{name}"].lerp(gradient, 1 - betas[0])
            second = state[f"second.{name}"] * betas[1] + gradient.square() * (1 - betas[1])
            unbiased = first / (1 - betas[0] ** count).reshape(wide)
            spread = (second / (1 - betas[1] ** count).reshape(wide)).sqrt() + epsilon
            state |= {f"first.{name}": first, f"second.{name}": second, name: state[name] - self.plan.rate * unbiased / spread}
        state["count"] = count

    @torch.no_grad()
    def _test(self, places: Sequence[int]) -> None:
        """Run the acceptance test for the active images at some places."""
        began, plan, slots = time.monotonic(), self.plan, [self.active[place] for place in places]
        index = torch.tensor(list(places), device=self.model.device)
        state = {name: value[index] for name, value in self.state.items()}
        streams = [self._stream(slot, "test") for slot in slots]
        noise = torch.stack([_normal((plan.acceptance.samples, *self.model.shape), stream) for stream in streams])
        starts = state["mean"][:, None] + (state["log_variance"] / 2).exp()[:, None] * noise
        told = self.conditioning.told(state, streams, 1)  # an image's noises share one soft prompt, as in the official code
        parts = torch.stack(divergence(state["mean"], state["log_variance"])).tolist()
        finite = torch.isfinite(starts.flatten(1)).all(1).tolist()
        outcome = accept(self._compare(slots, starts, told), len(slots), plan.acceptance)
        for place, slot in enumerate(slots):
            slot.trace.append(float(outcome.first[place]))
            slot.calls += int(outcome.calls[place] * self.sampler_calls)
            slot.seconds += (time.monotonic() - began) * float(outcome.calls[place] / outcome.calls.sum())
            slot.diverged, score = not finite[place], parts[0][place] + parts[1][place]
            if outcome.passed[place] and finite[place] and score < slot.score:
                slot.found, slot.score = slot.checks if slot.found < 0 else slot.found, score
                slot.best = {name: state[name][place].cpu() for name in self.optimised}
                slot.scale = int(outcome.scale[place])
            elif not slot.best:
                slot.scale = int(outcome.scale[place])

    def _compare(self, slots: list[_Slot], starts: torch.Tensor, told: State) -> Similarity:
        """Function that draws samples and compares them with their targets, for the acceptance test."""
        plan, scales = self.plan, np.array(self.plan.acceptance.scales)

        def part(image: np.ndarray, noise: np.ndarray, scale: np.ndarray) -> np.ndarray:
            index = torch.from_numpy(image).to(starts.device)
            own = {name: value[index] for name, value in told.items()}
            chosen = torch.tensor(scales[scale], dtype=torch.float32)
            streams = [self._stream(slots[i], f"sampler {j} {k}") for i, j, k in zip(image, noise, scale, strict=True)]
            frames = sample(
                self.model,
                starts[index, torch.from_numpy(noise)],
                own,
                self.silence,
                chosen,
                plan.sampler,
                plan.sampler_steps,
                streams,
            )
            found = np.asarray(self.describe(frames.reshape(-1, *frames.shape[2:])), np.float32)
            wanted = np.stack([self.wanted[slots[i].target] for i in image])
            # Each frame is compared with the target's frame at its place; the least similar frame counts for the clip.
            return (found.reshape(wanted.shape) * wanted).sum(-1).min(1)

        def similarity(image: np.ndarray, noise: np.ndarray, scale: np.ndarray) -> np.ndarray:
            cuts = range(0, len(image), plan.sample_batch)
            return np.concatenate([part(*(of[cut : cut + plan.sample_batch] for of in (image, noise, scale))) for cut in cuts])

        return similarity

    def _close(self) -> None:
        """Turn finished images into results, and keep the other images active."""
        done = [place for place, slot in enumerate(self.active) if self._finished(slot)]
        if not done:
            return
        parts = torch.stack(divergence(self.state["mean"], self.state["log_variance"])).tolist()
        for place in done:
            slot = self.active[place]
            self.results[slot.target] = self._outcome(slot, place, [part[place] for part in parts])
        kept = [place for place in range(len(self.active)) if place not in done]
        index = torch.tensor(kept, dtype=torch.int64, device=self.model.device)
        self.state = {name: value[index] for name, value in self.state.items()} if kept else {}
        self.active = [self.active[place] for place in kept]

    def _finished(self, slot: _Slot) -> bool:
        # No score is below zero, so an image that the prior itself reproduces is done.
        refined = slot.score == 0 or (slot.found >= 0 and slot.checks - slot.found >= self.plan.refine)
        return refined or slot.diverged or slot.checks * self.plan.weights.check_every >= self.plan.steps

    def _outcome(self, slot: _Slot, place: int, parts: list[float]) -> Inversion:
        status = "replicated" if slot.best else "diverged" if slot.diverged else "not_replicated"
        found = slot.best or {name: self.state[name][place].cpu() for name in self.optimised}
        if slot.best:
            parts = [float(part) for part in divergence(found["mean"][None], found["log_variance"][None])]
        scale, stream = self.plan.acceptance.scales[slot.scale], self._stream(slot, "replay")
        caption = self.targets[slot.target].caption
        replays = replay(self.model, found, self.plan, self.plan.replays, stream, caption, scale)
        arrays = {name: value.numpy() for name, value in found.items()}
        return Inversion(
            self.targets[slot.target].image_id, status, slot.score, parts[0], parts[1], slot.trace,
            slot.checks * self.plan.weights.check_every, slot.calls, slot.seconds, arrays.pop("mean"),
            arrays.pop("log_variance"), replays, arrays, scale,
        )  # fmt: skip

    # Checkpoints are written right after a check, when no random stream has a state that would have to be saved.

    def _identity(self) -> str:
        images = [(target.image_id, hash_frames(target.frames), target.caption) for target in self.targets]
        return hash_text(json.dumps(asdict(self.plan)), self.seed, str(self.model.device), images)

    def _save(self, path: Path) -> None:
        slots = [vars(slot) for slot in self.active]
        results = [
            {**vars(result), "target": target, **{name: torch.from_numpy(getattr(result, name)) for name in ARRAYS},
             "prompt": {name: torch.from_numpy(value) for name, value in result.prompt.items()}}
            for target, result in self.results.items()
        ]  # fmt: skip
        content = {"identity": self.identity, "next": self.next, "state": self.state, "slots": slots, "results": results}
        write_atomic(path, lambda file: torch.save(content, file))

    def _load(self, path: Path) -> None:
        content = torch.load(path, weights_only=True, map_location=self.model.device)
        if content["identity"] != self.identity:
            LOGGER.warning("%s belongs to another model, plan or set of targets: the inversion starts anew", path)
            return
        self.next, self.state = content["next"], content["state"]
        self.optimised = tuple(["mean", "log_variance", *self.conditioning.free()])
        self.active = [
            _Slot(**{**slot, "best": {name: value.cpu() for name, value in slot["best"].items()}}) for slot in content["slots"]
        ]
        for result in content["results"]:
            arrays = {name: result[name].cpu().numpy() for name in ARRAYS}
            arrays["prompt"] = {name: value.cpu().numpy() for name, value in result["prompt"].items()}
            target = result.pop("target")
            self.results[target] = Inversion(**{**result, **arrays})


@torch.no_grad()
def replay(
    model: InvertibleModel,
    found: State,
    plan: InversionPlan,
    count: int,
    stream: torch.Generator,
    caption: str = "",
    scale: float = 1.0,
) -> np.ndarray:
    """Draw samples from the noise that an inversion found, and as many from the prior with the same prompt.

    Args:
        model: the inverted model.
        found: mean, log_variance and, in the modes prompt and embedding, the tensors optimised with them; [...] each.
        plan: plan of the inversion.
        count: number of samples from the found noise, and from the prior.
        stream: random stream on the model's device; both kinds of samples use the same draws.
        caption: caption of the target, for the mode caption.
        scale: guidance scale.

    Returns:
        uint8 [2, count, T, H, W, 3].
    """
    if not count:
        return np.zeros((2, 0, model.shape[1] if model.video else 1, *model.size, 3), np.uint8)
    conditioning, found = Conditioning(model, plan.mode), {name: value.to(model.device) for name, value in found.items()}
    noise = _normal((count, *model.shape), stream)
    starts = torch.cat([found["mean"] + (found["log_variance"] / 2).exp() * noise, noise])
    state = {name: value[None] for name, value in found.items()} | conditioning.given(caption)
    told = {name: value.expand(2 * count, *value.shape[1:]) for name, value in conditioning.told(state, [stream], 1).items()}
    scales, streams = torch.full((2 * count,), scale), [stream] * (2 * count)
    frames = sample(model, starts, told, model.embed([""]), scales, plan.sampler, plan.sampler_steps, streams)
    return frames.reshape(2, count, *frames.shape[1:])


def _normal(shape: tuple[int, ...], stream: torch.Generator) -> torch.Tensor:
    return torch.randn(shape, generator=stream, device=stream.device)


def _norm_scale(gradients: State, limit: float | None) -> torch.Tensor | None:
    """Factor [S] that reduces the gradient of each image to a norm of at most the limit; None without a limit."""
    if limit is None:
        return None
    norm = sum(gradient.flatten(1).square().sum(1) for gradient in gradients.values()).sqrt()
    return (limit / norm.clamp(min=1e-12)).clamp(max=1)

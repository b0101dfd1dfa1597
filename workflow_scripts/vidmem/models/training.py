"""Training of the reference models: planted copies are sampling weights, images join as clips that stand still.

Every random draw of a step comes from a stream keyed by (seed, step): a run killed and resumed from a checkpoint
takes the same steps as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet3DConditionModel
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..errors import VidmemError
from ..seeding import torch_stream
from ..store import hash_text, write_atomic

Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class DiffusionPlan:
    """How a reference model is trained.

    Attributes:
        steps: optimiser steps.
        batch: clips a step.
        rate: peak learning rate, in AdamW's scale; linear warm-up, cosine decay to zero.
        ema: decay of the weight average, which is what is saved.
        drop: share of captions replaced by the empty one, for classifier-free guidance.
        image_every: every so many steps a batch of still images instead, each repeated to a clip's length (trained
            as clips of one frame, what is learnt does not cross to generated clips); 0 for never.
        snr_cap: an error of the clean sample counts as the signal-to-noise ratio of its step, within 1 and this: 1 weighs
            all steps alike, more teaches the last, fine steps of a sampler better.
        checkpoint_every: steps between checkpoints.
        exports: steps after which the average so far is given out as a model of its own.
    """

    steps: int
    batch: int = 8
    rate: float = 5e-3
    ema: float = 0.999
    drop: float = 0.1
    image_every: int = 5
    snr_cap: float = 1.0
    checkpoint_every: int = 500
    exports: tuple[int, ...] = ()
    seed: int = 0


@dataclass
class TrainingSet:
    """Latents of the members and how often each is seen.

    Attributes:
        clips: float [N, T, C, h, w], T = 1 for image models; captions and copies: N each.
        images: float [M, 1, C, h, w], M may be 0; image_captions and image_copies: M each.
    """

    clips: torch.Tensor
    captions: list[str]
    copies: np.ndarray
    images: torch.Tensor
    image_captions: list[str] = field(default_factory=list)
    image_copies: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self):
        for name, count, other in (
            ("captions", len(self.captions), len(self.clips)),
            ("copies", len(self.copies), len(self.clips)),
            ("image_captions", len(self.image_captions), len(self.images)),
        ):
            if count != other:
                raise VidmemError(f"{other} {name}", count, "TrainingSet")
        if not len(self.clips) or not np.all(np.asarray(self.copies) > 0):
            raise VidmemError("at least one clip, each with copies > 0", list(self.copies), "TrainingSet")


class DiffusionTrainer:
    """One training run of a reference pipeline: step, average, checkpoint, resume."""

    def __init__(self, pipeline, data: TrainingSet, plan: DiffusionPlan, device: str = "cpu"):
        self.pipeline, self.data, self.plan, self.device = pipeline, data, plan, torch.device(device)
        # In evaluation mode: the video U-Net's dropout would blur what is to be memorised, and draw unkeyed noise.
        self.networks = {"unet": pipeline.unet.to(self.device).eval()}
        self.tokenizer = getattr(pipeline, "tokenizer", None)
        if self.tokenizer is not None:
            self.networks["text_encoder"] = pipeline.text_encoder.to(self.device).eval()
        self.average = {name: value.detach().clone() for name, value in self._parameters()}
        self.optimiser = MatrixOptimiser(dict(self._parameters()), plan.rate)
        self.step, self.seconds, self.losses = 0, 0.0, []

    def _identity(self) -> str:
        """Digest of the data and of the plan, without its length: a run may be prolonged, not changed."""
        from dataclasses import asdict

        plan = {
            name: value for name, value in asdict(self.plan).items() if name not in ("steps", "checkpoint_every", "exports")
        }
        data = self.data
        tensors = [hash_text(part.contiguous().cpu().numpy().tobytes().hex()) for part in (data.clips, data.images)]
        return hash_text(plan, *tensors, data.captions, list(data.copies), data.image_captions, list(data.image_copies))

    def _parameters(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        for network, module in self.networks.items():
            for name, value in module.named_parameters():
                yield f"{network}.{name}", value

    def run(self, checkpoint: Path | str | None, report: Progress, export: Callable[[int], None] | None = None) -> None:
        """Train to the planned number of steps, from the checkpoint if there is one.

        Args:
            checkpoint: file of the state, for a run that is killed.
            report: told the step and the loss every fifty steps.
            export: called with the step at those of plan.exports, the averaged weights in the pipeline.
        """
        if checkpoint is not None and Path(checkpoint).exists():
            self.load(checkpoint)
        began, losses = time.monotonic() - self.seconds, []
        while self.step < self.plan.steps:
            losses.append(self._take_step())
            self.step += 1
            if self.step % 50 == 0:
                self.losses.append(float(torch.stack(losses).mean()))
                losses.clear()
                report(self.step, self.losses[-1])
            self.seconds = time.monotonic() - began
            if export is not None and self.step in self.plan.exports:
                with self.averaged():
                    export(self.step)
            if checkpoint is not None and self.step % self.plan.checkpoint_every == 0:
                self.save(checkpoint)

    def _take_step(self) -> torch.Tensor:
        plan, stream = self.plan, torch_stream("train", self.plan.seed, self.step)
        latents, captions = self._draw(stream)
        self.optimiser.set_rate(plan.rate * _annealing(self.step, plan.steps, warm_up=200))
        with _autocast(self.device), _attention(self.device):
            text = self._embed(captions, latents)
            loss = denoising_loss(self.pipeline.unet, self.pipeline.scheduler, latents, text, stream, plan.snr_cap)
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([value for _, value in self._parameters()], 1.0)
        self.optimiser.step()
        self._update_average()
        return loss.detach()

    def _draw(self, stream: torch.Generator) -> tuple[torch.Tensor, list[str]]:
        plan, data = self.plan, self.data
        still = len(data.images) and plan.image_every and self.step % plan.image_every == plan.image_every - 1
        latents, captions, copies = (
            (data.images, data.image_captions, data.image_copies) if still else (data.clips, data.captions, data.copies)
        )
        weights = torch.as_tensor(np.asarray(copies, dtype=np.float64))
        chosen = torch.multinomial(weights, plan.batch, replacement=True, generator=stream)
        dropped = torch.rand(plan.batch, generator=stream) < plan.drop
        texts = ["" if drop else captions[index] for index, drop in zip(chosen.tolist(), dropped.tolist())]
        return latents[chosen].expand(-1, data.clips.shape[1], -1, -1, -1).to(self.device), texts

    def _embed(self, captions: list[str], latents: torch.Tensor) -> torch.Tensor | None:
        if self.tokenizer is None:
            width = self.pipeline.unet.config.get("cross_attention_dim")
            return None if width is None else latents.new_zeros(len(captions), 1, width)
        tokens = self.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").to(self.device)
        return self.pipeline.text_encoder(tokens.input_ids).last_hidden_state

    def _update_average(self) -> None:
        # Warm-up of the average: a fixed decay would carry the random start for thousands of steps.
        decay = min(self.plan.ema, (1 + self.step) / (10 + self.step))
        names, values = zip(*self._parameters())
        torch._foreach_lerp_([self.average[name] for name in names], [value.detach() for value in values], 1 - decay)

    def use_average(self) -> None:
        """Put the averaged weights into the pipeline."""
        for name, value in self._parameters():
            value.data.copy_(self.average[name])

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The averaged weights in the pipeline for a while."""
        current = {name: value.detach().clone() for name, value in self._parameters()}
        self.use_average()
        try:
            yield
        finally:
            for name, value in self._parameters():
                value.data.copy_(current[name])

    def save(self, path: Path | str) -> None:
        """Write everything a resumed run needs, whole or not at all."""
        state = {
            "weights": {name: value.detach() for name, value in self._parameters()},
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "counters": {"step": self.step, "seconds": self.seconds, "losses": self.losses, "identity": self._identity()},
        }
        write_atomic(path, lambda file: torch.save(state, file))

    def load(self, path: Path | str) -> None:
        """Resume from a checkpoint this class wrote."""
        state = torch.load(path, weights_only=True, map_location=self.device)
        shapes = {name: value.shape for name, value in state["weights"].items()}
        same = shapes == {name: value.shape for name, value in self.average.items()}
        if not same or state["counters"].get("identity") != self._identity():
            raise VidmemError("a checkpoint of this run", "one of other data, plan or architecture", str(path), "delete it")
        for name, value in self._parameters():
            value.data.copy_(state["weights"][name])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        counters = state["counters"]
        self.step, self.seconds, self.losses = counters["step"], counters["seconds"], list(counters["losses"])


def denoising_loss(
    unet, scheduler, latents: torch.Tensor, text: torch.Tensor | None, stream: torch.Generator, snr_cap: float = 1.0
) -> torch.Tensor:
    """Mean squared error of the prediction at uniformly drawn steps, whatever the scheduler says is predicted.

    Args:
        unet: of video, or of images, which then sees the only frame of each clip.
        latents: float [B, T, C, h, w].
        text: [B, L, E]; None for a network that takes none.
        stream: CPU generator.
        snr_cap: see DiffusionPlan; of predictions other than the clean sample it must be 1.

    Returns:
        Scalar.
    """
    clean = latents.transpose(1, 2) if isinstance(unet, UNet3DConditionModel) else latents[:, 0]
    noise = torch.randn(clean.shape, generator=stream).to(clean)
    times = torch.randint(scheduler.config.num_train_timesteps, (len(clean),), generator=stream).to(clean.device)
    noisy = scheduler.add_noise(clean, noise, times)
    kind = scheduler.config.prediction_type
    target = {"sample": clean, "epsilon": noise}.get(kind)
    target = scheduler.get_velocity(clean, noise, times) if kind == "v_prediction" else target
    told = {} if text is None else {"encoder_hidden_states": text}
    output = unet(noisy, times, **told).sample.float()
    if snr_cap == 1:
        return functional.mse_loss(output, target)
    if kind != "sample":
        raise VidmemError("prediction type sample with snr_cap", kind, "DiffusionPlan.snr_cap", "leave it at 1")
    alpha = scheduler.alphas_cumprod.to(times.device)[times]
    weight = (alpha / (1 - alpha)).clamp(1, snr_cap)
    return (weight * (output - target).square().flatten(1).mean(1)).mean()


def _annealing(step: int, steps: int, warm_up: int) -> float:
    return min(1.0, (step + 1) / warm_up) * (0.5 + 0.5 * float(np.cos(np.pi * step / max(1, steps))))


class MatrixOptimiser:
    """Muon for the hidden matrices and kernels, AdamW for the rest (embeddings, first and last layer, norms, biases).

    Muon learns these models in fewer steps than AdamW (docs/methods.md has the trial). torch's takes matrices only: a kernel is
    handed to it as a view [out, everything else] of its own memory.

    Args:
        parameters: by name; a name that contains 'embedding', 'conv_in' or 'conv_out' is left to AdamW.
        rate: learning rate of both, Muon's update scaled to the size of AdamW's.
    """

    def __init__(self, parameters: dict[str, torch.nn.Parameter], rate: float):
        outer = ("embedding", "conv_in", "conv_out")
        matrices = {
            name: value for name, value in parameters.items() if value.ndim > 1 and not any(part in name for part in outer)
        }
        self.kernels = [(value, torch.nn.Parameter(value.detach().flatten(1))) for value in matrices.values()]
        rest = [value for name, value in parameters.items() if name not in matrices]
        flat = [matrix for _, matrix in self.kernels]
        self.muon = torch.optim.Muon(flat, lr=rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
        self.adam = torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.99), weight_decay=0.0)

    def set_rate(self, rate: float) -> None:
        """Learning rate of the next step."""
        for group in self.muon.param_groups + self.adam.param_groups:
            group["lr"] = rate

    def zero_grad(self) -> None:
        """Forget the gradients of every parameter."""
        self.adam.zero_grad(set_to_none=True)
        for kernel, _ in self.kernels:
            kernel.grad = None

    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for kernel, matrix in self.kernels:
            matrix.grad = None if kernel.grad is None else kernel.grad.flatten(1)
        self.muon.step()
        self.adam.step()

    def state_dict(self) -> dict:
        """What a resumed run needs."""
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        """Take up a state of state_dict."""
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])


def _autocast(device: torch.device | str):
    """bfloat16 where the processor multiplies it; the losses and the weights stay in float32."""
    kind = torch.device(device).type
    fast = torch.cuda.is_bf16_supported() if kind == "cuda" else _cpu_has_bf16()
    return torch.autocast(kind, torch.bfloat16, enabled=fast)


def _attention(device: torch.device):
    """Plain attention on the CPU: its fused kernel is slower on sequences of a few frames (a fifth of a step)."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def _cpu_has_bf16() -> bool:
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def images_of(frames: np.ndarray) -> torch.Tensor:
    """float [N, 3, H, W] in -1..1 of uint8 [N, H, W, 3]."""
    return torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1

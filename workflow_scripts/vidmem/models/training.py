"""Training of the reference models: the number of copies of a clip is its sampling weight, and images are clips without motion.

Every random draw of a step comes from a stream keyed by (seed, step). A run that is killed and resumed from a checkpoint
therefore takes exactly the steps of an uninterrupted run.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline, SchedulerMixin, UNet3DConditionModel
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..base.logs import LOGGER, Progress
from ..base.seeding import torch_stream
from ..base.store import hash_text, write_atomic
from ..errors import VidmemError
from .training_set import TrainingSet

Report = Callable[[int, float], None]


@dataclass(frozen=True)
class DiffusionPlan:
    """How a reference model is trained.

    Attributes:
        steps: optimiser steps.
        batch: clips in a step.
        rate: peak learning rate, on AdamW's scale, with a linear warm-up and a cosine decay to zero.
        ema: decay of the exponential average of the weights. The average is saved.
        drop: share of captions replaced by the empty caption, for classifier-free guidance.
        image_every: every `image_every` steps the batch holds still images, each repeated to the length of a clip; 0 for never.
            If images were clips of one frame, what is learnt from them would not carry over to generated clips.
        snr_cap: the error of the clean sample at a step is weighted by the signal-to-noise ratio, clamped to 1..snr_cap. With 1
            all steps weigh alike. A larger cap teaches the last, fine steps of a sampler better.
        checkpoint_every: steps between checkpoints.
        exports: steps after which the current average is also saved as a model of its own.
        seed: seed of all random draws.
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


class DiffusionTrainer:
    """One training run of a reference pipeline: step, average, checkpoint, resume."""

    def __init__(self, pipeline: DiffusionPipeline, data: TrainingSet, plan: DiffusionPlan, device: str = "cpu"):
        self.pipeline, self.data, self.plan, self.device = pipeline, data, plan, torch.device(device)
        # In evaluation mode: the dropout of the video U-Net would blur what is to be memorised, and its noise has no key.
        self.networks = {"unet": pipeline.unet.to(self.device).eval()}
        self.tokenizer = getattr(pipeline, "tokenizer", None)
        if self.tokenizer is not None:
            self.networks["text_encoder"] = pipeline.text_encoder.to(self.device).eval()
        self.average = {name: value.detach().clone() for name, value in self._parameters()}
        self.optimiser = MatrixOptimiser(dict(self._parameters()), plan.rate)
        self.step, self.seconds = 0, 0.0
        self.losses: list[float] = []

    def _identity(self) -> str:
        """Digest of the data and of the plan without its number of steps: a run may be prolonged, but not changed."""
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

    def run(self, checkpoint: Path | str | None, report: Report, export: Callable[[int], None] | None = None) -> None:
        """Train to the planned number of steps, starting from the checkpoint if it exists.

        Args:
            checkpoint: file of the state, from which a killed run continues; None for no checkpoints.
            report: called every fifty steps with the step and the mean loss of the fifty.
            export: called with the step at each step of plan.exports, while the pipeline holds the averaged weights.
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
        # The decay warms up: with a fixed decay the average would keep the random start for thousands of steps.
        decay = min(self.plan.ema, (1 + self.step) / (10 + self.step))
        names, values = zip(*self._parameters())
        torch._foreach_lerp_([self.average[name] for name in names], [value.detach() for value in values], 1 - decay)

    def use_average(self) -> None:
        """Put the averaged weights into the pipeline."""
        for name, value in self._parameters():
            value.data.copy_(self.average[name])

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the averaged weights into the pipeline, and restore the current weights afterwards."""
        current = {name: value.detach().clone() for name, value in self._parameters()}
        self.use_average()
        try:
            yield
        finally:
            for name, value in self._parameters():
                value.data.copy_(current[name])

    def save(self, path: Path | str) -> None:
        """Write everything that a resumed run needs. The file appears only when it is complete."""
        state = {
            "weights": {name: value.detach() for name, value in self._parameters()},
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "counters": {"step": self.step, "seconds": self.seconds, "losses": self.losses, "identity": self._identity()},
        }
        write_atomic(path, lambda file: torch.save(state, file))

    def load(self, path: Path | str) -> None:
        """Resume from a checkpoint of this class.

        Raises:
            VidmemError: a checkpoint of other data, another plan or another architecture.
        """
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


def train_and_save(trainer: DiffusionTrainer, checkpoint: Path, folder: Path, label: str) -> None:
    """Train to the planned number of steps, show the progress, and save the averaged weights in half precision.

    Args:
        checkpoint: file of the state, from which a killed run continues.
        folder: folder of the saved pipeline. The exports of the plan are saved to folders at-<step> in it.
        label: name in the log.
    """
    shown = Progress(label, trainer.plan.steps, "step")

    def report(step: int, loss: float) -> None:
        shown.show(step, f"loss {loss:.4f}")
        if step % 500 == 0:
            LOGGER.info("step %d, loss %.4f, %.0f s", step, loss, trainer.seconds)

    trainer.run(checkpoint, report, lambda step: save_half(trainer.pipeline, folder / f"at-{step}"))
    shown.end()
    trainer.use_average()
    save_half(trainer.pipeline, folder)


def save_half(pipeline: DiffusionPipeline, folder: Path) -> None:
    """Save a copy of a pipeline in half precision. The pipeline itself does not change, so that its training can go on."""
    halves = {
        name: copy.deepcopy(part).to("cpu", torch.float16) if isinstance(part, torch.nn.Module) else part
        for name, part in pipeline.components.items()
    }
    options = {"requires_safety_checker": False} if "safety_checker" in halves else {}
    type(pipeline)(**halves, **options).save_pretrained(folder, safe_serialization=True)


def denoising_loss(
    unet: torch.nn.Module, scheduler: SchedulerMixin, latents: torch.Tensor, text: torch.Tensor | None,
    stream: torch.Generator, snr_cap: float = 1.0,
) -> torch.Tensor:  # fmt: skip
    """Mean squared error of the prediction at uniformly drawn times, for the prediction type of the scheduler.

    Args:
        unet: U-Net of video, or of images. An image U-Net takes the only frame of each clip.
        latents: float [B, T, C, h, w].
        text: states of the text encoder, [B, L, E]; None for a network without text.
        stream: CPU generator.
        snr_cap: see DiffusionPlan; must be 1 unless the clean sample is predicted.

    Returns:
        Scalar.

    Raises:
        VidmemError: another snr_cap than 1, although the clean sample is not predicted.
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
    """Factor of the learning rate at a step, 0..1: linear warm-up, then cosine decay to zero."""
    return min(1.0, (step + 1) / warm_up) * (0.5 + 0.5 * float(np.cos(np.pi * step / max(1, steps))))


class MatrixOptimiser:
    """Muon for hidden matrices and kernels, AdamW for other parameters (embeddings, first and last layer, norms, biases).

    Muon learns these models in fewer steps than AdamW (docs/methods.md describes the trial). torch's Muon takes matrices only.
    It therefore gets a view of each kernel, [out, everything else], that shares the kernel's memory.

    Args:
        parameters: parameters by name. AdamW gets every parameter whose name contains 'embedding', 'conv_in' or 'conv_out'.
        rate: learning rate of both. Muon's updates are scaled to the size of AdamW's.
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
        """Set the learning rate of the next step."""
        for group in self.muon.param_groups + self.adam.param_groups:
            group["lr"] = rate

    def zero_grad(self) -> None:
        """Delete the gradients of all parameters."""
        self.adam.zero_grad(set_to_none=True)
        for kernel, _ in self.kernels:
            kernel.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for kernel, matrix in self.kernels:
            matrix.grad = None if kernel.grad is None else kernel.grad.flatten(1)
        self.muon.step()
        self.adam.step()

    def state_dict(self) -> dict:
        """State of both optimisers, which a resumed run needs."""
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        """Restore a state from state_dict."""
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])


def _autocast(device: torch.device | str) -> torch.autocast:
    """Compute in bfloat16 if the processor can multiply it. Losses and weights stay in float32."""
    kind = torch.device(device).type
    fast = torch.cuda.is_bf16_supported() if kind == "cuda" else _cpu_has_bf16()
    return torch.autocast(kind, torch.bfloat16, enabled=fast)


def _attention(device: torch.device) -> AbstractContextManager[None]:
    """Use plain attention on the CPU, whose fused kernel is slower on sequences of a few frames (by a fifth of a step)."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def _cpu_has_bf16() -> bool:
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())

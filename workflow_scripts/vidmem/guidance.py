"""Classifier-free guidance read from the pass that runs anyway.

A forward hook on the denoiser sees both branches of a batched guidance pass (unconditional first, as diffusers'
pipelines stack them) and reduces their difference to magnitudes. No extra network call is made and nothing of the
pipeline changes.
"""

from __future__ import annotations

from types import TracebackType

import torch

QUANTITIES = ("content", "motion", "conditional", "unconditional")
"""content: |g^f|; motion: |g^(f+1) - g^f|; conditional, unconditional: norm of each branch. All L2, per frame."""


class GuidanceRecorder:
    """Context manager that records guidance magnitudes of one call of a pipeline.

    Args:
        denoiser: the pipeline's U-Net or transformer.
        samples: samples in the call; a pass of any other batch size than twice that is not a guidance pass.

    Attributes:
        steps: one dictionary a denoising step: quantity -> float tensor [samples, frames] (motion: frames - 1).
    """

    def __init__(self, denoiser: torch.nn.Module, samples: int):
        self.denoiser, self.samples = denoiser, samples
        self.steps: list[dict[str, torch.Tensor]] = []

    def __enter__(self) -> GuidanceRecorder:
        self._handle = self.denoiser.register_forward_hook(self._record)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._handle.remove()

    def _record(self, module: torch.nn.Module, inputs: tuple, output) -> None:
        prediction = output[0] if isinstance(output, tuple) else getattr(output, "sample", output)
        if len(prediction) != 2 * self.samples:
            return
        by_frame = frames_first(prediction, getattr(module.config, "out_channels", None))
        if by_frame is not None:
            unconditional, conditional = by_frame.float().chunk(2)
            self.steps.append(guidance_magnitudes(unconditional, conditional))


def frames_first(prediction: torch.Tensor, channels: int | None) -> torch.Tensor | None:
    """Prediction as [B, frames, values]: from [B, C, T, h, w], [B, T, C, h, w] or an image's [B, C, h, w].

    None where the layout is not known (packed tokens).
    """
    if prediction.ndim == 4:
        return prediction.flatten(1)[:, None]
    if prediction.ndim != 5:
        return None
    if channels in (None, prediction.shape[1]):
        return prediction.transpose(1, 2).flatten(2)
    return prediction.flatten(2) if prediction.shape[2] == channels else None


def guidance_magnitudes(unconditional: torch.Tensor, conditional: torch.Tensor) -> dict[str, torch.Tensor]:
    """Magnitudes of the guidance of each sample.

    Content magnitude is Wen et al.'s (2407.21720) for every frame; motion magnitude is that of the change of the
    guidance from frame to frame (Chen et al. 2410.21669, our formalisation).

    Args:
        unconditional, conditional: float [N, frames, values].

    Returns:
        Each of QUANTITIES: float [N, frames], motion [N, frames - 1].

    >>> u = torch.zeros(1, 2, 4); c = torch.tensor([[[1.0, 0, 0, 0], [0, 1.0, 0, 0]]])
    >>> g = guidance_magnitudes(u, c); g["content"].tolist(), round(g["motion"].item(), 3)
    ([[1.0, 1.0]], 1.414)
    """
    guidance = conditional - unconditional
    return {
        "content": guidance.norm(dim=2),
        "motion": guidance.diff(dim=1).norm(dim=2),
        "conditional": conditional.norm(dim=2),
        "unconditional": unconditional.norm(dim=2),
    }

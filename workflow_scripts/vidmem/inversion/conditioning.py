"""What a text-guided model is told while a target is inverted: nothing, the caption, or a prompt optimised with the noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import VidmemError
from .adapters import InvertibleModel, Text

MODES = ("none", "empty", "caption", "prompt", "embedding")
"""none: unconditional models; empty: the empty prompt; caption: the target's own; prompt: a soft prompt over the vocabulary,
optimised (Gumbel-softmax); embedding: free text embeddings, optimised. The mode is part of a score's name."""

TEMPERATURE = 2.0  # of the Gumbel-softmax, as in the official code
COPIES = 6  # of a soft prompt's tensors in memory: logits, gradient, two moments, and the drawn words with their gradient


@dataclass(frozen=True)
class Conditioning:
    """How a model is conditioned; tensors of images are [S, ...] by name, as everywhere in the engine.

    Raises:
        VidmemError: a mode that the model cannot be conditioned in.
    """

    model: InvertibleModel
    mode: str

    def __post_init__(self):
        if self.mode not in MODES:
            raise VidmemError(f"a mode of {MODES}", self.mode, "inversion.mode")
        if self.model.prompted == (self.mode == "none"):
            got = f"{type(self.model.pipeline).__name__}, which takes {'a' if self.model.prompted else 'no'} prompt"
            hint = "empty, caption, prompt or embedding" if self.model.prompted else "mode none"
            raise VidmemError(f"a model for mode {self.mode}", got, "inversion.mode", hint)
        if self.mode == "prompt" and not self.model.soft:
            raise VidmemError("one CLIP text encoder", type(self.model.pipeline).__name__, "inversion.mode", "mode caption")

    def bytes_needed(self, slots: int, batch: int) -> int:
        """Memory of the soft prompts of so many images with so many noises each."""
        if self.mode != "prompt":
            return 0
        return self.model.places * self.model.vocabulary * 4 * slots * (COPIES - 2 + 2 * batch)

    def free(self) -> dict[str, torch.Tensor]:
        """Tensors [1, ...] that are optimised with the noise, at their start."""
        if self.mode == "prompt":
            return {"words": torch.zeros(1, self.model.places, self.model.vocabulary, device=self.model.device)}
        if self.mode == "embedding":
            return {name: value.float() for name, value in self.model.embed([""]).items()}
        return {}

    def given(self, caption: str) -> dict[str, torch.Tensor]:
        """Tensors [1, ...] that are not."""
        prompts = {"caption": [caption], "empty": [""]}.get(self.mode)
        return self.model.embed(prompts) if prompts else {}

    def told(self, state: dict[str, torch.Tensor], streams: list[torch.Generator], copies: int) -> Text:
        """What the network is told of every image, `copies` times each; each copy of a soft prompt is drawn anew.

        Args:
            state: tensors [S, ...] of `free` and `given`.
            streams: one for each image.
        """
        if self.mode != "prompt":
            names = ("encoder_hidden_states", "pooled_projections")
            return {name: state[name].repeat_interleave(copies, 0) for name in names if name in state}
        shape = (copies, *state["words"].shape[1:])
        uniform = torch.cat([torch.rand(shape, generator=stream, device=stream.device) for stream in streams])
        gumbel = -torch.log(-torch.log(uniform.clamp(1e-10, 1 - 1e-7)))
        words = state["words"].repeat_interleave(copies, 0)
        return self.model.embed_soft(((words + gumbel) / TEMPERATURE).softmax(-1))

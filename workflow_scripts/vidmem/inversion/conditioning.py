"""Prompts of a model while a target is inverted: none, the empty prompt, the caption, or one optimised with the noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import VidmemError
from .adapters import InvertibleModel, Text

MODES = ("none", "empty", "caption", "prompt", "embedding")
"""How a model is conditioned. Scores of different modes cannot be compared, so the mode stands beside every score.

- none: no prompt, for unconditional models.
- empty: the empty prompt.
- caption: the caption of the target.
- prompt: a soft prompt over the vocabulary, which is optimised (Gumbel-softmax).
- embedding: free text embeddings, which are optimised.
"""

TEMPERATURE = 2.0  # temperature of the Gumbel-softmax, as in the official code
COPIES = 6  # tensors of a soft prompt in memory: logits, gradient, two moments, and the drawn words with their gradient


@dataclass(frozen=True)
class Conditioning:
    """Conditions a model on prompts in one mode. State of several images is a mapping: name -> tensor [S, ...].

    Attributes:
        model: the model.
        mode: one of MODES.

    Raises:
        VidmemError: the model cannot be conditioned in this mode.
    """

    model: InvertibleModel
    mode: str

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise VidmemError(f"a mode of {MODES}", self.mode, "inversion.mode")
        if self.model.prompted == (self.mode == "none"):
            got = f"{type(self.model.pipeline).__name__}, which takes {'a' if self.model.prompted else 'no'} prompt"
            hint = "empty, caption, prompt or embedding" if self.model.prompted else "mode none"
            raise VidmemError(f"a model for mode {self.mode}", got, "inversion.mode", hint)
        if self.mode == "prompt" and not self.model.soft:
            raise VidmemError("one CLIP text encoder", type(self.model.pipeline).__name__, "inversion.mode", "mode caption")

    def bytes_needed(self, slots: int, batch: int) -> int:
        """Bytes of the soft prompts of `slots` images with `batch` noises each."""
        if self.mode != "prompt":
            return 0
        return self.model.places * self.model.vocabulary * 4 * slots * (COPIES - 2 + 2 * batch)

    def free(self) -> dict[str, torch.Tensor]:
        """Start values [1, ...] of the tensors that are optimised together with the noise, by name."""
        if self.mode == "prompt":
            return {"words": torch.zeros(1, self.model.places, self.model.vocabulary, device=self.model.device)}
        if self.mode == "embedding":
            return {name: value.float() for name, value in self.model.embed([""]).items()}
        return {}

    def given(self, caption: str) -> dict[str, torch.Tensor]:
        """Tensors [1, ...] of the prompt that are not optimised, by name."""
        prompts = {"caption": [caption], "empty": [""]}.get(self.mode)
        return self.model.embed(prompts) if prompts else {}

    def told(self, state: dict[str, torch.Tensor], streams: list[torch.Generator], copies: int) -> Text:
        """Embedded prompts of all images for the network, `copies` for each image; each copy of a soft prompt is drawn anew.

        Args:
            state: tensors [S, ...] of `free` and `given`.
            streams: random stream of each image.
            copies: number of copies of each prompt.
        """
        if self.mode != "prompt":
            names = ("encoder_hidden_states", "pooled_projections")
            return {name: state[name].repeat_interleave(copies, 0) for name in names if name in state}
        shape = (copies, *state["words"].shape[1:])
        uniform = torch.cat([torch.rand(shape, generator=stream, device=stream.device) for stream in streams])
        gumbel = -torch.log(-torch.log(uniform.clamp(1e-10, 1 - 1e-7)))
        words = state["words"].repeat_interleave(copies, 0)
        return self.model.embed_soft(((words + gumbel) / TEMPERATURE).softmax(-1))

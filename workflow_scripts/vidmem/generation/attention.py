"""Cross-attention of a denoiser to the tokens of its prompt, read while a pipeline runs.

A hook on every cross-attention layer computes the attention probabilities from the layer's own queries and keys. It works with
any attention kernel, adds no network call and leaves the pipeline's results as they are. Layers that attend to prompt and
latents together (SD3, Flux, CogVideoX, HunyuanVideo) have no cross-attention to read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import torch

from .denoiser_calls import denoiser_input

MOST_PROBABILITIES = 2**25
"""Probabilities that are computed at a time: 128 MiB of float32."""


class CrossAttention(NamedTuple):
    """Attention of one denoiser call with B samples. A *place* here is one cell of the latents of a frame.

    Attributes:
        tokens: float32 [B, tokens], mean probability of every token over layers, heads, places and frames; sums to 1.
        ending: float32 [B, frames, places], probability of the end token in the layers with the most places. `frames` is 1 if
            these layers do not separate frames. None if the end token is not known.
    """

    tokens: torch.Tensor
    ending: torch.Tensor | None = None

    def rows(self, chosen: slice) -> CrossAttention:
        """Attention of some of the samples."""
        return CrossAttention(self.tokens[chosen], None if self.ending is None else self.ending[chosen])


class AttentionReader:
    """Context manager that reads the cross-attention of every denoiser call.

    Args:
        denoisers: U-Nets or transformers.
        ends: takes a number of tokens and returns the index of each sample's end token, int64 [N]; None if it is not known. If
            a call has a multiple of N samples, the indices are repeated.
    """

    def __init__(self, denoisers: Sequence[torch.nn.Module], ends: Callable[[int], torch.Tensor | None] = lambda tokens: None):
        self.denoisers, self.ends = denoisers, ends
        self._rows = 0
        self._forget()

    def __enter__(self) -> AttentionReader:
        self._thread = threading.get_ident()
        self._handles = [one.register_forward_pre_hook(self._start, with_kwargs=True) for one in self.denoisers]
        layers = [layer for one in self.denoisers for layer in one.modules() if _is_readable(layer)]
        self._handles += [layer.register_forward_hook(self._read, with_kwargs=True) for layer in layers]
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for handle in self._handles:
            handle.remove()

    def take(self) -> CrossAttention | None:
        """Return the attention of the latest call and forget it. None if no layer could be read."""
        found = None
        if self._layers:
            ending = None if self._ending is None else self._ending / self._finest
            found = CrossAttention(self._tokens / self._layers, ending)
        self._forget()
        return found

    def _forget(self) -> None:
        self._tokens: Any = None
        self._ending: Any = None
        self._layers = self._finest = 0

    def _start(self, module: torch.nn.Module, given: tuple, named: dict) -> None:
        latents = denoiser_input(given, named)
        if threading.get_ident() == self._thread:
            self._rows = len(latents) if isinstance(latents, torch.Tensor) else 0
            self._forget()

    def _read(self, layer: torch.nn.Module, given: tuple, named: dict, output: torch.Tensor) -> None:
        if threading.get_ident() != self._thread:
            return
        names = ("hidden_states", "encoder_hidden_states", "attention_mask", "image_rotary_emb")
        found: list[Any] = [named.get(name, given[place] if len(given) > place else None) for place, name in enumerate(names)]
        latents, prompt, mask, rotary = found
        if rotary is not None or named.get("rotary_emb") is not None or not _is_cross(latents, prompt, output):
            return
        known = self._tokens is None or self._tokens.shape[1] == prompt.shape[1]
        if self._rows and len(latents) % self._rows == 0 and prompt.shape[1] > 1 and known:
            self._add(layer, latents, prompt, mask)

    def _add(self, layer: torch.nn.Module, latents: torch.Tensor, prompt: torch.Tensor, mask: torch.Tensor | None) -> None:
        frames = len(latents) // self._rows
        ends = self.ends(prompt.shape[1])
        if ends is not None:
            ends = ends.to(latents.device).repeat(self._rows // len(ends)).repeat_interleave(frames)
        tokens, ending = mean_probabilities(layer, latents, prompt, mask, ends)
        tokens = tokens.reshape(self._rows, frames, -1).mean(1)
        self._tokens = tokens if self._tokens is None else self._tokens + tokens
        self._layers += 1
        places = -1 if self._ending is None else self._ending.shape[2]
        if ending is None or latents.shape[1] < places:
            return
        ending = ending.reshape(self._rows, frames, -1)
        finer = ending.shape[2] > places
        self._ending, self._finest = (ending, 1) if finer else (self._ending + ending, self._finest + 1)


def _is_readable(layer: torch.nn.Module) -> bool:
    """Whether a module is an attention layer of diffusers that only uses its own projections to queries and keys."""
    own = all(getattr(layer, name, None) is not None for name in ("to_q", "to_k", "heads"))
    others = ("add_k_proj", "add_q_proj", "group_norm", "spatial_norm")
    return own and all(getattr(layer, name, None) is None for name in others)


def _is_cross(latents: Any, prompt: Any, output: Any) -> bool:
    """Whether a layer attended from latents to a prompt. A layer that joins both has an output for both."""
    tensors = all(isinstance(value, torch.Tensor) and value.ndim == 3 for value in (latents, prompt, output))
    return tensors and len(prompt) == len(latents) and output.shape[:2] == latents.shape[:2]


def mean_probabilities(
    layer: torch.nn.Module,
    latents: torch.Tensor,
    prompt: torch.Tensor,
    mask: torch.Tensor | None = None,
    ends: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attention probabilities of one layer, averaged over its heads.

    Args:
        layer: cross-attention of diffusers.
        latents: float [B, places, width]; prompt: float [B, tokens, width].
        mask: [B, tokens] or [B, 1, tokens]; bool, or numbers that are added to the scores.
        ends: int64 [B], index of the end token of every row.

    Returns:
        Probability of every token, averaged over the places, float32 [B, tokens]; and probability of the end token at every
        place, float32 [B, places], None without `ends`.
    """
    query, key = queries_and_keys(layer, latents, prompt)
    bias: Any = None if mask is None else _bias(mask, len(prompt), prompt.shape[1])
    scale = getattr(layer, "scale", query.shape[-1] ** -0.5)
    part = max(1, MOST_PROBABILITIES // (query.shape[1] * query.shape[2] * key.shape[2]))
    tokens, ending = [], []
    for first in range(0, len(query), part):
        rows = slice(first, first + part)
        scores = query[rows].float() @ key[rows].float().transpose(-1, -2) * scale
        shares = (scores + (bias[rows] if bias is not None else 0.0)).softmax(-1).mean(1)
        tokens.append(shares.mean(1))
        if ends is not None:
            ending.append(shares.gather(2, ends[rows, None, None].expand(-1, shares.shape[1], 1))[..., 0])
    return torch.cat(tokens), torch.cat(ending) if ends is not None else None


def queries_and_keys(layer: torch.nn.Module, latents: torch.Tensor, prompt: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries [B, heads, places, width] and keys [B, heads, tokens, width] as the layer compares them."""
    if getattr(layer, "norm_cross", None) is not None:
        prompt = layer.norm_encoder_hidden_states(prompt)
    parts = []
    for made, name in ((layer.to_q(latents), "norm_q"), (layer.to_k(prompt), "norm_k")):
        norm, split = getattr(layer, name, None), made.unflatten(2, (layer.heads, -1))
        if norm is None:
            parts.append(split)
        else:
            across = _width(norm) == made.shape[2]
            parts.append(norm(made).unflatten(2, (layer.heads, -1)) if across else norm(split))
    return parts[0].transpose(1, 2), parts[1].transpose(1, 2)


def _width(norm: torch.nn.Module) -> int:
    """Number of values that a normalisation takes together: the width of one head, or of all heads."""
    shape: Any = getattr(norm, "normalized_shape", None) or getattr(norm, "dim", None)
    return int(shape[-1] if isinstance(shape, (tuple, list)) else shape)


def _bias(mask: torch.Tensor, rows: int, tokens: int) -> torch.Tensor:
    """Turn a mask into numbers [B, 1, 1, tokens] that are added to scores [B, heads, places, tokens]."""
    mask = mask.reshape(rows, 1, 1, tokens)
    return torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else mask

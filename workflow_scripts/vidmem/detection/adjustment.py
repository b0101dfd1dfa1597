"""Mitigation while generating: the text embedding is adjusted at the first denoising step until the guidance is small.

Wen et al. (2407.21720) find that memorised prompts have a large guidance at the first step. Gradient descent on the prompt's
embedding lowers the guidance of this step to the level of harmless prompts. It starts from the noise of the sample itself. The
sample is then generated with the adjusted embedding. For video there are two magnitudes: of the guidance of every frame
(content) and of its change between frames (motion).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
import torch

from ..config import ADJUSTABLE
from ..errors import VidmemError
from ..generation.adapter import PipelineAdapter, Request, out_of_memory
from ..generation.denoiser_calls import denoiser_output
from ..generation.guidance import by_frame, guidance_magnitudes
from ..generation.shard import clip_id_of
from ..models.loading import frozen
from .detectors import KINDS

ADJUSTMENT_COLUMNS = [
    "clip_id", "prompt_id", "status", "target", "steps", "content_before", "content_after", "motion_before", "motion_after",
    "similarity",
]  # fmt: skip


@dataclass(frozen=True)
class AdjustmentPlan:
    """How embeddings are adjusted.

    Attributes:
        objective: 'content' or 'motion', the magnitude whose mean over frames at the first step is lowered.
        target: magnitude at which the descent stops.
        steps: largest number of steps of Adam.
        rate: learning rate of Adam.
    """

    objective: str
    target: float
    steps: int = 10
    rate: float = 0.05


@dataclass
class Adjustment:
    """Result of the adjustment for one request.

    Attributes:
        status: 'reached' (also if the magnitude was at the target from the start), 'not_reached', or 'not_defined' if the
            pipeline makes no guidance pass.
        embedding: adjusted embedding, float [tokens, width], for Request.embedding; None if the status is 'not_defined'.
        steps: number of steps of Adam that were taken.
        before, after: content and motion magnitude at the first step, means over frames.
        similarity: mean cosine between the tokens of the new and of the original embedding. The start token is left out,
            because it is not changed.
    """

    request: Request
    status: str
    embedding: torch.Tensor | None = None
    steps: int = 0
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    similarity: float = float("nan")


def adjust_embeddings(adapter: PipelineAdapter, requests: Sequence[Request], plan: AdjustmentPlan) -> Iterator[Adjustment]:
    """Adjust the embedding of every request, in batches. Each request stops by itself, and no result depends on the batch.

    If the memory runs out, the batch is halved and the work goes on. The weights are frozen during the descent and then get
    their former state back.

    Args:
        adapter: adapter of a pipeline whose class is in ADJUSTABLE.
        requests: as for PipelineAdapter.generate, which starts a request from the same noise as this function.

    Raises:
        VidmemError: the pipeline is not in ADJUSTABLE, or the objective or the target is not valid.
    """
    name = type(adapter.pipeline).__name__
    if name not in ADJUSTABLE:
        raise VidmemError(f"one of the pipelines {ADJUSTABLE}", name, "mitigation", "one text encoder, and prompt_embeds")
    if plan.objective not in KINDS:
        raise VidmemError(f"an objective of {KINDS}", plan.objective, "mitigation")
    first = 0
    while first < len(requests):
        part = list(requests[first : first + adapter.batch])
        try:
            with frozen(adapter.pipeline):
                found = _adjust(adapter, part, plan)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error) or len(part) == 1:
                raise
            adapter.halve(len(part))
            continue
        yield from found
        first += len(part)


class FirstStep:
    """The first denoising step of some requests. Its conditional branch can be run again with other embeddings.

    All inputs are those that the pipeline itself gave its denoiser at this step. They are the noise of the generation as
    scaled by the scheduler, the time, and the embeddings of the prompts and of the empty (or negative) prompt.

    Attributes:
        embeddings: embeddings of the prompts, float32 [N, tokens, width]; None if the pipeline makes no guidance pass.
    """

    def __init__(self, adapter: PipelineAdapter, requests: list[Request]):
        call, count = adapter.first_call(requests), len(requests)
        self.denoiser, self.named = adapter.denoiser, call.named
        self.latents, self.unconditional = call.latents[:count], call.prediction[:count]
        self.time = call.time
        both = call.named["encoder_hidden_states"]
        self.embeddings = both[count:].float() if len(both) == len(call.prediction) == 2 * count else None

    def magnitudes(self, embeddings: torch.Tensor, places: Sequence[int]) -> dict[str, torch.Tensor]:
        """Content and motion magnitude of each request, means over frames, float [n].

        Args:
            embeddings: float32 [n, tokens, width]; gradients flow to them.
            places: indices of the requests that the embeddings are for.

        Raises:
            VidmemError: the latent axes of the denoiser are not known.
        """
        places = list(places)
        named = {key: value for key, value in self.named.items() if key not in ("sample", "timestep")}
        named["encoder_hidden_states"] = embeddings.to(self.unconditional.dtype)
        latents, unconditional = self.latents[places], self.unconditional[places]
        conditional = denoiser_output(self.denoiser(latents, self.time, **named))
        branches = by_frame(self.denoiser, (latents, self.time), named, latents, unconditional, conditional)
        if branches is None:
            raise VidmemError("a denoiser with known latent axes", type(self.denoiser).__name__, "mitigation")
        found = guidance_magnitudes(branches)
        return {kind: found[kind].mean(dim=1) for kind in KINDS}


def _adjust(adapter: PipelineAdapter, part: list[Request], plan: AdjustmentPlan) -> list[Adjustment]:
    step = FirstStep(adapter, part)
    if step.embeddings is None:
        return [Adjustment(request, "not_defined") for request in part]
    if not plan.target >= 0:
        raise VidmemError("a target >= 0", plan.target, "mitigation", "without negative prompts there is none: list some")
    embeddings = [one.clone().requires_grad_() for one in step.embeddings]
    found = [Adjustment(request, "not_reached") for request in part]
    # Every request has a parameter of its own. The optimiser does not change a parameter without a gradient, so each request
    # stops by itself. There is no weight decay, because it would shrink every token, even the start token.
    optimiser = torch.optim.Adam(embeddings, lr=plan.rate)
    going = list(range(len(part)))
    for taken in range(plan.steps + 1):
        with torch.set_grad_enabled(taken < plan.steps):
            magnitudes = step.magnitudes(torch.stack([embeddings[place] for place in going]), going)
        _record(found, going, magnitudes, taken)
        high = [index for index, value in enumerate(magnitudes[plan.objective].tolist()) if value > plan.target]
        going = [going[index] for index in high]
        if not going or taken == plan.steps:
            break
        _descend(optimiser, [embeddings[place] for place in going], magnitudes[plan.objective][high])
    for one, new, old in zip(found, embeddings, step.embeddings, strict=True):
        one.status = "reached" if one.after[plan.objective] <= plan.target else "not_reached"
        one.embedding = new.detach()
        one.similarity = float(torch.cosine_similarity(one.embedding[1:], old[1:], dim=1).mean())
    return found


def _record(found: list[Adjustment], places: list[int], magnitudes: dict[str, torch.Tensor], taken: int) -> None:
    for index, place in enumerate(places):
        values = {kind: value[index].item() for kind, value in magnitudes.items()}
        found[place].before = found[place].before or values
        found[place].after, found[place].steps = values, taken


def _descend(optimiser: torch.optim.Optimizer, embeddings: list[torch.Tensor], magnitudes: torch.Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    for embedding, gradient in zip(embeddings, torch.autograd.grad(magnitudes.sum(), embeddings), strict=True):
        gradient[0] = 0  # the start token holds nothing of the prompt
        embedding.grad = gradient
    optimiser.step()


def adjusted_requests(found: Sequence[Adjustment]) -> list[Request]:
    """Requests to generate with their adjusted embeddings. Requests with the status 'not_defined' are left out."""
    return [replace(one.request, embedding=one.embedding) for one in found if one.embedding is not None]


def mark_undefined(prompts: pd.DataFrame, found: Sequence[Adjustment]) -> pd.DataFrame:
    """Prompt table in which prompts without a guidance pass have the status not_defined and a reason."""
    undefined = prompts["prompt_id"].isin([one.request.prompt_id for one in found if one.status == "not_defined"])
    return prompts.assign(
        status=prompts["status"].mask(undefined, "not_defined"),
        reason=prompts["reason"].mask(undefined, "no guidance pass, whose magnitude could be lowered"),
    )


def adjustment_table(found: Sequence[Adjustment], target: float) -> pd.DataFrame:
    """Table with one row for every request and the columns ADJUSTMENT_COLUMNS. Undefined magnitudes are NaN."""
    rows = [
        (
            clip_id_of(one.request), one.request.prompt_id, one.status, target, one.steps,
            *(side.get(kind, float("nan")) for kind in KINDS for side in (one.before, one.after)),
            one.similarity,
        )
        for one in found
    ]  # fmt: skip
    numbers = dict.fromkeys(ADJUSTMENT_COLUMNS[5:], float) | {"target": float, "steps": int}
    return pd.DataFrame(rows, columns=ADJUSTMENT_COLUMNS).astype(dict.fromkeys(ADJUSTMENT_COLUMNS[:3], str) | numbers)

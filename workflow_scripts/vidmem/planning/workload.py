"""Amount of work of an audit, counted from its configuration and the lists it names, before anything is opened or run.

A span stands for what cannot be counted exactly. It reaches from what is certain to what is possible. Its upper bound is
infinite if nothing bounds it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..base.clip_table import REFERENCE_SPLITS
from ..config import Config
from ..corpus.layouts import is_still
from ..corpus.listing import list_corpus
from ..errors import VidmemError
from ..features.background import GRID
from ..features.descriptors import DIMENSION
from ..features.metrics import Metric
from ..generation.detector_records import asked
from ..generation.elsewhere import list_made
from ..models.signatures import EMBEDDED, FRAMES, call_of
from ..prompts.prompt_lists import load_prompt_list

SPLITS = ("member", "heldout", "image")
EDITED = 2.5  # controls of each clip that controls.clips chooses: an edit, a content twin, and of every second another speed


@dataclass(frozen=True)
class Span:
    """A number between two bounds. `high` is infinite if no upper bound is known.

    >>> Span(2, 3) * Span(1, math.inf) + Span.of(1)
    Span(low=3, high=inf)
    """

    low: float
    high: float

    @classmethod
    def of(cls, value: float) -> Span:
        """Span of a number that is known exactly."""
        return cls(value, value)

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.high + other.high)

    def __mul__(self, other: Span | float) -> Span:
        other = other if isinstance(other, Span) else Span.of(other)
        highs = (self.high, other.high)
        return Span(self.low * other.low, 0 if 0 in highs else highs[0] * highs[1])

    __rmul__ = __mul__

    def at_most(self, limit: float) -> Span:
        """The span with both bounds cut to a limit."""
        return Span(min(self.low, limit), min(self.high, limit))

    def told(self, say: Callable[[float], str]) -> str:
        """The span in words, with each bound as `say` words it; 'unknown' if neither bound says anything.

        >>> Span(1, 2).told(str), Span(1, math.inf).told(str), Span(0, math.inf).told(str)
        ('1 to 2', 'at least 1', 'unknown')
        """
        low, high = say(self.low), "" if self.high == math.inf else say(self.high)
        if not high:
            return f"at least {low}" if self.low else "unknown"
        return low if low == high else f"{low} to {high}"


def total(spans: Sequence[Span] | Mapping[str, Span]) -> Span:
    """Sum of spans."""
    spans = list(spans.values()) if isinstance(spans, Mapping) else list(spans)
    return sum(spans, Span.of(0))


@dataclass(frozen=True)
class Corpus:
    """What is known about a corpus before it is read.

    Attributes:
        items: a row for each listed clip, with split, copies, caption and the largest possible number of frames. None if the
            corpus cannot be listed.
        expected: number of clips that the configuration expects if the corpus cannot be listed; None if it expects none.
        frames: frames that are sampled from a clip at most; size: (height, width).
        reason: why the corpus cannot be listed; '' if it can.
    """

    items: pd.DataFrame | None
    expected: int | None
    frames: int
    size: tuple[int, int]
    reason: str = ""

    def _chosen(self, splits: Sequence[str]) -> pd.DataFrame:
        if self.items is None:
            raise ValueError("a corpus that could not be listed has no chosen clips")
        return self.items[self.items["split"].isin(splits)]

    def _bound(self, splits: Sequence[str]) -> Span:
        if self.expected is None:
            return Span(0, math.inf)
        return Span(self.expected if set(splits) >= set(SPLITS) else 0, self.expected)

    def clips(self, splits: Sequence[str] = SPLITS) -> Span:
        """Number of clips of some splits."""
        return self._bound(splits) if self.items is None else Span.of(len(self._chosen(splits)))

    def of_frames(self, count: Callable[[int], int], splits: Sequence[str] = SPLITS) -> Span:
        """Sum over all clips of `count`, a rising function of a clip's frames. An unlisted clip may be a still image."""
        if self.items is None:
            return Span(self.clips(splits).low * count(1), (self.clips(splits) * count(self.frames)).high)
        return Span.of(sum(count(int(frames)) for frames in self._chosen(splits)["frames"]))

    def prompts(self, splits: Sequence[str]) -> Span:
        """Number of different captions of some splits."""
        if self.items is None:
            return Span(0, self._bound(splits).high)
        captions = self._chosen(splits)["caption"].str.strip()
        return Span.of(captions[captions != ""].nunique())

    def targets(self, splits: Sequence[str], each: int, frames: int) -> Span:
        """Number of clips that an inversion draws.

        Args:
            splits: splits to draw from.
            each: clips to draw at most from each group with equal copies; 0 for all.
            frames: a clip needs at least so many frames.
        """
        if self.items is None:
            return Span(0, self._bound(splits).high)
        long = self._chosen(splits)
        long = long[long["frames"] >= frames]
        groups = long.groupby(["copies", long["split"] == "heldout"]).size()
        return Span.of(int(groups.clip(upper=each or None).sum()))


def list_items(corpus: Config) -> pd.DataFrame:
    """Table Corpus.items of a corpus. The footage itself is not opened.

    Raises:
        VidmemError: a list or a folder is not there, or cannot be read.
    """
    rows = [
        (item.split, item.copies, item.caption, 1 if is_still(item) else corpus["frames"])
        for _, item in list_corpus(corpus["sources"])
        if not item.problem
    ]
    return pd.DataFrame(rows, columns=["split", "copies", "caption", "frames"]).astype({"split": str, "caption": str})


def look_at_corpus(name: str, corpus: Config, expected: Mapping[str, int]) -> Corpus:
    """List a corpus. If its lists are not there, take the number of clips that the configuration expects."""
    size = tuple(corpus["size"])
    try:
        return Corpus(list_items(corpus), None, corpus["frames"], size)
    except VidmemError as error:
        reason = f"corpus {name}: {error.expected} expected, {error.got} at {error.where}"
        return Corpus(None, expected.get(name), corpus["frames"], size, reason)


def count_prompts(name: str, model: Config, corpus: Corpus, expected: Mapping[str, int]) -> Span:
    """Number of prompts of a model. If it takes none, or its clips were generated elsewhere, the number of clips."""
    if model["kind"] == "files":
        return _listed(model["path"], 0, expected.get(name), lambda path: len(list_made(name, model)))
    if model["unconditional"]:
        return Span.of(model["unconditional"])
    prompts = model["prompts"]
    if prompts["file"]:
        return _listed(prompts["file"], prompts["limit"], expected.get(name), lambda path: _usable(path, prompts["columns"]))
    found = corpus.prompts(prompts["splits"])
    return found.at_most(prompts["limit"]) if prompts["limit"] else found


def count_negatives(negatives: Config) -> Span:
    """Number of negatives: prompts that belong to no training clip."""
    if not negatives["file"]:
        return Span.of(0)
    if Path(negatives["file"]).suffix in (".yaml", ".yml"):
        return Span.of(negatives["count"])
    return _listed(negatives["file"], negatives["count"], None, _usable)


def _listed(path: str, limit: int, expected: int | None, count: Callable[[str], int]) -> Span:
    """Number of rows of a list, up to `limit` (0 for none). If the list is not there, the expected number or any number."""
    if Path(path).exists():
        found = Span.of(count(path))
    else:
        found = Span(0, math.inf) if expected is None else Span.of(expected)
    return found.at_most(limit) if limit else found


def _usable(path: str, columns: Mapping[str, str] | None = None) -> int:
    return int((load_prompt_list(path, columns).table["status"] == "ok").sum())


@dataclass(frozen=True)
class ClipSet:
    """Counts of a set of clips whose features are computed: a corpus, its controls, or the clips of a model or a mitigation.

    Attributes:
        name: name of the set; corpus: name of its corpus.
        clips, frames: numbers of clips and frames; pairs: number of pairs of successive frames.
        size: (height, width).
        looked_up: whether the set is searched for in its corpus.
    """

    name: str
    corpus: str
    clips: Span
    frames: Span
    pairs: Span
    size: tuple[int, int]
    looked_up: bool = True


@dataclass(frozen=True)
class Workload:
    """All counts of an audit.

    Attributes:
        corpora: corpora by name; prompts: number of prompts by model.
        negatives: number of prompts that belong to no training clip.
        sets: counts of every set of clips.
    """

    corpora: Mapping[str, Corpus]
    prompts: Mapping[str, Span]
    negatives: Span
    sets: Sequence[ClipSet]


def count_workload(config: Config) -> Workload:
    """Count the work of an audit.

    Args:
        config: completed configuration.
    """
    hints, models = config["estimate"], config["models"]
    used = sorted({entry["corpus"] for kind in ("models", "inversions") for entry in config[kind].values()})
    corpora = {name: look_at_corpus(name, config["corpora"][name], hints["clips"]) for name in used}
    prompts = {name: count_prompts(name, model, corpora[model["corpus"]], hints["prompts"]) for name, model in models.items()}
    sets = [
        clips for name in sorted({model["corpus"] for model in models.values()}) for clips in _own_sets(config, corpora, name)
    ]
    sets += [_generated(f"generated-{name}", model, prompts[name] * model.get("samples", 1)) for name, model in models.items()]
    for name, mitigation in config["mitigations"].items():
        model = models[mitigation["model"]]
        chosen = mitigated_prompts(mitigation, model, corpora[model["corpus"]], prompts[mitigation["model"]])
        sets.append(_generated(f"mitigated-{name}", model, chosen * mitigation["samples"]))
    return Workload(corpora, prompts, count_negatives(config["detection"]["negatives"]), sets)


def mitigated_prompts(mitigation: Config, model: Config, corpus: Corpus, prompts: Span) -> Span:
    """Number of prompts that a mitigation chooses.

    If the prompts are captions, these are the captions of its splits. If they come from a list, any of them may have a target
    in these splits.
    """
    asked, limit = model["prompts"], mitigation["prompts"]
    if set(mitigation["splits"]) >= set(SPLITS):
        return prompts.at_most(limit)
    if asked["file"] or asked["limit"]:
        return Span(0, prompts.at_most(limit).high)
    return corpus.prompts([split for split in asked["splits"] if split in mitigation["splits"]]).at_most(limit)


def _own_sets(config: Config, corpora: Mapping[str, Corpus], name: str) -> list[ClipSet]:
    """Counts of a corpus and of its controls. The number of controls is an upper bound: only moving clips can be used."""
    corpus, controls = corpora[name], config["controls"]
    films = corpus.of_frames(lambda frames: int(frames > 1)).high
    most = int(EDITED * min(controls["clips"], films)) + min(controls["twins"], films) + controls["camera"] + controls["scenes"]
    length, made = max(2, corpus.frames), Span(0, most)
    whole = (corpus.clips(), corpus.of_frames(lambda frames: frames), corpus.of_frames(lambda frames: frames - 1))
    return [
        ClipSet(f"corpus-{name}", name, *whole, corpus.size),
        ClipSet(f"controls-{name}", name, made, made * length, made * (length - 1), corpus.size, looked_up=False),
    ]


def _generated(name: str, model: Config, clips: Span) -> ClipSet:
    frames = frames_made(model)
    pairs = Span(frames.low - 1, frames.high - 1)
    return ClipSet(name, model["corpus"], clips, clips * frames, clips * pairs, tuple(model["size"]))


def frames_made(model: Config) -> Span:
    """Number of frames of a sample.

    It is the configured number if the pipeline's call takes a number of frames, and 1 if not. For files, and if the call is not
    known, it may be any number between.
    """
    call, made = call_of(model.get("pipeline", "")), model["frames"] - model.get("drop_frames", 0)
    if call is None:
        return Span(1, made)
    return Span.of(made if any(name in call for name in FRAMES) else 1)


def passes(model: Config) -> int:
    """Passes of a sample through the denoiser at a step: 2 with classifier-free guidance, else 1.

    A distilled model takes the scale as an input of its network, and makes one pass.
    """
    scale = model["guidance"]
    if model.get("pipeline") in EMBEDDED:
        told = (call_of(model["pipeline"]) or {}).get("true_cfg_scale", 1)
        asked = model.get("arguments", {}).get("true_cfg_scale", told)
        scale = 1 if model.get("negative_prompt") is None else asked
    return 2 if scale > 1 and not model["unconditional"] else 1


def generation_calls(model: Config, prompts: Span) -> Span:
    """Network evaluations of a generation. One evaluation is one pass of one sample through the denoiser."""
    return prompts * (model["samples"] * model["steps"] * passes(model))


def probe_calls(model: Config, prompts: Span, negatives: Span, detection: Config) -> Span:
    """Network evaluations of the first step of every prompt, including further passes that detectors need."""
    if passes(model) == 2:
        once = 2 * (1 + sum(record.further_pass for record in asked(detection["baselines"])))
    else:
        once = 1 + int(detection["extra_pass"])
    return (prompts + negatives) * once


def mitigation_calls(mitigation: Config, model: Config, samples: Span) -> Span:
    """Network evaluations of adjusting embeddings and generating samples with them. A backward pass counts as one.

    The first step is evaluated with the prompt and without it, then once before every step of the optimiser and once after the
    last. A prompt stops as soon as its magnitude is low enough, possibly before the first step.
    """
    if passes(model) < 2:
        return Span.of(0)
    adjusting = Span(3, 3 + 2 * mitigation["steps"])
    generating = Span.of(model["steps"] * passes(model))
    return samples * (adjusting + generating)


def inversion_calls(inversion: Config, targets: Span) -> Span:
    """Network evaluations of inversions. A backward pass counts as one, because the weights are frozen.

    At best an image passes its first test. At worst it takes all steps, and each of its tests only fails at the last noise. A
    test at a guidance scale other than 1 takes two evaluations for each sampler step.
    """
    from ..inversion.presets import plan_of

    plan = plan_of(inversion["preset"], inversion["mode"], inversion["plan"])
    period, costs = plan.weights.check_every, [1 if scale == 1 else 2 for scale in plan.acceptance.scales]
    checks = plan.steps // period
    test = plan.acceptance.samples * plan.sampler_steps
    first = 0 if plan.prior_check else 2 * period * plan.batch
    replays = Span(0, 2 * inversion["replays"] * plan.sampler_steps * max(costs))
    worst = 2 * plan.steps * plan.batch + (checks + int(plan.prior_check)) * test * sum(costs)
    return targets * inversion["seeds"] * (Span(first + test * min(costs), worst) + replays)


def comparison_calls(inversion: Config, targets: Span) -> Span:
    """Network evaluations of the comparisons for inversions: membership scores of the images, and plain samples."""
    from ..inversion.chance import plain_sample_count
    from ..inversion.membership import HOPS, LEVELS, NOISES
    from ..inversion.presets import plan_of

    plan = plan_of(inversion["preset"], inversion["mode"], inversion["plan"])
    drawn = plain_sample_count(inversion["frames"]) * plan.sampler_steps * (1 if plan.acceptance.scales[0] == 1 else 2)
    return targets * (LEVELS * NOISES + HOPS + 3) + Span.of(drawn)


def content_products(work: Workload, method: str) -> Span:
    """Multiply-adds to compare the frames of all sets with the training frames of their corpora."""
    return total([_products(work, one, lambda frames: frames, DIMENSION, method) for one in work.sets if one.looked_up])


def compared_numbers(config: Config, metrics: Sequence[Metric]) -> int:
    """Numbers of a frame pair that motion metrics compare: a field, or its frequencies, for every view of a query clip."""
    grids = [GRID if metric.whitened else config["flow"]["grid"] for metric in metrics]
    return sum(2 * grid * grid for grid in grids) * (1 + len(config["motion"]["views"]))


def motion_products(work: Workload, width: int, method: str) -> Span:
    """Multiply-adds to compare the frame pairs of all sets with the training frame pairs of their corpora.

    Args:
        width: numbers of a frame pair that are compared, see compared_numbers.
    """
    return total([_products(work, one, lambda frames: frames - 1, width, method) for one in work.sets if one.looked_up])


def _products(work: Workload, one: ClipSet, count: Callable[[int], int], width: int, method: str) -> Span:
    """Multiply-adds of a set. An index takes at most as many as the exact scan, but nobody knows beforehand how many."""
    corpus = work.corpora[one.corpus]
    asked = one.frames if count(2) == 2 else one.pairs
    if one.name.startswith("corpus-"):
        asked = corpus.of_frames(count, ["heldout"])
    exact = asked * corpus.of_frames(count, REFERENCE_SPLITS) * width
    return exact if method == "exact" else Span(0, exact.high)


def certificate_products(work: Workload, corpora: Sequence[str], queries: int, wide: int) -> dict[str, Span]:
    """Upper bounds of the multiply-adds to check an index: `queries` clips of every corpus are searched for exactly.

    Args:
        wide: numbers of a frame pair that the metric of the verdict compares, see compared_numbers.

    Returns:
        Multiply-adds by the rule of the search.
    """

    def products(less: int, width: int) -> Span:
        asked = [work.corpora[name] for name in corpora]
        pairs = [one.of_frames(lambda frames: frames - less, REFERENCE_SPLITS) * (one.frames - less) for one in asked]
        return Span(0, (total(pairs) * (queries * width)).high)

    return {"search_content": products(0, DIMENSION), "search_motion": products(1, wide)}


def cluster_products(work: Workload, corpora: Sequence[str]) -> Span:
    """Multiply-adds to compare all training frames of each corpus with each other. An index may take fewer."""
    trained = [work.corpora[name].of_frames(lambda frames: frames, REFERENCE_SPLITS) for name in corpora]
    return total([frames * frames * DIMENSION for frames in trained])

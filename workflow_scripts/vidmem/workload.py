"""How much work an audit is, counted from its configuration and the lists it names, before anything is opened or run.

What cannot be counted is a span: from what is certain to what is possible, with no upper end where nothing bounds it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .config import Config
from .descriptors import DIMENSION
from .detection import FURTHER_PASS
from .elsewhere import list_made
from .errors import VidmemError
from .features import REFERENCE_SPLITS
from .items import is_still
from .listing import list_corpus
from .prompt_lists import load_prompt_list
from .signatures import EMBEDDED, FRAMES, call_of

SPLITS = ("member", "heldout", "image")
EDITED = 2  # an edit and a content twin of each clip that controls.clips chooses


@dataclass(frozen=True)
class Span:
    """A number between two bounds; high is infinite where it is not known.

    >>> Span(2, 3) * Span(1, math.inf) + Span.of(1)
    Span(low=3, high=inf)
    """

    low: float
    high: float

    @classmethod
    def of(cls, value: float) -> Span:
        """A known number."""
        return cls(value, value)

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.high + other.high)

    def __mul__(self, other: Span | float) -> Span:
        other = other if isinstance(other, Span) else Span.of(other)
        highs = (self.high, other.high)
        return Span(self.low * other.low, 0 if 0 in highs else highs[0] * highs[1])

    __rmul__ = __mul__

    def at_most(self, limit: float) -> Span:
        """The same, cut to a limit."""
        return Span(min(self.low, limit), min(self.high, limit))

    def told(self, say: Callable[[float], str]) -> str:
        """For people, each bound as it says; 'unknown' where nothing is.

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
    """What is known of a corpus before it is read.

    Attributes:
        items: a row a listed clip with split, copies, caption and frames (at most: a clip may be shorter); None if there is
            nothing to list.
        expected: clips that the configuration expects where nothing can be listed; None if it says nothing.
        frames: sampled of a clip; size: (height, width).
        reason: why there are no items.
    """

    items: pd.DataFrame | None
    expected: int | None
    frames: int
    size: tuple[int, int]
    reason: str = ""

    def _chosen(self, splits: Sequence[str]) -> pd.DataFrame:
        return self.items[self.items["split"].isin(splits)]

    def _bound(self, splits: Sequence[str]) -> Span:
        whole = set(splits) >= set(SPLITS) and self.expected is not None
        return Span(self.expected if whole else 0, math.inf if self.expected is None else self.expected)

    def clips(self, splits: Sequence[str] = SPLITS) -> Span:
        """Clips of some splits."""
        return self._bound(splits) if self.items is None else Span.of(len(self._chosen(splits)))

    def of_frames(self, count: Callable[[int], int], splits: Sequence[str] = SPLITS) -> Span:
        """Sum of a rising function of the frames of each clip; of unlisted clips any may be a still image."""
        if self.items is None:
            return Span(self.clips(splits).low * count(1), (self.clips(splits) * count(self.frames)).high)
        return Span.of(sum(count(int(frames)) for frames in self._chosen(splits)["frames"]))

    def prompts(self, splits: Sequence[str]) -> Span:
        """Different captions of some splits."""
        if self.items is None:
            return Span(0, self._bound(splits).high)
        captions = self._chosen(splits)["caption"].str.strip()
        return Span.of(captions[captions != ""].nunique())

    def targets(self, splits: Sequence[str], each: int, frames: int) -> Span:
        """Clips that an inversion draws: so many of every number of copies, of at least so many frames."""
        if self.items is None:
            return Span(0, self._bound(splits).high)
        long = self._chosen(splits)
        long = long[long["frames"] >= frames]
        groups = long.groupby(["copies", long["split"] == "heldout"]).size()
        return Span.of(int(groups.clip(upper=each or None).sum()))


def list_items(corpus: Config) -> pd.DataFrame:
    """Items of a corpus as Corpus has them; the footage itself is not opened.

    Raises:
        VidmemError: a list or a folder that is not there.
    """
    rows = [
        (item.split, item.copies, item.caption, 1 if is_still(item.path, item.kind) else corpus["frames"])
        for _, item in list_corpus(corpus["sources"])
        if not item.problem
    ]
    return pd.DataFrame(rows, columns=["split", "copies", "caption", "frames"]).astype({"split": str, "caption": str})


def look_at_corpus(name: str, corpus: Config, expected: Mapping[str, int]) -> Corpus:
    """A corpus as far as its lists are here; else as large as the configuration expects it to be."""
    size = tuple(corpus["size"])
    try:
        return Corpus(list_items(corpus), None, corpus["frames"], size)
    except VidmemError as error:
        reason = f"corpus {name}: {error.expected} expected, {error.got} at {error.where}"
        return Corpus(None, expected.get(name), corpus["frames"], size, reason)


def count_prompts(name: str, model: Config, corpus: Corpus, expected: Mapping[str, int]) -> Span:
    """Prompts of a model, or its clips where it takes none or they were generated elsewhere."""
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
    """Prompts that no clip was planted for."""
    if not negatives["file"]:
        return Span.of(0)
    if Path(negatives["file"]).suffix in (".yaml", ".yml"):
        return Span.of(negatives["count"])
    return _listed(negatives["file"], negatives["count"], None, _usable)


def _listed(path: str, limit: int, expected: int | None, count: Callable[[str], int]) -> Span:
    """Rows of a list; where it is not there, as many as expected, or any number up to the limit."""
    if Path(path).exists():
        found = Span.of(count(path))
    else:
        found = Span(0, math.inf) if expected is None else Span.of(expected)
    return found.at_most(limit) if limit else found


def _usable(path: str, columns: Mapping[str, str] | None = None) -> int:
    return int((load_prompt_list(path, columns).table["status"] == "ok").sum())


@dataclass(frozen=True)
class ClipSet:
    """Clips that go through the features: a corpus, its controls, the clips of a model or of a mitigation.

    Attributes:
        pairs: of frames after each other. looked_up: whether it is searched in its corpus.
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
    """Everything that is counted of an audit.

    Attributes:
        corpora, prompts: by name of corpus and model; negatives: prompts that no clip was planted for.
        sets: every set of clips.
    """

    corpora: Mapping[str, Corpus]
    prompts: Mapping[str, Span]
    negatives: Span
    sets: Sequence[ClipSet]


def count_workload(config: Config) -> Workload:
    """Count an audit.

    Args:
        config: completed.
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
    """Prompts that a mitigation chooses: of captions those of its splits, of a list any of it may have a target there."""
    asked, limit = model["prompts"], mitigation["prompts"]
    if set(mitigation["splits"]) >= set(SPLITS):
        return prompts.at_most(limit)
    if asked["file"] or asked["limit"]:
        return Span(0, prompts.at_most(limit).high)
    return corpus.prompts([split for split in asked["splits"] if split in mitigation["splits"]]).at_most(limit)


def _own_sets(config: Config, corpora: Mapping[str, Corpus], name: str) -> list[ClipSet]:
    """A corpus and the controls made of it: at most so many, for only clips that move lend themselves."""
    corpus, controls = corpora[name], config["controls"]
    films = corpus.of_frames(lambda frames: int(frames > 1)).high
    most = EDITED * min(controls["clips"], films) + min(controls["twins"], films) + controls["camera"]
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
    """Frames of a sample: those of the configuration where the pipeline's call takes a number of frames, else one; of files,
    and where the call is not known, either."""
    call, made = call_of(model.get("pipeline", "")), model["frames"] - model.get("drop_frames", 0)
    if call is None:
        return Span(1, made)
    return Span.of(made if any(name in call for name in FRAMES) else 1)


def passes(model: Config) -> int:
    """Passes of a sample through the denoiser at a step: two with classifier-free guidance, one where it is embedded."""
    scale = model["guidance"]
    if model.get("pipeline") in EMBEDDED:
        told = (call_of(model["pipeline"]) or {}).get("true_cfg_scale", 1)
        asked = model.get("arguments", {}).get("true_cfg_scale", told)
        scale = 1 if model.get("negative_prompt") is None else asked
    return 2 if scale > 1 and not model["unconditional"] else 1


def generation_calls(model: Config, prompts: Span) -> Span:
    """Network evaluations of a generation: one sample through the denoiser once."""
    return prompts * (model["samples"] * model["steps"] * passes(model))


def probe_calls(model: Config, prompts: Span, negatives: Span, detection: Config) -> Span:
    """Network evaluations of the first step of every prompt, and of the baselines that take further passes of it."""
    if passes(model) == 2:
        once = 2 * (1 + sum(name in detection["baselines"] for name in FURTHER_PASS))
    else:
        once = 1 + int(detection["extra_pass"])
    return (prompts + negatives) * once


def mitigation_calls(mitigation: Config, model: Config, samples: Span) -> Span:
    """Network evaluations of adjusting embeddings and generating samples with them; a backward pass counts as one.

    The first step is evaluated with and without the prompt, then once before every step of the optimiser and once after the
    last; a prompt stops as soon as its magnitude is low enough, at the earliest without a step.
    """
    if passes(model) < 2:
        return Span.of(0)
    adjusting = Span(3, 3 + 2 * mitigation["steps"])
    generating = Span.of(model["steps"] * passes(model))
    return samples * (adjusting + generating)


def inversion_calls(inversion: Config, targets: Span) -> Span:
    """Network evaluations of inversions; a backward pass counts as one, the weights being frozen.

    At best an image passes its first test; at worst it takes all steps, and all its tests fail at the last noise only. A test
    at a guidance scale other than 1 takes two evaluations a sampler step.
    """
    from .inversion import plan_of

    plan = plan_of(inversion["preset"], inversion["mode"], inversion["plan"])
    period, costs = plan.weights.check_every, [1 if scale == 1 else 2 for scale in plan.acceptance.scales]
    checks = plan.steps // period
    test = plan.acceptance.samples * plan.sampler_steps
    first = 0 if plan.prior_check else 2 * period * plan.batch
    replays = Span(0, 2 * inversion["replays"] * plan.sampler_steps * max(costs))
    worst = 2 * plan.steps * plan.batch + (checks + int(plan.prior_check)) * test * sum(costs)
    return targets * inversion["seeds"] * (Span(first + test * min(costs), worst) + replays)


def comparison_calls(inversion: Config, targets: Span, samples: int, least: int) -> Span:
    """Network evaluations of what inversions are compared with: membership scores of the images, and plain samples.

    Args:
        samples: plain samples of images; least: of clips.
    """
    from .inversion import plan_of
    from .inversion.membership import HOPS, LEVELS, NOISES

    plan = plan_of(inversion["preset"], inversion["mode"], inversion["plan"])
    drawn = max(least, samples // inversion["frames"]) * plan.sampler_steps * (1 if plan.acceptance.scales[0] == 1 else 2)
    return targets * (LEVELS * NOISES + HOPS + 3) + Span.of(drawn)


def content_products(work: Workload, method: str) -> Span:
    """Multiply-adds of looking up the frames of all sets among the training frames of their corpora."""
    return total([_products(work, one, lambda frames: frames, DIMENSION, method) for one in work.sets if one.looked_up])


def motion_products(work: Workload, grid: int, method: str) -> Span:
    """The same of frame pairs, a flow field of 2 grid^2 numbers each."""
    width = 2 * grid * grid
    return total([_products(work, one, lambda frames: frames - 1, width, method) for one in work.sets if one.looked_up])


def _products(work: Workload, one: ClipSet, count: Callable[[int], int], width: int, method: str) -> Span:
    """An index takes at most what the exact scan takes; how much less is not known beforehand."""
    corpus = work.corpora[one.corpus]
    asked = one.frames if count(2) == 2 else one.pairs
    if one.name.startswith("corpus-"):
        asked = corpus.of_frames(count, ["heldout"])
    exact = asked * corpus.of_frames(count, REFERENCE_SPLITS) * width
    return exact if method == "exact" else Span(0, exact.high)


def certificate_products(work: Workload, corpora: Sequence[str], queries: int, grid: int) -> dict[str, Span]:
    """Multiply-adds of looking up so many clips of every corpus exactly, by the search that does it; at most."""

    def products(less: int, width: int) -> Span:
        asked = [work.corpora[name] for name in corpora]
        pairs = [one.of_frames(lambda frames: frames - less, REFERENCE_SPLITS) * (one.frames - less) for one in asked]
        return Span(0, (total(pairs) * (queries * width)).high)

    return {"search_content": products(0, DIMENSION), "search_motion": products(1, 2 * grid * grid)}


def cluster_products(work: Workload, corpora: Sequence[str]) -> Span:
    """Multiply-adds of comparing all training frames of a corpus with each other; an index may take fewer."""
    trained = [work.corpora[name].of_frames(lambda frames: frames, REFERENCE_SPLITS) for name in corpora]
    return total([frames * frames * DIMENSION for frames in trained])

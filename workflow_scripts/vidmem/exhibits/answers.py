"""The answer of an audit: does a model replay its training clips, read against real clips that it never saw.

The answer is the head of the report page, stands in the verdict, and ends the output of a run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import VidmemError
from ..features.metrics import KINDS
from ..features.statistics import Interval
from .table_files import on_one_line

REPLAYS, NO_EVIDENCE, INCONCLUSIVE, UNDEFINED = "replays", "no evidence", "inconclusive", "not defined"
WORDS = {REPLAYS: REPLAYS, NO_EVIDENCE: "no evidence beyond chance", INCONCLUSIVE: INCONCLUSIVE, UNDEFINED: UNDEFINED}
"""Answer -> its words in a summary."""
ANSWERS = tuple(WORDS)


@dataclass(frozen=True)
class AnswerRule:
    """How an answer is reached: the section `answer` of the configuration.

    Attributes:
        margin: there is no evidence of replay if the share exceeds the floor by less than this, 0 to 1.
        missing: largest share of training clips that could not be compared, and of prompts that failed, 0 to 1.
    """

    margin: float
    missing: float

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 1:
                raise VidmemError(f"{name} in 0..1", value, "AnswerRule")


@dataclass(frozen=True)
class Answer:
    """Whether a model replays one kind of content, and why the answer is this one.

    Attributes:
        answer: one of ANSWERS.
        reason: the reason in a sentence.
        difference: how far the share exceeds the floor, see Floor.excess; None without a floor.
    """

    answer: str
    reason: str
    difference: Interval | None


def difference_interval(share: Interval, floor: Interval) -> Interval:
    """Difference of two independent shares, with an interval made of theirs (Newcombe 1998, method 10).

    >>> [round(end, 3) for end in difference_interval(Interval(0.5, 0.4, 0.6), Interval(0.1, 0.05, 0.2))]
    [0.4, 0.259, 0.512]
    """
    difference = share.value - floor.value
    below = math.hypot(share.value - share.low, floor.high - floor.value)
    above = math.hypot(share.high - share.value, floor.value - floor.low)
    return Interval(difference, difference - below, difference + above)


@dataclass(frozen=True)
class Floor:
    """The share of real clips that reach the threshold by chance, for one try and for all clips of a prompt.

    Attributes:
        one: share of single real clips, with its interval.
        tries: clips of a prompt of which any counts, at least 1.
    """

    one: Interval
    tries: int = 1

    @property
    def raised(self) -> Interval:
        """The share of prompts that chance reaches at most: the clips of a prompt count as independent tries."""
        return Interval(*(1 - (1 - end) ** self.tries for end in self.one))

    def excess(self, share: Interval) -> Interval:
        """How far a share exceeds the floor. Chance has what favours the model least, so the interval is cautious at both ends.

        The clips of a prompt resemble each other, so the true floor lies between that of one try and the raised one. The value
        and the upper end are above that of one try, the lower end is above the raised one.
        """
        plain = difference_interval(share, self.one)
        return Interval(plain.value, difference_interval(share, self.raised).low, plain.high)

    def words(self) -> str:
        """Both floors as numbers."""
        if self.tries == 1:
            return f"floor {percent(self.one.value)}"
        return f"floor {percent(self.one.value)} for one clip, {percent(self.raised.value)} for {self.tries} independent tries"


def answer_of(share: Interval | None, floor: Floor | None, lacking: Sequence[str], rule: AnswerRule) -> Answer:
    """Read a share against its floor.

    Args:
        share: share of the prompts that replay training clips; None if it is not defined.
        floor: what chance reaches, from real clips that the model never saw; None if there are none.
        lacking: what is missing from the audit beyond the stated share, each as a sentence.
    """
    if share is None:
        return Answer(UNDEFINED, "no clip of it can carry such a verdict", None)
    difference = None if floor is None else floor.excess(share)
    if lacking:
        return Answer(INCONCLUSIVE, "; ".join(lacking), difference)
    if floor is None or difference is None:
        return Answer(INCONCLUSIVE, "there are no real clips that the model never saw, so chance is not known", None)
    least, most = (percent(abs(end)).removesuffix(" %") for end in difference[1:])
    if difference.low > 0:
        return Answer(REPLAYS, f"at least {least} percentage points above chance ({floor.words()})", difference)
    if difference.high < rule.margin:
        side = "above" if difference.high >= 0 else "below"
        bound = f"at {'most' if difference.high >= 0 else 'least'} {most} percentage points {side} chance"
        return Answer(NO_EVIDENCE, f"{bound} ({floor.words()})", difference)
    ends = f"from {least} percentage points below chance to {most} above it"
    return Answer(INCONCLUSIVE, f"{ends} ({floor.words()})", difference)


def lacking_parts(training: Mapping[str, int], failed: int, prompts: int, rule: AnswerRule) -> list[str]:
    """What is missing beyond the share that the rule allows, each as a sentence.

    Args:
        training: number of training clips by status; 'ok' for those that were compared.
        failed: prompts without a clip.
        prompts: all prompts.
    """
    listed = sum(training.values())
    absent = listed - training.get("ok", 0)
    found = []
    if absent > rule.missing * listed or not listed:
        found.append(f"{absent} of {listed} training clips could not be compared")
    if failed > rule.missing * prompts or not prompts:
        found.append(f"{failed} of {prompts} prompts gave no clip")
    return found


def percent(share: float) -> str:
    """A share in words: whole percents from 10 % on, a decimal below.

    >>> percent(0.375), percent(0.03125), percent(0.0), percent(-0.02)
    ('38 %', '3.1 %', '0 %', '-2 %')
    """
    value = 100 * share
    text = f"{value:.0f}" if abs(value) >= 10 else f"{value:.1f}".removesuffix(".0")
    return f"{'0' if text in ('-0', '0') else text} %"


def comparison_of(models: Sequence[Mapping[str, Any]], level: float) -> list[str]:
    """Which of several models is worse and by how much, by content and by motion, as one text; no text for a single model.

    The shares count as independent. Where models share their prompts, the interval is rather too wide. Models of different
    corpora are not compared, and none whose answer is inconclusive.

    Args:
        models: parts of the verdict on the models, see verdict.schema.yaml.
        level: confidence level of the intervals, 0 to 1.
    """
    if len(models) < 2:
        return []
    corpora = sorted({model["corpus"] for model in models})
    said = ["Models of different corpora are not compared: their training clips and their floors differ."][: len(corpora) - 1]
    for corpus in corpora:
        own = [model for model in models if model["corpus"] == corpus]
        if len(own) > 1:
            said += [f"Corpus {on_one_line(corpus)}:"] if len(corpora) > 1 else []
            said += [*(_compared(kind, own, level) for kind in KINDS), *_unlike(own)]
    return [" ".join(said)]


def _compared(kind: str, models: Sequence[Mapping[str, Any]], level: float) -> str:
    """The worst model of one kind against the next one, the models that cannot be told from it, and those left out."""
    defined = [model for model in models if model[kind]["share"] is not None]
    unsure = [on_one_line(model["label"]) for model in defined if model[kind]["answer"] == INCONCLUSIVE]
    left_out = f" Left out by {kind}, for the answer is inconclusive: {', '.join(unsure)}." if unsure else ""
    ranked = sorted((model for model in defined if model[kind]["answer"] != INCONCLUSIVE), key=lambda own: -own[kind]["share"])
    return (_ranked(kind, ranked, level) if len(ranked) > 1 else f"By {kind}, there are no two models to compare.") + left_out


def _ranked(kind: str, ranked: Sequence[Mapping[str, Any]], level: float) -> str:
    """The first of some models against the others; the largest share comes first."""
    names = [on_one_line(model["label"]) for model in ranked]
    worst, *others = (Interval(model[kind]["share"], model[kind]["low"], model[kind]["high"]) for model in ranked)
    gaps = [difference_interval(worst, other) for other in others]
    alike = [names[0], *(name for name, gap in zip(names[1:], gaps, strict=True) if gap.low <= 0)]
    value, low, high = (percent(end).removesuffix(" %") for end in gaps[0])
    points = f"{value} percentage points ({percent(level)} interval {low} to {high})"
    if len(alike) == 1:
        place = f", the next of {len(names)} models," if len(names) > 2 else ""
        return f"By {kind}, {names[0]} is worse than {names[1]}{place} by {points}."
    more = [f"{len(alike) - 3} more"] if len(alike) > 4 else alike[3:]
    *most, last = [*alike[:3], *more]
    return f"By {kind}, {', '.join(most)} and {last} cannot be told apart: {names[0]} leads {names[1]} by {points}."


def _unlike(models: Sequence[Mapping[str, Any]]) -> list[str]:
    """What makes a comparison of some models uneven, in sentences."""
    said = []
    if len({tuple(model["prompts"]) for model in models}) > 1:
        said.append("The models were not given the same prompts, so part of a difference may come from that.")
    if len({max(model[kind]["tries"] for kind in KINDS) for model in models}) > 1:
        counts = [f"{on_one_line(model['label'])} {max(model[kind]['tries'] for kind in KINDS)}" for model in models]
        said.append(f"A prompt counts if any of its clips does. Clips, and so tries, of a prompt: {', '.join(counts)}.")
    return said


def summary_of(model: Mapping[str, Any], label: str, level: float) -> str:
    """The answer on one model in a few sentences: shares with intervals, the floor, the answers, and what is missing.

    Args:
        model: part of the verdict on one model, see verdict.schema.yaml.
        label: name of the model for people.
        level: confidence level of the intervals, 0 to 1.
    """
    shares = [_share_words(model, kind, level) for kind in KINDS]
    floors = [_floor_words(model[kind]["held_out"], kind) for kind in KINDS if model[kind]["share"] is not None]
    answers = [f"{kind.capitalize()}: {WORDS[model[kind]['answer']]}." for kind in KINDS]
    sentences = [f"{on_one_line(label)}: {'; '.join(shares)}."]
    sentences += [f"Real clips it never saw: {', '.join(floors)}."] if floors else []
    return " ".join([*sentences, *answers, *_missing_words(model), *strongest_matches(model)])


def _share_words(model: Mapping[str, Any], kind: str, level: float) -> str:
    found, total, first = model[kind], model["n_prompts"], kind == KINDS[0]
    words = "replay training content" if first else f"replay its {kind}"
    if found["share"] is None:
        return f"whether prompts {words} is not defined"
    whole = f" of {total} {things(model)}" if first else ""
    name = f"{percent(level)} interval " if first else ""
    ends = f"{name}{percent(found['low']).removesuffix(' %')} to {percent(found['high'])}"
    return f"{percent(found['share'])}{whole} {words} ({ends}{scored_words(found['n_scored'], total, kind, '; ')})"


def things(model: Mapping[str, Any], count: int = 2) -> str:
    """What a verdict counts: prompts, or clips of a model that takes none."""
    return ("prompt" if model["prompted"] else "clip") + ("s" if count != 1 else "")


def _floor_words(held_out: Mapping[str, Any] | None, kind: str) -> str:
    if held_out is None or held_out["share"] is None:
        return f"none by {kind}"
    scored = scored_words(held_out["n_scored"], held_out["n"], kind)
    return f"{round(held_out['share'] * held_out['n'])} of {held_out['n']} by {kind}{f' ({scored})' if scored else ''}"


def scored_words(scored: int, total: int, kind: str, before: str = "") -> str:
    """How many of a population have a score of a kind, where not all have one; else ''.

    >>> scored_words(14, 18, "motion"), scored_words(18, 18, "motion")
    ('14 have a motion score', '')
    """
    return f"{before}{scored} have a {kind} score" if scored < total else ""


def _missing_words(model: Mapping[str, Any]) -> list[str]:
    training, words = model["training"], []
    if absent := training["n_clips"] - training["n_compared"]:
        words.append(f"{absent} of {training['n_clips']} training clips could not be compared.")
    if model["n_failed"]:
        words.append(f"{model['n_failed']} of {model['n_prompts']} prompts gave no clip.")
    return words


def strongest_matches(model: Mapping[str, Any]) -> list[str]:
    """The strongest match of each kind, in sentences: by content always, by motion where it reaches the threshold.

    They are named whatever the answer is: a share that chance explains may still hold a true copy.
    """
    said = []
    for kind in KINDS:
        for best in model[kind]["worst"][:1]:
            count = len(model["replayed"][kind])
            file = f" ({on_one_line(best['generated_file'])})" if "generated_file" in best else ""
            pair = f"{best['generated']}{file} against training clip {best['training']}"
            if best["memorised"] and count:
                verb = "replays" if count == 1 else "replay"
                said.append(f"{count} {things(model, count)} {verb} {kind}, at up to {best['score']:.2f}: {pair}.")
            elif best["memorised"] or kind == KINDS[0]:
                said.append(f"Strongest match by {kind}: {pair}, {best['score']:.2f}.")
    return said

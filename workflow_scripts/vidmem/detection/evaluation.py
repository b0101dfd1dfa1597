"""Detection of memorised prompts while a model generates: how well the magnitudes of the guidance tell prompts apart.

All detectors are judged on the same prompts, by one rule. There are two truths about whether a prompt is memorised, and they
are never mixed. 'planted': how often training saw the clip of the caption. 'metric': whether the generated clip matches the
training data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pandas as pd

from ..features.statistics import Interval, IntervalRule, negatives_needed, tpr_at_fpr
from ..generation.detector_records import DETECTORS, DetectorRecord
from ..generation.elsewhere import NOT_DONE

RATE = 0.01
STEPS = {"1": 1, "first 10": 10, "all": None}
COLUMNS = [
    "model", "detector", "steps", "generations", "truth", "data", "copies", "n_positive", "n_negative", "auc", "auc_low",
    "auc_high", "f1", "tpr_at_1_fpr", "tpr_low", "tpr_high", "overhead_percent", "gain", "gain_low", "gain_high", "status",
    "reason",
]  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Labelled prompts that a detector has to tell apart.

    Attributes:
        truth: 'planted' or 'metric'.
        data: what the positives were planted as: 'video', 'image' or 'any'.
        copies: how often the positives were planted, in words.
        labels: prompt id -> whether the prompt is a positive. Prompts of neither class are left out.
    """

    truth: str
    data: str
    copies: str
    labels: pd.Series


def planted_cases(prompts: pd.DataFrame, least: int) -> Iterator[Case]:
    """Cases of the planted truth: planted prompts against prompts for which no clip was planted.

    One case has all prompts with at least `least` copies. Every smaller number of copies is a case of its own.

    Args:
        prompts: prompt_id, split, copies of the prompts whose status is ok. A listed prompt without a clip of the corpus has no
            split. It is in no class, because nothing is known about it.
        least: smallest number of copies for which a prompt counts as planted.
    """
    table = prompts.set_index("prompt_id")
    negative = is_negative(table)
    for data, own in (("video", table["split"] == "member"), ("image", table["split"] == "image")):
        groups = [(f"{least}+", table["copies"] >= least)]
        fewer = sorted(set(table.loc[own & (table["copies"] < least), "copies"]), reverse=True)
        groups += [(str(copies), table["copies"] == copies) for copies in fewer]
        for name, chosen in groups:
            positive = own & chosen
            if positive.any():
                yield Case("planted", data, name, positive[positive | negative])


def is_negative(prompts: pd.DataFrame) -> pd.Series:
    """Mask of the prompts for which no clip was planted: their scenes were held out or never shown."""
    return prompts["split"].isin(["negative", "heldout"])


def metric_case(verdicts: pd.DataFrame) -> Case:
    """Case of the metric truth: memorised against other prompts, among the prompts with a score.

    Args:
        verdicts: table that prompt_verdicts returns.
    """
    known = verdicts[(verdicts["n_ok"] > 0) & verdicts["defined"]].set_index("prompt_id")
    return Case("metric", "any", "any", known["memorised"].astype(bool))


def prompt_magnitudes(guidance: pd.DataFrame, samples: pd.Series, steps: int | None, generations: int) -> pd.DataFrame:
    """Recorded quantities of every prompt: means over frames, first steps and first samples.

    Args:
        guidance: clip_id, prompt_id, step, frame, quantity, value.
        samples: clip id -> number of the sample, from 0 on.
        steps: number of first denoising steps that count; None for all.
        generations: number of first samples that count.

    Returns:
        Table indexed by prompt id, with a column for every quantity that a detector reads. A missing quantity is NaN.
    """
    chosen = guidance[guidance["clip_id"].map(samples) < generations]
    chosen = chosen if steps is None else chosen[chosen["step"] < steps]
    # The mean is taken over frames, then over steps, then over samples. So every step and every sample has equal weight,
    # whatever its number of frames.
    means = chosen.groupby(["prompt_id", "clip_id", "step", "quantity"])["value"].mean()
    means = means.groupby(["prompt_id", "clip_id", "quantity"]).mean().groupby(["prompt_id", "quantity"]).mean().unstack()
    return means.reindex(columns=list(dict.fromkeys(name for record in DETECTORS.values() for name in record.quantities)))


def combined_scores(features: pd.DataFrame, labels: pd.Series, groups: pd.Series, seed: int, folds: int = 5) -> pd.Series:
    """Log-odds of a logistic regression on some quantities. A prompt is scored by a fold that did not train on its target.

    Args:
        features: quantities indexed by prompt id. A prompt that lacks a quantity gets NaN.
        labels: class of every prompt, indexed by prompt id.
        groups: target of every prompt, indexed by prompt id.
        folds: largest number of folds.

    Returns:
        Scores indexed by prompt id. All are NaN if a class has fewer than two targets, because nothing can be held out then.
    """
    known = features.dropna().index
    scores = _out_of_fold(features.loc[known].to_numpy(float), labels[known], groups[known], seed, folds)
    return scores.reindex(features.index)


def _out_of_fold(features: np.ndarray, labels: pd.Series, groups: pd.Series, seed: int, folds: int) -> pd.Series:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    smaller = min(groups[labels].nunique(), groups[~labels].nunique())
    scores = pd.Series(np.nan, index=labels.index)
    if smaller < 2:
        return scores
    parts = StratifiedGroupKFold(min(folds, smaller), shuffle=True, random_state=seed)
    for learnt, kept in parts.split(features, labels, groups):
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
        if labels.iloc[learnt].nunique() == 2:
            model.fit(features[learnt], labels.iloc[learnt])
            known = model.decision_function(features[learnt])
            # Scores of all folds are ranked together, so every fold is brought to one scale.
            scores.iloc[kept] = (model.decision_function(features[kept]) - known.mean()) / max(known.std(), 1e-12)
    return scores


def detector_scores(values: pd.DataFrame, case: Case, prompts: pd.DataFrame, seed: int) -> dict[str, pd.Series]:
    """Scores of every detector for the prompts of a case, indexed by prompt id; an undefined score is NaN.

    Memorised prompts have the higher scores with every detector. If the record of a detector says the opposite, its scores are
    negated.

    Args:
        values: table that prompt_magnitudes returns.
        prompts: prompt_id, prompt, target.
    """
    about = prompts.set_index("prompt_id").reindex(case.labels.index)
    seen, groups = values.reindex(case.labels.index).join(about["prompt"]), _groups(about)
    return {name: _scores(record, seen, case.labels, groups, seed) for name, record in DETECTORS.items()}


def _scores(record: DetectorRecord, seen: pd.DataFrame, labels: pd.Series, groups: pd.Series, seed: int) -> pd.Series:
    scores = seen[record.quantities[0]] if record.score is None else record.score(seen)
    if record.learnt:
        return combined_scores(scores, labels, groups, seed)
    return scores.astype(float) if record.higher else -scores.astype(float)


def _groups(about: pd.DataFrame) -> pd.Series:
    """Target of every prompt. A prompt without a target stands for itself."""
    return about["target"].where(about["target"] != "", about.index.to_series())


def detection_rows(
    model: str, values: pd.DataFrame, case: Case, prompts: pd.DataFrame, setting: tuple[str, int], overhead: Mapping,
    interval: IntervalRule, seed: int,
) -> list[dict]:  # fmt: skip
    """Rows of tables 3 and 4 for one model, one case and one setting, with one row for every detector.

    Args:
        values: table that prompt_magnitudes returns.
        prompts: prompt_id, prompt, target.
        setting: steps in words, and number of generations.
        overhead: detector -> additional network calls, percent of the calls of a generation.
    """
    scores, known = detector_scores(values, case, prompts, seed), values.reindex(case.labels.index)
    groups = _groups(prompts.set_index("prompt_id"))
    head = {"model": model, "steps": setting[0], "generations": setting[1], "truth": case.truth, "data": case.data}
    rows = []
    for name, record in DETECTORS.items():
        row = head | {"copies": case.copies, "detector": name, "overhead_percent": overhead[name]}
        row |= _judge(scores[name], case.labels, groups, interval, seed, _lacking(record, known))
        if record.gain_over and row["status"] == "ok":
            gain = _gain(scores[name], scores[record.gain_over], case.labels, groups, interval, seed)
            row |= dict(zip(("gain", "gain_low", "gain_high"), gain))
        rows.append(row)
    return rows


def _lacking(record: DetectorRecord, known: pd.DataFrame) -> str:
    """Why a detector has no score at all.

    Args:
        known: quantities of the prompts of the case, from the table that prompt_magnitudes returns.
    """
    if known["content"].isna().all():
        return "no guidance recorded"
    if known[list(record.quantities)].isna().all().any():
        return record.lacking
    return "fewer than two targets of a class" if record.learnt else "not recorded"


def _judge(scores: pd.Series, labels: pd.Series, groups: pd.Series, interval: IntervalRule, seed: int, lacking: str) -> dict:
    known = scores.notna()
    positive, negative = scores[known & labels], scores[known & ~labels]
    row: dict[str, float | str] = {"n_positive": len(positive), "n_negative": len(negative)}
    if not len(positive) or not len(negative):
        empty = f"no {'positive' if not len(positive) else 'negative'} prompt"
        return row | {"status": "not_defined", "reason": empty if known.any() or not len(labels) else lacking}
    seen, unseen = (groups.reindex(side.index).to_numpy() for side in (positive, negative))
    area = interval.auc(positive.to_numpy(), negative.to_numpy(), seen, unseen, seed)
    row |= {"auc": area.value, "auc_low": area.low, "auc_high": area.high, "status": "ok", "reason": ""}
    row["f1"] = best_f1(positive.to_numpy(), negative.to_numpy())
    lost = int((~known).sum())
    notes = [f"{lost} prompts without guidance"] if lost else []
    needed = negatives_needed(RATE)
    if len(negative) < needed:
        notes.append(f"1 % FPR needs {needed} negatives, there are {len(negative)}")
    else:
        row |= _rate_columns(positive.to_numpy(), negative.to_numpy(), interval)
    return row | {"reason": "; ".join(notes)}


def _rate_columns(positive: np.ndarray, negative: np.ndarray, interval: IntervalRule) -> dict:
    found = round(tpr_at_fpr(positive, negative, RATE).tpr * len(positive))
    share = interval.share(found, len(positive))
    return {"tpr_at_1_fpr": share.value, "tpr_low": share.low, "tpr_high": share.high}


def _gain(
    first: pd.Series, second: pd.Series, labels: pd.Series, groups: pd.Series, interval: IntervalRule, seed: int
) -> Interval:
    """AUC of one detector minus the AUC of another, on the prompts that both detectors score."""
    both = pd.DataFrame({"first": first, "second": second}).dropna()
    positive, negative = (both[labels.reindex(both.index) == wanted] for wanted in (True, False))
    seen, unseen = (groups.reindex(side.index).to_numpy() for side in (positive, negative))
    return interval.auc_gain(positive.to_numpy(), negative.to_numpy(), seen, unseen, seed)


def best_f1(positive: np.ndarray, negative: np.ndarray) -> float:
    """Highest F1 of any threshold. The threshold is chosen on the same prompts, as in the literature, so this is an upper
    bound.

    >>> round(best_f1(np.array([2.0, 3.0]), np.array([1.0, 2.5])), 3)
    0.8
    """
    from sklearn.metrics import precision_recall_curve

    truth = np.repeat([1, 0], [len(positive), len(negative)])
    precision, recall, _ = precision_recall_curve(truth, np.concatenate([positive, negative]))
    return float((2 * precision * recall / np.maximum(precision + recall, 1e-12)).max())


def model_rows(
    model: str, probes: pd.DataFrame, guidance: pd.DataFrame, prompts: pd.DataFrame, cases: list[Case], calls: Calls,
    interval: IntervalRule, seed: int,
) -> list[dict]:  # fmt: skip
    """Rows of one model for the first step, the first ten steps and all steps, with one generation and with all.

    The first step of one generation was probed for every prompt. All other settings cover only the prompts that were generated.

    Args:
        probes: guidance of the probed first steps: clip_id, prompt_id, step, frame, quantity, value.
        guidance: guidance that was recorded while generating, with these columns.
        prompts: prompt_id, prompt, target, split, copies of all prompts whose status is ok.
        calls: network calls that a generation takes.
    """
    rows, numbers = [], sample_numbers(guidance["clip_id"])
    for (words, steps), most in product(STEPS.items(), sorted({1, int(numbers.max()) + 1} if len(numbers) else {1})):
        probed = steps == most == 1
        source, samples = (probes, sample_numbers(probes["clip_id"])) if probed else (guidance, numbers)
        values, extra = prompt_magnitudes(source, samples, steps, most), calls.overhead(probed)
        for case in cases:
            asked = case if probed else _generated(case, prompts)
            rows += detection_rows(model, values, asked, prompts, (words, most), extra, interval, seed)
    return rows


@dataclass(frozen=True)
class Calls:
    """Numbers of network calls of a generation and of a probe of its first step.

    Attributes:
        steps: denoising steps of a generation.
        extra_pass: whether the guidance pass was added for the probe, because the generation makes none.
    """

    steps: int
    extra_pass: bool = False

    def overhead(self, probed: bool) -> dict[str, float]:
        """Additional calls of every detector, percent of the calls of the generation itself.

        Args:
            probed: whether the detector uses the probed first step. Otherwise it uses what was recorded while generating.
        """
        share = 100 / self.steps if probed else 0.0
        base = share if self.extra_pass else 0.0
        return {name: base + share * record.further_pass if record.quantities else 0.0 for name, record in DETECTORS.items()}


def _generated(case: Case, prompts: pd.DataFrame) -> Case:
    """Restrict a case to the prompts that were generated, not only probed."""
    probed = prompts[prompts["split"] == "negative"]["prompt_id"]
    return replace(case, labels=case.labels[~case.labels.index.isin(probed)])


def sample_numbers(clip_ids: pd.Series) -> pd.Series:
    """Number of the sample of every distinct clip id, indexed by clip id."""
    names = pd.Series(clip_ids.unique(), dtype=str)
    return pd.Series(names.str.rsplit("-s", n=1).str[-1].astype(int).to_numpy(), index=names.to_numpy())


def one_step_scores(probes: pd.DataFrame, prompts: pd.DataFrame) -> pd.DataFrame:
    """One-step white-box score of every probed prompt of the audit: prompt_id, prompt, target, value."""
    chosen = probes[probes["quantity"] == "one_step"]
    means = chosen.groupby(["prompt_id", "clip_id"])["value"].mean().groupby("prompt_id").mean()
    table = prompts.assign(value=prompts["prompt_id"].map(means).astype(float))[["prompt_id", "prompt", "target", "value"]]
    return table[table["value"].notna()].reset_index(drop=True)


def why_not_defined(settings: Mapping) -> str:
    """Why a model has no detection by guidance.

    Args:
        settings: entry of the model in the configuration.
    """
    if settings["kind"] == "files":
        return NOT_DONE["detection"]
    if settings["unconditional"]:
        return "an unconditional model: there is no prompt to guide by"
    if settings["first_frame"]:
        return "a model that starts from a frame: there are no negative prompts with one"
    return "no guidance pass was seen: distilled, guidance off or not from the first step, or an unknown layout (see the log)"


def not_defined_row(model: str, reason: str) -> dict:
    """Row of a model for which detection by guidance is not defined. It has a reason and no numbers."""
    return {"model": model, "detector": "all", "n_positive": 0, "n_negative": 0, "status": "not_defined", "reason": reason}


def as_table(rows: list[dict]) -> pd.DataFrame:
    """Table of rows with the columns COLUMNS. A missing text is '', a missing number is NaN."""
    # The number of generations is text, too. As numbers, one missing value would turn all of them into floats.
    text = ["steps", "generations", "truth", "data", "copies", "status", "reason"]
    rows = [row | {name: str(row.get(name, "")) for name in text} for row in rows]
    return pd.DataFrame(rows, columns=COLUMNS)

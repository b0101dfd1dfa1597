"""Detection of memorised prompts while a model generates: magnitudes of the guidance, and how well they tell prompts apart.

Every detector is judged on the same prompts, by one rule. Whether a prompt is memorised is said by one of two truths, which
are never mixed: 'planted', how often training saw the clip behind the caption, or 'metric', whether what the model generated
for it matches its training data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pandas as pd

from .elsewhere import NOT_DONE
from .statistics import Interval, auc_gain_interval, auc_interval, negatives_needed, share_interval, tpr_at_fpr

BASELINES = ("attention_entropy", "bright_ending", "alignment", "curvature")
"""Detectors of others, computed by vidmem.baselines."""
DETECTORS = (
    "content", "motion", "ratio", "combined", *BASELINES, "anisotropy", "prediction_norm", "latent_norm", "prompt_length",
)  # fmt: skip
"""content, motion: magnitudes; ratio: motion over content; combined: logistic on both, out of fold; anisotropy: the same on
content and alignment; the last three are trivial."""
FURTHER_PASS = ("alignment", "anisotropy", "curvature")
"""Detectors that ask for one more guidance pass."""

REASONS = {
    "attention_entropy": "no cross-attention read: none there, or not asked for (detection.baselines)",
    "bright_ending": "its mask is of the last step of a generation with cross-attention, if asked for (detection.baselines)",
    "alignment": "asked for at the first step of one generation only (detection.baselines)",
}
REASONS |= {"anisotropy": REASONS["alignment"], "curvature": REASONS["alignment"]}
RATE = 0.01
STEPS = {"1": 1, "first 10": 10, "all": None}
COLUMNS = [
    "model", "detector", "steps", "generations", "truth", "data", "copies", "n_positive", "n_negative", "auc", "auc_low",
    "auc_high", "f1", "tpr_at_1_fpr", "tpr_low", "tpr_high", "overhead_percent", "gain", "gain_low", "gain_high", "status",
    "reason",
]  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Prompts to be told apart.

    Attributes:
        truth: 'planted' or 'metric'.
        data: 'video', 'image' or 'any': what the positives were planted as.
        copies: how often, in words.
        labels: prompt id -> whether it is a positive; prompts of neither class are not in it.
    """

    truth: str
    data: str
    copies: str
    labels: pd.Series


def planted_cases(prompts: pd.DataFrame, least: int) -> Iterator[Case]:
    """Cases of the planted truth: prompts seen so often, fewer times each apart, against those no clip was planted for.

    Args:
        prompts: prompt_id, split, copies of the prompts whose status is ok. Those of a list without a clip of the corpus have
            no split: nothing is known of them, and they are in no class.
        least: copies from which a prompt counts as planted.
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
    """Prompts that no clip was planted for: of scenes that were held out or never shown."""
    return prompts["split"].isin(["negative", "heldout"])


def metric_case(verdicts: pd.DataFrame) -> Case:
    """Case of the metric truth, from prompt_verdicts: of the prompts that could be scored, those that are memorised."""
    known = verdicts[(verdicts["n_ok"] > 0) & verdicts["defined"]].set_index("prompt_id")
    return Case("metric", "any", "any", known["memorised"].astype(bool))


def prompt_magnitudes(guidance: pd.DataFrame, samples: pd.Series, steps: int | None, generations: int) -> pd.DataFrame:
    """Magnitudes of every prompt: means over its frames, its first steps and its first samples.

    Args:
        guidance: clip_id, prompt_id, step, frame, quantity, value.
        samples: number of the sample of every clip id.
        steps: first so many; None for all.
        generations: first so many samples.

    Returns:
        Indexed by prompt id: content, motion, ratio, the baselines, prediction_norm, latent_norm; NaN where a quantity is not
        recorded.
    """
    chosen = guidance[guidance["clip_id"].map(samples) < generations]
    chosen = chosen if steps is None else chosen[chosen["step"] < steps]
    # First over frames, then over steps, then over samples: each counts alike, however many frames a quantity has.
    means = chosen.groupby(["prompt_id", "clip_id", "step", "quantity"])["value"].mean()
    means = means.groupby(["prompt_id", "clip_id", "quantity"]).mean().groupby(["prompt_id", "quantity"]).mean().unstack()
    means = means.reindex(columns=["content", "motion", *BASELINES, "conditional", "latent"])
    means = means.rename(columns={"conditional": "prediction_norm", "latent": "latent_norm"})
    return means.assign(ratio=means["motion"] / means["content"].where(means["content"] > 0)).astype(float)


def combined_scores(features: pd.DataFrame, labels: pd.Series, groups: pd.Series, seed: int, folds: int = 5) -> pd.Series:
    """Log-odds of a logistic regression on some quantities, for prompts whose target it did not learn from.

    Args:
        features: indexed by prompt id; a prompt that lacks one gets NaN.
        labels, groups: class and target of every prompt, same index.

    Returns:
        NaN for all where a class has fewer targets than two, so that nothing could be held out.
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
            # Every fold has its own scale: scores of different folds are ranked together.
            scores.iloc[kept] = (model.decision_function(features[kept]) - known.mean()) / max(known.std(), 1e-12)
    return scores


def detector_scores(values: pd.DataFrame, case: Case, prompts: pd.DataFrame, seed: int) -> dict[str, pd.Series]:
    """Scores of every detector for the prompts of a case, indexed by prompt id; NaN where one is not defined.

    Args:
        values: of prompt_magnitudes; prompts: prompt_id, prompt, target.
    """
    about = prompts.set_index("prompt_id").reindex(case.labels.index)
    own = values.reindex(case.labels.index)
    logarithms, groups = np.log(own[["content", "motion"]].clip(lower=1e-12)), _groups(about)
    scores = {name: own[name] for name in ("content", "motion", "ratio", *BASELINES, "prediction_norm", "latent_norm")}
    for name, features in (
        ("combined", logarithms), ("anisotropy", logarithms[["content"]].join(own["alignment"])),
    ):  # fmt: skip
        scores[name] = combined_scores(features, case.labels, groups, seed)
    return scores | {"prompt_length": about["prompt"].str.len().astype(float)}


def _groups(about: pd.DataFrame) -> pd.Series:
    """Target of every prompt; a prompt without one is its own."""
    return about["target"].where(about["target"] != "", about.index.to_series())


def detection_rows(
    model: str, values: pd.DataFrame, case: Case, prompts: pd.DataFrame, setting: tuple[str, int], overhead: Mapping,
    interval: Mapping, seed: int,
) -> list[dict]:  # fmt: skip
    """Rows of tables 3 and 4 for one model, one case and one setting: one a detector.

    Args:
        values: of prompt_magnitudes; prompts: prompt_id, prompt, target.
        setting: steps in words, and generations.
        overhead: further network calls of every detector, percent of those of a generation.
        interval: level, method and draws.
    """
    scores = detector_scores(values, case, prompts, seed)
    groups = _groups(prompts.set_index("prompt_id"))
    head = {"model": model, "steps": setting[0], "generations": setting[1], "truth": case.truth, "data": case.data}
    rows = []
    for name in DETECTORS:
        row = head | {"copies": case.copies, "detector": name, "overhead_percent": overhead[name]}
        row |= _judge(scores[name], case.labels, groups, interval, seed, _lacking(name, scores))
        if name == "combined" and row["status"] == "ok":
            gain = _gain(scores["combined"], scores["content"], case.labels, groups, interval, seed)
            row |= dict(zip(("gain", "gain_low", "gain_high"), gain))
        rows.append(row)
    return rows


def _lacking(name: str, scores: Mapping[str, pd.Series]) -> str:
    """Why a detector has no score at all."""
    if scores["content"].isna().all():
        return "no guidance recorded"
    if scores["motion"].isna().all() and name in ("motion", "ratio", "combined"):
        return "a sample of one frame has no motion"
    needs = {"combined": "motion", "anisotropy": "alignment"}
    if name in needs and scores[needs[name]].notna().any():
        return "fewer than two targets of a class"
    return REASONS.get(name, "not recorded")


def _judge(scores: pd.Series, labels: pd.Series, groups: pd.Series, interval: Mapping, seed: int, lacking: str) -> dict:
    known = scores.notna()
    positive, negative = scores[known & labels], scores[known & ~labels]
    row = {"n_positive": len(positive), "n_negative": len(negative)}
    if not len(positive) or not len(negative):
        empty = f"no {'positive' if not len(positive) else 'negative'} prompt"
        return row | {"status": "not_defined", "reason": empty if known.any() or not len(labels) else lacking}
    clusters = (groups.reindex(side.index).to_numpy() for side in (positive, negative))
    area = auc_interval(positive.to_numpy(), negative.to_numpy(), *clusters, seed, interval["draws"], interval["level"])
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


def _rate_columns(positive: np.ndarray, negative: np.ndarray, interval: Mapping) -> dict:
    found = round(tpr_at_fpr(positive, negative, RATE).tpr * len(positive))
    share = share_interval(found, len(positive), interval["level"], interval["method"])
    return {"tpr_at_1_fpr": share.value, "tpr_low": share.low, "tpr_high": share.high}


def _gain(first: pd.Series, second: pd.Series, labels: pd.Series, groups: pd.Series, interval: Mapping, seed: int) -> Interval:
    """AUC of one detector less that of another, on the prompts both know."""
    both = pd.DataFrame({"first": first, "second": second}).dropna()
    sides = [both[labels.reindex(both.index) == wanted] for wanted in (True, False)]
    clusters = [groups.reindex(side.index).to_numpy() for side in sides]
    return auc_gain_interval(*(side.to_numpy() for side in sides), *clusters, seed, interval["draws"], interval["level"])


def best_f1(positive: np.ndarray, negative: np.ndarray) -> float:
    """Highest F1 of any threshold on these very prompts: an upper end, as the literature reports it.

    >>> round(best_f1(np.array([2.0, 3.0]), np.array([1.0, 2.5])), 3)
    0.8
    """
    from sklearn.metrics import precision_recall_curve

    truth = np.repeat([1, 0], [len(positive), len(negative)])
    precision, recall, _ = precision_recall_curve(truth, np.concatenate([positive, negative]))
    return float((2 * precision * recall / np.maximum(precision + recall, 1e-12)).max())


def model_rows(
    model: str, probes: pd.DataFrame, guidance: pd.DataFrame, prompts: pd.DataFrame, cases: list[Case], calls: Calls,
    interval: Mapping, seed: int,
) -> list[dict]:  # fmt: skip
    """Rows of one model: first step, first ten and all steps; one generation and all.

    One first step was probed for every prompt; all else is known of the prompts that were generated.

    Args:
        probes, guidance: clip_id, prompt_id, step, frame, quantity, value.
        prompts: prompt_id, prompt, target, split, copies of all prompts whose status is ok.
        calls: that the first steps took.
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
    """Network calls of a generation, and of its first step where that is only probed.

    Attributes:
        steps: of a generation.
        extra_pass: the generation itself makes no guidance pass, one was asked for.
    """

    steps: int
    extra_pass: bool = False

    def overhead(self, probed: bool) -> dict[str, float]:
        """Calls that the generation does not make, percent of its own, for every detector.

        Args:
            probed: for the first step of probe_guidance; else for what generation recorded.
        """
        share = 100 / self.steps if probed else 0.0
        base = share if self.extra_pass else 0.0
        own = {name: base + share * (name in FURTHER_PASS) for name in DETECTORS}
        return own | {"prompt_length": 0.0}


def _generated(case: Case, prompts: pd.DataFrame) -> Case:
    """A case without the prompts that are only probed."""
    probed = prompts[prompts["split"] == "negative"]["prompt_id"]
    return replace(case, labels=case.labels[~case.labels.index.isin(probed)])


def sample_numbers(clip_ids: pd.Series) -> pd.Series:
    """Number of the sample of every distinct clip id, indexed by it."""
    names = pd.Series(clip_ids.unique(), dtype=str)
    return pd.Series(names.str.rsplit("-s", n=1).str[-1].astype(int).to_numpy(), index=names.to_numpy())


def one_step_scores(probes: pd.DataFrame, prompts: pd.DataFrame) -> pd.DataFrame:
    """One-step white-box score of every prompt of the audit: prompt_id, prompt, target, value; without those not probed."""
    chosen = probes[probes["quantity"] == "one_step"]
    means = chosen.groupby(["prompt_id", "clip_id"])["value"].mean().groupby("prompt_id").mean()
    table = prompts.assign(value=prompts["prompt_id"].map(means).astype(float))[["prompt_id", "prompt", "target", "value"]]
    return table[table["value"].notna()].reset_index(drop=True)


def why_not_defined(settings: Mapping) -> str:
    """Why a model has no detection by guidance.

    Args:
        settings: its entry in the configuration.
    """
    if settings["kind"] == "files":
        return NOT_DONE["detection"]
    if settings["unconditional"]:
        return "an unconditional model: there is no prompt to guide by"
    if settings["first_frame"]:
        return "a model that starts from a frame: there are no negative prompts with one"
    return "no guidance pass was seen: distilled, guidance off or not from the first step, or an unknown layout (see the log)"


def not_defined_row(model: str, reason: str) -> dict:
    """Row of a model that detection by guidance is not defined for: with the reason, and never a zero."""
    return {"model": model, "detector": "all", "n_positive": 0, "n_negative": 0, "status": "not_defined", "reason": reason}


def as_table(rows: list[dict]) -> pd.DataFrame:
    """Rows as a table of COLUMNS; text without a value is '', a number without one NaN."""
    # Numbers of generations as text, too: a row without any would make all of them fractions.
    text = ["steps", "generations", "truth", "data", "copies", "status", "reason"]
    rows = [row | {name: str(row.get(name, "")) for name in text} for row in rows]
    return pd.DataFrame(rows, columns=COLUMNS)

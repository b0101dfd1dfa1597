"""Tables of a model that the detection exhibits read: prompts, probes, recorded guidance, clips and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from ..base.store import load_tables
from ..features.statistics import auc
from .detectors import KINDS, Detector
from .evaluation import is_negative, planted_cases, prompt_magnitudes, sample_numbers


@dataclass(frozen=True)
class ProbedModel:
    """Prompts of one model and the guidance at the first step of each prompt.

    Attributes:
        audited: prompts of the audit, with every status.
        negatives: negative prompts, for which no clip was planted, with every status.
        probes: guidance magnitudes at the first step of all prompts.
    """

    audited: pd.DataFrame
    negatives: pd.DataFrame
    probes: pd.DataFrame

    @property
    def prompts(self) -> pd.DataFrame:
        """Audited and negative prompts whose status is ok."""
        table = pd.concat([self.audited, self.negatives], ignore_index=True)
        return table[table["status"] == "ok"].reset_index(drop=True)

    def first_step(self) -> pd.DataFrame:
        """Magnitudes at the first step of one generation, indexed by prompt id."""
        return prompt_magnitudes(self.probes, sample_numbers(self.probes["clip_id"]), 1, 1)

    def made_for(self, negative_prompt: str | None) -> dict:
        """Settings of the probed calls; see Detector.made_for."""
        probes = self.probes
        seen = {kind: probes[probes["quantity"] == kind]["value"] for kind in ("elements", "time")}
        known = {kind: float(values.iloc[0]) for kind, values in seen.items() if values.nunique() == 1}
        frames = int(probes["frame"].max()) + 1 if len(probes) else 0
        return known | {"frames": frames, "negative_prompt": negative_prompt or ""}

    def detectors(self, name: str, least: int, negative_prompt: str | None) -> list[Detector]:
        """Detectors of the recorded quantities. Their AUC is measured on videos with at least `least` planted copies."""
        values, prompts = self.first_step(), self.prompts
        cases = [case.labels for case in planted_cases(prompts, least) if (case.data, case.copies) == ("video", f"{least}+")]
        planted, harmless = cases[0][cases[0]].index if cases else [], prompts[is_negative(prompts)]["prompt_id"]
        found = []
        for kind in KINDS:
            known = values[kind].dropna().astype(float)
            positive, negative = (known[known.index.isin(chosen)].to_numpy() for chosen in (planted, harmless))
            if len(negative):
                found.append(Detector(name, kind, negative, auc(positive, negative), self.made_for(negative_prompt)))
        return found


@dataclass(frozen=True)
class ModelGuidance(ProbedModel):
    """A model that takes prompts, with the clips it generated.

    Attributes:
        guidance: guidance magnitudes at every step of the generated clips.
        clips: table of the generated clips.
        scores: scores of the generated clips.
    """

    guidance: pd.DataFrame
    clips: pd.DataFrame
    scores: pd.DataFrame

    @property
    def extra_pass(self) -> bool:
        """Whether the guidance pass was added for the probes. This is so if the generation recorded no guidance."""
        return not len(self.guidance) and bool(len(self.probes))


def load_model(files: Mapping[str, Sequence[str]]) -> ModelGuidance:
    """Load the tables of one model.

    Args:
        files: prompts, negatives, probes, guidance, clips, scores -> files of the model, one for every shard.
    """
    return ModelGuidance(
        *(load_tables(files[kind]) for kind in ("prompts", "negatives", "probes", "guidance", "clips", "scores"))
    )

"""What the detection exhibits read of a model: its prompts, probes, recorded guidance, clips and scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from .detection import is_negative, planted_cases, prompt_magnitudes, sample_numbers
from .detectors import KINDS, Detector
from .statistics import auc
from .store import load_table, load_tables


@dataclass(frozen=True)
class ProbedModel:
    """Prompts of one model and the first step of each.

    Attributes:
        audited: its prompts; negatives: those no clip was planted for; both of every status.
        probes: magnitudes of the first step of all.
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
        """Magnitudes of the first step of one generation, by prompt id."""
        return prompt_magnitudes(self.probes, sample_numbers(self.probes["clip_id"]), 1, 1)

    def made_for(self, negative_prompt: str | None) -> dict:
        """What the probed calls had in common, see Detector."""
        probes = self.probes
        seen = {kind: probes[probes["quantity"] == kind]["value"] for kind in ("elements", "time")}
        known = {kind: float(values.iloc[0]) for kind, values in seen.items() if values.nunique() == 1}
        frames = int(probes["frame"].max()) + 1 if len(probes) else 0
        return known | {"frames": frames, "negative_prompt": negative_prompt or ""}

    def detectors(self, name: str, least: int, negative_prompt: str | None) -> list[Detector]:
        """Detectors of the quantities that are recorded, judged on the videos planted at least so often."""
        values, prompts = self.first_step(), self.prompts
        cases = [case.labels for case in planted_cases(prompts, least) if (case.data, case.copies) == ("video", f"{least}+")]
        planted, harmless = cases[0][cases[0]].index if cases else [], prompts[is_negative(prompts)]["prompt_id"]
        found = []
        for kind in KINDS:
            known = values[kind].dropna()
            positive, negative = (known[known.index.isin(chosen)].to_numpy() for chosen in (planted, harmless))
            if len(negative):
                found.append(Detector(name, kind, negative, auc(positive, negative), self.made_for(negative_prompt)))
        return found


@dataclass(frozen=True)
class ModelGuidance(ProbedModel):
    """One model that takes prompts, with what it generated.

    Attributes:
        guidance: magnitudes of every step of what was generated.
        clips, scores: of that.
    """

    guidance: pd.DataFrame
    clips: pd.DataFrame
    scores: pd.DataFrame

    @property
    def extra_pass(self) -> bool:
        """Whether the probes asked for calls that the generation does not make: it recorded no guidance of its own."""
        return not len(self.guidance) and bool(len(self.probes))


def load_model(inputs, place: int, shards: int) -> ModelGuidance:
    """The tables of one model out of those of all, which come model by model, shard by shard."""

    def own(paths: Sequence[str]) -> pd.DataFrame:
        return load_tables(paths[place * shards : (place + 1) * shards])

    single = (load_table(paths[place]) for paths in (inputs.prompts, inputs.negatives))
    return ModelGuidance(
        *single, *(own(paths) for paths in (inputs.probes, inputs.guidance, inputs.clips)), load_table(inputs.scores[place])
    )

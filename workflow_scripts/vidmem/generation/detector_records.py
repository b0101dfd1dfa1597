"""Detectors of memorised prompts, one record each. All other code that deals with detectors reads these records.

A new detector needs a record in RECORDS. If it records a quantity of its own, it also needs a file with its reader.

The rules read the records in every job. So this module imports the standard library only, and the code of a reader is imported
when the reader is built.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import VidmemError

if TYPE_CHECKING:
    import pandas as pd
    from diffusers import SchedulerMixin

    from .guidance import Reader


@dataclass(frozen=True)
class DetectorRecord:
    """A detector: the quantities of a guidance pass that it reads, and the score that it gives a prompt.

    Attributes:
        name: name in the tables. If the detector has a reader, also the name of the quantity that the reader records.
        label: name in the figures.
        quantities: recorded quantities that the score is made of; none if it is made of the prompt alone.
        score: takes a table indexed by prompt id, with the mean of every recorded quantity and the column prompt. Returns the
            score of every prompt, or several columns if the detector is learnt. None: the score is the one quantity itself.
        learnt: whether a logistic regression makes one score of the columns. Scores are out of fold.
        higher: whether memorised prompts have higher scores than others; False if they have lower ones.
        gain_over: the tables subtract the AUC of this detector, in the columns gain; '' for none.
        curve: place among the curves of Figure 7, from 1; 0 if the figure leaves the detector out.
        lacking: reason in the tables if one of the quantities was not recorded.
        reader: builds, for the scheduler of a pipeline, the reader of one more quantity of a guidance pass. An audit records it
            if `detection.baselines` names the detector. None if the detector only needs quantities that are always recorded.
        attention: whether the reader needs the cross-attention. A generation then records the quantity at every step.
        further_pass: whether the detector needs one more guidance pass. Only the first step of one generation is then read.
        at_end: whether the quantity is only known after the last step, from the reader's method finish. A probe of one step
            then has no such quantity.
        per_frame: whether the reader gives a value for every frame; False for one value per step.
    """

    name: str
    label: str
    quantities: tuple[str, ...]
    score: Callable[[pd.DataFrame], pd.Series | pd.DataFrame] | None = None
    learnt: bool = False
    higher: bool = True
    gain_over: str = ""
    curve: int = 0
    lacking: str = "not recorded"
    reader: Callable[[SchedulerMixin | None], Reader] | None = None
    attention: bool = False
    further_pass: bool = False
    at_end: bool = False
    per_frame: bool = True

    def built(self, scheduler: SchedulerMixin | None) -> Reader:
        """Reader of the detector's own quantity, for the scheduler of a pipeline.

        Raises:
            ValueError: the detector records no quantity of its own.
        """
        if self.reader is None:
            raise ValueError(f"the detector {self.name} has no reader")
        return self.reader(scheduler)


def _ratio(seen: pd.DataFrame) -> pd.Series:
    return seen["motion"] / seen["content"].where(seen["content"] > 0)


def _logarithm(values: pd.DataFrame) -> pd.DataFrame:
    import numpy as np

    return np.log(values.astype(float).clip(lower=1e-12))


def _entropy_reader(scheduler: SchedulerMixin | None) -> Reader:
    from .baselines import read_entropy

    return read_entropy


def _ending_reader(scheduler: SchedulerMixin | None) -> Reader:
    from .baselines import BrightEnding

    return BrightEnding()


def _alignment_reader(scheduler: SchedulerMixin) -> Reader:
    from .baselines import alignment_reader

    return alignment_reader(scheduler)


def _curvature_reader(scheduler: SchedulerMixin | None) -> Reader:
    from .baselines import guidance_curvature

    return guidance_curvature


STILL = "a sample of one frame has no motion"
FIRST_STEP = "asked for at the first step of one generation only (detection.baselines)"

DETECTORS: dict[str, DetectorRecord] = {}
"""Every detector by its name, in the order of the tables. register_detector adds one."""


def register_detector(record: DetectorRecord) -> None:
    """Add a detector.

    Raises:
        VidmemError: there is a detector of this name.
    """
    if record.name in DETECTORS:
        raise VidmemError("a detector of a new name", f"{record.name}, which is there", "register_detector")
    DETECTORS[record.name] = record


for _record in (
    # Our magnitudes of the guidance.
    DetectorRecord("content", "content magnitude", ("content",), curve=1),
    DetectorRecord("motion", "motion magnitude", ("motion",), curve=2, lacking=STILL),
    DetectorRecord("ratio", "motion / content", ("content", "motion"), _ratio, curve=3, lacking=STILL),
    DetectorRecord(
        "combined", "combined", ("content", "motion"), lambda seen: _logarithm(seen[["content", "motion"]]), learnt=True,
        gain_over="content", curve=4, lacking=STILL,
    ),
    # Published detectors: papers and formulas are in generation/baselines.py.
    DetectorRecord(
        "attention_entropy", "attention entropy", ("attention_entropy",), curve=5, reader=_entropy_reader, attention=True,
        per_frame=False, lacking="no cross-attention read: none there, or not asked for (detection.baselines)",
    ),
    DetectorRecord(
        "bright_ending", "bright ending", ("bright_ending",), reader=_ending_reader, attention=True, at_end=True,
        lacking="its mask is of the last step of a generation with cross-attention, if asked for (detection.baselines)",
    ),
    DetectorRecord(
        "alignment", "alignment", ("alignment",), reader=_alignment_reader, further_pass=True, lacking=FIRST_STEP
    ),
    DetectorRecord(
        "curvature", "curvature", ("curvature",), curve=7, reader=_curvature_reader, further_pass=True, lacking=FIRST_STEP
    ),
    DetectorRecord(
        "anisotropy", "anisotropy", ("content", "alignment"),
        lambda seen: _logarithm(seen[["content"]]).join(seen["alignment"]), learnt=True, curve=6, further_pass=True,
        lacking=FIRST_STEP,
    ),
    # Trivial detectors, which the others have to beat.
    DetectorRecord("prediction_norm", "norm of the prediction", ("conditional",), curve=8),
    DetectorRecord("latent_norm", "norm of the latents", ("latent",)),
    DetectorRecord("prompt_length", "length of the prompt", (), lambda seen: seen["prompt"].str.len(), curve=9),
):  # fmt: skip
    register_detector(_record)


def baselines() -> list[str]:
    """Names that `detection.baselines` of a configuration may have: the detectors with a reader of their own."""
    return [name for name, record in DETECTORS.items() if record.reader is not None]


def asked(names: Collection[str]) -> list[DetectorRecord]:
    """Records of the detectors that `detection.baselines` names."""
    return [record for name, record in DETECTORS.items() if name in names]


def of_first_step(names: Collection[str]) -> list[DetectorRecord]:
    """Records of the detectors that `detection.baselines` names and that a probe of the first step can read."""
    return [record for record in asked(names) if record.reader is not None and not record.at_end]


def of_every_step() -> list[DetectorRecord]:
    """Records of the detectors that a generation reads at every step, provided that it reads the cross-attention."""
    return [record for record in DETECTORS.values() if record.attention and not record.further_pass]


def need_attention(records: Iterable[DetectorRecord]) -> bool:
    """Whether one of the detectors reads the cross-attention."""
    return any(record.attention for record in records)

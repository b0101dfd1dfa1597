"""Reducers of a guidance pass that also record the quantities of detectors, as the detectors' records say."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import torch

from .detector_records import of_every_step, of_first_step
from .guidance import GuidancePass, Reducer, guidance_magnitudes

if TYPE_CHECKING:
    from diffusers import SchedulerMixin


class AttentionQuantities:
    """Reducer that adds the quantities of all detectors that read the cross-attention to another reducer's quantities.

    Some quantities are only known after the last step: call finish when the generation is over.

    Args:
        reduce: the other reducer, called at every step.
        scheduler: scheduler of the pipeline, which the readers are built for.

    Attributes:
        records: records of the detectors.
        readers: reader of each detector by its name.
    """

    def __init__(self, reduce: Reducer = guidance_magnitudes, scheduler: SchedulerMixin | None = None):
        self.reduce, self.records = reduce, of_every_step()
        self.readers: dict[str, Any] = {record.name: record.built(scheduler) for record in self.records}

    def __call__(self, branches: GuidancePass) -> dict[str, torch.Tensor]:
        read = {name: reader(branches) for name, reader in self.readers.items()}
        return self.reduce(branches) | {name: values for name, values in read.items() if values is not None}

    def finish(self, steps: list[dict[str, torch.Tensor]]) -> None:
        """Add the quantities that are only known after the last step.

        Args:
            steps: quantities of every step; each of these dictionaries is extended.
        """
        for record in self.records:
            values = self.readers[record.name].finish() if record.at_end else []
            if len(values) == len(steps):
                for quantities, value in zip(steps, values, strict=True):
                    quantities[record.name] = value


def probing(reduce: Reducer, scheduler: SchedulerMixin, names: Collection[str]) -> Reducer:
    """Reducer of the first step that adds the quantities of some detectors to another reducer's quantities.

    If a pipeline does not allow a quantity, it is left out.

    Args:
        reduce: the other reducer.
        scheduler: scheduler of the pipeline, which the readers are built for.
        names: detectors that `detection.baselines` names. Quantities that are only known after the last step are left out.
    """
    readers = [(record, record.built(scheduler)) for record in of_first_step(names)]

    def all_of_them(branches: GuidancePass) -> dict[str, torch.Tensor]:
        quantities = reduce(branches)
        repeatable = branches.again is not None and branches.latents.shape == branches.conditional.shape
        for record, reader in readers:
            values = reader(branches) if repeatable or not record.further_pass else None
            quantities |= {} if values is None else {record.name: values}
        return quantities

    return all_of_them

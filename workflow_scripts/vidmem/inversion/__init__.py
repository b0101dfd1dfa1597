"""InvMM: how far from the prior must the initial noise be for a model to reproduce a target? Low: memorised."""

from .acceptance import Acceptance, AcceptanceRule, accept
from .adapters import InvertibleModel, frozen
from .conditioning import MODES, Conditioning
from .engine import Inversion, InversionPlan, Inverter, Target, replay
from .objective import DiffusionPath, FlowPath, divergence, nats_per_image, path_of
from .presets import PRESETS, plan_of
from .sampling import sample
from .schedule import AdaptiveWeights, WeightRule

__all__ = [
    "MODES",
    "PRESETS",
    "Acceptance",
    "AcceptanceRule",
    "AdaptiveWeights",
    "Conditioning",
    "DiffusionPath",
    "FlowPath",
    "Inversion",
    "InversionPlan",
    "Inverter",
    "InvertibleModel",
    "Target",
    "WeightRule",
    "accept",
    "divergence",
    "frozen",
    "nats_per_image",
    "path_of",
    "plan_of",
    "replay",
    "sample",
]

"""Named plans: the constants of the official scripts, and ours.

The official ones (docs/methods.md) also name the size SSCD saw its pictures at, which is a descriptor preset here and not
part of a plan.
"""

from __future__ import annotations

from dataclasses import fields, replace

from ..errors import VidmemError
from .acceptance import AcceptanceRule
from .engine import InversionPlan
from .schedule import WeightRule

_SCALES = tuple(float(scale) for scale in range(1, 8))

PRESETS = {
    # Pixels 3 x 32 x 32 (CIFAR-10); SSCD at 32 pixels.
    "ddpm": InversionPlan(WeightRule(50, 1e-4), AcceptanceRule(), batch=32, sampler_steps=200),
    # VQ latents (CelebA-HQ, FFHQ); SSCD at 256 pixels.
    "ldm": InversionPlan(WeightRule(10, 5e-4, monitor="total"), AcceptanceRule(), batch=16, sampler_steps=50),
    # KL latents, posterior mode; SSCD at 320 pixels.
    "sd1": InversionPlan(
        WeightRule(50, 1e-3, monitor="total"), AcceptanceRule(scales=_SCALES), batch=16, sampler_steps=50, mode="prompt"
    ),
    "sd2": InversionPlan(
        WeightRule(50, 1e-3, monitor="total"), AcceptanceRule(scales=_SCALES), batch=16, sampler_steps=50, mode="prompt"
    ),
    # Flow matching; the official script takes a sample of the posterior, this one its mode; SSCD at 320 pixels.
    "sd3": InversionPlan(
        WeightRule(50, 1e-3, monitor="total"),
        AcceptanceRule(scales=_SCALES[:5]),
        batch=16,
        sampler="FlowMatchEulerDiscreteScheduler",
        sampler_steps=50,
        mode="caption",
    ),
    # Ours, for the default audit: the same rule on a budget of minutes.
    "small": InversionPlan(WeightRule(25, 1e-3), AcceptanceRule(), steps=300, batch=8, sampler_steps=20),
    # Ours: the prior is tested first, and a score is the lowest of four checks after the first success (docs/methods.md).
    "calibrated": InversionPlan(
        WeightRule(25, 1e-3), AcceptanceRule(), steps=600, batch=8, sampler_steps=20, prior_check=True, refine=4
    ),
}


def plan_of(preset: str, mode: str, changes: dict) -> InversionPlan:
    """A preset with changes.

    Args:
        preset: name in PRESETS.
        mode: how the model is conditioned; '' for that of the preset.
        changes: fields of the plan, of its weight rule or of its acceptance rule, by name.

    Raises:
        VidmemError: a field that no part of a plan has.
    """
    plan = PRESETS[preset]
    parts = {"weights": plan.weights, "acceptance": plan.acceptance}
    known = {field.name: name for name, part in parts.items() for field in fields(part)}
    known |= {field.name: "" for field in fields(plan) if field.name not in parts}
    for key, value in changes.items():
        if key not in known:
            raise VidmemError(f"one of {sorted(known)}", key, "inversions.<name>.plan")
        value = tuple(value) if isinstance(value, list) else value
        if known[key]:
            parts[known[key]] = replace(parts[known[key]], **{key: value})
        else:
            plan = replace(plan, **{key: value})
    if mode == "none" and "scales" in changes:
        raise VidmemError("no guidance scales in mode none", changes["scales"], "inversions.<name>.plan.scales")
    if mode == "none":
        parts["acceptance"] = replace(parts["acceptance"], scales=(1.0,))
    return replace(plan, **parts, mode=mode or plan.mode)

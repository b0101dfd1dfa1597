"""Named plans of inversions: the constants of the official scripts, and our own plans.

The official scripts (docs/methods.md) also state the size at which SSCD saw its pictures. In this library that is a preset of
the descriptor, not part of a plan.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

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
    # Flow matching; SSCD at 320 pixels. The official script takes a sample of the posterior; this library takes its mode.
    "sd3": InversionPlan(
        WeightRule(50, 1e-3, monitor="total"),
        AcceptanceRule(scales=_SCALES[:5]),
        batch=16,
        sampler="FlowMatchEulerDiscreteScheduler",
        sampler_steps=50,
        mode="caption",
    ),
    # Our own plan for the default audit: the rule of the official scripts with few steps, for a budget of minutes.
    "small": InversionPlan(WeightRule(25, 1e-3), AcceptanceRule(), steps=300, batch=8, sampler_steps=20),
    # Our own plan: the prior is tested first, and an image goes on for four checks after its first success (docs/methods.md).
    "calibrated": InversionPlan(
        WeightRule(25, 1e-3), AcceptanceRule(), steps=600, batch=8, sampler_steps=20, prior_check=True, refine=4
    ),
}


def plan_of(preset: str, mode: str, changes: dict) -> InversionPlan:
    """Plan of a preset with some fields changed.

    Args:
        preset: name in PRESETS.
        mode: how the model is conditioned; '' for the mode of the preset.
        changes: field of the plan, of its weight rule or of its acceptance rule -> new value.

    Raises:
        VidmemError: neither the plan nor its rules have such a field; or guidance scales are given in mode none.
    """
    plan = PRESETS[preset]
    rules: dict[str, Any] = {"weights": plan.weights, "acceptance": plan.acceptance}
    known = {field.name: name for name, rule in rules.items() for field in fields(rule)}
    known |= {field.name: "" for field in fields(plan) if field.name not in rules}
    for key, value in changes.items():
        if key not in known:
            raise VidmemError(f"one of {sorted(known)}", key, "inversions.<name>.plan")
        value = tuple(value) if isinstance(value, list) else value
        if known[key]:
            rules[known[key]] = replace(rules[known[key]], **{key: value})
        else:
            changed: dict[str, Any] = {key: value}
            plan = replace(plan, **changed)
    if mode == "none" and "scales" in changes:
        raise VidmemError("no guidance scales in mode none", changes["scales"], "inversions.<name>.plan.scales")
    if mode == "none":
        rules["acceptance"] = replace(rules["acceptance"], scales=(1.0,))
    return replace(plan, **rules, mode=mode or plan.mode)

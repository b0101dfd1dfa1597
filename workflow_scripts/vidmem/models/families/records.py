"""Families of models with code of our own: one record for each.

The rest of the code reads everything about a family from its record. The record states the names that the configuration
accepts, the converter of official checkpoints, and the module of saved pipelines. It also has the latent axes of the networks
and the sizes that a preflight expects.

Sources of the numbers: docs/models-not-in-diffusers.md.

Standard library only: the workflow reads the records without importing torch. So a record names its module as text, and the
module is imported when a function needs it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...errors import VidmemError

if TYPE_CHECKING:  # digests of code follow imports; without these lines they would miss the families
    from . import latent_diffusion, lavie, ramvid, reference, videocrafter  # noqa: F401

PARTS_OF_STABLE_DIFFUSION_1 = {"text_encoder": 123.1e6, "vae": 83.65e6}
PARTS_OF_STABLE_DIFFUSION_2 = {"text_encoder": 340.4e6, "vae": 83.65e6}
"""Numbers of parameters of the components that a model takes from the Stable Diffusion it is based on."""


@dataclass(frozen=True)
class Variant:
    """One published model of a family.

    Attributes:
        parameters: number of parameters of every component, counted on the published configuration.
        network: keys of the network's configuration whose values differ from the defaults.
        choice: further settings for the converter, such as settings of the sampler.
        arguments: arguments of the pipeline's call as the official script gives them, by name.
    """

    parameters: Mapping[str, float]
    network: Mapping[str, Any] = field(default_factory=dict)
    choice: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelFamily:
    """A family of models.

    Attributes:
        name: `layout` of a checkpoint in the configuration.
        pipeline: class name of the pipeline, which is ours or of diffusers.
        module: full name of the module with the converter. It also has the pipeline class if the class is ours.
        converter: name of a function (weights, network, choice, base, file) -> pipeline. Empty for a family without official
            checkpoints.
        variants: published models by name. The configuration takes the first if it names none.
        based: whether a conversion also needs a saved Stable Diffusion.
        latent_axes: class name of a denoiser of ours -> axes of its latents, such as bcthw.
        call: keys of a model in the configuration (steps, guidance, ...) as the official script has them. They are used unless
            the configuration states them.
        saved_as: former full name of a module -> its name today. The index of a folder that was saved before a module moved has
            the former name.
    """

    name: str
    pipeline: str
    module: str
    converter: str = ""
    variants: Mapping[str, Variant] = field(default_factory=dict)
    based: bool = False
    latent_axes: Mapping[str, str] = field(default_factory=dict)
    call: Mapping[str, Any] = field(default_factory=dict)
    saved_as: Mapping[str, str] = field(default_factory=dict)

    def variant(self, name: str | None) -> tuple[str, Variant]:
        """Name and record of a variant. None stands for the first variant.

        Raises:
            VidmemError: the family has no such variant.
        """
        name = name or next(iter(self.variants))
        return name, _one_of(self.variants, name, "checkpoint.variant")

    def convert(self) -> Callable:
        """Import the module of the family and return its converter."""
        return getattr(importlib.import_module(self.module), self.converter)

    def modules(self) -> dict[str, str]:
        """Names of modules that the index of a saved pipeline may state -> modules to import."""
        return {self.module: self.module, **self.saved_as}


FAMILIES: dict[str, ModelFamily] = {}
"""Families by name. register_family adds one."""


def register_family(family: ModelFamily) -> None:
    """Add a family.

    Raises:
        VidmemError: there is a family of this name.
    """
    if family.name in FAMILIES:
        raise VidmemError("a model family of a new name", f"{family.name}, which is there", "register_family")
    FAMILIES[family.name] = family


def official_families() -> dict[str, ModelFamily]:
    """Families whose official checkpoints can be converted, by name."""
    return {name: family for name, family in FAMILIES.items() if family.converter}


def official_family(name: str) -> ModelFamily:
    """A family whose official checkpoints can be converted.

    Raises:
        VidmemError: no such family has this name.
    """
    return _one_of(official_families(), name, "checkpoint.layout")


def official_call(model: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of a model and its `arguments` as the official script of its family has them; {} for other models.

    Args:
        model: a diffusers model of the configuration. Its variant is that of its checkpoint, else the first of the family.
    """
    family = next((family for family in FAMILIES.values() if family.pipeline == model["pipeline"] and family.call), None)
    if family is None:
        return {}
    name = (model.get("checkpoint") or {}).get("variant") or next(iter(family.variants))
    told = dict(family.variants[name].arguments) if name in family.variants else {}
    return {**family.call, "arguments": told}


def family_pipelines() -> dict[str, str]:
    """Family -> class name of its pipeline."""
    return {name: family.pipeline for name, family in FAMILIES.items()}


def family_modules() -> tuple[str, ...]:
    """Full names of the modules of all families."""
    return tuple(family.module for family in FAMILIES.values())


def _one_of(known: Mapping[str, Any], wanted: str, key: str) -> Any:
    if wanted not in known:
        raise VidmemError(f"one of {sorted(known)}", wanted, key)
    return known[wanted]


_HERE = __name__.rpartition(".")[0]

register_family(
    ModelFamily(
        "lavie",
        "LaViePipeline",
        f"{_HERE}.lavie",
        "lavie_from_official",
        {"base": Variant({"unet": 909.1e6} | PARTS_OF_STABLE_DIFFUSION_1)},
        based=True,
        latent_axes={"LaVieUNet": "bcthw"},
        call={"steps": 50, "guidance": 7.5},
        saved_as={"vidmem.models.lavie": f"{_HERE}.lavie"},
    )
)
register_family(
    ModelFamily(
        "videocrafter",
        "VideoCrafterPipeline",
        f"{_HERE}.videocrafter",
        "videocrafter_from_official",
        {
            "v1-512": Variant({"unet": 1.1445e9} | PARTS_OF_STABLE_DIFFUSION_2),
            "v1-1024": Variant(
                {"unet": 1.1465e9} | PARTS_OF_STABLE_DIFFUSION_2,
                network={"fps_condition": True},
                choice={"scale_end": 0.3},
                arguments={"fps": 28},
            ),
            "v2-512": Variant(
                {"unet": 1.4133e9} | PARTS_OF_STABLE_DIFFUSION_2,
                network={"fps_condition": True, "relative_positions": False, "temporal_convolutions": True},
                choice={"scale_end": 0.7},
                arguments={"fps": 28},
            ),
        },
        based=True,
        latent_axes={"VideoCrafterUNet": "bcthw"},
        call={"steps": 50, "guidance": 12.0},
        saved_as={"vidmem.models.videocrafter": f"{_HERE}.videocrafter"},
    )
)
register_family(
    ModelFamily(
        "ramvid",
        "RaMViDPipeline",
        f"{_HERE}.ramvid",
        "ramvid_from_official",
        {
            "ucf-101": Variant({"unet": 308.3e6}),
            "kinetics-600": Variant({"unet": 308.3e6}),
            "bair": Variant({"unet": 235.1e6}, network={"residual_blocks": 2}),
        },
        latent_axes={"RaMViDUNet": "bcthw"},
        saved_as={"vidmem.models.ramvid": f"{_HERE}.ramvid"},
    )
)
register_family(
    ModelFamily(
        "ldm",
        "LDMPipeline",
        f"{_HERE}.latent_diffusion",
        "latent_diffusion_from_official",
        {
            "ema": Variant({"unet": 274.1e6, "vqvae": 55.32e6}, choice={"averaged": True}),
            "raw": Variant({"unet": 274.1e6, "vqvae": 55.32e6}, choice={"averaged": False}),
        },
    )
)
# The models in reference_models/. Their hashes are part of finished audits, so their indexes keep the old name of the module.
register_family(
    ModelFamily(
        "reference",
        "UnconditionalVideoPipeline",
        f"{_HERE}.reference",
        saved_as={
            f"{_HERE}.autoencoder": f"{_HERE}.autoencoder",
            "vidmem.models.autoencoder": f"{_HERE}.autoencoder",
        },
    )
)

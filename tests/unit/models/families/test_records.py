"""Records of model families: everything that they name is there, and saved pipelines of every place of a module load."""

import sys
from importlib import import_module

import pytest

from vidmem.models.families.records import FAMILIES
from vidmem.models.loading import GenerationSpec, load_pipeline, pipeline_class


@pytest.mark.parametrize("name", FAMILIES)
def test_what_a_record_names_is_there(name):
    family = FAMILIES[name]
    module = import_module(family.module)
    assert issubclass(getattr(module, family.pipeline), pipeline_class(family.pipeline))
    assert bool(family.converter) == bool(family.variants)
    assert callable(getattr(module, family.converter)) if family.converter else not family.based
    assert all(hasattr(module, network) for network in family.latent_axes)
    assert all(import_module(place).__name__ == place for place in family.modules().values())


@pytest.mark.parametrize("kind", ["text-to-image", "text-to-video", "unconditional-video"])
def test_shipped_models_load_whatever_place_of_a_module_their_index_names(kind, root, monkeypatch):
    named = [name for name in FAMILIES["reference"].modules() if name.endswith("autoencoder")]
    for name in named:
        monkeypatch.delitem(sys.modules, name, raising=False)
    pipelines = {
        "text-to-image": "StableDiffusionPipeline", "text-to-video": "TextToVideoSDPipeline",
        "unconditional-video": "UnconditionalVideoPipeline",
    }  # fmt: skip
    pipeline = load_pipeline(GenerationSpec(pipelines[kind], str(root / "reference_models" / kind)))
    assert type(pipeline.vae).__name__ == "PatchAutoencoder"

"""Official checkpoints in a configuration."""

import re

import pytest

from vidmem.config import check_pinned, complete_config
from vidmem.errors import VidmemError
from vidmem.models.families.records import family_pipelines, official_families


def test_the_configuration_knows_the_layouts(schema):
    assert list(official_families()) == schema["$defs"]["checkpoint"]["properties"]["layout"]["enum"]


CHECKPOINT = {"layout": "lavie", "file": "lavie_base.pt", "sha256": "a" * 64, "base": "stable-diffusion-v1-4"}


def config_with(**model):
    corpus = {"sources": [{"name": "clips", "kind": "folder", "path": "clips"}]}
    given = {"kind": "diffusers", "corpus": "web", "pipeline": "LaViePipeline", **model}
    return {"run": "test", "corpora": {"web": corpus}, "models": {"lavie": given}}


def test_a_converted_model_has_its_folder_as_path(schema):
    completed = complete_config(config_with(checkpoint=CHECKPOINT), schema)
    model = completed["models"]["lavie"]
    assert re.fullmatch("results/test/converted/lavie-[0-9a-f]{8}", model["path"])
    assert model["checkpoint"]["variant"] is None
    assert complete_config(completed, schema) == completed


def test_models_of_one_checkpoint_share_its_folder(schema):
    config = config_with(checkpoint=CHECKPOINT)
    model = config["models"]["lavie"]
    config["models"] |= {
        "other-prompts": model | {"prompts": {"limit": 3}, "guidance": 1.0},
        "spelt-out": model | {"checkpoint": {"variant": None, **CHECKPOINT}},
        "other-file": model | {"checkpoint": CHECKPOINT | {"sha256": "b" * 64}},
        "other-base": model | {"checkpoint": CHECKPOINT | {"base": "another"}},
        "other-network": model | {"checkpoint": CHECKPOINT | {"network": {"layers_per_block": 1}}},
    }
    paths = [model["path"] for model in complete_config(config, schema)["models"].values()]
    assert paths[:3] == [paths[0]] * 3
    assert len(set(paths)) == 4


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({}, "neither"),
        ({"path": "models/lavie", "checkpoint": CHECKPOINT}, "a path, or a checkpoint"),
        ({"checkpoint": CHECKPOINT, "pipeline": "RaMViDPipeline"}, "LaViePipeline for layout lavie"),
        ({"checkpoint": CHECKPOINT | {"sha256": "abc"}}, "sha256"),
        ({"checkpoint": CHECKPOINT | {"layout": "sora"}}, "lavie"),
        ({"checkpoint": {"layout": "lavie"}}, "the key 'file'"),
    ],
)
def test_checkpoints_in_the_configuration_are_checked(schema, model, message):
    with pytest.raises(VidmemError, match=message):
        complete_config(config_with(**model), schema, family_pipelines())


def test_a_base_from_the_hub_needs_a_commit_before_the_first_job(schema):
    config = complete_config(config_with(checkpoint=CHECKPOINT | {"base": "CompVis/stable-diffusion-v1-4"}), schema)
    with pytest.raises(VidmemError, match="base_revision"):
        check_pinned("lavie", config["models"]["lavie"])

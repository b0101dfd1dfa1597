"""Saved pipelines: what their folders lack, and the parameters in their weights."""

import json
import struct

import numpy as np
import pytest
from huggingface_hub import constants

from preflight_cases import COMMIT, write_weights
from vidmem.errors import VidmemError
from vidmem.models.saved_files import (
    count_parameters,
    find_model,
    hub_cache,
    lacking_files,
    least_memory,
    lost_files,
    parameter_counts,
    weight_files,
)
from workflow_helpers import ROOT


def test_a_whole_pipeline_lacks_nothing_and_its_parameters_are_counted(saved_pipeline):
    assert lacking_files(saved_pipeline) == []
    assert parameter_counts(saved_pipeline) == {"unet": 17, "vae": 100}


def test_headers_are_read_as_safetensors_writes_them(tmp_path):
    from safetensors.numpy import save_file

    save_file({"a": np.zeros((3, 7)), "b": np.zeros(()), "c": np.zeros(5, np.float16)}, tmp_path / "x.safetensors")
    assert count_parameters(tmp_path / "x.safetensors") == 21 + 1 + 5


@pytest.mark.parametrize(
    ("gone", "lacks"),
    [
        ("unet/diffusion_pytorch_model.safetensors", ["unet/*.safetensors"]),
        ("unet/config.json", ["unet/config.json"]),
        ("scheduler/scheduler_config.json", ["scheduler/"]),
        ("model_index.json", ["model_index.json"]),
    ],
)
def test_a_file_that_is_gone_is_named(saved_pipeline, gone, lacks):
    (saved_pipeline / gone).unlink()
    assert lacking_files(saved_pipeline) == lacks


def test_shards_of_an_index_are_looked_for_one_by_one(saved_pipeline):
    (saved_pipeline / "unet/diffusion_pytorch_model.safetensors").unlink()
    index = {"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors", "c": "part-1.safetensors"}}
    (saved_pipeline / "unet/diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    write_weights(saved_pipeline / "unet/part-1.safetensors", (2, 2))
    assert lacking_files(saved_pipeline) == ["unet/part-2.safetensors"]
    write_weights(saved_pipeline / "unet/part-2.safetensors", (9,))
    assert (lacking_files(saved_pipeline), parameter_counts(saved_pipeline)["unet"]) == ([], 13)


def test_the_variant_that_is_asked_for_counts_and_the_plain_one_stands_in(saved_pipeline):
    write_weights(saved_pipeline / "unet/diffusion_pytorch_model.fp16.safetensors", (7,))
    write_weights(saved_pipeline / "unet/diffusion_pytorch_model.non_ema.safetensors", (99,))
    assert parameter_counts(saved_pipeline, "fp16") == {"unet": 7, "vae": 100}
    assert parameter_counts(saved_pipeline) == {"unet": 17, "vae": 100}
    assert [file.name for file in weight_files(saved_pipeline / "vae", "fp16")] == ["diffusion_pytorch_model.safetensors"]


def test_a_component_may_lie_at_the_top(tmp_path):
    """As in google/ddpm-cifar10-32."""
    (tmp_path / "model_index.json").write_text(
        json.dumps({"scheduler": ["diffusers", "DDPMScheduler"], "unet": ["diffusers", "UNet2DModel"]})
    )
    for name in ("config.json", "scheduler_config.json"):
        (tmp_path / name).write_text("{}")
    assert lacking_files(tmp_path) == ["unet/*.safetensors"]
    write_weights(tmp_path / "diffusion_pytorch_model.safetensors", (6,))
    assert (lacking_files(tmp_path), parameter_counts(tmp_path)) == ([], {"unet": 6})


@pytest.mark.parametrize("content", [b"", b"\x05", struct.pack("<Q", 50) + b"{}", struct.pack("<Q", 2**60) + b"{}"])
def test_a_cut_header_is_damage_and_not_zero_parameters(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(VidmemError, match="whole safetensors"):
        count_parameters(tmp_path / "x.safetensors")


def test_snapshots_are_found_by_commit_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home/hub"))
    folder = hub_cache() / "models--org--net/snapshots" / COMMIT
    folder.mkdir(parents=True)
    assert find_model("org/net", COMMIT, hub_cache()) == folder
    assert find_model("org/net", COMMIT[::-1], hub_cache()) is None
    assert find_model("org/net", None, hub_cache()) is None
    from huggingface_hub.file_download import repo_folder_name

    assert folder.parts[-3] == repo_folder_name(repo_id="org/net", repo_type="model")


def test_memory_of_the_weights_by_number_format_and_offload():
    counts = {"unet": 100, "text_encoder": 30}
    assert least_memory(counts, "float32") == 520
    assert least_memory(counts, "bfloat16") == 260
    assert least_memory(counts, "float16", "model") == 200
    assert least_memory(counts, "float16", "sequential") == 0


@pytest.mark.parametrize("content", [{"a": 1}, {"a": {"shape": [1]}}, {"a": {"data_offsets": []}}, [], "a"])
def test_a_header_that_is_none_is_damage(tmp_path, content):
    text = json.dumps(content).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(VidmemError, match="whole safetensors"):
        count_parameters(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("names", "whole"),
    [
        ("tokenizer_config.json", False),
        ("vocab.json", False),
        ("merges.txt special_tokens_map.json", False),
        ("vocab.json merges.txt", True),
        ("tokenizer.json", True),
        ("spiece.model", True),
        ("tokenizer.model", True),
        ("vocab.txt", True),
    ],
)
def test_a_tokenizer_without_a_vocabulary_is_missing(saved_pipeline, names, whole):
    index = json.loads((saved_pipeline / "model_index.json").read_text())
    (saved_pipeline / "tokenizer_2").mkdir()
    for name in names.split():
        (saved_pipeline / "tokenizer_2" / name).write_text("{}")
    for kind, lacks in (("CLIPTokenizer", not whole), ("ByT5Tokenizer", False)):
        (saved_pipeline / "model_index.json").write_text(json.dumps(index | {"tokenizer_2": ["transformers", kind]}))
        assert lacking_files(saved_pipeline) == ["tokenizer_2/tokenizer.json (a vocabulary)"] * lacks


@pytest.mark.parametrize("name", ["text-to-image", "text-to-video", "unconditional-image", "unconditional-video"])
def test_the_reference_models_are_whole(name):
    assert lacking_files(ROOT / "reference_models" / name) == []
    assert all(parameter_counts(ROOT / "reference_models" / name).values())


def test_files_of_a_data_set_are_looked_for_in_its_own_cache(tmp_path):
    record = {"repository": "org/set", "revision": COMMIT, "path": "data", "files": {"data/a.parquet": 3, "data/b.parquet": 3}}
    folder = tmp_path / f"datasets--org--set/snapshots/{COMMIT}/data"
    assert lost_files(record, tmp_path) == list(record["files"])
    folder.mkdir(parents=True)
    (folder / "a.parquet").write_bytes(b"abc")
    assert lost_files(record, tmp_path) == ["data/b.parquet"]
    from huggingface_hub.file_download import repo_folder_name

    assert folder.parts[-4] == repo_folder_name(repo_id="org/set", repo_type="dataset")

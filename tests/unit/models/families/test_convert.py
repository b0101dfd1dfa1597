"""Official checkpoints: refused where anything is amiss, converted to a folder that the adapter loads."""

import json
import shutil
import sys
from fnmatch import fnmatch
from types import ModuleType

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from official_layouts import (
    LAVIE,
    RAMVID,
    TINY_LAVIE,
    TINY_RAMVID,
    TINY_VIDEOCRAFTER,
    VIDEOCRAFTER,
    lavie_names,
    ramvid_names,
    random_weights,
    save_official,
    videocrafter_names,
    videocrafter_unet_names,
)
from own_checkpoints import LAVIE_NETWORK, RAMVID_NETWORK, SAVERS, SIZES, VIDEOCRAFTER_NETWORK, save_base, save_tiny
from vidmem.base.store import hash_file
from vidmem.errors import VidmemError
from vidmem.generation.adapter import PipelineAdapter, Request
from vidmem.models.conversion import convert_checkpoint
from vidmem.models.families.checkpoints import AS_THEY_ARE, Renaming, filled, read_checkpoint, renamed
from vidmem.models.families.lavie import RENAMINGS, LaVieUNet
from vidmem.models.families.ramvid import RaMViDUNet
from vidmem.models.families.records import FAMILIES, family_pipelines
from vidmem.models.families.videocrafter import UNET_RENAMINGS, VideoCrafterUNet
from vidmem.models.fingerprint import model_fingerprint
from vidmem.models.loading import GenerationSpec, pipeline_class

NAMES = {
    "lavie": lavie_names(**TINY_LAVIE),
    "videocrafter": videocrafter_names(**TINY_VIDEOCRAFTER),
    "ramvid": ramvid_names(**TINY_RAMVID),
}
NETWORKS = {"lavie": LAVIE_NETWORK, "videocrafter": VIDEOCRAFTER_NETWORK, "ramvid": RAMVID_NETWORK}
CONTAINERS = {"lavie": "ema", "videocrafter": "state_dict", "ramvid": None}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("base"))


def settings_of(layout, folder, weights=None):
    file = folder / f"{layout}.pt"
    digest = save_official(file, random_weights(NAMES[layout]) if weights is None else weights, CONTAINERS[layout])
    return {"layout": layout, "variant": None, "file": str(file), "sha256": digest, "network": NETWORKS[layout]}


@pytest.mark.parametrize("layout", NAMES)
def test_a_checkpoint_becomes_a_folder_that_generates(layout, tmp_path, base):
    settings = settings_of(layout, tmp_path)
    folder = tmp_path / "converted"
    convert_checkpoint(settings, base if FAMILIES[layout].based else None, folder)
    record = json.loads((folder / "conversion.json").read_text())
    assert (record["layout"], record["sha256"]) == (layout, settings["sha256"])
    assert record["variant"] == next(iter(FAMILIES[layout].variants))
    assert json.loads((folder / "model_index.json").read_text())["_class_name"] == FAMILIES[layout].pipeline
    assert "unet/diffusion_pytorch_model.safetensors" in model_fingerprint(folder)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    name = FAMILIES[layout].pipeline
    spec = GenerationSpec(name, str(folder), steps=1, guidance=3.0, frames=2, size=SIZES[name], batch=1)
    adapter = PipelineAdapter(spec, 0)
    sample = next(adapter.generate([Request("p", "two cats" if FAMILIES[layout].based else "", 0)]))[0]
    assert (sample.status, len(sample.frames)) == ("ok", 2)
    assert len(np.unique(sample.frames)) > 2
    expected = random_weights(NAMES[layout])
    official = {"lavie": "conv_in.weight", "videocrafter": "model.diffusion_model.out.2.weight", "ramvid": "out.2.weight"}[
        layout
    ]
    ours = adapter.pipeline.unet.state_dict()[official.removeprefix("model.diffusion_model.")]
    assert torch.equal(ours, expected[official])


@pytest.mark.parametrize("name", SAVERS)
def test_half_precision_is_close_and_runs(name, tmp_path):
    folder = save_tiny(name, tmp_path / "model")
    specs = [GenerationSpec(name, str(folder), dtype=dtype) for dtype in ("float32", "bfloat16")]
    whole, half = (PipelineAdapter(spec, 0).pipeline for spec in specs)
    stream = torch.Generator().manual_seed(0)
    sample = torch.randn(1, whole.unet.config.in_channels, 3, 16, 16, generator=stream)
    told = () if name == "RaMViDPipeline" else (torch.randn(1, 5, 32, generator=stream),)
    with torch.no_grad():
        exact = whole.unet(sample, 500, *told).sample
        rounded = half.unet(sample.bfloat16(), 500, *(part.bfloat16() for part in told)).sample
    assert rounded.dtype == torch.bfloat16
    assert float((rounded.float() - exact).norm() / exact.norm()) < 0.05
    height, width = SIZES[name]
    options = {"num_frames": 2, "height": height, "width": width, "num_inference_steps": 2}
    frames = half(**options, **({} if name == "RaMViDPipeline" else {"prompt": "a cat"})).frames
    assert frames.shape == (1, 2, height, width, 3)
    assert np.isfinite(frames).all()


PUBLISHED = {
    "lavie": (LaVieUNet, {}, lavie_names(**LAVIE), RENAMINGS, (77, 768)),
    "videocrafter": (
        VideoCrafterUNet,
        FAMILIES["videocrafter"].variants["v2-512"].network,
        videocrafter_unet_names("", VIDEOCRAFTER | {"fps": True, "relative": False, "over_time": True}),
        UNET_RENAMINGS,
        (77, 1024),
    ),
    "ramvid": (RaMViDUNet, {}, ramvid_names(**RAMVID), (AS_THEY_ARE,), None),
}


@pytest.mark.slow
@pytest.mark.parametrize("layout", PUBLISHED)
def test_published_sizes_run(layout):
    """Random weights of the published sizes, few and small frames: finite, and the same for a clip alone and beside another."""
    kind, network, names, renamings, text = PUBLISHED[layout]
    unet = filled(kind, network, renamed(random_weights(names), renamings, "test"), "test")
    stream = torch.Generator().manual_seed(0)
    sample = torch.randn(2, unet.config.in_channels, 2, *((64, 64) if text is None else (16, 16)), generator=stream)
    told = [] if text is None else [torch.randn(2, *text, generator=stream)]
    with torch.no_grad():
        both = unet(sample, 500, *told).sample
        alone = unet(sample[:1], 500, *(part[:1] for part in told)).sample
    assert both.std() > 0.1
    assert torch.allclose(both[:1], alone, atol=1e-3)


def test_the_script_converts(tmp_path, base):
    from convert_model import convert_model

    settings = settings_of("lavie", tmp_path) | {"base": str(base), "base_revision": None}
    convert_model(settings, tmp_path / "converted")
    assert (tmp_path / "converted/model_index.json").is_file()
    with pytest.raises(VidmemError, match="a folder with model_index.json, or a revision"):
        convert_model(settings | {"base": str(tmp_path / "nothing")}, tmp_path / "other")


SHELVES = ("unet", "safety_checker", "feature_extractor", "scheduler")
"""Parts of a Stable Diffusion that no conversion needs."""


def test_of_a_base_on_the_hub_its_parts_are_fetched_and_are_enough(tmp_path, base, monkeypatch):
    from convert_model import convert_model

    repository, snapshot = shutil.copytree(base, tmp_path / "repository"), tmp_path / "snapshot"
    for part in SHELVES:
        (repository / part).mkdir()
        (repository / part / "config.json").write_text("{}")

    def fetch(name, revision, allow_patterns, ignore_patterns):
        """As huggingface_hub documents it."""
        assert (name, revision) == ("CompVis/stable-diffusion-v1-4", "1" * 40)
        for file in (path for path in repository.rglob("*") if path.is_file()):
            place = file.relative_to(repository)
            if any(fnmatch(place.as_posix(), pattern) for pattern in allow_patterns):
                (snapshot / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, snapshot / place)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    settings = settings_of("lavie", tmp_path) | {"base": "CompVis/stable-diffusion-v1-4", "base_revision": "1" * 40}
    convert_model(settings, tmp_path / "converted")
    assert {path.name for path in snapshot.iterdir()} == {"model_index.json", "vae", "text_encoder", "tokenizer"}
    taken = json.loads((tmp_path / "converted/conversion.json").read_text())["base"]
    assert taken == {name: hash_file(snapshot / name) for name in taken}
    assert {name.split("/")[0] for name in taken} == {"vae", "text_encoder", "tokenizer"}


def test_a_base_is_looked_at_before_the_checkpoint_is_read(tmp_path, base):
    parts = shutil.copytree(base, tmp_path / "parts")
    shutil.rmtree(parts / "tokenizer")
    settings = {"layout": "lavie", "variant": None, "file": str(tmp_path / "no.pt"), "sha256": "0" * 64}
    with pytest.raises(VidmemError, match="Got no tokenizer"):
        convert_checkpoint(settings, parts, tmp_path / "converted")


def test_another_base_changes_what_a_conversion_says_of_itself(tmp_path, base):
    """Snakemake compares small files by their content: the index alone would say that nothing has changed."""
    settings, changed = settings_of("lavie", tmp_path), shutil.copytree(base, tmp_path / "changed")
    name, told = "vae/diffusion_pytorch_model.safetensors", []
    weights = load_file(changed / name)
    save_file({key: 2 * value for key, value in weights.items()}, changed / name, {"format": "pt"})
    for given in (base, changed):
        convert_checkpoint(settings, given, tmp_path / "converted")
        told.append(json.loads((tmp_path / "converted/conversion.json").read_text()))
        assert told[-1]["files"] == model_fingerprint(tmp_path / "converted")
    assert [told[0][key][name] != told[1][key][name] for key in ("base", "files")] == [True, True]
    assert told[0]["files"]["unet/config.json"] == told[1]["files"]["unet/config.json"]


def test_converting_twice_gives_the_same_files(tmp_path):
    settings = settings_of("ramvid", tmp_path)
    for name in ("one", "two"):
        convert_checkpoint(settings, None, tmp_path / name)
    convert_checkpoint(settings, None, tmp_path / "two")  # over what is there
    assert model_fingerprint(tmp_path / "one") == model_fingerprint(tmp_path / "two")


def test_safetensors_are_read_too(tmp_path):
    weights = random_weights(NAMES["ramvid"])
    save_file(weights, tmp_path / "weights.safetensors")
    found = read_checkpoint(tmp_path / "weights.safetensors", hash_file(tmp_path / "weights.safetensors"))
    assert all(torch.equal(found[name], weights[name]) for name in weights)


def without(name):
    return lambda weights: {key: values for key, values in weights.items() if key != name}


AMISS = {
    "missing": (without("out.2.bias"), "missing: out.2.bias"),
    "unexpected": (lambda weights: weights | {"label_emb.weight": torch.zeros(1, 1)}, "unexpected: label_emb.weight"),
    "shape": (lambda weights: weights | {"out.2.bias": torch.zeros(6)}, r"out.2.bias \(6,\) for \(3,\)"),
    "nested": (lambda weights: {"model": weights}, "values of type"),
    "no tensors": (lambda weights: {"out.2.bias": [1, 2, 3]}, "values of type"),
    "empty": (lambda weights: {}, "missing"),
}


@pytest.mark.parametrize("kind", AMISS)
def test_weights_that_are_not_the_models_are_named(kind, tmp_path):
    change, message = AMISS[kind]
    settings = settings_of("ramvid", tmp_path, change(random_weights(NAMES["ramvid"])))
    with pytest.raises(VidmemError, match=message) as caught:
        convert_checkpoint(settings, None, tmp_path / "converted")
    assert "ramvid.pt" in str(caught.value)
    assert not (tmp_path / "converted/model_index.json").exists()


class Harmful:
    def __reduce__(self):
        return print, ("code of a checkpoint ran",)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, capsys):
    settings = settings_of("ramvid", tmp_path, {"out.2.bias": Harmful()})
    with pytest.raises(VidmemError, match="tensors alone\nGot Unsupported (global|class): (GLOBAL )?(builtins.)?print\n"):
        convert_checkpoint(settings, None, tmp_path / "converted")
    assert "code of a checkpoint ran" not in capsys.readouterr().out


def pickled_as(module, name):
    """A class that pickles under another's name, as if that package were here."""
    return type(name, (), {"__module__": module, "__qualname__": name})


def test_what_lightning_keeps_of_its_callbacks_is_no_obstacle_and_is_not_run(tmp_path, monkeypatch):
    """As in the official files of latent diffusion: the state of ModelCheckpoint, under its class."""
    module = "pytorch_lightning.callbacks.model_checkpoint"
    kind = pickled_as(module, "ModelCheckpoint")
    for part in ("pytorch_lightning", "pytorch_lightning.callbacks", module):
        monkeypatch.setitem(sys.modules, part, ModuleType(part))
    monkeypatch.setattr(sys.modules[module], "ModelCheckpoint", kind, raising=False)
    weights, file = {"a": torch.ones(2)}, tmp_path / "model.ckpt"
    torch.save({"state_dict": weights, "callbacks": {kind: {"best_model_score": torch.zeros(1)}}, "epoch": 3}, file)
    for part in ("pytorch_lightning", "pytorch_lightning.callbacks", module):
        monkeypatch.delitem(sys.modules, part)
    assert torch.equal(read_checkpoint(file, hash_file(file))["a"], weights["a"])
    assert "pytorch_lightning" not in sys.modules


def test_names_that_deepspeed_lengthened_are_shortened(tmp_path):
    weights, file = {"model.a": torch.ones(2), "model.b": torch.zeros(1)}, tmp_path / "model.ckpt"
    lengthened = {f"_forward_module.{name}": values for name, values in weights.items()}
    torch.save({"module": lengthened, "global_steps": 5}, file)
    assert list(read_checkpoint(file, hash_file(file))) == list(weights)
    torch.save({"module": lengthened | {"other": torch.zeros(1)}}, file)
    with pytest.raises(VidmemError, match="begin with _forward_module.\nGot other"):
        read_checkpoint(file, hash_file(file))


def test_of_two_sets_of_weights_the_official_loader_takes_that_of_deepspeed(tmp_path):
    file = tmp_path / "model.ckpt"
    torch.save({"state_dict": {"a": torch.zeros(1)}, "module": {"_forward_module.a": torch.ones(1)}}, file)
    assert read_checkpoint(file, hash_file(file))["a"] == 1


def test_weights_in_another_container_are_refused_with_its_name(tmp_path):
    file = tmp_path / "model.ckpt"
    torch.save({"model": {"a": torch.zeros(1)}, "step": 3}, file)
    with pytest.raises(VidmemError, match="may lie under model: save that part alone as safetensors"):
        read_checkpoint(file, hash_file(file))
    with pytest.raises(VidmemError, match=r"all names begin with net\.: save them without it"):
        renamed({"net.a": torch.zeros(1), "net.b": torch.zeros(1)}, [Renaming("a|b", ())], "test.ckpt")


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    for content in (b"", b"<html>404</html>", b"PK\x03\x04 cut"):
        (tmp_path / "page.pt").write_bytes(content)
        with pytest.raises(VidmemError, match="tensors alone"):
            read_checkpoint(tmp_path / "page.pt", hash_file(tmp_path / "page.pt"))


def test_another_hash_and_no_file_are_refused(tmp_path):
    settings = settings_of("ramvid", tmp_path)
    with pytest.raises(VidmemError, match="SHA-256 0000"):
        convert_checkpoint(settings | {"sha256": "0" * 64}, None, tmp_path / "converted")
    with pytest.raises(VidmemError, match="nothing there"):
        convert_checkpoint(settings | {"file": str(tmp_path / "no.pt")}, None, tmp_path / "converted")


def test_other_rotary_frequencies_are_another_model(tmp_path, base):
    weights = random_weights(NAMES["lavie"])
    name = next(name for name in weights if name.endswith("freqs"))
    with pytest.raises(VidmemError, match="rotary frequencies"):
        convert_checkpoint(settings_of("lavie", tmp_path, weights | {name: weights[name] * 2}), base, tmp_path / "converted")
    halves = {name: values.half() for name, values in weights.items()}
    convert_checkpoint(settings_of("lavie", tmp_path, halves), base, tmp_path / "converted")


@pytest.mark.parametrize(("part", "file"), [("vae", "diffusion_pytorch_model"), ("text_encoder", "model")])
def test_a_base_that_lacks_a_weight_is_refused(part, file, tmp_path, base):
    """transformers would draw it at random, and the converted model would be whole."""
    cut = shutil.copytree(base, tmp_path / "base")
    path = cut / part / f"{file}.safetensors"
    weights = load_file(path)
    weights.pop(sorted(weights)[0])
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(VidmemError, match=f"{part} of a saved Stable Diffusion"):
        convert_checkpoint(settings_of("lavie", tmp_path), cut, tmp_path / "converted")
    assert not (tmp_path / "converted/model_index.json").exists()


def test_layouts_variants_networks_and_bases_are_checked(tmp_path, base):
    settings = settings_of("ramvid", tmp_path)
    for change, given, message in (
        ({"layout": "sora"}, None, r"layout"),
        ({"variant": "v3"}, None, r"one of \['bair', 'kinetics-600', 'ucf-101'\]"),
        ({}, base, "none: ramvid needs none"),
        ({"network": {"depth": 3}}, None, r"Got \['depth'\]"),
        ({"network": {}}, None, "ramvid.pt"),
    ):
        with pytest.raises(VidmemError, match=message):
            convert_checkpoint(settings | change, given, tmp_path / "converted")
    with pytest.raises(VidmemError, match="a saved Stable Diffusion\nGot None"):
        convert_checkpoint(settings_of("lavie", tmp_path), None, tmp_path / "converted")
    parts = shutil.copytree(base, tmp_path / "parts")
    shutil.rmtree(parts / "vae")
    with pytest.raises(VidmemError, match="vae, text_encoder and tokenizer"):
        convert_checkpoint(settings_of("lavie", tmp_path), parts, tmp_path / "converted")


def test_two_official_names_never_become_one():
    with pytest.raises(VidmemError, match="another: b"):
        renamed({"a": torch.zeros(1), "b": torch.zeros(1)}, (Renaming("[ab]", ("same",)),), "test")
    assert set(renamed({"a": torch.zeros(1), "x": torch.zeros(1)}, (Renaming("x"), AS_THEY_ARE), "test")) == {"a"}


@pytest.mark.parametrize("name", family_pipelines().values())
def test_pipelines_are_found_by_name(name):
    assert pipeline_class(name).__name__ == name

"""What is here and what is missing, against folders and files made by hand; remedies that can be typed."""

import ast
import json
import re
import shutil
import struct
import sys
from functools import partial

import numpy as np
import pytest
import yaml

from vidmem.config import complete_config, load_schema, model_places, named_models
from vidmem.errors import VidmemError
from vidmem.inventory import (
    count_parameters,
    fetch_command,
    find_model,
    hub_cache,
    lacking_component,
    lacking_files,
    least_memory,
    lost_files,
    parameter_counts,
    weight_files,
)
from vidmem.preflight import (
    Need,
    audit_needs,
    lacking,
    preflight_record,
    preflight_text,
    verdict_line,
)
from vidmem.preflight import data as data_rows
from vidmem.preflight import machine as machine_rows
from vidmem.preflight import models as model_rows
from vidmem.preflight.known import PUBLISHED
from vidmem.preflight.needs import SECTIONS
from vidmem.sources import imported_packages
from vidmem.store import hash_file
from workflow_helpers import ROOT

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CALL = "snakemake --cores 1 --configfile a.yaml --"
SCRIPTS, SCHEMA = ROOT / "workflow_scripts", ROOT / "rules/schemas/config.schema.yaml"
CONFIGS = sorted(path.relative_to(ROOT).as_posix() for path in [ROOT / "config.yaml", *ROOT.glob("configs/*.yaml")])


def write_weights(path, *shapes):
    """A safetensors file by its description: header length, header, numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for number, shape in enumerate(shapes):
        size = 4
        for side in shape:
            size *= side
        header[f"weight{number}"] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))


def write_pipeline(folder, **components):
    """A saved pipeline: component -> shapes of its weights, None for one that has none."""
    index = {"_class_name": "P", "safety_checker": [None, None]}
    for name, shapes in components.items():
        index[name] = ["diffusers", "DDIMScheduler" if shapes is None else "UNet2DModel"]
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / ("scheduler_config.json" if shapes is None else "config.json")).write_text("{}")
        if shapes is not None:
            write_weights(folder / name / "diffusion_pytorch_model.safetensors", *shapes)
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture
def saved(tmp_path):
    return write_pipeline(tmp_path / "net", unet=[(3, 4), (5,)], vae=[(10, 10)], scheduler=None)


def test_a_whole_pipeline_lacks_nothing_and_its_parameters_are_counted(saved):
    assert lacking_files(saved) == []
    assert parameter_counts(saved) == {"unet": 17, "vae": 100}


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
def test_a_file_that_is_gone_is_named(saved, gone, lacks):
    (saved / gone).unlink()
    assert lacking_files(saved) == lacks


def test_shards_of_an_index_are_looked_for_one_by_one(saved):
    (saved / "unet/diffusion_pytorch_model.safetensors").unlink()
    index = {"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors", "c": "part-1.safetensors"}}
    (saved / "unet/diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    write_weights(saved / "unet/part-1.safetensors", (2, 2))
    assert lacking_files(saved) == ["unet/part-2.safetensors"]
    write_weights(saved / "unet/part-2.safetensors", (9,))
    assert (lacking_files(saved), parameter_counts(saved)["unet"]) == ([], 13)


def test_the_variant_that_is_asked_for_counts_and_the_plain_one_stands_in(saved):
    write_weights(saved / "unet/diffusion_pytorch_model.fp16.safetensors", (7,))
    write_weights(saved / "unet/diffusion_pytorch_model.non_ema.safetensors", (99,))
    assert parameter_counts(saved, "fp16") == {"unet": 7, "vae": 100}
    assert parameter_counts(saved) == {"unet": 17, "vae": 100}
    assert [file.name for file in weight_files(saved / "vae", "fp16")] == ["diffusion_pytorch_model.safetensors"]


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
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
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


@pytest.fixture
def audit(tmp_path, saved, monkeypatch):
    """A configuration of everything that a preflight looks at; needs() looks with changed keys."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_rows, "gpu_memory", lambda: [8_000_000_000])
    (tmp_path / "clips.csv").write_text("path,caption\na.mp4,a ball\nb.mp4,a cat\n")
    schema = load_schema(SCHEMA)
    given = {
        "run": "mine",
        "corpora": {"own": {"frames": 6, "sources": [{"name": "clips", "kind": "list", "path": "clips.csv"}]}},
        "models": {"net": {"kind": "diffusers", "corpus": "own", "pipeline": "TextToVideoSDPipeline", "path": "./net"}},
    }

    def needs(section, **changes):
        models = {"net": given["models"]["net"] | changes.pop("net", {})}
        config = complete_config(given | {"models": models} | changes, schema)
        scripts = SCRIPTS if section == "Packages" else None
        found = audit_needs(config, tmp_path / "results", tmp_path / "hub", CALL, scripts)
        return [need for need in found if need.section == section]

    return needs


def test_weights_are_here_to_fetch_or_lack_a_digest(audit, tmp_path, monkeypatch):
    (found,) = audit("Weights")
    assert (found.name, found.state, found.remedy) == ("sscd_int8", "fetch", f"{CALL} results/weights/sscd_int8")
    (tmp_path / "w").write_bytes(b"weights")
    digest = hash_file(tmp_path / "w")
    (found,) = audit("Weights", weights={"sscd_int8": {"path": "w", "sha256": digest}})
    assert (found.state, digest[:8] in found.found) == ("here", True)
    (found,) = audit("Weights", weights={"sscd_int8": {"path": "w"}})
    assert (found.state, "not 86386042" in found.found) == ("missing", True)
    (found,) = audit("Weights", weights={"sscd_int8": {"path": "gone"}})
    assert (found.state, "weights.sscd_int8.path" in found.remedy) == ("missing", True)
    official, flow = audit("Weights", descriptors={"preset": "sscd-mixup-288"}, flow={"estimator": "raft-large"})
    assert (official.state, "sha256sum sscd_disc_mixup.torchscript.pt" in official.remedy) == ("missing", True)
    assert (flow.name, flow.state) == ("raft_large", "fetch")


def test_models_are_here_cut_short_to_fetch_gated_or_not_pinned(audit, tmp_path):
    assert [need.state for need in audit("Models")] == ["here"]
    (tmp_path / "net/vae/diffusion_pytorch_model.safetensors").unlink()
    (found,) = audit("Models")
    assert (found.state, "vae/*.safetensors" in found.found) == ("missing", True)
    (found,) = audit("Models", net={"path": "org/net"})
    assert found.remedy.startswith("git ls-remote https://huggingface.co/org/net HEAD")
    (found,) = audit("Models", net={"path": "org/net", "revision": COMMIT})
    assert (found.state, found.remedy) == ("fetch", f"{CALL} results/mine/models/net.json")
    (found,) = audit("Models", net={"path": model_rows.GATED[0], "revision": COMMIT})
    assert (found.state, f"https://huggingface.co/{model_rows.GATED[0]}" in found.remedy) == ("missing", True)
    write_pipeline(tmp_path / f"hub/models--org--net/snapshots/{COMMIT}", unet=[(3,)])
    (found,) = audit("Models", net={"path": "org/net", "revision": COMMIT})
    assert found.state == "here"
    (found,) = audit("Models", net={"revision": COMMIT})
    assert (found.state, "revision: null" in found.remedy) == ("missing", True)
    (found,) = audit("Models", net={"path": "./gone"}, obtain={"./gone": "https://example.org/weights"})
    assert (found.state, found.remedy) == ("missing", "https://example.org/weights")
    for path, told in {"org/net/unet": True, "org/net/": True, "./net/unet": False, "/data/net/unet": False}.items():
        (found,) = audit("Models", net={"path": path, "revision": COMMIT})
        assert (found.state, "has the form owner/name" in found.found) == ("missing", told), path


def test_cut_weights_are_told_from_whole_ones(audit, tmp_path):
    """As safetensors itself does: a file is as long as its header says, neither shorter nor longer."""
    weights = tmp_path / "net/unet/diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    for content in (whole[:-1], whole[: len(whole) // 2], whole + b"x", whole[:9], b"", b"version https://git-lfs.github.com"):
        weights.write_bytes(content)
        (found,) = audit("Models")
        assert (found.state, found.remedy) == ("missing", "fetch or copy it again")
        assert "whole safetensors file" in found.found
        assert found.found.endswith("at net/unet/diffusion_pytorch_model.safetensors")
        assert [need.state for need in audit("Memory")] == ["unknown"]  # and no traceback
    weights.write_bytes(whole)
    assert [need.state for need in audit("Models")] == ["here"]
    (tmp_path / "net/model_index.json").write_text("{")
    (found,) = audit("Models")
    assert (found.state, "JSON expected" in found.found) == ("missing", True)
    assert [need.state for need in audit("Memory")] == ["unknown"]


@pytest.mark.parametrize("content", [{"a": 1}, {"a": {"shape": [1]}}, {"a": {"data_offsets": []}}, [], "a"])
def test_a_header_that_is_none_is_damage(tmp_path, content):
    text = json.dumps(content).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(VidmemError, match="whole safetensors"):
        count_parameters(tmp_path / "x.safetensors")


def test_cut_weights_of_the_hub_are_removed_before_they_are_fetched_again(audit, tmp_path):
    """huggingface_hub takes a file that is there for whole: file and blob have to go."""
    held = write_pipeline(tmp_path / f"hub/models--org--net/snapshots/{COMMIT}", unet=[(3,)])
    weights, blob = held / "unet/diffusion_pytorch_model.safetensors", tmp_path / "hub/models--org--net/blobs/ab"
    blob.parent.mkdir()
    weights.rename(blob)
    weights.symlink_to(blob)
    assert audit("Models", net={"path": "org/net", "revision": COMMIT})[0].state == "here"
    blob.write_bytes(blob.read_bytes()[:-4])
    (found,) = audit("Models", net={"path": "org/net", "revision": COMMIT})
    assert found.state == "missing"
    assert found.remedy == f"rm {weights} {blob}   then {CALL} results/mine/models/net.json"


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
def test_a_tokenizer_without_a_vocabulary_is_missing(saved, names, whole):
    index = json.loads((saved / "model_index.json").read_text())
    (saved / "tokenizer_2").mkdir()
    for name in names.split():
        (saved / "tokenizer_2" / name).write_text("{}")
    for kind, lacks in (("CLIPTokenizer", not whole), ("ByT5Tokenizer", False)):
        (saved / "model_index.json").write_text(json.dumps(index | {"tokenizer_2": ["transformers", kind]}))
        assert lacking_files(saved) == ["tokenizer_2/tokenizer.json (a vocabulary)"] * lacks


@pytest.mark.parametrize("name", ["text-to-image", "text-to-video", "unconditional-image", "unconditional-video"])
def test_the_reference_models_are_whole(name):
    assert lacking_files(ROOT / "reference_models" / name) == []
    assert all(parameter_counts(ROOT / "reference_models" / name).values())


def test_number_formats_that_a_job_would_refuse_are_missing(audit, monkeypatch):
    """The rules of the job itself, before it: vidmem.devices.check_precision."""

    def rows(device="auto", **keys):
        return [need for need in audit("Models", net=keys, device=device) if need.state == "missing"]

    assert rows(dtype="float16") == rows("cuda", dtype="float16") == []
    (found,) = rows("cpu", dtype="float16")
    assert (found.name, found.found) == ("models.net.dtype", "bfloat16 or float32 on a CPU expected, float16")
    assert found.remedy == "float16 needs a GPU, or dtype: bfloat16"
    (found,) = rows(dtype="bfloat16", pipeline="DDPMPipeline", unconditional=4)
    assert (found.found, found.remedy) == ("float32, all that DDPMPipeline computes in expected, bfloat16", "dtype: float32")
    inversion = {"corpus": "own", "pipeline": "LDMPipeline", "path": "./net", "preset": "ldm", "dtype": "bfloat16"}
    (found,) = [need for need in audit("Models", inversions={"turned": inversion}) if need.state == "missing"]
    assert found.name == "inversions.turned.dtype"
    monkeypatch.setattr(model_rows, "gpu_memory", list)
    (found,) = rows(dtype="float16")
    assert found.remedy.endswith("; where there is one, run the preflight there")
    assert rows(dtype="bfloat16") == rows("cuda", dtype="float16") == []


def test_arguments_that_no_call_takes_are_missing(audit, monkeypatch):
    def missing(**keys):
        return [need for need in audit("Models", net=keys) if need.state == "missing"]

    assert missing(arguments={"eta": 0.5}) == []
    (found,) = missing(arguments={"etaa": 0.5})
    assert (found.name, found.remedy) == ("models.net.arguments", "did you mean 'eta'?")
    (found,) = missing(arguments={"num_frames": 4})
    assert found.remedy == "the key frames gives it"
    (found,) = missing(arguments={"quite_unknown": 4})
    assert found.remedy == "correct config key models.net.arguments"
    monkeypatch.setattr(model_rows, "call_of", lambda pipeline: None)  # diffusers lies in another environment
    assert missing(arguments={"quite_unknown": 4}) == []


@pytest.fixture
def closed(audit):
    """closed(path): the row of a model of files."""

    def look(path):
        models = {"closed": {"kind": "files", "corpus": "own", "path": path}}
        (found,) = audit("Models", models=models)
        assert found.name == f"{path} (closed)"
        return found

    return look


def test_a_model_of_files_is_read_as_its_job_reads_it(closed, tmp_path):
    assert (closed("made.csv").state, closed("made.csv").found) == ("missing", "not there")
    (tmp_path / "made.csv").write_text("path,prompt,reason\nx.mp4,a cat,\ny.mp4,a cat,\n,a dog,refused\n")
    found = closed("made.csv")
    assert (found.state, found.found) == ("missing", "3 listed, 0 here; 1 without a file")
    assert "relative to the list" in found.remedy
    (tmp_path / "y.mp4").write_bytes(b"x")
    found = closed("made.csv")
    assert (found.state, found.found, found.remedy) == ("here", "3 listed, 1 here; 1 without a file", "")
    (tmp_path / "made.csv").write_text("path,prompt,reason\n,a dog,refused\n")
    assert closed("made.csv").state == "here"  # there is nothing to lack


@pytest.mark.parametrize(
    ("text", "told", "remedy"),
    [
        ("file,caption\nx.mp4,a cat\n", "columns path and some of prompt", "the first line names the columns"),
        ("Path,prompt\nx.mp4,a cat\n", "columns path", "rename 'Path' to 'path' in the first line"),
        ("path,sample\nx.mp4,one\n", "a whole number in sample expected, 'one'", "correct made.csv, line 2"),
        ("path\n", "at least one clip expected, none", "list what was made"),
        ("path,prompt\nx.mp4,caf\xe9\n", "text in UTF-8 expected", "save the list as UTF-8"),
    ],
)
def test_a_bad_list_of_files_is_told_in_its_own_words(closed, tmp_path, text, told, remedy):
    (tmp_path / "made.csv").write_bytes(text.encode("latin-1"))
    found = closed("made.csv")
    assert (found.state, told in found.found, found.remedy) == ("missing", True, remedy), found


def test_a_folder_of_clips_is_counted_and_its_stray_files_named(closed, tmp_path):
    (tmp_path / "made").mkdir()
    assert (closed("made").state, closed("made").remedy) == ("missing", "list what was made")
    for name in ("a.mp4", "b.png", ".DS_Store", "notes.txt"):
        (tmp_path / "made" / name).write_bytes(b"x")
    found = closed("made")
    assert (found.state, found.found) == ("here", "2 listed, 2 here; 2 other files left out, such as .DS_Store")


@pytest.mark.parametrize(
    ("text", "told", "remedy"),
    [
        ("caption\na ball\n", "columns path and some of", "the first line names the columns"),
        ("path,Caption\na.mp4,a ball\n", "columns path", "rename 'Caption' to 'caption' in the first line"),
        ("path;caption\na.mp4;a ball\n", "columns path", "separate the cells by commas, in every line"),
        ("path,caption\na.mp4,caf\xe9\n", "text in UTF-8", "save the list as UTF-8"),
        ("path,split\na.mp4,train\n", "member, heldout or image in column split expected, 'train' at clips.csv, line 2",
         "what the model was trained on is member, other clips are heldout"),
        ("path,copies\na.mp4,2\nb.mp4,many\n", "a whole number >= 0 in column copies expected, 'many' at clips.csv, line 3",
         "correct clips.csv, line 3"),
        ("path,caption\n", "at least one clip or image expected, the list has no lines",
         "list what the model was trained on, or leave the source out"),
        ("", "an empty file", "the first line names the columns"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("obtain", [{}, {"clips.csv": "make it"}])
def test_a_list_that_is_there_is_to_be_corrected(audit, tmp_path, text, told, remedy, obtain):
    """And not to be put where it is, nor made once more."""
    (tmp_path / "clips.csv").write_bytes(text.encode("latin-1"))
    (found,) = audit("Training data", obtain=obtain)
    assert (found.state, told in found.found, found.remedy) == ("missing", True, remedy), found


@pytest.mark.parametrize(
    ("kind", "path", "text"),
    [
        ("webvid", "w.csv", "videoid,name\n"),
        ("openvid", "o.csv", "video,caption\n"),
        ("gameplay", "g.csv", "path\n"),
        ("images", "none", ""),
    ],
)
def test_nothing_to_read_is_told_whatever_the_kind(audit, tmp_path, kind, path, text):
    (tmp_path / "none").mkdir()
    (tmp_path / path).write_text(text) if text else None
    source = {"name": "clips", "kind": kind, "path": path}
    (found,) = audit("Training data", corpora={"own": {"frames": 6, "sources": [source]}})
    why = "the list has no lines" if text else "the folder has no files"
    assert (found.state, found.found) == ("missing", f"at least one clip or image expected, {why} at {path} (source clips)")


def test_official_checkpoints_and_their_base_are_looked_for(audit, tmp_path):
    def checkpoint(**keys):
        official = {"layout": "lavie", "file": "lavie.pt", "base": "org/base", "base_revision": COMMIT} | keys
        return audit("Models", models={"net": {"kind": "diffusers", "corpus": "own", "pipeline": "LaViePipeline",
                                               "checkpoint": official}})  # fmt: skip

    base, file = checkpoint()
    assert (base.state, file.state, file.found) == ("fetch", "missing", "not there")
    assert file.remedy == "put it at lavie.pt   then sha256sum lavie.pt   then checkpoint: {sha256: ...}"
    assert checkpoint(sha256="0" * 64)[1].remedy == "put it at lavie.pt"
    held = write_pipeline(tmp_path / f"hub/models--org--base/snapshots/{COMMIT}", unet=[(1,)], vae=[(2,)], text_encoder=[(3,)])
    for path in (held / "unet").iterdir():
        path.unlink()
    assert checkpoint()[0].state == "here"  # its own network is not taken
    (held / "vae/config.json").unlink()
    assert checkpoint()[0].state == "fetch"
    remedy = checkpoint()[0].remedy
    index = tmp_path / remedy.removeprefix(f"{CALL} ")
    assert index.match("results/mine/converted/lavie-*/model_index.json")
    index.parent.mkdir(parents=True)
    index.write_text("{}")
    assert checkpoint()[0].state == "unknown"  # needed only to convert once more
    (tmp_path / "lavie.pt").write_bytes(b"weights")
    assert checkpoint()[1].remedy.startswith("sha256sum lavie.pt")
    assert checkpoint(sha256="0" * 64)[1].state == "missing"
    assert checkpoint(sha256=hash_file(tmp_path / "lavie.pt"))[1].state == "here"


def test_training_data_is_looked_for_file_by_file(audit, tmp_path):
    (found,) = audit("Training data")
    assert (found.state, found.found) == ("missing", "2 listed; 0 of 2 looked for are here")
    (tmp_path / "a.mp4").write_bytes(b"x")
    (found,) = audit("Training data")
    assert (found.state, found.found) == ("here", "2 listed; 1 of 2 looked for are here")
    (tmp_path / "clips.csv").unlink()
    (found,) = audit("Training data", obtain={"clips.csv": "make it"})
    assert (found.state, found.remedy) == ("missing", "make it")


@pytest.fixture
def partial_corpus(audit, tmp_path, monkeypatch):
    """A list of 3,000 rows, of which 2,000 are read at first; look(names) makes these files and looks."""
    monkeypatch.setattr(data_rows, "LISTED_FILES", 2000)
    rows = "".join(f"{number}.mp4,a clip\n" for number in range(3000))
    (tmp_path / "openvid.csv").write_text(f"video,caption\n{rows}")
    corpus = {"frames": 6, "sources": [{"name": "ov", "kind": "openvid", "path": "openvid.csv", "root": "videos"}]}

    def look(names, **source):
        shutil.rmtree(tmp_path / "videos", ignore_errors=True)
        for name in names:
            (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "videos" / name).write_bytes(b"x")
        (found,) = audit("Training data", corpora={"own": corpus | {"sources": [corpus["sources"][0] | source]}})
        return found

    return look


@pytest.mark.parametrize("folder", ["", "video/"])
def test_a_part_of_a_corpus_is_here_wherever_in_the_list_it_is(partial_corpus, folder):
    assert partial_corpus(f"{folder}{number}.mp4" for number in range(2200, 2300)).state == "here"
    assert partial_corpus([f"{folder}2999.mp4"]).found.endswith(f"videos/{folder}2999.mp4 is, and is listed")
    for seed in range(4):
        numbers = np.random.default_rng(seed).choice(3000, 9, replace=False)
        assert partial_corpus(f"{folder}{number}.mp4" for number in numbers).state == "here"


def test_a_corpus_is_missing_only_where_no_footage_is(partial_corpus, tmp_path):
    assert partial_corpus([]).state == "missing"  # no such folder
    assert partial_corpus(["OpenVid_part0.zip", "readme.txt"]).state == "missing"
    found = partial_corpus(["another/one.mp4"])
    assert (found.state, found.remedy) == ("unknown", "")
    assert "0 of 200 looked for are here; videos has others, such as videos/another/one.mp4" in found.found
    (tmp_path / "link").mkdir()
    (tmp_path / "link/2500.mp4").write_bytes(b"x")
    (tmp_path / "videos/video").symlink_to(tmp_path / "link")
    (tmp_path / "link/loop").symlink_to(tmp_path / "link")
    (tmp_path / "videos").rename(tmp_path / "linked")
    assert partial_corpus([], root="linked").found.endswith("linked/video/2500.mp4 is, and is listed")


def test_a_damaged_end_of_a_list_is_told_where_it_is_looked_through(partial_corpus, tmp_path):
    with open(tmp_path / "openvid.csv", "a") as file:
        file.write("a,b,c,d\n")
    found = partial_corpus(["other.mp4"])
    assert (found.state, "openvid.csv, line 3002" in found.found) == ("missing", True)


def test_a_plain_list_has_no_folder_and_each_file_is_looked_for(audit, tmp_path, monkeypatch):
    rows = "".join(f"{number}.mp4\n" for number in range(900))
    (tmp_path / "clips.csv").write_text(f"path\n{rows}")
    assert audit("Training data")[0].state == "missing"
    (tmp_path / "457.mp4").write_bytes(b"x")
    assert audit("Training data")[0].found == "900 listed; 0 of 180 looked for are here; 457.mp4 is, and is listed"
    (tmp_path / "457.mp4").rename(tmp_path / "899.mp4")
    monkeypatch.setattr(data_rows, "LISTED_FILES", 800)
    (found,) = audit("Training data")
    assert (found.state, found.found.endswith("nor is any of the first 800")) == ("unknown", True)


def test_what_cannot_be_read_at_all_is_missing(audit, tmp_path):
    (tmp_path / "laion.csv").write_text("URL,TEXT\nhttp://a,a\nhttp://b,b\n")
    source = {"name": "urls", "kind": "laion", "path": "laion.csv"}
    (found,) = audit("Training data", corpora={"own": {"frames": 1, "sources": [source]}})
    assert (found.state, found.found) == (
        "missing",
        "2 listed; none to be read: no key: where its image would lie is not known",
    )


def test_files_that_may_be_found_by_their_hash_are_unknown_and_not_missing(audit, tmp_path):
    def look(column, recover="mirror"):
        (tmp_path / "clips.csv").write_text(f"path,{column}\na.mp4,{'0' * 64}\nb.mp4,{'1' * 64}\n")
        source = {"name": "clips", "kind": "list", "path": "clips.csv", "recover": recover}
        (found,) = audit("Training data", corpora={"own": {"frames": 6, "sources": [source]}})
        return found

    (tmp_path / "mirror").mkdir()
    assert [look("sha256", "gone").state, look("sha256").state] == ["missing", "missing"]
    (tmp_path / "mirror/x").write_bytes(b"x")
    found = look("sha256")
    assert (found.state, found.remedy) == ("unknown", "")
    assert found.found == "2 listed; 0 of 2 looked for are here; others are looked for by hash in mirror"
    assert not lacking([found])
    assert look("caption").state == "missing"  # nothing to know them by
    (tmp_path / "a.mp4").write_bytes(b"x")
    assert (look("sha256").state, look("sha256").found.count("by hash in mirror")) == ("here", 1)


def test_lists_come_before_the_data_that_is_downloaded_by_them():
    """A remedy may read what an earlier one brings, and nothing that a later one does."""
    assert list(SECTIONS).index("Lists") < list(SECTIONS).index("Training data")
    config = complete_config(yaml.safe_load((ROOT / "configs/paper-image.yaml").read_text()), load_schema(SCHEMA))
    page = preflight_text("x", audit_needs(config, ROOT / "results", ROOT / "no-hub", CALL, None), CALL)
    made = "-o data/laion/memorized_laion_prompts.csv"
    assert page.index(made) < page.index("read_csv('data/laion/memorized_laion_prompts.csv'")


@pytest.mark.parametrize("place", ["configs", "docs", "workflow_scripts", "README.md", "config.yaml"])
def test_an_error_page_is_never_saved_as_a_file(place):
    """curl fails on an error of the server, and follows where it is sent on."""
    paths = [ROOT / place] if (ROOT / place).is_file() else sorted((ROOT / place).rglob("*"))
    texts = {path: path.read_text() for path in paths if path.suffix in (".yaml", ".md", ".py")}
    calls = [call for text in texts.values() for call in re.findall(r"\bcurl (-\S+|\S+)", text)]
    assert calls or place not in ("configs", "workflow_scripts")
    assert all(re.match("-fL", call) for call in calls), calls


def test_lists_are_there_readable_or_missing(audit, tmp_path):
    changes = {"net": {"prompts": {"file": "p.csv"}}, "detection": {"negatives": {"file": "n.txt"}}}
    prompts, negatives = audit("Lists", **changes)
    assert (prompts.state, negatives.state) == ("missing", "missing")
    assert "models.net.prompts.file" in prompts.name
    (tmp_path / "p.csv").write_text("prompt\na ball\na cat\n")
    (tmp_path / "n.txt").write_bytes(b"\xff\xfe")
    prompts, negatives = audit("Lists", **changes)
    assert (prompts.state, prompts.found) == ("here", "2 prompts")
    assert (negatives.state, "UTF-8" in negatives.found) == ("missing", True)


def test_memory_is_compared_with_the_smallest_device(audit, monkeypatch):
    (found,) = audit("Memory")
    assert (found.state, "468 B" in found.found) == ("here", True)  # 117 numbers of four bytes
    monkeypatch.setattr(model_rows, "gpu_memory", lambda: [8_000_000_000, 400])
    assert [need.state for need in audit("Memory")] == ["missing"]
    assert [need.state for need in audit("Memory", net={"offload": "model"})] == ["here"]  # the larger network alone: 400 bytes
    monkeypatch.setattr(model_rows, "gpu_memory", list)
    assert audit("Memory", device="cpu")[0].found.endswith("of main memory")
    told, gpu = audit("Memory", device="cuda")
    assert (told.state, gpu.state, "srun" in gpu.remedy) == ("unknown", "missing", True)
    (found,) = audit("Memory", net={"path": "org/net", "revision": COMMIT})
    assert (found.state, "not here" in found.found) == ("unknown", True)


def test_memory_fits_only_where_the_whole_pipeline_is_counted(audit, monkeypatch):
    def memory(path, **keys):
        (found,) = audit("Memory", net={"path": path, "revision": COMMIT, "dtype": "float16"} | keys)
        return found

    parts = {path: known for path, known in PUBLISHED.items() if not known.whole}
    assert {"zai-org/CogVideoX-2b", "Lightricks/LTX-Video"} <= set(parts)
    for path, known in parts.items():
        monkeypatch.setattr(model_rows, "gpu_memory", lambda: [10**12])
        found = memory(path)
        assert (found.state, known.source in found.found) == ("unknown", True)
        assert "the rest of the pipeline and activations not known" in found.found
        monkeypatch.setattr(model_rows, "gpu_memory", lambda: [10**6])
        assert memory(path).state == "missing"  # too much already
    monkeypatch.setattr(model_rows, "gpu_memory", lambda: [25 * 10**9])
    assert memory("ali-vilab/text-to-video-ms-1.7b").state == "here"
    assert memory("ali-vilab/text-to-video-ms-1.7b", offload="model").state == "unknown"  # only the sum is known
    assert memory("genmo/mochi-1-preview").state == "missing"  # 30 GB
    assert "20.1 GB" in memory("genmo/mochi-1-preview", offload="model").found  # the larger network, not both


def test_components_that_lie_elsewhere_are_networks_by_themselves(audit, tmp_path):
    def components(place="./adapter", **keys):
        parts = {"motion_adapter": {"path": place} | keys}
        return [audit(section, net={"components": parts, "dtype": "float16"})[-1] for section in ("Models", "Memory")]

    adapter, memory = components()
    assert (adapter.state, "saved network" in adapter.remedy) == ("missing", True)
    assert (memory.state, "234 B" in memory.found) == ("unknown", True)  # the pipeline's 117 numbers
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter/config.json").write_text("{}")
    assert lacking_component(tmp_path / "adapter") == ["*.safetensors"]
    assert "*.safetensors" in components()[0].found
    write_weights(tmp_path / "adapter/diffusion_pytorch_model.safetensors", (8,))
    adapter, memory = components()
    assert (adapter.state, memory.state, "250 B" in memory.found) == ("here", "here", True)
    assert not lacking(audit("Models", net={"components": {"motion_adapter": {"path": "./adapter"}}}))
    adapter, _ = components("org/adapter", revision=COMMIT)
    assert adapter.remedy == f"{CALL} results/mine/models/net.json"
    (tmp_path / f"hub/models--org--adapter/snapshots/{COMMIT}").parent.mkdir(parents=True)
    (tmp_path / "adapter").rename(tmp_path / f"hub/models--org--adapter/snapshots/{COMMIT}")
    assert components("org/adapter", revision=COMMIT)[0].state == "here"


def test_what_a_record_names_is_looked_for_again(audit, tmp_path):
    """A cache of the hub can be emptied; Snakemake, which looks at records alone, then finds nothing to do."""
    place = {"path": "org/net", "revision": COMMIT}
    held = write_pipeline(tmp_path / f"hub/models--org--net/snapshots/{COMMIT}", unet=[(3,)])
    part = write_pipeline(tmp_path / "part", unet=[(1,)])
    names = ["model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors"]
    parts = {"adapter": {"path": str(part), "revision": None, "files": dict.fromkeys(names)}}
    record = place | {"files": dict.fromkeys(names), "components": parts}
    assert lost_files(record, tmp_path / "hub") == []
    (part / "unet/config.json").unlink()
    assert lost_files(record, tmp_path / "hub") == ["adapter/unet/config.json"]
    (tmp_path / "results/mine/models").mkdir(parents=True)
    (tmp_path / "results/mine/models/net.json").write_text(json.dumps(record))
    assert [need.state for need in audit("Models", net=place)] == ["here"]
    for path in sorted(held.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    held.rmdir()
    assert lost_files(record, tmp_path / "hub")[:3] == names
    (found,) = audit("Models", net=place)
    again = "snakemake --cores 1 --configfile a.yaml --force -- results/mine/models/net.json"
    assert (found.state, found.remedy) == ("fetch", again)
    every = "snakemake --cores 1 --configfile a.yaml --forcerun results/mine/models/net.json -- fetch"
    assert verdict_line([found], CALL) == f"1 to fetch. All at once: {every}"
    plain = fetch_command("snakemake --cores 1", "results/mine/models/net.json")
    assert plain == "snakemake --cores 1 --force -- results/mine/models/net.json"


def test_files_of_a_data_set_are_looked_for_in_its_own_cache(tmp_path):
    record = {"repository": "org/set", "revision": COMMIT, "path": "data", "files": {"data/a.parquet": 3, "data/b.parquet": 3}}
    folder = tmp_path / f"datasets--org--set/snapshots/{COMMIT}/data"
    assert lost_files(record, tmp_path) == list(record["files"])
    folder.mkdir(parents=True)
    (folder / "a.parquet").write_bytes(b"abc")
    assert lost_files(record, tmp_path) == ["data/b.parquet"]
    from huggingface_hub.file_download import repo_folder_name

    assert folder.parts[-4] == repo_folder_name(repo_id="org/set", repo_type="dataset")


def test_the_disk_is_compared_with_the_estimate(audit, monkeypatch):
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    assert audit("Disk")[0].state in ("here", "unknown")
    assert re.search(r"needed for results, .* free; models and corpora come on top$", audit("Disk")[0].found)
    monkeypatch.setattr(machine_rows.shutil, "disk_usage", lambda place: usage(0, 0, 1000))
    assert audit("Disk")[0].state == "missing"


def test_packages_follow_the_configuration(audit, monkeypatch):
    assert [need.state for need in audit("Packages")] == ["here"]
    hidden = {"torchvision", "accelerate"}
    find = machine_rows.importlib.util.find_spec
    monkeypatch.setattr(machine_rows.importlib.util, "find_spec", lambda name: None if name in hidden else find(name))
    rows = audit("Packages", flow={"estimator": "raft-small"}, net={"offload": "model"})
    assert {need.remedy for need in rows if need.state == "missing"} == {"pip install torchvision", "pip install accelerate"}
    rows = audit("Packages", net={"pipeline": "WanPipeline"})
    assert {need.name for need in rows if need.state == "missing"} == {"accelerate"}


def test_a_vocabulary_without_a_tokenizer_file_asks_for_the_package_that_reads_it(audit, saved, tmp_path, monkeypatch):
    find = machine_rows.importlib.util.find_spec
    monkeypatch.setattr(machine_rows.importlib.util, "find_spec", lambda name: None if name == "sentencepiece" else find(name))
    snapshot = tmp_path / "hub/models--org--net/snapshots" / COMMIT
    for folder, place in ((saved, {}), (snapshot, {"path": "org/net", "revision": COMMIT})):
        assert [need.state for need in audit("Packages", net=place)] == ["here"]
        (folder / "tokenizer").mkdir(parents=True)
        (folder / "tokenizer/spiece.model").write_bytes(b"")
        missing = [need.remedy for need in audit("Packages", net=place) if need.state == "missing"]
        assert missing == ["pip install sentencepiece"]
        (folder / "tokenizer/tokenizer.json").write_text("{}")
        assert [need.state for need in audit("Packages", net=place)] == ["here"]


def test_versions_are_compared_with_those_that_are_demanded(audit, monkeypatch):
    """With what pyproject.toml says; by hand: what is installed, and what it asks for instead."""
    version = machine_rows.importlib.metadata.version
    given = {
        "torch": "2.1.0+cu121",
        "numpy": "2.0.0",
        "huggingface-hub": "0.36.0",
        "scikit-learn": "1.6rc1",
        "av": "odd build",
    }
    monkeypatch.setattr(machine_rows.importlib.metadata, "version", lambda name: given.get(name) or version(name))
    rows = {need.name: need for need in audit("Packages") if need.state == "missing"}
    assert set(rows) == {"torch", "huggingface-hub", "scikit-learn", "av"}
    assert (rows["torch"].found, rows["torch"].remedy) == ("2.1.0+cu121 is installed, >=2.9 needed", 'pip install "torch>=2.9"')
    given["torch"] = "2.99.0.dev20260101+cu130"
    assert "torch" not in [need.name for need in audit("Packages") if need.state == "missing"]


@pytest.mark.parametrize("text", [None, "", "[project", "[project]\ndependencies = ['a >> 3']\n", b"\xff\xfe"])
def test_without_a_readable_pyproject_nothing_is_said_of_versions(tmp_path, text):
    path = tmp_path / "pyproject.toml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert machine_rows.stated_versions(path) == {}


def test_demanded_versions_have_upper_bounds_and_extras(tmp_path):
    text = "[project]\ndependencies = ['Snake_Make>=9.8,<10']\n[project.optional-dependencies]\nraft = ['torchvision>=0.24']\n"
    (tmp_path / "pyproject.toml").write_text(text)
    stated = machine_rows.stated_versions(tmp_path / "pyproject.toml")
    assert set(stated) == {"snake-make", "torchvision"}
    assert [machine_rows._fits(version, stated["snake-make"]) for version in ("9.7.9", "9.8", "10.0")] == [False, True, False]


def test_whatever_the_scripts_import_is_looked_for(audit, monkeypatch):
    """Hidden one by one: every package that a grep finds has a row, under the name that pip knows and the lock pins."""
    used = ["PIL", "matplotlib", "scipy", "seaborn", "sklearn", "yaml", "jsonschema", "tqdm", "numpy", "cv2", "faiss", "torch"]
    found = set()
    for path in SCRIPTS.rglob("*.py"):
        found |= set(re.findall(r"^\s*(?:import|from) ([A-Za-z_]\w*)", path.read_text(), re.M))
    assert set(used) < found - set(sys.stdlib_module_names)
    scripts = {"vidmem", *(path.stem for path in SCRIPTS.glob("*.py"))}
    assert imported_packages(SCRIPTS) <= found - scripts
    pins = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in (ROOT / "requirements.txt").read_text().split()}
    names = {re.sub(r"[-_.]+", "-", machine_rows.DISTRIBUTIONS.get(name, name)).lower() for name in imported_packages(SCRIPTS)}
    assert names - pins == {"torchvision"}  # an extra: docs/methods.md
    find = machine_rows.importlib.util.find_spec
    for module in used:
        hiding = partial(lambda hidden, name: None if name == hidden else find(name), module)
        monkeypatch.setattr(machine_rows.importlib.util, "find_spec", hiding)
        (row,) = [need for need in audit("Packages") if need.state == "missing"]
        assert row.remedy == f"pip install {machine_rows.DISTRIBUTIONS.get(module, module)}"


def test_packages_of_other_environments_are_not_looked_for(tmp_path):
    config = complete_config(yaml.safe_load((ROOT / "config.yaml").read_text()), load_schema(SCHEMA))
    needs = audit_needs(config, tmp_path / "results", tmp_path / "hub", CALL, None)
    assert not [need for need in needs if need.section == "Packages"]


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ([], "Nothing is missing: snakemake --cores all --configfile a.yaml"),
        (["here", "unknown"], "Nothing is missing"),
        (["fetch", "here"], f"1 to fetch. All at once: {CALL} fetch"),
        (["missing", "fetch", "missing"], "2 missing, and 1 to fetch"),
    ],
)
def test_the_last_line_says_what_to_do(states, said):
    needs = [Need("Models", "x", state, "found", "do this" if state == "missing" else "") for state in states]
    assert verdict_line(needs, CALL).startswith(said)
    assert len(lacking(needs)) == len([state for state in states if state in ("missing", "fetch")])
    text = preflight_text("mine", needs, CALL)
    assert text.count("-> do this") == states.count("missing")
    assert preflight_record("mine", needs)["complete"] == (not lacking(needs))


@pytest.mark.parametrize("name", CONFIGS)
def test_what_a_configuration_says_to_run_is_python_and_pinned(name):
    """Snippets are parsed, and what they load is loaded at a commit: pickles, above all."""
    for place, remedy in (yaml.safe_load((ROOT / name).read_text()).get("obtain") or {}).items():
        for snippet in re.findall(r'python -c "([^"]*)"', remedy):
            calls = [node for node in ast.walk(ast.parse(snippet)) if isinstance(node, ast.Call)]
            loading = [call for call in calls if getattr(call.func, "attr", "") == "from_pretrained"]
            assert all("revision" in [keyword.arg for keyword in call.keywords] for call in loading), place
            assert not loading or "git ls-remote https://huggingface.co/" in remedy, place
        assert "convert_ldm_original_checkpoint_to_diffusers" not in remedy, place  # it converts the U-Net alone


def makeable(config) -> set[str]:
    """Targets that bring something: weights, models, conversions, data sets."""
    run, models = f"results/{config['run']}", named_models(config)
    found = {f"results/weights/{name}" for name in model_rows.weight_names(config)}
    found |= {f"{run}/models/{name}.json" for name in models}
    found |= {f"{model['path']}/model_index.json" for model in models.values() if "checkpoint" in model}
    sources = [(name, source) for name, corpus in config["corpora"].items() for source in corpus["sources"]]
    return found | {f"{run}/corpora/{name}.{source['name']}.json" for name, source in sources if source["repository"]}


def is_remedy(remedy: str, config) -> bool:
    """Whether a command or page says what to do.

    Of Snakemake with a target that a rule makes, of others with an address or a place that the configuration names.
    """
    models = named_models(config).values()
    repositories = {path for model in models for path, *_ in model_places(model).values()}
    files = {model["checkpoint"]["file"] for model in models if "checkpoint" in model}
    named = {source["path"] for corpus in config["corpora"].values() for source in corpus["sources"]}
    named |= repositories | {config["detection"]["negatives"]["file"]}
    remedy = re.sub(r"   then sha256sum \S+   then checkpoint: {sha256: ...}$", "", remedy)
    if remedy in config["obtain"].values():
        return any(word in remedy for word in ("https://", "hf download", "python -c"))
    if CALL in remedy:
        before, _, target = remedy.partition(f"{CALL} ")
        return target in makeable(config) and (not before or "accept the licence at https://huggingface.co/" in before)
    pin = re.match(r"git ls-remote https://huggingface.co/(\S+) HEAD   then \S*revision: <the commit> for ", remedy)
    hashed = re.match(r"sha256sum (\S+)   then checkpoint: {sha256: ...}$", remedy)
    put = re.match(r"put (?:it at|a saved \w+ \(save_pretrained\) into) ([^\s,]+)", remedy)
    return bool(
        (pin and pin[1] in repositories) or (hashed and hashed[1] in files) or (put and put[1] in named)
        or re.match(r"curl -fLO https://\S+ && sha256sum \S+   then weights: ", remedy)
        or re.match(r'pip install "?[a-z-]+|run the preflight where the jobs will run: srun|make room, ', remedy)
    )  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_on_an_empty_machine_every_configuration_says_how_to_get_each_thing(name, tmp_path, monkeypatch):
    """No data, no models, no hub, no network: one page, and a command or a page for everything that is not there."""
    config = complete_config(yaml.safe_load((ROOT / name).read_text()), load_schema(SCHEMA))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_rows, "gpu_memory", list)
    needs = audit_needs(config, tmp_path / "results", tmp_path / "hub", CALL, SCRIPTS)
    assert {need.section for need in needs} >= {"Weights", "Models", "Training data", "Memory", "Disk", "Packages"}
    found = lacking(needs)
    assert found
    for need in found:
        assert is_remedy(need.remedy, config), need
        if need.section in ("Models", "Lists", "Training data") and name.startswith("configs/paper"):
            assert not need.remedy.startswith("put "), need  # a paper's files have an address
    assert len(preflight_text(config["run"], needs, CALL).splitlines()) < 90


@pytest.mark.parametrize(
    "remedy", ["", f"{CALL} results/mine/models/other.json", f"{CALL} fetch", "put it somewhere", "ask us"]
)
def test_what_is_no_remedy_is_told(remedy):
    config = complete_config(yaml.safe_load((ROOT / "configs/your-model.yaml").read_text()), load_schema(SCHEMA))
    assert not is_remedy(remedy, config)
    assert is_remedy(f"{CALL} results/mine/models/my-model.json", config)

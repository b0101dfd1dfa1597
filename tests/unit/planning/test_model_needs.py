"""Preflight of models: here, cut short, to fetch or missing; memory against the smallest device."""

import json

import pytest

from preflight_cases import CALL, COMMIT, write_pipeline, write_weights
from vidmem.base.store import hash_file
from vidmem.errors import fetch_command
from vidmem.models.saved_files import lacking_component, lost_files
from vidmem.planning import model_needs
from vidmem.planning.page import lacking, verdict_line
from vidmem.planning.published_sizes import PUBLISHED


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
    (found,) = audit("Models", net={"path": model_needs.GATED[0], "revision": COMMIT})
    assert (found.state, f"https://huggingface.co/{model_needs.GATED[0]}" in found.remedy) == ("missing", True)
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
    (tmp_path / "net/model_index.json").write_text("[1]")
    (found,) = audit("Models")
    assert (found.state, "a JSON object expected, list" in found.found) == ("missing", True)
    assert [need.state for need in audit("Memory")] == ["unknown"]


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


def test_number_formats_that_a_job_would_refuse_are_missing(audit, monkeypatch):
    """The rules of the job itself, before it: vidmem.base.devices.check_precision."""

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
    monkeypatch.setattr(model_needs, "gpu_memory", list)
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
    monkeypatch.setattr(model_needs, "call_of", lambda pipeline: None)  # diffusers lies in another environment
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


def test_memory_is_compared_with_the_smallest_device(audit, monkeypatch):
    (found,) = audit("Memory")
    assert (found.state, "468 B" in found.found) == ("here", True)  # 117 numbers of four bytes
    monkeypatch.setattr(model_needs, "gpu_memory", lambda: [8_000_000_000, 400])
    assert [need.state for need in audit("Memory")] == ["missing"]
    assert [need.state for need in audit("Memory", net={"offload": "model"})] == ["here"]  # the larger network alone: 400 bytes
    monkeypatch.setattr(model_needs, "gpu_memory", list)
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
        monkeypatch.setattr(model_needs, "gpu_memory", lambda: [10**12])
        found = memory(path)
        assert (found.state, known.source in found.found) == ("unknown", True)
        assert "the rest of the pipeline and activations not known" in found.found
        monkeypatch.setattr(model_needs, "gpu_memory", lambda: [10**6])
        assert memory(path).state == "missing"  # too much already
    monkeypatch.setattr(model_needs, "gpu_memory", lambda: [25 * 10**9])
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
    again = "snakemake --configfile a.yaml --cores 1 --force -- results/mine/models/net.json"
    assert (found.state, found.remedy) == ("fetch", again)
    every = "snakemake --configfile a.yaml --cores 1 --forcerun results/mine/models/net.json -- fetch"
    assert verdict_line([found], CALL) == f"1 to fetch. All at once: {every}"
    plain = fetch_command("snakemake --cores 1", "results/mine/models/net.json")
    assert plain == "snakemake --cores 1 --force -- results/mine/models/net.json"

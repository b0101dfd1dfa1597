"""What of a hub repository is fetched: the components of a pipeline, and nothing else that lies there."""

from __future__ import annotations

import fnmatch
import json
from types import SimpleNamespace

import huggingface_hub
import pytest

import fetch_model
from refusals import refused
from vidmem.errors import VidmemError
from vidmem.models.download import download
from vidmem.models.fingerprint import model_fingerprint

INDEX = {"_class_name": "P", "unet": ["diffusers", "U"], "scheduler": ["diffusers", "S"], "safety_checker": [None, None]}
APART = {
    "model_index.json": json.dumps(INDEX), "unet/config.json": "{}", "unet/diffusion_pytorch_model.safetensors": "w",
    "unet/diffusion_pytorch_model.bin": "w", "scheduler/scheduler_config.json": "{}", "other-version.safetensors": "100 GB",
    "media/picture.png": "p",
}  # fmt: skip
TOP = {
    "model_index.json": json.dumps(INDEX), "config.json": "{}", "scheduler_config.json": "{}",
    "diffusion_pytorch_model.safetensors": "w", "diffusion_pytorch_model.bin": "w", "README.md": "r",
}  # fmt: skip
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
OWN = APART | {
    "model_index.json": json.dumps(INDEX | {"_class_name": ["pipeline", "Mine"], "unet": ["net", "Net"]}), "pipeline.py": "p",
    "layers.py": "l", "unet/net.py": "n",
}  # fmt: skip
ALONE = {"config.json": "{}", "diffusion_pytorch_model.safetensors": "w", "diffusion_pytorch_model.ckpt": "w"}


@pytest.mark.parametrize(
    ("repository", "wanted"),
    [
        (APART, ["model_index.json", "scheduler/scheduler_config.json", "unet/config.json", WEIGHTS]),
        (OWN, ["layers.py", "model_index.json", "pipeline.py", "scheduler/scheduler_config.json", "unet/config.json", WEIGHTS,
               "unet/net.py"]),
        (TOP, ["config.json", "diffusion_pytorch_model.safetensors", "model_index.json", "scheduler_config.json"]),
        (ALONE, ["config.json", "diffusion_pytorch_model.safetensors"]),
    ],
)  # fmt: skip
def test_components_and_nothing_else_are_fetched(repository, wanted, tmp_path, monkeypatch):
    def snapshot(name, revision, allow_patterns, ignore_patterns):
        """As huggingface_hub documents it: what fits one of the allowed patterns and none of the ignored ones."""
        assert (name, revision) == ("org/net", "0" * 40)
        for file, text in repository.items():
            allowed = allow_patterns is None or any(fnmatch.fnmatch(file, pattern) for pattern in allow_patterns)
            if allowed and not any(fnmatch.fnmatch(file, pattern) for pattern in ignore_patterns):
                (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / file).write_text(text)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    folder = download("org/net", "0" * 40)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == wanted
    if "model_index.json" in wanted:
        assert sorted(model_fingerprint(folder)) == wanted


def test_a_folder_is_not_recorded_under_a_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "org/net"
    for file, text in APART.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    with pytest.raises(VidmemError, match="revision: null"):
        fetch_model.fetch_model("org/net", "0" * 40, {}, tmp_path / "net.json")
    assert not (tmp_path / "net.json").exists()
    part = {"vae": {"path": "org/net/unet", "revision": "0" * 40}}
    with pytest.raises(VidmemError, match="revision: null"):
        fetch_model.fetch_model("org/net", None, part, tmp_path / "net.json")
    fetch_model.fetch_model("org/net", None, {}, tmp_path / "net.json")
    assert json.loads((tmp_path / "net.json").read_text())["revision"] is None


HUB = {
    "GatedRepoError": ["https://huggingface.co/org/name", "hf auth login", "licence"],
    "RepositoryNotFoundError": ["misspelt, gone or private", "https://huggingface.co/org/name"],
    "RevisionNotFoundError": ["https://huggingface.co/org/name/commits"],
    "LocalEntryNotFoundError": ["give a folder as path"],
}


@pytest.mark.parametrize(("kind", "parts"), HUB.items())
def test_what_the_hub_refuses_is_said_with_the_page(monkeypatch, kind, parts):
    import huggingface_hub
    from huggingface_hub import errors

    answer = SimpleNamespace(headers={}, request=None, status_code=403)

    def refuse(repository, **named):
        error = getattr(errors, kind)
        raise error("no") if kind == "LocalEntryNotFoundError" else error("no", response=answer)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    refused(lambda: download("org/name", "0" * 40), "repository org/name", kind, *parts)
    refused(lambda: download("org/name", None), "a revision", "org/name")


def test_components_are_fetched_with_their_model(copy, tmp_path):
    folder, _ = copy()
    fetch_model.fetch_model(str(folder), None, {}, tmp_path / "plain.json")
    assert set(json.loads((tmp_path / "plain.json").read_text())) == {"path", "revision", "files"}
    place = {"path": str(folder / "vae"), "revision": None}
    fetch_model.fetch_model(str(folder), None, {"vae": place}, tmp_path / "model.json")
    record = json.loads((tmp_path / "model.json").read_text())["components"]["vae"]
    assert record["path"] == place["path"]
    assert set(record["files"]) == {"config.json", "diffusion_pytorch_model.safetensors"}

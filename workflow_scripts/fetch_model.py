"""Make sure a model is on this machine, and record the hash of every file of it."""

from pathlib import Path

from vidmem.config import check_place
from vidmem.errors import VidmemError
from vidmem.inventory import components_of
from vidmem.logs import start_logging
from vidmem.models.fingerprint import component_fingerprint, model_fingerprint
from vidmem.store import save_json

UNUSED = ["*.bin", "*.ckpt", "*.msgpack", "*.onnx", "*.pb"]
AT_THE_TOP = ["config.json", "scheduler_config.json", "diffusion_pytorch_model*.safetensors"]
"""Files of a component that has no folder of its own, as in google/ddpm-cifar10-32."""
OWN_CODE = ["*.py"]
"""Fetched whether it may run or not: it is to be read first, and its hash recorded."""
PAGE = "https://huggingface.co/{repository}"
HINTS = {
    "GatedRepoError": f"its licence must be accepted on {PAGE}, then: hf auth login",
    "RepositoryNotFoundError": f"misspelt, gone or private: look at {PAGE}; if it is private: hf auth login",
    "RevisionNotFoundError": f"a commit of {PAGE}/commits",
}
"""What to do about an error of the hub; of all others, to give a folder."""


def fetch_model(path: str, revision: str | None, components: dict, destination: Path) -> None:
    record = {"path": path, "revision": revision, "files": model_fingerprint(fetched_folder(path, revision))}
    for name, place in components.items():
        files = component_fingerprint(fetched_folder(place["path"], place["revision"]))
        record.setdefault("components", {})[name] = {**place, "files": files}
    save_json(destination, record)


def fetched_folder(path: str, revision: str | None, wanted: list[str] | None = None) -> Path:
    """Folder of a saved pipeline, a local one or a snapshot of the hub, or of the wanted files of one."""
    check_place(path, revision, "fetch_model")
    return Path(path) if Path(path).is_dir() else download(path, revision, wanted)


def download(repository: str, revision: str | None, wanted: list[str] | None = None) -> Path:
    """Snapshot of a hub repository, or of the wanted files of it, at a pinned revision; partial files are continued.

    Of a pipeline only components and code: some repositories hold a hundred gigabytes of other versions beside them.
    """
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if revision is None:
        raise VidmemError("a folder with model_index.json, or a revision", repository, "config key models.<name>.path")
    try:
        folder = _snapshot(repository, revision, wanted or ["model_index.json"])
        if wanted:
            return folder
        if not (folder / "model_index.json").is_file():
            return _snapshot(repository, revision, None)  # a component by itself
        _snapshot(repository, revision, [f"{name}/*" for name in components_of(folder)] + OWN_CODE)
        apart = all((folder / name).is_dir() for name in components_of(folder))
        return folder if apart else _snapshot(repository, revision, AT_THE_TOP)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        got = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        hint = HINTS.get(type(error).__name__, "offline? give a folder as path").format(repository=repository)
        raise VidmemError(f"repository {repository}", got, "fetch_model", hint) from error


def _snapshot(repository: str, revision: str, patterns: list[str] | None) -> Path:
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns, ignore_patterns=UNUSED))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    # No parameter: the rule's digest of the files names the components, too.
    components = snakemake.config["models"].get(snakemake.wildcards.model, {}).get("components", {})
    fetch_model(snakemake.params.path, snakemake.params.revision, components, Path(snakemake.output[0]))

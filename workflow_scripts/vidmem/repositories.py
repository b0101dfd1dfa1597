"""Data sets of a hub: which of their files the fetch stage brings, and where they then lie.

Snapshots go to the cache of huggingface_hub, by commit, with the list of the repository's files at that commit. A job only
looks there; it downloads nothing. What is there is compared with that list each time: a part is never taken for the whole.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from .containers import list_beside
from .errors import VidmemError
from .inventory import FORCED
from .lists import READERS
from .published import held_out_list


def wanted_files(source: dict) -> list[str]:
    """Patterns of the files of a source's repository that it needs: what its path names, what is read with it, and `fetch`."""
    path = PurePosixPath(source["path"].strip("/"))
    if path.suffix not in (*READERS, ".tar", ".bin"):
        return [f"{path}/*" if path.name else "*", *source["fetch"]]
    beside = [list_beside(path)] if path.suffix == ".tar" else []
    beside += [held_out_list(path)] if path.name.startswith("trainlist") else []
    return [str(path), *map(str, beside), *source["fetch"]]


def fetch_source(source: dict) -> tuple[Path, dict[str, int]]:
    """Folder of a source's repository at its pinned commit, and the wanted files in it: name -> bytes; whole files are kept.

    Raises:
        VidmemError: no network, no such repository or commit, no right to read it, or it has none of the wanted files.
    """
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = _snapshot(source)
    except GatedRepoError as error:
        hint = f"accept its terms on https://huggingface.co/datasets/{source['repository']} and run hf auth login"
        raise VidmemError("a repository that you may read", "it is gated", source["repository"], hint) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        got, hint = " ".join(str(error).split())[:200], "offline? copy the files here and leave repository out"
        raise VidmemError(f"data set {source['repository']}", got, f"source {source['name']}", hint) from error
    return folder, check_whole(source, folder)


def check_whole(source: dict, folder: Path) -> dict[str, int]:
    """The wanted files of a snapshot, name -> bytes: those that the repository lists at the commit, neither fewer nor shorter.

    Raises:
        VidmemError: the cache has no list of the repository's files, the list none of the wanted files, or the snapshot not all
            of them.
    """
    where = f"{source['repository']} at {source['revision']}"
    listed = _listed(source)
    hint = _fetch_again(source)
    if listed is None:
        got = "a snapshot without one: nobody knows whether it is whole"
        raise VidmemError("the list of the repository's files, which a fetch leaves in the cache", got, where, hint)
    if not listed:
        raise VidmemError(f"files {', '.join(wanted_files(source))}", "none in the repository", where, "correct path or fetch")
    sizes = {name: (folder / name).stat().st_size if (folder / name).is_file() else None for name in listed}
    lacking = [name for name, size in sizes.items() if size != listed[name]]
    if lacking:
        got = f"{len(listed) - len(lacking)} of them; not {', '.join(lacking[:3])}{' and more' if len(lacking) > 3 else ''}"
        raise VidmemError(f"{len(listed)} files of the repository", got, where, hint)
    return listed


def _listed(source: dict) -> dict[str, int] | None:
    """Wanted files of a repository by the list that the fetch left in the cache; None where it left none."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError
    from huggingface_hub.utils import filter_repo_objects

    try:
        files = get_cached_repo_tree(source["repository"], repo_type="dataset", revision=source["revision"])
    except CachedRepoTreeNotFoundError:
        return None
    sizes = {file.path: file.size for file in files}
    return {name: sizes[name] for name in sorted(filter_repo_objects(sizes, allow_patterns=wanted_files(source)))}


def _snapshot(source: dict, **settings) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import IncompleteSnapshotError

    chosen = {"revision": source["revision"], "allow_patterns": wanted_files(source), **settings}
    try:
        return Path(snapshot_download(source["repository"], repo_type="dataset", **chosen))
    except IncompleteSnapshotError as error:
        return Path(error.snapshot_path)  # check_whole says what it lacks


def _fetch_again(source: dict) -> str:
    """What brings a data set; forced, because a record of an earlier fetch outlives the files in the cache."""
    record = f"results/<run>/corpora/<corpus>.{source['name']}.json"
    call = f"snakemake --cores 1 --configfile <yours>{FORCED}{record}"
    return f"run the fetch stage where there is a network: {call} (preflight prints it in full)"


def located(source: dict) -> dict:
    """The source with the place of its path on this machine: below its snapshot where it has a repository.

    Raises:
        VidmemError: the repository was not fetched, or not all that is wanted of it.
    """
    if not source.get("repository"):
        return source
    try:
        folder = _snapshot(source, local_files_only=True)
    except OSError as error:  # LocalEntryNotFoundError among them
        where = f"{source['repository']} at {source['revision']}"
        raise VidmemError("a data set that was fetched", "none", where, _fetch_again(source)) from error
    check_whole(source, folder)
    return {**source, "path": str(folder / source["path"]), "root": source["root"] or str(folder)}

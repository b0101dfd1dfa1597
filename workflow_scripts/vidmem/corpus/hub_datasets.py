"""Data sets of the Hugging Face hub: which of their files the fetch stage downloads, and where the files then lie.

The fetch stage stores a snapshot of the pinned commit in the cache of huggingface_hub, with the repository's list of files.
Other jobs only read the cache and download nothing. They compare the snapshot with the list each time, so that an incomplete
snapshot is never taken for a whole one.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from ..base.file_faults import file_fault
from ..base.list_files import READERS
from ..errors import FORCED, VidmemError
from .layouts import LAYOUTS


def wanted_files(source: dict) -> list[str]:
    """Patterns of the files that a source needs from its repository.

    They are the source's path, files that are read together with it, and the patterns of its key `fetch`.
    """
    path = PurePosixPath(source["path"].strip("/"))
    endings = [layout.container.ending for layout in LAYOUTS.values() if layout.container]
    if path.suffix not in (*READERS, *endings):
        return [f"{path}/*" if path.name else "*", *source["fetch"]]
    beside = [layout.beside(path) for layout in LAYOUTS.values() if layout.beside]
    return [str(path), *(str(file) for file in beside if file), *source["fetch"]]


def fetch_source(source: dict) -> tuple[Path, dict[str, int]]:
    """Download the wanted files of a source's repository at its pinned commit. Files that are there already are kept.

    Returns:
        Folder of the snapshot, and the size in bytes of each wanted file by its name.

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
    """Check that a snapshot has every wanted file that the repository lists at the commit, in its full size.

    Returns:
        Size in bytes of each wanted file by its name.

    Raises:
        VidmemError: the cache has no list of the repository's files, the list has none of the wanted files, or the snapshot
            lacks some of them.
    """
    where = f"{source['repository']} at {source['revision']}"
    listed = _listed(source)
    hint = _fetch_again(source)
    if listed is None:
        got = "a snapshot without that list: it may be incomplete"
        raise VidmemError("the list of the repository's files, which a fetch leaves in the cache", got, where, hint)
    if not listed:
        raise VidmemError(f"files {', '.join(wanted_files(source))}", "none in the repository", where, "correct path or fetch")
    sizes = {name: None if file_fault(folder / name) else (folder / name).stat().st_size for name in listed}
    lacking = [name for name, size in sizes.items() if size != listed[name]]
    if lacking:
        got = f"{len(listed) - len(lacking)} of them; not {', '.join(lacking[:3])}{' and more' if len(lacking) > 3 else ''}"
        raise VidmemError(f"{len(listed)} files of the repository", got, where, hint)
    return listed


def _listed(source: dict) -> dict[str, int] | None:
    """Size in bytes of each wanted file, by the list that the fetch left in the cache; None if the cache has no list."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError
    from huggingface_hub.utils import filter_repo_objects

    try:
        files = get_cached_repo_tree(source["repository"], repo_type="dataset", revision=source["revision"])
    except CachedRepoTreeNotFoundError:
        return None
    sizes = {file.path: file.size for file in files}
    return {name: sizes[name] for name in sorted(filter_repo_objects(sizes, allow_patterns=wanted_files(source)))}


def _snapshot(source: dict, **settings: bool) -> Path:
    """Folder of a snapshot, even if it is incomplete. `settings` go to snapshot_download."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import IncompleteSnapshotError

    chosen = {"revision": source["revision"], "allow_patterns": wanted_files(source), **settings}
    try:
        return Path(snapshot_download(source["repository"], repo_type="dataset", **chosen))
    except IncompleteSnapshotError as error:
        return Path(error.snapshot_path)  # check_whole reports which files it lacks


def _fetch_again(source: dict) -> str:
    """Command that fetches a data set again. It is forced: the record of an earlier fetch outlives files in the cache."""
    record = f"results/<run>/corpora/<corpus>.{source['name']}.json"
    call = f"snakemake --cores 1 --configfile <yours>{FORCED}{record}"
    return f"run the fetch stage where there is a network: {call} (preflight prints it in full)"


def located(source: dict) -> dict:
    """The source with its path on this machine. If it names a repository, the path lies below the snapshot.

    Raises:
        VidmemError: the repository was not fetched, or not all wanted files of it.
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

"""Checks of a run before its first job: files that another recipe made, and dates that a wrong clock gave.

Snakemake decides by its own records and by dates what to run. Its records do not notice a file that was copied in, and a wrong
clock gives wrong dates. So every file states the recipe that made it, and wrong dates are corrected first.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import FORCED, VidmemError
from .checksums import recipe_of
from .code_digest import PLANNED

CHECKED = {".npy", ".parquet", ".faiss", ".lists"}
SHOWN = 5
PLAN = "recipes.json"
"""File in the folder of a run's logs: the log of each job that the last start of the run planned -> recipe of the job."""
LONG_AGO_S = 1.0  # seconds since 1970; Snakemake takes a date of 0 for no date, and would leave such a file as it is
SKEW_S = 300.0  # clocks of a file server and of its clients differ


def digest_parameters(parameters: Mapping) -> str:
    """Recipe of a job: sixteen hexadecimal digits of the SHA-256 of its named parameters.

    >>> digest_parameters({"seed": 0, "shards": 2}) == digest_parameters({"shards": 2, "seed": 0})
    True
    """
    text = json.dumps({name: parameters[name] for name, _ in parameters.items()}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def job_recipe(parameters: Mapping, log: Path) -> str:
    """Recipe of a running job.

    It is the digest of the job's parameters. If only the main process knows them all, the recipe is read from its plan.

    Args:
        parameters: snakemake.params.
        log: log file of the job; the plan lies in a folder above it.

    Raises:
        VidmemError: there is no plan, or the job is not in it.
    """
    if PLANNED not in [parameters[name] for name, _ in parameters.items()]:
        return digest_parameters(parameters)
    file = next((folder / PLAN for folder in log.parents if (folder / PLAN).is_file()), None)
    recipes = {} if file is None else json.loads(file.read_text(encoding="utf-8"))
    if str(log) not in recipes:
        hint = "start the run again: its main process writes the plan before the first job"
        raise VidmemError(f"a recipe for {log}", f"{len(recipes)} others", str(file or f"no {PLAN} above {log}"), hint)
    return recipes[str(log)]


def check_recipes(expected: Mapping[str, tuple[str, str]], command: str) -> None:
    """Check that existing files were made with the recipe that would make them now.

    Args:
        expected: path -> (rule, recipe). Files that do not exist, or whose format states no recipe, are not checked.
        command: command line of the workflow, to which options and targets may be added.

    Raises:
        VidmemError: some files have another recipe, are cut short, or come from a version that stated no recipe.
    """
    wrong = {}
    for path, (_, recipe) in expected.items():
        if Path(path).suffix in CHECKED and Path(path).exists():
            try:
                found = recipe_of(path)
            except VidmemError as error:
                wrong[path] = str(error.got)
            else:
                if found != recipe:
                    wrong[path] = f"recipe {found or 'unknown'}, not {recipe}"
    if wrong:
        got = "; ".join(f"{path}: {what}" for path, what in list(wrong.items())[:SHOWN])
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        hint = f"{command}{FORCED}{' '.join(wrong)}; then run again"
        if more:
            rules = " ".join(sorted({expected[path][0] for path in wrong}))
            hint = f"{command} --forcerun {rules}"
        where = "files that are damaged, copied here, of an older version, or left from before .snakemake was deleted"
        raise VidmemError("files made with the parameters of this run", got + more, where, hint)


def redate(folders: Iterable[Path], now: float) -> list[Path]:
    """Give files with a date in the future the present date, and keep the order of their dates.

    Otherwise a file that is made from them would look older than they are. Every run would make it again until that date.

    Args:
        folders: folders of results.
        now: present time, seconds since 1970.

    Returns:
        Paths of the files whose date was changed.
    """
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    future = sorted((path for path in files if path.stat().st_mtime > now + SKEW_S), key=lambda path: path.stat().st_mtime_ns)
    for place, path in enumerate(future):
        moment = int(now * 1e9) - 1000 * (len(future) - place)
        os.utime(path, ns=(moment, moment))
    return future


def outdate(paths: Iterable[str]) -> None:
    """Set the dates of files that will be made again to 1970.

    If the run is killed before it has made them again, the next run sees that they are out of date. Their old dates would not
    show this if the clock were set back in between: their inputs could then look older than they are.
    """
    for path in paths:
        if os.path.exists(path):
            os.utime(path, (LONG_AGO_S, LONG_AGO_S))

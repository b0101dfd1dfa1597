"""What a run looks at before its first job: files of another recipe, and dates that a clock got wrong.

Snakemake decides by what it recorded and by dates. Neither notices a file that was copied in, and a date is only as good
as the clock: so files say themselves what made them, and dates are put right first.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from .checksums import recipe_of
from .errors import VidmemError

CHECKED = {".npy", ".parquet", ".faiss", ".lists"}
SHOWN = 5
PLANNED = "as planned"
"""Value that a parameter which the main process alone computes has in the processes of a cluster's jobs."""
PLAN = "recipes.json"
"""In the folder of a run's logs: recipes of the jobs that the last start of the run planned, by their logs."""
SKEW_S = 300.0  # clocks of a file server and of its clients differ


def digest_parameters(parameters: Mapping) -> str:
    """Recipe of a job: sixteen hexadecimal digits of the SHA-256 of its named parameters.

    >>> digest_parameters({"seed": 0, "shards": 2}) == digest_parameters({"shards": 2, "seed": 0})
    True
    """
    text = json.dumps({name: parameters[name] for name, _ in parameters.items()}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def job_recipe(parameters: Mapping, log: Path) -> str:
    """Recipe of a running job: of its parameters; where the main process alone knows them all, what that one planned.

    Args:
        parameters: snakemake.params.
        log: of the job; the plan, from logs to recipes, lies in a folder above it.

    Raises:
        VidmemError: there is no plan, or the job is not in it.
    """
    if PLANNED not in [parameters[name] for name, _ in parameters.items()]:
        return digest_parameters(parameters)
    file = next((folder / PLAN for folder in log.parents if (folder / PLAN).is_file()), None)
    recipes = {} if file is None else json.loads(file.read_text(encoding="utf-8"))
    if str(log) not in recipes:
        hint = "start the run again: its main process writes the plan before the first job"
        raise VidmemError(f"a recipe for {log}", f"{len(recipes)} others", file or f"no {PLAN} above {log}", hint)
    return recipes[str(log)]


def check_recipes(expected: Mapping[str, tuple[str, str]]) -> None:
    """Check that files are of the recipe that would make them now.

    Args:
        expected: path -> (rule, recipe). Files that are not there, or of a format that does not state its recipe, are left out.

    Raises:
        VidmemError: some are of another one, cut short, or of a version that stated none.
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
        hint = f"snakemake --cores all --force {' '.join(wrong)}, with the options of this run; then run again"
        if more:
            rules = " ".join(sorted({expected[path][0] for path in wrong}))
            hint = f"snakemake --cores all --forcerun {rules}, with the options of this run"
        where = "files that are damaged, copied here, of an older version, or left from before .snakemake was deleted"
        raise VidmemError("files made with the parameters of this run", got + more, where, hint)


def check_clock(files: Iterable[Path], now: float) -> None:
    """Check that no source of the workflow is newer than now: every run would make everything again.

    Raises:
        VidmemError: one is.
    """
    for path in files:
        ahead = path.stat().st_mtime - now
        if ahead > SKEW_S:
            hint = "set the clock of this machine; or, if it is right, touch the file"
            raise VidmemError("a file of the workflow that is older than now", f"{ahead:.0f} s ahead", str(path), hint)


def redate(folders: Iterable[Path], now: float) -> list[Path]:
    """Give files of the future the present date, in the order they had among themselves.

    What is made from them would look older than they are, and be made again in every run until their date has come.

    Returns:
        The files.
    """
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    future = sorted((path for path in files if path.stat().st_mtime > now + SKEW_S), key=lambda path: path.stat().st_mtime_ns)
    for place, path in enumerate(future):
        moment = int(now * 1e9) - 1000 * (len(future) - place)
        os.utime(path, ns=(moment, moment))
    return future


def outdate(paths: Iterable[str]) -> None:
    """Date files that are to be made again 1970, so that a run that is killed before it comes to them leaves no doubt.

    Should the clock fall back meanwhile, what they are made from would look older than they are.
    """
    for path in paths:
        if os.path.exists(path):
            os.utime(path, (0, 0))

"""The page of a preflight: every need of an audit, and what is still to be done before it can run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from ..config import Config, named_models
from ..errors import FORCED
from .data_needs import corpus_needs, list_needs, made_needs
from .machine_needs import disk_need, package_needs
from .model_needs import memory_needs, model_needs, setting_needs, weight_needs
from .needs import SECTIONS, STATES, Need


def audit_needs(config: Config, results: Path, cache: Path, command: str, scripts: Path | None) -> list[Need]:
    """Everything that a configured audit needs.

    Args:
        config: completed configuration; results: folder of all runs; cache: cache folder of the hub.
        command: command that calls the workflow with this configuration on one core; options and targets may be added to it.
        scripts: folder of the rules' scripts, whose packages are looked for. None if Snakemake makes an environment for each
            stage.
    """
    models = named_models(config)
    return [
        *weight_needs(config, results, command),
        *model_needs(config, models, cache, command),
        *setting_needs(config, models),
        *made_needs(config),
        *list_needs(config),
        *corpus_needs(config, command),
        *memory_needs(config, models, cache),
        disk_need(config, results),
        *(package_needs(config, scripts, cache) if scripts else []),
    ]


def lacking(needs: Iterable[Need]) -> list[Need]:
    """Needs that are missing or still to be fetched. If there are none, the audit can run offline to its end."""
    return [need for need in needs if need.state in ("missing", "fetch")]


def preflight_text(run: str, needs: Sequence[Need], command: str) -> str:
    """The page as text for a terminal."""
    lines = [f"Preflight of the audit '{run}' (nothing was run, no network was asked)"]
    for section in SECTIONS:
        rows = [need for need in needs if need.section == section]
        lines += ["", section] if rows else []
        for need in rows:
            lines.append(f"  {STATES[need.state]:8}  {need.name}: {need.found}")
            lines += [f"            -> {need.remedy}"] if need.remedy else []
    return "\n".join([*lines, "", verdict_line(needs, command)])


def verdict_line(needs: Sequence[Need], command: str) -> str:
    """What is still to be done before the audit can run, in one line.

    >>> verdict_line([], "snakemake --cores 1")
    'Nothing is missing: snakemake --cores all'
    """
    missing, fetched = (sum(need.state == state for need in needs) for state in ("missing", "fetch"))
    if missing:
        more = f", and {fetched} to fetch" if fetched else ""
        return f"{missing} missing{more}: what to do stands behind each arrow; then look again."
    if fetched:
        again = [need.remedy.rpartition(FORCED)[2] for need in needs if FORCED in need.remedy]
        forced = f"{command} --forcerun {' '.join(again)} --" if again else command
        return f"{fetched} to fetch. All at once: {forced} fetch"
    return f"Nothing is missing: {command.removesuffix('--cores 1')}--cores all"


def preflight_record(run: str, needs: Sequence[Need]) -> dict:
    """The page as a dictionary for JSON."""
    return {"run": run, "complete": not lacking(needs), "needs": [asdict(need) for need in needs]}

"""The gate: is a model that was audited now worse than one that was audited before, or worse than a limit?"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from scipy import stats

from ..errors import VidmemError
from ..features.metrics import KINDS
from ..features.statistics import Interval
from .answers import AnswerRule, lacking_parts, percent
from .table_files import on_one_line

LIMITS = {
    "content_share": ("content", "share"),
    "content_share_high": ("content", "high"),
    "motion_share": ("motion", "share"),
    "motion_share_high": ("motion", "high"),
}
"""Limit in the configuration -> kind, and part of its share."""
COLUMNS = ["model", "kind", "rule", "before", "now", "n", "counted", "new", "gone", "difference", "low", "high", "p", "allowed",
           "passes", "note"]  # fmt: skip
NOT_DEFINED = "not checked: the share is not defined"
FORMAT = 1
"""Version of the layout of a verdict, see verdict.schema.yaml."""
NAMED = 3
"""Most prompts of each verdict that an error names."""


def _object(**parts: Any) -> dict:
    """JSON Schema of a mapping that has these parts, and perhaps others."""
    return {"type": "object", "required": [*parts], "properties": parts}


_COUNT = {"type": "integer", "minimum": 0}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_IDS = {"type": "array", "items": {"type": "string"}}
_KIND = _object(definition={"type": "object"}, **dict.fromkeys(("share", "high"), _SHARE | {"type": ["number", "null"]}))
_MODEL = _object(
    prompted={"type": "boolean"}, prompts=_IDS, replayed=_object(**dict.fromkeys(KINDS, _IDS)), n_prompts=_COUNT,
    n_failed=_COUNT, training=_object(n_clips=_COUNT, n_compared=_COUNT), **dict.fromkeys(KINDS, _KIND),
)  # fmt: skip
READ = _object(
    answer=_object(margin=_SHARE, missing=_SHARE), provenance=_object(corpus_sha256={"type": "string"}),
    models={"type": "object", "minProperties": 1, "additionalProperties": _MODEL},
)  # fmt: skip
"""The parts of a verdict that the gate reads. Other versions of vidmem may write more."""


def read_verdict(path: Path | str, key: str) -> dict:
    """Read a verdict for the gate.

    Args:
        path: file of the verdict.
        key: what the file is for, named by an error.

    Raises:
        VidmemError: no JSON, another format, or a part that the gate reads is not there.
    """
    from jsonschema import Draft202012Validator

    where, hint = f"{key}: {path}", "give results/<run>/verdict.json of an audit by this version"
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (ValueError, OSError) as error:
        raise VidmemError("a verdict as JSON", on_one_line(str(error)), where, hint) from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        got = f"format {found['format']!r}" if isinstance(found, dict) and "format" in found else "no format"
        raise VidmemError(f"a verdict of format {FORMAT}", on_one_line(got), where, hint)
    for fault in Draft202012Validator(READ).iter_errors(found):
        part = ".".join(["verdict", *map(str, fault.absolute_path)])
        raise VidmemError("a whole verdict", on_one_line(fault.message), f"{where}: {on_one_line(part)}", hint)
    return found


def _refuse_constant(name: str) -> float:
    """NaN and the infinities are no JSON, and no share."""
    raise ValueError(f"{name} is no number")


def paired_difference(new: int, gone: int, total: int, level: float) -> Interval:
    """Difference of two shares of the same prompts, with its interval (Agresti & Min, Biometrics 61, 2005).

    Half a prompt is added to each of the four cells, so that the interval has a width if no prompt changed.

    Args:
        new, gone: prompts that replay now only, and before only.
        total: all prompts.
        level: confidence level, 0 to 1.

    >>> [round(end, 3) for end in paired_difference(10, 2, 100, 0.95)]
    [0.08, 0.011, 0.146]
    """
    more, less, cells = new + 0.5, gone + 0.5, total + 2
    middle = (more - less) / cells
    width = float(stats.norm.ppf((1 + level) / 2)) * math.sqrt((more + less) - (more - less) ** 2 / cells) / cells
    return Interval((new - gone) / total, middle - width, middle + width)


def mcnemar(new: int, gone: int) -> float:
    """Exact two-sided p value that as many prompts turn one way as the other (McNemar 1947)."""
    return float(stats.binomtest(new, new + gone).pvalue) if new + gone else 1.0


def check_complete(verdict: Mapping[str, Any]) -> Iterator[dict]:
    """Rows of the gate for models of which too much is missing: an audit that saw little cannot let a model through.

    Yields:
        A row of COLUMNS that fails for each such model. A whole audit gives no row.
    """
    for name, model in verdict["models"].items():
        if lacking := _lacking(verdict, model):
            yield _row(name, model, rule="missing", passes=False, note="; ".join(lacking))


def _lacking(verdict: Mapping[str, Any], model: Mapping[str, Any]) -> list[str]:
    """What is missing of a model beyond `answer.missing` of its verdict, each as a sentence."""
    listed, compared = model["training"]["n_clips"], model["training"]["n_compared"]
    rule = AnswerRule(verdict["answer"]["margin"], verdict["answer"]["missing"])
    found = lacking_parts({"ok": compared, "absent": listed - compared}, model["n_failed"], model["n_prompts"], rule)
    unmade = " prompts gave no clip" if model["prompted"] else " clips were not made"
    return [sentence.replace(" prompts gave no clip", unmade) for sentence in found]


def _row(name: str, model: Mapping[str, Any], **cells: Any) -> dict:
    """A row of the gate on a model; cells that are not given are empty."""
    known = {"model": name, "n": model["n_prompts"], "counted": _counted(model)}
    return dict.fromkeys(COLUMNS) | dict.fromkeys(("kind", "new", "gone", "note"), "") | known | cells


def _counted(model: Mapping[str, Any]) -> str:
    """What the shares of a model are shares of."""
    return "prompts" if model["prompted"] else "clips"


def paired_models(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, str]:
    """Models that are compared: name now -> name before. Models of one name; or the only model of each verdict.

    Raises:
        VidmemError: no model of one name, and several models in a verdict.
    """
    mine, theirs = list(now["models"]), list(before["models"])
    same = {name: name for name in mine if name in theirs}
    if same:
        return same
    if len(mine) == len(theirs) == 1:
        return {mine[0]: theirs[0]}
    raise VidmemError("a model of the same name in both verdicts", f"{mine} and {theirs}", "against", "name them alike")


def check_comparable(now: Mapping[str, Any], before: Mapping[str, Any], share: float) -> None:
    """Check that two verdicts say the same thing of different models.

    Args:
        share: smallest share of the prompts that must be in both, of those of the audit that has more, 0 to 1.

    Raises:
        VidmemError: another corpus, other thresholds, metrics or prompts, or an older audit that saw too little.
    """
    if now["provenance"]["corpus_sha256"] != before["provenance"]["corpus_sha256"]:
        got = [verdict["provenance"]["corpus_sha256"][:16] for verdict in (now, before)]
        raise VidmemError(
            "verdicts on one corpus", " and ".join(got), "against: corpus", "audit both models against one corpus"
        )
    for mine, theirs in paired_models(now, before).items():
        one, other = now["models"][mine], before["models"][theirs]
        _check_definitions(mine, one, other)
        _check_prompts(mine, one, other, share)
        if lacking := _lacking(before, other):
            where = f"against: model {on_one_line(theirs)}"
            raise VidmemError("an older verdict of a whole audit", "; ".join(lacking), where, "audit the older model again")


def _check_definitions(name: str, now: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Check that both audits call the same thing memorised."""
    for kind in KINDS:
        for key in sorted({*now[kind]["definition"], *before[kind]["definition"]}):
            values = [model[kind]["definition"].get(key) for model in (now, before)]
            if values[0] != values[1]:
                got, where = f"{values[0]} and {values[1]}", f"against: {kind}.{key} of model {name}"
                raise VidmemError("one definition of memorised", on_one_line(got), on_one_line(where), "use one configuration")


def _check_prompts(name: str, now: Mapping[str, Any], before: Mapping[str, Any], share: float) -> None:
    """Check that most prompts are in both audits, because the shares that are compared are of these prompts."""
    mine, theirs = set(now["prompts"]), set(before["prompts"])
    common, most = mine & theirs, max(len(mine), len(theirs))
    if common and len(common) / most >= share:
        return
    named = {"new only": sorted(mine - theirs), "old only": sorted(theirs - mine)}
    some = [f"{side}: {on_one_line(', '.join(ids[:NAMED]))}" for side, ids in named.items() if ids]
    got, counted = "; ".join([f"{len(common)} of {most}", *some]), _counted(now)
    hint = "use the same prompts and seed, or lower gate.common"
    raise VidmemError(f"{percent(share)} of the {counted} in both audits", got, f"against: {counted} of model {name}", hint)


def compare_verdicts(
    now: Mapping[str, Any], before: Mapping[str, Any], section: Mapping[str, Any], level: float
) -> Iterator[dict]:
    """Rows of the gate for two verdicts: a model fails if it replays more, beyond chance, by more than the margin.

    Args:
        section: section `gate` of the configuration.
        level: confidence level; a difference is beyond chance if its p value (McNemar) is below 1 - level.

    Yields:
        A row of COLUMNS for each model and kind; see check_comparable for errors. A model that only one verdict has
        gets one row, which fails if the new verdict lacks it.
    """
    check_comparable(now, before, section["common"])
    pairs = paired_models(now, before)
    for mine, theirs in pairs.items():
        one, other = now["models"][mine], before["models"][theirs]
        named = "" if mine == theirs else f"compared with model {on_one_line(theirs)}"
        for kind in KINDS:
            cells = _compared(one, other, kind, section["margin"], level)
            note = "; ".join(filter(None, (cells["note"], named)))
            yield _row(mine, one, kind=kind, rule="against", **cells | {"note": note})
    for name in [name for name in now["models"] if name not in pairs]:
        yield _row(name, now["models"][name], rule="against", passes=True, note="new, compared with nothing")
    for name in [name for name in before["models"] if name not in pairs.values()]:
        yield _row(name, before["models"][name], rule="against", passes=False, note="is not in the new verdict")


def _compared(one: Mapping[str, Any], other: Mapping[str, Any], kind: str, margin: float, level: float) -> dict:
    """Cells of a row for a model now and before. Both shares are of the prompts that both audits have."""
    missing = {key: sum(model[key]["share"] is None for model in (one, other)) for key in KINDS}
    if missing[kind] == 2 and not all(missing.values()):  # no model of images has motion; that must not hold it back for ever
        return {"passes": True, "note": f"{NOT_DEFINED} in either verdict"}
    if missing[kind]:
        return {"passes": False, "note": NOT_DEFINED}
    common = set(one["prompts"]) & set(other["prompts"])
    new, gone = _turned(one, other, kind, common), _turned(other, one, kind, common)
    before, now = (len(set(model["replayed"][kind]) & common) / len(common) for model in (other, one))
    found, p = paired_difference(len(new), len(gone), len(common), level), mcnemar(len(new), len(gone))
    sizes = [len(set(model["prompts"])) for model in (other, one)]
    note = f"both shares are of the {len(common)} {_counted(one)} in both audits ({sizes[0]} before, {sizes[1]} now)"
    return {
        "before": before, "now": now, "n": len(common), "new": " ".join(new), "gone": " ".join(gone), "p": p,
        "difference": found.value, "low": found.low, "high": found.high, "allowed": margin,
        "passes": not (p < 1 - level and found.value > margin), "note": "" if sizes == [len(common)] * 2 else note,
    }  # fmt: skip


def _turned(one: Mapping[str, Any], other: Mapping[str, Any], kind: str, common: Collection[str]) -> list[str]:
    """Prompts that replay by the first model and not by the second, sorted."""
    return sorted((set(one["replayed"][kind]) - set(other["replayed"][kind])) & set(common))


def check_limits(verdict: Mapping[str, Any], limits: Mapping[str, float]) -> Iterator[dict]:
    """Rows of the gate for limits that stand in the configuration. A share that is not defined fails.

    Args:
        limits: a key of LIMITS -> largest value that is let through.
    """
    for name, model in verdict["models"].items():
        for limit, allowed in limits.items():
            kind, part = LIMITS[limit]
            value = model[kind][part]
            passes, note = value is not None and value <= allowed, NOT_DEFINED if value is None else ""
            yield _row(name, model, kind=kind, rule=limit, now=value, allowed=allowed, passes=passes, note=note)


def gate_text(table: pd.DataFrame) -> str:
    """The gate in words: a line for each row, and the prompts that replay now only."""
    if table.empty:
        return "Nothing to check: give --config against=PATH, or limits in the section gate of the configuration."
    lines = [line for row in table.to_dict("records") for line in _lines(row)]
    passed = table["passes"].all()
    return "\n".join([*lines, "The gate lets the models through." if passed else "The gate holds the models back."])


def _lines(row: Mapping[str, Any]) -> list[str]:
    """A row of the gate in words. Where nothing was measured, its note says why."""
    what = row["kind"] if row["rule"] == "against" and row["kind"] else row["rule"]
    head = f"{'pass' if row['passes'] else 'FAIL'}  {on_one_line(row['model'])}, {what}: "
    if pd.isna(row["now"]):
        return [head + row["note"]]
    if row["rule"] != "against":
        return [f"{head}{percent(row['now'])}, allowed {percent(row['allowed'])}"]
    change = f"{percent(row['before'])} -> {percent(row['now'])} of {row['n']} {row['counted']}"
    ends = f"difference {_points(row['low'])} to {_points(row['high'])} percentage points, allowed {_points(row['allowed'])}"
    new = [f"      new: {on_one_line(name)}" for name in row["new"].split()]
    return [f"{head}{change}, {ends}, p = {row['p']:.3g} (McNemar)", *([f"      {row['note']}"] if row["note"] else []), *new]


def _points(share: float) -> str:
    """A difference of shares in percentage points."""
    return percent(share).removesuffix(" %")

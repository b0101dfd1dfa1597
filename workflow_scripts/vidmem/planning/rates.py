"""Rates for estimates: from the file rates.yaml, and better ones from the user's own runs.

A rate says how many seconds a unit of a rule's work takes on a device. It also says how many a job takes before its first unit.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
import yaml

from ..config import Config
from ..errors import VidmemError
from .workload import Span, frames_made, passes, probe_calls

FILE = Path(__file__).with_name("rates.yaml")
MODEL_RULES = ("generate_clips", "probe_guidance", "mitigate_clips", "invert_images", "probe_model")
"""Rules whose work consists of network evaluations."""

FEATURE_UNITS = ("clip", "frame", "pair")
"""Units of reading clips, describing frames and computing flow. Rates of these units do not depend on the configured models."""
TELLING = 3
"""Only jobs that last at least so many times their start show how many seconds a unit takes."""


@dataclass(frozen=True)
class Rate:
    """Wall time in seconds of a unit of work, and of the start of a job.

    Attributes:
        of: a rule, 'torch' for the start of any job of MODEL_RULES, 'other' for rules without a rate, or the path of a model.
        variant: a descriptor preset, a flow estimator, '<frames>x<height>x<width>' for a model, or ''.
        unit: clip, frame, pair, multiply-add, evaluation or job.
        seconds: seconds per unit; start: seconds of a job before its first unit.
        source: what was measured, where and when.
        rule: for an evaluation, the rule in which it was measured. For example, a generation also decodes and records.
    """

    of: str
    variant: str
    unit: str
    seconds: float
    start: float
    source: str
    rule: str = ""


def load_rates(device: str, path: Path | str = FILE) -> list[Rate]:
    """Load the rates of a device.

    Args:
        device: 'cpu' or 'cuda'.
        path: a file in the form of rates.yaml.

    Raises:
        VidmemError: a file of another form.
    """
    content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    try:
        known = content["devices"][device]
        standard = {"variant": "", "start": 0.0, "source": known["source"]}
        return [Rate(**standard | entry) for entry in known["rates"]]
    except (KeyError, TypeError) as error:
        raise VidmemError(f"devices.{device} with a source and rates", error, str(path)) from error


def fit_rate(units: Sequence[float], seconds: Sequence[float], start: float | None = None) -> tuple[float, float]:
    """Seconds per unit, and seconds of a job before its first unit, by least squares.

    Fewer than three jobs, or jobs of one size, do not show how long a start takes. Nor does a fitted line that falls or begins
    below zero. Then all seconds are counted for the units. This overestimates larger jobs, but never underestimates them.

    Args:
        units, seconds: number of units and wall time of each job.
        start: seconds of a job before its first unit, if they are known.

    >>> fit_rate([1, 2, 5], [3, 5, 11])
    (2.0, 1.0)
    >>> fit_rate([10], [20])
    (2.0, 0.0)
    """
    size, time = np.asarray(units, float), np.asarray(seconds, float)
    if start is None and len(size) > 2 and np.ptp(size) > 0:
        slope, begin = np.polyfit(size, time, 1)
        if slope > 0 and begin >= 0:
            return round(float(slope), 12), round(float(begin), 12)
    known = start or 0.0
    if time.sum() <= known * len(time):
        known = 0.0
    return float((time - known).sum() / size.sum()), known


@dataclass(frozen=True)
class Job:
    """A finished job: its rule, what it computed (of, variant and unit as in Rate), its number of units and its seconds."""

    rule: str
    of: str
    variant: str
    unit: str
    units: float
    seconds: float


def finished_jobs(run: Path, config: Config) -> Iterator[Job]:
    """Yield the finished jobs of a run with their units, which are read from the run's files.

    If the files of a job are gone, its only unit is the job itself.

    Args:
        run: folder results/<run>.
        config: configuration of that run. Its models tell how many evaluations a clip took.
    """
    for path in sorted(run.glob("benchmarks/**/*.tsv")):
        rule, seconds = path.relative_to(run / "benchmarks").parts[0].removesuffix(".tsv"), _seconds(path)
        if seconds is None:
            continue
        found = _units(run, rule, path.name.removesuffix(".tsv"), config)
        yield Job(rule, *found, seconds) if found else Job(rule, rule, "", "job", 1, seconds)


def _seconds(path: Path) -> float | None:
    """Mean wall time in seconds in a benchmark file; None if nothing was measured."""
    try:
        seconds = pd.to_numeric(pd.read_csv(path, sep="\t")["s"], errors="coerce").dropna()
    except (pd.errors.ParserError, pd.errors.EmptyDataError, KeyError):
        return None
    return float(seconds.mean()) if len(seconds) else None


def _units(run: Path, rule: str, name: str, config: Config) -> tuple[str, str, str, float] | None:
    """What a job worked on, as (of, variant, unit, units) of Job; None if only its seconds are known."""
    owner, _, shard = name.rpartition(".")
    counted = {"read_corpus": ("corpus-", "clips", "clip"), "describe_frames": ("", "descriptors", "frame"),
               "compute_flow": ("", "flows", "pair")}  # fmt: skip
    if rule in counted:
        prefix, table, unit = counted[rule]
        path = run / f"data/{prefix}{owner}/{shard}.{table}.parquet"
        return (rule, _computed_by(path), unit, _rows(path)) if path.is_file() else None
    model = config["models"].get(owner)
    if rule in ("generate_clips", "probe_guidance") and model and model["kind"] == "diffusers":
        ending, count = ("clips", _generated) if rule == "generate_clips" else ("probe", _probed)
        path = run / f"data/generated-{owner}/{shard}.{ending}.parquet"
        return (model["path"], shape_of(model), "evaluation", count(path, model, config)) if path.is_file() else None
    if rule == "mitigate_clips" and owner in config["mitigations"]:
        model = config["models"][config["mitigations"][owner]["model"]]
        path = run / f"data/mitigated-{owner}/{shard}.adjusted.parquet"
        return (model["path"], shape_of(model), "evaluation", _mitigated(path, model)) if path.is_file() else None
    if rule == "invert_images" and owner in config["inversions"]:
        inversion, path = config["inversions"][owner], run / f"inversion/{owner}/{shard}.parquet"
        if path.is_file():
            return inversion["path"], shape_of(inversion), "evaluation", _inverted(path, inversion)
    return None


def _generated(path: Path, model: Config, config: Config) -> float:
    made = int((pd.read_parquet(path, columns=["status"])["status"] == "ok").sum())
    return made * model["steps"] * passes(model)


def _probed(path: Path, model: Config, config: Config) -> float:
    prompts = pd.read_parquet(path, columns=["clip_id"])["clip_id"].nunique()
    return probe_calls(model, Span.of(prompts), Span.of(0), config["detection"]).high


def _mitigated(path: Path, model: Config) -> float:
    steps = pd.read_parquet(path, columns=["steps"])["steps"]
    return float((3 + 2 * steps).sum() + len(steps) * model["steps"] * passes(model))


def _inverted(path: Path, inversion: Config) -> float:
    """Number of network evaluations that inversions took, including backward passes."""
    from ..inversion.presets import plan_of

    plan = plan_of(inversion["preset"], inversion["mode"], inversion["plan"])
    table = pd.read_parquet(path, columns=["steps", "network_calls"])
    return float(table["network_calls"].sum() + table["steps"].sum() * plan.batch)


def shape_of(model: Config) -> str:
    """Shape of a model's sample as text: '<frames>x<height>x<width>'."""
    return "x".join(str(side) for side in (frames_made(model).high, *model["size"]))


def _rows(path: Path) -> int:
    return parquet.read_metadata(path).num_rows


def _computed_by(path: Path) -> str:
    """Descriptor preset or flow estimator that made a feature table; '' if the table does not say it or is empty."""
    if "computed_by" not in parquet.read_schema(path).names or not _rows(path):
        return ""
    return str(parquet.ParquetFile(path).read_row_group(0, columns=["computed_by"])["computed_by"][0]).split()[0]


def rates_of_jobs(jobs: Iterable[Job], source: str, starts: Mapping[str, float]) -> list[Rate]:
    """Rates of finished jobs, one for each kind of work. Jobs that ended soon after their start give no rate.

    Args:
        jobs: the finished jobs.
        source: where the rates come from, in words.
        starts: known seconds of a job before its first unit, by unit.
    """
    groups: dict[tuple[str, str, str, str], list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.of, job.variant, job.unit, job.rule if job.unit == "evaluation" else ""), []).append(job)
    rates = []
    for (of, variant, unit, rule), members in groups.items():
        done = [job for job in members if job.units]
        if not done:
            continue
        known = 0.0 if unit == "job" else starts.get(unit)
        if unit in FEATURE_UNITS and known and sum(job.seconds for job in done) < TELLING * known * len(done):
            continue
        seconds, start = fit_rate([job.units for job in done], [job.seconds for job in done], known)
        rates.append(Rate(of, variant, unit, seconds, start, source, rule))
    return rates


NO_MODELS: dict[str, dict] = {"models": {}, "inversions": {}, "mitigations": {}}


def own_rates(results: Path, run: str, config: Config, starts: Mapping[str, float]) -> list[Rate]:
    """Rates of the user's own runs: first of this run, then of other runs, the latest first.

    Other runs only give rates of reading, describing and flow, because their models may differ from this configuration's.

    Args:
        results: folder of all runs.
        run: name of this run.
        config: configuration of this run.
        starts: as in rates_of_jobs.
    """
    others = [folder for folder in results.glob("*") if folder.name != run and (folder / "benchmarks").is_dir()]
    others.sort(key=lambda folder: (-folder.stat().st_mtime, folder.name))
    rates = rates_of_jobs(finished_jobs(results / run, config), f"own run {run}", starts)
    for folder in others:
        found = rates_of_jobs(finished_jobs(folder, config | NO_MODELS), f"own run {folder.name}", starts)
        rates += [rate for rate in found if rate.unit in FEATURE_UNITS]
    return rates


def find_rate(rates: Sequence[Rate], of: str, variant: str = "", unit: str = "") -> Rate | None:
    """First rate with the given `of`, `variant` and `unit` ('' for any unit); None if there is none."""
    return next(
        (rate for rate in rates if (rate.of, rate.variant) == (of, variant) and rate.unit in (unit or rate.unit,)), None
    )


def known_rate(rates: Sequence[Rate], of: str) -> Rate:
    """First rate of a job with the given `of`, which the shipped rates always have.

    Raises:
        VidmemError: they have none.
    """
    rate = find_rate(rates, of, "", "job")
    if rate is None:
        raise VidmemError(f"a rate of {of!r} by job", sorted({one.of for one in rates}), str(FILE))
    return rate


def evaluation_rate(rates: Sequence[Rate], rule: str, model: Config) -> Rate | None:
    """Rate of a network evaluation of a model, if possible measured in this rule; None if there is none.

    If only samples of another shape were measured, the rate is scaled by frames and pixels, and its source says so. A
    checkpoint in a folder below a model has the rate of the model.
    """
    path, shape = model["path"], shape_of(model)
    known = [rate for rate in rates if rate.unit == "evaluation" and f"{path}/".startswith(f"{rate.of}/")]
    if not known:
        return None
    found = min(known, key=lambda rate: (rate.variant != shape, rate.rule != rule, -len(rate.of)))
    if found.variant == shape:
        return found
    ratio = float(np.prod(_sides(shape)) / np.prod(_sides(found.variant)))
    source = f"{found.source}; {path} scaled from {found.variant} to {shape}"
    return replace(found, variant=shape, seconds=found.seconds * ratio, source=source)


def _sides(shape: str) -> list[int]:
    return [int(side) for side in shape.split("x")]


def rates_by_class(results: Path, config: Config, device: str) -> dict[str, list[Rate]]:
    """Rates of rules that hold a GPU ('gpu') and of other rules ('cpu'). The user's own rates come before those of the file.

    Args:
        results: folder of all runs.
        config: completed configuration.
        device: 'cuda' or 'cpu', on which rules that can hold a GPU compute.
    """
    known = {"cpu": load_rates("cpu"), "gpu": load_rates(device)}
    torch = find_rate(known["gpu"], "torch", "", "job") or known_rate(known["cpu"], "torch")
    starts = {rate.unit: rate.start for rate in reversed(known["cpu"]) if rate.unit in FEATURE_UNITS}
    own = own_rates(results, config["run"], config, starts | {"evaluation": torch.seconds})
    measured_here = device == device_of_run(results / config["run"])
    return {"cpu": own + known["cpu"], "gpu": (own if measured_here else []) + known["gpu"]}


def device_of_run(run: Path) -> str:
    """Device on which a run generated its clips; 'cpu' if its clips do not say it."""
    for path in sorted(run.glob("data/generated-*/*.clips.parquet")):
        for text in pd.read_parquet(path, columns=["provenance"])["provenance"]:
            if kind := json.loads(text or "{}").get("device"):
                return str(kind)
    return "cpu"

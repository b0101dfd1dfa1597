"""Tables 3 and 4: how well guidance magnitudes tell memorised prompts from others."""

from pathlib import Path

from vidmem.base.logs import start_logging
from vidmem.base.named_files import files_by_name
from vidmem.detection.evaluation import (
    Calls,
    as_table,
    metric_case,
    model_rows,
    not_defined_row,
    planted_cases,
    why_not_defined,
)
from vidmem.detection.probed_model import load_model
from vidmem.exhibits.compact_tables import detection_exhibit
from vidmem.exhibits.table_files import save_exhibit
from vidmem.features.statistics import IntervalRule
from vidmem.scoring.scores import prompt_verdicts


def tabulate(files: dict, params, output) -> None:
    tables, interval = {"content": [], "motion": []}, IntervalRule(**params.interval)
    for name, settings in params.models.items():
        if name not in params.guided:
            for rows in tables.values():
                rows.append(not_defined_row(name, why_not_defined(settings)))
            continue
        model = load_model(files[name])
        calls = Calls(settings["steps"], model.extra_pass)
        for kind, rule in (("content", params.content), ("motion", params.motion)):
            verdicts = prompt_verdicts(model.clips, model.scores, rule["metric"], rule["samples"])
            planted = list(planted_cases(model.prompts, params.detection["planted"]))
            # A planted photograph has no motion.
            planted = [case for case in planted if kind == "content" or case.data == "video"]
            cases = [*planted, metric_case(verdicts)]
            rows = model_rows(name, model.probes, model.guidance, model.prompts, cases, calls, interval, params.seed)
            tables[kind] += rows if len(model.probes) else [not_defined_row(name, why_not_defined(settings))]
    for kind, rows in tables.items():
        table = as_table(rows)
        save_exhibit(Path(output[kind]), table, detection_exhibit(table, kind, interval.level))


if "snakemake" in globals():
    start_logging(snakemake.log[0], snakemake.scriptdir, snakemake.params)
    files = files_by_name(dict(snakemake.input.items()), snakemake.params.guided)
    tabulate(files, snakemake.params, snakemake.output)

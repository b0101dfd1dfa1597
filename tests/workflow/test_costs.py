"""The estimate counts jobs as Snakemake does, and runs nothing of the audit."""

import json
import re

from vidmem.planning.estimate import parse_job_stats
from workflow_helpers import SMOKE


def test_an_estimate_before_the_run(project, run):
    folder = project()
    before = {path.relative_to(folder) for path in folder.rglob("*") if ".snakemake" not in path.parts}
    printed = run(folder, "--cores", "1", "estimate", *SMOKE).text
    record = json.loads((folder / "results/smoke/estimate.json").read_text())
    jobs = parse_job_stats(run(folder, "--dry-run", "--forceall", "--cores", "1", *SMOKE).text)
    assert {rule["rule"]: rule["jobs"] for rule in record["rules"]} == jobs
    assert record["jobs"] == sum(jobs.values())
    assert re.search(rf"all jobs +{record['jobs']} ", printed)
    assert record["unknown"] == []
    made = {path.relative_to(folder) for path in folder.rglob("*") if ".snakemake" not in path.parts} - before
    assert {str(path) for path in made if (folder / path).is_file()} == {
        "results/smoke/estimate.json",
        "results/smoke/logs/estimate.log",
    }


def test_an_estimate_of_a_finished_run_has_nothing_to_do_and_measured_rates(finished, run):
    """Jobs that are short tell their start, not what a frame takes; longer ones tell both."""
    for seconds, expected in (("0.5", "rates.yaml"), ("900.0", "own run smoke")):
        for path in (finished / "results/smoke/benchmarks/describe_frames").glob("*.tsv"):
            names, values = (line.split("\t") for line in path.read_text().splitlines())
            path.write_text("\t".join(names) + "\n" + "\t".join([seconds, *values[1:]]) + "\n")
        printed = run(finished, "--cores", "1", "estimate", *SMOKE).text
        record = json.loads((finished / "results/smoke/estimate.json").read_text())
        assert sum(rule["to_do"] for rule in record["rules"]) == 0
        assert "own run smoke" in printed
        described = {rule["rule"]: rule for rule in record["rules"]}["describe_frames"]
        (source,) = described["sources"]
        assert source.startswith(expected), source

"""Commands that a run prints: each works as it is, and means the results of that run."""

import re
import shlex

from workflow_helpers import SMOKE


def test_a_command_carries_all_that_says_which_results_are_meant(project, run, tmp_path):
    """Started elsewhere, with files of awkward names; the command is for the place where the run was started."""
    folder = project()
    (tmp_path / "it's $HOME.yaml").write_text("seed: 3\n")
    where = ("--snakefile", str(folder / "Snakefile"), "--directory", str(folder))
    files = ("--configfile", str(folder / "tests/config/smoke.yaml"), "it's $HOME.yaml")
    text = run(tmp_path, "--cores", "1", *where, *files, "--config", "run=other", "shards=3", "--", "preflight").text
    (printed,) = re.findall(r"^Nothing is missing: snakemake (.*)$", text, re.M)
    planned = run(tmp_path, *shlex.split(printed), "--dry-run", "--quiet", "host").text
    assert "results/other/data/corpus-tiny/2.clips.parquet" in planned
    assert "results/smoke" not in planned
    assert "'it'\"'\"'s $HOME.yaml' --config run=other shards=3 --cores all" in printed


def test_the_report_is_of_the_configuration_of_the_run(finished, run):
    (finished / "results/smoke/tables/not_done.csv").unlink()
    text = run(finished, "--cores", "2", *SMOKE, "--config", "seed=0").text
    (printed,) = re.findall(r"^  report   (snakemake .*)$", text, re.M)
    called = [*SMOKE, "--config", "seed=0", "--cores", "1", "--report", "results/smoke/report.zip"]
    assert shlex.split(printed)[1:] == called


def test_results_of_another_recipe_are_made_again_by_the_command(finished, run):
    from vidmem.base.store import load_table, save_table, write_as

    wanted = "results/smoke/data/corpus-tiny/0.clips.parquet"
    table = load_table(finished / wanted)
    write_as("f" * 16)
    save_table(finished / wanted, table)
    write_as("")
    stopped = run(finished, "--cores", "1", *SMOKE, check=False).text
    (printed,) = re.findall(r"^Hint: snakemake (.*); then run again$", stopped, re.M)
    assert wanted in run(finished, "--dry-run", "--quiet", "host", *shlex.split(printed)).text
    assert printed.startswith(f"{shlex.join(SMOKE)} --cores all --force -- ")

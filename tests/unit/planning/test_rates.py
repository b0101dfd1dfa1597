"""Rates of a machine: fitted, measured by own runs, read from files."""

import pandas as pd
import pytest

from estimate_cases import RATES
from vidmem.base.store import save_table
from vidmem.errors import VidmemError
from vidmem.planning.rates import Job, evaluation_rate, find_rate, finished_jobs, fit_rate, load_rates, own_rates, rates_of_jobs


def test_a_run_that_hardly_outlasts_its_start_tells_no_rate():
    jobs = [Job("describe_frames", "describe_frames", "p", "frame", 40, 1.2)]
    assert rates_of_jobs(jobs, "own", {"frame": 0.95}) == []
    longer = [Job("describe_frames", "describe_frames", "p", "frame", 4000, 100.95)]
    assert rates_of_jobs(longer, "own", {"frame": 0.95})[0].seconds == pytest.approx(0.025)


def test_a_rate_of_another_shape_is_scaled_and_says_so():
    model = {"path": "./net", "frames": 12, "size": [32, 32]}
    found = evaluation_rate(RATES, "generate_clips", model)
    assert found.seconds == pytest.approx(0.1 * 4)
    assert "scaled from 6x32x16 to 12x32x32" in found.source
    assert evaluation_rate(RATES, "generate_clips", model | {"path": "./other"}) is None
    assert evaluation_rate(RATES, "generate_clips", model | {"path": "./net-2"}) is None
    checkpoint = {"path": "./net/at-100", "frames": 6, "size": [32, 16]}
    assert evaluation_rate(RATES, "generate_clips", checkpoint).seconds == 0.1


def test_rates_are_fitted_by_least_squares():
    assert fit_rate([10, 20, 40], [3, 5, 9]) == pytest.approx((0.2, 1.0))
    assert fit_rate([10, 20], [3, 5]) == pytest.approx((8 / 30, 0.0))
    assert fit_rate([10, 20], [3, 5], 1.0) == pytest.approx((0.2, 1.0))
    assert fit_rate([10, 20, 40], [9, 8, 7]) == pytest.approx((24 / 70, 0.0))  # a falling line: no unit would cost anything
    assert fit_rate([10, 20], [3, 5], 9.0) == pytest.approx((8 / 30, 0.0))  # less than its start


def test_own_runs_are_measured_by_their_files(tiny, tmp_path):
    """Units come from the files beside a benchmark; of another run only what needs no model is taken."""
    for run, seconds in (("tiny", "8.0"), ("older", "4.0")):
        folder = tmp_path / run
        rows = pd.DataFrame({"clip_id": ["a"] * 16, "frame": range(16), "computed_by": ["sscd-288 12345"] * 16})
        save_table(folder / "data/corpus-own/0.descriptors.parquet", rows)
        save_table(folder / "data/generated-net/0.clips.parquet", pd.DataFrame({"status": ["ok", "ok", "failed"]}))
        for name in ("describe_frames/corpus-own.0", "describe_frames/gone.0", "generate_clips/net.0", "plot_x"):
            path = folder / f"benchmarks/{name}.tsv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"s\th:m:s\n{seconds}\t0:00:08\n")
        (folder / "benchmarks/empty.tsv").write_text("")
    rates = own_rates(tmp_path, "tiny", tiny, {"evaluation": 2.0})
    assert find_rate(rates, "describe_frames", "sscd-288", "frame").seconds == 0.5
    found = find_rate(rates, "./net", "6x32x16", "evaluation")
    assert (found.seconds, found.start, found.rule) == (6.0 / (2 * 10 * 2), 2.0, "generate_clips")
    assert find_rate(rates, "plot_x", "", "job").seconds == 8.0
    assert [rate.source for rate in rates if rate.unit == "frame"] == ["own run tiny", "own run older"]
    assert {rate.unit for rate in rates if rate.source == "own run older"} == {"frame"}
    jobs = list(finished_jobs(tmp_path / "tiny", tiny))
    assert ("describe_frames", "", "job") in {(job.of, job.variant, job.unit) for job in jobs}  # its table is gone
    assert rates_of_jobs([], "nothing", {}) == []


def test_the_file_of_rates_is_whole(root):
    for device in ("cpu", "cuda"):
        for rate in load_rates(device):
            assert rate.seconds > 0
            assert rate.source
    assert find_rate(load_rates("cpu"), "other", "", "job") is not None


@pytest.mark.parametrize("text", ["devices: {}", "devices: {cpu: {rates: []}}", "devices: {cpu: {source: x, rates: [{a: 1}]}}"])
def test_rates_of_another_form_are_refused(tmp_path, text):
    (tmp_path / "rates.yaml").write_text(text)
    with pytest.raises(VidmemError, match="rates"):
        load_rates("cpu", tmp_path / "rates.yaml")

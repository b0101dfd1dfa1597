"""A detector that only this file knows, judged on the finished smoke audit by the script of Tables 3 and 4."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from sklearn.metrics import roc_auc_score

from tabulate_detection import tabulate
from vidmem.audit import Audit
from vidmem.base.named_files import files_by_name
from vidmem.config import complete_config, load_schema
from vidmem.generation.detector_records import DETECTORS, DetectorRecord, register_detector
from vidmem.planning.registries import registered_names

TOY = DetectorRecord(
    "branch_gap", "gap between the branches", ("conditional", "unconditional"),
    lambda seen: seen["conditional"] - seen["unconditional"], higher=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def tables(smoke, root, tmp_path_factory):
    """Folder of the audit, Table 3 with the toy, and Table 3 as the audit made it."""
    schema = load_schema(root / "rules/schemas/config.schema.yaml", registered_names())
    config = complete_config(yaml.safe_load((root / "tests/config/smoke.yaml").read_text()), schema)
    audit, folder = Audit(config), smoke[0] / "results/smoke"
    stems = [smoke[0] / stem for stem in audit.stems(f"generated-{name}" for name in audit.guided)]
    inputs = {
        name: [f"{stem}.{end}.parquet" for stem in stems]
        for name, end in (("probes", "probe"), ("guidance", "guidance"), ("clips", "clips"))
    }
    inputs |= {
        "prompts": [folder / f"prompts/{name}.parquet" for name in audit.guided],
        "negatives": [folder / f"prompts/{name}.negatives.parquet" for name in audit.guided],
        "scores": [folder / f"scores/generated-{name}.parquet" for name in audit.guided],
    }
    keys = ("models", "detection", "content", "motion", "interval", "seed")
    params = SimpleNamespace(guided=audit.guided, **{key: config[key] for key in keys})
    made = tmp_path_factory.mktemp("tables")
    output = {kind: made / f"{kind}.csv" for kind in ("content", "motion")}
    register_detector(TOY)
    try:
        tabulate(files_by_name(inputs, audit.guided), params, output)
    finally:
        del DETECTORS[TOY.name]
    return folder, pd.read_csv(output["content"]), pd.read_csv(folder / "tables/table3_content_detection.csv")


def gaps(folder, ending):
    """Gap of every prompt, and how it was planted, computed from the files of the audit without the library."""
    rows = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob(f"data/generated-tiny-text/*.{ending}.parquet"))])
    rows = rows[rows["clip_id"].str.endswith("-s0")]
    steps = rows.groupby(["prompt_id", "quantity", "step"])["value"].mean()
    means = steps.groupby(["prompt_id", "quantity"]).mean().unstack()
    prompts = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("prompts/tiny-text*.parquet"))])
    return prompts.set_index("prompt_id").assign(gap=means["conditional"] - means["unconditional"]).dropna(subset="gap")


@pytest.mark.parametrize(("steps", "ending"), [("1", "probe"), ("all", "guidance")])
def test_table_3_has_the_toy_with_its_auc(tables, steps, ending):
    folder, table, _ = tables
    rows = table[(table["detector"] == "branch_gap") & (table["truth"] == "planted") & (table["data"] == "video")]
    row = rows[(rows["steps"] == steps) & (rows["generations"] == 1) & (rows["copies"] == "4+")].squeeze()
    found = gaps(folder, ending)
    planted = (found["split"] == "member") & (found["copies"] >= 4)
    harmless = found["split"].isin(["negative", "heldout"])
    harmless &= (found["split"] == "heldout") | (ending == "probe")  # negative prompts are only probed
    chosen = found[planted | harmless]
    assert (row["status"], row["overhead_percent"]) == ("ok", 0)
    assert (row["n_positive"], row["n_negative"]) == (planted.sum(), harmless.sum())
    assert row["auc"] == pytest.approx(roc_auc_score(planted[chosen.index], -chosen["gap"]), abs=1e-6)


def test_all_other_rows_are_those_of_the_audit(tables):
    _, table, without = tables
    pd.testing.assert_frame_equal(table[table["detector"] != "branch_gap"].reset_index(drop=True), without)
    cases = ["model", "steps", "generations", "truth", "data", "copies"]
    own = table[table["detector"] == "branch_gap"]
    assert len(own) == len(without[without["detector"] == "content"]) == len(own.drop_duplicates(cases))

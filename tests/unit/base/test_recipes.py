"""Stages that take hours, and the stages that feed them, carry a recipe: their code may not change without a decision.

If this test fails: does the change alter what the stage makes? Then change its recipe in vidmem/audit.py. Either way write the
new digest into tests/golden/recipes.json.
"""

import json
import re

import pytest

from vidmem.audit import RECIPES
from vidmem.base.code_digest import digest_modules, digest_script, imported_modules, script_modules
from vidmem.models.families.records import family_modules

BESIDE = {"errors", "config", "audit", "base/logs", "base/checksums", "base/recipes", "base/code_digest"}
"""Modules behind every script that decide how a job reports, writes and runs again, and no number in its results."""


def modules_of(root, rule):
    return [module for module in script_modules(root / "workflow_scripts", rule) if module not in BESIDE]


@pytest.mark.parametrize("rule", RECIPES)
def test_a_recipe_fits_its_modules(root, rule):
    golden = json.loads((root / "tests/golden/recipes.json").read_text())
    found = {"recipe": RECIPES[rule], "digest": digest_modules(root / "workflow_scripts/vidmem", modules_of(root, rule))}
    assert found == golden[rule], f"{rule}: decide on the recipe, then record {found}"


def test_the_modules_behind_a_stage_are_found_by_its_imports(root):
    generation = modules_of(root, "generate_clips")
    assert {"base/identity", "base/seeding", "generation/guidance", "models/families/lavie"} <= set(generation)
    assert not [module for module in generation if module.startswith(("exhibits", "scoring", "search"))]
    assert "inversion/engine" in modules_of(root, "invert_images")


def test_the_modules_of_all_families_are_behind_what_loads_a_model(root):
    """A record names its module as text; a digest that missed it would let a stage keep what other code made."""
    named = {name.removeprefix("vidmem.").replace(".", "/") for name in family_modules()}
    for rule in ("generate_clips", "invert_images", "probe_guidance", "convert_model"):
        assert named <= set(modules_of(root, rule))


def test_the_digest_of_a_script_follows_its_modules(tmp_path):
    library = tmp_path / "vidmem/room"
    library.mkdir(parents=True)
    (tmp_path / "job.py").write_text("from vidmem.room import one\n")
    (library / "one.py").write_text("def f():\n    from .two import g\n")
    (library / "two.py").write_text("g = 1\n")
    (library / "three.py").write_text("h = 1\n")
    assert script_modules(tmp_path, "job") == ["room/one", "room/two"]
    assert imported_modules(tmp_path / "vidmem", ["room/two"]) == ["room/two"]
    other = tmp_path / "copy"
    (other / "vidmem/room").mkdir(parents=True)
    for path in (*tmp_path.glob("*.py"), *library.glob("*.py")):
        (other / path.relative_to(tmp_path)).write_text(path.read_text())
    assert digest_script(other, "job") == digest_script(tmp_path, "job")
    changed = tmp_path / "changed"
    (changed / "vidmem/room").mkdir(parents=True)
    for path in (*tmp_path.glob("*.py"), *library.glob("*.py")):
        (changed / path.relative_to(tmp_path)).write_text(path.read_text().replace("g = 1", "g = 2"))
    assert digest_script(changed, "job") != digest_script(tmp_path, "job")


def test_every_stage_states_its_code_or_a_recipe(root):
    """The fetch stage is pinned by hashes and commits. Estimate, preflight, gate and find look again whenever asked."""
    rules = {
        rule: text
        for path in (root / "rules").glob("*.smk")
        for rule, text in re.findall(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", path.read_text(), re.MULTILINE | re.DOTALL)
    }
    assert len(rules) > 40
    bare = {rule for rule, text in rules.items() if f'digest_of("{rule}")' not in text and f'RECIPES["{rule}"]' not in text}
    assert bare == {"fetch_weights", "fetch_model", "fetch_corpus", "estimate", "preflight", "gate", "find"}

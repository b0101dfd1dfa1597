"""The shape of a script: what it computes, one function, one call that only a job makes; library code is in the library."""

import ast

import pytest

from workflow_helpers import ROOT

SCRIPTS = sorted((ROOT / "workflow_scripts").glob("*.py"))
NAMES = {path.stem for path in SCRIPTS}
LINES = 60


def imported(tree: ast.Module) -> set[str]:
    """Top-level names of all modules that a script imports, inside functions, too."""
    nodes = list(ast.walk(tree))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in (*plain, *named)}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_paths_and_names_of_parameters(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= LINES
    assert ast.get_docstring(tree), "what is computed from what"
    assert not imported(tree) & NAMES, "a script imports no other: what they share is library code"
    last = tree.body[-1]
    assert ast.unparse(last).startswith("if 'snakemake' in globals():")
    guarded = {id(node) for node in ast.walk(last)}
    used = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "snakemake"]
    assert all(id(node) in guarded for node in used), "only the guarded call knows snakemake"


def test_every_script_is_of_a_rule():
    rules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "rules").glob("*.smk"))
    assert len(SCRIPTS) > 40
    assert [path.name for path in SCRIPTS if f'"../workflow_scripts/{path.name}"' not in rules] == []

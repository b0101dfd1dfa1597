"""The library stands in rooms: a room imports only rooms below it, and no module comes back to itself.

Imports inside functions count, too: they would only hide an arrow. The one exception is the face `vidmem.guard`.
"""

import ast
import re
from pathlib import Path

import pytest

FLOORS = (
    ("",),
    ("base",),
    ("corpus", "features", "models"),
    ("prompts", "search", "generation", "inversion"),
    ("scoring",),
    ("detection",),
    ("exhibits", "planning"),
)
"""Rooms from the ground up; '' is the top of the package. Rooms of one floor do not import each other."""
TOP = {"__init__", "audit", "config", "errors"}
FACE = ("__init__", "detection/guard")
"""The lazy import of `vidmem.guard`, so that `import vidmem` takes no torch."""


def modules_of(library: Path) -> dict[str, Path]:
    return {path.relative_to(library).with_suffix("").as_posix(): path for path in library.rglob("*.py")}


def arrows_of(library: Path) -> set[tuple[str, str]]:
    """Pairs of a module and a module that it imports, anywhere in it."""
    modules, found = modules_of(library), set()
    for module, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = path.parent.joinpath(*[".."] * (node.level - 1), *(node.module or "").split(".")).resolve()
                for place in (base, *(base / alias.name for alias in node.names)):
                    name = place.relative_to(library.resolve()).as_posix()
                    found |= {(module, name)} if name in modules else set()
    return found - {FACE}


def room_of(module: str) -> str:
    return module.partition("/")[0] if "/" in module else ""


def upward(arrows: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Imports of a room on the same floor or above."""
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    return sorted(
        (one, other) for one, other in arrows if room_of(one) != room_of(other) and floor[room_of(other)] >= floor[room_of(one)]
    )


def circles(arrows: set[tuple[str, str]]) -> set[str]:
    """Modules that import themselves in the end: those that are left when modules without imports are taken away."""
    left = set(arrows)
    while True:
        importing = {one for one, _ in left}
        kept = {(one, other) for one, other in left if other in importing}
        if kept == left:
            return importing
        left = kept


def test_every_module_lies_in_a_room(root):
    rooms = {room for floor in FLOORS for room in floor}
    modules = modules_of(root / "workflow_scripts/vidmem")
    assert {module for module in modules if room_of(module) not in rooms} == set()
    assert {module for module in modules if room_of(module) == ""} == TOP


def test_imports_run_downwards(root):
    assert upward(arrows_of(root / "workflow_scripts/vidmem")) == []


def test_no_module_imports_itself_in_the_end(root):
    assert circles(arrows_of(root / "workflow_scripts/vidmem")) == set()


def test_the_library_imports_itself_by_relative_names(root):
    """Else an installed copy would answer for a module of the checkout, and the tests above would not see the arrow."""
    for path in modules_of(root / "workflow_scripts/vidmem").values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in names if name.partition(".")[0] == "vidmem"], path


def test_folders_export_nothing(root):
    """A digest follows modules: what a folder hands on, it would not find."""
    empty = [path for path in (root / "workflow_scripts/vidmem").rglob("__init__.py") if path.parent.name != "vidmem"]
    assert len(empty) == len({room for floor in FLOORS for room in floor} - {""}) + 1  # and models/families
    assert [path for path in empty if path.read_text().strip()] == []


@pytest.mark.parametrize(
    ("files", "up", "round_about"),
    [
        ({"base/a.py": "from ..search import b\n", "search/b.py": ""}, [("base/a", "search/b")], set()),
        (
            {"search/a.py": "def f():\n    from ..inversion.b import c\n", "inversion/b.py": ""},
            [("search/a", "inversion/b")],
            set(),
        ),
        ({"base/a.py": "from .b import c\n", "base/b.py": "def f():\n    from . import a\n"}, [], {"base/a", "base/b"}),
        ({"base/a.py": "from ..errors import c\n", "errors.py": ""}, [], set()),
    ],
    ids=["an upward arrow", "a lazy arrow to the next room", "a lazy circle", "a downward arrow"],
)
def test_what_is_wrong_is_found(tmp_path, files, up, round_about):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    arrows = arrows_of(tmp_path)
    assert (upward(arrows), circles(arrows)) == (up, round_about)


def test_only_families_are_imported_by_name(root):
    """An import by name is no arrow that is seen above."""
    library = root / "workflow_scripts/vidmem"
    named = {name for name, path in modules_of(library).items() if "import_module" in path.read_text(encoding="utf-8")}
    assert named == {"models/families/records", "models/loading"}


def test_what_benchmarks_take_from_the_library_is_there(root):
    """Benchmarks run by hand: a name that is gone would be noticed when somebody needs the number."""
    library, missing = root / "workflow_scripts/vidmem", []
    for path in (root / "benchmarks").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vidmem."):
                place = library.joinpath(*node.module.split(".")[1:])
                missing += [f"{path.name}: {node.module}.{one.name}" for one in node.names if not has(place, one.name)]
    assert missing == []


def has(place: Path, name: str) -> bool:
    """Whether a module defines or imports a name, or a folder has a module of that name."""
    file = place.with_suffix(".py")
    found = rf"^(def|class) {name}\b|^{name}\b.*=|import .*\b{name}\b"
    return (place / f"{name}.py").is_file() or (file.is_file() and bool(re.search(found, file.read_text(), re.MULTILINE)))

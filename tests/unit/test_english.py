"""Docstrings are plain: no sentence over 25 words, none that begins with 'Of', each public function has one."""

import ast
import re
from pathlib import Path

import pytest

MOST_WORDS = 25
SECTIONS = ("Args:", "Returns:", "Raises:", "Attributes:", "Yields:", "Source:", "Example:", "Examples:")


def sentences(text: str) -> list[str]:
    """Sentences of a docstring; formulas, examples, code and tables are left out."""
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        stripped = line.strip()
        starts = re.match(r"[-*|]|\d+\.|\w+(, \w+)*: ", stripped)  # a list, a table, an argument
        if not stripped or stripped in SECTIONS or stripped.startswith((">>>", "...", "|", "$$")):
            blocks.append([])
            continue
        if starts:
            blocks.append([])
        blocks[-1].append(re.sub(r"^[-*] ", "", stripped))
    found = []
    for block in blocks:
        joined = re.sub(r"`[^`]*`|\$[^$]*\$|\([^()]*\)|\[[^\[\]]*\]", " ", " ".join(block))
        found += re.split(r"(?<=[.!?])\s+", joined)
    return [sentence for sentence in found if sentence.strip()]


def words(sentence: str) -> int:
    """Words of a sentence; numbers, operators and names of variables with signs do not count."""
    return len([word for word in sentence.split() if re.fullmatch(r"['\"]?[A-Za-z][A-Za-z'\-]*['\".,;:!?]*", word)])


def docstrings(path: Path) -> list[tuple[str, str]]:
    """Docstrings of a file, with what they belong to, and the strings below assignments."""
    tree, found = ast.parse(path.read_text(encoding="utf-8")), []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            found.append((getattr(node, "name", "module"), ast.get_docstring(node)))
    for node, after in zip(tree.body, tree.body[1:]):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(after, ast.Expr):
            if isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
                found.append((f"line {after.lineno}", after.value.value))
    return found


def files(root: Path) -> list[Path]:
    return sorted(root.glob("workflow_scripts/**/*.py"))


def test_no_sentence_of_a_docstring_is_long(root):
    long = [
        f"{path.relative_to(root)} {name}: {words(sentence)} words: {sentence}"
        for path in files(root)
        for name, text in docstrings(path)
        for sentence in sentences(text)
        if words(sentence) > MOST_WORDS
    ]
    assert long == []


def test_no_sentence_of_a_docstring_begins_with_of(root):
    assert [
        f"{path.relative_to(root)} {name}: {sentence}"
        for path in files(root)
        for name, text in docstrings(path)
        for sentence in sentences(text)
        if re.match(r"(Of|The same of|Those that)\b", sentence.strip())
    ] == []


def test_every_public_function_and_class_of_the_library_has_a_docstring(root):
    bare = []
    for path in sorted(root.glob("workflow_scripts/vidmem/**/*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                bare += [] if ast.get_docstring(node) else [f"{path.relative_to(root)} {node.name}"]
    assert bare == []


@pytest.mark.parametrize(
    ("text", "longest"),
    [
        ("One short sentence. And another one.", 3),
        ("Args:\n    a, b: two numbers.\n    c: a third one.", 4),
        (f"{'word ' * 30}end.", 31),
        (">>> f(1)\n2", 0),
    ],
)
def test_words_are_counted(text, longest):
    assert max((words(sentence) for sentence in sentences(text)), default=0) == longest

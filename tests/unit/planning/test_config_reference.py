"""The schema in sections: its pages in docs/, its English, and that something reads every key."""

import re
from pathlib import Path

import pytest
import yaml

from vidmem.config import load_schema
from vidmem.planning.config_reference import EXPERT, USUAL, main, reference_pages, schema_keys
from vidmem.planning.registries import registered_names
from workflow_helpers import ROOT

SCHEMA, SECTIONS = ROOT / "rules/schemas/config.schema.yaml", ROOT / "rules/schemas/sections"
SCHEMAS = [SCHEMA, ROOT / "rules/schemas/verdict.schema.yaml", *sorted(SECTIONS.glob("*.yaml"))]
KEYWORDS = set(
    "$schema $ref $defs title description type enum const default properties required additionalProperties propertyNames "
    "minProperties items minItems maxItems uniqueItems minimum maximum exclusiveMinimum exclusiveMaximum multipleOf pattern "
    "minLength maxLength oneOf dependentRequired names kinds expert".split()
)


@pytest.fixture(scope="module")
def schema():
    return load_schema(SCHEMA, registered_names())


@pytest.fixture(scope="module")
def keys(schema):
    return schema_keys(schema)


@pytest.mark.parametrize("name", [USUAL, EXPERT])
def test_the_pages_are_those_of_the_schema(schema, name):
    command = "PYTHONPATH=workflow_scripts python -m vidmem.planning.config_reference rules/schemas/config.schema.yaml docs"
    assert (ROOT / "docs" / name).read_text() == reference_pages(schema)[name], f"run {command}"


def test_the_command_of_the_pages_writes_them(tmp_path):
    main([str(SCHEMA), str(tmp_path)])
    for name in (USUAL, EXPERT):
        assert (tmp_path / name).read_text() == (ROOT / "docs" / name).read_text()
    words = ["workflow_scripts", "vidmem.planning.config_reference", SCHEMA.relative_to(ROOT).as_posix()]
    assert all(word in (tmp_path / USUAL).read_text() for word in words)


def rows(page):
    return set(re.findall(r"^\| `([^`]+)` \| (?!keys )", page, re.MULTILINE))


def test_every_key_stands_on_a_page_and_a_user_reads_few(schema, keys):
    pages = {name: rows(text) for name, text in reference_pages(schema).items()}
    assert pages[USUAL] == {key.path for key in keys if key.leaf and not key.expert}
    assert pages[EXPERT] == {key.path for key in keys if key.leaf and key.expert}
    assert 30 < len(pages[USUAL]) < 58 < len(pages[EXPERT])


def test_a_key_that_must_be_given_is_a_usual_one(keys):
    """It may only be an expert's inside a key that is, as a whole, an expert's."""
    assert [key.path for key in keys if key.required and key.schema.get("expert")] == []


def test_the_usual_page_names_the_records_of_registries():
    names = registered_names() | {"content_metrics": ["gsscd", "a_new_metric"]}
    assert "| `gsscd`, `a_new_metric` |" in reference_pages(load_schema(SCHEMA, names))[USUAL]


def test_sections_join_the_schema_in_the_order_it_states(tmp_path):
    (tmp_path / "a.yaml").write_text('items: {$ref: "#/$defs/item"}\n$defs: {item: {type: integer}}\n')
    top = 'properties: {z: {type: string}, a: {$ref: a.yaml}, b: {$ref: "#/$defs/item"}}\n$defs: {other: {}}\n'
    (tmp_path / "top.yaml").write_text(top)
    schema = load_schema(tmp_path / "top.yaml")
    assert list(schema["properties"]) == ["z", "a", "b"]
    assert schema["properties"]["a"] == {"items": {"$ref": "#/$defs/item"}}
    assert schema["$defs"] == {"other": {}, "item": {"type": "integer"}}


def test_every_section_belongs_to_the_key_of_its_name():
    named = {key: inner.get("$ref") for key, inner in yaml.safe_load(SCHEMA.read_text())["properties"].items()}
    assert SECTIONS.is_dir()
    for path in SECTIONS.iterdir():
        assert named[path.stem] == f"sections/{path.name}"


def parts(node):
    """Every schema inside a schema."""
    yield node
    for keyword in ("properties", "$defs"):
        for inner in node.get(keyword, {}).values():
            yield from parts(inner)
    for keyword in ("items", "additionalProperties", "propertyNames"):
        if isinstance(node.get(keyword), dict):
            yield from parts(node[keyword])


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_schemas_use_known_keywords(path):
    """A comma in a description without quotes makes a keyword of what follows it."""
    for part in parts(yaml.safe_load(path.read_text())):
        assert set(part) <= KEYWORDS, part


def texts():
    for path in SCHEMAS:
        for part in parts(yaml.safe_load(path.read_text())):
            yield path, part.get("description", "")
    for path in sorted((ROOT / "rules/report").glob("*.rst")):
        yield path, path.read_text()


def test_descriptions_and_captions_are_short_sentences():
    sentences = [(path.name, text) for path, whole in texts() for text in re.split(r"(?<=\.)(?:\*\*)?\s+", whole)]
    assert len(sentences) > 300
    assert [found for found in sentences if len(found[1].split()) > 25 or found[1].startswith("Of ")] == []


def test_something_reads_every_key(keys):
    """As text in quotes, as an attribute or as the field of a record. The check of the configuration reads nothing."""
    places = [*(ROOT / "rules").rglob("*.smk"), *(ROOT / "workflow_scripts").rglob("*.py")]
    code = "\n".join(path.read_text() for path in places if not path.match("vidmem/config.py"))
    # Switches of an autoencoder are called by name: loading.py asks for enable_tiling and enable_slicing.
    named = {"tiling", "slicing"}
    leaves = {Path(key.path).name.split(".")[-1].replace("[]", "") for key in keys if key.leaf} - named
    assert len(leaves) > 100
    reads = {leaf: rf"[\"']{leaf}[\"']|\.{leaf}\b|^    {leaf}: " for leaf in sorted(leaves)}
    assert [leaf for leaf, pattern in reads.items() if not re.search(pattern, code, re.MULTILINE)] == []

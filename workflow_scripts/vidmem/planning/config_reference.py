"""The pages of docs/ that list the keys of a configuration, made from its schema.

Run it at the root of the checkout after a change of the schema:

    PYTHONPATH=workflow_scripts python -m vidmem.planning.config_reference rules/schemas/config.schema.yaml docs
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..base.store import save_text
from ..config import Config, load_schema, resolve
from .registries import registered_names

USUAL, EXPERT = "configuration.md", "configuration-expert.md"
"""Names of the two pages."""

COMMAND = " ".join((__doc__ or "").split("\n")[4].split())

HEADS = {
    USUAL: """# Configuration: the usual keys

Most audits need only the keys of this page. [configuration-expert.md](configuration-expert.md) lists the other keys.
Every key that is not required has a default.
`configs/your-model.yaml` is a configuration to start from.
""",
    EXPERT: """# Configuration: keys for experts

The defaults of these keys suit most audits. [configuration.md](configuration.md) lists the usual keys.
""",
}
NOTATION = f"""
A dot stands between a key and the keys inside it. `<name>` is a name that you choose, and `[]` is each entry of a list.
A mistake in a configuration stops the run before its first job, with the key and what was expected there.
So does a key that stands twice.

This page is made from `rules/schemas/config.schema.yaml`, and a test compares them. Change the schema, then run
`{COMMAND}`.
"""


class Key(NamedTuple):
    """A key of the configuration.

    Attributes:
        path: the keys that lead to it, such as corpora.<name>.sources[].path.
        kind: value that the key 'kind' beside it must have, if that key decides which keys there are; else ''.
        schema: schema of the key, with its references resolved.
        required: whether a configuration must state the key.
        expert: whether only an expert needs the key.
        leaf: whether the key has a value and no keys inside it.
    """

    path: str
    kind: str
    schema: Config
    required: bool
    expert: bool
    leaf: bool


def schema_keys(schema: Config) -> list[Key]:
    """All keys that a schema describes, in the schema's order. A key comes before the keys inside it."""
    return list(_keys_below(schema, schema, "", "", False))


def _keys_below(node: Config, root: Config, path: str, kind: str, expert: bool) -> Iterator[Key]:
    """Keys inside a mapping, in the entries of a list, or below names that the user chooses."""
    for branch in (resolve(branch, root) for branch in node.get("oneOf", [])):
        yield from _keys_below(branch, root, path, branch["properties"]["kind"]["const"], expert)
    for name, inner in {} if "oneOf" in node else node.get("properties", {}).items():
        inner, below = resolve(inner, root), f"{path}.{name}".lstrip(".")
        for_experts = expert or inner.get("expert", False)
        keys = list(_keys_below(inner, root, below, kind, for_experts))
        yield Key(below, kind, inner, name in node.get("required", []), for_experts, not keys)
        yield from keys
    for keyword, suffix in (("additionalProperties", ".<name>"), ("items", "[]")):
        if isinstance(node.get(keyword), dict):
            yield from _keys_below(resolve(node[keyword], root), root, path + suffix, kind, expert)


def reference_pages(schema: Config) -> dict[str, str]:
    """Text of both pages by their names: one lists the usual keys, the other the keys for experts.

    Args:
        schema: the schema as load_schema returns it, with the names of the registries.
    """
    keys = schema_keys(schema)
    return {name: HEADS[name] + NOTATION + _sections(_chosen(keys, name == EXPERT)) for name in HEADS}


def _chosen(keys: list[Key], expert: bool) -> list[Key]:
    """Keys of one page. A key with keys inside it is on every page that has one of these."""
    leaves = [key.path for key in keys if key.leaf and key.expert == expert]

    def holds_one(key: Key) -> bool:
        return any(path.startswith((f"{key.path}.", f"{key.path}[")) for path in leaves)

    return [key for key in keys if (key.expert == expert if key.leaf else holds_one(key))]


def _sections(keys: list[Key]) -> str:
    """Headings and tables of a page. Keys of the top level that have a value come first."""
    groups: dict[tuple[str, str], list[Key]] = {}
    for key in keys:
        top, dot, _ = key.path.partition(".")
        groups.setdefault((top if dot or not key.leaf else "", key.kind), []).append(key)
    return "".join(_section(top, kind, group) for (top, kind), group in groups.items())


def _section(top: str, kind: str, keys: list[Key]) -> str:
    heading = f"`{top}`" + f", kind `{kind}`" * bool(kind) if top else "The audit"
    about = [_meaning(key.schema) + "\n" for key in keys if key.path == top and not key.leaf]
    rows = [_row(key) for key in keys if key.path != top or key.leaf]
    table = ["| key | value | default | meaning |\n| --- | --- | --- | --- |\n" + "".join(rows)] if rows else []
    return "\n".join([f"\n## {heading}\n", *about, *table])


def _row(key: Key) -> str:
    default = "required" if key.required else ""
    if not key.required and key.leaf and "default" in key.schema:
        default = _code(key.schema["default"])
    cells = (f"`{key.path}`", value_words(key.schema) if key.leaf else "keys", default, _meaning(key.schema))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _meaning(schema: Config) -> str:
    """Description of a key and the names that it admits, with every '<' escaped for Markdown."""
    names = ", ".join(f"`{name}`" for name in schema.get("propertyNames", {}).get("enum", []))
    return schema["description"].replace("<", "&lt;") + f" Its names are {names}." * bool(names)


def value_words(schema: Config) -> str:
    """Values that a key takes, in words.

    >>> value_words({"type": ["integer", "null"], "minimum": 1, "maximum": 9})
    'integer or null, 1 to 9'
    """
    if "const" in schema:
        return _code(schema["const"])
    if "enum" in schema:
        return ", ".join(_code(value) for value in schema["enum"])
    kinds = schema.get("type", "any")
    if kinds == "array":
        length = schema.get("maxItems")
        exact = f"{length}: " if length and length == schema.get("minItems") else ""
        return f"list of {exact}{value_words(schema['items'])}"
    if kinds == "object":
        inner = schema.get("additionalProperties")
        return "mapping of names to " + value_words(inner) if isinstance(inner, dict) else "mapping"
    only = re.fullmatch(r"\^(\w+)\$", schema.get("pattern", ""))
    words = {"string": _code(only[1]) if only else "text", "boolean": "`true`, `false`"}
    named = " or ".join(words.get(kind, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds))
    return named + _bounds(schema)


def _code(value: Any) -> str:
    """A value as YAML writes it."""
    return f"`{value if isinstance(value, str) and value else json.dumps(value)}`"


def _bounds(schema: Config) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f", {low} to {high}"
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    return "".join(f", {word} {schema[key]}" for key, word in words.items() if key in schema)


def main(arguments: list[str] | None = None) -> None:
    """Write both pages. The command line names the schema and the folder of the pages."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("schema", type=Path)
    parser.add_argument("folder", type=Path)
    options: Any = parser.parse_args(arguments)
    for name, text in reference_pages(load_schema(options.schema, registered_names())).items():
        save_text(options.folder / name, text)


if __name__ == "__main__":
    main()

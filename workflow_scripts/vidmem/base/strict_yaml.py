"""YAML and JSON files of users. A key that stands twice is an error: their usual readers drop all values but the last."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ..config import SafeLoader
from ..errors import VidmemError

PLAIN = ("tag:yaml.org,2002:merge", "tag:yaml.org,2002:value")
"""Tags of the keys `<<` and `=`, which stand for themselves."""


def read_strictly(path: Path | str) -> Any:
    """Content of a YAML file that a user wrote. A JSON file is read as YAML, too.

    A mapping may override what a merge key (`<<`) brings in.

    Raises:
        VidmemError: the file cannot be read; or keys of one mapping are equal, such as `a` and `"a"`, or 1 and 1.0.
    """
    try:
        loader = SafeLoader(_text_of(Path(path)))
        node = loader.get_single_node()
        twice = [] if node is None else list(_repeated_keys(loader, node, "", set()))
        content = None if node is None else loader.construct_document(node)
    except (yaml.YAMLError, ValueError, OSError) as error:
        raise VidmemError("a file in YAML or JSON", " ".join(str(error).split())[:300], str(path)) from error
    if twice:
        hint = "only the last value would count: keep one, or rename the others"
        raise VidmemError("each key once", "; ".join(twice), str(path), hint)
    return content


def _text_of(path: Path) -> str:
    """Text of the file. JSON may be indented with tabs, but not every YAML reader takes them."""
    text = path.read_text(encoding="utf-8")
    try:
        json.loads(text)
    except ValueError:
        return text
    return text.replace("\t", " ")


def _repeated_keys(loader: SafeLoader, node: yaml.Node, where: str, seen: set[int]) -> Iterator[str]:
    """Keys at any depth that an earlier key of the same mapping equals: path of the key, and the lines of both.

    Args:
        node: what the file holds at the path `where`.
        seen: ids of the nodes that were searched; aliases lead to a node again.
    """
    if id(node) in seen or isinstance(node, yaml.ScalarNode):
        return
    seen.add(id(node))
    lines: dict[Any, int] = {}
    for place, inner in enumerate(node.value):
        path = f"{where}.{place}".lstrip(".")
        if isinstance(node, yaml.MappingNode):
            key, inner = inner
            if isinstance(key, yaml.ScalarNode):  # another kind of key is refused where the content is made
                path = f"{where}.{key.value}".lstrip(".")
                value, line = key.value if key.tag in PLAIN else loader.construct_object(key), key.start_mark.line + 1
                if value in lines:
                    yield f"{path} in lines {lines[value]} and {line}"
                lines.setdefault(value, line)
        yield from _repeated_keys(loader, inner, path, seen)

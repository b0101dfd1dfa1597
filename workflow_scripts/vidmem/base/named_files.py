"""Files of several models or mitigations, sorted by name. A rule of the workflow gives them as flat lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import VidmemError


def files_by_name(files: Mapping[str, Sequence[str]], names: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Files of several models or mitigations: name -> content, such as 'clips' -> paths, shard by shard.

    Args:
        files: content -> paths for all names, name after name in the order of `names`. All names have equally many paths.
        names: names of the models or mitigations.

    Raises:
        VidmemError: the paths of some content cannot be divided equally among the names.

    >>> files_by_name({"clips": ["a0", "a1", "b0", "b1"], "scores": ["a", "b"]}, ["a", "b"])["b"]
    {'clips': ['b0', 'b1'], 'scores': ['b']}
    """
    uneven = [content for content, paths in files.items() if len(paths) % max(1, len(names))]
    if uneven:
        raise VidmemError(f"as many files for each of {', '.join(names)}", len(files[uneven[0]]), f"files of {uneven[0]}")
    counts = {content: len(paths) // max(1, len(names)) for content, paths in files.items()}
    return {
        name: {content: list(paths[place * counts[content] :][: counts[content]]) for content, paths in files.items()}
        for place, name in enumerate(names)
    }

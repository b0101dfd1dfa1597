"""Clips generated elsewhere, for example by a closed model: a list of files with prompts, or a folder of files.

The model itself is not at hand: an audit can look at its clips, but not into the model.
Standard library only, except for lists in Parquet: the workflow lists the clips to know whether any changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base.caption_text import checked_text
from ..base.identity import hash_text, slug
from ..base.list_files import cell_text, header_hint, open_list
from ..corpus.item import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Item, file_state, parse_place, readable
from ..corpus.listing import LISTED_FILES
from ..corpus.own_layouts import NO_FOOTAGE, list_folder
from ..errors import VidmemError

NOTED = ("model", "version", "created", "settings")
"""Columns that say how a clip was made. They are kept as provenance, and so is `seed`."""
COLUMNS = ("path", "prompt", "target", "sample", "seed", "reason", *NOTED)
REASON = "generated elsewhere"
NOT_DONE = {
    "detection": f"{REASON}: the guidance of its steps is not known",
    "inversion": f"{REASON}: there are no weights to search the start noise with",
    "mitigation": f"{REASON}: its prompts cannot be generated again",
}
"""Stages that need more than clips, and why they are left out."""


@dataclass(frozen=True)
class Made:
    """One clip generated elsewhere.

    Attributes:
        item: what to read. Its caption is the prompt. Its clip id is the prompt id with the number of the sample.
        file: path of the file as the list or the folder names it, hostile text; '' for none.
        prompt_id: made of the prompt and the target; without a prompt of the file; without a file of the line in the list.
        target: clip id of the corpus clip that the prompt belongs to, or ''.
        seed: seed that the list states; -1 for none.
        noted: cells of the columns NOTED that are not empty.
        where: where the clip is listed: list and line, or file in the folder.
    """

    item: Item
    file: str
    prompt_id: str
    target: str
    seed: int
    noted: Mapping[str, str]
    where: str


def list_made(name: str, model: dict) -> list[Made]:
    """All clips of a model of kind 'files', in the order of its list, or sorted by name if it has a folder.

    Files of the folder that stray_files names are left out. A folder inside it that may not be entered counts as one clip that
    cannot be read.

    Args:
        name: name of the model.
        model: its keys: path of a list (CSV, TSV, JSON lines, Parquet) or of a folder; captions, which says where the files of
            a folder have their prompts.

    Raises:
        VidmemError: no such list or folder, no clip, unknown columns, a cell that is no whole number, or a sample that is
            listed twice.
    """
    folder = os.path.isdir(model["path"])
    rows = _folder_rows(name, model) if folder else _list_rows(Path(model["path"]))
    samples: dict[str, dict[int, str]] = {}
    made = [_made(name, where, row, item, samples.setdefault(_prompt_id(row), {})) for where, row, item in rows]
    if not made:
        stray = stray_files(name, model)
        got = f"none, but {len(stray):,} other files such as {stray[0]}" if stray else "none"
        hint = f"clips end in {' '.join(sorted(VIDEO_SUFFIXES | IMAGE_SUFFIXES))}" if stray else "list what was made"
        raise VidmemError("at least one clip", got, model["path"], hint)
    return made


def stray_files(name: str, model: dict) -> list[str]:
    """Files in a model's folder that are not clips by their names: neither videos nor images, or hidden files.

    A text file with the caption of a clip is no stray file. A list has no stray files, because each of its lines is a clip.
    """
    if not os.path.isdir(model["path"]):
        return []
    return [readable(place) for place, item in _folder_items(name, model) if _is_stray(place, item)]


def _is_stray(place: str, item: Item) -> bool:
    return item.problem.startswith(NO_FOOTAGE) or any(part.startswith(".") for part in place.split("/"))


def _folder_items(name: str, model: dict) -> Iterator[tuple[str, Item]]:
    """Files of a folder as a corpus would list them, with their paths relative to the folder."""
    source = {"name": name, "kind": "folder", "path": model["path"], "captions": model["captions"], "split": "member"}
    return ((Path(item.path).relative_to(model["path"]).as_posix(), item) for item in list_folder(source))


def _made(name: str, where: str, row: Mapping[str, str], item: Item, known: dict[int, str]) -> Made:
    """Make the clip of a row. `known` says where each earlier sample of its prompt is listed; the new sample is added."""
    free = next(number for number in range(len(known) + 1) if number not in known)
    sample = _whole(row["sample"], where, "sample") if row["sample"] else free
    if sample in known:
        raise VidmemError(f"one clip a sample of a prompt, as {known[sample]}", f"sample {sample} again", where)
    known[sample] = where
    problem: dict[str, Any] = {"problem": item.problem, "status": item.status}
    if not row["path"]:
        problem = {"problem": row["reason"] or "the list names no file", "status": "failed"}
    prompt_id, seed = _prompt_id(row), _whole(row["seed"], where, "seed") if row["seed"] else -1
    prompt, fault = checked_text(row["prompt"])
    noticed = f"no prompt: {fault}" if fault else item.noticed
    own = Item(f"{prompt_id}-s{sample}", name, "folder", item.place, caption=prompt, noticed=noticed, **problem)
    noted = {key: row[key] for key in NOTED if row[key]}
    return Made(own, readable(row["path"]), prompt_id, row["target"], seed, noted, where)


def provenance_of(made: Made) -> dict[str, str]:
    """What the clip table notes about a clip: its file, and what its list says."""
    return {"kind": "files", **({"file": made.file} if made.file else {}), **made.noted}


def file_of(provenance: str) -> str:
    """File of a clip as its list or folder names it, hostile text; '' for a clip that was generated here, or without a file.

    Args:
        provenance: the clip's provenance in the clip table.

    >>> file_of('{"file": "a.mp4", "kind": "files"}'), file_of('{"pipeline": "P"}')
    ('a.mp4', '')
    """
    about = json.loads(provenance)
    return about.get("file", "") if about.get("kind") == "files" else ""


def _prompt_id(row: Mapping[str, str]) -> str:
    """Prompt id of a row, made of its prompt and target, or without a prompt of its file.

    A line with neither gets an id of its own, made of its number.
    """
    prompt, path = row["prompt"], row["path"].encode("utf-8", "backslashreplace").decode()  # bytes that are no text differ, too
    identity = f"{prompt}\x1f{row['target']}" if prompt else path or f"\x1f{row['line']}"
    return f"f-{slug(prompt or Path(path).stem or 'unknown', 24)}-{hash_text(identity)[:8]}"


def _whole(text: str, where: str, column: str) -> int:
    found = re.fullmatch(r"(\d{1,18})(\.0)?", text.strip())  # a Parquet column with gaps holds fractions
    if not found:
        raise VidmemError(f"a whole number in {column}", repr(text[:40]), where)
    return int(found[1])


def _list_rows(path: Path) -> Iterator[tuple[str, dict[str, str], Item]]:
    """Yield where each line of a list stands, its cells, and its file. Paths are relative to the folder of the list."""
    names, rows = open_list(path)
    if "path" not in names or not set(names) <= set(COLUMNS) or len(set(names)) < len(names):
        raise VidmemError(f"columns path and some of {', '.join(COLUMNS[1:])}", names, str(path), header_hint(names, COLUMNS))
    for line, row in rows(names):
        where = f"{path}, line {line}"
        cells = {name: cell_text(row.get(name), where) for name in COLUMNS}
        cells["prompt"] = checked_text(cells["prompt"])[0] or cells["prompt"]  # without a mark, else a prompt has two ids
        yield where, cells | {"line": str(line)}, Item("", "", "folder", parse_place(str(path.parent / cells["path"])))


def _folder_rows(name: str, model: dict) -> Iterator[tuple[str, dict[str, str], Item]]:
    """Yield path, cells and file of each clip in a folder. If names are prompts, 'a red ball-3.mp4' is sample 3."""
    for place, item in _folder_items(name, model):
        if _is_stray(place, item):
            continue
        prompt, sample = item.caption, ""
        numbered = re.fullmatch(r"(.+)-(\d{1,6})", prompt) if model["captions"] == "filename" else None
        if numbered:
            prompt, sample = numbered[1], numbered[2]
        yield item.path, dict.fromkeys(COLUMNS, "") | {"path": place, "prompt": prompt, "sample": sample}, item


def digest_made(name: str, model: dict) -> str:
    """Digest of what is listed, and of the files' sizes and modification times if there are at most LISTED_FILES clips."""
    digest, made = hashlib.sha256(), list_made(name, model)
    for one in made:
        digest.update(
            f"{one.item} {one.file} {one.prompt_id} {one.target} {one.seed} {one.noted}\n".encode("utf-8", "surrogateescape")
        )
    for one in made if len(made) <= LISTED_FILES else []:
        digest.update(f"{file_state(one.item)}\n".encode())
    return digest.hexdigest()[:12]

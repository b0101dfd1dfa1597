"""Clips generated elsewhere, as by a closed model: a list of files with prompts, or a folder of files.

What made them is not here: everything that looks at clips can be done, nothing that looks into the model. Standard library
only, but for lists in Parquet: the workflow lists the clips to know whether any changed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import VidmemError
from .identity import hash_text, slug
from .items import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Item, file_state
from .listing import LISTED_FILES, READERS
from .lists import cell_text, header_hint, open_list

NOTED = ("model", "version", "created", "settings")
"""Columns that say how a clip was made, kept as provenance; `seed`, too."""
COLUMNS = ("path", "prompt", "target", "sample", "seed", "reason", *NOTED)
REASON = "generated elsewhere"
NOT_DONE = {
    "detection": f"{REASON}: the guidance of its steps is not known",
    "inversion": f"{REASON}: there are no weights to search the start noise with",
    "mitigation": f"{REASON}: its prompts cannot be generated again",
}
"""What cannot be done with clips alone, and why."""


@dataclass(frozen=True)
class Made:
    """One clip generated elsewhere.

    Attributes:
        item: what to read; its caption is the prompt, its clip id the prompt's with the number of the sample.
        prompt_id: of the prompt and target; of the file where there is no prompt; of the line where there is neither.
        target: clip id of the corpus that the prompt is of, or ''.
        seed: that its maker states; -1 for none.
        noted: further columns of the list.
        where: file and line.
    """

    item: Item
    prompt_id: str
    target: str
    seed: int
    noted: Mapping[str, str]
    where: str


def list_made(name: str, model: dict) -> list[Made]:
    """All clips of a model of kind 'files', in the order of its list, or of the names in its folder but for stray_files.

    Args:
        name: of the model.
        model: path of a list (CSV, TSV, JSON lines, Parquet) or of a folder; captions: where the files of a folder have their
            prompts.

    Raises:
        VidmemError: neither, no clip, unknown columns, a number that is none, or a sample of a prompt twice.
    """
    folder = Path(model["path"]).is_dir()
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
    """Files of a folder that are no clips by their names: neither videos nor images, or hidden as those that systems leave.

    Captions beside a clip are not among them. A list has none: its lines are clips, whatever they name.
    """
    if not Path(model["path"]).is_dir():
        return []
    return [place for place, item in _folder_items(name, model) if _is_stray(place, item)]


def _is_stray(place: str, item: Item) -> bool:
    return bool(item.problem) or any(part.startswith(".") for part in place.split("/"))


def _folder_items(name: str, model: dict) -> Iterator[tuple[str, Item]]:
    """Files of a folder by their place in it, as a corpus lists one."""
    source = {"name": name, "kind": "folder", "path": model["path"], "captions": model["captions"], "split": "member"}
    return ((Path(item.path).relative_to(model["path"]).as_posix(), item) for item in READERS["folder"](source))


def _made(name: str, where: str, row: Mapping[str, str], item: Item, known: dict[int, str]) -> Made:
    """A clip of a row; `known` are the samples of its prompt so far and where they are listed."""
    free = next(number for number in range(len(known) + 1) if number not in known)
    sample = _whole(row["sample"], where, "sample") if row["sample"] else free
    if sample in known:
        raise VidmemError(f"one clip a sample of a prompt, as {known[sample]}", f"sample {sample} again", where)
    known[sample] = where
    problem = {"problem": item.problem, "status": item.status}
    if not row["path"]:
        problem = {"problem": row["reason"] or "the list names no file", "status": "failed"}
    prompt_id, seed = _prompt_id(row), _whole(row["seed"], where, "seed") if row["seed"] else -1
    own = Item(f"{prompt_id}-s{sample}", name, "folder", item.path, caption=row["prompt"], **problem)
    return Made(own, prompt_id, row["target"], seed, {key: row[key] for key in NOTED if row[key]}, where)


def _prompt_id(row: Mapping[str, str]) -> str:
    """Of the prompt and target, else of the file; a line that names neither has nothing but its place: a prompt of its own."""
    prompt, path = row["prompt"], row["path"]
    identity = f"{prompt}\x1f{row['target']}" if prompt else path or f"\x1f{row['line']}"
    return f"f-{slug(prompt or Path(path).stem or 'unknown', 24)}-{hash_text(identity)[:8]}"


def _whole(text: str, where: str, column: str) -> int:
    found = re.fullmatch(r"(\d{1,18})(\.0)?", text.strip())  # a Parquet column with gaps holds fractions
    if not found:
        raise VidmemError(f"a whole number in {column}", repr(text[:40]), where)
    return int(found[1])


def _list_rows(path: Path) -> Iterator[tuple[str, dict[str, str], Item]]:
    """Place, cells and file of every line of a list; paths are those of its folder."""
    names, rows = open_list(path)
    if "path" not in names or not set(names) <= set(COLUMNS) or len(set(names)) < len(names):
        raise VidmemError(f"columns path and some of {', '.join(COLUMNS[1:])}", names, str(path), header_hint(names, COLUMNS))
    for line, row in rows(names):
        where = f"{path}, line {line}"
        cells = {name: cell_text(row.get(name), where) for name in COLUMNS}
        yield where, cells | {"line": str(line)}, Item("", "", "folder", str(path.parent / cells["path"]))


def _folder_rows(name: str, model: dict) -> Iterator[tuple[str, dict[str, str], Item]]:
    """The same of a folder. A name 'a red ball-3.mp4' is of sample 3, where names are the prompts."""
    for place, item in _folder_items(name, model):
        if _is_stray(place, item):
            continue
        prompt, sample = item.caption, ""
        numbered = re.fullmatch(r"(.+)-(\d{1,6})", Path(item.path).stem) if model["captions"] == "filename" else None
        if numbered:
            prompt, sample = numbered[1].replace("_", " "), numbered[2]
        yield item.path, dict.fromkeys(COLUMNS, "") | {"path": place, "prompt": prompt, "sample": sample}, item


def digest_made(name: str, model: dict) -> str:
    """Digest of what is listed and of sizes and times of its files, of up to so many as of a corpus."""
    digest, made = hashlib.sha256(), list_made(name, model)
    for one in made:
        digest.update(f"{one.item} {one.prompt_id} {one.target} {one.seed} {one.noted}\n".encode("utf-8", "surrogateescape"))
    for one in made if len(made) <= LISTED_FILES else []:
        digest.update(f"{file_state(one.item)}\n".encode())
    return digest.hexdigest()[:12]

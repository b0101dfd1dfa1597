"""WebDataset: tars in which the members with one name form a sample, also as img2dataset writes them.

Listing reads only names and captions. A job later reads the bytes of its own items from the tar. Nothing is unpacked to disk,
and no name inside a tar becomes a path. Standard library only, except for lists in Parquet.
"""

from __future__ import annotations

import json
import math
import os
import re
import tarfile
from collections.abc import Collection, Iterator
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from ..base.caption_text import checked_text, decode_caption, decode_text, no_caption
from ..base.file_faults import file_fault
from ..base.list_files import cell_text, open_list
from ..errors import ClipError, VidmemError
from .files import check_file
from .item import HASHES, IMAGE_SUFFIXES, VIDEO_SUFFIXES, Item, make_item, readable
from .published_layouts import DOWNLOAD_COLUMNS, download_hashes, download_problem, list_parts

CAPTION = 2**20  # bytes; a longer member is not taken for a caption
FOOTAGE = IMAGE_SUFFIXES | VIDEO_SUFFIXES
END_OF_NAME = re.compile(r"\.(?!(?<=[0-9]\.)[0-9])")
"""The first dot that does not stand between two digits: clip_0.5.mp4 is clip_0.5 and .mp4."""

LINK = "a text of its sample is a link or no plain file"


class Member(NamedTuple):
    """Where a member of a tar lies: offset and size in bytes, and whether it is a plain file (no link, not sparse)."""

    offset: int
    size: int
    plain: bool


Sample = dict[str, Member]
"""Members of a sample by their endings."""
Expected = tuple[tuple[str, str], ...]
"""What a list says about a file, as in Item.expect."""


def list_webdataset(source: dict) -> Iterator[Item]:
    """List the samples in tar files. A sample consists of the members whose names agree up to the first dot, in any order.

    A dot between two digits belongs to the name. The first picture or video counts whose ending has one dot; if there is none,
    the first whose ending has several, such as .left.mp4. The item says how many others its sample has.

    The caption is in .txt, or in .json as caption or text. Hashes are in .json.

    img2dataset writes a Parquet file beside a tar (00000.tar, 00000.parquet). It also lists samples that are not in the tar,
    and it has the hashes if the .json of a sample has none.

    If a tar ends too early, its whole samples are listed. Every further sample of the Parquet file becomes an item with a
    problem. Without a Parquet file, one such item stands for the rest of the tar.

    Raises:
        VidmemError: no tar, an empty one, or a compressed one.
    """
    for path in list_parts(source, [".tar"]):
        if path.suffix.lower() != ".tar":
            raise VidmemError("a plain tar", path.name, str(path), "unpack a .tar.gz: parts of it cannot be read by themselves")
        samples, damage = _samples(path)
        listed = Path(list_beside(path))
        beside = _hashes_beside(listed)
        with open(path, "rb") as file:
            for key, sample in samples:
                yield _sample_item(source, path, file, key, sample, beside.get(_name_of(key), ()))
        if os.path.lexists(listed):
            yield from _not_inside(source, path, {_name_of(key) for key, _ in samples}, damage)
        elif damage:
            yield make_item(source, f"{path.name}/rest", str(path), problem=damage, status="undecodable")
        elif not samples:
            raise VidmemError("at least one sample", "none", str(path))


def list_beside(path: PurePath) -> PurePath:
    """Path of the Parquet file that img2dataset writes beside a tar."""
    return path.with_suffix(".parquet")


def beside_tar(path: PurePath) -> PurePath | None:
    """Path of the Parquet file that is read together with a tar; None if `path` is no tar."""
    return list_beside(path) if path.suffix == ".tar" else None


def _name_of(key: str) -> str:
    """Name of a sample in the lists of img2dataset: its key without the folder inside the tar."""
    return key.rpartition("/")[2]


def _samples(path: Path) -> tuple[list[tuple[str, Sample]], str]:
    """Whole samples of a tar in the order of their first members; and what is wrong with the tar, '' if nothing is."""
    if fault := file_fault(path):
        raise VidmemError("a tar", fault.reason, str(path))
    if not path.stat().st_size:
        raise VidmemError("at least one sample", "an empty file", str(path))
    samples: list[tuple[str, Sample]] = []
    latest: dict[str, Sample] = {}
    damage = ""
    try:
        with tarfile.open(path, "r:", encoding="utf-8", errors="surrogateescape") as archive:
            for member in _members(archive):
                _sort_in(member, samples, latest)
            _check_end(archive)
    except (tarfile.TarError, EOFError, OSError) as error:
        damage = f"the tar is damaged or ends too early: {' '.join(str(error).split())[:80]}"
    size = path.stat().st_size
    return _share_captions([(key, sample) for key, sample in samples if not _is_cut(sample, size)]), damage


def _share_captions(samples: list[tuple[str, Sample]]) -> list[tuple[str, Sample]]:
    """Samples in which 1.txt also describes 1.0.jpg and 1.1.jpg, unless they have captions of their own."""
    texts = {key: sample for key, sample in samples if not any(_suffix(ending) in FOOTAGE for ending in sample)}
    shared = set()
    for key, sample in samples:
        whole = key.rpartition(".")[0]
        if whole in texts and key not in texts and not {".txt", ".json"} & set(sample):
            sample |= texts[whole]
            shared.add(whole)
    return [(key, sample) for key, sample in samples if key not in shared]


def _is_cut(sample: Sample, size: int) -> bool:
    """Whether a tar of `size` bytes ends within a sample. A .json does not count: if half of it is missing, it is not used."""
    parts = (part for ending, part in sample.items() if ending != ".json")
    return any(part.plain and part.offset + part.size > size for part in parts)


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members one by one, up to the end of the tar or to the first member that is cut off."""
    while True:
        try:
            member = archive.next()
        except tarfile.ReadError:
            return  # the members before are whole; _check_end then misses the end mark
        if member is None:
            return
        archive.members = []  # type: ignore[attr-defined]  # else the library would keep all members in memory
        yield member


def _sort_in(member: tarfile.TarInfo, samples: list[tuple[str, Sample]], latest: dict[str, Sample]) -> None:
    """Add a member to its sample. If the sample already has a member with this ending, a new sample of that name begins."""
    if member.isdir() or PurePosixPath(member.name).name.startswith("."):
        return
    folder, slash, file = member.name.rpartition("/")
    stem, *endings = END_OF_NAME.split(file, maxsplit=1)
    key, ending = f"{folder}{slash}{stem}", f".{''.join(endings).lower()}"
    if ending in latest.get(key, {ending: None}):
        latest[key] = {}
        samples.append((key, latest[key]))
    latest[key][ending] = Member(member.offset_data, member.size, member.isreg() and not member.issparse())


def _check_end(archive: tarfile.TarFile) -> None:
    """Raise ReadError if the tar has no end mark. The library itself takes any damaged block for the end."""
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("no end mark where the next member should be")


def _sample_item(source: dict, path: Path, file: BinaryIO, key: str, sample: Sample, beside: Expected) -> Item:
    name, (caption, url, hashes, noticed) = readable(f"{path.name}/{key}"), _described(file, sample)
    endings = sorted((ending for ending in sample if _suffix(ending) in FOOTAGE), key=lambda ending: ending not in FOOTAGE)
    if len(endings) > 1:
        others = f"{len(endings) - 1} further pictures or videos of its sample are not read"
        noticed = "; ".join(filter(None, (noticed, others)))
    about: dict[str, Any] = {"caption": caption, "url": url, "noticed": noticed}
    if not endings:
        return make_item(source, name, str(path), problem="a sample without picture or video", **about)
    member, problem = sample[endings[0]], ""
    if not member.plain:
        problem = "a member that is a link or no plain file"
    elif any(sample[ending].size > CAPTION for ending in (".txt", ".json") if ending in sample):
        problem = "a caption of more than 1 MiB"
    part = f"{member.offset}+{member.size}{_suffix(endings[0])}"
    return make_item(source, name, str(path), part=part, problem=problem, expect=hashes or beside, **about)


def _suffix(ending: str) -> str:
    """The last part of an ending: .mp4 of .left.mp4."""
    return f".{ending.rpartition('.')[2]}"


def _described(file: BinaryIO, sample: Sample) -> tuple[str, str, Expected, str]:
    """Caption, address and hashes of a sample, and what was noticed."""
    text, about = (_content_of(file, sample.get(ending)) for ending in (".txt", ".json"))
    found, damage = ({}, LINK) if about is None else _object_in(about)
    beside = ("", no_caption(LINK)) if text is None else decode_caption(text)
    said = [beside, *(_told(found.get(name)) for name in ("caption", "text"))]
    caption, noticed = next((one for one in said if one[0]), ("", next((note for _, note in said if note), "")))
    url = found.get("url")
    noted = {name: str(found[name] or "") for name in DOWNLOAD_COLUMNS if isinstance(found.get(name), (str, int, float))}
    hashes = tuple((what, _storable(value)) for what, value in download_hashes(noted))
    return caption, _storable(url if isinstance(url, str) else ""), hashes, "; ".join(filter(None, (noticed, damage)))


def _object_in(content: bytes) -> tuple[dict, str]:
    """The object that a .json holds, {} if it holds another thing; and why it cannot be used, or how it was decoded."""
    text, fault, guessed = decode_text(content)
    try:
        found = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        found = None
    if not fault and isinstance(found, dict):
        return found, guessed
    return {}, f"its .json is not used: {fault or 'it holds no JSON object'}"


def _told(value: object) -> tuple[str, str]:
    """Caption that a value of a .json gives, and what was noticed: a text, a number, or the first text of a list of texts."""
    if value is None:
        return "", ""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return str(value), ""
    listed = value if isinstance(value, list) else [value]
    texts = [text for text in listed if isinstance(text, str)]
    if len(texts) < len(listed):
        return "", no_caption(f"its .json has one of type {type(value).__name__}")
    said = [text for text in texts if text.strip()] or [""]
    caption, fault = checked_text(said[0])
    return caption, no_caption(fault) or (f"its caption is the first of {len(said)}" if len(said) > 1 else "")


def _content_of(file: BinaryIO, member: Member | None) -> bytes | None:
    """Content of a member, empty if there is none or if it is too long; None if it is no plain file."""
    if member is None or member.size > CAPTION:
        return b""
    if not member.plain:
        return None
    file.seek(member.offset)
    return file.read(member.size)


def _storable(text: str) -> str:
    """Text that UTF-8 can store: JSON may hold half of a surrogate pair, which UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _hashes_beside(path: Path) -> dict[str, Expected]:
    """Hashes by key of the samples that img2dataset lists beside a tar; empty if its list has no hashes."""
    if not os.path.lexists(path):
        return {}
    names, rows = open_list(path)
    columns = [name for name in ("key", *DOWNLOAD_COLUMNS) if name in names]
    if "key" not in columns or not set(HASHES) & set(columns):
        return {}
    cells = ({name: cell_text(row.get(name), f"{path}, line {line}") for name in columns} for line, row in rows(columns))
    return {row["key"]: download_hashes(row) for row in cells}


def _not_inside(source: dict, path: Path, seen: Collection[str], damage: str) -> Iterator[Item]:
    """Items that img2dataset lists beside a tar but that are not in it: failed downloads, and losses of a damaged tar.

    Args:
        source: a source of the configuration.
        path: the tar.
        seen: keys of the samples in the tar.
        damage: what is wrong with the tar; '' for nothing.
    """
    beside = Path(list_beside(path))
    names, rows = open_list(beside)
    columns = ["key", "error_message", "caption", "url", *DOWNLOAD_COLUMNS]
    if not {"key", "status"} <= set(names):
        hint = "a Parquet file beside a tar has to be the one that img2dataset writes"
        raise VidmemError("columns key and status", names, str(beside), hint)
    for line, row in rows([name for name in columns if name in names]):
        told = {name: cell_text(row.get(name), f"{beside}, line {line}") for name in columns}
        problem, status = download_problem(told["status"], told["error_message"]), "gone"
        if told["status"] == "success":
            problem, status = damage or "listed beside the tar, not in it", "undecodable" if damage else "missing"
        if told["status"] != "success" or told["key"] not in seen:
            about: dict[str, Any] = {"caption": told["caption"], "url": told["url"], "problem": problem, "status": status}
            yield make_item(source, f"{path.name}/{told['key']}", str(path), expect=download_hashes(told), **about)


def read_member(path: Path, part: str) -> bytes:
    """Read a member of a tar.

    Args:
        path: the tar.
        part: offset+size.suffix, as list_webdataset writes it.

    Raises:
        ClipError: no such tar, or the tar ends within the member.
    """
    check_file(path)
    span = part.partition(".")[0]
    offset, size = (int(number) for number in span.split("+"))
    with open(path, "rb") as file:
        file.seek(offset)
        content = file.read(size)
    if len(content) < size:
        raise ClipError("undecodable", "the tar ends within this member")
    return content


def is_picture(part: str) -> bool:
    """Whether a member is a picture and not a video, told by its ending."""
    return PurePosixPath(part).suffix in IMAGE_SUFFIXES

"""Footage inside larger files: tars of WebDataset, CIFAR-10's binary batches, Parquet files with a column of pictures.

Only what names and describes an item is read here; a job later reads the bytes of its own items where they lie. Nothing is
unpacked to disk, no name inside an archive becomes a path, and pickles are refused.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import BinaryIO, NamedTuple

from .errors import VidmemError
from .items import HASHES, IMAGE_SUFFIXES, VIDEO_SUFFIXES, Item, make_item, readable
from .lists import cell_text, open_list
from .published import DOWNLOAD_COLUMNS, download_hashes, download_problem, list_parts

CAPTION = 2**20  # bytes of a member that is text: more is no caption
FOOTAGE = IMAGE_SUFFIXES | VIDEO_SUFFIXES


class Member(NamedTuple):
    """Where a member of a tar lies: offset and size in bytes; and whether it is a plain file."""

    offset: int
    size: int
    plain: bool


Sample = dict[str, Member]
Expected = tuple[tuple[str, str], ...]


def list_webdataset(source: dict) -> Iterator[Item]:
    """Samples of tars: members of one name up to its first dot, wherever in the tar they lie.

    The caption is in .txt, or in .json as caption or text; hashes are in .json. A Parquet file of img2dataset beside a tar
    (00000.tar, 00000.parquet) lists what is not in it, too, and has the hashes of samples whose .json has none. A tar that
    ends too early gives what is whole, and a row for every further sample that such a file lists, or one for a rest of
    unknown length.

    Raises:
        VidmemError: no tar, an empty or a compressed one.
    """
    for path in list_parts(source, [".tar"]):
        if path.suffix.lower() != ".tar":
            raise VidmemError("a plain tar", path.name, str(path), "unpack a .tar.gz: parts of it cannot be read by themselves")
        samples, damage = _samples(path)
        beside = _hashes_beside(list_beside(path))
        with open(path, "rb") as file:
            for key, sample in samples:
                yield _sample_item(source, path, file, key, sample, beside.get(_name_of(key), ()))
        if list_beside(path).is_file():
            yield from _not_inside(source, path, {_name_of(key) for key, _ in samples}, damage)
        elif damage:
            yield make_item(source, f"{path.name}/rest", str(path), problem=damage, status="undecodable")
        elif not samples:
            raise VidmemError("at least one sample", "none", str(path))


def list_beside(path: PurePath) -> PurePath:
    """The Parquet file that img2dataset writes beside a tar."""
    return path.with_suffix(".parquet")


def _name_of(key: str) -> str:
    """What img2dataset calls a sample, without the folder inside the tar."""
    return key.rpartition("/")[2]


def _samples(path: Path) -> tuple[list[tuple[str, Sample]], str]:
    """Whole samples of a tar in the order of their first members, and what is wrong with its end, '' for nothing."""
    if not path.is_file():
        raise VidmemError("a tar", "no such file", str(path))
    if not path.stat().st_size:
        raise VidmemError("at least one sample", "an empty file", str(path))
    samples, latest, damage = [], {}, ""
    try:
        with tarfile.open(path, "r:", encoding="utf-8", errors="surrogateescape") as archive:
            for member in _members(archive):
                _sort_in(member, samples, latest)
            _check_end(archive)
    except (tarfile.TarError, EOFError, OSError) as error:
        damage = f"the tar is damaged or ends too early: {' '.join(str(error).split())[:80]}"
    size = path.stat().st_size
    return [(key, sample) for key, sample in samples if not _is_cut(sample, size)], damage


def _is_cut(sample: Sample, size: int) -> bool:
    """Whether a tar of so many bytes ends within a member of a sample; half a .json is no JSON, and is not read."""
    parts = (part for ending, part in sample.items() if ending != ".json")
    return any(part.plain and part.offset + part.size > size for part in parts)


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Members one by one, up to the end or to the first that is cut off."""
    while True:
        try:
            member = archive.next()
        except tarfile.ReadError:
            return  # what came before is whole; the end mark is then not there
        if member is None:
            return
        archive.members = []  # or the library would keep all of them
        yield member


def _sort_in(member: tarfile.TarInfo, samples: list[tuple[str, Sample]], latest: dict[str, Sample]) -> None:
    """Add a member to the sample of its name; one that the sample has already begins another of that name."""
    if member.isdir() or PurePosixPath(member.name).name.startswith("."):
        return
    folder, slash, file = member.name.rpartition("/")
    stem, _, ending = file.partition(".")
    key, ending = f"{folder}{slash}{stem}", f".{ending.lower()}"
    if ending in latest.get(key, {ending: None}):
        latest[key] = {}
        samples.append((key, latest[key]))
    latest[key][ending] = Member(member.offset_data, member.size, member.isreg() and not member.issparse())


def _check_end(archive: tarfile.TarFile) -> None:
    """The library takes any rubbish for the end: there has to be its mark."""
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("no end mark where the next member should be")


def _sample_item(source: dict, path: Path, file: BinaryIO, key: str, sample: Sample, beside: Expected) -> Item:
    name, (caption, url, hashes) = readable(f"{path.name}/{key}"), _described(file, sample)
    endings = [ending for ending in sample if ending in FOOTAGE]
    about = {"caption": caption, "url": url}
    if not endings:
        return make_item(source, name, str(path), problem="a sample without picture or video", **about)
    member, problem = sample[endings[0]], ""
    if not member.plain:
        problem = "a member that is a link or no plain file"
    elif any(sample[ending].size > CAPTION for ending in (".txt", ".json") if ending in sample):
        problem = "a caption of more than 1 MiB"
    part = f"{path}#{member.offset}+{member.size}{endings[0]}"
    return make_item(source, name, part, problem=problem, expect=hashes or beside, **about)


def _described(file: BinaryIO, sample: Sample) -> tuple[str, str, Expected]:
    """Caption, address and hashes of a sample; bytes that are not UTF-8 become replacement characters."""
    text, about = (_text_of(file, sample.get(ending)) for ending in (".txt", ".json"))
    try:
        found = json.loads(about) if about else {}
    except (ValueError, RecursionError):
        found = {}  # a caption in .txt counts all the same
    found = found if isinstance(found, dict) else {}
    said = [value for value in (text.strip(), found.get("caption"), found.get("text")) if isinstance(value, str) and value]
    url = found.get("url")
    noted = {name: str(found[name] or "") for name in DOWNLOAD_COLUMNS if isinstance(found.get(name), (str, int, float))}
    hashes = tuple((what, _storable(value)) for what, value in download_hashes(noted))
    return _storable(said[0] if said else ""), _storable(url if isinstance(url, str) else ""), hashes


def _text_of(file: BinaryIO, member: Member | None) -> str:
    if member is None or not member.plain or member.size > CAPTION:
        return ""
    file.seek(member.offset)
    return file.read(member.size).decode("utf-8", "replace")


def _storable(text: str) -> str:
    """JSON can hold half of a surrogate pair, UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _hashes_beside(path: Path) -> dict[str, Expected]:
    """Hashes of the samples that img2dataset lists beside a tar, by their key; none where it was not asked for them."""
    names, rows = open_list(path) if path.is_file() else ([], None)
    columns = [name for name in ("key", *DOWNLOAD_COLUMNS) if name in names]
    if "key" not in columns or not set(HASHES) & set(columns):
        return {}
    cells = ({name: cell_text(row.get(name), f"{path}, line {line}") for name in columns} for line, row in rows(columns))
    return {row["key"]: download_hashes(row) for row in cells}


def _not_inside(source: dict, path: Path, seen: Collection[str], damage: str) -> Iterator[Item]:
    """What img2dataset lists beside a tar and is not in it: what it could not get, and what a damaged tar has lost."""
    beside = list_beside(path)
    names, rows = open_list(beside)
    columns = ["key", "error_message", "caption", "url", *DOWNLOAD_COLUMNS]
    if not {"key", "status"} <= set(names):
        hint = "a Parquet file beside a tar is taken for that of img2dataset"
        raise VidmemError("columns key and status", names, str(beside), hint)
    for line, row in rows([name for name in columns if name in names]):
        told = {name: cell_text(row.get(name), f"{beside}, line {line}") for name in columns}
        problem, status = download_problem(told["status"], told["error_message"]), "gone"
        if told["status"] == "success":
            problem, status = damage or "listed beside the tar, not in it", "undecodable" if damage else "missing"
        if told["status"] != "success" or told["key"] not in seen:
            about = {"caption": told["caption"], "url": told["url"], "problem": problem, "status": status}
            yield make_item(source, f"{path.name}/{told['key']}", str(path), expect=download_hashes(told), **about)


CIFAR_RECORD = 3073  # one byte of label, 32 x 32 red, green, blue
CIFAR_BATCHES = {**{f"data_batch_{number}.bin": "member" for number in range(1, 6)}, "test_batch.bin": "heldout"}


def list_cifar10(source: dict) -> Iterator[Item]:
    """CIFAR-10's binary version: data_batch_1.bin to 5 are member, test_batch.bin is held out; captions are class names.

    Raises:
        VidmemError: no batch here, among them the version for Python, which is made of pickles.
    """
    folder = Path(source["path"])
    if not any((folder / name).is_file() for name in CIFAR_BATCHES):
        pickled = (folder / "data_batch_1").is_file()
        got = "the version for Python, whose batches are pickles" if pickled else "none"
        hint = "take cifar-10-binary.tar.gz of the same page, or the Parquet files of the hub with kind: parquet"
        raise VidmemError("cifar-10-batches-bin with data_batch_1.bin ...", got, str(folder), hint)
    meta = folder / "batches.meta.txt"
    classes = meta.read_text(encoding="utf-8").split() if meta.is_file() else []
    for name, split in CIFAR_BATCHES.items():
        yield from _batch_items(source, folder / name, split, classes)


def _batch_items(source: dict, path: Path, split: str, classes: list[str]) -> Iterator[Item]:
    if not path.is_file():
        yield make_item(source, path.name, str(path), split=split, problem="no such batch: its images are not counted",
                        status="missing")  # fmt: skip
        return
    with open(path, "rb") as file:
        index = 0
        while record := file.read(CIFAR_RECORD):
            place, label = f"{path}#{index}", record[0]
            problem = "" if len(record) == CIFAR_RECORD else "the batch ends within this record"
            about = {"problem": problem, "status": "undecodable"} if problem else {}
            caption = classes[label] if label < len(classes) else ""
            yield make_item(source, f"{path.stem}-{index}", place, split=split, caption=caption, **about)
            index += 1


PICTURE_COLUMNS = ("image", "img", "jpg", "png", "webp", "video", "mp4")
CAPTION_COLUMNS = ("caption", "text", "prompt", "label", "fine_label")


def list_parquet(source: dict) -> Iterator[Item]:
    """Rows of Parquet files as the hub stores them: a column of bytes, or of structs with bytes, and one of captions or labels.

    Files whose name starts with train are member, with test or val held out; of other names the innermost folder called train,
    test and so on says it, as that of path does; others are of the source's split.

    Raises:
        VidmemError: no such file, a damaged one, or none of the known columns.
    """
    root = Path(source["path"])
    paths = sorted(root.rglob("*.parquet")) if root.is_dir() else [root]
    if not paths:
        raise VidmemError("Parquet files", "none", f"{root} (source {source['name']})")
    for path in paths:
        names, rows = open_list(path)
        footage = next((name for name in PICTURE_COLUMNS if name in names), None)
        if footage is None:
            raise VidmemError(f"a column of {', '.join(PICTURE_COLUMNS)}", names, str(path))
        told = next((name for name in CAPTION_COLUMNS if name in names), None)
        classes = class_names(path, told)
        name = path.relative_to(root).as_posix() if root.is_dir() else path.name
        split = _split_of([*path.relative_to(root.parent).parts] if root.is_dir() else path.parts[-2:], source["split"])
        for index, caption in _captions(path, rows, told):
            caption = classes.get(caption, caption)
            place = f"{path}#{index}:{footage}"
            yield make_item(source, f"{name}/{index}", place, split=split, caption=caption)


def _captions(path: Path, rows, column: str | None) -> Iterator[tuple[int, str]]:
    """Index and caption of every row; of a file without captions only the number of rows is read."""
    if column is None:
        import pyarrow.parquet

        yield from ((index, "") for index in range(pyarrow.parquet.ParquetFile(path).metadata.num_rows))
        return
    for line, row in rows([column]):
        yield line - 1, cell_text(row.get(column), f"{path}, row {line}")


MEMBERS, HELD_OUT = ("train",), ("test", "val")
SPLIT_FOLDER = re.compile(r"(?:partial-)?(?:(train|training)|(test|testing|val|valid|validation))")
"""Folders of splits; the hub's own conversion to Parquet puts partial- before some."""


def _split_of(parts: Sequence[str], split: str) -> str:
    """Split of a file by its name, else by the innermost of its folders that is named after one.

    >>> _split_of(["default", "train", "test-0.parquet"], "member"), _split_of(["test", "0000.parquet"], "member")
    ('heldout', 'heldout')
    """
    *folders, name = parts
    if name.startswith((*MEMBERS, *HELD_OUT)):
        return "member" if name.startswith(MEMBERS) else "heldout"
    found = next(filter(None, map(SPLIT_FOLDER.fullmatch, reversed(folders))), None)
    return split if found is None else "member" if found[1] else "heldout"


def class_names(path: Path, column: str | None) -> Mapping[str, str]:
    """Number -> name of a column of classes, as the hub notes them in the file; none where it notes nothing."""
    import pyarrow.parquet

    noted = (pyarrow.parquet.read_schema(path).metadata or {}).get(b"huggingface", b"{}")
    try:
        about = json.loads(noted)["info"]["features"][column]["names"]
    except (ValueError, KeyError, TypeError):
        return {}
    return {str(number): str(name) for number, name in enumerate(about)} if isinstance(about, list) else {}

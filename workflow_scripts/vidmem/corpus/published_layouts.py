"""Layouts of published data sets: a list, and files that lie where the data set's own tools put them.

A listed path is never trusted: if it leads out of the folder of the source, its row gets a problem and is not read. Standard
library only, except for lists in Parquet.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from ..base.list_files import cell_text, open_list
from ..errors import VidmemError
from .files import Entry, entries_of, known_files, walk_folder
from .item import DOWNLOADED, HASHES, OUTSIDE, VIDEO_ENDINGS, Item, make_item, parse_place, place_inside, readable

LISTS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
Row = tuple[str, dict[str, str]]
"""A row of a list: where it stands (file and line, for errors), and its cells by column."""


def listed_rows(source: dict, required: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a published list one by one, with where they stand.

    Args:
        source: its path is a list, or a folder of lists, which are read in the order of their names as parts of one list.
        required: columns that must be there. 'URL|url' stands for a column with several names; its cells come under the first.
        optional: columns that may be absent, written like the required ones. An absent cell reads as ''. Further columns of the
            list are ignored.

    Raises:
        VidmemError: no list, absent columns, or a row that cannot be read.
    """
    empty = dict.fromkeys((column.split("|")[0] for column in optional), "")
    for path in list_parts(source, LISTS):
        names, rows = open_list(path)
        columns = _choose_columns(names, required, optional, path)
        for line, row in rows(list(columns.values())):
            where = f"{path}, line {line}"
            yield where, empty | {name: cell_text(row.get(column), where) for name, column in columns.items()}


def list_parts(source: dict, suffixes: Sequence[str]) -> list[Path]:
    """Files of a source: its path, or if that is a folder, the files in it with some endings, sorted by name.

    Raises:
        VidmemError: the folder has no such file, or it may not be entered.
    """
    path = Path(source["path"])
    if not os.path.isdir(path):
        return [path]
    parts = known_files(entry for entry in entries_of(path) if entry.path == path or entry.path.suffix.lower() in suffixes)
    if not parts:
        raise VidmemError(f"files that end in {', '.join(suffixes)}", "none", f"{path} (source {source['name']})")
    return parts


def _choose_columns(names: list[str], required: Sequence[str], optional: Sequence[str], path: Path) -> dict[str, str]:
    """Map the first name of every wanted column to the name that the list uses."""
    chosen = {}
    for choice in (*required, *optional):
        first, *others = choice.split("|")
        found = [name for name in (first, *others) if name in names]
        if found:
            chosen[first] = found[0]
    absent = [choice.replace("|", " or ") for choice in required if choice.split("|")[0] not in chosen]
    if absent:
        expected = f"columns {', '.join(choice.replace('|', ' or ') for choice in required)}"
        got = f"no {', '.join(absent)}; it has {', '.join(names) or 'none'}"
        raise VidmemError(expected, got, str(path), "the first line names the columns; is kind of the source right?")
    return chosen


def root_of(source: dict) -> str:
    """Folder below which the listed files lie: the source's key root, else the folder of its list."""
    path = Path(source["path"])
    return source.get("root") or str(path if os.path.isdir(path) else path.parent)


def place_item(source: dict, name: str, places: Sequence[str], **fields: Any) -> Item:
    """Make the item of a listed file that may lie at several places. A path out of the folder becomes its problem.

    Args:
        source: a source of the configuration.
        name: name of the item in the list, unique there; hostile text.
        places: paths as place_inside returns them.
        **fields: further arguments of make_item.
    """
    if not all(places):
        return make_item(source, readable(name), "", **{**fields, "problem": OUTSIDE, "status": "skipped"})
    return make_item(source, readable(name), places[0], others=tuple(map(parse_place, places[1:])), **fields)


def hashes_in(row: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Hashes that a row states of its file: name of the hash and hexadecimal digits."""
    return tuple((key, row[key].strip().lower()) for key in HASHES if row.get(key))


DOWNLOAD_COLUMNS = ("status", "width", "original_width", *HASHES)
"""Columns of img2dataset that tell whether its hash is of the stored file or of the download."""


def download_hashes(row: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Hashes that img2dataset notes in a row, as Item.expect has them.

    If img2dataset stored the download bit by bit, the hashes are of the stored picture. It then notes no width, because it has
    not opened the picture. Otherwise the hashes are of the download, and their names begin with DOWNLOADED.
    """
    as_downloaded = row.get("status") == "success" and not row.get("width") and not row.get("original_width")
    return tuple((what if as_downloaded else DOWNLOADED + what, value) for what, value in hashes_in(row))


WHOLE_DURATION = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?")


def seconds_of(text: str) -> str:
    """Seconds of a duration such as PT00H00M19S; '' stays ''. Any other text stays as it is.

    >>> seconds_of("PT00H01M19S"), seconds_of("12.5"), seconds_of("soon"), seconds_of("")
    ('79', '12.5', 'soon', '')
    """
    parts = WHOLE_DURATION.fullmatch(text.strip())
    if not parts or not any(parts.groups()):
        return text.strip()
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return f"{3600 * hours + 60 * minutes + seconds:g}"


def list_webvid(source: dict, rows: Iterable[Row]) -> Iterator[Item]:
    """WebVid: <root>/<page_dir>/<videoid>.mp4, or <root>/<videoid>.mp4 if the files were fetched without the folders."""
    root = root_of(source)
    for _, row in rows:
        file = f"{row['videoid']}.mp4"
        places = [place_inside(root, row["page_dir"], file), *([place_inside(root, file)] if row["page_dir"] else [])]
        seconds = seconds_of(row["duration"])
        expect = (*hashes_in(row), *((("seconds", seconds),) if seconds else ()))
        yield place_item(source, row["videoid"], places, caption=row["name"], url=row["contentUrl"], expect=expect,
                         endings=VIDEO_ENDINGS)  # fmt: skip


def list_openvid(source: dict, rows: Iterable[Row]) -> Iterator[Item]:
    """OpenVid-1M and OpenVidHD: <root>/<video>, or <root>/video/<video>, where the data set's own script unpacks them."""
    root = root_of(source)
    for _, row in rows:
        places = [place_inside(root, row["video"]), place_inside(root, "video", row["video"])]
        expect = (*hashes_in(row), *((("seconds", row["seconds"]),) if row["seconds"] else ()))
        yield place_item(source, row["video"], places, caption=row["caption"], expect=expect, endings=VIDEO_ENDINGS)


UCF_FILE = re.compile(r"v_([A-Za-z]+)_(g\d+)_c\d+\.avi")


def list_ucf101(source: dict) -> Iterator[Item]:
    """UCF-101: the files of an official list, or all files in a folder of classes.

    The files of trainlist01.txt are member, and those of the testlist01.txt beside it are held out. In a folder of classes all
    files have the source's split, and what cannot be entered is an item with a problem. A scene is a group of a class.

    Raises:
        VidmemError: a line that names no file of UCF-101, or a scene that is both member and held out.
    """
    root, path = root_of(source), Path(source["path"])
    entries = list(walk_folder(path)) if os.path.isdir(path) else None
    unread = [entry for entry in entries or () if entry.problem and entry.path.suffix != ".avi"]
    for inner, problem, status, *_ in unread:
        yield make_item(source, readable(inner.relative_to(path).as_posix()), str(inner), problem=problem, status=status)
    scenes: dict[str, str] = {}
    for where, name, split in _ucf_lists(source) if entries is None else _ucf_folder(source, entries):
        parts = UCF_FILE.fullmatch(name.rpartition("/")[2])
        if not parts:
            raise VidmemError("files v_<Class>_g<XX>_c<YY>.avi", repr(name[:80]), where)
        scene = f"{parts[1]}/{parts[2]}"
        if scenes.setdefault(scene, split) != split:
            hint = "clips of a group show one scene: hold out whole groups, as the official lists do"
            raise VidmemError(f"scene {scene} in one split", f"{scenes[scene]} and {split}", where, hint)
        caption = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", parts[1])
        places = [place_inside(root, name), *([place_inside(root, name.rpartition("/")[2])] if "/" in name else [])]
        yield place_item(source, name.rpartition("/")[2], places, caption=caption, split=split, scene=scene)


def _ucf_folder(source: dict, entries: Sequence[Entry]) -> Iterator[tuple[str, str, str]]:
    """Yield the folder of classes, and name and split of each file in it."""
    path = Path(source["path"])
    files = [entry.path.relative_to(path).as_posix() for entry in entries if entry.path.name.endswith(".avi")]
    if not files:
        got = next((entry.problem for entry in entries if entry.problem), "none")
        raise VidmemError("class folders with .avi files", got, f"{path} (source {source['name']})")
    yield from ((str(path), name, source["split"]) for name in files)


def _ucf_lists(source: dict) -> Iterator[tuple[str, str, str]]:
    """Yield where each file is listed, its name and its split. In a train list the number of the class follows the name."""
    path = Path(source["path"])
    beside = held_out_beside(path)
    held_out = None if beside is None else Path(beside)
    both = ((path, "member"), (held_out, "heldout")) if held_out else ((path, source["split"]),)
    for part, split in both:
        rows = open_list(part)[1](["prompt"])
        listed = ((line, str(row["prompt"]).split()) for line, row in rows)
        found = [(f"{part}, line {line}", words[0], split) for line, words in listed if words]
        if not found:
            raise VidmemError("at least one file", "none", str(part))
        yield from found


def held_out_beside(path: PurePath) -> PurePath | None:
    """The test list that is read together with a train list of UCF-101; None if `path` is no train list."""
    return path.with_name(path.name.replace("train", "test", 1)) if path.name.startswith("trainlist") else None


KINETICS_SPLITS = {"train": "member", "val": "heldout", "validate": "heldout", "validation": "heldout", "test": "heldout"}


def list_kinetics(source: dict, rows: Iterable[Row]) -> Iterator[Item]:
    """Kinetics: <root>/<label>/<youtube_id>_<start>_<end>.mp4. Times have six digits; a label has blanks or underscores.

    A column split says whether a clip is member (train) or held out. Without this column the source's split holds. The files
    may also lie without the folders of labels, and below a folder of the split.

    Raises:
        VidmemError: an unknown split, or times that are no numbers.
    """
    root = root_of(source)
    for where, row in rows:
        label, video = row["label"], row["youtube_id"]
        try:
            span = "_".join(f"{round(float(row[key])):06d}" for key in ("time_start", "time_end"))
        except (ValueError, OverflowError) as error:
            raise VidmemError("seconds in time_start and time_end", error, where) from error
        if row["split"] and row["split"] not in KINETICS_SPLITS:
            raise VidmemError(f"a split of {', '.join(KINETICS_SPLITS)}", repr(row["split"][:80]), where)
        file, split = f"{video}_{span}.mp4", KINETICS_SPLITS.get(row["split"], source["split"])
        labels = dict.fromkeys([label, label.replace(" ", "_"), label.replace("_", " "), ""])
        folders = ["", *_split_folders(row["split"], split)]
        places = [place_inside(root, folder, name, file) for folder in folders for name in labels]
        about = {"caption": label.replace("_", " "), "url": f"https://www.youtube.com/watch?v={video}", "split": split}
        yield place_item(source, f"{video}_{span}", places, scene=video, endings=VIDEO_ENDINGS, **about)


def _split_folders(listed: str, split: str) -> list[str]:
    """Names of folders in which files of a split may lie.

    Args:
        listed: split that the list names; '' if it names none. Then all folders that stand for `split` are returned.
        split: 'member' or 'heldout'.
    """
    alike = {"val", "validate", "validation"}
    return [name for name in KINETICS_SPLITS if (KINETICS_SPLITS[name] == split if not listed else
            name == listed or {name, listed} <= alike)]  # fmt: skip


def list_laion(source: dict, rows: Iterable[Row]) -> Iterator[Item]:
    """LAION: a list of addresses, and the images that were downloaded from them.

    An image lies at <root>/<first five characters of its key>/<key>.jpg, or at <root>/<key>.jpg. The list may be the data
    set's own (URL, TEXT), or the list that img2dataset writes beside its images (url, caption, key, status, error_message). A
    row whose download failed has the status gone, with the error as its problem.
    """
    root = root_of(source)
    for _, row in rows:
        key, url = row["key"], row["URL"]
        about = {"caption": row["TEXT"], "url": url}
        if row["status"] not in ("", "success"):
            about |= {"problem": download_problem(row["status"], row["error_message"]), "status": "gone"}
        elif not key:
            about |= {"problem": "no key: where its image would lie is not known", "status": "gone"}
        stems = [place_inside(root, key[:5], key), place_inside(root, key)] if key else [root]
        places = [stem and stem + ending for stem in stems for ending in (".jpg", ".png", ".webp")]
        yield place_item(source, key or url, places, expect=download_hashes(row), **about)


def download_problem(status: str, message: str) -> str:
    """Why img2dataset has no image, worded so that rows with one cause get one text."""
    return " ".join(f"{status.replace('_', ' ')}: {message}".split())[:120].rstrip(": ")

"""Layouts of published data sets: a list, and files that lie where the data set's own tools put them.

A listed path is never trusted: what leads out of the folder of the source is a row with a reason. Standard library only, but
for lists in Parquet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath

from .errors import VidmemError
from .items import DOWNLOADED, HASHES, OUTSIDE, Item, make_item, place_inside, readable
from .lists import cell_text, open_list

LISTS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
Cells = dict[str, str]


def listed_rows(source: dict, required: Sequence[str], optional: Sequence[str]) -> Iterator[tuple[str, Cells]]:
    """Rows of a published list with their place, one by one.

    Args:
        source: its path is a list, or a folder whose lists are parts of one, read in the order of their names.
        required: columns; alternatives that data sets use are written 'URL|url' and come under the first name.
        optional: the same of columns that may be absent and are ''. Others are left alone.

    Raises:
        VidmemError: no list, absent columns (with those that are there), or a row that cannot be read.
    """
    empty = dict.fromkeys((column.split("|")[0] for column in optional), "")
    for path in list_parts(source, LISTS):
        names, rows = open_list(path)
        columns = _choose_columns(names, required, optional, path)
        for line, row in rows(list(columns.values())):
            where = f"{path}, line {line}"
            yield where, empty | {name: cell_text(row.get(column), where) for name, column in columns.items()}


def list_parts(source: dict, suffixes: Sequence[str]) -> list[Path]:
    """The file of a source, or the files of its folder with some endings, sorted by name."""
    path = Path(source["path"])
    if not path.is_dir():
        return [path]
    parts = sorted(file for file in path.iterdir() if file.suffix.lower() in suffixes)
    if not parts:
        raise VidmemError(f"files that end in {', '.join(suffixes)}", "none", f"{path} (source {source['name']})")
    return parts


def _choose_columns(names: list[str], required: Sequence[str], optional: Sequence[str], path: Path) -> dict[str, str]:
    """First name of every column -> the alternative that a list has."""
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
        raise VidmemError(expected, got, str(path), "the first line names the columns; another kind of source?")
    return chosen


def root_of(source: dict) -> str:
    """Folder that listed files lie below: the source's root, else the folder of its list."""
    path = Path(source["path"])
    return source.get("root") or str(path if path.is_dir() else path.parent)


def place_item(source: dict, name: str, places: Sequence[str], **fields) -> Item:
    """Item of a listed file that may lie at several places; a path that leads out of the folder is its problem."""
    if not all(places):
        return make_item(source, readable(name), "", **{**fields, "problem": OUTSIDE, "status": "skipped"})
    return make_item(source, readable(name), places[0], others=tuple(places[1:]), **fields)


def hashes_in(row: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """What a row says of its file's content."""
    return tuple((key, row[key].strip().lower()) for key in HASHES if row.get(key))


DOWNLOAD_COLUMNS = ("status", "width", "original_width", *HASHES)
"""What img2dataset notes of a download and decides whose hash it is."""


def download_hashes(row: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Hashes that img2dataset notes: of the stored picture only where it stored what it had downloaded, bit for bit.

    It then notes no size, because it has not looked into the picture. Elsewhere they are of the download.
    """
    as_downloaded = row.get("status") == "success" and not row.get("width") and not row.get("original_width")
    return tuple((what if as_downloaded else DOWNLOADED + what, value) for what, value in hashes_in(row))


WHOLE_DURATION = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?")


def seconds_of(text: str) -> str:
    """Seconds of a duration such as PT00H00M19S, '' for none; text that says nothing of the kind stays as it is.

    >>> seconds_of("PT00H01M19S"), seconds_of("12.5"), seconds_of("soon"), seconds_of("")
    ('79', '12.5', 'soon', '')
    """
    parts = WHOLE_DURATION.fullmatch(text.strip())
    if not parts or not any(parts.groups()):
        return text.strip()
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return f"{3600 * hours + 60 * minutes + seconds:g}"


def list_webvid(source: dict) -> Iterator[Item]:
    """WebVid: <root>/<page_dir>/<videoid>.mp4, or <root>/<videoid>.mp4 where it was fetched without the folders."""
    root = root_of(source)
    for _, row in listed_rows(source, ["videoid", "name"], ["page_dir", "contentUrl", "duration", *HASHES]):
        file = f"{row['videoid']}.mp4"
        places = [place_inside(root, row["page_dir"], file), *([place_inside(root, file)] if row["page_dir"] else [])]
        seconds = seconds_of(row["duration"])
        expect = (*hashes_in(row), *((("seconds", seconds),) if seconds else ()))
        yield place_item(source, row["videoid"], places, caption=row["name"], url=row["contentUrl"], expect=expect)


def list_openvid(source: dict) -> Iterator[Item]:
    """OpenVid-1M and OpenVidHD: <root>/<video>, or <root>/video/<video> as its own script unpacks them."""
    root = root_of(source)
    for _, row in listed_rows(source, ["video", "caption"], ["seconds", *HASHES]):
        places = [place_inside(root, row["video"]), place_inside(root, "video", row["video"])]
        expect = (*hashes_in(row), *((("seconds", row["seconds"]),) if row["seconds"] else ()))
        yield place_item(source, row["video"], places, caption=row["caption"], expect=expect)


UCF_FILE = re.compile(r"v_([A-Za-z]+)_(g\d+)_c\d+\.avi")


def list_ucf101(source: dict) -> Iterator[Item]:
    """UCF-101: an official list (trainlist01.txt is member, its testlist01.txt held out), or all of a folder of classes.

    Raises:
        VidmemError: a line that is no file of UCF-101, or a scene (the group of a class) that is member and held out.
    """
    root, scenes = root_of(source), {}
    for where, name, split in _ucf_files(source):
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


def _ucf_files(source: dict) -> Iterator[tuple[str, str, str]]:
    """Place, name and split of every file; a train list says the number of the class behind the name."""
    path = Path(source["path"])
    if path.is_dir():
        files = [file.relative_to(path).as_posix() for file in sorted(path.rglob("*.avi"))]
        if not files:
            raise VidmemError("class folders with .avi files", "none", f"{path} (source {source['name']})")
        yield from ((str(path), name, source["split"]) for name in files)
        return
    both = ((path, source["split"]),)
    if path.name.startswith("trainlist"):
        both = ((path, "member"), (held_out_list(path), "heldout"))
    for part, split in both:
        rows = open_list(part)[1](["prompt"])
        found = [(f"{part}, line {line}", str(row["prompt"]).split()[0], split) for line, row in rows if row["prompt"].split()]
        if not found:
            raise VidmemError("at least one file", "none", str(part))
        yield from found


def held_out_list(path: PurePath) -> PurePath:
    """The official list of UCF-101 that belongs to a train list."""
    return path.with_name(path.name.replace("train", "test", 1))


KINETICS_SPLITS = {"train": "member", "val": "heldout", "validate": "heldout", "validation": "heldout", "test": "heldout"}


def list_kinetics(source: dict) -> Iterator[Item]:
    """Kinetics: <root>/<label>/<youtube_id>_<start>_<end>.mp4 with six digits each, the label with blanks or underscores.

    A column split says member (train) or held out; without one the source's split does. Files may also lie without the folders,
    and either below a folder of the split.

    Raises:
        VidmemError: another split, or times that are no numbers.
    """
    root = root_of(source)
    for where, row in listed_rows(source, ["youtube_id", "time_start", "time_end"], ["label", "split"]):
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
        yield place_item(source, f"{video}_{span}", places, scene=video, **about)


def _split_folders(listed: str, split: str) -> list[str]:
    """Folders that files of a split lie in; a list without a column of splits may be of any that means the same."""
    alike = {"val", "validate", "validation"}
    return [name for name in KINETICS_SPLITS if (KINETICS_SPLITS[name] == split if not listed else
            name == listed or {name, listed} <= alike)]  # fmt: skip


def list_laion(source: dict) -> Iterator[Item]:
    """LAION: a list of addresses, and the images that are here: <root>/<first five of its key>/<key>.jpg, or <root>/<key>.jpg.

    The list may be that of the data set (URL, TEXT) or what img2dataset writes beside its images (url, caption, key, status,
    error_message): a row whose download failed is gone, with the error as reason.
    """
    columns = ["TEXT|caption|text", "key|hash", "error_message", *DOWNLOAD_COLUMNS]
    root = root_of(source)
    for _, row in listed_rows(source, ["URL|url"], columns):
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
    """Why img2dataset has no image, in words that many rows share."""
    return " ".join(f"{status.replace('_', ' ')}: {message}".split())[:120].rstrip(": ")

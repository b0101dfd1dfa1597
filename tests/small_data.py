"""Small stand-ins for what the shipped configurations name: data sets in their published layouts, lists, random checkpoints.

The pictures are made up; every scene has a texture of its own that moves a way of its own.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd

CAPTIONS = ("a red ball", "two cats on a wall", "a taxi in city traffic", "a wall", "waves at night", "a field of wheat",
            "a dancer", "smoke over a town", "a train", "a bird on a wire", "snow in a forest", "a market")  # fmt: skip
SIDE = 64


def scene(number: int, frames: int = 10) -> np.ndarray:
    """Frames uint8 [frames, 64, 64, 3]: two textures, one drifting over the other."""
    stream = np.random.default_rng(number)
    back, front = (cv2.resize(stream.integers(0, 256, (9, 9, 3), np.uint8), (2 * SIDE, 2 * SIDE), interpolation=cv2.INTER_CUBIC)
                   for _ in range(2))  # fmt: skip
    step, made = stream.integers(-3, 4, 2), np.empty((frames, SIDE, SIDE, 3), np.uint8)
    for place in range(frames):
        made[place] = back[:SIDE, :SIDE]
        top, left = np.clip(16 + step * place, 0, SIDE - 28)
        made[place, top : top + 28, left : left + 28] = front[:28, :28]
    return made


def write_clip(path: Path, number: int, codec: str = "libx264") -> str:
    """Save a scene as a video; returns the file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=8)
        stream.height, stream.width, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 8)
        for place, picture in enumerate(scene(number)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = place
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.name


def write_picture(path: Path, number: int, side: int = SIDE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.resize(scene(number, 1)[0], (side, side), interpolation=cv2.INTER_AREA))


def write_rows(path: Path, rows: Sequence[dict], delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def webvid(data: Path) -> None:
    """Six clips to train on and four to validate with; one listed clip is withdrawn."""
    for split, numbers in (("train", range(6)), ("val", range(6, 10))):
        rows = [
            {"videoid": 1000 + number, "contentUrl": f"https://example.org/{number}.mp4", "duration": "PT00H00M01S",
             "page_dir": "000001_000050", "name": CAPTIONS[number]}
            for number in numbers
        ]  # fmt: skip
        write_rows(data / f"webvid/data/{split}/partitions/0000.csv", rows)
        for row, number in list(zip(rows, numbers, strict=True))[: 5 if split == "train" else None]:
            write_clip(data / f"webvid/videos/{row['page_dir']}/{row['videoid']}.mp4", number)


def openvid(data: Path) -> None:
    rows = [{"video": f"clip{number}.mp4", "caption": CAPTIONS[number], "seconds": 1.25, "fps": 8} for number in range(6)]
    write_rows(data / "openvid/data/train/OpenVid-1M.csv", rows)
    for row, number in zip(rows, range(20, 26), strict=True):
        write_clip(data / "openvid/videos" / row["video"], number)


def ucf101(data: Path) -> None:
    """Three scenes of two classes to train on, two held out."""
    names = [f"{kind}/v_{kind}_g{group:02d}_c01.avi" for kind in ("Archery", "BabyCrawling") for group in (1, 8, 9)]
    for number, name in enumerate(names):
        write_clip(data / "ucf101/UCF-101" / name, 40 + number, "mpeg4")
    held = [name for name in names if "_g01" in name]
    lists = {"trainlist01": [f"{name} 1" for name in names if name not in held], "testlist01": held}
    for kind, lines in lists.items():
        path = data / f"ucf101/ucfTrainTestlist/{kind}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")


def laion(data: Path) -> None:
    """Images as img2dataset leaves them, one encoded again, one gone, and the two lists of prompts as they are published."""
    rows = [{"url": f"https://example.org/{n}.jpg", "caption": CAPTIONS[n], "key": f"{n:09d}", "status": "success",
             "error_message": None, "width": None, "height": None, "original_width": None, "original_height": None,
             "exif": None, "sha256": None} for n in range(4)]  # fmt: skip
    rows[2] |= {"width": SIDE, "height": SIDE, "original_width": 640, "original_height": 480}
    rows[3] |= {"status": "failed_to_download", "error_message": "HTTP Error 404: Not Found"}
    for number, row in enumerate(rows[:3]):
        file = data / f"laion/images/00000/{row['key']}.jpg"
        write_picture(file, 60 + number)
        row["sha256"] = hashlib.sha256(b"the download" if row["width"] else file.read_bytes()).hexdigest()
    pd.DataFrame(rows).to_parquet(data / "laion/images/00000.parquet")
    known = [{"": n, "Caption": row["caption"], "URL": row["url"], "type": "VM"} for n, row in enumerate(rows)]
    write_rows(data / "laion/memorized_laion_prompts.csv", known, ";")
    others = [{"": n, "Caption": CAPTIONS[n], "URL": f"https://example.org/{n}.jpg", "Index": n} for n in range(6, 12)]
    write_rows(data / "laion/unmemorized_laion_prompts.csv", others, ";")


def cifar10(data: Path) -> None:
    folder = data / "cifar10/cifar-10-batches-bin"
    folder.mkdir(parents=True, exist_ok=True)
    for name, numbers in (("data_batch_1", range(80, 84)), ("test_batch", range(84, 87))):
        pictures = [cv2.resize(scene(number, 1)[0], (32, 32), interpolation=cv2.INTER_AREA) for number in numbers]
        (folder / f"{name}.bin").write_bytes(b"".join(b"\1" + picture.transpose(2, 0, 1).tobytes() for picture in pictures))
    (folder / "batches.meta.txt").write_text("airplane\nautomobile\n")


def faces(data: Path) -> None:
    for first, name in ((90, "celeba-hq-256"), (95, "ffhq-256")):
        for number in range(first, first + 4):
            write_picture(data / name / f"{number:05d}.png", number)


def own_clips(data: Path) -> None:
    splits = ("member", "member", "member", "heldout", "heldout")
    rows = [{"path": f"own/{n}.mp4", "caption": CAPTIONS[n], "copies": 4**n, "split": split} for n, split in enumerate(splits)]
    write_rows(data / "clips.csv", rows)
    for number, row in enumerate(rows):
        write_clip(data / row["path"], 110 + number)


def make_data(data: Path) -> None:
    """Write every data set and list below a folder."""
    for write in (webvid, openvid, ucf101, laion, cifar10, faces, own_clips):
        write(data)


def make_official(folder: Path) -> None:
    """Save small random checkpoints of the official layouts, and the Stable Diffusion that two of them are filled up from."""
    import torch

    from official_layouts import (
        TINY_LAVIE,
        TINY_RAMVID,
        TINY_VIDEOCRAFTER,
        latent_diffusion_weights,
        lavie_names,
        ramvid_names,
        random_weights,
        save_official,
        videocrafter_names,
    )
    from own_checkpoints import save_base

    folder.mkdir(parents=True, exist_ok=True)
    second = {"fps": True, "relative": False, "over_time": True, "scale": 0.7}
    videocrafter = random_weights(videocrafter_names(**TINY_VIDEOCRAFTER | second))
    videocrafter["scale_arr"] = torch.cat([torch.linspace(1, 0.7, 400), torch.full((1000,), 0.7)])
    save_official(folder / "videocrafter2.ckpt", videocrafter, "state_dict")
    save_official(folder / "lavie_base.pt", random_weights(lavie_names(**TINY_LAVIE)), "ema")
    save_official(folder / "ramvid-ucf101.pt", random_weights(ramvid_names(**TINY_RAMVID)))
    for seed, name in enumerate(("celebahq", "ffhq")):
        save_official(folder / f"ldm-{name}-256.ckpt", latent_diffusion_weights(seed), "state_dict")
    save_base(folder / "base")


def make_checkpoints(folder: Path, pipelines: Iterable[str]) -> None:
    """Save a small random checkpoint of every pipeline class of diffusers below a folder, where there is none yet."""
    from checkpoints import save_checkpoint

    for name in sorted(set(pipelines)):
        if not (folder / name).is_dir():
            save_checkpoint(name, folder / name)

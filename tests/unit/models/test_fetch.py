"""Weights: pinned, resumable, offline with a path, and a wrong hash is an error with names."""

import hashlib
import http.server
import threading

import pytest

from vidmem.errors import VidmemError
from vidmem.models.weights import WEIGHTS, Weights, fetch_weights

CONTENT = bytes(range(256)) * 9000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    ranges: list = []  # noqa: RUF012

    def do_GET(self):
        wanted = self.headers.get("Range")
        Server.ranges.append(wanted)
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(CONTENT) - first))
        self.end_headers()
        self.wfile.write(CONTENT[first:])

    def log_message(self, *arguments):
        """Quiet."""


@pytest.fixture
def url(monkeypatch):
    Server.ranges = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/weights.pt"
    monkeypatch.setitem(WEIGHTS, "toy", Weights(DIGEST, url=address))
    yield address
    server.shutdown()


def test_download_is_checked_and_kept(tmp_path, url):
    assert fetch_weights("toy", tmp_path / "w") == DIGEST
    assert (tmp_path / "w").read_bytes() == CONTENT
    fetch_weights("toy", tmp_path / "w")
    assert Server.ranges == [None]  # the second call asked for nothing


def test_partial_download_is_continued(tmp_path, url):
    (tmp_path / "w.part").write_bytes(CONTENT[:1000])
    assert fetch_weights("toy", tmp_path / "w") == DIGEST
    assert Server.ranges == ["bytes=1000-"]


def test_wrong_hash_names_file_expected_and_got(tmp_path, url, monkeypatch):
    monkeypatch.setitem(WEIGHTS, "toy", Weights("0" * 64, url=url))
    with pytest.raises(VidmemError) as caught:
        fetch_weights("toy", tmp_path / "w")
    assert all(part in str(caught.value) for part in ("0" * 64, DIGEST, "w.part"))
    assert not (tmp_path / "w").exists()


def test_a_given_path_needs_no_network(tmp_path):
    given = tmp_path / "mine.onnx"
    given.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    assert fetch_weights("sscd_int8", tmp_path / "w", str(given), digest) == digest
    with pytest.raises(VidmemError, match="SHA-256 86386042"):
        fetch_weights("sscd_int8", tmp_path / "v", str(given))
    with pytest.raises(VidmemError, match="nothing there"):
        fetch_weights("sscd_int8", tmp_path / "v", str(tmp_path / "no"))


def test_weights_without_a_published_hash_want_one(tmp_path):
    with pytest.raises(VidmemError, match=r"weights\.sscd_disc_mixup\.sha256"):
        fetch_weights("sscd_disc_mixup", tmp_path / "w")


def test_unknown_weights_are_named(tmp_path):
    with pytest.raises(VidmemError, match="weights of"):
        fetch_weights("vgg", tmp_path / "w")

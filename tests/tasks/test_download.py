"""Fetching over a real server on the loopback interface, one that breaks off too."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock

from initlab.core import exchange
from initlab.errors import DataError
from initlab.tasks import download
from initlab.tasks.download import data_root, fetch
from tests.tracking.peers import peer

CONTENT = bytes(range(256)) * 2000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT under /whole, half of it under /half, other bytes under /other, and counts what was sent."""

    daemon_threads = True
    sent = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        bodies = {"/whole": CONTENT, "/half": CONTENT, "/other": CONTENT[::-1]}
        # torchvision follows redirects with a GET of its own, marked as HEAD, and closes without reading
        probing = self.headers.get("Method") == "HEAD"
        body = bodies.get(self.path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if probing:
            return
        self.server.sent += 1
        self.wfile.write(body[: len(body) // 2] if self.path == "/half" else body)

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def left(folder: Path) -> list[str]:
    """What lies there, apart from the empty file that processes lock."""
    return sorted(p.name for p in folder.rglob("*") if not p.name.endswith(".lock"))


def test_a_whole_file(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = fetch(tmp_path / "MNIST" / "raw" / "file.gz", [f"{server.url}/whole"], MD5)
    assert target.read_bytes() == CONTENT
    assert left(target.parent) == ["file.gz"]
    assert capsys.readouterr().err == ""


def test_what_is_there_is_not_fetched(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.gz").write_bytes(b"mine")
    fetch(tmp_path / "file.gz", [f"{server.url}/whole"], MD5)
    assert server.sent == 0
    assert (tmp_path / "file.gz").read_bytes() == b"mine"


@pytest.mark.parametrize("page", ["half", "other"])
def test_an_interrupted_or_wrong_file_leaves_nothing(server: Server, tmp_path: Path, page: str) -> None:
    target = tmp_path / "file.gz"
    with pytest.raises(DataError) as caught:
        fetch(target, [f"{server.url}/{page}"], MD5)
    assert server.sent == 1
    message = str(caught.value)
    assert all(piece in message for piece in (str(target), MD5, f"{server.url}/{page}", "broke off or has a wrong"))
    assert left(tmp_path) == []
    # and the next attempt starts afresh
    assert fetch(target, [f"{server.url}/whole"], MD5).read_bytes() == CONTENT


def test_the_next_mirror_is_tried(server: Server, tmp_path: Path) -> None:
    urls = [f"{server.url}/missing", f"{server.url}/half", f"{server.url}/whole"]
    assert fetch(tmp_path / "file.gz", urls, MD5).read_bytes() == CONTENT


def test_what_a_killed_process_left_is_cleared(server: Server, tmp_path: Path) -> None:
    part = tmp_path / ".file.gz.part"
    part.mkdir()
    (part / "file.gz").write_bytes(CONTENT[:1000])
    assert fetch(tmp_path / "file.gz", [f"{server.url}/whole"], MD5).read_bytes() == CONTENT
    assert left(tmp_path) == ["file.gz"]


def test_several_at_once_fetch_once(server: Server, tmp_path: Path) -> None:
    errors: list[Exception] = []

    def one() -> None:
        try:
            fetch(tmp_path / "file.gz", [f"{server.url}/whole"], MD5)
        except DataError as error:
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert server.sent == 1
    assert (tmp_path / "file.gz").read_bytes() == CONTENT


def test_no_network_says_which_file_to_put_where(tmp_path: Path) -> None:
    with Server(("127.0.0.1", 0), Handler) as closed:
        url = f"{closed.url}/whole"
    with pytest.raises(DataError, match=r"could not be fetched .* Put it there by hand") as caught:
        fetch(tmp_path / "file.gz", [url], MD5)
    assert str(tmp_path / "file.gz") in str(caught.value)
    assert MD5 in str(caught.value)
    assert "data=digits" in str(caught.value)
    assert left(tmp_path) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way of a folder")
    with pytest.raises(DataError, match="could not be fetched"):
        fetch(tmp_path / "file" / "raw" / "file.gz", ["http://127.0.0.1:9/whole"], MD5)


def test_the_default_root_is_the_cache_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INITLAB_DATA", raising=False)
    assert data_root(None).name == "data"
    monkeypatch.setenv("INITLAB_DATA", str(tmp_path))
    assert data_root(None) == tmp_path
    (tmp_path / "other").mkdir()
    assert data_root(tmp_path / "other") == tmp_path / "other"


@pytest.mark.parametrize(
    "way",
    ["drip", "drip in the body", "silent", "huge body", "reset", "half a JSON", "login page", "redirect loop", "503"],
)
def test_a_peer_that_sends_no_file_is_given_up_and_named(
    way: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exchange._said.clear()
    for name, value in (("_ANSWER", 1.6), ("_SLOWEST", 100_000), ("_LARGEST", 1 << 22)):
        monkeypatch.setattr(download, name, value)
    with peer(behaviour=way) as one:
        address = f"{one.uri}/file.gz"
        with pytest.raises(DataError) as caught:
            fetch(tmp_path / "file.gz", [address], MD5)
        # the next mirror is tried as ever
        target = fetch(tmp_path / "file.gz", [address, f"{server.url}/whole"], MD5)
    assert address in str(caught.value) and "Put it there by hand" in str(caught.value)
    assert target.read_bytes() == CONTENT and left(tmp_path) == ["file.gz"]
    if way in ("drip", "silent"):
        assert "waiting for 127.0.0.1 (file.gz)" in capsys.readouterr().err


def test_who_fetches_already_is_waited_for_and_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(download, "_LONGEST", 0.2)
    busy = pytest.raises(DataError, match="another process has been fetching it")
    with FileLock(tmp_path / ".file.gz.lock", thread_local=False), busy:
        fetch(tmp_path / "file.gz", [f"{server.url}/whole"], MD5)
    assert "waiting for another process that fetches file.gz" in capsys.readouterr().err
    assert fetch(tmp_path / "file.gz", [f"{server.url}/whole"], MD5).read_bytes() == CONTENT

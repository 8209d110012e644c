"""A server of HTTP that misbehaves in one way or another, in front of a real one where it behaves."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

_PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>" + b"please " * 50 + b"</body></html>"


def _answer(status: str, body: bytes = b"", *headers: str, kind: str = "application/json", length: int = -1) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", *headers, "Connection: close"]
    lines.append(f"Content-Length: {len(body) if length < 0 else length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


#: name → what is sent at once; "{elsewhere}" and "{here}" are addresses, "{said}" is the account that came
FIXED: dict[str, bytes] = {
    "429": _answer("429 Too Many Requests", b"slow down"),
    "429 with Retry-After": _answer("429 Too Many Requests", b"slow down", "Retry-After: 1"),
    "429 with a long Retry-After": _answer("429 Too Many Requests", b"", "Retry-After: 86400"),
    "500 with HTML": _answer("500 Internal Server Error", _PAGE, kind="text/html"),
    "500 that repeats the account": _answer("500 Internal Server Error", b"cannot let {said} in", kind="text/plain"),
    "400 that repeats the account": _answer("400 Bad Request", b'{"error_code": "ODD", "message": "who is {said}?"}'),
    "502 of a proxy": _answer("502 Bad Gateway", _PAGE, kind="text/html"),
    "503": _answer("503 Service Unavailable", b"upstream"),
    "404 of a proxy": _answer("404 Not Found", b"404 page not found\n", kind="text/plain"),
    "half a JSON": b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{"experiment": {"na',
    "wrong length": _answer("200 OK", b'{"experiment": {}}', length=5000),
    "broken chunks": b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\n{"a":\r\nzz\r\n',
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "redirect elsewhere": _answer("307 Temporary Redirect", b"", "Location: {elsewhere}/login?secret=1"),
    "redirect with 302": _answer("302 Found", b"", "Location: {elsewhere}/"),
    "redirect to nowhere": _answer("301 Moved Permanently", b""),
    "redirect loop": _answer("302 Found", b"", "Location: {here}/api/2.0/mlflow/experiments/get-by-name"),
    "login page": _answer("200 OK", _PAGE, kind="text/html; charset=utf-8"),
    "empty body": _answer("200 OK"),
    "another program": _answer("200 OK", b"[1, 2, 3]"),
    "huge body": b"",
    "drip": b"",
    "drip in the body": b"",
    "silent": b"",
    "reset": b"",
    "closes in mid-upload": b"",
}


class Peer:
    """A port that answers as `behaviour` says: a key of `FIXED`, or "well" for what the server at `target` answers.

    `accounts` are the Authorization headers that came.
    """

    def __init__(self, target: int = 0, *, behaviour: str = "well", tls: Path | None = None) -> None:
        self.behaviour = behaviour
        self.accounts: list[str] = []
        self.requests = 0
        self.elsewhere = ""
        self._target = target
        self._tls: ssl.SSLContext | None = None
        if tls is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(tls)
        self._stop = threading.Event()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                inner, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(inner)
            threading.Thread(target=self._serve, args=(inner,), daemon=True).start()

    def _serve(self, inner: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self._tls is not None:
                inner = self._tls.wrap_socket(inner, server_side=True)
            head = self._head(inner)
            if not head:
                return
            self.requests += 1
            if self.behaviour == "well":
                self._pass_on(inner, head)
            else:
                self._misbehave(inner, head)
        with contextlib.suppress(OSError):
            inner.close()

    def _head(self, inner: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data and (more := inner.recv(4096)):
            data += more
            if data[:1] == b"\x16":  # TLS, which a server without it takes for a bad request
                inner.sendall(_answer("400 Bad Request", _PAGE, kind="text/html"))
                return b""
        for line in data.split(b"\r\n"):
            if line.lower().startswith(b"authorization:"):
                self.accounts.append(line.partition(b":")[2].strip().decode())
        return data

    def _misbehave(self, inner: socket.socket, head: bytes) -> None:
        do = self.behaviour
        if do in ("reset", "closes in mid-upload"):
            if do != "reset":
                inner.recv(100)
            inner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif do == "silent":
            self._stop.wait(600)
        elif do == "drip":
            self._drip(inner, _answer("200 OK", b'{"experiment": {}}'))
        elif do == "drip in the body":
            inner.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
            self._drip(inner, b" " * 100000)
        elif do == "huge body":
            inner.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
            while not self._stop.is_set():
                inner.sendall(b" " * 65536)
        else:
            self._drain(inner, head)
            said = self.accounts[-1] if self.accounts else "nobody"
            body = FIXED[do].replace(b"{elsewhere}", self.elsewhere.encode()).replace(b"{here}", self.uri.encode())
            filled = body.replace(b"{said}", said.encode())
            before, _, rest = filled.partition(b"\r\n\r\n")
            if filled != FIXED[do] and b"Content-Length: 0" not in before:
                lines = [x for x in before.split(b"\r\n") if not x.startswith(b"Content-Length")]
                filled = b"\r\n".join([*lines, b"Content-Length: %d" % len(rest)]) + b"\r\n\r\n" + rest
            inner.sendall(filled)

    def _drain(self, inner: socket.socket, head: bytes) -> None:
        """Read what the request says it holds, so that the answer is not lost in a reset."""
        before, _, body = head.partition(b"\r\n\r\n")
        length = next(
            (int(x.split(b":")[1]) for x in before.lower().split(b"\r\n") if x.startswith(b"content-length")), 0
        )
        while len(body) < length and (more := inner.recv(65536)):
            body += more

    def _drip(self, inner: socket.socket, data: bytes) -> None:
        for at in range(len(data)):
            if self._stop.wait(1.0):
                return
            inner.sendall(data[at : at + 1])

    def _pass_on(self, inner: socket.socket, head: bytes) -> None:
        outer = socket.create_connection(("127.0.0.1", self._target))
        self._open.append(outer)
        outer.sendall(head)
        back = threading.Thread(target=_copy, args=(outer, inner), daemon=True)
        back.start()
        _copy(inner, outer)
        back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def peer(target: int = 0, *, behaviour: str = "well", tls: Path | None = None) -> Iterator[Peer]:
    """A `Peer` while open."""
    made = Peer(target, behaviour=behaviour, tls=tls)
    try:
        yield made
    finally:
        made.close()


def certificate(folder: Path) -> Path:
    """A self-signed certificate with its key, in one file."""
    file = folder / "own.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-keyout", str(folder / "key"), "-out", str(folder / "certificate")],
        check=True, capture_output=True,
    )  # fmt: skip
    file.write_text((folder / "key").read_text() + (folder / "certificate").read_text())
    return file

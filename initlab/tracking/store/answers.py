"""Judges what a server answers before anybody reads it as MLflow's: status, kind, size, completeness.

A proxy, a login page or another program may answer in a server's place, with a status that says all is well. Taken for
an answer of MLflow, it would make records count as delivered that nobody has. Within `judged` every answer to a request
of MLflow's API has to be its JSON, redirects are not followed (they would carry the records, and perhaps the account,
to a host that nobody named), and no answer may be larger than what MLflow sends.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import re
import threading
from collections.abc import Generator
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

#: bytes of an answer of MLflow, at most
LARGEST = 256 << 20
_API = re.compile(r"/(ajax-)?api/\d[\d.]*/mlflow")
_UPLOAD = re.compile(r"/mlflow-artifacts/artifacts/")
_active = threading.local()
_installing = threading.Lock()


class AnswerError(OSError):
    """An answer that is not MLflow's. `sentence` goes after the server's name; `kind` is as of `StoreFaultError`.

    `retry_after` are the seconds after which the server asks to be asked again, 0 where it does not say.
    """

    def __init__(self, kind: Literal["away", "denied"], sentence: str, *, retry_after: float = 0.0) -> None:
        super().__init__(sentence)
        self.kind: Literal["away", "denied"] = kind
        self.sentence = sentence
        self.retry_after = retry_after


@contextlib.contextmanager
def judged(*, largest: int = LARGEST) -> Generator[None]:
    """While open, this thread's requests raise AnswerError for an answer that is not MLflow's."""
    _install()
    before = getattr(_active, "largest", None)
    _active.largest = largest
    try:
        yield
    finally:
        _active.largest = before


def _install() -> None:
    from requests.adapters import HTTPAdapter, Retry

    with _installing:
        plain = HTTPAdapter.send
        if hasattr(plain, "judges"):
            return

        @functools.wraps(plain)
        def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            largest = getattr(_active, "largest", None)
            if largest is None or not _API.search(urlsplit(str(request.url)).path):
                return plain(self, request, *args, **kwargs)
            if not self.max_retries.total:
                # without retries, a status that might be retried is an answer and no exception: it says when to retry
                self.max_retries = Retry(0, read=False)
            answer = plain(self, request, *args, **kwargs)
            stream = bool(kwargs.get("stream", args[0] if args else False))
            try:
                _judge(answer, str(request.url), largest=largest, stream=stream)
            except BaseException:
                answer.close()
                raise
            return answer

        send.judges = True  # type: ignore[attr-defined]
        HTTPAdapter.send = send


def _judge(answer: Any, url: str, *, largest: int, stream: bool) -> None:
    status = int(answer.status_code)
    if 300 <= status < 400:
        raise AnswerError("denied", _redirect(url, str(answer.headers.get("Location", ""))))
    if stream and status < 400:
        return  # a file, which is not JSON
    body = _read(answer, largest)
    if status >= 500 or status in (408, 429):
        raise AnswerError("away", f"answered {_phrase(status)}", retry_after=_retry_after(answer))
    if status >= 400:
        # 401 and 403 of MLflow are no JSON either
        if status in (401, 403) or _is_object(body):
            return
        raise AnswerError("away", f"answered {_phrase(status)}, which is not MLflow's: is tracking.uri right?")
    # MLflow answers an upload with nothing
    if not _is_object(body) and (body or not _UPLOAD.search(url)):
        raise _no_object(body, str(answer.headers.get("Content-Type", "")))


def _no_object(body: bytes, kind: str) -> AnswerError:
    start = body.lstrip()[:1]
    if start == b"<" or "html" in kind:
        return AnswerError(
            "denied", "answers with a web page and not as MLflow does: is tracking.uri right, or is a login before it?"
        )
    if start == b"{":
        return AnswerError("away", "broke off in the middle of its answer")
    return AnswerError("denied", "does not answer as MLflow does: is tracking.uri right?")


def _redirect(url: str, location: str) -> str:
    """Where to, without path and account: a login page is given the address that was asked for."""
    target = urlsplit(urljoin(url, location))
    if not location or not target.hostname:
        return "redirects to nowhere: is tracking.uri right?"
    port = "" if target.port is None else f":{target.port}"
    to = f"{target.scheme}://{target.hostname}{port}"
    if (target.scheme, target.netloc) == urlsplit(url)[:2]:
        return f"redirects to {to}{target.path}, which MLflow does not do: is tracking.uri right?"
    return f"redirects to {to}, where nothing was sent: if that is the server, call it so (tracking.uri={to})"


def _read(answer: Any, largest: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in answer.iter_content(65536):
        parts.append(part)
        size += len(part)
        if size > largest:
            raise AnswerError("away", f"sends more than {largest >> 20} MB as its answer, which MLflow does not")
    # what `Response.content` would have kept
    answer._content = b"".join(parts)
    return answer._content


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False


def _phrase(status: int) -> str:
    words = http.client.responses.get(status, "")
    return f"{status} ({words})" if words else str(status)


def _retry_after(answer: Any) -> float:
    given = str(answer.headers.get("Retry-After", ""))
    return float(given) if given.isdecimal() else 0.0

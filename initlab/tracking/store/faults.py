"""Classifies failed store calls: retry later, refused for good, run missing, access denied; with readable reasons."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from initlab.core.exchange import LateError
from initlab.core.redact import redact_passwords
from initlab.errors import StoreError
from initlab.tracking.store.account import account
from initlab.tracking.store.answers import AnswerError
from initlab.tracking.store.location import describe_location, is_server
from initlab.tracking.store.quiet import silence_mlflow

Fault = Literal["away", "refused", "gone", "denied"]
_CERT_PATH = "MLFLOW_TRACKING_SERVER_CERT_PATH"
# exception names, codes and words in messages, and a sentence that says what to do; the first match counts.
# Here the server answers, and repeating the call does not help
_DENIED: tuple[tuple[frozenset[str], str], ...] = (
    (
        frozenset({"Invalid Host header"}),
        "does not answer to this name: start it with --allowed-hosts NAME, or call it by a name that it knows"
        " (tracking.uri=)",
    ),
    (frozenset({"UNAUTHENTICATED"}), "{refuses}: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
    (
        frozenset({"PERMISSION_DENIED"}),
        "does not permit this to {user}: ask its administrator for EDIT on the experiment, or choose another"
        " (tracking.experiment=)",
    ),
    (frozenset({"certificate has expired"}), "has a TLS certificate that has expired: it has to be renewed there"),
    (
        frozenset({"certificate is not yet valid"}),
        "has a TLS certificate that is not valid yet: is the clock of this machine right?",
    ),
    (
        frozenset({"Hostname mismatch", "IP address mismatch"}),
        "has a TLS certificate for another name: call it by that (tracking.uri=)",
    ),
    (
        frozenset({"self-signed certificate", "self signed certificate", "unable to get local issuer"}),
        f"has a TLS certificate that nobody known here has signed: set {_CERT_PATH}=FILE.pem to it, or to its"
        " authority's",
    ),
    (frozenset({"CERTIFICATE_VERIFY_FAILED"}), "has a TLS certificate that cannot be verified"),
    (
        frozenset({"suitable TLS CA certificate bundle"}),
        f"cannot be verified: {_CERT_PATH} names no file of certificates",
    ),
    (frozenset({"WRONG_VERSION_NUMBER"}), "does not speak TLS: say http:// (tracking.uri=)"),
)
# the same for failures that may be temporary
_KNOWN: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"disk is full", "No space left"}), "has no space left on its disk"),
    (frozenset({"database is locked"}), "is locked by another program"),
    (
        frozenset({"out-of-date database schema", "Can't locate revision identified by"}),
        "has the tables of another MLflow: copy it, then run mlflow db upgrade with its URI, or install the MLflow that"
        " wrote it",
    ),
    (frozenset({"readonly database", "Read-only file system"}), "cannot be written to"),
    (
        frozenset({"ProxyError"}),
        "did not answer through the proxy: are HTTP_PROXY and HTTPS_PROXY right? NO_PROXY=NAME goes around them",
    ),
    (
        frozenset({"NameResolutionError", "gaierror"}),
        "did not answer: its name is not known here; check tracking.uri, or the network",
    ),
    (frozenset({"Timeout", "ReadTimeout", "ConnectTimeout"}), "did not answer in time"),
    (
        frozenset({"IncompleteRead", "ChunkedEncodingError", "ContentDecodingError", "InvalidChunkLength"}),
        "broke off in the middle of its answer",
    ),
    (frozenset({"BadStatusLine", "LineTooLong"}), "does not speak HTTP: is it https:// (tracking.uri=)?"),
    (
        frozenset({"ConnectionError", "ConnectionRefusedError", "NewConnectionError"}),
        "did not answer",
    ),
)
_REFUSED = frozenset({"INVALID_PARAMETER_VALUE", "MALFORMED_REQUEST"})
_GONE = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"})


class StoreFaultError(StoreError):
    """A failed call of the store.

    `kind` is `away` (no contact, busy, full: try again later), `refused` (this very content can never be stored),
    `gone` (the run does not exist there) or `denied` (the server refuses the account or the host name: a person has to
    act, and the waiting records can be sent later).
    """

    def __init__(self, kind: Fault, reason: str, *, retry_after: float = 0.0) -> None:
        # what a server or a driver says may repeat the address, with its password
        self.reason = redact_passwords(reason)
        super().__init__(self.reason)
        self.kind: Fault = kind
        #: seconds after which a server asks to be asked again; 0 where it does not say
        self.retry_after = retry_after


@contextlib.contextmanager
def translate_errors(uri: str, *, needs: Path | None = None) -> Generator[None]:
    with silence_mlflow():
        try:
            if needs is not None and not needs.exists():
                # an open connection would keep writing into the deleted file
                raise StoreFaultError("away", f"{describe_location(uri)} was deleted")
            yield
        except StoreFaultError:
            raise
        except Exception as error:
            raise classify_error(error, uri) from error


def classify_error(error: Exception, uri: str) -> StoreFaultError:
    """Classify `error`; the reason is a sentence that begins with the location of the store."""
    place = describe_location(uri)
    # a server may repeat what it was sent
    secrets = _secrets(uri)
    chain = [error]
    while (below := chain[-1].__cause__ or chain[-1].__context__) is not None and isinstance(below, Exception):
        chain.append(below)
    for link in chain:
        if isinstance(link, AnswerError):
            return StoreFaultError(link.kind, f"{place} {link.sentence}", retry_after=link.retry_after)
        if isinstance(link, LateError):
            return StoreFaultError("away", f"{place} did not answer in time")
    kinds = {type(link).__name__ for link in chain}
    text = " ".join(str(link) for link in chain)
    code = str(getattr(error, "error_code", ""))
    tables: list[tuple[Fault, tuple[tuple[frozenset[str], str], ...]]] = [("away", _KNOWN)]
    if is_server(uri):
        tables.insert(0, ("denied", _DENIED))
    for kind, known in tables:
        for signs, sentence in known:
            if kinds & signs or code in signs or any(sign in text for sign in signs):
                return StoreFaultError(kind, f"{place} {_fill_template(sentence, uri)}")
    first_line = next(iter(str(error).splitlines()), "")[:300]
    for secret in secrets:
        first_line = first_line.replace(secret, "***")
    if code in _REFUSED or (code == "BAD_REQUEST" and is_server(uri)):
        return StoreFaultError("refused", f"{place} refused it: {first_line}")
    if code in _GONE:
        return StoreFaultError("gone", f"{place}: {first_line}")
    return StoreFaultError("away", f"{place}: {first_line or type(error).__name__}")


def _secrets(uri: str) -> list[str]:
    """The password and the token for the server at `uri`, as they are and as they are sent."""
    if not is_server(uri):
        return []
    known = account(uri)
    sent = base64.standard_b64encode(f"{known.user}:{known.password}".encode()).decode() if known.password else ""
    return [word for word in (sent, quote(known.password, safe=""), known.password, known.token) if word]


def _fill_template(sentence: str, uri: str) -> str:
    user = account(uri).user
    refuses = f"does not let {user} in (wrong user or password)" if user else "lets nobody in without an account"
    return sentence.replace("{refuses}", refuses).replace("{user}", user or "you")

"""Passwords are in no file that is shared, and names from outside are text in every page."""

from __future__ import annotations

import csv
import os
import threading
import time
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from initlab.core.error_line import escape_control_characters
from initlab.core.redact import redact_passwords
from initlab.core.text import safe_cell
from initlab.operations.schedule.child import Process, log_of
from tests.cli.driver import initlab
from tests.tracking.tracking_cases import free_port

pytestmark = pytest.mark.process

SECRET = "S3cr.et-of:nobody"
TINY = ("data=digits", "data.limit=200", "model=mlp", "model.width=16", "trainer.epochs=1")
HOSTILE = "<script>alert('x')</script>"


def holding(folder: Path, secret: str) -> dict[str, int]:
    """Files that hold `secret`, with their permissions."""
    found = (f for f in folder.rglob("*") if f.is_file() and secret.encode() in f.read_bytes())
    return {f.name: f.stat().st_mode & 0o777 for f in found}


@pytest.mark.parametrize("where", ["typed", "environment"])
def test_a_password_stays_where_it_is_needed_and_with_its_owner(workdir: Path, where: str) -> None:
    uri = f"http://lab:{SECRET}@127.0.0.1:{free_port()}"
    typed = [f"tracking.uri={uri}", f"study.storage=postgresql://lab:{SECRET}@127.0.0.1:9/x"]
    extra = {} if where == "typed" else {"MLFLOW_TRACKING_URI": uri}
    done = initlab(*TINY, "tracking.drain_seconds=1", *(typed if where == "typed" else []), cwd=workdir, **extra)
    assert "training goes on" in done.stdout + done.stderr or "wait" in done.stdout, done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert list(workdir.rglob("report.html")) and list(workdir.rglob("config.yaml"))
    # what is to be sent later names the server that it is for, for its owner's eyes alone
    held = holding(workdir, SECRET)
    assert held.keys() <= {"header.json", "header.copy.json"} and set(held.values()) <= {0o600}


def test_a_study_keeps_the_password_for_its_workers_alone(workdir: Path) -> None:
    uri = f"http://lab:{SECRET}@127.0.0.1:{free_port()}"
    done = initlab(
        "-m", *TINY, "probes=none", "init=he,xavier", f"tracking.uri={uri}", "tracking.drain_seconds=1", cwd=workdir
    )
    assert SECRET not in done.stdout + done.stderr
    modes = holding(workdir, SECRET)
    assert set(modes.values()) <= {0o600}, modes


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://lab:a@b:c@host/x", "postgresql://lab:***@host/x"),
        ("see http://u:p@h:5000/x and https://v:q@i", "see http://u:***@h:5000/x and https://v:***@i"),
        ("postgresql://host/x?user=a&password=b&c=d", "postgresql://host/x?user=a&password=***&c=d"),
        ("sqlite:///a.db", "sqlite:///a.db"),
    ],
)
def test_passwords_are_masked(text: str, shown: str) -> None:
    assert redact_passwords(text) == shown


class Elements(HTMLParser):
    """The elements of a page, and the attributes that would run something."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.handlers: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.handlers += [(tag, key) for key, value in attrs if key.startswith("on") or "javascript:" in (value or "")]


def test_names_from_outside_are_text_in_every_page(workdir: Path) -> None:
    folder = workdir / "im"
    for number, name in enumerate(("<img src=x onerror=alert(1)>", "<b>bold", "plain")):
        (folder / name).mkdir(parents=True)
        for k in range(8):
            pixels = np.full((8, 8), 80 * number + k, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"<i>{k}.png")
    run = (
        "data=image_folder", f"data.path={folder}", "data.size=8", "model=mlp", "model.width=8", "trainer.epochs=1",
        f'tracking.run_name="{HOSTILE}"', f'+tracking.tags={{note: "{HOSTILE}"}}',
    )  # fmt: skip
    done = initlab("-m", *run, "init=he,xavier", "replicas=2", "study.name=pages", cwd=workdir)
    assert done.returncode == 0, done.stdout + done.stderr
    compared = initlab("compare", "study=pages", f"out={workdir / 'out'}", cwd=workdir)
    assert compared.returncode == 0, compared.stdout + compared.stderr
    single = initlab(*run, cwd=workdir)
    assert single.returncode == 0, single.stdout + single.stderr
    pages = [p for p in workdir.rglob("*.html") if "mlruns" in p.parts or "out" in p.parts]
    assert {p.name for p in pages} >= {"report.html", "comparison.html"}
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert HOSTILE not in text and "<img src=x" not in text and "<b>bold" not in text, page
        found = Elements()
        found.feed(text)
        assert not found.handlers and "script" not in found.names and {"svg", "table"} <= found.names, page
    assert any("&lt;script&gt;" in p.read_text(encoding="utf-8") for p in pages)


def test_a_terminal_is_told_nothing_that_it_would_obey(workdir: Path) -> None:
    assert escape_control_characters("a\x1b[2Jb\0c\u202ed é 漢") == r"a\x1b[2Jb\x00c\x202ed é 漢"
    done = initlab("data=\x1b]0;owned\x07", cwd=workdir)
    assert done.returncode == 2 and "\x1b" not in done.stderr and r"\x1b" in done.stderr


def test_a_folder_of_a_stranger_does_not_reach_hydra(workdir: Path) -> None:
    (workdir / "theirs" / "experiment").mkdir(parents=True)
    (workdir / "theirs" / "experiment" / "good.yaml").write_text(
        "# @package _global_\nhydra:\n  callbacks:\n    evil: {_target_: os.system, command: touch canary}\n"
    )
    done = initlab("hydra.searchpath=[file://theirs]", "experiment=good", cwd=workdir)
    assert done.returncode == 2 and "hydra.callbacks.evil: a file of" in done.stderr, done.stderr
    by_folder = initlab("--config-dir", "theirs", "experiment=good", cwd=workdir)
    assert by_folder.returncode == 2 and "command line" in by_folder.stderr
    assert [p.name for p in workdir.iterdir()] == ["theirs"]


@pytest.mark.parametrize(
    "key",
    ["tracking.run_name", "+tracking.tags.where", "tracking.experiment", "data.path", "+model.note", "compare.out"],
)
def test_an_address_with_a_password_reaches_no_name_tag_parameter_or_path(key: str, workdir: Path) -> None:
    uri = f"http://lab:{SECRET}@127.0.0.1:{free_port()}"
    more = ["data=npz"] if key.startswith("data") else ["data=digits"]
    done = initlab(*more, "model=mlp", f"tracking.uri={uri}", key + "=at ${tracking.uri}", cwd=workdir)
    assert done.returncode == 2 and "holds a password" in done.stderr and SECRET not in done.stdout + done.stderr
    assert not list(workdir.iterdir())


@pytest.mark.parametrize(
    "variable", ["MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "PGPASSWORD"]
)
def test_a_secret_of_the_environment_is_masked_in_whatever_text(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "corr ect/horse+7")
    for text in ("the server said corr ect/horse+7", "GET /x?p=corr%20ect%2Fhorse%2B7 failed", "['corr ect/horse+7']"):
        assert "horse" not in redact_passwords(text) and "***" in redact_passwords(text)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Authorization: Basic bGFiOmhvcnNlaG9yc2U=", "bGFi"),
        ("Bearer eyJhbGciOi.horse", "horse"),
        ('{"password": "horse", "user": "lab"}', "horse"),
        ("connection to host=h user=u password=horse failed", "horse"),
        ("https://h/x?api_key=horse&token=horse", "horse"),
    ],
)
def test_secrets_of_a_driver_or_a_server_are_masked(text: str, kept: str) -> None:
    assert kept not in redact_passwords(text)


class Failing(BaseHTTPRequestHandler):
    """Answers every call with an error that repeats what it was asked."""

    status = 500

    def _fail(self) -> None:
        host = self.headers.get("Host", "")
        said = f"cannot serve http://lab:{SECRET}@{host}{self.path} {self.headers.get('Authorization')}".encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST = do_PUT = do_PATCH = _fail  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("status", [400, 403, 500, 503])
def test_an_error_of_a_server_is_told_without_its_password(status: int, workdir: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answer", (Failing,), {"status": status}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        uri = f"http://lab:{SECRET}@127.0.0.1:{server.server_port}"
        shorter = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
        done = initlab(*TINY, f"tracking.uri={uri}", "tracking.drain_seconds=2", cwd=workdir, **shorter)
        later = initlab("sync", cwd=workdir, **shorter)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    said = done.stdout + done.stderr + later.stdout + later.stderr
    assert SECRET not in said and "bGFi" not in said, said
    assert set(holding(workdir, SECRET).values()) <= {0o600}
    assert not [f for f in workdir.rglob("*") if f.is_file() and b"bGFi" in f.read_bytes()]


def test_a_lax_umask_opens_nothing(workdir: Path) -> None:
    before = os.umask(0o000)
    try:
        uri = f"http://lab:{SECRET}@127.0.0.1:{free_port()}"
        initlab(*TINY, f"tracking.uri={uri}", "tracking.drain_seconds=1", cwd=workdir)
        initlab("-m", *TINY, "init=he,xavier", f"tracking.uri={uri}", "tracking.drain_seconds=1", cwd=workdir)
    finally:
        os.umask(before)
    modes = holding(workdir, SECRET)
    assert modes and set(modes.values()) <= {0o600}, modes


def test_a_schedules_process_shows_no_password(workdir: Path) -> None:
    run = ["init=he,xavier", f"study.storage=postgresql://lab:{SECRET}@127.0.0.1:9/x", *TINY, "probes=none"]
    process = Process(run, "nightly", workdir)
    shown = " ".join(psutil.Process(process.pid).cmdline())
    assert SECRET not in shown and "study.name=nightly" in shown
    while process.code() is None:
        time.sleep(0.1)
    log = log_of(workdir, "nightly").read_text()
    # it arrived all the same: nobody listens there
    assert process.code() == 2 and "study.storage=postgresql" in log and "cannot be used" in log and SECRET not in log


def test_cells_that_a_spreadsheet_would_compute_are_text(workdir: Path) -> None:
    for name in ("=cmd|'/C calc'!A0", "+1+1", "@SUM(A1)", "-2+3", "\t=1"):
        assert str(safe_cell(name)).startswith("'")
    tag = "tracking.run_name='=1+1'"
    done = initlab("-m", *TINY, "probes=none", "init=he,xavier", tag, "study.name=s", cwd=workdir)
    assert done.returncode == 0, done.stderr
    assert initlab("compare", "study=s", "out=pages", cwd=workdir).returncode == 0
    tables = [*workdir.rglob("comparison.csv"), *workdir.rglob("leaderboard.csv")]
    assert len(tables) >= 2
    cells = [c for t in tables for row in csv.reader(t.read_text().splitlines()) for c in row]
    assert not [c for c in cells if c[:1] in ("=", "+", "@", "\t") or (c[:1] == "-" and not c[1:2].isdigit())]

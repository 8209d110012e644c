"""A server that says no: told in one line before anything is trained, and waited for when it comes in mid-run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from initlab.errors import ConfigError
from initlab.spec import TrackingSettings
from initlab.tracking import check_access
from initlab.tracking.upkeep.sync import sync
from tests.cli.driver import SMALL, initlab
from tests.deploy.stack import Stack
from tests.deploy.tls_front import TlsFront, certificate
from tests.tracking.tracking_cases import begin, record

pytestmark = [pytest.mark.process, pytest.mark.timeout(280), pytest.mark.xdist_group("stack")]

# a proxy of the machine that runs the tests is none of theirs
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _environment(stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for key in (*PROXIES, *map(str.lower, PROXIES), "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_SERVER_CERT_PATH"):
        monkeypatch.delenv(key, raising=False)
    for key, value in stack.environ().items():
        monkeypatch.setenv(key, value)


@pytest.fixture
def front(stack: Stack, tmp_path: Path) -> Iterator[TlsFront]:
    running = TlsFront(certificate(tmp_path), stack.port)
    yield running
    running.shut()


@pytest.fixture
def expired(stack: Stack, tmp_path: Path) -> Iterator[TlsFront]:
    running = TlsFront(certificate(tmp_path, expired=True), stack.port)
    yield running
    running.shut()


def denial(uri: str | None, workdir: Path, **more: str) -> str:
    with pytest.raises(ConfigError) as caught:
        check_access(TrackingSettings(uri=uri, **more), workdir=workdir)
    assert caught.value.key == "tracking.uri" and len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_whoever_has_an_account_is_let_in(stack: Stack, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_access(TrackingSettings(), workdir=workdir)
    # as MLflow finds them: in the URI, and in its file
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    assert "does not let admin in" in denial(stack.uri, workdir)
    check_access(TrackingSettings(uri=stack.uri.replace("://", f"://admin:{stack.password}@")), workdir=workdir)
    (Path.home() / ".mlflow").mkdir()
    (Path.home() / ".mlflow" / "credentials").write_text(
        f"[mlflow]\nmlflow_tracking_username = admin\nmlflow_tracking_password = {stack.password}\n"
    )
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    check_access(TrackingSettings(), workdir=workdir)


def test_account(stack: Stack, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
    told = denial(None, workdir)
    assert "does not let admin in (wrong user or password)" in told and "MLFLOW_TRACKING_PASSWORD" in told
    assert "wrong " not in told.replace("wrong user", "")
    inside = denial(stack.uri.replace("://", "://admin:sesame@"), workdir)
    assert "sesame" not in inside and "admin:***@" in inside
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    assert "lets nobody in without an account" in denial(None, workdir)


def test_permission(stack: Stack, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.account("ada", "correct-horse-battery")
    code, made = stack.ask("/api/2.0/mlflow/experiments/create", {"name": "closed"})
    assert code == 200
    closed = {"resource_type": "experiment", "resource_id": made["experiment_id"], "permission": "DENY"}
    code, told = stack.ask("/api/3.0/mlflow/users/permissions/grant", {"username": "ada", **closed})
    assert code == 200, told
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "correct-horse-battery")
    check_access(TrackingSettings(experiment="another"), workdir=workdir)
    told = denial(None, workdir, experiment="closed")
    assert "does not permit this to ada" in told and "tracking.experiment=" in told


def test_name(stack: Stack, workdir: Path) -> None:
    # 127.0.0.1 by a name that is resolved here and that the server was not told of
    told = denial(stack.uri.replace("127.0.0.1", "127.1"), workdir)
    assert "--allowed-hosts" in told
    assert stack.ask("/api/2.0/mlflow/experiments/search", {"max_results": 1}, host="evil.test")[0] == 403
    assert stack.ask("/api/2.0/mlflow/experiments/search", {"max_results": 1}, host="lab.test")[0] == 200


def test_certificates(front: TlsFront, expired: TlsFront, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path = workdir.parent
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH=FILE.pem" in denial(front.uri, workdir)
    assert "does not speak TLS" in denial(os.environ["MLFLOW_TRACKING_URI"].replace("http:", "https:"), workdir)
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(tmp_path / "good-127.0.0.1.pem"))
    check_access(TrackingSettings(uri=front.uri), workdir=workdir)
    assert "another name" in denial(front.uri.replace("127.0.0.1", "localhost"), workdir)
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(tmp_path / "expired-127.0.0.1.pem"))
    assert "has expired" in denial(expired.uri, workdir)
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(tmp_path / "absent.pem"))
    assert "names no file of certificates" in denial(front.uri, workdir)


def test_what_may_pass_by_itself_stops_nobody(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for uri in ("http://127.0.0.1:9", "http://nowhere.invalid:5000"):
        check_access(TrackingSettings(uri=uri), workdir=workdir)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    check_access(TrackingSettings(uri="http://lab.test:5000"), workdir=workdir)
    sink = begin(workdir, "http://lab.test:5000", drain=30)
    sink.write(record(0))
    told = sink.close("finished")
    assert "did not answer through the proxy" in told and "NO_PROXY" in told and "1 record and 1 artifact wait" in told
    monkeypatch.delenv("HTTP_PROXY")
    (left,) = sync(workdir, TrackingSettings(uri="http://nowhere.invalid:5000")).runs
    assert left.outcome == "waits" and "its name is not known here" in left.reason


def test_the_command_line_says_it_before_it_trains(
    stack: Stack, expired: TlsFront, workdir: Path, tmp_path: Path
) -> None:
    wrong = stack.environ(password="wrong")
    trusted = {**stack.environ(uri=expired.uri), "MLFLOW_TRACKING_SERVER_CERT_PATH": str(next(tmp_path.glob("exp*")))}
    for environ, words in (
        (wrong, "does not let admin in"),
        (stack.environ(uri=stack.uri.replace("127.0.0.1", "127.1")), "--allowed-hosts"),
        (trusted, "has expired"),
    ):
        # a run and a study ask alike: both for the password alone
        for command in (SMALL, ("-m", *SMALL, "init=he,xavier"))[: 2 if environ is wrong else 1]:
            done = initlab(*command, cwd=workdir, **environ)
            assert done.returncode == 2, done.stdout + done.stderr
            assert words in done.stderr and len(done.stderr.splitlines()) == 1 and "wrong\n" not in done.stderr
    assert not list(workdir.rglob("plan.json")) and not list(workdir.rglob("records.jsonl"))
    assert not (workdir / "mlflow.db").exists()


def test_a_password_that_becomes_wrong_loses_nothing(
    stack: Stack, workdir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "changed-in-the-meantime")
    sink = begin(workdir, stack.uri, drain=60)
    for serial in range(20):
        sink.write(record(serial))
    told = sink.close("finished")
    assert "does not let admin in" in told and "20 records and 1 artifact wait" in told
    assert told.endswith("python -m initlab sync sends them")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", stack.password)
    (sent,) = sync(workdir, TrackingSettings()).runs
    assert (sent.outcome, sent.records, sent.status) == ("sent", 20, "finished")
    code, found = stack.ask(f"/api/2.0/mlflow/metrics/get-history?run_id={sent.run_id}&metric_key=train/loss")
    assert code == 200
    assert [(m["step"], m["value"]) for m in found["metrics"]] == [(s, 1 / (s + 1)) for s in range(20)]

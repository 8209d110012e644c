"""Servers that are slow, lie, or are no MLflow: what is said, how the command ends, and that no record is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from initlab.errors import ConfigError
from initlab.spec import TrackingSettings
from initlab.tracking import check_access, spools
from initlab.tracking.record.start import start
from initlab.tracking.store import access
from initlab.tracking.store.faults import StoreFaultError
from initlab.tracking.store.health import check_server
from tests.cli.driver import SMALL, environment, initlab
from tests.tracking.peers import FIXED, Peer, certificate, peer
from tests.tracking.tracking_cases import Server, expected, header, metrics, record, rows

pytestmark = pytest.mark.process

SECRET = "correct-horse-battery"
#: what the sentence says of each, and whether a person has to act (exit code 2 before training)
TABLE: dict[str, tuple[str, bool]] = {
    "drip": ("did not answer in time", False),
    "drip in the body": ("did not answer in time", False),
    "silent": ("did not answer in time", False),
    "reset": ("did not answer", False),
    "closes in mid-upload": ("did not answer", False),
    "429": ("answered 429 (Too Many Requests)", False),
    "429 with Retry-After": ("answered 429 (Too Many Requests)", False),
    "429 with a long Retry-After": ("answered 429 (Too Many Requests)", False),
    "500 with HTML": ("answered 500 (Internal Server Error)", False),
    "500 that repeats the account": ("answered 500 (Internal Server Error)", False),
    "400 that repeats the account": ("", False),
    "502 of a proxy": ("answered 502 (Bad Gateway)", False),
    "503": ("answered 503 (Service Unavailable)", False),
    "404 of a proxy": ("answered 404 (Not Found), which is not MLflow's", False),
    "half a JSON": ("broke off in the middle of its answer", False),
    "wrong length": ("broke off in the middle of its answer", False),
    "broken chunks": ("broke off in the middle of its answer", False),
    "no HTTP": ("does not speak HTTP", False),
    "redirect elsewhere": ("redirects to http://127.0.0.1:", True),
    "redirect with 302": ("redirects to http://127.0.0.1:", True),
    "redirect to nowhere": ("redirects to nowhere", True),
    "redirect loop": ("which MLflow does not do", True),
    "login page": ("answers with a web page", True),
    "empty body": ("does not answer as MLflow does", True),
    "another program": ("does not answer as MLflow does", True),
    "huge body": ("as its answer, which MLflow does not", False),
}


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    said = {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": SECRET}
    for key, value in said.items():
        monkeypatch.setenv(key, value)
    return said


@pytest.fixture
def elsewhere() -> Iterator[Peer]:
    with peer(behaviour="login page") as other:
        yield other


def check(uri: str, workdir: Path) -> tuple[str, bool]:
    """The sentence before training, and whether it is refused."""
    try:
        return check_access(TrackingSettings(uri=uri), workdir=workdir), False
    except ConfigError as error:
        return str(error), True


def is_clear(sentence: str) -> bool:
    """One line of text: no page, no account, nothing of how it is programmed."""
    bad = (SECRET, "YWRhOmNvcn", "<", "Traceback", "Error(", "HTTPConnection", "please")
    return "\n" not in sentence.strip() and not any(word in sentence for word in bad)


def test_the_table_has_every_way() -> None:
    assert set(TABLE) == set(FIXED)


@pytest.mark.parametrize("way", list(TABLE))
def test_the_check_before_training_says_what_answers(
    way: str, tmp_path: Path, account: dict[str, str], elsewhere: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "_SECONDS", 1.5)
    with peer(behaviour=way) as one:
        one.elsewhere = elsewhere.uri
        sentence, refused = check(one.uri, tmp_path)
        assert one.requests == 1
    said, needs_a_person = TABLE[way]
    assert (said in sentence, refused) == (True, needs_a_person), sentence
    assert is_clear(sentence), sentence
    assert elsewhere.requests == 0 and elsewhere.accounts == []


def test_addresses_that_nothing_answers(tmp_path: Path, account: dict[str, str]) -> None:
    with peer(behaviour="silent") as one:
        closed = one.uri
    with peer(behaviour="500 with HTML") as plain, peer(behaviour="empty body", tls=certificate(tmp_path)) as tls:
        for uri, said, refused in (
            (closed, "did not answer", False),
            ("http://no-such-name.invalid:5000", "its name is not known here", False),
            (plain.uri.replace("http:", "https:"), "does not speak TLS", True),
            (tls.uri, "did not answer", False),
            (tls.uri.replace("http:", "https:"), "TLS certificate", True),
        ):
            sentence, was = check(uri, tmp_path)
            assert (said in sentence, was) == (True, refused), sentence
            assert is_clear(sentence), sentence


@pytest.mark.parametrize("way", list(TABLE))
def test_sync_says_it_and_the_records_arrive_once_the_peer_is_well(
    way: str, workdir: Path, server: Server, account: dict[str, str], elsewhere: Peer
) -> None:
    with peer(server.port, behaviour=way) as one:
        one.elsewhere = elsewhere.uri
        settings = TrackingSettings(uri=one.uri, offline=True)
        sink = start(header(way), settings, workdir=workdir, files={"config.yaml": "seed: 0\n"})
        for serial in range(40):
            sink.write(record(serial))
        sink.close("finished")
        done = initlab("sync", cwd=workdir, MLFLOW_HTTP_REQUEST_TIMEOUT="2", **account)
        assert done.returncode == 1, done.stdout + done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) == 1 and "40 records, 1 artifacts still wait" in lines[0]
        assert TABLE[way][0] in lines[0] and is_clear(lines[0]), lines[0]
        assert all(is_clear(line) for line in done.stderr.splitlines()), done.stderr
        assert elsewhere.requests == 0 and elsewhere.accounts == []
        one.behaviour = "well"
        done = initlab("sync", cwd=workdir, **account)
        assert done.returncode == 0, done.stdout + done.stderr
    assert spools(workdir) == ()
    run_id = str(
        rows(server.database, "SELECT run_uuid FROM tags WHERE key = 'initlab.uid' AND value = ?", sink.uid)[0][0]
    )
    assert metrics(server.database, run_id) == expected(40)
    assert rows(server.database, "SELECT status FROM runs WHERE run_uuid = ?", run_id) == [("FINISHED",)]


@pytest.mark.parametrize("way", ["login page", "empty body", "half a JSON", "redirect elsewhere", "502 of a proxy"])
@pytest.mark.parametrize("after", [2, 4, 5, 6, 7, 8])
def test_a_peer_that_begins_to_lie_in_the_middle_has_nothing_that_counts_as_delivered(
    way: str, after: int, workdir: Path, server: Server, elsewhere: Peer
) -> None:
    """Whichever call it is that gets the false answer: artifacts, records, tags or the end of the run."""
    from initlab.tracking.upkeep.sync import sync

    class Turning(Peer):
        """Well for the first requests, then `way`, whatever the connection."""

        turn = after

        def _pass_on(self, inner: object, head: bytes) -> None:
            closing = head.replace(b"Connection: keep-alive", b"Connection: close")
            if self.requests > self.turn:
                self.behaviour = way
                self._misbehave(inner, head)  # type: ignore[arg-type]
            else:
                super()._pass_on(inner, closing)  # type: ignore[arg-type]

    one = Turning(server.port)
    one.elsewhere = elsewhere.uri
    try:
        sink = start(header("turning"), TrackingSettings(uri=one.uri, offline=True), workdir=workdir,
                     files={"config.yaml": "seed: 0\n", "more.txt": "more"})  # fmt: skip
        for serial in range(1200):
            sink.write(record(serial))
        sink.close("finished")
        first = sync(workdir, TrackingSettings())
        assert first.waiting == 1 and is_clear(first.lines()[0]), first.lines()
        one.behaviour, one.turn = "well", 10**6
        assert sync(workdir, TrackingSettings()).waiting == 0
    finally:
        one.close()
    found = rows(server.database, "SELECT r.run_uuid, r.status FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid"
                 " WHERE t.key = 'initlab.uid' AND t.value = ?", sink.uid)  # fmt: skip
    assert [status for _, status in found] == ["FINISHED"]
    assert metrics(server.database, str(found[0][0])) == expected(1200)
    kept = sorted(p.name for p in server.home.rglob(f"{found[0][0]}/artifacts/*"))
    assert kept == ["config.yaml", "more.txt"]


@pytest.mark.parametrize("way", ["silent", "drip", "502 of a proxy", "login page", "redirect loop", "empty body"])
def test_a_run_is_trained_beside_it_or_refused_before(way: str, workdir: Path, server: Server) -> None:
    said, refused = TABLE[way]
    with peer(server.port, behaviour=way) as one:
        place = f"tracking.uri={one.uri}"
        done = initlab(*SMALL, place, "tracking.drain_seconds=1.5", cwd=workdir, MLFLOW_HTTP_REQUEST_TIMEOUT="2")
        assert done.returncode == (2 if refused else 0), done.stdout + done.stderr
        assert said in done.stderr and "Traceback" not in done.stderr + done.stdout, done.stderr
        assert all(is_clear(line) for line in done.stderr.splitlines()), done.stderr
        if refused:
            assert spools(workdir) == () and len(done.stderr.splitlines()) == 1
            return
        (waiting,) = spools(workdir)
        assert (
            f"initlab: waiting for {one.uri}" in done.stderr and "initlab sync sends them" in done.stdout + done.stderr
        )
        one.behaviour = "well"
        assert initlab("sync", cwd=workdir).returncode == 0
    found = rows(server.database, "SELECT r.status FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid"
                 " WHERE t.key = 'initlab.uid' AND t.value = ?", waiting.uid)  # fmt: skip
    assert found == [("FINISHED",)]


@pytest.mark.parametrize("way", ["silent", "drip", "drip in the body"])
def test_ctrl_c_ends_the_wait_and_who_is_waited_for_is_said_first(way: str, workdir: Path) -> None:
    with peer(behaviour=way) as one:
        sink = start(header(), TrackingSettings(uri=one.uri, offline=True), workdir=workdir, files={})
        sink.close("finished")
        process = subprocess.Popen(
            [sys.executable, "-m", "initlab", "sync"], cwd=workdir, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
            env=environment(MLFLOW_HTTP_REQUEST_TIMEOUT="500"), text=True,
        )  # fmt: skip
        assert process.stderr is not None
        first = process.stderr.readline()
        assert first == f"initlab: waiting for {one.uri}, 500 s at most; Ctrl-C stops\n"
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=20)
        assert rest == "initlab: interrupted; what was not sent still waits here: python -m initlab sync goes on\n"
        assert process.returncode == 1
    assert len(spools(workdir)) == 1


@pytest.mark.parametrize("way", ["silent", "drip", "503", "redirect elsewhere", "login page"])
def test_doctor_asks_in_limited_time(way: str, elsewhere: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("initlab.tracking.store.health._TIMEOUT_SECONDS", 1.0)
    with peer(behaviour=way) as one:
        one.elsewhere = elsewhere.uri
        why, _ = check_server(one.uri)
    assert bool(why) == (way != "login page") and is_clear(why)
    assert elsewhere.requests == 0


def test_a_call_that_was_given_up_leaves_no_thread(workdir: Path) -> None:
    from initlab.core.exchange import LateError, exchange, has_left_exchanges
    from tests.tracking.tracking_cases import eventually

    def drip(_: object) -> None:
        import requests

        requests.get(one.uri, timeout=30)

    with peer(behaviour="drip in the body") as one:
        with pytest.raises(LateError):
            exchange(drip, peer=one.uri, seconds=0.5)
        eventually(lambda: not has_left_exchanges(), within=10)


def test_a_full_answer_is_judged_only_where_it_is_asked_for() -> None:
    """A program's own use of requests and MLflow sees what it always saw."""
    import requests

    from initlab.tracking.store.answers import AnswerError, judged

    with peer(behaviour="login page") as one:
        address = f"{one.uri}/api/2.0/mlflow/runs/get"
        with judged(), pytest.raises(AnswerError):
            requests.get(address, timeout=5)
        assert requests.get(address, timeout=5).status_code == 200


def test_a_faults_reason_holds_no_secret() -> None:
    assert SECRET not in StoreFaultError("away", f"http://ada:{SECRET}@host broke").reason
    assert os.environ.get("MLFLOW_TRACKING_PASSWORD", "") != SECRET

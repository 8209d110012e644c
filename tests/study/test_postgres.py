"""Studies on a real PostgreSQL: several workers, a killed one, claims without a common folder, and passwords."""

from __future__ import annotations

import os
import shutil
import signal
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage

from initlab.study.search import ledger
from initlab.study.search.storage import open_storage
from initlab.study.search.trials import ARM, WORKER
from tests.cli.driver import initlab
from tests.study.postgres_server import PASSWORD, Postgres
from tests.study.study_cases import TINY, broken, runs, states, the_study
from tests.study.test_studies import running, until

# one server for all of them
pytestmark = [pytest.mark.process, pytest.mark.timeout(280), pytest.mark.xdist_group("postgres")]


Opens = Callable[[str], RDBStorage]


def driven(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture
def opens() -> Iterator[Opens]:
    """Opens a storage whose connections are closed with the test."""
    opened: list[RDBStorage] = []

    def opens(url: str) -> RDBStorage:
        opened.append(open_storage(driven(url)))
        return opened[-1]

    yield opens
    for storage in opened:
        storage.engine.dispose()


def worker_of(workdir: Path, storage: RDBStorage) -> int | None:
    if not list((workdir / ".initlab" / "studies").glob("*/plan.json")):
        return None
    try:
        trials = the_study(workdir, storage).get_trials(states=(optuna.trial.TrialState.RUNNING,))
    except KeyError:
        return None
    return next((int(t.user_attrs[WORKER]) for t in trials if t.user_attrs.get(ARM)), None)


def test_a_grid_with_four_workers_of_which_one_is_killed(workdir: Path, postgres: Postgres, opens: Opens) -> None:
    url = postgres.create("grid")
    storage = opens(url)
    grid = ("init=he,xavier,lecun", "activation=relu,tanh", "replicas=2", "study.workers=4", f"study.storage={url}")
    with running(*TINY, "trainer.epochs=100", *grid, cwd=workdir) as study:
        os.kill(until(lambda: worker_of(workdir, storage)), signal.SIGKILL)
        out, _ = study.communicate(timeout=240)
    assert study.returncode == 0, out
    assert "a worker died (signal 9)" in out and "6 complete" in out
    assert broken(the_study(workdir, storage), runs(workdir), arms=6, seeds=2) == []
    assert not (workdir / ".initlab" / "studies.db").exists()

    # the password is where it is needed, and nobody else reads it there
    (plan,) = (workdir / ".initlab" / "studies").glob("*/plan.json")
    assert stat.S_IMODE(plan.stat().st_mode) == 0o600
    holds = [p for p in workdir.rglob("*") if p.is_file() and PASSWORD.encode() in p.read_bytes()]
    assert holds == [plan]
    assert PASSWORD not in out

    # the same command again reports; without a URL the study is where it was begun
    again = initlab("-m", *TINY, "trainer.epochs=100", *grid[:-1], cwd=workdir)
    assert again.returncode == 0 and "6 done before, 0 new" in again.stdout, again.stdout + again.stderr
    other = postgres.create("other")
    moved = initlab("-m", *TINY, "trainer.epochs=100", *grid[:-1], f"study.storage={other}", cwd=workdir)
    assert moved.returncode == 2 and "the study was started in" in moved.stderr and PASSWORD not in moved.stderr


def test_no_trial_is_taken_or_begun_anew_twice(tmp_path: Path, postgres: Postgres, opens: Opens) -> None:
    url = postgres.create("claims")
    name, trials, takers = "claims", 12, 6
    study = optuna.create_study(study_name=name, storage=opens(url))
    for _ in range(trials):
        study.enqueue_trial({})

    def take(number: int) -> list[int]:
        # a machine of its own: nothing is shared but the server
        folder = tmp_path / str(number)
        folder.mkdir()
        mine = optuna.load_study(study_name=name, storage=opens(url))
        taken: list[int] = []
        while trials := ledger.claim(mine, most=2):
            taken += [trial.number for trial in trials]
        return taken

    def give_back(number: int) -> int:
        mine = optuna.load_study(study_name=name, storage=opens(url))
        return sum(ledger.begin_anew(mine, t, tmp_path / str(number), died=True) for t in mine.get_trials()[:trials])

    with ThreadPoolExecutor(takers) as pool:
        taken = Counter(n for numbers in pool.map(take, range(takers)) for n in numbers)
        assert taken == dict.fromkeys(range(trials), 1)
        assert states(study) == {"RUNNING": trials}
        assert sum(pool.map(give_back, range(takers))) == trials
    assert states(study) == {"WAITING": trials}
    assert len(study.get_trials()) == 2 * trials


def test_a_server_that_lets_nobody_in_is_told_before_anything_is_written(workdir: Path, postgres: Postgres) -> None:
    url = postgres.create("refused")
    for storage, parts in (
        (postgres.url("refused", password="battery-staple"), ["password authentication failed"]),
        (url.replace(str(postgres.port), "1"), ["refused"]),
        (postgres.url("nosuch"), ["nosuch", "does not exist"]),
        (f"{url}:x:y", ["study.storage"]),
        ("oracle+nodriver://u:battery-staple@h/d", ["is not a database URL"]),
    ):
        done = initlab("-m", *TINY, "init=he,xavier", f"study.storage='{storage}'", cwd=workdir)
        assert done.returncode == 2, (storage, done.stdout, done.stderr)
        assert all(p in done.stderr for p in ("study.storage=", *parts)), (storage, done.stderr)
        assert PASSWORD not in done.stderr + done.stdout and "battery-staple" not in done.stderr + done.stdout
        assert len(done.stderr.splitlines()) == 1
    both = initlab(
        "-m", *TINY, "init=he,xavier", f"study.storage={url}", f"tracking.uri={driven(url)}", cwd=workdir
    )  # fmt: skip
    assert both.returncode == 2 and "MLflow's own database" in both.stderr and PASSWORD not in both.stderr
    assert not list(workdir.rglob("plan.json")) and not (workdir / "mlflow.db").exists()


def test_without_a_driver_the_extra_is_named(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from initlab.errors import ConfigError
    from initlab.study.search import storage

    monkeypatch.setattr(storage, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'initlab\[postgres\]'") as caught:
        storage.choose_url("postgresql://lab:word@h/d", None, workdir)
    assert "word" not in str(caught.value)


def test_two_urls_of_one_database() -> None:
    from initlab.study.search.storage import redact_passwords, same

    assert same("postgresql://a:b@localhost/d", "postgresql+psycopg://c@127.0.0.1:5432/d")
    assert not same("postgresql://a@localhost/d", "postgresql://a@localhost/e")
    assert same("sqlite:////tmp/x/../a.db", "sqlite:////tmp/a.db")
    assert (
        redact_passwords("postgresql://u:a:b@c/d@h:5/x?password=y&z=1") == "postgresql://u:***@h:5/x?password=***&z=1"
    )
    assert redact_passwords("sqlite:////tmp/a.db") == "sqlite:////tmp/a.db"


def test_the_server_is_started_again_in_mid_study(workdir: Path, postgres: Postgres, opens: Opens) -> None:
    url = postgres.create("restart")
    storage = opens(url)
    grid = (*TINY, "trainer.epochs=150", "init=he,xavier,lecun", "study.workers=2", f"study.storage={url}")
    with running(*grid, cwd=workdir) as study:
        until(lambda: worker_of(workdir, storage))
        postgres.stop()
        postgres.start()
        out, _ = study.communicate(timeout=240)
    assert study.returncode == 0, out
    assert broken(the_study(workdir, storage), runs(workdir), arms=3, seeds=1) == [], out


@pytest.mark.skipif(shutil.which("psql") is None, reason="needs psql")
def test_the_lock_ends_with_its_transaction(tmp_path: Path, postgres: Postgres, opens: Opens) -> None:
    study = optuna.create_study(study_name="locks", storage=opens(postgres.create("locks")))
    assert ledger.claim(study) == []
    assert postgres.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0"

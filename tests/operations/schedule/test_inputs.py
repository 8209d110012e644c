"""What is wrong with a schedule is told before the scheduler starts, and nothing is begun or written."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from initlab.errors import ConfigError
from initlab.operations.schedule import validate
from initlab.operations.schedule.files import read_schedules
from initlab.operations.schedule.firing import Firing
from initlab.operations.schedule.ledger import open_ledger
from tests.cli.driver import initlab
from tests.operations.schedule.clocks import schedule

GOOD = "cron: 0 2 * * *\nrun: ['init=he,xavier']\n"
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n" + GOOD
WRONG = [
    ("cron: '* * * *'\nrun: ['init=he,xavier']\n", ["a.yaml: cron=* * * *", "five fields"]),
    ("cron: 0 0 31 2 *\nrun: ['init=he,xavier']\n", ["a.yaml: cron", "never comes"]),
    (GOOD + "timezone: Europe/Berlim\n", ["a.yaml: timezone=Europe/Berlim", "did you mean Europe/Berlin?"]),
    (GOOD + "crom: 1\n", ["a.yaml: crom=1", "unknown key", "did you mean cron?"]),
    ("run: ['init=he,xavier']\n", ["a.yaml: cron", "must be given"]),
    ("cron: 0 2 * * *\n", ["a.yaml: run", "must be given"]),
    ("cron: 0 2 * * *\nrun: []\n", ["a.yaml: run", "sweep"]),
    (GOOD + "catch_up: some\n", ["a.yaml: catch_up=some", "'none', 'latest' or 'all'"]),
    (GOOD + "overlap: 3\n", ["a.yaml: overlap=3", "'skip'"]),
    (GOOD + "time_limit: -5\n", ["a.yaml: time_limit=-5", "greater than 0"]),
    (GOOD + "time_limit: .nan\n", ["a.yaml: time_limit=nan", "finite"]),
    (GOOD + "keep: 0\n", ["a.yaml: keep=0", "greater than 0"]),
    (GOOD + "name: ../../x\n", ["a.yaml: name=../../x", "letters"]),
    (GOOD + "name: '$(touch x)'\n", ["a.yaml: name", "letters"]),
    (GOOD + "webhook: file:///etc/passwd\n", ["a.yaml: webhook=***", "https://HOST/PATH"]),
    (GOOD + "webhook: http://me:pass@host/x\n", ["a.yaml: webhook=***", "without user name"]),
    (GOOD + "webhook_env: '1;x'\n", ["a.yaml: webhook_env", "environment variable"]),
    (GOOD + "cron: 0 3 * * *\n", ["a.yaml", "cron appears twice"]),
    (GOOD + "name: b\n", ["b.yaml: name=b", "is the name of a.yaml"]),
    (
        "cron: 0 2 * * *\nrun: [study.name=x, 'init=he,xavier']\n",
        ["a.yaml: run=study.name=x", "cannot be set by a schedule"],
    ),
    (
        "cron: 0 2 * * *\nrun: [hydra.run.dir=/tmp, 'init=he,xavier']\n",
        ["a.yaml: run=hydra", "cannot be set by a schedule"],
    ),
    ("cron: 0 2 * * *\nrun: ['init=he,xavier', --help]\n", ["a.yaml: run=--help", "KEY=VALUE"]),
    (BOMB, ["a.yaml", "aliases"]),
    ("- just\n- a list\n", ["a.yaml", "KEY: VALUE"]),
    ("{" * 3000, ["a.yaml", "cannot be read"]),
    ("cron: !!python/object/apply:os.system [touch x]\n", ["a.yaml", "cannot be read"]),
    ("x: " + "y" * 100_000, ["a.yaml", "no more than 65536"]),
]


@pytest.mark.parametrize(("text", "parts"), WRONG, ids=[" ".join(p) for _, p in WRONG])
def test_a_mistake_names_file_key_and_what_is_accepted(tmp_path: Path, text: str, parts: list[str]) -> None:
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text(GOOD)
    with pytest.raises(ConfigError) as told:
        read_schedules(tmp_path)
    assert all(part in str(told.value) for part in parts), str(told.value)
    assert "me:pass" not in str(told.value)


@pytest.mark.parametrize(
    ("run", "parts"),
    [
        (["init=hee,xavier"], ["init", "hee", "did you mean he?"]),
        (["init=he,xavier", "model.depht=3"], ["model.depht=3", "unknown key"]),
        (["init=he,xavier", "optimizer.lr=0.1,fast"], ["optimizer.lr=fast", "number"]),
        (["init=he"], ["sweeps nothing"]),
        (["study=nightli"], ["study=nightli", "did you mean nightly?"]),
        (["init=he,xavier", "study.workers=many"], ["study.workers=many", "integer"]),
    ],
    ids=" ".join,
)
def test_overrides_that_do_not_compose_are_found_at_the_start(run: list[str], parts: list[str]) -> None:
    with pytest.raises(ConfigError) as told:
        validate.check(replace(schedule("a", "0 2 * * *", "UTC"), run=tuple(run)))
    assert all(part in str(told.value) for part in parts), str(told.value)


@pytest.mark.slow
def test_the_examples_are_good() -> None:
    for one in read_schedules(Path(__file__).parents[3] / "conf" / "schedule"):
        validate.check(one)


@pytest.mark.process
def test_the_scheduler_starts_with_all_schedules_or_with_none(workdir: Path) -> None:
    (workdir / "conf" / "schedule").mkdir(parents=True)
    (workdir / "conf" / "schedule" / "good.yaml").write_text(GOOD)
    (workdir / "conf" / "schedule" / "bad.yaml").write_text(GOOD.replace("xavier", "xavir"))
    done = initlab("schedule", cwd=workdir)
    assert done.returncode == 2 and done.stdout == ""
    assert (
        len(done.stderr.splitlines()) == 1 and "bad.yaml: run" in done.stderr and "did you mean xavier?" in done.stderr
    )
    assert not (workdir / ".initlab").exists()


def test_schedulers_that_look_at_the_same_moment_begin_each_time_once(tmp_path: Path) -> None:
    one = schedule("a", "* * * * *", "UTC", overlap="queue")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    ledgers = [open_ledger(None, tmp_path) for _ in range(3)]
    ledgers[0].look(one, start)
    taken: list[Firing] = []
    barrier = threading.Barrier(3)

    def work(number: int) -> None:
        for minute in range(1, 41):
            now = start + timedelta(minutes=minute)
            barrier.wait(30)
            ledgers[number].look(one, now)
            firing = ledgers[number].begin("a", now, f"h:{number}:x")
            barrier.wait(30)
            if firing is not None:
                taken.append(firing)
                assert ledgers[number].end(firing, now, state="finished", code=0)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(f.due for f in taken) == {int((start + timedelta(minutes=m)).timestamp()): 1 for m in range(1, 41)}
    assert {f.state for f in ledgers[0].firings("a")} == {"finished"}
    for ledger in ledgers:
        ledger.close()

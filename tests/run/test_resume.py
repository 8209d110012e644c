"""A run that was killed at any moment and resumed is the same run: records, weights, scores, findings, to the last bit.

What a kill leaves is the folder as it is at that moment. So one run is enough for many kills: its folder is copied at
moments of its life (after each record, before each change of a file), and every copy is resumed.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from initlab import tracking
from initlab.errors import RunOverError
from initlab.run.train import run
from initlab.spec import Experiment, Record, RunResult
from initlab.tracking.spool import spool
from tests.cases import Recorder, experiment

SMALL = (
    "data=digits", "data.limit=400", "model=mlp", "model.width=8", "model.depth=2", "tracking.offline=true",
    "tracking.report=false", "tracking.system_metrics=false", "probes.every=9", "probes.dense_until=2",
)  # fmt: skip
#: updates of an epoch
EPOCH = 7
#: values of the trainer's settings that change how a run goes or ends
CHOICES: dict[str, tuple[str, ...]] = {
    "trainer.epochs": ("1", "3", "7"),
    "trainer.batch_size": ("32", "50"),
    "trainer.eval_batch_size": ("auto", "17"),
    "trainer.max_steps": ("null", "null", "13"),
    "trainer.clip_grad_norm": ("null", "0.5"),
    "trainer.precision": ("fp32", "bf16"),
    "trainer.early_stopping": ("null", "1", "2"),
    "trainer.monitor": ("auto", "val/loss", "val/accuracy"),
    "trainer.test_with": ("best", "last"),
    "trainer.checkpoint": ("true", "true", "true", "false"),
    "trainer.checkpoint_every": ("null", "1", "4"),
    "trainer.deterministic": ("false", "true"),
    "trainer.channels_last": ("auto", "true"),
    "trainer.flush_denormal": ("true", "false"),
    "trainer.fast_dev_run": ("false", "false", "false", "true"),
    "trainer.log_every": ("1", "3", "10"),
    "model": ("mlp", "mlp", "cnn"),
    "optimizer": ("sgd", "adam", "adamw", "rmsprop"),
    "optimizer.lr": ("0.02", "0.002", "1e9"),
    "lr_schedule": ("constant", "cosine"),
    "data.augment": ("none", "shift"),
    "seed": ("0", "1", "2"),
    "trainer.until": ("null", "train/loss<=2.25", "val/accuracy>=0.3", "train/accuracy>=0.2"),
}


# ------------------------------------------------------------------ copies of a folder in the course of a run
class _Watch:
    act: Callable[[], None] | None = None
    root = ""
    #: a copy is made while no other thread changes a file
    turn = threading.RLock()
    busy = threading.local()


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    act = _Watch.act
    if act is None or event not in ("open", "os.rename", "os.remove") or getattr(_Watch.busy, "now", False):
        return
    if event == "open" and not (isinstance(arguments[1], str) and set(arguments[1]) & set("wa+x")):
        return
    if any(_Watch.root in str(a) for a in arguments[:2]):
        act()


sys.addaudithook(_on_event)


@contextmanager
def undisturbed() -> Iterator[None]:
    """What is done in the block is no event, and other threads change no file meanwhile."""
    with _Watch.turn:
        _Watch.busy.now = True
        try:
            yield
        finally:
            _Watch.busy.now = False


@contextmanager
def before_each_change(root: Path, act: Callable[[], None]) -> Iterator[None]:
    """Call `act` before a file below `root` is opened for writing, renamed or removed."""
    _Watch.root, _Watch.act = str(root), act
    try:
        yield
    finally:
        _Watch.act = None


def _copy_tree(source: Path, target: Path) -> None:
    """Copy a folder whose files a second thread may rename or remove meanwhile: begin again then."""
    for attempt in range(100):
        try:
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.lock", "lock"))
            return
        except (shutil.Error, FileNotFoundError):
            if attempt == 99:
                raise
            shutil.rmtree(target, ignore_errors=True)


class Copies(Recorder):
    """Trains an experiment in `home`/whole; the folder as it was at many moments lies in `home`/0, `home`/1, …"""

    def __init__(self, decided: Experiment, home: Path, *, most: int = 400) -> None:
        super().__init__()
        self.home, self.whole, self.count, self._most = home, home / "whole", 0, most
        with before_each_change(self.whole, self.copy):
            self.result = run(decided, workdir=self.whole, narrator=self)
        self.copy()
        self._cut_events()

    def _cut_events(self) -> None:
        """Copies whose last events had not been written yet: killed after so many of them."""
        events = folder_of(self.whole).joinpath(spool.EVENTS).read_bytes().splitlines(keepends=True)
        for count in range(len(events) - 4, len(events)):
            self.copy()
            folder_of(self.home / str(self.count - 1)).joinpath(spool.EVENTS).write_bytes(b"".join(events[:count]))

    def record(self, record: Record, total: int) -> None:
        super().record(record, total)
        self.copy()

    def copy(self) -> None:
        with undisturbed():
            if self.count < self._most and spool.spool_root(self.whole).is_dir():
                _copy_tree(self.whole, self.home / str(self.count))
                self.count += 1

    def resumable(self) -> list[Path]:
        """The copies in which the run has begun: with a header and its configuration."""
        places = (self.home / str(i) for i in range(self.count))
        return [p for p in places if all(list(p.glob(f".initlab/spool/*/{n}")) for n in (spool.HEADER, spool.CONFIG))]


def folder_of(workdir: Path) -> Path:
    (folder,) = spool.spool_root(workdir).iterdir()
    return folder


def go_on(decided: Experiment, workdir: Path, *, changed: bool = False) -> RunResult:
    """Resume the run of `workdir`, as `resume=ID` does."""
    uid = folder_of(workdir).name
    reopened = tracking.reopen(uid, decided.tracking, workdir=workdir)
    return run(replace(decided, resume=uid), workdir=workdir, reopened=replace(reopened, changed=changed))


# ------------------------------------------------------------------ what a run leaves
def stream(workdir: Path) -> list[tuple[int, int, dict[str, float], tuple[str, ...]]]:
    """The records of a run without what the clock decides."""
    return [
        (
            line["serial"], line["step"],
            {k: v for k, v in line["metrics"].items() if not k.startswith("throughput/")},
            tuple(line.get("nonfinite", ())),
        )
        for _, line in spool.read_lines(folder_of(workdir) / spool.RECORDS)
    ]  # fmt: skip


def tensors(workdir: Path) -> dict[str, dict[str, torch.Tensor]]:
    files = sorted((folder_of(workdir) / spool.CHECKPOINTS).glob("*.safetensors"))
    return {f.name: {k: v for k, v in load_file(f).items() if "optim." not in k} for f in files}


def same(a: dict[str, dict[str, torch.Tensor]], b: dict[str, dict[str, torch.Tensor]]) -> bool:
    return a.keys() == b.keys() and all(
        a[f].keys() == b[f].keys() and all(torch.equal(v, b[f][k]) for k, v in a[f].items()) for f in a
    )


def scores(result: RunResult) -> dict[str, float]:
    return {k: v for k, v in result.metrics.items() if not k.startswith("throughput/")}


def last_tags(workdir: Path) -> dict[str, str]:
    tags: dict[str, str] = {}
    for event in spool.read_events(folder_of(workdir)):
        tags |= event.get("tags", {}) if event["kind"] == "tags" else {}
    return {k: v for k, v in tags.items() if k != "mlflow.note.content"}


def assert_same_run(whole: Path, resumed: Path, expected: RunResult, result: RunResult | None) -> None:
    assert stream(resumed) == stream(whole)
    found, wanted = tensors(resumed), tensors(whole)
    if expected.status == "diverged":  # its last checkpoint is that of some epoch before, by the clock
        found.pop("last.safetensors", None)
        wanted.pop("last.safetensors", None)
    assert same(found, wanted)
    assert last_tags(resumed) == last_tags(whole)
    ends = [spool.read_events(folder_of(p)) for p in (whole, resumed)]
    assert ends[0][-1]["status"] == ends[1][-1]["status"]
    if result is None:  # it had ended
        return
    assert (result.status, result.steps, result.diverged_step) == (
        expected.status,
        expected.steps,
        expected.diverged_step,
    )
    assert scores(result) == scores(expected)
    assert result.findings == expected.findings
    assert result.outlook == expected.outlook
    assert repr(result.profile.rows) == repr(expected.profile.rows), "NaN is equal to itself here"
    assert repr(result.profile.curves).replace(" ", "") == repr(expected.profile.curves).replace(" ", "")
    assert result.confusion == expected.confusion


# ------------------------------------------------------------------ tests
def drawn(seed: int) -> tuple[str, ...]:
    draw = random.Random(seed)
    given = {key: draw.choice(values) for key, values in CHOICES.items()}
    if given["trainer.checkpoint"] == "false":
        del given["trainer.checkpoint_every"]
    return tuple(f"{key}={value}" for key, value in given.items())


def _settings(*overrides: str) -> tuple[str, ...]:
    given = dict(o.split("=", 1) for o in overrides)
    plain = [o for o in SMALL if o.split("=")[0] not in given]
    if given.get("model") == "cnn":
        plain = [o for o in plain if not o.startswith("model.")]
    return (*plain, *overrides)


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(s, marks=pytest.mark.slow) for s in range(6, 40))])
def test_a_run_killed_at_any_moment_ends_as_the_whole_one(seed: int, tmp_path: Path) -> None:
    """Random settings of the trainer, random moments; the last ones (testing, closing) are always among them."""
    decided = experiment(*_settings(*drawn(seed)))
    made = Copies(decided, tmp_path)
    places = made.resumable()
    chosen = sorted({*random.Random(seed).sample(range(len(places)), 5), *range(len(places) - 1, 0, -3)[:4]})
    for number in chosen:
        place, result = places[number], None
        try:
            result = go_on(decided, place)
        except RunOverError:
            assert spool.end_event(spool.read_events(folder_of(place))) >= 0
        assert_same_run(made.whole, place, made.result, result)


STOPPING = _settings("trainer.epochs=40", "trainer.early_stopping=2", "optimizer.lr=0.3", "trainer.log_every=5")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Copies:
    made = Copies(experiment(*STOPPING), tmp_path_factory.mktemp("stopped"), most=2000)
    assert made.result.status == "stopped" and 0 < made.result.steps < 40 * EPOCH
    return made


def test_a_run_that_stopped_early_and_was_killed_in_its_test_trains_no_further(stopped: Copies, tmp_path: Path) -> None:
    """From the last checkpoint to the end of the record: testing, scores, artifacts, closing."""
    over = [p for p in stopped.resumable() if (state := folder_of(p) / "checkpoints" / "last.json").exists()
            and json.loads(state.read_text())["over"]]  # fmt: skip
    assert len(over) > 6
    for number, place in enumerate(over):
        again = shutil.copytree(place, tmp_path / str(number))
        result = None
        try:
            result = go_on(experiment(*STOPPING), again)
        except RunOverError:
            assert spool.end_event(spool.read_events(folder_of(place))) >= 0, "it had ended"
        assert_same_run(stopped.whole, again, stopped.result, result)
        with pytest.raises(RunOverError):
            go_on(experiment(*STOPPING), again)
        assert sum("test/loss" in metrics for _, _, metrics, _ in stream(again)) == 1


def listing(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix != ".lock" and p.name != "lock"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("trainer.epochs=2",), "finished after 14 updates"),
        (STOPPING, "stopped early after"),
        (("trainer.max_steps=7",), "finished after 7 updates"),
        (("trainer.epochs=2", "trainer.checkpoint=false"), "finished"),
        (("trainer.fast_dev_run=true",), "finished after 2 updates"),
        (("optimizer.lr=1e20", "trainer.epochs=2"), "diverged"),
    ],
)  # fmt: skip
def test_a_run_that_has_ended_says_so_and_nothing_changes(
    overrides: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    decided = experiment(*_settings(*overrides))
    run(decided, workdir=tmp_path)
    before = listing(tmp_path)
    for _ in range(2):
        with pytest.raises(RunOverError, match=words) as told:
            go_on(decided, tmp_path)
        assert told.value.exit_code == 0
    assert listing(tmp_path) == before


def test_more_epochs_train_on_and_a_killed_continuation_keeps_them(tmp_path: Path) -> None:
    """With `optimizer.momentum=0` nothing of the optimiser is lost at the end of the shorter run."""
    plain = _settings("optimizer=sgd", "optimizer.momentum=0", "trainer.log_every=4")
    short, long = (experiment(*plain, f"trainer.epochs={n}") for n in (2, 5))
    whole = tmp_path / "whole"
    expected = run(long, workdir=whole)
    workdir = tmp_path / "grown"
    run(short, workdir=workdir)
    asked = iter(range(1000))
    uid = folder_of(workdir).name
    reopened = replace(tracking.reopen(uid, long.tracking, workdir=workdir), changed=True)
    half = run(replace(long, resume=uid), workdir=workdir, reopened=reopened, stop=lambda: next(asked) > 12)
    assert (half.status, half.steps) == ("killed", 2 * EPOCH + 13)
    saved = (folder_of(workdir) / spool.CONFIG).read_text()
    assert "\n  epochs: 5\n" in saved and "\nresume: null\n" in saved
    result = go_on(long, workdir)
    assert (result.status, result.steps) == ("finished", 5 * EPOCH) and scores(result) == scores(expected)
    assert same(tensors(workdir), tensors(whole))
    closings = [r for r in stream(workdir) if "test/loss" in r[2]]
    assert [step for _, step, *_ in closings] == [2 * EPOCH, 5 * EPOCH], "one of each end"
    assert [s for s, *_ in stream(workdir)] == list(range(len(stream(whole)) + 1))


@pytest.mark.parametrize("every", [1, 4])
def test_a_run_at_its_target_and_killed_ends_there(every: int, tmp_path: Path) -> None:
    """With a checkpoint after each update, or every fourth, also between the target, within an epoch, and the end."""
    settings = _settings("trainer.epochs=30", "trainer.log_every=4", f"trainer.checkpoint_every={every}",
                         "optimizer.lr=0.003", "trainer.until=train/loss<=1.5")  # fmt: skip
    made = Copies(experiment(*settings), tmp_path)
    reached = made.result.metrics["until/step"]
    assert made.result.steps == reached and reached % EPOCH != 0
    places = [p for p in made.resumable() if (folder_of(p) / "checkpoints" / "last.json").exists()]
    for place in places[:: max(1, len(places) // 8)] + places[-6:]:
        result = None
        with suppress(RunOverError):
            result = go_on(experiment(*settings), place)
        assert_same_run(made.whole, place, made.result, result)


def test_a_further_target_trains_on(tmp_path: Path) -> None:
    plain = _settings("optimizer=sgd", "optimizer.momentum=0", "optimizer.lr=0.1", "trainer.log_every=7")
    near, far = (experiment(*plain, "trainer.epochs=30", f"trainer.until=train/loss<={v}") for v in (1.8, 1.2))
    expected = run(far, workdir=tmp_path / "whole")
    first = run(near, workdir=tmp_path / "grown")
    result = go_on(far, tmp_path / "grown", changed=True)
    assert first.metrics["until/step"] < result.metrics["until/step"] == expected.metrics["until/step"]
    assert same(tensors(tmp_path / "grown"), tensors(tmp_path / "whole"))
    with pytest.raises(RunOverError, match=r"reached train/loss<=1\.2 after .* \(trainer\.until=null trains on\)"):
        go_on(far, tmp_path / "grown")


def test_patience_that_is_raised_trains_on_and_a_lower_one_ends_at_once(stopped: Copies, tmp_path: Path) -> None:
    longer = experiment(*STOPPING, "trainer.early_stopping=4")
    again = shutil.copytree(stopped.whole, tmp_path / "longer")
    result = go_on(longer, again, changed=True)
    assert result.steps > stopped.result.steps
    killed = _killed_at_an_end(tmp_path, stale=1)
    shorter = go_on(experiment(*STOPPING, "trainer.early_stopping=1"), killed, changed=True)
    assert shorter.status == "stopped" and shorter.steps < stopped.result.steps
    serials = [s for s, *_ in stream(killed)]
    assert serials == list(range(len(serials))) and "test/loss" in stream(killed)[-1][2]


def _killed_at_an_end(home: Path, *, stale: int) -> Path:
    """A run that was asked to stop at the beginning of the first epoch after `stale` ones without a better score."""
    for epoch in range(1, 40):
        workdir, asked = home / f"epoch{epoch}", iter(range(1000))
        run(experiment(*STOPPING), workdir=workdir, stop=lambda: next(asked) >= epoch * EPOCH)  # noqa: B023
        state = json.loads((folder_of(workdir) / "checkpoints" / "last.json").read_text())
        if state["stale"] == stale:
            return workdir
    raise AssertionError("each epoch was better")

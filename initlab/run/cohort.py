"""Trains and records several runs together: those of one architecture as one stacked model."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from initlab import tracking
from initlab.probes import ProfileLog
from initlab.run import process
from initlab.run.assemble import training_loop
from initlab.run.attempt import Attempt, open_attempt
from initlab.run.narrator import Narrator
from initlab.run.prepare import Prepared, prepare
from initlab.spec import Experiment, RunResult
from initlab.train import Checkpoints
from initlab.train.cohort import Event, Member, cohort_key, is_faster, train_cohort, why_alone
from initlab.train.ranks import ALONE

#: members of a cohort at most, where no number is configured: more are not faster, and wait longer for one another
MOST = 32
#: bytes of data that the members of a cohort hold together
_DATA = 2**30
#: groups of a configuration that may differ within a cohort
_VARY = ("init", "activation", "optimizer", "lr_schedule", "seed", "tracking", "inspect")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A run that is to be trained.

    Attributes:
        narrator: is told of its start, records and end.
        stop: asked before every update; True ends the run as killed.
        group: after an error in one of a group, or one that trains alone, those of it that have not begun are left out.
    """

    experiment: Experiment
    narrator: Narrator
    stop: Callable[[], bool]
    group: Hashable = None


@dataclass(kw_only=True)
class Cohorts:
    """How runs share stacked models, and what was learned about that.

    Attributes:
        setting: ``auto`` stacks where a calibration says that it is faster, ``off`` never does; a number always stacks
            what can be, so many at a time.
        stacks: whether the last run that was looked at could be stacked; None before the first.
    """

    setting: Literal["auto", "off"] | int
    stacks: bool | None = None
    _faster: dict[tuple[Hashable, int], bool] = field(default_factory=dict[tuple[Hashable, int], bool])

    @property
    def most(self) -> int:
        """Members of a cohort at most."""
        return self.setting if isinstance(self.setting, int) else 1 if self.setting == "off" else MOST

    def pays(self, key: Hashable, members: Sequence[Member]) -> bool:
        """Whether these members are to be stacked."""
        if isinstance(self.setting, int):
            return True
        size = (key, len(members).bit_length())
        if size not in self._faster:
            self._faster[size] = is_faster(members)
        return self._faster[size]

    def never_pays(self, key: Hashable) -> bool:
        """Whether runs with this key were found not to be faster in the largest stack that was measured."""
        sizes = {size: faster for (k, size), faster in self._faster.items() if k == key}
        return bool(sizes) and not sizes[max(sizes)]


@dataclass(frozen=True, kw_only=True)
class _Ready:
    number: int
    entry: Entry
    prepared: Prepared
    member: Member


#: what came of an entry: None for one that was left out
Found = RunResult | Exception | None


def train_stacked(
    entries: Sequence[Entry],
    *,
    cohorts: Cohorts,
    workdir: Path,
    tail: tracking.ClosingRuns | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> list[Found]:
    """Train those of the runs that can and should share a stacked model, each with a record of its own as of `run`.

    Returns:
        For each entry the result, or the error that ended it; None where it is left to be trained alone, or where
        `stop` came first.
    """
    return _Stacking(entries, cohorts, workdir, tail, stop).train()


class _Stacking:
    def __init__(
        self,
        entries: Sequence[Entry],
        cohorts: Cohorts,
        workdir: Path,
        tail: tracking.ClosingRuns | None,
        stop: Callable[[], bool],
    ) -> None:
        self._entries, self._cohorts, self._workdir, self._tail, self._stop = entries, cohorts, workdir, tail, stop
        self.found: list[Found] = [None] * len(entries)
        self._left: set[Hashable] = set()
        self._waiting: dict[Hashable, list[_Ready]] = {}

    def train(self) -> list[Found]:
        if self._cohorts.most == 1:
            return self.found
        for number, entry in enumerate(self._entries):
            if self._stop():
                return self.found
            if entry.group is not None and entry.group in self._left:
                continue
            try:
                with process.settings(entry.experiment):
                    ready, key = self._ready(number, entry)
            except Exception as error:
                self._leave(number, error)
                continue
            if ready is None:
                self._leave(number)
                continue
            group = self._waiting.setdefault(key, [])
            group.append(ready)
            if len(group) >= self._cohorts.most or sum(_bytes(r.prepared) for r in group) > _DATA:
                self._train_group(key, self._waiting.pop(key))
        while self._waiting and not self._stop():
            key = next(iter(self._waiting))
            self._train_group(key, self._waiting.pop(key))
        return self.found

    def _ready(self, number: int, entry: Entry) -> tuple[_Ready | None, Hashable]:
        """The run as a member, and what those of its cohort have in common; None where it trains alone."""
        experiment = entry.experiment
        self._cohorts.stacks = False
        if experiment.task.episodes is not None:
            return None, None
        prepared = prepare(experiment)
        draft = training_loop(
            experiment, prepared, profile=ProfileLog(None), checkpoints=Checkpoints(None), stop=entry.stop, ranks=ALONE
        )
        if why_alone(draft):
            return None, None
        params = {k: v for k, v in experiment.params.items() if k.partition(".")[0] not in _VARY}
        key = (cohort_key(draft), experiment.threads, json.dumps(params, sort_keys=True, default=str))
        self._cohorts.stacks = not self._cohorts.never_pays(key)
        if not self._cohorts.stacks:
            return None, None
        member = Member(run=draft, function=_function(experiment))
        return _Ready(number=number, entry=entry, prepared=prepared, member=member), key

    def _train_group(self, key: Hashable, group: list[_Ready]) -> None:
        """Train runs with a common key, if it pays."""
        if len(group) < 2:
            return
        with process.settings(group[0].entry.experiment):
            if self._cohorts.pays(key, [r.member for r in group]):
                self._train_together(group)
            else:
                self._cohorts.stacks = not self._cohorts.never_pays(key)

    def _leave(self, number: int, error: Exception | None = None) -> None:
        self.found[number] = error
        if self._entries[number].group is not None:
            self._left.add(self._entries[number].group)

    def _train_together(self, group: list[_Ready]) -> None:
        """Train a cohort. An error of one record ends this run alone; one of the stack ends all."""
        members = [o for ready in group if (o := self._open(ready)) is not None]
        stacked = [Member(run=o.attempt.loop, function=o.ready.member.function) for o in members]
        try:
            for event in train_cohort(stacked) if stacked else ():
                self._take(members[event.member], event)
        except BaseException as error:
            for mine in members:
                if mine.attempt.result is None and mine.error is None:
                    mine.end(error)
                    self._leave(mine.ready.number, error if isinstance(error, Exception) else None)
            if not isinstance(error, Exception):
                raise

    def _take(self, mine: _Open, event: Event) -> None:
        if mine.error is not None:
            return
        try:
            if event.record is not None:
                mine.attempt.take(event.record)
            elif event.outcome is not None:
                mine.attempt.finish(event.outcome)
                self.found[mine.ready.number] = mine.close()
        except Exception as error:
            mine.end(error)
            self._leave(mine.ready.number, error)

    def _open(self, ready: _Ready) -> _Open | None:
        stack = ExitStack()
        opened = _Open(ready, stack)
        try:
            opened.attempt = stack.enter_context(
                open_attempt(
                    ready.entry.experiment, ready.prepared, workdir=self._workdir, narrator=ready.entry.narrator,
                    stop=opened.stop, tail=self._tail,
                )
            )  # fmt: skip
        except Exception as error:
            self._leave(ready.number, error)
            return None
        return opened


class _Open:
    """A member whose record is open."""

    attempt: Attempt

    def __init__(self, ready: _Ready, stack: ExitStack) -> None:
        self.ready, self._stack = ready, stack
        self.error: BaseException | None = None

    def stop(self) -> bool:
        """Whether it is to leave its cohort: it was asked to, or what records it has failed."""
        return self.error is not None or self.ready.entry.stop()

    def close(self) -> RunResult:
        """Close the record of a run that is at its end."""
        self._stack.close()
        assert self.attempt.result is not None
        return self.attempt.result

    def end(self, error: BaseException) -> None:
        """Close the record of a run that an error ended."""
        self.error = error
        self.attempt.loop.checkpoints.detach()
        # an error is handed in as the one that leaves the block, which raises it again behind the record's end
        self._stack.__exit__(type(error), error, error.__traceback__)


def _function(experiment: Experiment) -> str:
    """Equal for experiments whose networks have the same activations."""
    params = {k: v for k, v in experiment.params.items() if k.partition(".")[0] == "activation"}
    return json.dumps([experiment.activation.name, params], sort_keys=True, default=str)


def _bytes(prepared: Prepared) -> int:
    parts = (prepared.splits.train, prepared.splits.val, prepared.splits.test)
    return sum(t.nbytes for p in parts for t in (p.x, p.y))

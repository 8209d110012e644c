"""The training loop of a cohort: one stacked network, and a stream of records for each member.

Every member has the batches, learning rates, random numbers, records and checkpoints of a run on its own. One that
diverges, stops early, reaches its target or is asked to stop leaves the stack; the others do not notice.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from initlab.core import seeds
from initlab.spec import Record, StackedTask
from initlab.train.batching import GATHERED, batch_count, gather_batches
from initlab.train.cohort.evaluate import Evaluation
from initlab.train.cohort.member import Course, Member
from initlab.train.cohort.stack import Stack
from initlab.train.loop import PROBE_EXAMPLES
from initlab.train.progress import ending_of, has_reached_target, mark_over, planned_updates, time_to_target
from initlab.train.run import Ending, Outcome


@dataclass(frozen=True, kw_only=True)
class Event:
    """A record of a member, or how its training ended."""

    member: int
    record: Record | None = None
    outcome: Outcome | None = None


def train_cohort(members: Sequence[Member]) -> Generator[Event]:
    """Train all members to their ends; their `cohort_key` must be equal.

    Each member's events are its records, as `train` yields them, and at last its outcome. By then its network has its
    last weights, and its checkpoints are written.
    """
    yield from _Cohort(members).events()


class _Cohort:
    def __init__(self, members: Sequence[Member]) -> None:
        first = members[0].run
        settings = first.settings
        self.settings = settings
        self.batches = batch_count(len(first.splits.train), settings.batch_size, streams=False)
        self.total = planned_updates(settings, first.splits)
        courses = [Course(m, i, batches=self.batches, total=self.total) for i, m in enumerate(members)]
        # members with one activation side by side, and among them those with one optimiser
        keys = list(dict.fromkeys(m.function for m in members))
        courses.sort(key=lambda c: (keys.index(c.function), repr(c.optimizer.defaults), c.number))
        short = PROBE_EXAMPLES - len(first.splits.val)
        self._more = min(max(0, short), len(first.splits.train)) if first.dead is not None else 0
        self._then = time.perf_counter()
        self._build(courses)
        state = courses[0].state
        self.step, self.epoch, self.batch = state.step, state.epoch, state.batch

    def _build(self, courses: Sequence[Course]) -> None:
        self.stack = Stack(courses)
        self.evaluation = Evaluation([c.run for c in courses], more=self._more)

    @property
    def courses(self) -> list[Course]:
        return self.stack.courses

    # ------------------------------------------------------------------ the course of training
    def events(self) -> Generator[Event]:
        if self.step == 0 and self.courses[0].state.serial == 0:
            self._evaluate(first=True)
            yield from self._pending()
        if self.batch > 0 and (reached := self._reached()):  # killed before they could leave
            yield from self._end_within_epoch(reached)
        while self.step < self.total and self.courses:
            orders = [c.epoch_order(self.epoch) for c in self.courses]
            gathered = self._gather(orders)
            while self.batch < self.batches and self.step < self.total and self.courses:
                asked = [c for c in self.courses if c.run.stop()]
                if asked:
                    keep = [i for i, c in enumerate(self.courses) if c not in asked]
                    yield from self._end(asked, "killed")
                    orders, gathered = [orders[i] for i in keep], _rows(gathered, keep)
                    if not keep:
                        return
                diverged = self._update(orders, gathered)
                yield from self._pending()
                if diverged:
                    keep = [i for i, c in enumerate(self.courses) if c.number not in diverged]
                    gone = [c for c in self.courses if c.number in diverged]
                    yield from self._end(gone, "diverged", diverged=diverged)
                    orders, gathered = [orders[i] for i in keep], _rows(gathered, keep)
                reached = self._reached()
                if reached:
                    keep = [i for i, c in enumerate(self.courses) if c not in reached]
                    yield from self._end_within_epoch(reached)
                    orders, gathered = [orders[i] for i in keep], _rows(gathered, keep)
                every = self.settings.checkpoint_every
                if self.courses and every is not None and self.step % every == 0 and self.batch < self.batches:
                    self._save([c for c in self.courses if not c.run.checkpoints.is_busy])
            if self.courses:
                yield from self._end_epoch()
        if self.courses:
            yield from self._end(list(self.courses), "finished")

    def _end_epoch(self) -> Generator[Event]:
        self.stack.settle()
        if self.courses[0].state.window_loss:
            diverged = self._flush()
            if diverged:
                yield from self._end([c for c in self.courses if c.number in diverged], "diverged", diverged=diverged)
            if not self.courses:
                return
        self.epoch, self.batch = self.epoch + 1, 0
        for course in self.courses:
            course.state.epoch, course.state.batch = self.epoch, 0
        self._evaluate()
        yield from self._pending()
        endings = [ending_of(c.state, self.settings, self.total) for c in self.courses]
        stopped = [c for c, ending in zip(self.courses, endings, strict=True) if ending == "stopped"]
        for course, ending in zip(self.courses, endings, strict=True):
            mark_over(course.state, over=ending is not None)
        if stopped:
            yield from self._end(stopped, "stopped")
        reached = self._reached()
        if reached and self.step < self.total:
            yield from self._end(reached, "finished")
        if self.courses and self.step < self.total and any(c.wants_checkpoint for c in self.courses):
            self._save(self.courses)

    def _reached(self) -> list[Course]:
        return [c for c in self.courses if has_reached_target(c.state, self.settings)]

    def _end_within_epoch(self, courses: Sequence[Course]) -> Generator[Event]:
        """End members that have reached their target between two epochs, evaluated as a run on its own is."""
        self.stack.write_back(self.step)
        rest = [c for c in self.courses if c not in courses]
        self._build(courses)
        for course in courses:
            course.state.epoch, course.state.batch = self.epoch + 1, 0
        self._evaluate()
        for course in courses:
            mark_over(course.state, over=True)
        yield from self._end(courses, "finished")
        if rest:
            self._build(rest)

    def _update(self, orders: list[list[Tensor]], gathered: tuple[Tensor, Tensor] | None) -> dict[int, int]:
        """One update; returns the members that turned out to have diverged, and the update of each."""
        x, y = self._take(orders, gathered)
        observer = self.stack.update(self.step, self.total, x, y)
        if observer is not None:
            for course, rows in zip(self.courses, observer.rows(self.step), strict=True):
                course.records.add(self.step, *course.records.metrics_of(rows))
        self.step, self.batch = self.step + 1, self.batch + 1
        for course in self.courses:
            state = course.state
            state.step, state.batch = self.step, self.batch
            state.window_seen += y.shape[1]
            state.window_answers += y.shape[1]
        if self.step % self.settings.log_every == 0 or self.step == self.total:
            return self._flush()
        return {}

    def _flush(self) -> dict[int, int]:
        self.stack.settle()
        self._share_time()
        found: dict[int, int] = {}
        for i, course in enumerate(self.courses):
            bad = course.flush(lr=self.stack.optimizers.rate(i, self.step - 1))
            if bad is not None:
                found[course.number] = bad
        return found

    def _evaluate(self, *, first: bool = False) -> None:
        stack, dead = self.stack, self.stack.dead
        if dead is not None:
            dead.begin()
        task = self.courses[0].run.task
        assert isinstance(task, StackedTask)
        scores = self.evaluation.scores(
            stack.network, task, dead, wanted=lambda: dead is not None and dead.is_undecided
        )
        rows = dead.rows(self.step) if dead is not None else [()] * len(self.courses)
        self._share_time()
        best: list[Course] = []
        for course, score, found in zip(self.courses, scores, rows, strict=True):
            course.evaluated(score, *course.records.metrics_of(found))
            if not first and course.is_best(score):
                best.append(course)
        if best:
            stack.network.write_back()
            for course in best:
                weights = {k: v.detach().clone() for k, v in course.run.model.state_dict().items()}
                course.run.checkpoints.keep_best(weights, self.step)

    # ------------------------------------------------------------------ batches
    def _gather(self, orders: list[list[Tensor]]) -> tuple[Tensor, Tensor] | None:
        """The epoch's prepared batches of all members one after another, where all together are not too large."""
        size = 4 * self.courses[0].run.splits.train.x.numel() * len(self.courses)
        if size > GATHERED * 2:
            return None
        found = [
            gather_batches(c.run.splits.train, order, c.run.splits.prepare)
            for c, order in zip(self.courses, orders, strict=True)
        ]
        whole = [b for b in found if b is not None]
        if len(whole) < len(found):
            return None
        return (
            torch.stack([torch.cat([x for x, _ in batches]) for batches in whole]),
            torch.stack([torch.cat([y for _, y in batches]) for batches in whole]),
        )

    def _take(self, orders: list[list[Tensor]], gathered: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """The batch of every member: (members, B, ...) and (members, B)."""
        if gathered is not None:
            start = self.batch * self.settings.batch_size
            stop = start + len(orders[0][self.batch])
            x, y = gathered[0][:, start:stop], gathered[1][:, start:stop]
        else:
            index = [(c.run.splits, order[self.batch]) for c, order in zip(self.courses, orders, strict=True)]
            x = torch.stack([s.prepare(s.train.x[i]) for s, i in index])
            y = torch.stack([s.train.y[i] for s, i in index])
        if self.courses[0].run.splits.augment is None:
            return x, y
        return torch.stack([self._augment(c, part) for c, part in zip(self.courses, x, strict=True)]), y

    def _augment(self, course: Course, x: Tensor) -> Tensor:
        augment = course.run.splits.augment
        assert augment is not None
        return augment(x, seeds.generator(course.run.seed, "data", f"augment{self.step}"))

    # ------------------------------------------------------------------ ends
    def _pending(self) -> Generator[Event]:
        for course in self.courses:
            for record in course.pending():
                yield Event(member=course.number, record=record)

    def _save(self, courses: Sequence[Course]) -> None:
        self.stack.write_back(self.step)
        for course in courses:
            course.save()

    def _end(
        self, courses: Sequence[Course], ending: Ending, *, diverged: dict[int, int] | None = None
    ) -> Generator[Event]:
        """Write the checkpoints of members, let them leave the stack, and yield their last events."""
        self._share_time()
        self.stack.write_back(self.step)
        rest = [c for c in self.courses if c not in courses]
        for course in courses:
            state = course.state
            if ending == "diverged":  # its last checkpoint stays that of the epoch before
                course.run.checkpoints.write_best()
            else:
                course.save(complete=ending != "killed")
            for record in course.pending():
                yield Event(member=course.number, record=record)
            outcome = Outcome(
                ending=ending,
                steps=state.step,
                serial=state.serial - (1 if ending in ("finished", "stopped") else 0),
                seconds=course.seconds,
                diverged_step=None if diverged is None else diverged[course.number],
                best_step=state.best_step if state.best is not None else None,
                to_target=time_to_target(state, self.settings),
            )
            yield Event(member=course.number, outcome=outcome)
        if rest:
            self._build(rest)
        else:
            self.stack.courses = []

    def _share_time(self) -> None:
        """Count the time since the last call, in equal shares, as that of the members."""
        now = time.perf_counter()
        for course in self.courses:
            course.seconds += (now - self._then) / len(self.courses)
        self._then = now


def _rows(gathered: tuple[Tensor, Tensor] | None, keep: Sequence[int]) -> tuple[Tensor, Tensor] | None:
    if gathered is None or not keep:
        return None
    index = torch.tensor(keep, device=gathered[1].device)
    return gathered[0][index], gathered[1][index]

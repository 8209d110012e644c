"""The training loop: one run as a generator of records.

Data order comes from (seed, epoch), the learning rate from the update's number, dropout from torch's generator, whose
state is in the checkpoint: a run stopped at any update continues with the very numbers it would have seen.

The host waits for the device only when a record is due: losses are collected on the device and fetched together, which
is also when divergence is noticed and its exact step found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from initlab.core import seeds
from initlab.core.optimizer_step import stepper
from initlab.spec import ProfileRow, Record
from initlab.train.batching import batch_count, epoch_batches, gather_batches
from initlab.train.checkpoint import State
from initlab.train.compiled import program_of
from initlab.train.evaluate import Score, autocast, evaluate
from initlab.train.hidden_state import stateful_model
from initlab.train.optimizers import parameter_groups
from initlab.train.progress import (
    ending_of,
    has_reached_target,
    mark_over,
    monitored,
    note_score,
    planned_updates,
    time_to_target,
    training_metrics,
    validation_metrics,
)
from initlab.train.records import Records
from initlab.train.run import Ending, Outcome, Run
from initlab.train.window import Window

#: a unit that is off for so many examples counts as dead
PROBE_EXAMPLES = 500


class _DivergenceError(Exception):
    def __init__(self, step: int) -> None:
        self.step = step


def train(run: Run) -> Generator[Record, None, Outcome]:
    """Train to the end, yielding a record every `log_every` updates, at every look of the probes, and each epoch.

    Continues from the last checkpoint where `run.checkpoints` holds one. Afterwards the model has its *last* weights.
    """
    loop = _Loop(run)
    begun = time.perf_counter()
    ending: Ending = "finished"
    diverged: int | None = None
    try:
        ending = yield from loop.epochs()
    except _DivergenceError as divergence:
        ending, diverged = "diverged", divergence.step
        yield from loop.records.pending()
    finally:
        run.checkpoints.write_best()  # of a run that diverged or failed
        run.checkpoints.settle()
        if loop.carrier is not None:
            loop.carrier.carry = False
    state = loop.state
    return Outcome(
        ending=ending, steps=state.step, serial=state.serial - (1 if ending in ("finished", "stopped") else 0),
        seconds=time.perf_counter() - begun, diverged_step=diverged,
        best_step=state.best_step if state.best is not None else None, to_target=time_to_target(state, run.settings),
    )  # fmt: skip


class _Loop:
    def __init__(self, run: Run) -> None:
        self.run = run
        s = run.settings
        self.device = run.splits.train.y.device
        self.size = len(run.splits.train)
        self.batches = batch_count(self.size, s.batch_size, streams=run.splits.streams)
        self.carrier = stateful_model(run.model, run.splits)
        self.monitor = monitored(run.task, s)
        self.total = planned_updates(s, run.splits)
        self.optimizer = run.optimizer(parameter_groups(run.model, run.sites, run.lr_scale))
        self.base_rates = [float(g["lr"]) for g in self.optimizer.param_groups]
        self.step = stepper(self.optimizer)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=s.precision == "fp16")
        self.parameters = [p for p in run.model.parameters() if p.requires_grad]
        self._weight = 1.0
        torch.manual_seed(seeds.derive(run.seed, "train", *(() if run.ranks.is_first else (f"rank{run.ranks.rank}",))))
        self.state = self._restore()
        self.window = Window(run.task, run.ranks, self.state)
        self.records = Records(run, self.state, batches=self.batches)
        #: what trains: over several ranks a wrapper around the model that averages the gradients
        self.model = run.ranks.data_parallel(run.model)
        self.program = program_of(run) if s.compile else self.model
        if self.state.scaler:
            self.scaler.load_state_dict(self.state.scaler)
        self.clock = (time.perf_counter(), 0)
        #: activations that change in the course of training say where they are by the share of updates done
        self.moving: list[Any] = [m for m in run.model.modules() if callable(getattr(m, "set_progress", None))]
        # "dead" means off for at least so many examples: a small validation part is filled up from the training part
        short = PROBE_EXAMPLES - len(run.splits.val)
        wanted = run.dead is not None and short > 0 and not s.fast_dev_run and not run.splits.streams
        self._probe_set = run.splits.train.x[:short] if wanted else None

    def _restore(self) -> State:
        """The state of the last checkpoint, which rank 0 has, or that of a new run."""
        run = self.run
        state = run.checkpoints.load_last(run.model, self.optimizer)
        if not run.ranks.is_single:
            saved = run.ranks.broadcast(None if state is None else (asdict(state), self.optimizer.state_dict()))
            if saved is not None and not run.ranks.is_first:
                state = State(**saved[0])
                self.optimizer.load_state_dict(saved[1])
        return state or State()

    def epochs(self) -> Generator[Record, None, Ending]:
        state, settings = self.state, self.run.settings
        if state.step == 0 and state.serial == 0:
            self._evaluate_epoch(first=True)
            yield from self.records.pending()
        ending = ending_of(state, settings, self.total)
        if ending is not None:  # it was stopped or killed behind its last update
            if state.over is False:
                self._end()
            return ending
        mark_over(state, over=False)
        while ending is None:
            order = epoch_batches(
                self.size, settings.batch_size, streams=self.run.splits.streams, seed=self.run.seed, epoch=state.epoch,
                device=self.device,
            )  # fmt: skip
            gathered = self._gather(order)
            self.run.model.train()
            if self.carrier is not None:
                self.carrier.carry = True
                if state.batch == 0:
                    self.carrier.state = ()
            while state.batch < self.batches and state.step < self.total and not has_reached_target(state, settings):
                if self._should_stop():
                    self._save()
                    yield from self.records.pending()
                    return "killed"
                self._update(order[state.batch], gathered[state.batch] if gathered else None)
                yield from self.records.pending()
                every = settings.checkpoint_every
                if every is not None and state.step % every == 0 and state.batch < self.batches:
                    self._save(due=True)
            if not self.window.is_empty:
                self._flush()
            state.epoch, state.batch = state.epoch + 1, 0
            self._evaluate_epoch()
            yield from self.records.pending()
            ending = ending_of(state, settings, self.total)
            if ending is not None:
                self._end()
            elif self.run.checkpoints.is_due:
                self._save()
        return ending

    def _end(self) -> None:
        mark_over(self.state, over=True)
        self._save(complete=True)

    def _should_stop(self) -> bool:
        """Whether the run was asked to stop; several ranks agree on it with every record."""
        ranks = self.run.ranks
        if ranks.is_single:
            return self.run.stop()
        due = self.state.step % self.run.settings.log_every == 0
        return due and ranks.any(self.run.stop(), device=self.device)

    def _gather(self, order: list[Tensor]) -> list[tuple[Tensor, Tensor]] | None:
        """The epoch's batches, prepared, where they are examples of a small part that this process trains alone."""
        splits = self.run.splits
        if splits.streams or not self.run.ranks.is_single:
            return None
        return gather_batches(splits.train, order, splits.prepare)

    def _update(self, index: Tensor, stored: tuple[Tensor, Tensor] | None) -> None:
        run, state, s = self.run, self.state, self.run.settings
        for module in self.moving:
            module.set_progress(state.step / self.total)
        x, y = self._batch(index, stored)
        rate = run.lr_schedule(state.step, self.total)
        for group, base in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = base * rate
        observer = run.observer if run.observer is not None and run.observer.is_due(state.step) else None
        seen: tuple[ProfileRow, ...] = ()
        if observer is not None:
            if run.attention is not None and state.batch:  # at the end of an epoch it was looked at already
                seen = run.attention.rows_if_due(state.step)
            with observer.observe():
                loss, output = self._forward_backward(self.model, x, y)
            # gradients of activations still carry the loss scale
            scale = self.scaler.get_scale() if self.scaler.is_enabled() else 1.0
            observer.gradients(scale=scale * run.ranks.world)
        else:
            loss, output = self._forward_backward(self.program, x, y)
        if s.clip_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, s.clip_grad_norm, foreach=True)
        if observer is not None:
            observer.before_update()
        if self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.step()
        for parameter in self.parameters:  # what zero_grad does, without its book-keeping
            parameter.grad = None
        self.window.add(loss.detach(), output.detach(), y, weight=self._weight)
        state.window_seen += len(index)
        state.window_answers += len(index) * (y.numel() // len(y))
        if observer is not None:
            self.records.add(state.step, *self.records.metrics_of((*seen, *observer.rows(state.step))))
        state.step += 1
        state.batch += 1
        if state.step % s.log_every == 0 or state.step == self.total:
            self._flush()

    def _batch(self, index: Tensor, stored: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        splits, ranks = self.run.splits, self.run.ranks
        share: slice | None = None
        if not ranks.is_single:
            share, self._weight = ranks.rows(len(index)), ranks.weight(len(index))
            if splits.augment is None:
                index, share = index[share], None
        x, y = stored or (splits.prepare(splits.train.x[index]), splits.train.y[index])
        if splits.augment is not None:
            # of the whole batch, also where a rank keeps its share alone: the draws are those of one process
            x = splits.augment(x, seeds.generator(self.run.seed, "data", f"augment{self.state.step}"))
        if share is not None:
            x, y = x[share], y[share]
        return self.run.layout.of(x), y

    def _forward_backward(self, model: Callable[..., Any], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        with autocast(self.device, self.run.settings.precision):
            output: Tensor = model(x)
            loss = self.run.task.loss(output, y)
            if not self.run.ranks.is_single:
                loss = loss * self._weight
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        return loss, output

    def _flush(self) -> None:
        """The mean loss since the last training record; notices divergence and finds its step."""
        state = self.state
        self.window.settle()
        now, (then, at) = time.perf_counter(), self.clock
        metrics, bad = training_metrics(
            self.run.task, state, lr=float(self.optimizer.param_groups[0]["lr"]),
            seconds=now - then if state.step > at else 0.0,
        )  # fmt: skip
        self.clock = (now, state.step)
        self.records.add(state.step, metrics, () if bad is None else ("train/loss",))
        if bad is not None:
            raise _DivergenceError(bad)

    def _evaluate_epoch(self, *, first: bool = False) -> None:
        run, state = self.run, self.state
        score = run.ranks.broadcast(self._score() if run.ranks.is_first else None)
        assert score is not None
        metrics, bad = self.records.metrics_of(run.rows_of_epoch(state.step))
        scores, not_finite = validation_metrics(run.task, score)
        self.records.add(state.step, metrics | scores, (*bad, *not_finite))
        if not first:
            self._remember(score)
        self.clock = (time.perf_counter(), state.step)

    def _score(self) -> Score:
        run, s = self.run, self.run.settings
        return evaluate(
            run.model, run.task, run.splits, run.splits.val, layout=run.layout, precision=s.precision,
            limit=s.batch_size if s.fast_dev_run else None,
            around=run.dead.evaluation_pass() if run.dead is not None else None,
            more=self._probe_set,
            wanted=lambda: run.dead is not None and run.dead.is_undecided,
        )  # fmt: skip

    def _remember(self, score: Score) -> None:
        if not note_score(self.state, score, self.monitor):
            return
        if self.run.settings.test_with == "best" or self.run.checkpoints.folder is not None:
            self.run.checkpoints.save_best(self.run.model, self.state.step)

    def _save(self, *, complete: bool = False, due: bool = False) -> None:
        if not self.run.settings.checkpoint or (due and self.run.checkpoints.is_busy):
            return
        self.window.settle()
        self.state.scaler = self.scaler.state_dict()
        self.state.profile_offset = self.run.profile.offset
        self.run.checkpoints.save_last(self.run.model, self.optimizer, self.state, complete=complete)

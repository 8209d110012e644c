"""The training loop: one run as a generator of records.

Data order comes from (seed, epoch), the learning rate from the update's number, dropout from torch's generator, whose
state is in the checkpoint: a run stopped at any update continues with the very numbers it would have seen.

The host waits for the device only when a record is due: losses are collected on the device and fetched together, which
is also when divergence is noticed and its exact step found.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from initlab.core import seeds
from initlab.core.optimizer_step import stepper
from initlab.spec import Record
from initlab.train.batching import batch_count, gather_batches, shuffled_batches, stream_batches
from initlab.train.checkpoint import State
from initlab.train.evaluate import Score, autocast, evaluate
from initlab.train.hidden_state import stateful_model
from initlab.train.optimizers import parameter_groups
from initlab.train.records import Records
from initlab.train.run import Ending, Outcome, Run
from initlab.train.window import Window

PROBE_EXAMPLES = 1000


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
        if loop.carrier is not None:
            loop.carrier.carry = False
    return Outcome(
        ending=ending,
        steps=loop.state.step,
        serial=loop.state.serial - (1 if ending in ("finished", "stopped") else 0),
        seconds=time.perf_counter() - begun,
        diverged_step=diverged,
        best_step=loop.state.best_step if loop.state.best is not None else None,
    )


class _Loop:
    def __init__(self, run: Run) -> None:
        self.run = run
        s = run.settings
        self.device = run.splits.train.y.device
        self.size = len(run.splits.train)
        self.batches = batch_count(self.size, s.batch_size, streams=run.splits.streams)
        self.carrier = stateful_model(run.model, run.splits)
        self.monitor = run.task.monitor if s.monitor == "auto" else s.monitor
        limit = 2 if s.fast_dev_run else s.max_steps
        self.total = min(s.epochs * self.batches, limit or s.epochs * self.batches)
        self.optimizer = run.optimizer(parameter_groups(run.model, run.sites, run.lr_scale))
        self.base_rates = [float(g["lr"]) for g in self.optimizer.param_groups]
        self.step = stepper(self.optimizer)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=s.precision == "fp16")
        self.parameters = [p for p in run.model.parameters() if p.requires_grad]
        self._weight = 1.0
        ranks = run.ranks
        torch.manual_seed(seeds.derive(run.seed, "train", *(() if ranks.is_first else (f"rank{ranks.rank}",))))
        self.state = self._restore()
        self.window = Window(run.task, ranks, self.state)
        self.records = Records(run, self.state, batches=self.batches)
        #: what trains: over several ranks a wrapper that averages the gradients, around the model that is looked at
        self.model = ranks.data_parallel(run.model)
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
        while state.step < self.total:
            order = self._order(state.epoch)
            gathered = self._gather(order)
            self.run.model.train()
            if self.carrier is not None:
                self.carrier.carry = True
                if state.batch == 0:
                    self.carrier.state = ()
            while state.batch < self.batches and state.step < self.total:
                if self._should_stop():
                    self._save()
                    yield from self.records.pending()
                    return "killed"
                self._update(order[state.batch], gathered[state.batch] if gathered else None)
                yield from self.records.pending()
                every = settings.checkpoint_every
                if every is not None and state.step % every == 0 and state.batch < self.batches:
                    self._save()
            if not self.window.is_empty:
                self._flush()
            state.epoch, state.batch = state.epoch + 1, 0
            self._evaluate_epoch()
            yield from self.records.pending()
            stopped = settings.early_stopping is not None and state.stale >= settings.early_stopping
            if stopped or state.step >= self.total:
                state.serial += 1  # kept for the closing record
            self._save()
            if stopped:
                return "stopped"
        return "finished"

    def _should_stop(self) -> bool:
        """Whether the run was asked to stop; several ranks agree on it with every record."""
        ranks = self.run.ranks
        if ranks.is_single:
            return self.run.stop()
        due = self.state.step % self.run.settings.log_every == 0
        return due and ranks.any(self.run.stop(), device=self.device)

    def _order(self, epoch: int) -> list[Tensor]:
        batch_size = self.run.settings.batch_size
        if self.run.splits.streams:
            return stream_batches(self.size, batch_size, device=self.device)
        return shuffled_batches(self.size, batch_size, seed=self.run.seed, epoch=epoch, device=self.device)

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
        if observer is not None:
            with observer.observe():
                loss, output = self._forward_backward(x, y)
            # one transfer, and only on looks: gradients of activations still carry the loss scale
            scale = self.scaler.get_scale() if self.scaler.is_enabled() else 1.0
            observer.gradients(scale=scale * run.ranks.world)
        else:
            loss, output = self._forward_backward(x, y)
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
            self.records.add(state.step, *self.records.metrics_of(observer.rows(state.step)))
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
        if self.run.settings.channels_last and x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        return x, y

    def _forward_backward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        with autocast(self.device, self.run.settings.precision):
            output: Tensor = self.model(x)
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
        losses, seen = state.window_loss, state.window_seen
        first = state.step - len(losses)
        bad = next((first + i for i, v in enumerate(losses) if not math.isfinite(v)), None)
        finite = [v for v in losses if math.isfinite(v)]
        now, (then, at) = time.perf_counter(), self.clock
        metrics = {"train/lr": float(self.optimizer.param_groups[0]["lr"])}
        if finite:
            loss = sum(finite) / len(finite)
            scores = self.run.task.scores(loss, state.window_correct / max(1, state.window_answers))
            metrics["train/loss"] = loss
            metrics.update({f"train/{k}": v for k, v in scores.items()})
        if state.step > at and now > then:
            metrics["throughput/samples_per_s"] = seen / (now - then)
        self.clock = (now, state.step)
        state.window_loss, state.window_correct, state.window_seen, state.window_answers = [], 0.0, 0, 0
        self.records.add(state.step, metrics, () if bad is None else ("train/loss",))
        if bad is not None:
            raise _DivergenceError(bad)

    def _evaluate_epoch(self, *, first: bool = False) -> None:
        run, state = self.run, self.state
        score = run.ranks.broadcast(self._score() if run.ranks.is_first else None)
        assert score is not None
        rows = run.dead.rows(state.step) if run.dead is not None else ()
        if run.recurrent is not None:
            rows = (*rows, *run.recurrent.rows(state.step))
        metrics, bad = self.records.metrics_of(rows)
        if score.finite:
            metrics["val/loss"] = score.loss
        else:
            bad = (*bad, "val/loss")
        metrics.update({f"val/{k}": v for k, v in score.scores(run.task).items()})
        self.records.add(state.step, metrics, bad)
        if not first:
            self._remember(score)
        self.clock = (time.perf_counter(), state.step)

    def _score(self) -> Score:
        run, s = self.run, self.run.settings
        return evaluate(
            run.model, run.task, run.splits, run.splits.val, batch_size=s.eval_batch_size, precision=s.precision,
            limit=s.batch_size if s.fast_dev_run else None,
            around=run.dead.evaluation_pass() if run.dead is not None else None,
            more=self._probe_set,
        )  # fmt: skip

    def _remember(self, score: Score) -> None:
        state, value = self.state, score.accuracy if self.monitor == "val/accuracy" else -score.loss
        if score.finite and (state.best is None or value > state.best):
            state.best, state.best_step, state.stale = value, state.step, 0
            if self.run.settings.test_with == "best" or self.run.checkpoints.folder is not None:
                self.run.checkpoints.save_best(self.run.model, state.step)
        else:
            state.stale += 1

    def _save(self) -> None:
        if not self.run.settings.checkpoint:
            return
        self.window.settle()
        self.state.scaler = self.scaler.state_dict()
        self.state.profile_offset = self.run.profile.offset
        self.run.checkpoints.save_last(self.run.model, self.optimizer, self.state)

"""Metrics of a run's training and validation records, and which epoch is the best so far."""

from __future__ import annotations

import math
from typing import Literal

from initlab.spec import UNTIL_EPOCH, UNTIL_STEP, Splits, Target, Task, TrainerSettings
from initlab.train.batching import batch_count
from initlab.train.checkpoint import State
from initlab.train.evaluate import Score


def planned_updates(settings: TrainerSettings, splits: Splits) -> int:
    """Number of updates of a run that does not stop early."""
    limit = 2 if settings.fast_dev_run else settings.max_steps
    planned = settings.epochs * batch_count(len(splits.train), settings.batch_size, streams=splits.streams)
    return min(planned, limit or planned)


def ending_of(state: State, settings: TrainerSettings, total: int) -> Literal["finished", "stopped"] | None:
    """How the training of `state` has ended by these settings; None while it goes on. Read at the ends of epochs.

    Args:
        total: updates of a run that does not stop early.
    """
    if state.epoch == 0 or state.batch > 0:
        return None
    if has_reached_target(state, settings):
        return "finished"
    if settings.early_stopping is not None and state.stale >= settings.early_stopping:
        return "stopped"
    return "finished" if state.step >= total else None


def has_reached_target(state: State, settings: TrainerSettings) -> bool:
    """Whether a record of `state` has reached the target of these settings; a former target does not count."""
    return bool(state.target) and settings.until is not None and state.target == str(Target.parse(settings.until))


def time_to_target(state: State, settings: TrainerSettings) -> dict[str, float]:
    """Updates and epochs until the target was reached, as metrics; empty where it was not reached."""
    if not has_reached_target(state, settings):
        return {}
    return {UNTIL_STEP: float(state.target_step), UNTIL_EPOCH: state.target_epoch}


def mark_over(state: State, *, over: bool) -> None:
    """Note whether training has ended; the closing record gets a serial number of its own, once."""
    if over and state.over is False:
        state.serial += 1
    state.over = over


def training_metrics(task: Task, state: State, *, lr: float, seconds: float) -> tuple[dict[str, float], int | None]:
    """Metrics of the updates since the last training record, and the first of them whose loss is not finite.

    The window in `state` is empty afterwards.

    Args:
        lr: learning rate of the last update.
        seconds: that the updates took; 0 where it is not known.
    """
    losses, seen = state.window_loss, state.window_seen
    first = state.step - len(losses)
    bad = next((first + i for i, v in enumerate(losses) if not math.isfinite(v)), None)
    finite = [v for v in losses if math.isfinite(v)]
    metrics = {"train/lr": lr}
    if finite:
        loss = sum(finite) / len(finite)
        scores = task.scores(loss, state.window_correct / max(1, state.window_answers))
        metrics["train/loss"] = loss
        metrics.update({f"train/{k}": v for k, v in scores.items()})
    if seconds > 0:
        metrics["throughput/samples_per_s"] = seen / seconds
    state.window_loss, state.window_correct, state.window_seen, state.window_answers = [], 0.0, 0, 0
    return metrics, bad


def validation_metrics(task: Task, score: Score) -> tuple[dict[str, float], tuple[str, ...]]:
    """Metrics of an evaluation of the validation part, and the keys whose value is not finite."""
    metrics = {"val/loss": score.loss} if score.finite else {}
    metrics.update({f"val/{k}": v for k, v in score.scores(task).items()})
    return metrics, () if score.finite else ("val/loss",)


def monitored(task: Task, settings: TrainerSettings) -> str:
    """The metric that tells the best epoch."""
    return task.monitor if settings.monitor == "auto" else settings.monitor


def note_score(state: State, score: Score, monitor: str) -> bool:
    """Note the score of an epoch; returns whether it is the best so far."""
    value = score.accuracy if monitor == "val/accuracy" else -score.loss
    if score.finite and (state.best is None or value > state.best):
        state.best, state.best_step, state.stale = value, state.step, 0
        return True
    state.stale += 1
    return False

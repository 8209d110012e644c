"""Records of a training loop: metrics by key, in order, until the loop yields them."""

from __future__ import annotations

import math
from collections.abc import Iterator

from initlab.spec import ProfileRow, Record, Target
from initlab.train.checkpoint import State
from initlab.train.run import Run


class Records:
    """Queue of the records that the loop has made and not yielded yet."""

    def __init__(self, run: Run, state: State, *, batches: int) -> None:
        self._run, self._state, self._batches = run, state, batches
        self._queue: list[Record] = []
        until = run.settings.until
        self._target = None if until is None else Target.parse(until)

    def pending(self) -> Iterator[Record]:
        """The records not yielded yet."""
        ready, self._queue = self._queue, []
        yield from ready

    def metrics_of(self, rows: tuple[ProfileRow, ...]) -> tuple[dict[str, float], tuple[str, ...]]:
        """Write rows to the profile; returns them as metrics by key, and the keys whose value is not finite."""
        self._run.profile.rows(rows)
        wanted = [r for r in rows if (r.site == "" or r.site in self._run.metric_sites) and r.position < 0]
        keys = {(f"{r.statistic}/{r.site}" if r.site else f"diag/{r.statistic}"): r.value for r in wanted}
        return (
            {k: v for k, v in keys.items() if math.isfinite(v)},
            tuple(k for k, v in keys.items() if not math.isfinite(v)),
        )

    def add(self, step: int, metrics: dict[str, float], nonfinite: tuple[str, ...] = ()) -> None:
        """Queue a record with the next serial number.

        Args:
            step: updates done.
            metrics: finite values by key.
            nonfinite: keys whose value is NaN or infinite.
        """
        state = self._state
        values = {**metrics, **dict.fromkeys(nonfinite, math.nan)}
        plain = {k: v for k, v in values.items() if k.split("/")[0] in ("train", "val")}
        if plain:
            self._run.profile.curve(step, plain)
        epoch = state.epoch + state.batch / max(1, self._batches)
        self._check_target(step, epoch, metrics, nonfinite)
        self._queue.append(
            Record(
                serial=state.serial,
                step=step,
                epoch=epoch,
                time_ms=self._run.now_ms(),
                metrics=metrics,
                nonfinite=nonfinite,
            )
        )
        state.serial += 1

    def _check_target(self, step: int, epoch: float, metrics: dict[str, float], nonfinite: tuple[str, ...]) -> None:
        """Note when a record reaches the target for the first time. One before training, or of a divergence, cannot."""
        target, state = self._target, self._state
        if target is None or step == 0 or target.metric in nonfinite or not target.is_reached(metrics):
            return
        if state.target != str(target):
            state.target, state.target_step, state.target_epoch = str(target), step, epoch

"""A member of a cohort: one run, with its own optimiser, random numbers, state, records and checkpoint."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from initlab.core import seeds
from initlab.spec import Record
from initlab.train.batching import shuffled_batches
from initlab.train.checkpoint import State
from initlab.train.evaluate import Score
from initlab.train.optimizers import parameter_groups
from initlab.train.progress import monitored, note_score, training_metrics, validation_metrics
from initlab.train.records import Records
from initlab.train.run import Run


@dataclass(frozen=True, kw_only=True)
class Member:
    """A run that is to train in a cohort.

    Attributes:
        function: equal for runs whose networks have the same activations.
    """

    run: Run
    function: Hashable


class Course:
    """A member in training: what a run on its own keeps in its loop, without the updates.

    Args:
        member: the run. Its checkpoint is restored, where there is one.
        number: of the member in its cohort.
    """

    def __init__(self, member: Member, number: int, *, batches: int, total: int) -> None:
        self.run, self.function, self.number = member.run, member.function, number
        run = member.run
        self.optimizer = run.optimizer(parameter_groups(run.model, run.sites, run.lr_scale))
        #: of the optimiser's parameter groups, before the schedule
        self.base_rates = [float(g["lr"]) for g in self.optimizer.param_groups]
        self.rates = [run.lr_schedule(step, total) for step in range(total)]
        self.random = torch.Generator().manual_seed(seeds.derive(run.seed, "train")).get_state()
        found = self._restore()
        self.state = found or State()
        self.records = Records(run, self.state, batches=batches)
        self._monitor = monitored(run.task, run.settings)
        #: seconds of the cohort's time that count as this run's, and how many there were at the last training record
        self.seconds = 0.0
        self._clock = (0.0, self.state.step)

    def _restore(self) -> State | None:
        outside = torch.get_rng_state()
        try:
            state = self.run.checkpoints.load_last(self.run.model, self.optimizer)
            if state is not None:
                self.random = torch.get_rng_state()
        finally:
            torch.set_rng_state(outside)
        return state

    def epoch_order(self, epoch: int) -> list[Tensor]:
        """Indices of each batch of an epoch."""
        run, part = self.run, self.run.splits.train
        return shuffled_batches(len(part), run.settings.batch_size, seed=run.seed, epoch=epoch, device=part.y.device)

    def pending(self) -> Iterator[Record]:
        """The records not yielded yet."""
        yield from self.records.pending()

    def flush(self, *, lr: float) -> int | None:
        """Queue a training record of the window; returns the first update in it whose loss is not finite."""
        state, (then, at) = self.state, self._clock
        seconds = self.seconds - then if state.step > at else 0.0
        metrics, bad = training_metrics(self.run.task, state, lr=lr, seconds=seconds)
        self._clock = (self.seconds, state.step)
        self.records.add(state.step, metrics, () if bad is None else ("train/loss",))
        return bad

    def evaluated(self, score: Score, metrics: dict[str, float], bad: tuple[str, ...]) -> None:
        """Queue the record of an evaluation, with the `metrics` of its probes and the keys that are not finite."""
        scores, not_finite = validation_metrics(self.run.task, score)
        self.records.add(self.state.step, metrics | scores, (*bad, *not_finite))
        self._clock = (self.seconds, self.state.step)

    def is_best(self, score: Score) -> bool:
        """Note the score of an epoch; returns whether its weights are to be kept as the best."""
        run = self.run
        best = note_score(self.state, score, self._monitor)
        return best and (run.settings.test_with == "best" or run.checkpoints.folder is not None)

    @property
    def wants_checkpoint(self) -> bool:
        """Whether the last checkpoint is old enough for another one at the end of an epoch."""
        return self.run.settings.checkpoint and self.run.checkpoints.is_due

    def save(self, *, complete: bool = False) -> None:
        """Write the last and the best weights. Network and optimiser must hold the state of the stack.

        Args:
            complete: that the run is over.
        """
        if not self.run.settings.checkpoint:
            self.run.checkpoints.write_best()
            return
        self.state.profile_offset = self.run.profile.offset
        outside = torch.get_rng_state()
        torch.set_rng_state(self.random)
        try:
            self.run.checkpoints.save_last(self.run.model, self.optimizer, self.state, complete=complete)
        finally:
            torch.set_rng_state(outside)

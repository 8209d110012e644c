"""Resumed runs: whether one has ended already, and the settings with which it goes on."""

from __future__ import annotations

import re

from initlab.run.prepare import Prepared, updates_of
from initlab.spec import Experiment
from initlab.tracking import ResumedRun
from initlab.train import Checkpoints
from initlab.train.progress import ending_of, has_reached_target


def why_over(experiment: Experiment, prepared: Prepared, reopened: ResumedRun) -> str:
    """Why a run that has ended trains no further, in a sentence; empty where it goes on.

    A run that was killed or failed goes on, also where only its test is missing. One that has ended goes on where its
    settings let it: more epochs, more updates, more patience; one that diverged with any other setting.
    """
    status, settings = reopened.status, experiment.trainer
    if status not in ("finished", "stopped", "diverged") or (status == "diverged" and reopened.changed):
        return ""
    name = f"resume={experiment.resume}"
    if status == "diverged":
        return f"{name}: it diverged, and would again; change what it trains with, optimizer.lr=... for example"
    state = Checkpoints(reopened.sink.checkpoint_dir).peek() if settings.checkpoint else None
    if state is None:
        return "" if reopened.changed else f"{name}: it {_word(status)}, and kept no checkpoint; nothing was changed"
    ending = ending_of(state, settings, updates_of(experiment, prepared.splits))
    if ending is None:
        return ""
    longer = {
        "stopped": f"trainer.early_stopping=N above {settings.early_stopping}",
        "finished": "trainer.epochs=N" if settings.max_steps is None else "trainer.max_steps=N",
    }
    reached = has_reached_target(state, settings)
    how = f"reached {state.target}" if reached else _word(ending)
    further = "trainer.until=null" if reached else longer[ending]
    return (
        f"{name}: it {how} after {state.step} updates; nothing is left to train, and nothing was changed"
        f" ({further} trains on)"
    )


def begin_again(experiment: Experiment, reopened: ResumedRun) -> None:
    """Record that the run goes on, and, where that is new, with which settings: the next resumption takes them over."""
    reopened.begin()
    if reopened.changed:
        text = re.sub(r"(?m)^resume: .*$", "resume: null", experiment.config_yaml)
        reopened.sink.replace_config(text)


def _word(status: str) -> str:
    return "stopped early" if status == "stopped" else status

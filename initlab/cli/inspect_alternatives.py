"""Alternatives to an inspected network that does not look trainable: remedies, each of them inspected as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from initlab import config as configuration
from initlab.config.hydra_errors import translate
from initlab.diagnosis.remedies import (
    architecture_changes,
    better_init,
    longer_memory,
    no_bias,
    scaled_branches,
    smaller_recurrence,
)
from initlab.errors import InitlabError
from initlab.report.note import command, replace_overrides, shell_line
from initlab.run import process
from initlab.run.inspect import Inspection
from initlab.run.prepare import foresee, prepare
from initlab.spec import Experiment, Outlook, Remedy

_ORDER = {"untrainable": 0, "marginal": 1, "trainable": 2}
_RECURRENT = ("rnn", "lstm", "gru", "irnn")
#: how much a score must rise within the same verdict to be called better
_RISE = 0.1
#: scores that differ by less are too close to prefer an unusual remedy to a customary one
_NEAR = 0.25
#: log10 of ‖ΔW‖/‖W‖ of an ordinary update (Karpathy, 2015)
_USUAL = -3.0


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """A remedy, and the outlook of the network with it."""

    remedy: Remedy
    outlook: Outlook

    @property
    def overrides(self) -> str:
        """As typed."""
        return " ".join(self.remedy.overrides)

    def is_better_than(self, other: Outlook) -> bool:
        """Whether the verdict is better, or the score clearly higher."""
        rank, before = _ORDER[self.outlook.verdict], _ORDER[other.verdict]
        return rank > before or (rank == before and self.outlook.score > other.score + _RISE)


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What to do about an inspected network.

    Attributes:
        lines: for the terminal; none for a network that looks trainable.
        next: the command to type next.
    """

    lines: tuple[str, ...] = ()
    next: str


def advise(found: Inspection) -> Advice:
    """The alternative to try instead of a network that looks untrainable or marginal, or that none is better."""
    experiment = _without(found.experiment, "inspect.")
    if found.outlook.verdict == "trainable":
        return Advice(next=command(experiment))
    tried = _try(found)
    better = [a for a in tried if a.is_better_than(found.outlook)]
    if better:
        # the first of those near the best: remedies come in the order of how customary they are
        most = max(a.outlook.score for a in better)
        chosen = next(a for a in better if a.outlook.score > most - _NEAR)
        line = f"try {chosen.overrides}  ({chosen.remedy.why}): {_words(chosen.outlook)}"
        return Advice(lines=(line,), next=command(experiment, *chosen.remedy.overrides))
    shown = ", ".join(f"{a.overrides} ({_words(a.outlook)})" for a in tried)
    return Advice(
        lines=(f"nothing that was tried is better: {shown or 'no remedy fits this network'}",),
        next=what_trains(experiment),
    )


def what_trains(experiment: Experiment, keys: Iterable[str] = ()) -> str:
    """The command that looks for what trains, whatever the initialisation and the `keys` of this experiment are."""
    dropped = {"init", "inspect", *keys}
    named = [(o, o.lstrip("+~").split("=")[0]) for o in experiment.overrides]
    kept = [o for o, key in named if not {key, key.split(".")[0]} & dropped]
    return shell_line(kept, "python -m initlab advise") + "   (other initialisations and activations)"


def compose_changed(base: Sequence[str], changes: Mapping[str, Any]) -> Experiment:
    """The experiment of the overrides `base` with other values of some keys.

    Raises:
        InitlabError: it does not compose.
    """
    replaced = [o for o in base if o.split("=")[0].lstrip("+~") not in changes]
    return _compose([*replaced, *(f"{k}={v}" for k, v in changes.items())])


# ------------------------------------------------------------------ pieces
def _compose(overrides: list[str]) -> Experiment:
    try:
        return configuration.experiment(configuration.compose(overrides), overrides=overrides)
    except InitlabError:
        raise
    except Exception as error:
        ours = translate(error, overrides)
        if ours is None:
            raise
        raise ours from error


def _try(found: Inspection) -> list[Alternative]:
    """The remedies with their outlooks, until one makes the network trainable; what cannot be built is left out."""
    tried: list[Alternative] = []
    for remedy in _remedies(found):
        overrides = replace_overrides(found.experiment.overrides, remedy.overrides)
        try:
            changed = _compose(list(overrides))
            with process.settings(changed):
                outlook = foresee(prepare(changed, splits=found.prepared.splits)).outlook
        except InitlabError:
            continue
        tried.append(Alternative(remedy=remedy, outlook=outlook))
        if outlook.verdict == "trainable":
            break
    return tried


def _remedies(found: Inspection) -> list[Remedy]:
    """Initialisations, changes of the network, both; each once, and none that is there already."""
    params = found.experiment.params
    listed: list[Remedy] = []
    if str(params.get("model")) in _RECURRENT:
        listed += [*smaller_recurrence(params), *longer_memory(params)]
    if any(site.branch is not None for site in found.prepared.sites):
        listed += scaled_branches(params)
    by_init, by_network = better_init(params), architecture_changes(params)
    listed += [*by_init, *no_bias(params), *by_network]
    if by_init:  # a change of the network does not make up for its weights
        listed += [replace(r, overrides=(*by_init[0].overrides, *r.overrides)) for r in by_network]
    listed += _usual_rate(found)
    return list({r.overrides: r for r in reversed(listed)}.values())[::-1]


def _usual_rate(found: Inspection) -> list[Remedy]:
    """The rate at which an update is of the usual size, where this one is far from it."""
    moved, rate = found.outlook.quantities.get("moved"), found.experiment.params.get("optimizer.lr")
    if moved is None or not isinstance(rate, float) or abs(moved - _USUAL) < 1:
        return []
    usual = float(f"{rate * 10 ** (_USUAL - moved):.0e}")
    return [Remedy(overrides=(f"optimizer.lr={usual:g}",), why="updates of about 1e-3 of a weight are usual")]


def _without(experiment: Experiment, *drop: str) -> Experiment:
    return replace(experiment, overrides=tuple(o for o in experiment.overrides if not o.startswith(drop)))


def _words(outlook: Outlook) -> str:
    return f"{outlook.verdict}, {outlook.figure}"

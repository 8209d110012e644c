"""Collects the evidence that the rules of diagnosis judge a run by."""

from __future__ import annotations

import torch

from initlab.activations import band_of
from initlab.diagnosis import rules
from initlab.network import sites
from initlab.run.prepare import Prepared
from initlab.spec import Activation, Experiment, Profile
from initlab.train import Outcome

#: examples from which the scale of the inputs is measured
_EXAMPLES = 256


def evidence_of(experiment: Experiment, prepared: Prepared, profile: Profile, outcome: Outcome) -> rules.Evidence:
    """What the rules of diagnosis read of a finished run."""
    splits = prepared.splits
    return rules.Evidence(
        profile=profile,
        hidden=tuple(s.name for s in sites.weights(prepared.sites) if s.activation is not None),
        baseline=splits.baseline,
        answers=splits.val.y.numel(),
        steps=outcome.steps,
        diverged_step=outcome.diverged_step,
        answer_per_step=splits.io.per_step,
        flat_both_sides=_saturates_both_sides(experiment.activation),
        params=experiment.params,
        branches=len({s.branch.index for s in prepared.sites if s.branch is not None}),
        norms=sum(s.kind == "norm" and s.role == "norm" for s in prepared.sites),
        input_square=_input_square(prepared),
        output_cut=_output_cut(prepared),
        equal_layers=prepared.at_start.equal,
        loud_tables=prepared.at_start.loud,
        running_statistics=any(name.endswith("running_var") for name, _ in prepared.model.named_buffers()),
    )


def _input_square(prepared: Prepared) -> float | None:
    """Mean square of the first validation inputs, as the network receives them."""
    stored = prepared.splits.val.x[:_EXAMPLES]
    x = prepared.splits.prepare(stored) if len(stored) else stored
    return float(x.double().square().mean().cpu()) if x.is_floating_point() and x.numel() else None


def _output_cut(prepared: Prepared) -> str:
    """Name of the activation behind the last weight, if it is constant for negative numbers (ReLU)."""
    weights = [s for s in prepared.sites if s.role in ("weight", "head") and not s.unused]
    last = max(weights, key=lambda s: s.order, default=None)
    module = None if last is None or last.activation is None else last.activation
    activation = prepared.context.activations.get(module) if module is not None else None
    if activation is None or activation.units != (1, 1):
        return ""
    below = activation.fn(torch.tensor([-5.0, -2.0, -1.0]))
    return activation.name if bool((below == below[0]).all()) else ""


def _saturates_both_sides(activation: Activation) -> bool:
    """Whether the network's activations saturate towards both ends."""
    bands = [band_of(a) for a in activation.layers or (activation,)]
    return all(band is not None and band.two_sided for band in bands)

"""Collects the evidence that the rules of diagnosis judge a run by."""

from __future__ import annotations

import torch

from initlab.activations import band_of
from initlab.diagnosis import rules
from initlab.diagnosis.setting import input_square, output_cut
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
        input_square=input_square(_inputs(prepared)),
        output_cut=output_cut(prepared.sites, prepared.context),
        equal_layers=prepared.at_start.equal,
        loud_tables=prepared.at_start.loud,
        running_statistics=any(name.endswith("running_var") for name, _ in prepared.model.named_buffers()),
    )


def _inputs(prepared: Prepared) -> torch.Tensor:
    """The first validation inputs, as the network receives them."""
    stored = prepared.splits.val.x[:_EXAMPLES]
    return prepared.splits.prepare(stored) if len(stored) else stored


def _saturates_both_sides(activation: Activation) -> bool:
    """Whether the network's activations saturate towards both ends."""
    bands = [band_of(a) for a in activation.layers or (activation,)]
    return all(band is not None and band.two_sided for band in bands)

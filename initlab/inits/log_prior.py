"""Log-prior head: its biases are the log frequencies of the classes."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.inits.composition import Scheme, resolve
from initlab.inits.streaming import batch_of, combine_checks, exclude_kept, require_data
from initlab.spec import InitContext, Initializer, PositiveInt, Site


@factory
def log_prior(*, base: Scheme = "he", batches: PositiveInt = 8, keep: tuple[str, ...] = ()) -> Initializer:
    """The head's bias is b_c = log p_c, p_c = (n_c + 1)/(n + C) the smoothed frequency of class c among C.

    With small logits otherwise, the loss starts at the entropy of the classes instead of log C, and the first steps
    are not spent on learning the bias, which shows where classes are unbalanced (Karpathy, A recipe for training
    neural networks, 2019; Lin et al., ICCV 2017, section 3.3). Weights are the base's.

    Args:
        base: what draws everything else; in a chain it is what stands before.
        batches: of targets that are counted.

    Refuses networks whose head has no bias, targets that are no classes, and to work without data.
    Cost: the targets of `batches` batches; no pass.
    """
    first = resolve(base, "init.base")

    def step(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> tuple[str, ...]:
        parameters = dict(model.named_parameters())
        targets = torch.cat([batch_of(context, "log_prior", i).targets.flatten() for i in range(batches)])
        if targets.is_floating_point() or targets.is_complex():
            raise ConfigError("init", "log_prior", f"needs classes as targets, not numbers of type {targets.dtype}")
        done: list[str] = []
        for site in _biases(sites):
            classes = site.shape[0]
            if int(targets.max()) >= classes:
                continue
            counts = torch.bincount(targets.cpu(), minlength=classes).double()
            bias = ((counts + 1) / (counts.sum() + classes)).log()
            with torch.no_grad():
                parameters[site.name].copy_(bias)
            p = bias.exp()
            done.append(
                f"log_prior: {site.name} is the log frequency of {classes} classes, "
                f"entropy {-float((p * bias).sum()):.4g} nats"
            )
        if not done:
            raise ConfigError(
                "init", "log_prior", f"no head has as many outputs as there are classes, {int(targets.max()) + 1}"
            )
        return tuple(done)

    keep = (*first.keep, *keep)
    return replace(
        first,
        name="log_prior",
        keep=keep,
        adapt=(*first.adapt, exclude_kept(step, keep)),
        check=combine_checks(combine_checks(require_data("log_prior"), _has_bias), first.check),
    )


def _biases(sites: tuple[Site, ...]) -> list[Site]:
    heads = {s.layer for s in sites if s.role == "head"}
    return [s for s in sites if s.role == "bias" and s.layer in heads]


def _has_bias(sites: tuple[Site, ...], context: InitContext) -> None:
    # composed by role, `sites` are only those that the scheme is given
    if not _biases(context.sites or sites):
        raise ConfigError("init", "log_prior", "needs a head with a bias; this network has none")

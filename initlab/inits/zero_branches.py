"""Checks that residual branches which start at zero receive a gradient.

A residual branch whose last layer (or norm) is zero passes on nothing at first, and learns because a gradient reaches
that layer. Where an activation with φ'(0) = 0 follows *within* the branch, as ReLU does in x + φ(Wx), none ever does.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from initlab.core import seeds
from initlab.errors import ConfigError
from initlab.inits.laws import draw
from initlab.inits.streaming import deterministic_training_mode
from initlab.network.inputs import arguments, cloned
from initlab.spec import Adapt, InitContext, Site


def refuse_dead(name: str, is_end: Callable[[Site], bool]) -> Adapt:
    """A step that raises where no gradient reaches any of the sites for which `is_end` holds; it changes nothing.

    Looks at one batch; does nothing where there are no data. A head of zeros is given numbers for the occasion.
    """

    def step(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> tuple[str, ...]:
        ends = [s.name for s in sites if is_end(s)]
        if context.batches is None or not ends:
            return ()
        batch = context.batches(0)
        values: dict[str, Tensor] = {n: p.detach() for n, p in model.named_parameters()}
        generator = seeds.generator(context.seed, "init", name)
        for site in sites:
            if site.role == "head":
                values[site.name] = draw(site.shape, 1.0, "normal", generator).to(values[site.name])
        with deterministic_training_mode(model), torch.enable_grad():
            for end in ends:
                values[end] = values[end].clone().requires_grad_()
            args, kwargs = arguments(model, cloned(batch.inputs))
            loss = batch.loss(functional_call(model, values, args, kwargs), batch.targets)
            gradients = torch.autograd.grad(loss, [values[n] for n in ends], allow_unused=True, materialize_grads=True)
        if not any(bool(g.any()) for g in gradients):
            raise ConfigError(
                "init",
                name,
                f"would leave {ends[0]} and the other ends of branches at zero for ever: the activation that follows "
                "them within the branch has no slope at zero; use init=skipinit with model.branch_scale=true, or "
                "another activation",
            )
        return ()

    return step

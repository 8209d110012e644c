"""Networks of which parts begin at zero: a head or ends of branches (Fixup), norms or scales (ReZero, SkipInit).

Behind a zero there is no gradient, so that the first update says nothing of most weights. It opens the way for the
second, as in a chain: the head first, then the ends of the branches, then what is inside.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn

from initlab.core.optimizer_step import stepper
from initlab.network.inputs import call, cloned
from initlab.network.sites import weights
from initlab.network.state import preserve_state
from initlab.spec import InitContext, Site

#: updates after which every weight of such a network has a gradient, if it ever gets one
_MOST_UPDATES = 3


@contextmanager
def awakened(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> Generator[int]:
    """While open, the network is as its first updates leave it, if zeros in it keep weights without a gradient.

    Yields:
        The number of updates, 0 for a network without such zeros. Its values, buffers, gradients and the generators are
        restored at the end.
    """
    named = {n: p for n, p in model.named_parameters() if p.requires_grad}
    scales = [n for s in sites if s.role in ("weight", "head", "norm", "scale") and (n := s.name) in named]
    training, batches = context.training, context.batches
    if training is None or batches is None or not _any_zero([named[n] for n in scales]):
        yield 0
        return
    values = {n: p.detach().clone() for n, p in named.items()}
    hidden = [named[s.name] for s in weights(sites) if s.name in named]
    optimizer = training.optimizer([{"params": list(named.values())}])
    updates = 0
    with preserve_state(model):
        try:
            model.train()
            for updates in range(_MOST_UPDATES):
                optimizer.zero_grad()
                batch = batches(2 + updates)
                with torch.enable_grad():
                    batch.loss(call(model, cloned(batch.inputs)), batch.targets).backward()
                if not _any_zero([torch.zeros_like(p) if p.grad is None else p.grad for p in hidden]):
                    break
                if training.clip is not None:
                    torch.nn.utils.clip_grad_norm_(list(named.values()), training.clip)
                stepper(optimizer)()
            else:
                updates = _MOST_UPDATES
            yield updates
        finally:
            with torch.no_grad():
                for name, value in values.items():
                    named[name].copy_(value)


def _any_zero(found: list[torch.Tensor]) -> bool:
    """Whether one of them is zero throughout; one transfer from the device."""
    return bool(torch.stack([(t.detach() == 0).all() for t in found]).any()) if found else False

"""Data-driven initialisation in one forward pass: each layer may be changed before it passes its output on.

A layer's output depends on the layers before it and on itself. A pass that corrects each layer in turn and passes on
the *corrected* output therefore corrects a network of any depth at the cost of one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from initlab.errors import ConfigError
from initlab.network.inputs import call, cloned
from initlab.network.state import preserve_state
from initlab.spec import Adapt, Batch, InitContext, Site

#: (module name, module, positional and keyword arguments, output) → the output to pass on
Visit = Callable[[str, nn.Module, tuple[Any, ...], dict[str, Any], Any], Any]

Check = Callable[[tuple[Site, ...], InitContext], None]

_NOISY = (nn.modules.dropout._DropoutNd, nn.RReLU)  # pyright: ignore[reportPrivateUsage]


def batch_of(context: InitContext, name: str, index: int = 0) -> Batch:
    """Returns the `index`-th batch.

    Raises:
        ConfigError: where there are no data; `name` is the initialiser that asks.
    """
    if context.batches is None:
        raise ConfigError("init", name, "needs data: it looks at batches of the training part")
    return context.batches(index)


def combine_checks(first: Check, second: Check | None) -> Check:
    """A check that runs one check after the other."""

    def check(sites: tuple[Site, ...], context: InitContext) -> None:
        first(sites, context)
        if second is not None:
            second(sites, context)

    return check


def require_data(name: str) -> Check:
    """A check that raises where there are no data."""

    def check(sites: tuple[Site, ...], context: InitContext) -> None:
        del sites
        batch_of(context, name)

    return check


def exclude_kept(step: Adapt, keep: tuple[str, ...]) -> Adapt:
    """`step` without the parameters that fit a pattern of `keep`: their sites are hidden from it."""
    if not keep:
        return step

    def spared(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> tuple[str, ...]:
        mine = tuple(s for s in sites if not any(fnmatchcase(s.name, pattern) for pattern in keep))
        return step(model, mine, context)

    return spared


@contextmanager
def deterministic_training_mode(model: nn.Module) -> Generator[None]:
    """Training mode without randomness: norms use batch statistics, dropout is off. Restored at the end."""
    with preserve_state(model):
        model.train()
        for module in model.modules():
            if isinstance(module, _NOISY):
                module.eval()
            elif isinstance(module, (nn.RNNBase, nn.MultiheadAttention)):
                module.train(module.dropout == 0)
        yield


def stream(model: nn.Module, layers: Mapping[str, object], inputs: Any, visit: Visit) -> tuple[str, ...]:
    """One forward pass; `visit` is called for each of `layers` at its first use, in the order of the pass.

    Returns:
        The layers that were never called.
    """
    waiting = dict.fromkeys(layers)

    def hooked(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            if name not in waiting:
                return None
            del waiting[name]
            return visit(name, module, args, kwargs, output)

        return hook

    modules = dict(model.named_modules())
    handles = [modules[name].register_forward_hook(hooked(name), with_kwargs=True) for name in layers]
    try:
        with torch.no_grad():
            call(model, cloned(inputs))
    finally:
        for handle in handles:
            handle.remove()
    return tuple(waiting)


def weights_by_layer(sites: tuple[Site, ...]) -> dict[str, list[Site]]:
    """Module name → its weights, for the modules that a forward pass calls, in order.

    The output projection of an attention is a module that is never called; it is counted with the attention.
    """
    attentions = {s.layer for s in sites if s.kind == "attention"}
    found: dict[str, list[Site]] = {}
    for site in sites:
        if site.role not in ("weight", "recurrent", "head") or site.kind == "free" or not site.alone or site.tied:
            continue
        parent = site.layer.removesuffix("out_proj").rstrip(".")
        layer = parent if site.layer.endswith("out_proj") and parent in attentions else site.layer
        found.setdefault(layer, []).append(site)
    return found

"""Applies an initialiser to a model (`apply`). A parameter without a rule is an error.

Every parameter is first filled with NaN and then drawn by its role; a parameter that no rule covers stops the run, with
its name. A silent fall-back to the constructor's own values is how wrong initialisations stay unnoticed for years.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from initlab.core import seeds
from initlab.errors import InitlabError, UnclaimedParameterError
from initlab.network.hooks import preserve_state
from initlab.spec import Draw, InitContext, Initializer, Site


@dataclass(frozen=True)
class Applied:
    """Result of `apply`: the initialiser used, parameter name → rule, and notes of the adapting steps."""

    initializer: Initializer
    rules: dict[str, str]
    notes: tuple[str, ...] = field(default=())


def apply(model: nn.Module, sites: tuple[Site, ...], init: Initializer, *, context: InitContext, seed: int) -> Applied:
    """Initialises every parameter of `model`, in place.

    Values are drawn on the CPU by a generator of the parameter's own name: adding a layer or moving to a GPU changes no
    other draw. Modes, buffers, gradients and torch's generators are left as they were.

    Args:
        model: its parameters may be on any device.
        sites: of `describe(model)`.
        init: the rules.
        context: the network's activations, and batches for initialisers that look at data.
        seed: the run's seed; the stream is ``init``.

    Returns:
        The rule of each parameter (``he``, ``bias``, ``ones``, ``kept``) and notes of the steps that look at the
        whole network.

    Raises, and then leaves every parameter as it was:
        ConfigError: where the initialiser is not for this network.
        UnclaimedParameterError: naming each parameter that no rule knows, with the override that would keep it.
        InitlabError: where a rule returned a wrong shape or a value that is not finite.
    """
    context = replace(context, sites=sites, seed=seed)
    notes: tuple[str, ...] = ()
    with preserve_state(model):
        if init.plan is not None:
            init, notes = init.plan(model, sites, context)
        if init.check is not None:
            init.check(sites, context)
        with _restored_on_error(model):
            rules = draw_all(model, sites, init, context)
            for step in init.adapt:
                notes += step(model, sites, context)
                _refuse_nonfinite(model, init.name)
    return Applied(init, rules, notes)


@contextmanager
def _restored_on_error(model: nn.Module) -> Generator[None]:
    """Gives every parameter its value back where the block raises: an error leaves the network as it was."""
    before = [(p, p.detach().clone()) for p in model.parameters()]
    try:
        yield
    except BaseException:
        with torch.no_grad():
            for parameter, value in before:
                parameter.copy_(value)
        raise


def draw_all(model: nn.Module, sites: tuple[Site, ...], init: Initializer, context: InitContext) -> dict[str, str]:
    """Draws every parameter, without the steps that follow; returns parameter name → rule."""
    parameters = dict(model.named_parameters())
    by_name = {s.name: s for s in sites}
    kept = {
        name: parameter.detach().clone()
        for name, parameter in parameters.items()
        # a learnable activation starts where its definition says; NaN there would lose it
        if _is_kept(name, init) or (name in by_name and by_name[name].kind == "activation")
    }
    done: dict[str, str] = {}
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.fill_(float("nan"))
        for name, parameter in parameters.items():
            site = by_name.get(name)
            if name in kept:
                parameter.copy_(kept[name])
                done[name] = "kept"
            elif site is not None:
                rule = _rule(site, init)
                if rule is not None:
                    done[name], draw = rule
                    parameter.copy_(draw_site(site, draw, context))
    _refuse_unclaimed(parameters, done)
    return done


def _is_kept(name: str, init: Initializer) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in init.keep)


def _rule(site: Site, init: Initializer) -> tuple[str, Draw] | None:
    """The rule for a site, or None where there is none."""
    if site.role == "norm":
        return ("ones", _full(1.0)) if init.norm is None else (init.name, init.norm)
    if site.kind == "norm":
        return "zeros", _full(0.0)
    if site.kind == "scale":
        return ("ones", _full(1.0)) if init.scale is None else (init.name, init.scale)
    if site.kind == "free":
        return None
    if site.role == "bias":
        return "bias", init.bias
    if site.role == "embedding":
        return init.name, init.embedding
    return (init.name, init.weight) if site.role in ("weight", "recurrent", "head") else None


def _full(value: float) -> Draw:
    def draw(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del generator, context
        return torch.full(site.shape, value)

    return draw


def draw_site(site: Site, draw: Draw, context: InitContext) -> Tensor:
    """Draws the values of one parameter, gate by gate, from the generator of its own name.

    Raises:
        InitlabError: where `draw` returned a wrong shape or a value that is not finite.
    """
    generator = seeds.generator(context.seed, "init", site.name)
    blocks = [replace(site, shape=(g.stop - g.start, *site.shape[1:]), gates=(g,)) for g in site.gates] or [site]
    drawn = [draw(block, generator, context) for block in blocks]
    values = torch.cat(drawn) if site.gates else drawn[0]  # a single number cannot be concatenated
    if tuple(values.shape) != site.shape:
        raise InitlabError(f"the initialiser of {site.name} gave shape {tuple(values.shape)}, expected {site.shape}")
    if not bool(torch.isfinite(values).all()):
        raise InitlabError(f"the initialiser of {site.name} gave values that are not finite")
    return values


def _refuse_nonfinite(model: nn.Module, name: str) -> None:
    bad = [n for n, p in model.named_parameters() if not bool(torch.isfinite(p).all())]
    if bad:
        raise InitlabError(f"init={name} left values that are not finite in {', '.join(bad[:3])}")


def _refuse_unclaimed(parameters: dict[str, nn.Parameter], done: dict[str, str]) -> None:
    unclaimed = [name for name in parameters if name not in done]
    if unclaimed:
        keep = ",".join(f'"{name}"' for name in unclaimed)
        raise UnclaimedParameterError(
            f"no initialiser for parameter {', '.join(unclaimed)}: initlab does not know what it is; "
            f"to keep the value its own module gave it, add 'init.keep=[{keep}]'"
        )

"""`apply`: poison every parameter with NaN, draw each by its role, and refuse to leave one behind.

Silent fall-back to whatever the constructor drew is how wrong initialisations go unnoticed for years; here a parameter
that nobody claimed stops the run, by name.
"""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from initlab import seeds
from initlab.errors import InitlabError, UnclaimedParameterError
from initlab.spec import Draw, InitContext, Initializer, Site


def apply(
    model: nn.Module, sites: tuple[Site, ...], init: Initializer, *, context: InitContext, seed: int
) -> dict[str, str]:
    """Give every parameter of `model` its first value, in place.

    Values are drawn on the CPU by a generator of the parameter's own name: adding a layer or moving to a GPU changes no
    other draw.

    Args:
        model: its parameters may be on any device.
        sites: of `describe(model)`.
        init: the rules.
        context: the network's activation.
        seed: the run's seed; the stream is ``init``.

    Returns:
        Parameter name → what was done (``he``, ``zeros``, ``ones``, ``kept``).

    Raises:
        UnclaimedParameterError: naming each parameter that no rule knows, with the override that would keep it.
        InitlabError: where a rule returned a wrong shape or a value that is not finite.
    """
    parameters = dict(model.named_parameters())
    by_name = {s.name: s for s in sites}
    kept = {
        name: parameter.detach().clone()
        for name, parameter in parameters.items()
        # a learnable activation starts where its definition says; NaN there would lose it
        if _is_kept(name, init) or (name in by_name and by_name[name].kind == "activation")
    }
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.fill_(float("nan"))
    done: dict[str, str] = {}
    with torch.no_grad():
        for name, parameter in parameters.items():
            site = by_name.get(name)
            if name in kept:
                parameter.copy_(kept[name])
                done[name] = "kept"
            elif site is not None:
                rule = _rule(site, init)
                if rule is not None:
                    done[name], draw = rule
                    parameter.copy_(_draw(site, draw, context, seed))
    _refuse_unclaimed(parameters, done)
    return done


def _is_kept(name: str, init: Initializer) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in init.keep)


def _rule(site: Site, init: Initializer) -> tuple[str, Draw] | None:
    """What to do with a site, or None where nobody knows."""
    if site.kind == "norm":
        return ("ones", _full(1.0)) if site.role == "norm" else ("zeros", _full(0.0))
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


def _draw(site: Site, draw: Draw, context: InitContext, seed: int) -> Tensor:
    generator = seeds.generator(seed, "init", site.name)
    blocks = [replace(site, shape=(gate.stop - gate.start, *site.shape[1:]), gates=()) for gate in site.gates] or [site]
    values = torch.cat([draw(block, generator, context) for block in blocks])
    if tuple(values.shape) != site.shape:
        raise InitlabError(f"the initialiser of {site.name} gave shape {tuple(values.shape)}, expected {site.shape}")
    if not bool(torch.isfinite(values).all()):
        raise InitlabError(f"the initialiser of {site.name} gave values that are not finite")
    return values


def _refuse_unclaimed(parameters: dict[str, nn.Parameter], done: dict[str, str]) -> None:
    unclaimed = [name for name in parameters if name not in done]
    if unclaimed:
        keep = ",".join(f'"{name}"' for name in unclaimed)
        raise UnclaimedParameterError(
            f"no initialiser for parameter {', '.join(unclaimed)}: initlab does not know what it is; "
            f"to keep the value its own module gave it, add 'init.keep=[{keep}]'"
        )

"""Applies an initialiser to a model (`apply`). A parameter without a rule is an error.

Every value is drawn before one is written; a parameter that no rule covers stops the call, with its name, and leaves
the network as it was. A silent fall-back to the constructor's own values is how wrong initialisations stay unnoticed
for years: what keeps its value is named in the notes.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from initlab.core import seeds
from initlab.core.finite import all_finite
from initlab.core.text import listed
from initlab.errors import InitlabError, UnclaimedParameterError
from initlab.inits.laws import draw as draw_law
from initlab.inits.parametrised import parameter_values, refresh
from initlab.network.reading import drawn
from initlab.network.state import preserve_state
from initlab.spec import Draw, InitContext, Initializer, Site

#: standard deviation of class tokens and position tables, whatever the scheme (Devlin et al., 2019; Dosovitskiy et al.,
#: 2021), where the scheme is not one that gives all parameters one law
POSITION_STD = 0.02


@dataclass(frozen=True)
class Applied:
    """Result of `apply`: the initialiser used, parameter name → rule, and notes.

    The notes say what the steps that look at the whole network did, and which parameters were not drawn and why.
    """

    initializer: Initializer
    rules: dict[str, str]
    notes: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        counts: dict[str, int] = {}
        for rule in self.rules.values():
            counts[rule] = counts.get(rule, 0) + 1
        return f"<{self.initializer.name}: {', '.join(f'{n} {rule}' for rule, n in counts.items())}>"

    def __str__(self) -> str:
        width = max(map(len, self.rules), default=0)
        return "\n".join([*(f"{name:<{width}}  {rule}" for name, rule in self.rules.items()), *self.notes])

    def frame(self) -> object:
        """The rules as a pandas table: parameter, rule."""
        import pandas as pd

        return pd.DataFrame({"parameter": list(self.rules), "rule": list(self.rules.values())})


def apply(
    model: nn.Module,
    sites: tuple[Site, ...],
    init: Initializer,
    *,
    context: InitContext,
    seed: int,
    frozen: bool = False,
) -> Applied:
    """Initialises every parameter of `model`, in place.

    Values are drawn on the CPU by a generator of the parameter's own name: adding a layer or moving to a GPU changes no
    other draw. Modes, buffers, gradients and torch's generators are left as they were.

    Args:
        model: its parameters may be on any device.
        sites: of `describe(model)`.
        init: the rules.
        context: the network's activations, and batches for initialisers that look at data.
        seed: the run's seed; the stream is ``init``.
        frozen: whether parameters that ask for no gradient are initialised too.

    Returns:
        The rule of each parameter (``he``, ``bias``, ``ones``, ``kept``) and notes.

    Raises, and then leaves everything as it was:
        ConfigError: where the initialiser is not for this network.
        UnclaimedParameterError: naming each parameter that no rule knows, with the override that would keep it.
        InitlabError: where a rule returned a wrong shape or a value that is not finite.
    """
    context = replace(context, sites=sites, seed=seed)
    if not frozen:
        init = replace(init, keep=(*init.keep, *(_literal(s.name) for s in sites if s.frozen)))
    notes: tuple[str, ...] = ()
    with preserve_state(model), _restored_on_error(model):
        if init.plan is not None:
            planned, notes = init.plan(model, sites, context)
            init = replace(planned, keep=tuple(dict.fromkeys((*planned.keep, *init.keep))))
        if init.check is not None:
            init.check(sites, context)
        rules = draw_all(model, sites, init, context)
        for step in init.adapt:
            notes += step(model, _drawn_sites(sites, rules), context)
            _refuse_nonfinite(model, init.name)
    refresh(model)
    return Applied(init, rules, (*notes, *_kept_notes(sites, rules)))


def _drawn_sites(sites: tuple[Site, ...], rules: Mapping[str, str]) -> tuple[Site, ...]:
    """The sites that a step may change: frozen and zero-initialised ones keep their value."""
    return tuple(s for s in sites if not (rules.get(s.name) == "kept" and (s.frozen or s.own_value)))


def _kept_notes(sites: tuple[Site, ...], rules: Mapping[str, str]) -> tuple[str, ...]:
    kept = [s for s in sites if rules.get(s.name) == "kept"]
    frozen = [s.name for s in kept if s.frozen]
    found = [f"frozen, and left as they are: {listed(frozen)} (frozen=True initialises them too)"] if frozen else []
    reasons: dict[str, list[str]] = {}
    for site in kept:
        if not site.frozen and (site.own_value or site.unused):
            reasons.setdefault(site.own_value or "not used in a forward pass", []).append(site.name)
    found += [f"kept as they were ({reason}): {listed(names)}" for reason, names in reasons.items()]
    return tuple(found)


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
    """Draws every parameter, without the steps that follow; returns parameter name → rule.

    Nothing is written unless every parameter has a rule and every value is finite.
    """
    parameters = dict(model.named_parameters())
    by_name = {s.name: s for s in sites}
    done: dict[str, str] = {}
    values: dict[str, Tensor] = {}
    computed: list[Site] = []
    for name, parameter in parameters.items():
        site = by_name.get(name)
        if _is_kept(name, init) or (site is not None and _keeps(site, init)):
            done[name] = "kept"
        elif site is not None and site.kind == "computed":
            computed.append(site)
        elif site is not None and (rule := _rule(site, init)) is not None:
            done[name], law = rule
            drawn_values = _drawn(site, parameter, law, context)
            values |= parameter_values(model, site, drawn_values, done[name])
    for site in computed:
        done[site.name] = f"by {site.effective}" if site.name in values else "kept"
    _refuse_unclaimed(parameters, done)
    with torch.no_grad():
        for name, value in values.items():
            cast = value.to(parameters[name].dtype)
            if not all_finite(cast):
                raise InitlabError(f"the initialiser of {name} gave values that are not finite in {cast.dtype}")
            values[name] = cast
        for name, value in values.items():
            parameters[name].copy_(value)
            drawn[parameters[name]] = True
    return done


def _is_kept(name: str, init: Initializer) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in init.keep)


def _keeps(site: Site, init: Initializer) -> bool:
    """Whether a parameter has the value that its module gave it."""
    if site.kind == "activation":  # a learnable activation starts where its definition says
        return True
    if site.kind == "scale" and site.own_value:  # somebody's own multiplier
        return init.scale is None or site.branch is None
    return bool(site.own_value) or (site.kind == "free" and site.unused)


def _literal(name: str) -> str:
    """A pattern that fits `name` alone."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


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
    if site.kind in ("position", "token"):
        return ("position", _position) if init.position is None else (init.name, init.position)
    if site.role == "bias":
        return "bias", init.bias
    if site.role == "embedding":
        return init.name, init.embedding
    return (init.name, init.weight) if site.role in ("weight", "recurrent", "head") else None


def _position(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
    del context
    return draw_law(site.shape, POSITION_STD, "normal", generator)


def _full(value: float) -> Draw:
    def fill(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del generator, context
        return torch.full(site.shape, value)

    return fill


def _drawn(site: Site, parameter: nn.Parameter, law: Draw, context: InitContext) -> Tensor:
    """The values of one parameter, so that what the network uses in its place has the law."""
    values = draw_site(site, law, context)
    if parameter.is_complex() and site.role not in ("norm", "scale", "bias"):  # E|w|² is that of a real draw
        other = draw_site(replace(site, name=f"{site.name}.imag"), law, context)
        values = torch.complex(values, other) / 2**0.5
    if site.zero_row is not None:
        values = values.clone()
        values[site.zero_row] = 0
    return values if (site.multiplier, site.offset) == (1.0, 0.0) else (values - site.offset) / site.multiplier


def draw_site(site: Site, draw: Draw, context: InitContext) -> Tensor:
    """Draws the values of one parameter, gate by gate, from the generator of its own name.

    Raises:
        InitlabError: where `draw` returned a wrong shape or a value that is not finite.
    """
    generator = seeds.generator(context.seed, "init", site.name)
    axis = site.dims.index("o") if site.dims else 0
    blocks = [replace(site, shape=_cut(site.shape, axis, g.stop - g.start), gates=(g,)) for g in site.gates] or [site]
    parts = [draw(block, generator, context) for block in blocks]
    values = torch.cat(parts, axis) if site.gates else parts[0]  # a single number cannot be concatenated
    if tuple(values.shape) != site.shape:
        raise InitlabError(f"the initialiser of {site.name} gave shape {tuple(values.shape)}, expected {site.shape}")
    if not all_finite(values):
        raise InitlabError(f"the initialiser of {site.name} gave values that are not finite")
    return values


def _cut(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    return (*shape[:axis], size, *shape[axis + 1 :])


def _refuse_nonfinite(model: nn.Module, name: str) -> None:
    bad = [n for n, p in model.named_parameters() if not all_finite(p)]
    if bad:
        raise InitlabError(f"init={name} left values that are not finite in {', '.join(bad[:3])}")


def _refuse_unclaimed(parameters: dict[str, nn.Parameter], done: dict[str, str]) -> None:
    unclaimed = [name for name in parameters if name not in done]
    if unclaimed:
        keep = ",".join(f'"{name}"' for name in unclaimed)
        raise UnclaimedParameterError(
            f"no initialiser for parameter {', '.join(unclaimed)}: initlab does not know what it is; "
            f"to keep the value its own module gave it, add 'init.keep=[{keep}]' (in Python: keep=[{keep}])"
        )

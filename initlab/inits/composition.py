"""Composed initialisers: one scheme for each role or parameter (`by_role`), or a sequence (`chain`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Literal

import torch
from pydantic import InstanceOf
from torch import Tensor, nn

from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.inits.laws import bias_rule
from initlab.inits.naming import parse_initializer
from initlab.inits.streaming import exclude_kept
from initlab.spec import Draw, InitContext, Initializer, LrScale, Role, Site, StepKind

Scheme = str | InstanceOf[Initializer]

#: schemes that are one law for every number, and so for biases, norms and multipliers too where they are asked for
_LAWS = ("constant", "zeros", "uniform", "normal", "truncated_normal")


# ------------------------------------------------------------------ one scheme a role
@factory
def by_role(
    *,
    weight: Scheme = "he",
    recurrent: Scheme | None = None,
    embedding: Scheme | None = None,
    head: Scheme | None = None,
    bias: float | Literal["torch"] | Scheme | None = None,
    norm: float | Scheme | None = None,
    scale: float | Scheme | None = None,
    sites: Mapping[str, float | Scheme] | None = None,
    keep: tuple[str, ...] = (),
) -> Initializer:
    """A scheme for each role, and for single parameters by name.

    A scheme is text, ``he`` or ``normal(std=0.1)``, or an `Initializer`. Each role that is not given follows `weight`:
    its biases are that scheme's, and so on. A number is a constant.

    Args:
        weight: weights of hidden layers, and what the others follow.
        recurrent: weights on the previous state.
        embedding: embeddings.
        head: weights that make the network's output.
        bias: biases. A law (``normal(std=0.01)``) is drawn from; of any other scheme its own rule for biases is taken.
        norm: scales γ of norms.
        scale: multipliers of residual branches.
        sites: pattern of parameter names → scheme, stronger than the roles; the first pattern that fits counts.

    Steps that look at the whole network, and rules for the learning rate, are taken from every scheme that is used.
    Refuses patterns that fit no parameter. Cost: that of the schemes.
    """
    given: dict[Role, float | Scheme | None] = {
        "recurrent": recurrent,
        "embedding": embedding,
        "head": head,
        "bias": bias,
        "norm": norm,
        "scale": scale,
    }
    parts = _Parts(
        default=resolve(weight, "init.weight"),
        roles={r: resolve(s, f"init.{r}") for r, s in given.items() if s is not None},
        sites={p: resolve(s, f"init.sites.{p}") for p, s in (sites or {}).items()},
        keep=tuple(keep),
    )
    return parts.composed()


def resolve(scheme: float | Scheme, key: str) -> Initializer:
    """The initialiser of a scheme; `key` is the configuration key for errors."""
    if isinstance(scheme, Initializer):
        return scheme
    if scheme == "torch":
        scheme = "torch_default"
    if isinstance(scheme, str):
        try:
            number = float(scheme)
        except ValueError:
            return parse_initializer(scheme, key=key)
        return parse_initializer(f"constant(value={number})", key=key)
    return parse_initializer(f"constant(value={float(scheme)})", key=key)


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """The schemes of a composition, with the scheme of each site."""

    default: Initializer
    roles: Mapping[Role, Initializer]
    sites: Mapping[str, Initializer]
    keep: tuple[str, ...] = field(default=())

    def all(self) -> tuple[Initializer, ...]:
        """Every scheme once, the default first."""
        found: list[Initializer] = []
        for scheme in (self.default, *self.roles.values(), *self.sites.values()):
            if not any(scheme is other for other in found):
                found.append(scheme)
        return tuple(found)

    def scheme(self, site: Site) -> Initializer:
        for pattern, scheme in self.sites.items():
            if fnmatchcase(site.name, pattern):
                return scheme
        return self.roles.get(site.role, self.default)

    def composed(self) -> Initializer:
        schemes = self.all()
        planned = any(s.plan is not None for s in schemes)
        return Initializer(
            name="by_role",
            weight=self._draw(lambda s: s.weight),
            embedding=self._draw(lambda s: s.embedding),
            bias=self._draw(lambda s: s.weight if s.name in _LAWS else s.bias, own=lambda s: s.bias, role="bias"),
            norm=self._draw(lambda s: s.weight if s.name in _LAWS else s.norm or _one, own=_norm_of, role="norm"),
            scale=self._draw(lambda s: s.weight if s.name in _LAWS else s.scale or _one, own=_scale_of, role="scale"),
            keep=tuple(dict.fromkeys((*self.keep, *(k for s in schemes for k in s.keep)))),
            check=self._check,
            adapt=tuple(exclude_kept(step, self.keep) for s in schemes for step in s.adapt),
            lr_scale=self._lr_scale() if any(s.lr_scale is not None for s in schemes) else None,
            plan=self._plan if planned else None,
        )

    def _draw(
        self,
        asked: Callable[[Initializer], Draw],
        *,
        own: Callable[[Initializer], Draw] | None = None,
        role: Role | None = None,
    ) -> Draw:
        """`asked` of the scheme that was given for the site; `own` of the default, which was not asked about it."""

        def draw(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
            scheme = self.scheme(site)
            implied = own is not None and scheme is self.default and self.roles.get(role or "weight") is not scheme
            rule = own(scheme) if implied and own is not None else asked(scheme)
            return rule(site, generator, context)

        return draw

    def _check(self, sites: tuple[Site, ...], context: InitContext) -> None:
        for pattern in self.sites:
            if not any(fnmatchcase(s.name, pattern) for s in sites):
                names = ", ".join(s.name for s in sites)
                raise ConfigError(f"init.sites.{pattern}", None, f"fits no parameter of this network: {names}")
        for scheme in self.all():
            mine = tuple(s for s in sites if self.scheme(s) is scheme)
            if scheme.check is not None and mine:
                scheme.check(mine, context)

    def _lr_scale(self) -> LrScale:
        def lr_scale(site: Site, kind: StepKind) -> float:
            rule = self.scheme(site).lr_scale
            return 1.0 if rule is None else rule(site, kind)

        return lr_scale

    def _plan(
        self, model: nn.Module, sites: tuple[Site, ...], context: InitContext
    ) -> tuple[Initializer, tuple[str, ...]]:
        notes: list[str] = []
        plans = {id(s): _plan_scheme(s, model, sites, context, notes) for s in self.all()}
        parts = replace(
            self,
            default=plans[id(self.default)],
            roles={r: plans[id(s)] for r, s in self.roles.items()},
            sites={p: plans[id(s)] for p, s in self.sites.items()},
        )
        return parts.composed(), tuple(notes)


def _plan_scheme(
    scheme: Initializer, model: nn.Module, sites: tuple[Site, ...], context: InitContext, notes: list[str]
) -> Initializer:
    # who plans may try values out in the network; what is kept by the composition is not known to a scheme within it
    values = [p.detach().clone() for p in model.parameters()] if scheme.plan is not None else []
    while scheme.plan is not None:
        scheme, reasons = scheme.plan(model, sites, context)
        notes.extend(reasons)
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), values, strict=False):  # none where nothing was planned
            parameter.copy_(value)
    return scheme


def _one(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
    return bias_rule(1.0)(site, generator, context)


def _norm_of(scheme: Initializer) -> Draw:
    return scheme.norm or _one


def _scale_of(scheme: Initializer) -> Draw:
    return scheme.scale or _one


# ------------------------------------------------------------------ one after the other
@factory
def chain(*, of: Sequence[Scheme] = ("he",), keep: tuple[str, ...] = ()) -> Initializer:
    """The values of the first scheme, then the steps of all in order: ``init.of=[orthogonal, lsuv, log_prior]``.

    Of the second scheme and the following ones only what they do to a whole network counts (`lsuv`, `data_dependent`,
    `metainit`, `gradinit`, `log_prior`, `mimetic`). The learning rate's multipliers are the first's.

    Refuses an empty list, and a later link that has no such step. Cost: that of the links.
    """
    if not of:
        raise ConfigError("init.of", "[]", "must name one initialiser or more, such as [he, lsuv]")
    links = tuple(resolve(link, f"init.of[{i}]") for i, link in enumerate(of))
    return _chain_steps(links, tuple(keep))


def _chain_steps(links: tuple[Initializer, ...], keep: tuple[str, ...]) -> Initializer:
    first, later = links[0], links[1:]
    for i, link in enumerate(later, start=1):
        if not link.adapt and link.plan is None:
            raise ConfigError(
                f"init.of[{i}]",
                link.name,
                "only draws values, and those were drawn by the first; what may follow are steps that look at the "
                "network: lsuv, data_dependent, metainit, gradinit, log_prior, mimetic",
            )

    def check(sites: tuple[Site, ...], context: InitContext) -> None:
        for link in links:
            if link.check is not None:
                link.check(sites, context)

    def plan(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> tuple[Initializer, tuple[str, ...]]:
        notes: list[str] = []
        return _chain_steps(tuple(_plan_scheme(s, model, sites, context, notes) for s in links), keep), tuple(notes)

    return replace(
        first,
        name="chain",
        sigmas=first.sigmas if not later else None,  # later steps rescale what was meant
        keep=tuple(dict.fromkeys((*first.keep, *keep))),
        check=check,
        adapt=tuple(exclude_kept(step, (*first.keep, *keep)) for link in links for step in link.adapt),
        plan=plan if any(link.plan is not None for link in links) else None,
    )

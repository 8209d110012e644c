"""Initialisers for recurrent layers: the LSTM/GRU convention, chrono, IRNN and np-RNN.

torch's LSTM and GRU add *two* bias vectors, ``bias_ih`` and ``bias_hh``. What a scheme says of "the bias" is put into
``bias_ih`` alone; ``bias_hh`` is zero. The gates lie in the order i, f, g, o (LSTM) and r, z, n (GRU).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn

from initlab.core import seeds
from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.inits.laws import draw, torch_bound
from initlab.inits.orthogonal import orthogonal_matrix
from initlab.inits.scaled import he, xavier
from initlab.spec import Draw, InitContext, Initializer, PositiveFloat, Site

_GATED = ("lstm", "gru")
_RECURRENT = ("rnn", *_GATED)

#: bias of one gate of a recurrent layer: (site of the gate, gate's name, context) → values
GateBias = Callable[[Site, str, InitContext], Tensor]
InputLaw = Literal["xavier", "he", "torch"]
StateLaw = Literal["orthogonal", "xavier", "he", "torch"]


@factory
def recurrent(
    *,
    inputs: InputLaw = "xavier",
    state: StateLaw = "orthogonal",
    gain: PositiveFloat = 1.0,
    forget_bias: float = 1.0,
    update_bias: float = 0.0,
    bias: float = 0.0,
    keep: tuple[str, ...] = (),
) -> Initializer:
    """The convention for nn.RNN, nn.LSTM and nn.GRU: Glorot for inputs, one orthogonal matrix a gate for the state.

    The forget gate's bias is 1, so that σ(1) = 0.731 of the cell's state is kept at first (Gers, Schmidhuber & Cummins,
    2000; Jozefowicz, Zaremba & Sutskever, ICML 2015). A GRU keeps state through its update gate z, which in torch
    multiplies the *old* state: a positive `update_bias` does for it what the forget bias does. Layers that are not
    recurrent are He's.

    Args:
        inputs: law of the weights on a recurrent layer's inputs; ``torch`` is its module's own, U(±1/√N) for a state of
            N units.
        state: law of the weights on its previous state, likewise.
        gain: of the latter.
        forget_bias: of an LSTM's gate f.
        update_bias: of a GRU's gate z.
        bias: every other bias.

    Refuses networks without recurrent layers, and a forget or update bias where the layer has no biases.
    Cost: no data pass.
    """
    rest, glorot = he(bias=bias), xavier(bias=bias)
    laws: dict[str, Draw] = {"xavier": glorot.weight, "he": rest.weight, "torch": _torch_uniform}
    asked = {"lstm": forget_bias, "gru": update_bias}

    def check(sites: tuple[Site, ...], context: InitContext) -> None:
        del context
        _require_recurrent("recurrent", sites, _RECURRENT)
        wanted = tuple(kind for kind, value in asked.items() if value != bias)
        _require_biases("recurrent", sites, wanted, "set init.forget_bias=0 and init.update_bias=0, or bias=True there")

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        if site.role == "recurrent":
            if state == "orthogonal":
                return gain * orthogonal_matrix(*_square(site), generator)
            return gain * laws[state](site, generator, context)
        return laws[inputs if site.kind in _RECURRENT else "he"](site, generator, context)

    def gate_bias(site: Site, gate: str, context: InitContext) -> Tensor:
        del context
        special = {("lstm", "f"): forget_bias, ("gru", "z"): update_bias}
        return torch.full(site.shape, float(special.get((site.kind, gate), bias)))

    return replace(
        rest, name="recurrent", weight=weight, bias=_gate_biases(gate_bias, rest.bias), keep=keep, check=check
    )


@factory
def chrono(
    *,
    t_max: Annotated[int, Ge(3)] = 100,
    inputs: InputLaw = "xavier",
    state: StateLaw = "orthogonal",
    keep: tuple[str, ...] = (),
) -> Initializer:
    """Gates whose memories last from 2 to `t_max` steps. Tallec & Ollivier, ICLR 2018.

    LSTM: b_f = log u with u ~ U(1, t_max - 1), one a unit, and b_i = -b_f; a unit then forgets in
    1/(1 - σ(b_f)) = 1 + u steps. GRU: torch's update gate z multiplies the old state, so b_z = log u. Other biases are
    zero, weights those of `recurrent`.

    Args:
        t_max: the longest dependency that is looked for, in steps.

    Refuses networks without an LSTM or GRU, and those without biases. Cost: no data pass.
    """
    base = recurrent(inputs=inputs, state=state, forget_bias=0.0, keep=keep)

    def check(sites: tuple[Site, ...], context: InitContext) -> None:
        del context
        _require_recurrent("chrono", sites, _GATED)
        _require_biases("chrono", sites, _GATED, "chrono is a rule for biases; build the layer with bias=True")

    def gate_bias(site: Site, gate: str, context: InitContext) -> Tensor:
        if gate not in ("i", "f", "z"):
            return torch.zeros(site.shape)
        # the gates i and f share u: both draw it anew from a generator of the layer's own
        generator = seeds.generator(context.seed, "init", site.name, "chrono")
        log_u = torch.empty(site.shape).uniform_(1.0, t_max - 1.0, generator=generator).log()
        return -log_u if gate == "i" else log_u

    return replace(base, name="chrono", bias=_gate_biases(gate_bias, base.bias), check=check)


@factory
def irnn(
    *, scale: float = 1.0, std: PositiveFloat = 1e-3, bias: float = 0.0, keep: tuple[str, ...] = ()
) -> Initializer:
    """W_hh = scale·I, W_ih ~ N(0, std²), b = 0, for RNNs of rectified units. Le, Jaitly & Hinton, 2015.

    Without input the state stays as it is, and so does the gradient, over any number of steps. Layers that are not
    recurrent are He's.

    The paper has one recurrent layer. Each further one multiplies the signal by about std·√N for N units below (0.01
    at the default and N = 100): a note says so.

    Refuses networks without an nn.RNN, and LSTMs and GRUs, whose gates do that in another way. Cost: no data pass.
    """
    rest = he(bias=bias, keep=keep)

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        if site.role == "recurrent":
            return scale * torch.eye(*_square(site))
        if site.kind == "rnn":
            return draw(site.shape, std, "normal", generator)
        return rest.weight(site, generator, context)

    biases = _gate_biases(_constant(bias), rest.bias)
    rules = replace(rest, name="irnn", weight=weight, bias=biases, check=_require_plain_rnn("irnn"))

    def plan(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> tuple[Initializer, tuple[str, ...]]:
        del model, context
        return rules, _note_on_depth(sites, std)

    return replace(rules, plan=plan)


def _note_on_depth(sites: tuple[Site, ...], std: float) -> tuple[str, ...]:
    inputs = [s for s in sites if s.kind == "rnn" and s.role == "weight" and not s.name.endswith("_reverse")]
    if len(inputs) < 2:
        return ()
    root = math.sqrt(inputs[1].fan_in)
    return (
        f"irnn: made for one recurrent layer, and this network has {len(inputs)}; with N(0, {std:g}²) on the inputs "
        f"each further layer receives about {std * root:.2g} of the signal (init.std={1 / root:.2g} keeps its size)",
    )


@factory
def np_rnn(*, bias: float = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """A positive definite W_hh whose largest eigenvalue is 1, the others between. Talathi & Vartak, 2015.

        A = RᵀR/N with R ~ N(0, 1),   W_hh = (A + I)/λ_max(A + I)

    One direction of the state is kept for ever and the others fade, at different speeds: an IRNN with some room for
    error. Input weights are √2·e^{1.2/(max(N, 6) - 2.4)}·N(0, 1/fan_in), N the size of the state; the rest is He's.

    Refuses what `irnn` refuses. Cost: no data pass, eigenvalues of an (N, N) matrix.
    """
    rest = he(bias=bias, keep=keep)

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        n = site.shape[0]
        if site.role == "recurrent":
            r = torch.empty(_square(site), dtype=torch.float64).normal_(generator=generator)
            a = r.T @ r / n + torch.eye(n, dtype=torch.float64)
            return (a / torch.linalg.eigvalsh(a)[-1]).to(torch.float32)
        if site.kind == "rnn":
            std = math.sqrt(2.0) * math.exp(1.2 / (max(n, 6) - 2.4)) / math.sqrt(site.fan_in)
            return draw(site.shape, std, "normal", generator)
        return rest.weight(site, generator, context)

    biases = _gate_biases(_constant(bias), rest.bias)
    return replace(rest, name="np_rnn", weight=weight, bias=biases, check=_require_plain_rnn("np_rnn"))


# ------------------------------------------------------------------ what they share
def _gate_biases(rule: GateBias, others: Draw) -> Draw:
    """`rule` for the gates of ``bias_ih``, zero for ``bias_hh``, `others` for layers that are not recurrent."""

    def biases(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        if site.kind not in _RECURRENT:
            return others(site, generator, context)
        if site.name.rpartition(".")[2].startswith("bias_hh"):
            return torch.zeros(site.shape)
        return rule(site, site.gates[0].name if site.gates else "", context)

    return biases


def _constant(value: float) -> GateBias:
    def gate_bias(site: Site, gate: str, context: InitContext) -> Tensor:
        del gate, context
        return torch.full(site.shape, float(value))

    return gate_bias


def _torch_uniform(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
    """U(±1/√N), N the units of the state: what nn.RNN, nn.LSTM and nn.GRU give all their parameters."""
    del context
    bound = torch_bound(site)
    return torch.empty(site.shape).uniform_(-bound, bound, generator=generator)


def _square(site: Site) -> tuple[int, int]:
    return site.shape[0], site.shape[1]


def _require_recurrent(name: str, sites: tuple[Site, ...], kinds: tuple[str, ...]) -> None:
    if not any(s.kind in kinds for s in sites):
        words = " or ".join(f"nn.{k.upper()}" for k in kinds)
        raise ConfigError("init", name, f"needs a recurrent layer ({words}); this network has none")


def _require_biases(name: str, sites: tuple[Site, ...], kinds: tuple[str, ...], way_out: str) -> None:
    for site in sites:
        lacks = not any(s.layer == site.layer and s.role == "bias" for s in sites)
        if site.kind in kinds and site.role == "recurrent" and lacks:
            raise ConfigError("init", name, f"the recurrent layer {site.layer or site.name} has no biases; {way_out}")


def _require_plain_rnn(name: str) -> Callable[[tuple[Site, ...], InitContext], None]:
    def check(sites: tuple[Site, ...], context: InitContext) -> None:
        del context
        _require_recurrent(name, sites, ("rnn",))
        gated = next((s for s in sites if s.kind in _GATED), None)
        if gated is not None:
            raise ConfigError(
                "init", name, f"is for nn.RNN; {gated.name} belongs to an nn.{gated.kind.upper()}: use init=recurrent"
            )

    return check

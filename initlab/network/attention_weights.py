"""Weights of each self-attention of a network: queries, keys, values and output, stacked or apart; and its heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from initlab.errors import ConfigError
from initlab.network.attention_calls import attention_calls
from initlab.spec import Site

#: last parts of the names of layers that make queries, keys or values on their own
_NAMES = {
    "q": ("q", "q_proj", "query", "to_q", "wq", "w_q", "q_lin", "c_q", "query_proj", "q_linear", "linear_q"),
    "k": ("k", "k_proj", "key", "to_k", "wk", "w_k", "k_lin", "c_k", "key_proj", "k_linear", "linear_k"),
    "v": ("v", "v_proj", "value", "to_v", "wv", "w_v", "v_lin", "c_v", "value_proj", "v_linear", "linear_v"),
}


@dataclass(frozen=True, kw_only=True)
class AttentionWeights:
    """Weights of one self-attention that is no `nn.MultiheadAttention`.

    Attributes:
        name: of the module that holds them.
        stacked: one weight with queries, keys and values as its gates; None where they are apart.
        apart: queries, keys and values; empty where they are stacked.
        output: weight at the end of the branch; None where it was not found.
        width: features of a token.
    """

    name: str
    stacked: Site | None = None
    apart: tuple[Site, ...] = ()
    output: Site | None = None
    width: int

    @property
    def first(self) -> Site:
        """The weight that makes the queries."""
        return self.stacked if self.stacked is not None else self.apart[0]


def attention_weights(sites: Sequence[Site]) -> tuple[AttentionWeights, ...]:
    """The attentions among `sites`, in their order.

    Stacked weights are recognised by what is done with their output; weights that are apart by the last part of their
    names (q_proj, query, wq, ...).

    Raises:
        ConfigError: queries, keys and values of different widths.
    """
    found: list[AttentionWeights] = []
    for site in sites:
        if [g.name for g in site.gates] == ["q", "k", "v"] and site.kind == "linear":
            found.append(
                AttentionWeights(
                    name=site.layer.rpartition(".")[0], stacked=site, output=_output(site, sites), width=_width(site)
                )
            )
        elif _letter(site) == "q":
            others = {_letter(s): s for s in sites if _parent(s) == _parent(site) and _letter(s)}
            if set(others) == {"q", "k", "v"}:
                parts = tuple(others[letter] for letter in "qkv")
                for part in parts:
                    _width(part)
                found.append(
                    AttentionWeights(name=_parent(site), apart=parts, output=_output(site, sites), width=_width(site))
                )
    return tuple(found)


def heads_of(model: nn.Module, found: Sequence[AttentionWeights], inputs: Any) -> dict[str, int]:
    """Name of each attention → its number of heads, from a forward pass of `model`.

    Raises:
        ConfigError: where no attention of the pass belongs to the weights.
    """
    calls = attention_calls(model, inputs)
    heads: dict[str, int] = {}
    for each in found:
        inside = [c for c in calls if f"{each.first.layer}.".startswith(f"{c.module}." if c.module else "")]
        near = max((len(c.module) for c in inside), default=-1)
        chosen = {c.heads for c in inside if len(c.module) == near}
        if len(chosen) != 1:
            raise ConfigError("init", each.first.name, "how many heads read it was not seen in a forward pass")
        heads[each.name] = chosen.pop()
    return heads


# ------------------------------------------------------------------ pieces
def _letter(site: Site) -> str:
    if site.kind != "linear" or site.role != "weight" or site.gates:
        return ""
    last = site.layer.rpartition(".")[2]
    return next((letter for letter, names in _NAMES.items() if last in names), "")


def _parent(site: Site) -> str:
    return site.layer.rpartition(".")[0]


def _width(site: Site) -> int:
    """Features of a token, where each of queries, keys and values has as many."""
    sizes = {g.stop - g.start for g in site.gates} or {_outs(site)}
    if sizes != {_ins(site)}:
        made = ", ".join(map(str, sorted(sizes)))
        raise ConfigError("init", site.name, f"makes {made} of {_ins(site)}: queries, keys and values need one width")
    return _ins(site)


def _outs(site: Site) -> int:
    return site.shape[1] if site.dims == "io" else site.shape[0]


def _ins(site: Site) -> int:
    return site.shape[0] if site.dims == "io" else site.shape[1]


def _output(site: Site, sites: Sequence[Site]) -> Site | None:
    if site.branch is None:
        return None
    own = [s for s in sites if s.branch is not None and s.branch.index == site.branch.index and s.branch.is_last]
    fit = [s for s in own if s.role == "weight" and s.kind == "linear" and _outs(s) == _ins(s) == _ins(site)]
    return fit[0] if len(fit) == 1 else None

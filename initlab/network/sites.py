"""Describes each parameter of a network: role, fans, gates, and the activation that it feeds (`describe`).

What a parameter is follows from what the network does with it: a forward pass on an example is recorded operation by
operation (`trace`), so that it does not matter whether the network is written with modules or with functions. What the
classes of torch.nn say refines it (the gates of recurrent layers, the stacked projections of attention).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from initlab.core.text import listed
from initlab.errors import ConfigError
from initlab.network.graph import Graph, trace
from initlab.network.inputs import head
from initlab.network.layers import GATES, by_class
from initlab.network.modules import is_scale, is_unmade
from initlab.network.reading import by_use, kept_value
from initlab.network.state import preserve_state
from initlab.network.wiring import WEIGHT_LAYERS, Wiring, wire, wire_by_registration
from initlab.spec import Activation, Role, Site

#: examples of the pass from which the wiring is read
_EXAMPLES = 2


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What is known of a network before it is initialised.

    Attributes:
        sites: every parameter.
        activations: activations that are not modules known as such: name in `Site.activation` → what it is.
        notes: what was not understood, or is not as one may think.
    """

    sites: tuple[Site, ...]
    activations: Mapping[str, Activation] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def describe(model: nn.Module, example: Any = None, *, given: bool = False) -> tuple[Site, ...]:
    """Every parameter of `model` as a `Site`, in the order of the forward pass.

    Args:
        model: any module. Parameters that two modules share appear once, under their first name.
        example: an input batch on the model's device: a tensor, or what `inputs.call` takes. Without it the order is
            that of registration, activations are taken to follow in that order too, and the last weight is the head.
        given: whether the activation is known from elsewhere, where no example shows it.

    Returns:
        One site a parameter. Those that no pass shows and no class explains have ``kind="free"``.
    """
    return survey(model, example, given=given).sites


def survey(model: nn.Module, example: Any = None, *, given: bool = False) -> Survey:
    """As `describe`, with the activations that were found and notes."""
    _refuse_unmade(model)
    graphs = _graphs(model, example) if example is not None else []
    wirings = [wire(g) for g in graphs] or [wire_by_registration(model, given=given)]
    reader = _Reader(model, graphs, wirings)
    sites = reader.sites()
    activations: dict[str, Activation] = {}
    for graph in reversed(graphs):
        activations |= graph.activations
    return Survey(sites=sites, activations=activations, notes=tuple(reader.notes(sites, seen=bool(graphs))))


def weights(sites: tuple[Site, ...]) -> tuple[Site, ...]:
    """The sites that hold a matrix of weights: roles weight, recurrent, embedding and head."""
    return tuple(
        s
        for s in sites
        if s.role in ("weight", "recurrent", "embedding", "head") and s.kind not in ("token", "position")
    )


def _refuse_unmade(model: nn.Module) -> None:
    for name, p in model.named_parameters():
        if is_unmade(p):
            raise ConfigError(
                "model", None, f"parameter {name} has no shape yet: call the lazy module once, then initialise it"
            )
        if p.is_meta:
            raise ConfigError(
                "model", None,
                f"parameter {name} is on the meta device and has no memory: call model.to_empty(device=...) first, "
                "then initialise it, then load or compute its buffers",
            )  # fmt: skip


def _graphs(model: nn.Module, example: Any) -> list[Graph]:
    """The pass in eval mode and, where it leaves parameters out, the one in training mode."""
    few = head(example, _EXAMPLES)
    found: list[Graph] = []
    failed: Exception | None = None
    names = {n for n, _ in model.named_parameters()}
    with preserve_state(model):
        for training in (False, True):
            if found and names <= found[0].reached:
                break
            for inputs in (few, example) if few is not example else (example,):
                model.train(training)
                try:
                    found.append(trace(model, inputs))
                    break
                except Exception as error:  # of somebody's forward: said below if no pass succeeds
                    failed = failed or error
    if not found and failed is not None:
        raise failed
    return found


class _Reader:
    """Puts together what the passes showed and what the classes say."""

    def __init__(self, model: nn.Module, graphs: list[Graph], wirings: list[Wiring]) -> None:
        self.model = model
        self.graphs = graphs
        self.wirings = wirings
        self.modules = dict(model.named_modules())
        self.reached = frozenset[str]().union(*(g.reached for g in graphs))
        self.shared = _shared(model)
        self.used = frozenset[str]().union(*(g.uses for g in graphs))

    def sites(self) -> tuple[Site, ...]:
        seen: set[int] = set()
        found: list[Site] = []
        for layer, module in self.modules.items():
            for site, parameter in self._of_module(layer, module):
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    found.append(self._wired(site, parameter))
        ranks = {at: i for i, at in enumerate(sorted({self._place(s) for s in found}))}
        return tuple(sorted((replace(s, order=ranks[self._place(s)]) for s in found), key=lambda s: s.order))

    # ---------------------------------------------------------- one parameter
    def _of_module(self, layer: str, module: nn.Module) -> Iterator[tuple[Site, nn.Parameter]]:
        for short, parameter in module.named_parameters(recurse=False):
            name = f"{layer}.{short}" if layer else short
            owner, owner_layer, what, rest = self._owner(layer, module, short)
            site = by_class(name, owner_layer, owner, what, parameter)
            if rest is not None:
                effective = f"{owner_layer}.{what}" if owner_layer else what
                site = replace(site, effective=effective)
                if not rest:
                    yield replace(site, kind="computed", role="scale"), parameter
                    continue
            yield site, parameter

    def _owner(self, layer: str, module: nn.Module, short: str) -> tuple[nn.Module, str, str, bool | None]:
        """(module, its name, name of the tensor, whether this is its main parameter) under reparametrisations."""
        prefix, _, attribute = layer.rpartition(".parametrizations.")
        if not prefix and layer.startswith("parametrizations."):
            attribute = layer.removeprefix("parametrizations.")
        if isinstance(module, nn.utils.parametrize.ParametrizationList):
            largest = max(module.named_parameters(recurse=False), key=lambda p: p[1].numel())[0]
            return self.modules[prefix], prefix, attribute, short == largest
        for ending, main in (("_v", True), ("_g", False), ("_orig", True)):
            base = short.removesuffix(ending)
            if base != short and hasattr(module, base) and not isinstance(getattr(module, base), nn.Parameter):
                return module, layer, base, main
        return module, layer, short, None

    def _wired(self, site: Site, parameter: nn.Parameter) -> Site:
        site = replace(site, frozen=not parameter.requires_grad)
        for graph in self.graphs:
            if site.name in graph.uses or site.kind == "free":
                site = by_use(site, graph, parameter, own=site.kind == "free")
                if site.name in graph.uses:
                    break
        for wiring in self.wirings:
            keys = [k for k in (site.name, site.layer) if k in wiring.order]
            if keys or not self.graphs:
                return self._placed(site, wiring, parameter)
        return replace(self._placed(site, self.wirings[0], parameter), unused=bool(self.graphs) and self._unused(site))

    def _placed(self, site: Site, wiring: Wiring, parameter: nn.Parameter) -> Site:
        after, before, branch = (
            _of(table, site, self.used) for table in (wiring.after, wiring.before, wiring.branches)
        )
        is_head = (
            site.role == "weight"
            and site.kind not in GATES
            and (site.name in wiring.heads or (not self.graphs and site.layer in wiring.heads))
        )
        role: Role = "head" if is_head else site.role
        site = replace(
            site, role=role, activation=after, activation_before=before, branch=branch,
            reading=wiring.reading.get(after) if after else None,
            mix=wiring.mix.get(site.name, ()),
            gated=site.name in wiring.values,
            normed=bool({site.name, site.layer} & wiring.normed),
            alone=self._alone(site),
        )  # fmt: skip
        if site.name in self.shared and not self.graphs and site.kind == "embedding":
            site = replace(
                site, tied=True, role="head", kind="linear", fan_in=float(site.shape[1]), fan_out=float(site.shape[0])
            )
        module = self.modules.get(site.layer)
        if not (module is not None and is_scale(module)):
            site = replace(site, own_value=kept_value(site, parameter))
        return site

    def _place(self, site: Site) -> tuple[int, int]:
        for i, wiring in enumerate(self.wirings):
            known = [wiring.order[k] for k in (site.layer, site.name) if k in wiring.order]
            if site.kind != "free" or known:
                together = [wiring.order[n] for n in self._siblings(site) if n in wiring.order]
                if known or together:
                    return i, min([*known, *together])
        return len(self.wirings), 0

    def _siblings(self, site: Site) -> list[str]:
        """The parameters of the same layer, which have one place; of a module of several weights each has its own."""
        module = self.modules.get(site.layer)
        if module is None or not site.layer or isinstance(module, (nn.ParameterList, nn.ParameterDict)):
            return [site.name]
        own = [f"{site.layer}.{n}" for n, _ in module.named_parameters(recurse=False)]
        return (
            own if sum(p.dim() > 1 for p in module.parameters(recurse=False)) < 2 or site.kind in GATES else [site.name]
        )

    def _alone(self, site: Site) -> bool:
        module = self.modules.get(site.layer)
        if module is None or site.effective or isinstance(module, nn.MultiheadAttention):
            return not site.effective
        if isinstance(module, WEIGHT_LAYERS):
            return True
        matrices = [n for n, p in module.named_parameters() if p.dim() > 1]
        return len(matrices) <= 1 and next(module.children(), None) is None

    def _unused(self, site: Site) -> bool:
        return site.name not in self.reached and site.effective == ""

    # ---------------------------------------------------------- what to say
    def notes(self, sites: tuple[Site, ...], *, seen: bool) -> Iterator[str]:
        tied = [s.name for s in sites if s.tied]
        if tied:
            yield f"{', '.join(tied)}: tied, looked up and multiplied with; it has the scale of a linear map"
        unused = [s.name for s in sites if s.unused]
        if unused:
            yield f"not used in a forward pass, in eval or training mode: {listed(unused)}"
        trained = [
            s.name for s in sites if not s.unused and len(self.graphs) > 1 and s.name not in self.graphs[0].reached
        ]
        if trained:
            yield f"used in training mode only: {listed(trained)}"
        if not seen and sum(s.role in ("weight", "head") for s in sites) > 1 and not any(s.activation for s in sites):
            yield (
                "no activation was seen: there is no activation module, and functions are seen in a forward pass only; "
                "give example= (an input batch), or activation="
            )


def _of(table: Mapping[str, Any], site: Site, used: frozenset[str]) -> Any:
    """The entry of a parameter; of its layer, where the layer is one thing with it."""
    if site.name in table:
        return table[site.name]
    of_layer = site.role in ("bias", "norm", "scale") or site.kind in (*GATES, "attention") or site.name not in used
    return table.get(site.layer) if of_layer else None


def _shared(model: nn.Module) -> set[str]:
    """Names of embeddings whose matrix is a linear layer's weight too."""
    linear = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear)}
    return {
        f"{n}.weight" if n else "weight"
        for n, m in model.named_modules() if isinstance(m, nn.Embedding) and id(m.weight) in linear
    }  # fmt: skip

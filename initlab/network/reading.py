"""What the uses of a parameter in a pass make of it: a site's role, fans, layout and parts."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

from initlab.network.graph import Graph
from initlab.network.use_kinds import Use
from initlab.spec import Gate, Site

#: parameters that an initialiser has drawn: their zeros are not those of their module's constructor
drawn: WeakIdKeyDictionary = WeakIdKeyDictionary()  # pyright: ignore[reportMissingTypeArgument]


def by_use(site: Site, graph: Graph, parameter: nn.Parameter, *, own: bool) -> Site:
    """`site` with what `graph` shows of its use.

    Args:
        own: whether the class of its module is not known, so that the use alone tells.
    """
    uses = graph.uses.get(site.name, ())
    contraction = next((u for u in uses if u.kind == "contract" and u.names[0] == site.name), None)
    looked_up = next((u for u in uses if u.kind == "lookup"), None)
    if site.name in graph.learned and contraction is None:
        return replace(site, kind="activation", role="scale") if own else site
    if contraction is not None and looked_up is not None:
        return replace(
            site, kind="linear", role="weight", tied=True, fan_in=contraction.fan_in, fan_out=contraction.fan_out,
            dims=_dims(contraction, site),
        )  # fmt: skip
    if site.kind == "embedding" and contraction is None and looked_up is None and uses:
        return replace(site, kind="token" if uses[0].kind == "token" else "position")
    if contraction is not None:
        if own:
            site = _contracted(site, contraction)
        site = replace(site, **_affine(contraction, parameter))
        return _split(site, graph.parts.get(site.name, ()))
    if own and uses and uses[0].kind == "output":
        return replace(site, kind="scale", role="scale")
    if own and uses and uses[0].kind == "contract":  # one of several that the used weight is computed from
        return replace(site, kind="computed", role="scale")
    return _elementwise(site, uses, graph, parameter) if own and uses else site


def _dims(use: Use, site: Site) -> str:
    usual = "oi" + "t" * (len(site.shape) - 2)
    return "" if use.dims == usual else use.dims


def _contracted(site: Site, use: Use) -> Site:
    dims = use.dims if len(use.dims) == len(site.shape) else ""
    taps = dims.count("t") if "t" in dims else 0
    kind = "linear" if not taps else f"conv_transpose{taps}d" if use.transposed else f"conv{taps}d"
    fan_out, groups = use.fan_out, use.groups
    while dims.startswith("o") and dims.count("o") > 1 and "t" not in dims:
        # experts, heads, q k v: a matrix each, where together they are taller than wide
        outs = math.prod(n for n, d in zip(site.shape, dims, strict=True) if d == "o")
        if outs <= use.fan_in:
            break
        size = site.shape[dims.index("o")]
        dims, fan_out, groups = dims.replace("o", "g", 1), float(outs // size), groups * size
    return replace(
        site, kind=kind, role="weight", fan_in=use.fan_in, fan_out=fan_out, groups=groups if taps or "g" in dims else 1,
        transposed=use.transposed, stride=use.stride, padding=use.padding if any(use.padding) else (),
        dims="" if taps or dims == "oi" else dims,
    )  # fmt: skip


def _affine(use: Use, parameter: nn.Parameter) -> dict[str, float]:
    """multiplier and offset where the used tensor is multiplier · parameter + offset; nothing where it is not."""
    found = use.derived
    if found is None or found.value.shape != parameter.shape or len(found.names) > 1 or found.value.is_complex():
        return {}
    value, p = found.value.detach().double().flatten(), parameter.detach().double().flatten()
    if p.numel() < 2 or not float(p.std()) > 0:
        spread = float(value.std()) if value.numel() > 1 else 0.0
        return {"offset": float(value.mean() - p.mean())} if spread == 0 and not bool(p.any()) else {}
    slope = float(((value - value.mean()) * (p - p.mean())).sum() / (p - p.mean()).square().sum())
    offset = float(value.mean() - slope * p.mean())
    if not torch.allclose(value, slope * p + offset, rtol=1e-3, atol=1e-6 * float(value.abs().max())) or not slope:
        return {}
    return {"multiplier": slope, "offset": 0.0 if abs(offset) < 1e-6 else offset}


def _split(site: Site, borders: tuple[int, ...]) -> Site:
    """The parts of a fused weight as gates, each a matrix of its own."""
    if len(borders) < 3 or site.gates:
        return site
    axis = site.dims.index("o") if site.dims else 0
    if borders[-1] != site.shape[axis]:
        return site
    names = ("q", "k", "v") if len(borders) == 4 else tuple(f"part{i}" for i in range(len(borders) - 1))
    gates = tuple(Gate(name=n, start=a, stop=b) for n, a, b in zip(names, borders, borders[1:], strict=False))
    mean = site.fan_out * (borders[-1] / len(gates)) / borders[-1]
    return replace(site, gates=gates, fan_out=mean)


def _elementwise(site: Site, uses: tuple[Use, ...], graph: Graph, parameter: nn.Parameter) -> Site:
    use = uses[0]
    affine = _affine(use, parameter)
    site = replace(site, **affine)
    computed = use.derived is not None and use.derived.value.shape == parameter.shape and not affine
    if use.kind == "norm_scale":
        return replace(site, kind="norm", role="norm")
    if use.kind == "norm_shift":
        return replace(site, kind="norm", role="bias")
    if use.kind == "slope":
        return replace(site, kind="activation", role="scale")
    if use.kind == "scale":
        after_norm = any(
            n.op == "factor" and n.name == site.name and _behind_norm(graph, n.inputs) for n in graph.nodes
        )
        if after_norm and not computed:
            return replace(site, kind="norm", role="norm")
        return replace(site, kind="scale", role="scale", multiplier=1.0, offset=0.0)
    if use.kind == "shift":
        if use.rank > 1 or (use.derived is not None and use.derived.looked_up):
            return replace(site, kind="position", role="embedding", fan_in=1.0, fan_out=float(site.shape[-1]))
        behind = any(n.op == "shape" and n.shift == site.name and _behind_norm(graph, n.inputs) for n in graph.nodes)
        return replace(site, kind="norm" if behind else "linear", role="bias", fan_in=use.fan_in)
    if site.name in graph.beside_data:
        return site  # a part of the data, on whose scale no scheme speaks
    if use.kind in ("token", "lookup"):
        kind = "embedding" if use.kind == "lookup" else "token"
        fan_out = float(site.shape[-1]) if site.shape else 1.0
        return replace(site, kind=kind, role="embedding", fan_in=1.0, fan_out=fan_out)
    return site


def _behind_norm(graph: Graph, inputs: tuple[int, ...]) -> bool:
    node = graph.nodes[inputs[0]] if inputs else None
    while node is not None and node.op in ("factor", "shape") and node.inputs:
        node = graph.nodes[node.inputs[0]]
    return node is not None and node.op == "norm"


def kept_value(site: Site, parameter: nn.Parameter) -> str:
    """Why a parameter keeps the value of its own module, empty where it is drawn."""
    if site.kind == "scale":
        return "a multiplier of its module's own choice"
    if site.kind == "computed" and not site.effective:
        return "another weight is computed from it"
    zero = (
        not parameter.is_meta
        and parameter.numel() > 0
        and parameter not in drawn
        and not bool(parameter.detach().any())
    )
    if site.role == "weight" and zero and site.branch is not None and site.branch.is_last:
        return "zero-initialised end of a branch"
    return ""

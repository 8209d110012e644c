"""LSUV: rescales each layer until its output has variance 1 on a batch of data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from initlab.core.factories import factory
from initlab.inits.composition import Scheme, resolve
from initlab.inits.gates import visit_gates
from initlab.inits.streaming import (
    batch_of,
    combine_checks,
    deterministic_training_mode,
    exclude_kept,
    require_data,
    stream,
    weights_by_layer,
)
from initlab.spec import InitContext, Initializer, PositiveFloat, PositiveInt, Site


@factory
def lsuv(
    *,
    base: Scheme = "orthogonal",
    tol: PositiveFloat = 0.02,
    max_iterations: PositiveInt = 10,
    keep: tuple[str, ...] = (),
) -> Initializer:
    """Layer-sequential unit variance. Mishkin & Matas, ICLR 2016.

    After an orthogonal draw, layer by layer in the order of the forward pass: W ← W/√Var(h) until the output h has
    |Var(h) - 1| ≤ tol over the batch, its units and positions together. The head is such a layer too.

    What the output h is: of a linear map or convolution, its own output, before norm, activation or residual sum; of a
    recurrent layer, the pre-activations of its gates over all steps, W_ih and W_hh being scaled alike (a GRU's n gate
    counts without its reset gate); of an attention, first the queries, keys and values each, then what its output
    projection sends. Norms use the batch's statistics, dropout is off. A layer that is called twice is set by its first
    call.

    Args:
        base: what draws the weights first.
        tol: how far from 1 the variance may stay.
        max_iterations: rescalings of a layer; without bias and tied weights one is exact.

    Refuses to work without data. A layer whose output is constant keeps its weights, which the notes tell. Cost: one
    batch; one forward pass, in which each layer is computed two or three times.
    """
    first = resolve(base, "init.base")

    def step(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> tuple[str, ...]:
        batch = batch_of(context, "lsuv")
        layers = weights_by_layer(sites)
        parameters = dict(model.named_parameters())
        before: dict[str, float] = {}
        after: dict[str, float] = {}

        def rescale(name: str, tensors: Sequence[Tensor], measure: Callable[[], Tensor]) -> None:
            variance = before[name] = _variance(measure())
            for _ in range(max_iterations):
                if abs(variance - 1) <= tol or not 0 < variance < float("inf"):
                    break
                for tensor in tensors:
                    tensor.div_(variance**0.5)
                variance = _variance(measure())
            after[name] = variance

        def visit(name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            mine = {s.name.rpartition(".")[2]: parameters[s.name] for s in layers[name]}
            if isinstance(module, nn.RNNBase):

                def look(suffix: str, measure: Callable[[], Tensor]) -> None:
                    pair = [mine[w + suffix] for w in ("weight_ih", "weight_hh") if w + suffix in mine]
                    if pair:
                        rescale(f"{name}{suffix}", pair, measure)

                visit_gates(module, args[0] if args else kwargs["input"], look)
            elif isinstance(module, nn.MultiheadAttention):
                for gate, rows, measure in _projections(module, args, kwargs, mine):
                    rescale(f"{name}.{gate}", [rows], measure)
                if "weight" in mine:
                    rescale(f"{name}.out", [mine["weight"]], lambda: module.forward(*args, **kwargs)[0])
            else:
                rescale(name, list(mine.values()), lambda: module.forward(*args, **kwargs))
            return module.forward(*args, **kwargs) if output is not None else None

        with deterministic_training_mode(model):
            unseen = stream(model, layers, batch.inputs, visit)
        return _notes(before, after, unseen, tol)

    keep = (*first.keep, *keep)
    return replace(
        first,
        name="lsuv",
        sigmas=None,
        keep=keep,
        adapt=(*first.adapt, exclude_kept(step, keep)),
        check=combine_checks(require_data("lsuv"), first.check),
    )


def _variance(h: Tensor) -> float:
    return float(h.float().var(correction=0))


def _projections(
    module: nn.MultiheadAttention, args: tuple[Any, ...], kwargs: dict[str, Any], mine: dict[str, nn.Parameter]
) -> list[tuple[str, Tensor, Callable[[], Tensor]]]:
    """(name, weight, output) for queries, keys and values; the weight is a view where the three are stacked."""
    given = dict(zip(("query", "key", "value"), args, strict=False)) | kwargs
    found: list[tuple[str, Tensor, Callable[[], Tensor]]] = []
    for i, name in enumerate(("query", "key", "value")):
        short = f"{name[0]}_proj_weight"
        if short in mine:
            w: Tensor = mine[short]
        elif "in_proj_weight" in mine:
            w = mine["in_proj_weight"].detach()[i * module.embed_dim : (i + 1) * module.embed_dim]
        else:
            continue
        stacked = dict(module.named_parameters(recurse=False)).get("in_proj_bias")
        bias = None if stacked is None else stacked[i * module.embed_dim : (i + 1) * module.embed_dim]
        x: Tensor = given[name]
        found.append((name, w, lambda x=x, w=w, bias=bias: F.linear(x, w, bias)))
    return found


def _notes(before: dict[str, float], after: dict[str, float], unseen: tuple[str, ...], tol: float) -> tuple[str, ...]:
    notes: list[str] = []
    if after:
        low, high = (f(before.values()) for f in (min, max))
        rest = [n for n, v in after.items() if abs(v - 1) > tol]
        notes.append(
            f"lsuv: output variances of {len(after)} layers were between {low:.3g} and {high:.3g}, "
            f"{len(after) - len(rest)} are now within {tol:g} of 1"
        )
        notes += [f"lsuv: {n} stayed at variance {after[n]:.3g}" for n in rest]
    return (*notes, *(f"lsuv: {name} was not called; its scale is unchanged" for name in unseen))

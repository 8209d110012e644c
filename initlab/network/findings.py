"""Findings about a network's parameters as they are: layers that hold the same numbers, a loud tied embedding."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from initlab.spec import Site

#: root mean square of the logits of a tied matrix, above which the loss at the start is far above ln V: 3 gives about
#: ln V + 3²/2, and a table of N(0, 1) with 64 numbers a token 8
LOUD = 3.0


@dataclass(frozen=True, kw_only=True)
class Start:
    """What was found in the parameters before training.

    Attributes:
        equal: a sentence for each set of layers that hold the same numbers.
        loud: a sentence for each matrix that is both looked up and multiplied with, and too large for logits.
    """

    equal: tuple[str, ...] = ()
    loud: tuple[str, ...] = ()


def at_start(model: nn.Module, sites: tuple[Site, ...]) -> Start:
    """Reads the parameters of `model` as they are."""
    return Start(equal=equal_layers(model, sites), loud=loud_tables(model, sites))


def loud_tables(model: nn.Module, sites: tuple[Site, ...]) -> tuple[str, ...]:
    """A sentence for each tied embedding whose logits have a root mean square above 3.

    A state of d entries of mean square 1 gives logits h·w of mean square d E[w²].
    """
    parameters = dict(model.named_parameters())
    found: list[str] = []
    for site in sites:
        p = parameters.get(site.name)
        if p is None or not site.tied or p.dim() != 2:
            continue
        d = p.shape[1]
        size = math.sqrt(d * float(_real(p).float().square().mean()))
        if size > LOUD:
            found.append(
                f"{site.name} is embedding and head at once; its entries make logits of root mean square {size:.2g}, "
                f"and a standard deviation of 1/sqrt({d}) = {d**-0.5:.2g} or 0.02 is usual"
            )
    return tuple(found)


def equal_layers(model: nn.Module, sites: tuple[Site, ...]) -> tuple[str, ...]:
    """A sentence for each set of weights that are copies of one another, as deep copies of one layer are."""
    parameters = dict(model.named_parameters())
    by_sum: dict[tuple[tuple[int, ...], float], list[str]] = {}
    for site in sites:
        p = parameters.get(site.name)
        if p is not None and site.role in ("weight", "recurrent", "head") and p.numel() > 1:
            some = _real(p).flatten()[:: max(1, p.numel() // 64)][:64].double().tolist()
            if any(some):
                by_sum.setdefault((tuple(p.shape), math.fsum(some)), []).append(site.name)
    return tuple(_sentences(parameters, by_sum))


def _sentences(
    parameters: dict[str, nn.Parameter], by_sum: dict[tuple[tuple[int, ...], float], list[str]]
) -> Iterator[str]:
    for names in by_sum.values():
        same = [n for n in names[1:] if torch.equal(parameters[n], parameters[names[0]])]
        if same:
            yield (
                f"{names[0]} and {', '.join(same[:4])}{' and more' if len(same) > 4 else ''} hold the same numbers: "
                "copies of one layer start alike; initialise them anew"
            )


def _real(p: nn.Parameter) -> torch.Tensor:
    """The numbers of `p`; of a complex one real and imaginary parts."""
    return torch.view_as_real(p.detach()) if p.is_complex() else p.detach()

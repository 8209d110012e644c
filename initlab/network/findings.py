"""Findings about a network's parameters as they are: layers that hold the same numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn

from initlab.spec import Site


def equal_layers(model: nn.Module, sites: tuple[Site, ...]) -> tuple[str, ...]:
    """A sentence for each set of weights that are copies of one another, as deep copies of one layer are."""
    parameters = dict(model.named_parameters())
    by_sum: dict[tuple[tuple[int, ...], float], list[str]] = {}
    for site in sites:
        p = parameters.get(site.name)
        if p is not None and site.role in ("weight", "recurrent", "head") and p.numel() > 1:
            some = p.detach().flatten()[:: max(1, p.numel() // 64)][:64].double().tolist()
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

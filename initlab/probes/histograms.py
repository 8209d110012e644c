"""Histograms of weights and activations at the start and at the end of a run."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from initlab.network.hooks import tap
from initlab.network.sites import weights
from initlab.network.state import preserve_state
from initlab.spec import Histogram, Site

BINS = 40


def take_histograms(
    model: nn.Module, sites: tuple[Site, ...], batch: Tensor, *, moment: Literal["init", "end"], limit: int = 12
) -> tuple[Histogram, ...]:
    """Counts of every weight and of what every layer sends on for `batch`, in 40 equal bins from minimum to maximum.

    The pass runs in training mode (batch norm as it acts in training) and leaves buffers and random numbers untouched.
    Above `limit` layers an even spread of them is taken.
    """
    chosen = spread(weights(sites), limit)
    parameters = dict(model.named_parameters())
    found: list[Histogram] = []

    def add(quantity: Literal["weight", "activation"], site: Site, values: Tensor) -> None:
        flat = values.detach().float().flatten()
        flat = flat[torch.isfinite(flat)]
        if flat.numel() == 0:
            return
        low, high = float(flat.min()), float(flat.max())
        counts = torch.histc(flat, BINS, low, high) if high > low else torch.tensor([float(flat.numel())])
        found.append(
            Histogram(
                moment=moment,
                quantity=quantity,
                site=site.name,
                order=site.order,
                low=low,
                high=high,
                counts=tuple(counts.tolist()),
            )
        )

    for site in chosen:
        add("weight", site, parameters[site.name])
    with preserve_state(model), torch.no_grad():
        model.train()
        with tap(model, chosen, lambda site, _h, sent: add("activation", site, sent)):
            model(batch)
    return tuple(found)


def spread(sites: tuple[Site, ...], limit: int) -> tuple[Site, ...]:
    """At most `limit` of `sites`, evenly spread, including the first and the last."""
    if len(sites) <= limit:
        return sites
    picks = sorted({round(i * (len(sites) - 1) / (limit - 1)) for i in range(limit)}) if limit > 1 else [0]
    return tuple(sites[i] for i in picks)

"""Measures whether the units of a layer differ (symmetry breaking). Identical units stay identical."""

from __future__ import annotations

import torch
from torch import nn

from initlab.network.sites import weights
from initlab.spec import ProfileRow, Site


def unit_spread(model: nn.Module, sites: tuple[Site, ...], step: int) -> tuple[ProfileRow, ...]:
    """Statistic ``unit_spread``, one a weight site with at least two units: max over units j of ‖W[j] - W[0]‖.

    Exactly 0 means that all units of the layer are the same unit. A transposed convolution's units lie along dimension
    1 of its storage.
    """
    parameters = dict(model.named_parameters())
    chosen = [s for s in weights(sites) if s.role != "embedding" and len(s.shape) >= 2 and _units(s) > 1]
    if not chosen:
        return ()
    values: list[torch.Tensor] = []
    with torch.no_grad():
        for site in chosen:
            w = parameters[site.name].detach().float()
            rows = (w.transpose(0, 1) if site.transposed else w).flatten(1)
            values.append((rows - rows[:1]).norm(dim=1).max())
        numbers: list[float] = torch.stack(values).tolist()
    return tuple(
        ProfileRow(step=step, site=s.name, order=s.order, statistic="unit_spread", value=v)
        for s, v in zip(chosen, numbers, strict=True)
    )


def _units(site: Site) -> int:
    return site.shape[1] if site.transposed else site.shape[0]

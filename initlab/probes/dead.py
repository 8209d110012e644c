"""Counts dead units: those that are off for every input of a whole pass and get no gradient.

A unit is dead when |φ'(h)| is below 0.1 % of max|φ'| for *all* inputs (and positions) seen. "Off on one batch" is not
enough: near the top of a deep network half of the units are off on a single batch without being dead (Lu et al., 2019).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from initlab.network.hooks import Taps
from initlab.network.sites import weights
from initlab.probes.aggregate import aggregates
from initlab.probes.observer import site_bands
from initlab.spec import Activation, ProfileRow, Site

DEAD_BELOW = 1e-3


class DeadUnits:
    """Counts the units that were live in any batch evaluated inside `evaluation_pass()`.

    Layers whose units' slopes depend on other units too (gates, maxout) are left out.

    Args:
        activation: of the network, for activation modules that `activations` does not hold.
        activations: activation module's dotted name → what it is.

    Attributes:
        sites: the weights whose units are counted.
        bands: weight's name → where the slope of the activation behind it is not negligible.
    """

    def __init__(
        self,
        model: nn.Module,
        sites: tuple[Site, ...],
        activation: Activation,
        activations: Mapping[str, Activation] | None = None,
    ) -> None:
        bands = site_bands(weights(sites), activation, activations, DEAD_BELOW)
        self.bands = {name: band for name, band in bands.items() if band is not None}
        self.sites = tuple(s for s in weights(sites) if s.name in self.bands)
        self._taps = Taps(model, self.sites)
        self._live: dict[str, Tensor] = {}

    @contextmanager
    def evaluation_pass(self) -> Generator[None]:
        """Context of one pass: all forward calls inside belong to it."""
        self._live = {}

        def read(site: Site, h: Tensor, _sent: Tensor) -> None:
            # units of a convolution are its channels (dimension 1); of every other layer the last dimension
            unit = 1 if site.kind.startswith("conv") else h.dim() - 1
            live = self.bands[site.name].any_live(h.detach(), unit)
            known = self._live.get(site.name)
            self._live[site.name] = live if known is None else known | live

        with self._taps.open(read):
            yield

    @property
    def is_undecided(self) -> bool:
        """Whether a unit has been live in no batch of the pass yet; on a GPU the host waits for the answer."""
        return bool(self.sites) and not (self._live and bool(torch.cat(list(self._live.values())).all()))

    def rows(self, step: int) -> tuple[ProfileRow, ...]:
        """Share of dead units of each site, in one transfer."""
        seen = [s for s in self.sites if s.name in self._live]
        if not seen:
            return ()
        shares: list[float] = torch.stack([1.0 - self._live[s.name].float().mean() for s in seen]).tolist()
        rows = [
            ProfileRow(step=step, site=s.name, order=s.order, statistic="dead", value=v)
            for s, v in zip(seen, shares, strict=True)
        ]
        return (*rows, *aggregates(rows, step))

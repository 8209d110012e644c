"""Probes of a stack: the rows that `Observer` and `DeadUnits` give for a run on its own, for all members at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from initlab.network.hooks import SMALLEST
from initlab.network.sites import weights
from initlab.probes.aggregate import aggregates
from initlab.probes.observer import grad_ratio
from initlab.spec import ProfileRow, Site
from initlab.train.cohort.network import StackedNetwork
from initlab.train.cohort.rows import gradient, member_norms
from initlab.train.run import Run

Rows = tuple[ProfileRow, ...]


class _Values:
    """Scalars of members [start, stop), collected on the device and fetched in one transfer."""

    def __init__(self) -> None:
        self._names: list[tuple[Site | None, str, int, int]] = []
        self._values: list[Tensor] = []

    def keep(self, site: Site | None, statistic: str, start: int, values: Tensor) -> None:
        self._names.append((site, statistic, start, start + len(values)))
        self._values.append(values)

    def rows(self, step: int, members: int) -> list[list[ProfileRow]]:
        """Of each member its rows, in the order in which they were collected."""
        found: list[list[ProfileRow]] = [[] for _ in range(members)]
        if not self._values:
            return found
        numbers = iter(torch.cat([v.to(torch.float32) for v in self._values]).tolist())
        for site, statistic, start, stop in self._names:
            name, order = (site.name, site.order) if site else ("", -1)
            for member in range(start, stop):
                found[member].append(
                    ProfileRow(step=step, site=name, order=order, statistic=statistic, value=next(numbers))
                )
        self._names, self._values = [], []
        return found


class StackedObserver:
    """Measures a training step of a stack. Used like `Observer`; it is itself the reader of the forward pass.

    Args:
        network: the stack.
        runs: of the members, in the order of the stack; the settings of their observers are equal.
    """

    def __init__(self, network: StackedNetwork, runs: Sequence[Run]) -> None:
        observers = [r.observer for r in runs if r.observer is not None]
        self._observers = observers
        self.settings = observers[0].settings
        self._network = network
        self._sites = [weights(r.sites) for r in runs]
        self._weights = [s.name for s in self._sites[0]]
        self._known = {start: {s.name: s for s in self._sites[start]} for start, _ in network.groups}
        self._values = _Values()
        self._before: dict[str, Tensor] = {}
        self._read = _Readers([s.sites for s in observers], network.groups)

    def is_due(self, step: int) -> bool:
        return self._observers[0].is_due(step)

    def begin(self) -> None:
        """The forward pass begins: what is known before it are the readings of learnable activations."""
        self._values = _Values()
        if self.settings.activations and any(o.speaking for o in self._observers):
            self._network.sync_activations()
            with torch.no_grad():
                for member, observer in enumerate(self._observers):
                    for site, module in observer.speaking:
                        for statistic, value in module.readings().items():
                            self._values.keep(site, statistic, member, value.reshape(1))

    def layer(self, name: str, output: Tensor) -> None:
        self._measure(self._read.layers.get(name, ()), output, output)

    def activation(self, name: str, received: Tensor, sent: Tensor) -> None:
        self._measure(self._read.activations.get(name, ()), received, sent)

    def _measure(self, places: Sequence[tuple[int, int, Site]], h: Tensor, sent: Tensor) -> None:
        if self.settings.activations and places:
            with torch.no_grad():
                values = sent.detach().float().flatten(1)
                means = values.mean(1)
                spreads = torch.linalg.vector_norm(values - means[:, None], dim=1) / math.sqrt(values.shape[1])
                for start, stop, site in places:
                    self._values.keep(site, "act_mean", start, means[start:stop])
                    self._values.keep(site, "act_std", start, spreads[start:stop])
                    band = self._observers[start].bands.get(site.name)
                    if band is not None:
                        live = band.live_numbers(h.detach()[start:stop]).flatten(1).sum(1)
                        self._values.keep(site, "saturated", start, 1.0 - live / max(1, h[0].numel()))
        if self.settings.gradients and places and h.requires_grad:

            def keep(g: Tensor) -> None:
                norms = torch.linalg.vector_norm(g.detach().float().flatten(1), dim=1)
                for start, stop, site in places:
                    self._values.keep(site, "act_grad_norm", start, norms[start:stop])

            h.register_hook(keep)

    def gradients(self) -> None:
        """Norms of the gradients of the weights and of whole networks, before clipping."""
        if not self.settings.gradients:
            return
        members = len(self._observers)
        grads = {n: [r for r in rows if r.tensor.grad is not None] for n, rows in self._network.rows.items()}
        norms = {n: [(r.start, r.stop, member_norms(gradient(r)).float()) for r in rows] for n, rows in grads.items()}
        for name in self._weights:
            for _, _, values in norms.get(name, ()):
                self._keep_weight(name, "grad_norm", values)
        squares = self._network.any_parameter().new_zeros(members, dtype=torch.float32)
        for parts in norms.values():
            for start, stop, values in parts:
                squares[start:stop] += values.square()
        self._values.keep(None, "grad_norm", 0, squares.sqrt())

    def before_update(self) -> None:
        if self.settings.updates:
            self._before = {n: self._network.rows[n][0].tensor.detach().clone() for n in self._weights}

    def rows(self, step: int) -> list[Rows]:
        """Of each member all rows of the probe step."""
        for name, value in self._before.items():
            norm = member_norms(value)
            change = member_norms(self._network.rows[name][0].tensor.detach() - value)
            self._keep_weight(name, "weight_norm", norm)
            self._keep_weight(name, "update_ratio", torch.where(norm > 0, change / norm.clamp_min(SMALLEST), 0.0))
        found = self._values.rows(step, len(self._observers))
        self._before = {}
        return [
            (*rows, *grad_ratio(sites, step, rows), *aggregates(rows, step))
            for sites, rows in zip(self._sites, found, strict=True)
        ]

    def _keep_weight(self, name: str, statistic: str, values: Tensor) -> None:
        """Keep a statistic of a weight of all members; the place of its layer may differ between networks."""
        for start, stop in self._network.groups:
            self._values.keep(self._known[start][name], statistic, start, values[start:stop])


class StackedDeadUnits:
    """Counts dead units of all members in the passes of an evaluation; it is the reader of those passes."""

    def __init__(self, network: StackedNetwork, runs: Sequence[Run]) -> None:
        self._dead = [r.dead for r in runs if r.dead is not None]
        self._read = _Readers([d.sites for d in self._dead], network.groups)
        self._live: dict[tuple[int, str], Tensor] = {}

    def begin(self) -> None:
        """A new evaluation begins."""
        self._live = {}

    def layer(self, name: str, output: Tensor) -> None:
        for start, stop, site in self._read.layers.get(name, ()):
            self._count(site, start, output[start:stop])

    def activation(self, name: str, received: Tensor, sent: Tensor) -> None:
        del sent
        for start, stop, site in self._read.activations.get(name, ()):
            self._count(site, start, received[start:stop])

    def _count(self, site: Site, start: int, h: Tensor) -> None:
        live = self._dead[start].bands[site.name].any_live_along(h.detach(), 1)
        known = self._live.get((start, site.name))
        self._live[start, site.name] = live if known is None else known | live

    @property
    def is_undecided(self) -> bool:
        """Whether a unit of some member has been live in no batch of the evaluation yet."""
        return any(d.sites for d in self._dead) and not (self._live and all(bool(v.all()) for v in self._live.values()))

    def rows(self, step: int) -> list[Rows]:
        """Of each member the share of dead units of its layers."""
        values = _Values()
        for (start, name), live in self._live.items():
            site = next(s for s in self._dead[start].sites if s.name == name)
            values.keep(site, "dead", start, 1.0 - live.float().mean(1))
        found = values.rows(step, len(self._dead))
        ordered = [sorted(rows, key=lambda r: r.order) for rows in found]
        return [(*rows, *aggregates(rows, step)) for rows in ordered]


class _Readers:
    """Which sites are read at which layer and activation, for each group of members with the same activation."""

    def __init__(self, sites: Sequence[Sequence[Site]], groups: Sequence[tuple[int, int]]) -> None:
        self.layers: dict[str, list[tuple[int, int, Site]]] = {}
        self.activations: dict[str, list[tuple[int, int, Site]]] = {}
        for start, stop in groups:
            for site in sites[start]:
                place = self.layers if site.activation is None else self.activations
                place.setdefault(site.activation or site.layer, []).append((start, stop, site))

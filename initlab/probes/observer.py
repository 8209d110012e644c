"""Measures activations, gradients and updates of every layer in a training step, without another pass.

The values are those of the step itself, taken before its update, so the first probe step (step 0) shows the network as
it was initialised. Everything is reduced on the device and fetched in one transfer per probe step. Nothing is written
to a tensor of the training, so losses are bit for bit those of a run without probes.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from initlab.activations.slope import SATURATED_BELOW, SlopeBand, band_of
from initlab.network.hooks import SMALLEST, Taps
from initlab.network.sites import weights
from initlab.probes.aggregate import aggregates
from initlab.probes.extra import ExtraProbes
from initlab.probes.spectral import spectral_norm
from initlab.spec import Activation, Probe, ProbeSettings, ProfileRow, Site


class Observer:
    """Measures a training step at the probe steps of its schedule.

    One probe step is `with observer.observe():` around forward and backward, then `gradients()` after unscaling and
    before clipping, `before_update()`, and `rows()` after the optimiser's step.

    Statistics (of the rows' `statistic`), one a weight site:
        act_mean, act_std: of φ(h) over batch, units and positions; of the output itself where no activation follows.
        saturated: share of h with |φ'(h)| < 5 % of max|φ'|; not where a unit's slope depends on other units too.
        act_grad_norm: Frobenius norm of ∂loss/∂h over the batch.
        grad_norm: Frobenius norm of ∂loss/∂W, before clipping.
        weight_norm: ‖W‖ before the update; update_ratio: ‖ΔW‖ / ‖W‖.
        spectral_norm, update_spectral: ‖W‖₂ √(in/out) after the update, and that of ΔW, where `spectral` is set.
    And with site "" for the whole network: grad_norm (all parameters, before clipping) and grad_ratio, the norm of
    ∂loss/∂h at the first hidden layer over that at the last; and the aggregates of `aggregate.py`.
    An activation that has ``readings()`` (weights of a blend, learnt slopes) gives them at the first weight it follows.

    Args:
        activation: of the network, for activation modules that `activations` does not hold.
        activations: activation module's dotted name → what it is.
        extra: probes of third parties; each is called once a layer at every probe step.
        spectral: whether spectral norms are measured, which takes 80 products of a matrix and a vector a weight.

    Attributes:
        settings: which statistics are measured, and when.
        bands: weight's name → where the slope of the activation behind it is alive; None where that is not a band.
        speaking: activation modules that have readings, each with the first weight that it follows.
        has_extra: whether there are probes of third parties.
    """

    def __init__(
        self,
        model: nn.Module,
        sites: tuple[Site, ...],
        *,
        settings: ProbeSettings,
        activation: Activation,
        activations: Mapping[str, Activation] | None = None,
        extra: Sequence[Probe] = (),
        spectral: bool = False,
    ) -> None:
        self._spectral = spectral
        self.settings = settings
        self.sites = weights(sites)
        self._taps = Taps(model, self.sites)
        self._parameters = dict(model.named_parameters())
        self.bands: dict[str, SlopeBand | None] = site_bands(self.sites, activation, activations)
        self._extra = ExtraProbes(extra, self._parameters)
        self.has_extra = bool(extra)
        self.speaking = modules_with_readings(model, self.sites)
        self._names: list[tuple[Site | None, str]] = []
        self._values: list[Tensor] = []
        self._before: list[Tensor] = []
        self._scale = 1.0

    def is_due(self, step: int) -> bool:
        """Whether this step is a probe step: all below `dense_until`, then every `every`."""
        s = self.settings
        return s.enabled and (step < s.dense_until or step % s.every == 0)

    @contextmanager
    def observe(self, *, inside: bool = False) -> Generator[None]:
        """Reads activations and their gradients in the forward and backward pass made inside.

        Args:
            inside: whether it is opened in a forward pass, before the model's own forward.
        """
        self._names, self._values, self._before, self._scale = [], [], [], 1.0
        self._extra.clear()

        def read(site: Site, h: Tensor, sent: Tensor) -> None:
            if self.settings.activations:
                with torch.no_grad():
                    values = sent.detach().float()
                    mean = values.mean()
                    self._keep(site, "act_mean", mean)
                    # in two passes: on a CPU a quarter of the time of `std`, and as exact
                    self._keep(site, "act_std", torch.linalg.vector_norm(values - mean) / math.sqrt(values.numel()))
                    band = self.bands.get(site.name)
                    if band is not None:
                        self._keep(site, "saturated", band.saturated_share(h.detach()))
            if self.settings.gradients and h.requires_grad:
                h.register_hook(lambda g, site=site: self._keep_norm(site, "act_grad_norm", g))
            if self._extra:
                self._extra.keep(site, h, sent)

        if not (self.settings.activations or self.settings.gradients or self._extra):
            yield
            return
        if self.settings.activations:
            with torch.no_grad():
                for site, module in self.speaking:
                    for statistic, value in module.readings().items():
                        self._keep(site, statistic, value)
        with self._taps.open(read, inside=inside):
            yield

    def gradients(self, *, scale: float = 1.0) -> None:
        """Norms of the weights' gradients; `scale` is the loss scale that the activations' gradients still contain."""
        self._scale = scale
        for site, statistic, value in self._extra.read(scale=scale) if self._extra else ():
            self._keep(site, statistic, value)
        if not self.settings.gradients:
            return
        grads = {n: p.grad for n, p in self._parameters.items() if p.grad is not None}
        if not grads:
            return
        norms = dict(zip(grads, torch._foreach_norm(list(grads.values())), strict=True))  # pyright: ignore[reportPrivateUsage]
        for site in self.sites:
            if site.name in norms:
                self._keep(site, "grad_norm", norms[site.name].float())
        self._keep(None, "grad_norm", torch.stack([n.float() for n in norms.values()]).norm())

    def before_update(self) -> None:
        if self.settings.updates:
            self._before = [self._parameters[s.name].detach().clone() for s in self.sites]

    def rows(self, step: int) -> tuple[ProfileRow, ...]:
        """All values read since `observe`, fetched from the device in one transfer."""
        if self.settings.updates and self.sites:
            after = [self._parameters[s.name].detach() for s in self.sites]
            norms = torch._foreach_norm(self._before)  # pyright: ignore[reportPrivateUsage]
            torch._foreach_sub_(self._before, after)  # pyright: ignore[reportPrivateUsage]
            changes = torch._foreach_norm(self._before)  # pyright: ignore[reportPrivateUsage]
            for site, norm, change in zip(self.sites, norms, changes, strict=True):
                self._keep(site, "weight_norm", norm)
                # a weight that is zero has no ratio; its finding is another one (symmetric units)
                self._keep(site, "update_ratio", torch.where(norm > 0, change / norm.clamp_min(SMALLEST), 0.0))
            for site, weight, change in zip(self.sites, after, self._before, strict=True) if self._spectral else ():
                if weight.dim() > 1:
                    self._keep(site, "spectral_norm", spectral_norm(weight))
                    self._keep(site, "update_spectral", spectral_norm(change))
        if not self._values:
            return ()
        numbers: list[float] = torch.stack([v.to(torch.float32) for v in self._values]).tolist()
        rows = [
            ProfileRow(
                step=step,
                site=site.name if site else "",
                order=site.order if site else -1,
                statistic=statistic,
                value=value / self._scale if statistic == "act_grad_norm" else value,
            )
            for (site, statistic), value in zip(self._names, numbers, strict=True)
        ]
        rows.extend([*grad_ratio(self.sites, step, rows), *aggregates(rows, step)])
        self._names, self._values, self._before = [], [], []
        return tuple(rows)

    def _keep_norm(self, site: Site, statistic: str, value: Tensor) -> None:
        self._keep(site, statistic, torch.linalg.vector_norm(value.detach(), dtype=torch.float32))

    def _keep(self, site: Site | None, statistic: str, value: Tensor) -> None:
        self._names.append((site, statistic))
        self._values.append(value)


def grad_ratio(sites: tuple[Site, ...], step: int, rows: Sequence[ProfileRow]) -> list[ProfileRow]:
    """The row ``grad_ratio`` of a probe step, from its rows of ``act_grad_norm``; empty where it has no value."""
    hidden = {s.name for s in sites if s.activation is not None}
    norms = sorted((r.order, r.value) for r in rows if r.statistic == "act_grad_norm" and r.site in hidden)
    if len(norms) < 2 or not norms[-1][1] > 0:
        return []
    ratio = norms[0][1] / norms[-1][1]
    return [ProfileRow(step=step, site="", order=-1, statistic="grad_ratio", value=ratio)]


class HasReadings(Protocol):
    """An activation module that reports values of its learnable parameters."""

    def readings(self) -> dict[str, Tensor]:
        """Statistic → scalar tensor on the module's device."""
        ...


def modules_with_readings(model: nn.Module, sites: tuple[Site, ...]) -> list[tuple[Site, HasReadings]]:
    """Activation modules with `readings`, each with the first weight that feeds it."""
    modules = dict(model.named_modules())
    found: dict[str, tuple[Site, HasReadings]] = {}
    for site in sites:
        name = (site.activation or "").partition("#")[0]
        module: Any = modules.get(name) if name else None
        if callable(getattr(module, "readings", None)):
            found.setdefault(name, (site, module))
    return list(found.values())


def site_bands(
    sites: tuple[Site, ...],
    activation: Activation,
    activations: Mapping[str, Activation] | None,
    share: float = SATURATED_BELOW,
) -> dict[str, SlopeBand | None]:
    """Weight's name → where the slope of the activation behind it is alive; None where that is not a band."""
    known = activations or {}
    return {
        s.name: band_of(known.get(s.activation.partition("#")[0], activation), share)
        for s in sites
        if s.activation is not None
    }

"""Probes of third parties (`probes.extra`): hands them each layer at a probe step and checks what they return.

A probe is called without gradients and inside a fork of torch's random generators, so that it cannot change the numbers
of the training; one that writes to a tensor of the training is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from initlab.errors import InitlabError
from initlab.spec import LayerReading, Probe, Site

#: statistics of the observer and of the other probes, whose names are taken
OWN_STATISTICS = frozenset(
    {
        "act_mean",
        "act_std",
        "saturated",
        "act_grad_norm",
        "grad_norm",
        "weight_norm",
        "update_ratio",
        "grad_ratio",
        "dead",
        "unit_spread",
        "beta",
        "homotopy",
        "hidden_rms",
        "reach",
        "lags",
        "lag_gradient",
        "lag_ratio",
        "lag_peak",
        "spectral_radius",
        "spectral_norm",
        "update_spectral",
        "logit_std",
        "logit_max",
        "entropy",
        "attention_entropy",
        "collapsed_heads",
        "stream_in",
        "stream_rms",
        "stream_rank",
        "stream_growth",
        "token_cosine",
        "block_ratio",
    }
)
_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)


class ExtraProbes:
    """Keeps the layers of one training step and reads them with each of `probes`.

    Args:
        probes: each is called once a layer.
        parameters: of the network, by name.
    """

    def __init__(self, probes: Sequence[Probe], parameters: Mapping[str, nn.Parameter]) -> None:
        self._probes = tuple(probes)
        self._parameters = parameters
        self._seen: dict[str, tuple[Site, Tensor, Tensor]] = {}
        self._gradients: dict[str, Tensor] = {}

    def __bool__(self) -> bool:
        return bool(self._probes)

    def clear(self) -> None:
        """Forget the layers of the last step."""
        self._seen, self._gradients = {}, {}

    def keep(self, site: Site, h: Tensor, sent: Tensor) -> None:
        """Keep a layer of the forward pass; of a layer that is called several times the last call."""
        self._seen[site.name] = (site, h.detach(), sent.detach())
        if h.requires_grad:
            h.register_hook(lambda g: self._gradients.__setitem__(site.name, g.detach()))

    def read(self, *, scale: float) -> list[tuple[Site, str, Tensor]]:
        """(site, statistic, value) of every layer kept; `scale` is the loss scale that gradients of h still contain.

        Raises:
            InitlabError: naming the probe that returned what is no statistic, or wrote to a tensor.
        """
        found: list[tuple[Site, str, Tensor]] = []
        devices = sorted({p.device.index or 0 for p in self._parameters.values() if p.device.type == "cuda"})
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            for name, (site, h, sent) in self._seen.items():
                weight, gradient = self._parameters[name], self._gradients.get(name)
                layer = LayerReading(
                    site=site,
                    weight=weight.detach(),
                    received=h,
                    sent=sent,
                    weight_gradient=None if weight.grad is None else weight.grad.detach(),
                    gradient=gradient if gradient is None or scale == 1.0 else gradient / scale,
                )
                for probe in self._probes:
                    found += [(site, statistic, value) for statistic, value in _measured(probe, layer)]
        self.clear()
        return found


def _measured(probe: Probe, layer: LayerReading) -> list[tuple[str, Tensor]]:
    tensors = [t for t in (layer.weight, layer.weight_gradient, layer.received, layer.sent) if t is not None]
    versions = [t._version for t in tensors]  # pyright: ignore[reportPrivateUsage]
    found: Any = probe(layer)
    if [t._version for t in tensors] != versions:  # pyright: ignore[reportPrivateUsage]
        raise InitlabError(f"probe {name_of(probe)}: wrote to a tensor of the training at {layer.site.name}")
    if not isinstance(found, Mapping):
        raise InitlabError(f"probe {name_of(probe)}: must return a mapping of statistics, not {type(found).__name__}")
    return [(_statistic(probe, k), _scalar(probe, k, v, layer.weight.device)) for k, v in found.items()]


def _statistic(probe: Probe, name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InitlabError(f"probe {name_of(probe)}: {name!r} is no name of a statistic; use a-z, 0-9 and _")
    if name in OWN_STATISTICS:
        raise InitlabError(f"probe {name_of(probe)}: initlab measures {name} itself; choose another name")
    return name


def _scalar(probe: Probe, name: str, value: object, device: torch.device) -> Tensor:
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise InitlabError(f"probe {name_of(probe)}: {name} must be a tensor of one number")
    return value.detach().to(device, torch.float32).reshape(())


def name_of(probe: object) -> str:
    """The probe's name in messages: of its function or class."""
    return str(getattr(probe, "__qualname__", type(probe).__qualname__)).partition(".<locals>")[0]

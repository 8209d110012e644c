"""Measures recurrent layers over time: states, gates, and the gradient by time lag.

Each layer is unrolled by itself over the inputs that it receives on a fixed batch, in eval mode and from an empty
state, so that the numbers of two probe steps differ by the weights alone. For the gradient by time lag, v is a vector
of random signs of length 1 and

    G(k) = mean over examples of ‖∂(v·h_T)/∂s_{T-k}‖

with s the state that carries (h; the cell c of an LSTM) and T an example's last step. A linear orthogonal recurrence
has G(k) = 1; with a contraction it falls like the product of its Jacobians (Bengio, Simard & Frasconi, 1994; Pascanu,
Mikolov & Bengio, ICML 2013).
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from initlab.activations.slope import SlopeBand, slope_band
from initlab.core import seeds
from initlab.network.hooks import SMALLEST
from initlab.network.inputs import call, cloned, head
from initlab.network.padding import step_mask
from initlab.network.recurrence import GATES, Layer, layers, project, step
from initlab.network.state import preserve_state
from initlab.spec import Activation, InitContext, ProfileRow, Site

#: longest sequence that is unrolled: each step costs a forward and a backward step of the layer
STEPS = 256
#: lags and steps of which a row is kept: all of the first, then ever fewer
_DENSE, _SPARSE = 32, 32
#: a gate below is closed, above 1 minus it open (Karpathy, Johnson & Fei-Fei, 2015, section 4.2)
CLOSED_BELOW = 0.1
#: the gradient "reaches" to the lag where its norm has fallen by e^-3, as with depth (Schoenholz et al., ICLR 2017)
REACH = math.exp(-3)
#: larger matrices take seconds to find the eigenvalues of
_LARGEST_MATRIX = 1024


class RecurrentLayers:
    """Measures every recurrent layer of `model` on the batch `inputs`; it changes nothing of the training.

    Rows (site is the recurrent weight):
        hidden_rms: root mean square of h at a step (`position`).
        hidden_saturated: share of pre-activations with |φ'| < 5 % of its maximum at a step; of a one-sided activation
            (ReLU) that is the share of units that are off, and it is called hidden_off. In gated layers it is that of
            the candidate, and says so (candidate_saturated): a gate may close on it, so that it harms less.
        lag_gradient: G(k) / G(0) at a lag (`position`).
        gate_<name>, closed_<name>, open_<name>: mean of a gate, share below 0.1 and above 0.9, over all steps.
    and, one number a layer: reach (lags at which G stays above e^-3 of G(0)), lag_ratio (G at the longest lag over
    G(0)), lag_peak (the largest G over G(0)), lags (how many were looked at), spectral_radius of W_hh (of the block of
    the candidate in gated layers).
    """

    #: number of examples; the mean over them converges quickly
    EXAMPLES = 32

    def __init__(
        self, model: nn.Module, sites: tuple[Site, ...], inputs: Any, *, activation: Activation, seed: int = 0
    ) -> None:
        self._model = model
        self._activation = activation
        self._sites = {s.name: s for s in sites if s.role == "recurrent"}
        self._inputs = inputs
        self._seed = seed

    def rows(self, step_: int) -> tuple[ProfileRow, ...]:
        """The measurements for the network after `step_` updates."""
        found: list[ProfileRow] = []
        with preserve_state(self._model), _record_inputs(self._model.eval()) as inputs:
            with torch.no_grad():
                call(self._model, cloned(self._inputs))
            for name, module, x in inputs:
                for layer, seen in _layers_with_inputs(module, x):
                    site = self._sites.get(f"{name}.weight_hh{layer.suffix}" if name else f"weight_hh{layer.suffix}")
                    if site is not None:
                        found.extend(_measure_layer(layer, seen, site, step_, self._seed, band=self._band(layer)))
        return tuple(found)

    def _band(self, layer: Layer) -> SlopeBand:
        own = layer.candidate in (torch.tanh, torch.relu)
        return slope_band(layer.candidate if own else self._activation.fn)


def lag_peak(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> float:
    """The largest factor by which a last state's gradient grows back in time, in any recurrent layer, on a batch.

    1 without recurrent layers or data; inf where it is not finite.
    """
    if context.batches is None or not any(s.role == "recurrent" for s in sites):
        return 1.0
    inputs = head(context.batches(0).inputs, RecurrentLayers.EXAMPLES)
    layers_ = RecurrentLayers(model, sites, inputs, activation=context.activation, seed=context.seed)
    peaks = [r.value for r in layers_.rows(0) if r.statistic == "lag_peak"]
    return math.inf if any(math.isnan(p) for p in peaks) else max(peaks, default=1.0)


@contextmanager
def _record_inputs(model: nn.Module) -> Generator[list[tuple[str, nn.RNNBase, Tensor]]]:
    """While open, collects (name, module, inputs as (T, B, F)) of every recurrent module that is called."""
    found: list[tuple[str, nn.RNNBase, Tensor]] = []

    def hook(name: str) -> Any:
        def keep(module: nn.RNNBase, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            x = args[0] if args else kwargs["input"]
            if isinstance(x, PackedSequence):
                x, _ = pad_packed_sequence(x)
            elif module.batch_first:
                x = x.transpose(0, 1)
            found.append((name, module, x.detach()))

        return keep

    handles = [
        m.register_forward_pre_hook(hook(n), with_kwargs=True)
        for n, m in model.named_modules()
        if isinstance(m, nn.RNNBase)
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _layers_with_inputs(module: nn.RNNBase, x: Tensor) -> Iterator[tuple[Layer, Tensor]]:
    """Each layer and direction with its inputs in its reading order, padding last."""
    directions = 2 if module.bidirectional else 1
    found = layers(module)
    lengths = _lengths(x)
    with torch.no_grad():
        for index in range(module.num_layers):
            outputs: list[Tensor] = []
            for layer in found[index * directions : (index + 1) * directions]:
                own = replace(layer, reverse=False)
                seen = _reverse(x, lengths) if layer.reverse else x
                yield own, seen[:STEPS, : RecurrentLayers.EXAMPLES]
                if index < module.num_layers - 1:
                    h = _outputs(own, seen)
                    outputs.append(_reverse(h, lengths) if layer.reverse else h)
            if outputs:
                x = torch.cat(outputs, dim=-1)


def _lengths(x: Tensor) -> Tensor:
    """Steps (T, B, F) of each example up to the last that is not zero in all features, at least 1: (B,) int64."""
    return step_mask(x.permute(1, 2, 0)).sum(1).clamp_min(1)


def _reverse(x: Tensor, lengths: Tensor) -> Tensor:
    t = torch.arange(len(x), device=x.device)[:, None]
    order = torch.where(t < lengths, lengths - 1 - t, t)
    return x.gather(0, order[:, :, None].expand_as(x))


def _outputs(layer: Layer, x: Tensor) -> Tensor:
    state = layer.zeros(x.shape[1])
    found: list[Tensor] = []
    for projected in project(layer, x):
        state, _ = step(layer, projected, state)
        found.append(state[0])
    return torch.stack(found)


@dataclass(frozen=True)
class _Unrolled:
    """States and gates of one layer over T steps of B examples; `carried` are the tensors gradients are taken at."""

    h: Tensor
    carried: list[Tensor]
    gates: dict[str, Tensor]


def _unroll_layer(layer: Layer, x: Tensor) -> _Unrolled:
    state = tuple(s.requires_grad_() for s in layer.zeros(x.shape[1]))
    hidden: list[Tensor] = []
    carried: list[Tensor] = []
    gates: dict[str, list[Tensor]] = {}
    for projected in project(layer, x):
        state, received = step(layer, projected, state)
        hidden.append(state[0])
        carried.append(state[-1])
        for name, value in received.items():
            gates.setdefault(name, []).append(value.detach())
    return _Unrolled(torch.stack(hidden), carried, {k: torch.stack(v) for k, v in gates.items()})


def _measure_layer(layer: Layer, x: Tensor, site: Site, step_: int, seed: int, *, band: SlopeBand) -> list[ProfileRow]:
    bare = {k: v.detach() for k in ("w_ih", "w_hh", "b_ih", "b_hh", "w_hr") if (v := getattr(layer, k)) is not None}
    layer = replace(layer, **bare)  # gradients are wanted at states alone
    lengths = _lengths(x)
    keys: list[tuple[str, int]] = []
    values: list[Tensor] = []

    def keep(statistic: str, value: Tensor, position: int = -1) -> None:
        keys.append((statistic, position))
        values.append(value.detach().float())

    with torch.enable_grad():
        seen = _unroll_layer(layer, x)
        gradient = _gradient_by_lag(seen, lengths, seed)
    with torch.no_grad():
        valid = torch.arange(len(x), device=x.device)[:, None] < lengths
        squares = seen.h.detach().square().mean(-1)
        a = seen.gates["" if layer.kind == "rnn" else "g" if layer.kind == "lstm" else "n"]
        part = "hidden" if layer.kind == "rnn" else "candidate"
        word = f"{part}_saturated" if band.two_sided else f"{part}_off"
        for t in _spread(len(x)):
            keep("hidden_rms", _mean(squares[t], valid[t]).sqrt(), t)
            keep(word, band.saturated_share(a[t][valid[t]]), t)
        for name in GATES[layer.kind]:
            if name not in ("", "g", "n"):
                opening = layer.gate(seen.gates[name][valid])
                keep(f"gate_{name}", opening.mean())
                keep(f"closed_{name}", (opening < CLOSED_BELOW).float().mean())
                keep(f"open_{name}", (opening > 1 - CLOSED_BELOW).float().mean())
        ratio = gradient / gradient[0]
        for k in _spread(len(ratio)):
            keep("lag_gradient", ratio[k], k)
        below = torch.nonzero(~(ratio >= REACH))
        keep("reach", below[0, 0] if len(below) else torch.tensor(float(len(ratio)), device=x.device))
        keep("lag_ratio", ratio[-1])
        keep("lag_peak", ratio.max())
        keep("lags", torch.tensor(float(len(ratio)), device=x.device))
        radius = _spectral_radius(layer)
        if radius is not None:
            keep("spectral_radius", radius)
        numbers: list[float] = torch.stack([v.to(x.device) for v in values]).tolist()
    return [
        ProfileRow(step=step_, site=site.name, order=site.order, statistic=s, value=value, position=p)
        for (s, p), value in zip(keys, numbers, strict=True)
    ]


def _gradient_by_lag(seen: _Unrolled, lengths: Tensor, seed: int) -> Tensor:
    """G(k) for k = 0, 1, ... up to the longest example: float64, on the device where supported."""
    steps, examples, units = seen.h.shape
    generator = seeds.generator(seed, "probe", "lag")
    signs = torch.empty(examples, units).bernoulli_(0.5, generator=generator).mul_(2).sub_(1) / math.sqrt(units)
    last = seen.h[lengths - 1, torch.arange(examples, device=lengths.device)]
    found = torch.autograd.grad((last * signs.to(last)).sum(), seen.carried, allow_unused=True, materialize_grads=True)
    norms = torch.stack([_norms(g) for g in found])  # (T, B)
    at = lengths[None] - 1 - torch.arange(steps, device=lengths.device)[:, None]  # the step that lies k back
    by_lag = norms.gather(0, at.clamp_min(0))
    longest = int(lengths.max())
    return torch.stack([_mean(by_lag[k], at[k] >= 0) for k in range(longest)])


def _norms(g: Tensor) -> Tensor:
    """‖g‖ of each row, also where squares would be below the smallest number of single precision."""
    largest = g.abs().amax(-1, keepdim=True).clamp_min(SMALLEST)
    return (largest * (g / largest).norm(dim=-1, keepdim=True))[:, 0]


def _mean(values: Tensor, where: Tensor) -> Tensor:
    return torch.where(where, values, 0.0).sum() / where.sum().clamp_min(1)


def _spread(n: int) -> list[int]:
    """0 ... n - 1: all of the first 32, then 32 more at even ratios, the last among them."""
    if n <= _DENSE:
        return list(range(n))
    rest = {round(_DENSE * (n / _DENSE) ** (i / _SPARSE)) - 1 for i in range(1, _SPARSE + 1)}
    return [*range(_DENSE), *sorted(k for k in rest if k >= _DENSE)]


def _spectral_radius(layer: Layer) -> Tensor | None:
    """Largest |eigenvalue| of the matrix before the candidate; None where it is not square, or too large."""
    size = layer.hidden_size
    block = layer.w_hh if layer.kind == "rnn" else layer.w_hh[2 * size : 3 * size]
    if block.shape[0] != block.shape[1] or size > _LARGEST_MATRIX or not bool(torch.isfinite(block).all()):
        return None
    return torch.linalg.eigvals(block.to("cpu", torch.float64)).abs().max()

"""Contract tests of a probe."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from initlab import inits
from initlab.network.sites import describe
from initlab.probes import Observer
from initlab.spec import InitContext, LayerReading, Probe, ProbeSettings, ProfileRow
from initlab.testing.networks import NETWORKS, NetworkCase

_STEPS = 5


class ProbeCases:
    """Tests that a probe keeps the contract of `initlab.spec.Probe`.

    Attributes:
        factory: called without arguments, returns the `Probe`.
        networks: that are trained a few steps with and without it.

    Example:
        >>> from collections.abc import Mapping
        >>> from torch import Tensor
        >>> from initlab.spec import LayerReading, Probe
        >>> from initlab.testing import ProbeCases
        >>> def largest_weight() -> Probe:
        ...     def probe(layer: LayerReading) -> Mapping[str, Tensor]:
        ...         return {"largest_weight": layer.weight.abs().max()}
        ...     return probe
        >>> class TestLargestWeight(ProbeCases):
        ...     factory = staticmethod(largest_weight)
        >>> TestLargestWeight().test_the_losses_are_bit_for_bit_the_same()
    """

    factory: Callable[[], Probe]
    networks: Sequence[NetworkCase] = NETWORKS

    # -------------------------------------------------------------- what the tests are made of
    def trained(self, case: NetworkCase, probes: Sequence[Probe]) -> tuple[list[float], list[ProfileRow]]:
        """Losses of a few steps of SGD with dropout, and what the probes saw."""
        torch.manual_seed(0)
        model = case.build()
        sites, batch = case.sites(model), case.batch()
        inits.apply(model, sites, inits.he(), context=InitContext(activation=case.activation), seed=0)
        quiet = ProbeSettings(activations=False, gradients=False, updates=False)
        observer = Observer(model, sites, settings=quiet, activation=case.activation, extra=probes)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        losses, rows = list[float](), list[ProfileRow]()
        for step in range(_STEPS):
            optimizer.zero_grad(set_to_none=True)
            with observer.observe():
                # dropout draws from torch's global generator, as training does
                loss = batch.loss(F.dropout(model(batch.inputs), 0.2), batch.targets)
                loss.backward()
            observer.gradients()
            optimizer.step()
            rows += observer.rows(step)
            losses.append(float(loss.detach()))
        return losses, rows

    def readings(self, case: NetworkCase) -> list[LayerReading]:
        """The layers of one step, as a probe gets them."""
        seen: list[LayerReading] = []

        def collect(layer: LayerReading) -> dict[str, Tensor]:
            seen.append(layer)
            return {}

        torch.manual_seed(0)
        model = case.build()
        observer = Observer(
            model, describe(model, case.inputs[:2]), settings=ProbeSettings(activations=False, gradients=False),
            activation=case.activation, extra=[collect],
        )  # fmt: skip
        with observer.observe():
            case.batch().loss(model(case.inputs), case.batch().targets).backward()
        observer.gradients()
        return seen

    # -------------------------------------------------------------- the training
    def test_the_losses_are_bit_for_bit_the_same(self) -> None:
        """With and without the probe."""
        for case in self.networks:
            assert self.trained(case, [self.factory()])[0] == self.trained(case, [])[0], case

    def test_it_needs_no_random_numbers_of_torch(self) -> None:
        """It draws from no global generator; one that needs numbers has a generator of its own."""
        for case in self.networks:
            probe = self.factory()
            for layer in self.readings(case):
                state = torch.get_rng_state()
                with torch.no_grad():
                    probe(layer)
                assert torch.equal(state, torch.get_rng_state()), f"{case}: it drew at {layer.site.name}"

    def test_it_changes_no_tensor(self) -> None:
        """What it reads is as it was."""
        for case in self.networks:
            probe = self.factory()
            for layer in self.readings(case):
                before = [t.clone() for t in tensors(layer)]
                with torch.no_grad():
                    probe(layer)
                pairs = zip(before, tensors(layer), strict=True)
                assert all(torch.equal(a, b) for a, b in pairs), f"{case}: it wrote at {layer.site.name}"

    # -------------------------------------------------------------- its rows
    def test_it_measures_something_and_its_rows_are_finite(self) -> None:
        """On at least one network, a row at every step, all of them finite."""
        found = 0
        for case in self.networks:
            _, rows = self.trained(case, [self.factory()])
            bad = [r for r in rows if not math.isfinite(r.value)]
            assert not bad, f"{case}: not finite: {bad[:3]}"
            assert not rows or {r.step for r in rows} == set(range(_STEPS)), case
            found += len(rows)
        assert found, "it measures nothing on any of the networks"

    def test_it_bears_layers_without_a_signal(self) -> None:
        """Rows are finite where weights, outputs and gradients are zero, and where there is no gradient."""
        for case in self.networks:
            for layer in self.readings(case):
                absent = replace(layer, weight_gradient=None, gradient=None)
                for changed in (mapped(layer, torch.zeros_like), absent):
                    with torch.no_grad():
                        found = self.factory()(changed)
                    assert all(bool(torch.isfinite(v).all()) for v in found.values()), (case, layer.site.name)

    def test_two_runs_give_the_same_rows(self) -> None:
        """A new probe is made for every run; nothing is left over from the one before."""
        case = self.networks[0]
        assert self.trained(case, [self.factory()])[1] == self.trained(case, [self.factory()])[1]

    def test_half_precision(self) -> None:
        """Tensors in bfloat16, as mixed precision makes them."""
        for layer in self.readings(self.networks[0]):
            with torch.no_grad():
                found = self.factory()(mapped(layer, lambda t: t.to(torch.bfloat16)))
            assert all(bool(torch.isfinite(v).all()) and v.numel() == 1 for v in found.values()), layer.site.name


# ------------------------------------------------------------------ pieces
def mapped(layer: LayerReading, change: Callable[[Tensor], Tensor]) -> LayerReading:
    """The reading with every tensor replaced by `change` of it."""
    changed: dict[str, Any] = {k: change(v) for k, v in vars(layer).items() if isinstance(v, Tensor)}
    return replace(layer, **changed)


def tensors(layer: LayerReading) -> list[Tensor]:
    """All tensors of a reading."""
    return [v for v in vars(layer).values() if isinstance(v, Tensor)]

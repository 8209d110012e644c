"""The same function written in two styles is the same network: sites, gains, values and prediction."""

from __future__ import annotations

import math

import pytest
import torch

import initlab
from initlab.spec import Site
from tests.network.two_styles import Functions, Modules

COUNT, CHUNK = 200, 25


def told(site: Site) -> tuple[object, ...]:
    """What is known of a parameter, without the names of activations, which depend on the style."""
    return (
        site.name, site.kind, site.role, site.shape, site.fan_in, site.fan_out, site.gates, site.branch, site.frozen,
        site.normed, site.own_value, site.activation is None, site.activation_before is None,
        tuple(share for _, share in site.mix),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, COUNT, CHUNK))
def test_two_styles_are_one_network(start: int) -> None:
    x = torch.empty(16, 12).normal_(generator=torch.Generator().manual_seed(0))
    for seed in range(start, start + CHUNK):
        one, two = Modules(seed), Functions(seed)
        assert torch.allclose(one(x), two(x), atol=1e-4), seed
        kinds = [b.kind for b in one.blocks]
        sites, others = ({s.name: s for s in initlab.describe(m, x)} for m in (one, two))
        used = {n for n, s in sites.items() if not s.unused}
        assert used == {n for n, s in others.items() if not s.unused}, (seed, kinds)
        for name in used:
            assert told(sites[name]) == told(others[name]), (seed, kinds, name)
        done = [initlab.initialize(m, "he", example=x, seed=seed) for m in (one, two)]
        assert done[0].rules == done[1].rules, (seed, kinds)
        values = dict(two.named_parameters())
        for name, p in one.named_parameters():
            assert torch.allclose(p, values[name], rtol=1e-5), (seed, kinds, name)
        said = [initlab.predict(m, x) for m in (one, two)]
        assert said[0].out_of_scope == said[1].out_of_scope, (seed, kinds)
        assert [r.site for r in said[0].layers] == [r.site for r in said[1].layers], (seed, kinds)
        for a, b in zip(said[0].layers, said[1].layers, strict=True):
            assert a.q == pytest.approx(b.q, rel=1e-3), (seed, kinds, a.site)
            assert a.c == pytest.approx(b.c, abs=1e-3), (seed, kinds, a.site)
            both = (a.log10_gradient, b.log10_gradient)
            assert both[0] == pytest.approx(both[1], abs=2e-3) or all(map(math.isnan, both)), (seed, kinds, a.site)

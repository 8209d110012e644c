"""Mean-field theory against random networks of width 1000, at the tolerances of REFERENCE 3.5."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest

from initlab.theory import Trajectory, trajectory
from tests.oracles import activation
from tests.theory.random_networks import Ensemble, Measured, simulate

pytestmark = pytest.mark.slow

Figures = Mapping[str, Any]

N, L, SEEDS = 1000, 30, 6
GELU = 1.5335304411955353**2

CASES = {
    "tanh_ordered": Ensemble(activation("tanh"), 1.0, 0.05),
    "tanh_crit": Ensemble(activation("tanh"), 1.7609546396067386, 0.05),
    "tanh_chaotic": Ensemble(activation("tanh"), 4.0, 0.05),
    "tanh_5/3": Ensemble(activation("tanh"), 25 / 9, 0.0),
    "erf_critical": Ensemble(activation("erf"), 1.3758390073466797, 0.05),
    "relu_he": Ensemble(activation("relu"), 2.0, 0.0),
    "selu_lecun": Ensemble(activation("selu"), 1.0, 0.0),
    "gelu_he_gain": Ensemble(activation("gelu"), GELU, 0.0, mean_square=1.1 / GELU),
}
#: ± on log10 of the gradient ratio over 30 layers; 0.25 where the phase is chaotic or the signal a random walk
GRADIENT = {"tanh_ordered": 0.15, "tanh_crit": 0.15, "erf_critical": 0.15}
#: fixed points that repel: a deviation of 1/√N grows with depth, so that only the first layers can be compared
UNSTABLE = ("gelu_he_gain",)


@cache
def measured() -> dict[str, Measured]:
    return simulate(CASES, width=N, depth=L, seeds=SEEDS)


@cache
def theory(name: str) -> Trajectory:
    e = CASES[name]
    q = e.sw2 * e.mean_square + e.sb2
    c = (e.sw2 * e.mean_square * e.cosine + e.sb2) / q
    return trajectory(e.activation, sigma_w=e.sw2**0.5, sigma_b=e.sb2**0.5, depth=L, q_first=q, c_first=c)


@pytest.mark.parametrize("name", [n for n in CASES if n not in UNSTABLE])
def test_theory_and_simulation(name: str) -> None:
    seen, said = measured()[name], theory(name)
    for layer in (1, 2, 5, 10, 20, 30):
        i = layer - 1
        if name == "relu_he":
            # ln q is normal with variance 5l/N a seed and mean -5l/(2N) below the theory's (Hanin & Rolnick, 2018)
            error = math.sqrt(5 * layer / N / SEEDS)
            log_q = float(seen.q[:, i].log().mean())
            assert abs(log_q - (math.log(said.q[i]) - 2.5 * layer / N)) < 3 * error, layer
        else:
            assert float(seen.q[:, i].mean()) == pytest.approx(said.q[i], rel=0.06), layer
        assert float(seen.c[:, i].mean()) == pytest.approx(said.c[i], abs=0.05 if layer <= 10 else 0.08), layer
        gradient = float(seen.log10_gradient[:, i].mean())
        assert gradient == pytest.approx(said.log10_gradient[i], abs=GRADIENT.get(name, 0.25)), layer


@pytest.mark.parametrize("name", UNSTABLE)
def test_an_unstable_fixed_point_is_left_at_finite_width(name: str) -> None:
    seen, said = measured()[name], theory(name)
    spread = seen.q.log().std(0)
    for layer in (1, 2, 5):
        error = float(spread[layer - 1]) / math.sqrt(SEEDS)
        assert abs(float(seen.q[:, layer - 1].log().mean()) - math.log(said.q[layer - 1])) < 4 * error + 0.02, layer
    assert float(spread[19]) > 3 * float(spread[1]), "what theory says of one trajectory no longer holds of one network"


def test_simulations_of_others(fullest: Figures) -> None:
    """Means over six seeds, theirs and ours, differ by no more than their standard errors allow."""
    for name, row in fullest["oracles"]["simulation_N1000_6seeds"].items():
        seen = measured()[name]
        for at, layer in enumerate(row["layers"]):
            if layer > (10 if name in UNSTABLE else L):
                continue
            for key, ours in {"q": seen.q, "c": seen.c, "g": seen.log10_gradient}.items():
                if name in UNSTABLE and key == "g":  # relative to layer 30, where the spread is 2.1
                    continue
                mine = ours[:, layer - 1]
                error = math.hypot(float(mine.std()), row[f"{key}_sd"][at]) / math.sqrt(SEEDS)
                gap = float(mine.mean()) - row[f"{key}_mean"][at]
                assert abs(gap) <= 4 * error + 1e-9, (name, key, layer, gap, error)

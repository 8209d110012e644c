"""The contract tests of initlab for everything in this package."""

from __future__ import annotations

from functools import partial

import moonlab
import numpy as np
import pytest
import torch
from torch import nn

import initlab
from initlab import activations, inits
from initlab.errors import ConfigError
from initlab.spec import IO, InitContext
from initlab.testing import ActivationCases, InitializerCases, ModelCases, NetworkCase, ProbeCases, TaskCases
from initlab.testing.networks import conv, mlp, noise, recurrent, residual


class TestKumar(InitializerCases):
    factory = staticmethod(moonlab.kumar)
    activation = activations.tanh()
    # it refuses ReLU, so it is tested on tanh as well
    networks = (
        mlp([6, 8, 8], activation=activations.tanh()),
        NetworkCase("sigmoid", lambda: nn.Sequential(nn.Linear(4, 5), nn.Sigmoid(), nn.Linear(5, 3)), noise(8, 4),
                    activations.sigmoid()),
        recurrent(nn.LSTM, 1, 4), conv(2, 1, [2, 3], 3, 1, transposed=False), residual(3, 2),
    )  # fmt: skip

    @pytest.mark.parametrize(
        ("name", "variance"), [("sigmoid", 12.8), ("tanh", 1.0), ("softplus", 4 / (1 + np.log(2) ** 2))]
    )
    def test_the_variance_of_the_paper(self, name: str, variance: float) -> None:
        model = nn.Sequential(nn.Linear(400, 300), activations.factories()[name]().make(), nn.Linear(300, 2))
        sites = initlab.describe(model)
        context = InitContext(activation=activations.factories()[name]())
        inits.apply(model, sites, moonlab.kumar(), context=context, seed=0)
        assert 400 * float(model[0].weight.detach().var()) == pytest.approx(variance, rel=0.02)

    def test_relu_is_refused(self) -> None:
        model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        context = InitContext(activation=activations.relu())
        with pytest.raises(ConfigError, match="init=kumar: needs an activation with a tangent at 0"):
            inits.apply(model, initlab.describe(model), moonlab.kumar(), context=context, seed=0)


class TestSinLU(ActivationCases):
    factory = staticmethod(partial(moonlab.sinlu, a=0.5, b=2.0))
    formula = staticmethod(lambda x: (x + 0.5 * np.sin(2 * x)) * (1 + np.tanh(x / 2)) / 2)
    largest_slope = 2.1


class TestDenseMLP(ModelCases):
    factory = staticmethod(partial(moonlab.dense_mlp, depth=3, width=5))
    supports = (IO(input_shape=(2,), classes=2), IO(input_shape=(1, 4, 4), classes=3))
    refuses = (
        IO(input_shape=(7,), classes=2, vocabulary=5),
        IO(input_shape=(3, 6), classes=4, per_step=True),
    )
    uses = 3


class TestMoons(TaskCases):
    factory = staticmethod(lambda: moonlab.MoonsTask(data=moonlab.moons(examples=200)))
    bad_inputs = (
        lambda: moonlab.moons(examples=10),
        lambda: moonlab.MoonsTask(data="digits"),
    )

    def test_points_lie_on_the_moons(self) -> None:
        task = moonlab.MoonsTask(data=moonlab.moons(noise=0.0))
        part = task.open(seed=0, device=torch.device("cpu")).test
        centre = torch.where((part.y == 0)[:, None], torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.5]))
        torch.testing.assert_close((part.x - centre).norm(dim=1), torch.ones(len(part)))


class TestSparseness(ProbeCases):
    factory = staticmethod(moonlab.sparseness)

"""What `import initlab` offers to other people's code."""

from __future__ import annotations

import doctest
import importlib
import math
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

import initlab
from initlab.errors import ConfigError


@pytest.mark.process
def test_importing_initlab_does_not_load_torch() -> None:
    code = "import sys, initlab; print('torch' in sys.modules); initlab.gain; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
    with pytest.raises(AttributeError, match="no attribute 'gian'"):
        initlab.gian  # noqa: B018


def test_the_examples_of_the_docstrings() -> None:
    names = {"nn": nn, "torch": torch, "initlab": initlab, "F": torch.nn.functional}
    attempted = 0
    for name in ("gains", "network", "advise", "inspection", "activations", "watch"):
        module = importlib.import_module(f"initlab.api.{name}")
        result = doctest.testmod(module, extraglobs=names)
        assert result.attempted and result.failed == 0, module
        attempted += result.attempted
    assert attempted >= 12


def test_the_public_names() -> None:
    public = {n for n in dir(initlab) if not n.startswith("_")}
    assert public == {
        "Inspection", "Watch", "advise", "coordinate_check", "critical_point", "describe", "errors", "gain", "init",
        "initialize", "inspect", "integrations", "meanfield", "predict", "swap_activations", "watch",
    }  # fmt: skip
    assert all(getattr(initlab, n) is not None for n in public)


def test_gain_of_names_formulas_functions_and_modules() -> None:
    mish = 1.486847581273208  # oracle constants.json
    for like in ("mish", "x*tanh(softplus(x))", torch.nn.functional.mish, nn.Mish()):
        assert initlab.gain(like) == pytest.approx(mish, abs=1e-9)
    assert initlab.gain(torch.tanh, "backward") == pytest.approx(0.4644029**-0.5, rel=1e-7)
    assert initlab.gain("relu", "centred") == pytest.approx(1.712858550449663, rel=1e-12)
    assert initlab.gain("gelu", "geometric") == pytest.approx(math.sqrt(1.5335304411955353 * 1.481114412708348))

    def bent(x: Tensor) -> Tensor:  # a kink that nobody declared, at a place no grid knows
        return torch.where(x > 0.3141592653, 2 * x - 0.3141592653, x)

    z = torch.empty(4_000_000, dtype=torch.float64).normal_(generator=torch.Generator().manual_seed(0))
    assert initlab.gain(bent) == pytest.approx(float((bent(z) ** 2).mean()) ** -0.5, rel=2e-3)


def test_unknown_names_are_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="gelu"):
        initlab.gain("gelo")
    with pytest.raises(ConfigError, match="did you mean he"):
        initlab.initialize(nn.Linear(2, 2), "hee")
    with pytest.raises(ConfigError, match="sigma_w"):
        initlab.meanfield("tanh", sigma_w=0)


def test_initialize_recognises_the_activations_of_a_foreign_network() -> None:
    model = nn.Sequential(
        nn.Linear(300, 300), nn.GELU(), nn.Linear(300, 300), nn.Tanh(), nn.Linear(300, 300), nn.Linear(300, 5)
    )
    model.eval()
    initlab.initialize(model, "he", seed=3)
    stds = [float(model[i].weight.detach().std()) * math.sqrt(300) for i in (0, 2, 4)]
    # the first layer takes the gain of what follows it, the others that of what feeds them
    assert stds == pytest.approx([initlab.gain("gelu"), initlab.gain("gelu"), initlab.gain("tanh")], rel=0.02)
    assert not model.training
    before = model[0].weight.detach().clone()
    initlab.initialize(model, "he", seed=3)
    assert torch.equal(before, model[0].weight)


def test_initialize_with_options_and_data() -> None:
    model = nn.Sequential(nn.Linear(20, 50), nn.ReLU(), nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 3))
    g = torch.Generator().manual_seed(0)
    data = [(torch.randn(256, 20, generator=g) * 7, torch.randint(0, 3, (256,), generator=g))]
    initlab.initialize(model, "normal", std=0.5)
    assert float(model[0].weight.detach().std()) == pytest.approx(0.5, rel=0.1)
    initlab.initialize(model, "lsuv", data=data)
    assert float(model[:3](data[0][0]).detach().var()) == pytest.approx(1.0, rel=0.02)
    with pytest.raises(ConfigError, match="not both"):
        initlab.initialize(model, "normal(std=0.1)", std=0.5)
    with pytest.raises(ConfigError, match="needs data"):
        initlab.initialize(model, "lsuv")


def test_predict_of_a_foreign_network() -> None:
    model = nn.Sequential(*[m for _ in range(10) for m in (nn.Linear(400, 400), nn.Tanh())], nn.Linear(400, 3))
    initlab.initialize(model, "normal", std=1.5 / 20)  # σ_w = 1.5: q* = 0.793354, χ₁ = 1.139323
    x = torch.randn(64, 400, generator=torch.Generator().manual_seed(1))
    said = initlab.predict(model, x)
    assert said.depth == 10 and said.out_of_scope == ()
    assert said.layers[-1].q == pytest.approx(0.793354, rel=0.02)
    assert said.layers[-1].chi == pytest.approx(1.139323, rel=0.02)
    assert said.trainable_depth == pytest.approx(102.29, rel=0.2)  # 6 ξ_c of the oracle at (σ_w², σ_b²) = (2.25, 0)
    assert said.gradient_depth == pytest.approx(6 / math.log(1.139323), rel=0.2)


def test_critical_point_says_whether_it_can_be_used() -> None:
    gelu = initlab.critical_point("gelu")
    assert gelu is not None and gelu.stable and (gelu.sigma_b, round(gelu.sigma_w, 6)) == (0.5, 1.399868)
    unstable = initlab.critical_point("gelu", sigma_b=0.1)
    assert unstable is not None and not unstable.stable
    assert initlab.critical_point("softplus") is None

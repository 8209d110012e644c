"""Every fast reading against a slow one: the same quantity by autograd on copies, on a list of small problems."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from initlab import activations
from initlab.activations.slope import derivative
from initlab.network.sites import describe, weights
from initlab.probes import DeadUnits, Observer, take_histograms, unit_spread
from initlab.spec import Activation, ProbeSettings, ProfileRow

F = nn.functional


class Block(nn.Module):
    """A residual block with a norm: the branch's end and the shortcut reach one activation."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self.a = nn.Linear(6, 6)
        self.norm = nn.BatchNorm1d(6)
        self.first = activation.make()
        self.b = nn.Linear(6, 6)
        self.last = activation.make()
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(self.norm(self.a(x)))
        return self.head(self.last(self.b(h) + x))


def mlp(activation: Activation) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), activation.make(), nn.Linear(8, 8), activation.make(), nn.Linear(8, 3))


def conv(activation: Activation) -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 4, 2), activation.make(), nn.Flatten(), nn.Linear(8, 5),
        activation.make(), nn.Linear(5, 3),
    )  # fmt: skip


PROBLEMS = [
    (build, activation)
    for build in (mlp, conv, Block)
    for activation in (activations.relu(), activations.tanh(), activations.gelu())
]
IDS = [f"{b.__name__}-{a.name}" for b, a in PROBLEMS]


def problem(build: object, activation: Activation) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = build(activation)  # type: ignore[operator]
    assert isinstance(model, nn.Module)
    return model, torch.randn(16, 6), torch.randint(0, 3, (16,))


def look(
    model: nn.Module, activation: Activation, x: Tensor, y: Tensor, lr: float = 0.1
) -> dict[tuple[str, str], float]:
    """One observed SGD step."""
    observer = Observer(model, describe(model, x), settings=ProbeSettings(), activation=activation)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    with observer.observe():
        F.cross_entropy(model(x), y).backward()
    observer.gradients()
    observer.before_update()
    optimizer.step()
    return {(r.site, r.statistic): r.value for r in observer.rows(0)}


@pytest.mark.parametrize(("build", "activation"), PROBLEMS, ids=IDS)
def test_readings_against_autograd(build: object, activation: Activation) -> None:
    model, x, y = problem(build, activation)
    slow = copy.deepcopy(model)
    read = look(model, activation, x, y)

    # the slow way: record every module's input and output by name, then ask autograd for each gradient on its own
    sites = weights(describe(slow, x))
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    for name, module in slow.named_modules():
        module.register_forward_hook(lambda m, i, o, name=name: seen.__setitem__(name, (i[0], o)))
    loss = F.cross_entropy(slow(x), y)
    parameters = dict(slow.named_parameters())
    grads = dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values()), retain_graph=True), strict=True))
    total = math.sqrt(sum(float(g.square().sum()) for g in grads.values()))
    assert read["", "grad_norm"] == pytest.approx(total, rel=1e-5)
    for site in sites:
        h, sent = seen[site.activation] if site.activation else (seen[site.layer][1],) * 2
        (delta,) = torch.autograd.grad(loss, h, retain_graph=True)
        w = parameters[site.name].detach()
        expected = {
            "act_mean": float(sent.detach().mean()),
            "act_std": float(sent.detach().std(correction=0)),
            "act_grad_norm": float(delta.norm()),
            "grad_norm": float(grads[site.name].norm()),
            "weight_norm": float(w.norm()),
            "update_ratio": float((0.1 * grads[site.name]).norm() / w.norm()),
        }
        if site.activation:
            grid = torch.linspace(-60, 60, 600_001, dtype=torch.float64)
            limit = 0.05 * float(derivative(activation.fn, grid).abs().max())
            flat = derivative(activation.fn, h.detach().double()).abs() < limit
            expected["saturated"] = float(flat.double().mean())
        for statistic, value in expected.items():
            assert read[site.name, statistic] == pytest.approx(value, rel=2e-4, abs=1e-7), (site.name, statistic)


def test_gradient_ratio_of_a_linear_chain() -> None:
    """h₁ → h₂ = W₂h₁: the norm of the gradient at h₁ is that of W₂ᵀ times the gradient at h₂."""
    activation = activations.identity()
    model = nn.Sequential(nn.Linear(6, 8), activation.make(), nn.Linear(8, 8), activation.make(), nn.Linear(8, 3))
    with torch.no_grad():
        model[2].weight.copy_(0.1 * torch.eye(8))
    read = look(model, activation, torch.randn(16, 6), torch.randint(0, 3, (16,)))
    assert read["", "grad_ratio"] == pytest.approx(0.1, rel=1e-4)


def test_a_shared_activation_gives_a_reading_a_use() -> None:
    relu = nn.ReLU()
    model = nn.Sequential(nn.Linear(6, 8), relu, nn.Linear(8, 8), relu, nn.Linear(8, 3))
    own = nn.Sequential(model[0], nn.ReLU(), model[2], nn.ReLU(), model[4])
    x, y = torch.randn(16, 6), torch.randint(0, 3, (16,))
    mine = look(copy.deepcopy(model), activations.relu(), x, y)
    assert mine == pytest.approx(look(copy.deepcopy(own), activations.relu(), x, y))


def test_loss_scale_is_taken_out() -> None:
    model, x, y = problem(mlp, activations.tanh())
    plain = look(copy.deepcopy(model), activations.tanh(), x, y)
    observer = Observer(model, describe(model, x), settings=ProbeSettings(), activation=activations.tanh())
    with observer.observe():
        (1024 * F.cross_entropy(model(x), y)).backward()
    for p in model.parameters():
        assert p.grad is not None
        p.grad /= 1024  # what GradScaler.unscale_ does
    observer.gradients(scale=1024.0)
    observer.before_update()
    scaled = {(r.site, r.statistic): r.value for r in observer.rows(0)}
    for key, value in plain.items():
        if key[1] in ("act_grad_norm", "grad_norm", "grad_ratio"):
            assert scaled[key] == pytest.approx(value, rel=1e-4)


def test_schedule() -> None:
    model, x, _ = problem(mlp, activations.relu())
    sites = describe(model, x)
    observer = Observer(model, sites, settings=ProbeSettings(dense_until=3, every=10), activation=activations.relu())
    assert [s for s in range(31) if observer.is_due(s)] == [0, 1, 2, 10, 20, 30]
    off = Observer(model, sites, settings=ProbeSettings(enabled=False), activation=activations.relu())
    assert not any(off.is_due(s) for s in range(31))


def test_dead_units_over_a_whole_pass() -> None:
    """Unit 0 is off everywhere, unit 1 lives in one batch only, unit 2 always: one third is dead, not two."""
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(3))
        model[0].bias.copy_(torch.tensor([-100.0, 0.0, 100.0]))
    dead = DeadUnits(model, describe(model, torch.randn(2, 3)), activations.relu())
    with dead.evaluation_pass(), torch.no_grad():
        model(-torch.ones(5, 3))
        model(torch.ones(5, 3))
    assert {r.site: r.value for r in dead.rows(0) if r.statistic == "dead"} == {"0.weight": pytest.approx(1 / 3)}
    with dead.evaluation_pass(), torch.no_grad():
        model(-torch.ones(5, 3))
    assert dead.rows(0)[0].value == pytest.approx(2 / 3)


def test_units_of_a_convolution_are_its_channels() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[0].bias.copy_(torch.tensor([-9.0, 0.0, 0.0, 0.0]))
    dead = DeadUnits(model, describe(model, torch.randn(2, 1, 2, 2)), activations.relu())
    x = -torch.ones(3, 1, 2, 2)
    x[0, 0, 1, 1] = 1.0  # one position of one example is enough to live
    with dead.evaluation_pass(), torch.no_grad():
        model(x)
    assert dead.rows(0)[0].value == pytest.approx(0.25)


def test_born_dead_probability_of_a_narrow_network() -> None:
    """P(dead at the top) = 1 - (1 - 2^-N)^L for one fixed input and zero bias: N = 3, L = 10 gives 0.7369 (exact)."""
    draws, depth, width = 600, 10, 3
    generator = torch.Generator().manual_seed(0)
    born_dead = 0
    for _ in range(draws):
        model = nn.Sequential(*[m for _ in range(depth) for m in (nn.Linear(width, width, bias=False), nn.ReLU())])
        with torch.no_grad():
            for p in model.parameters():
                p.normal_(generator=generator)
        dead = DeadUnits(model, describe(model), activations.relu())
        with dead.evaluation_pass(), torch.no_grad():
            model(torch.ones(1, width))
        last: list[ProfileRow] = [r for r in dead.rows(0) if r.site]
        born_dead += max(r.value for r in last) == 1.0
    p = 1 - (1 - 2**-width) ** depth
    assert born_dead / draws == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / draws))


def test_histograms_count_everything_and_disturb_nothing() -> None:
    model, x, _ = problem(Block, activations.relu())
    model.add_module("drop", nn.Dropout(0.5))
    buffers = {n: b.clone() for n, b in model.named_buffers()}
    state = torch.get_rng_state()
    model.eval()
    found = take_histograms(model, describe(model, x), x, moment="init")
    assert all(torch.equal(b, buffers[n]) for n, b in model.named_buffers())
    assert torch.equal(state, torch.get_rng_state()) and not model.training
    by = {(h.quantity, h.site): h for h in found}
    assert sum(by["weight", "a.weight"].counts) == 36
    assert sum(by["activation", "b.weight"].counts) == 16 * 6
    w = model.a.weight.detach()  # type: ignore[union-attr]
    assert (by["weight", "a.weight"].low, by["weight", "a.weight"].high) == (float(w.min()), float(w.max()))


def test_unit_spread_is_zero_exactly_for_identical_units() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.ConvTranspose1d(4, 5, 2), nn.Linear(3, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, 2.0, 3.0]).expand(4, 3))
        model[2].weight.fill_(0.5)
    spread = {r.site: r.value for r in unit_spread(model, describe(model), 7)}
    assert spread == {"0.weight": 0.0, "2.weight": 0.0}  # a single unit has nothing to differ from
    with torch.no_grad():
        model[2].weight[:, 3].add_(1e-6)
    assert {r.site: r.value for r in unit_spread(model, describe(model), 7)}["2.weight"] > 0


# ------------------------------------------------------------------ several activations in one network
def shares(model: nn.Module, x: Tensor, activation: Activation) -> tuple[dict[str, float], dict[str, float]]:
    """(saturated, dead) by site, with each module's own activation and `activation` where it has none."""
    sites, own = describe(model, x), activations.activations_of(model)
    observer = Observer(model, sites, settings=ProbeSettings(), activation=activation, activations=own)
    with observer.observe():
        model(x).sum().backward()
    observer.gradients()
    observer.before_update()
    saturated = {r.site: r.value for r in observer.rows(0) if r.statistic == "saturated"}
    dead = DeadUnits(model, sites, activation, own)
    with dead.evaluation_pass(), torch.no_grad():
        model(x)
    return saturated, {r.site: r.value for r in dead.rows(0) if r.statistic == "dead"}


def test_each_layer_is_judged_by_its_own_activation() -> None:
    tanh, relu = activations.tanh().make(), activations.relu().make()
    model = nn.Sequential(nn.Linear(1, 1, bias=False), tanh, nn.Linear(1, 1, bias=False), relu, nn.Linear(1, 2))
    with torch.no_grad():
        model[0].weight.fill_(10.0)
        model[2].weight.fill_(10.0)
    # 10 is far on the flat side of tanh and not of ReLU
    saturated, dead = shares(model, torch.ones(4, 1), activations.relu())
    assert saturated == {"0.weight": 1.0, "2.weight": 0.0}
    assert dead == {"0.weight": 1.0, "2.weight": 0.0}


def test_an_activation_used_twice_is_found_under_its_own_name() -> None:
    tanh = activations.tanh().make()
    model = nn.Sequential(nn.Linear(3, 3), tanh, nn.Linear(3, 3), tanh, nn.Linear(3, 2))
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(10.0)
    saturated, dead = shares(model, torch.ones(4, 3), activations.relu())
    assert saturated == dead == {"0.weight": 1.0, "2.weight": 1.0}


def test_units_that_depend_on_one_another_have_no_share() -> None:
    model = nn.Sequential(
        nn.Linear(6, 8), activations.glu().make(), nn.Linear(4, 8), activations.maxmin().make(), nn.Linear(8, 4),
        activations.crelu().make(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3),
    )  # fmt: skip
    saturated, dead = shares(model, torch.randn(16, 6), activations.relu())
    assert set(saturated) == set(dead) == {"6.weight"}


def test_readings_stand_at_the_first_weight_that_feeds_the_activation() -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(4, 3)
            self.act = activations.swish(beta=1.5).make()

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.act(self.a(x) + self.b(x)))

    model, x, y = Joined(), torch.randn(8, 6), torch.randint(0, 3, (8,))
    read = look(model, activations.swish(), x, y)
    assert {k: v for k, v in read.items() if k[1] == "beta"} == {("a.weight", "beta"): 1.5}

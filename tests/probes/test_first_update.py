"""What the first update would do: against a real step and gradients by hand; the network is left as it was."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from initlab.core import seeds
from initlab.network.sites import describe
from initlab.probes import first_update
from initlab.spec import Batch
from initlab.train import optimizers

CLASSES = 4


def batches(*, signal: float) -> list[Batch]:
    """Two batches; with signal 1 the answer can be read off the inputs, with 0 it is a coin."""
    g = torch.Generator().manual_seed(0)
    found: list[Batch] = []
    for _ in range(2):
        y = torch.randint(CLASSES, (256,), generator=g)
        x = torch.randn(256, 12, generator=g) + 3 * signal * F.one_hot(y, 12)
        found.append(Batch(inputs=x, targets=y, loss=F.cross_entropy))
    return found


def network(depth: int = 3, scale: float = 1.0) -> nn.Sequential:
    torch.manual_seed(1)
    layers = [m for _ in range(depth) for m in (nn.Linear(12, 12), nn.Tanh())]
    model = nn.Sequential(*layers, nn.Linear(12, CLASSES))
    for p in model.parameters():
        p.data.mul_(scale)
    return model


MAKERS = {
    "sgd": partial(torch.optim.SGD, lr=0.1),
    "momentum": partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    "adam": partial(torch.optim.Adam, lr=0.01),
}


@pytest.mark.parametrize("name", MAKERS)
def test_it_is_the_step_that_the_optimiser_makes(name: str) -> None:
    model, (one, other) = network(), batches(signal=1.0)
    found = first_update(model, describe(model, one.inputs), [one, other].__getitem__, MAKERS[name])
    assert found is not None

    def update(targets: Tensor) -> tuple[float, list[float], float]:
        """‖·‖: what the loss of the other batch loses to first order, and how far the weights move."""
        moved, judge = copy.deepcopy(model), copy.deepcopy(model)
        optimizer = MAKERS[name](moved.parameters())
        loss = F.cross_entropy(moved(one.inputs), targets)
        loss.backward()
        optimizer.step()
        F.cross_entropy(judge(other.inputs), other.targets).backward()
        lost = sum(
            -float((p.grad * (q.detach() - p.detach())).sum())  # type: ignore[operator]
            for p, q in zip(judge.parameters(), moved.parameters(), strict=True)
        )
        far = [
            float((b.weight - a.weight).detach().norm() / a.weight.detach().norm())
            for a, b in zip(model, moved, strict=True)
            if isinstance(a, nn.Linear) and a is not model[-1] and isinstance(b, nn.Linear)
        ]
        return lost, far, float(loss.detach())

    lost, far, loss = update(one.targets)
    amplified = 10 if name == "momentum" else 1
    order = torch.randperm(256, generator=seeds.generator(0, "probe", "shuffled"))
    guessed, _, _ = update(one.targets[order])
    assert found.loss == pytest.approx(loss)
    assert found.decrease == pytest.approx(amplified * lost, rel=1e-4)
    assert found.learned == pytest.approx(amplified * (lost - guessed), rel=1e-4)
    assert found.moved == pytest.approx([amplified * v for v in (min(far), sorted(far)[1], max(far))], rel=1e-4)


def test_what_is_learned_needs_answers_that_inputs_tell() -> None:
    model = network()
    shares = []
    for signal in (1.0, 0.0):
        pair = batches(signal=signal)
        found = first_update(model, describe(model, pair[0].inputs), pair.__getitem__, MAKERS["sgd"])
        assert found is not None
        shares.append(found.learned)
    assert shares[0] > 10 * abs(shares[1])
    # where all inputs look alike by the head, nothing is learned of them
    pair = batches(signal=1.0)
    deep = network(depth=20, scale=0.3)
    blind = first_update(deep, describe(deep, pair[0].inputs), pair.__getitem__, MAKERS["sgd"])
    assert blind is not None and abs(blind.learned) < 1e-3 * shares[0]


def test_nothing_is_changed() -> None:
    model, pair = network(), batches(signal=1.0)
    model.eval()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    first_update(model, describe(model, pair[0].inputs), pair.__getitem__, MAKERS["adam"], clip=1.0)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state()) and not model.training
    assert all(p.grad is None for p in model.parameters())


def test_without_answers_there_is_nothing_to_say() -> None:
    model, (one, _) = network(), batches(signal=1.0)
    blank = Batch(inputs=one.inputs, targets=None, loss=lambda o, _: o.square().mean())
    assert first_update(model, describe(model, one.inputs), lambda _i: blank, MAKERS["sgd"]) is None


def test_the_factories_of_initlab_are_taken() -> None:
    model, pair = network(), batches(signal=1.0)
    for make in (optimizers.sgd(lr=0.1), optimizers.adam(lr=0.01), optimizers.rmsprop(lr=0.01)):
        found = first_update(model, describe(model, pair[0].inputs), pair.__getitem__, make)
        assert found is not None and found.learned > 0

"""Synthetic sequences: each answer by hand, what guessing costs, and which numbers follow which seed."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from initlab.errors import ConfigError
from initlab.spec import IO, Splits, Task
from initlab.tasks.sources.packaged import read_mnist_mini
from initlab.tasks.synthetic import (
    SyntheticData,
    SyntheticTask,
    adding,
    coordinates,
    copy_memory,
    sequential_mnist,
    teacher,
    whitened_linear,
)
from initlab.tasks.synthetic.listing import entries

CPU = torch.device("cpu")


def opened(data: SyntheticData, seed: int = 0) -> Splits:
    return SyntheticTask(data=data).open(seed=seed, device=CPU)


# ------------------------------------------------------------------ adding
@pytest.mark.parametrize("length", [2, 3, 50])
def test_adding_by_hand(length: int) -> None:
    splits = opened(adding(length=length, examples=300, val_examples=20, test_examples=10))
    assert splits.io == IO(input_shape=(2, length), classes=1)
    assert [len(p) for p in (splits.train, splits.val, splits.test)] == [300, 20, 10]
    for x, y in zip(splits.train.x.tolist(), splits.train.y.tolist(), strict=True):
        first, second = (t for t, mark in enumerate(x[1]) if mark == 1.0)
        assert sum(x[1]) == 2
        assert first < length // 2 <= second
        assert y == [pytest.approx(x[0][first] + x[0][second], abs=1e-6)]
    assert torch.equal(splits.prepare(splits.train.x), splits.train.x)


def test_every_place_is_marked_and_numbers_are_uniform() -> None:
    x = opened(adding(length=10, examples=20_000)).train.x
    share = x[:, 1].mean(0)
    torch.testing.assert_close(share, torch.full((10,), 0.2), atol=0.015, rtol=0)
    u = x[:, 0].flatten().double()
    assert float(u.min()) >= 0 and float(u.max()) < 1
    assert [float(u.mean()), float(u.var())] == [pytest.approx(1 / 2, abs=0.005), pytest.approx(1 / 12, abs=0.001)]


def test_what_guessing_costs_in_adding() -> None:
    splits = opened(adding(length=4, val_examples=200_000))
    y = splits.val.y.double()
    assert splits.baseline.constant == pytest.approx(1 / 6)
    assert splits.baseline.constant == pytest.approx(float(((y - 1) ** 2).mean()), abs=0.002)
    assert splits.baseline.untrained == pytest.approx(float((y**2).mean()), abs=0.01)
    assert splits.baseline.accuracy is None


def test_numbers_are_judged_by_their_squared_error() -> None:
    task = SyntheticTask(data=adding())
    assert isinstance(task, Task)
    assert (task.name, task.monitor, task.episodes) == ("synthetic", "val/loss", None)
    output, y = torch.tensor([[1.0], [0.0]]), torch.tensor([[3.0], [1.0]])
    assert float(task.loss(output, y)) == pytest.approx((4 + 1) / 2)
    assert int(task.correct(output, y)) == 0
    assert task.scores(0.1, 0.0) == {}
    assert task.closing(torch.nn.Identity(), opened(adding(examples=1)), seed=0) == {}


# ------------------------------------------------------------------ copying
@pytest.mark.parametrize("length", [1, 5, 100])
def test_copying_by_hand(length: int) -> None:
    splits = opened(copy_memory(length=length, examples=50, val_examples=3, test_examples=2))
    steps = length + 20
    assert splits.io == IO(input_shape=(steps,), classes=9, vocabulary=10, per_step=True)
    assert splits.train.x.dtype == torch.uint8 and splits.train.y.dtype == torch.int64
    assert splits.prepare(splits.train.x).dtype == torch.int64
    for x, y in zip(splits.train.x.tolist(), splits.train.y.tolist(), strict=True):
        symbols = x[:10]
        assert all(0 <= s < 8 for s in symbols)
        assert x[10:] == [8] * (length - 1) + [9] + [8] * 10
        assert y == [8] * (length + 10) + symbols
    assert set(splits.train.x.flatten().tolist()) == set(range(10))


def test_what_guessing_costs_in_copying() -> None:
    """The best answer that looks at the clock and not at the symbols: blanks, then one eighth each."""
    splits = opened(copy_memory(length=30))
    y = splits.val.y
    share = torch.full((50, 9), 1e-30).double()
    share[:40, 8] = 1.0
    share[40:, :8] = 1 / 8
    nats = -share.log().expand(len(y), 50, 9).gather(2, y[:, :, None]).mean()
    assert splits.baseline.constant == pytest.approx(float(nats), rel=1e-6) == pytest.approx(10 * math.log(8) / 50)
    guess = torch.full((50,), 8)
    guess[40:] = 3
    assert splits.baseline.accuracy == pytest.approx(float((y == guess).double().mean()), abs=0.003)
    assert splits.baseline.untrained == pytest.approx(math.log(9))


def test_classes_are_judged_by_cross_entropy() -> None:
    task = SyntheticTask(data=copy_memory())
    logits, y = torch.randn(2, 4, 9), torch.randint(9, (2, 4))
    nats = [-float(torch.log_softmax(logits[b, t], 0)[y[b, t]]) for b in range(2) for t in range(4)]
    assert float(task.loss(logits, y)) == pytest.approx(sum(nats) / 8, rel=1e-5)
    assert int(task.correct(logits, y)) == sum(
        int(logits[b, t].argmax() == y[b, t]) for b in range(2) for t in range(4)
    )
    assert task.scores(0.1, 0.7) == {"accuracy": 0.7}


# ------------------------------------------------------------------ pixels
def test_pixels_in_the_order_of_reading() -> None:
    splits = opened(sequential_mnist())
    assert splits.io == IO(input_shape=(1, 784), classes=10)
    assert [len(p) for p in (splits.train, splits.val, splits.test)] == [3600, 400, 1000]
    images = {row.tobytes() for row in read_mnist_mini().pool.x.numpy()}
    assert all(row.tobytes() in images for row in splits.test.x[:20].numpy())
    z = splits.prepare(splits.train.x)
    assert [float(z.mean()), float(z.std())] == [pytest.approx(0, abs=1e-4), pytest.approx(1, abs=1e-3)]
    assert bool((z[:, :, -1] != 0).all())  # the dark end of an image is no padding


def test_pooled_and_permuted() -> None:
    plain, pooled, mixed, again, other = (
        opened(sequential_mnist(**keys)).test.x  # pyright: ignore[reportArgumentType]
        for keys in ({}, {"pool": 2}, {"permute": True}, {"permute": True}, {"permute": True, "split_seed": 1})
    )
    images = plain.reshape(-1, 28, 28).double()
    assert pooled.shape == (1000, 1, 196) and pooled.dtype == torch.uint8
    corner = images[:, 10:12, 14:16].mean((1, 2))
    assert torch.allclose(pooled[:, 0, 5 * 14 + 7].double(), corner, atol=0.5)
    assert torch.equal(mixed, again) and not torch.equal(mixed, plain)
    assert torch.equal(mixed.sort(-1).values, plain.sort(-1).values)
    # one order for all images: the same two places differ in the same images
    where = [int((mixed[:, 0] == plain[:, :1, t]).all(0).float().argmax()) for t in (300, 400)]
    assert all(torch.equal(mixed[:, 0, w], plain[:, 0, t]) for w, t in zip(where, (300, 400), strict=True))
    assert other.shape == mixed.shape


def test_few_shots_of_pixels() -> None:
    data = sequential_mnist(pool=4, shots=3, episodes=5)
    assert SyntheticTask(data=data).episodes == 5
    splits = opened(data)
    assert len(splits.train) == 30 and splits.io.input_shape == (1, 49)
    with pytest.raises(ConfigError, match="pool=3: must divide 28"):
        sequential_mnist(pool=3)
    with pytest.raises(ConfigError, match="pool=28"):
        sequential_mnist(pool=28)


def test_pixels_of_the_whole_of_mnist() -> None:
    root = os.environ.get("INITLAB_DATA")
    if not root or not (Path(root) / "MNIST").is_dir():
        pytest.skip("needs INITLAB_DATA with MNIST in it")
    splits = opened(sequential_mnist(source="mnist", pool=7, root=Path(root)))
    assert [len(p) for p in (splits.train, splits.val, splits.test)] == [54_000, 6_000, 10_000]
    assert splits.io.input_shape == (1, 16)


# ------------------------------------------------------------------ seeds and slips
@pytest.mark.parametrize("factory", [adding, copy_memory])
def test_training_follows_the_seed_and_judging_does_not(factory: Any) -> None:
    few = {"length": 10, "examples": 40, "val_examples": 30, "test_examples": 30}
    one, same, two = (opened(factory(**few), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.train.x, same.train.x) and torch.equal(one.train.y, same.train.y)
    assert not torch.equal(one.train.x, two.train.x)
    assert torch.equal(one.val.x, two.val.x) and torch.equal(one.test.y, two.test.y)
    assert not torch.equal(one.val.x, one.test.x)
    assert not torch.equal(opened(factory(**few, split_seed=1)).val.x, one.val.x)
    assert one.provenance.digest == same.provenance.digest != two.provenance.digest


def test_slips() -> None:
    with pytest.raises(ConfigError, match="length=1: must be 2 or more"):
        adding(length=1)
    with pytest.raises(ConfigError, match="data=str: is no synthetic data; choose from adding"):
        SyntheticTask(data="adding")  # pyright: ignore[reportArgumentType]


def test_the_listing(tmp_path: Path) -> None:
    found = {e.name: e for e in entries(tmp_path)}
    factories = (adding, copy_memory, sequential_mnist, whitened_linear, teacher, coordinates)
    assert list(found) == [f.__name__ for f in factories]
    for name, factory in zip(found, factories, strict=True):
        splits = opened(factory())
        assert found[name].shape == splits.io.input_shape and found[name].classes == splits.io.classes
        assert found[name].examples == sum(len(p) for p in (splits.train, splits.val, splits.test))

"""Regression: whitened images, a teacher, coordinates of pixels; each against numpy, and what guessing costs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from initlab.errors import ConfigError
from initlab.spec import IO, Splits
from initlab.tasks.image import ImageTask
from initlab.tasks.sources.packaged import digits
from initlab.tasks.synthetic import SyntheticData, SyntheticTask, coordinates, teacher, whitened_linear
from tests.cases import experiment, untracked

CPU = torch.device("cpu")


def opened(data: SyntheticData, seed: int = 0) -> Splits:
    return SyntheticTask(data=data).open(seed=seed, device=CPU)


# ------------------------------------------------------------------ whitened images
def test_components_are_those_of_numpy() -> None:
    """Principal components by the singular values of the centred training part, signs aside."""
    splits = opened(whitened_linear(source="digits", components=12))
    images = ImageTask(data=digits()).open(seed=0, device=CPU)
    x = images.train.x.flatten(1).double().numpy()
    mean = x.mean(0)
    _, s, v = np.linalg.svd(x - mean, full_matrices=False)
    for part, raw in ((splits.train, images.train), (splits.val, images.val), (splits.test, images.test)):
        expected = (raw.x.flatten(1).double().numpy() - mean) @ v[:12].T / s[:12] * math.sqrt(len(x))
        np.testing.assert_allclose(np.abs(part.x.numpy()), np.abs(expected), atol=1e-4)
        assert torch.equal(part.y.argmax(1), raw.y) and torch.equal(part.y.sum(1), torch.ones(len(raw.y)))
    assert splits.io == IO(input_shape=(12,), classes=10)


def test_the_training_part_is_white_and_the_others_have_its_statistics() -> None:
    splits = opened(whitened_linear())
    x = splits.train.x.double()
    torch.testing.assert_close(x.mean(0), torch.zeros(50).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.T @ x / len(x), torch.eye(50).double(), atol=1e-4, rtol=0)
    assert not torch.allclose(splits.val.x.mean(0), torch.zeros(50), atol=1e-3)
    assert [len(p) for p in (splits.train, splits.val, splits.test)] == [3600, 400, 1000]


@pytest.mark.parametrize(("error", "share"), [("half_sum", 5.0), ("mean", 1.0)])
def test_what_guessing_costs_in_whitened_images(error: str, share: float) -> None:
    data = whitened_linear(source="digits", error=error)  # pyright: ignore[reportArgumentType]
    task, splits = SyntheticTask(data=data), opened(data)
    output = torch.randn(len(splits.val), 10)
    mine = ((output - splits.val.y) ** 2).sum(1).mean() * (0.5 if error == "half_sum" else 0.1)
    assert float(task.loss(output, splits.val.y)) == pytest.approx(float(mine), rel=1e-5)
    nothing = torch.zeros_like(splits.val.y)
    assert splits.baseline.untrained == pytest.approx(float(task.loss(nothing, splits.val.y))) == 0.1 * share
    mean = splits.val.y.mean(0).expand_as(nothing)
    assert splits.baseline.constant == pytest.approx(float(task.loss(mean, splits.val.y)))
    assert task.scores(0.3, 0.0) == {}


def test_a_deep_linear_network_comes_to_the_least_squares_solution() -> None:
    data = ("task=synthetic", "data=whitened_linear", "data.source=digits", "data.components=20")
    net = ("model=mlp", "activation=identity", "model.depth=3", "model.width=32", "init=orthogonal", "optimizer=sgd")
    fit = ("trainer.epochs=60", "trainer.batch_size=1294", "optimizer.lr=0.1", "lr_schedule=constant")
    result, told = untracked(*data, *net, *fit, "probes=none")
    splits = told.prepared.splits
    x, y = splits.train.x.double().numpy(), splits.train.y.double().numpy()
    inputs = np.concatenate([x, np.ones((len(x), 1))], 1)
    left = y - inputs @ np.linalg.lstsq(inputs, y, rcond=None)[0]
    best = 0.5 * float((left**2).sum(1).mean())
    assert best <= result.metrics["train/loss"] <= 1.02 * best


# ------------------------------------------------------------------ teacher
def test_the_teacher_by_hand() -> None:
    """The same weights through numpy; the outputs have mean 0 and variance 1."""
    data = teacher(features=5, depth=2, width=7, gain=1.5, outputs=2, examples=50_000, split_seed=3)
    splits = opened(data)
    from initlab.tasks.synthetic.random_network import Teacher

    network = Teacher(features=5, depth=2, width=7, activation="tanh", gain=1.5, outputs=2, seed=3)
    h = splits.train.x.double().numpy()
    for weight in network.weights[:-1]:
        h = np.tanh(h @ weight.double().numpy().T)
    y = (h @ network.weights[-1].double().numpy().T - network.mean.numpy()) / network.std.numpy()
    np.testing.assert_allclose(splits.train.y.numpy(), y, atol=1e-4)
    assert [float(v) for v in splits.train.y.mean(0)] == [pytest.approx(0, abs=0.03)] * 2
    assert [float(v) for v in splits.train.y.var(0)] == [pytest.approx(1, abs=0.05)] * 2
    assert float(splits.train.x.var()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "erf", "sin", "identity"])
def test_every_teacher_is_standardised(activation: str) -> None:
    y = opened(teacher(activation=activation, val_examples=20_000)).val.y  # pyright: ignore[reportArgumentType]
    assert [float(y.mean()), float(y.var())] == [pytest.approx(0, abs=0.05), pytest.approx(1, abs=0.08)]


def test_noise_is_that_of_the_training_targets() -> None:
    clean, noisy = (opened(teacher(noise=s, examples=20_000)) for s in (0.0, 0.3))
    assert torch.equal(clean.train.x, noisy.train.x) and torch.equal(clean.val.y, noisy.val.y)
    added = noisy.train.y - clean.train.y
    assert [float(added.mean()), float(added.std())] == [pytest.approx(0, abs=0.01), pytest.approx(0.3, abs=0.01)]


def test_the_teacher_is_the_same_under_every_seed() -> None:
    one, two, other = opened(teacher()), opened(teacher(), seed=1), opened(teacher(split_seed=1))
    assert torch.equal(one.val.y, two.val.y) and not torch.equal(one.train.x, two.train.x)
    assert not torch.equal(one.val.y, other.val.y)


def test_a_student_learns() -> None:
    small = ("data.features=5", "data.width=4", "data.examples=2000", "trainer.epochs=10", "probes=none")
    result, _ = untracked("task=synthetic", "data=teacher", *small, "model=mlp", "activation=tanh", "optimizer.lr=0.01")
    assert result.metrics["val/loss"] < 0.1


# ------------------------------------------------------------------ coordinates
def test_pixels_by_hand(tmp_path: Path) -> None:
    """Grey values of a written file, at the coordinates of SIREN's grid; every pixel is in one part."""
    values = np.random.default_rng(0).integers(0, 256, (6, 6), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    splits = opened(coordinates(path=tmp_path / "a.png", side=6))
    found = np.full((6, 6), np.nan)
    colours: dict[str, set[int]] = {}
    for name in ("train", "val", "test"):
        part = splits.part(name)  # pyright: ignore[reportArgumentType]
        for (row, column), (y,) in zip(part.x.tolist(), part.y.tolist(), strict=True):
            i, j = round((row + 1) / 2 * 5), round((column + 1) / 2 * 5)
            assert [row, column] == [pytest.approx(i / 2.5 - 1), pytest.approx(j / 2.5 - 1)]
            assert np.isnan(found[i, j])
            found[i, j] = y
            colours.setdefault(name, set()).add((i + j) % 2)
    np.testing.assert_allclose(found, values / 127.5 - 1, atol=1e-6)
    assert colours == {"train": {0}, "val": {1}, "test": {1}}
    assert [len(p) for p in (splits.train, splits.val, splits.test)] == [18, 9, 9]
    whole = opened(coordinates(path=tmp_path / "a.png", side=6, train="all"))
    assert len(whole.train) == len(whole.val) == 36 and "training pixels" in whole.notes[0]


@pytest.mark.parametrize("image", ["china", "flower"])
def test_the_packaged_photographs(image: str) -> None:
    splits = opened(coordinates(image=image, train="all"))  # pyright: ignore[reportArgumentType]
    y = splits.train.y
    assert len(y) == 64 * 64 and -1 <= float(y.min()) < -0.8 and 0.5 < float(y.max()) <= 1
    assert splits.provenance.licence == "CC BY 2.0"


def test_sixteen_bits_keep_their_range_and_one_colour_is_refused(tmp_path: Path) -> None:
    deep = np.arange(64, dtype=np.uint16).reshape(8, 8) * 512
    Image.fromarray(deep).save(tmp_path / "deep.png")
    splits = opened(coordinates(path=tmp_path / "deep.png", side=8, train="all"))
    np.testing.assert_allclose(splits.train.y.numpy().reshape(8, 8), deep / 65535 * 2 - 1, atol=1e-6)
    Image.new("RGB", (9, 9), "red").save(tmp_path / "plain.png")
    with pytest.raises(ConfigError, match=r"data\.path=.*plain\.png.*one value"):
        opened(coordinates(path=tmp_path / "plain.png", side=8))


def test_the_signal_to_noise_ratio() -> None:
    """10 log₁₀ of the squared range over the squared error; a hundred times less error is 20 dB more."""
    task = SyntheticTask(data=coordinates())
    assert task.scores(0.04, 0.0) == {"psnr": pytest.approx(20.0)}
    assert task.scores(0.0004, 0.0) == {"psnr": pytest.approx(40.0)}
    assert math.isfinite(task.scores(0.0, 0.0)["psnr"])


def test_a_sine_fits_a_picture_that_a_relu_does_not() -> None:
    fit = (
        "task=synthetic",
        "data=coordinates",
        "data.side=32",
        "data.train=all",
        "trainer.batch_size=1024",
        "probes=none",
    )
    net = ("model=mlp", "model.width=64", "optimizer.lr=1e-3", "trainer.epochs=150", "lr_schedule=constant")
    sine, _ = untracked(*fit, *net, "activation=sin", "activation.w0=30", "init=siren")
    relu, _ = untracked(*fit, *net, "activation=relu", "init=he")
    assert sine.metrics["val/psnr"] > relu.metrics["val/psnr"] + 5
    # the same network where the frequency is in the weights; Adam moves them 30 times less
    other, _ = untracked(*fit, *net, "activation=sin", "init=siren", "init.first_w0=30")
    assert other.metrics["val/psnr"] > relu.metrics["val/psnr"] + 3
    reached, _ = untracked(*fit, *net, "activation=sin", "activation.w0=30", "init=siren", "trainer.until=val/psnr>=18")
    assert reached.metrics["until/step"] < 150


def test_a_wrong_choice_is_refused_by_key() -> None:
    for overrides, words in (
        (("data=coordinates", "data.train=third"), "data.train=third"),
        (("data=coordinates", "data.image=cat"), "data.image=cat"),
        (("data=teacher", "data.activation=selu"), "data.activation=selu"),
        (("data=whitened_linear", "data.error=sum"), "data.error=sum"),
    ):
        with pytest.raises(ConfigError, match=words):
            experiment("task=synthetic", "model=mlp", *overrides)

"""The image task on real images."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from initlab.core import seeds
from initlab.errors import ConfigError, DataError
from initlab.spec import Part, Splits, Task
from initlab.tasks import ImageData, ImageTask, digits, listing, mnist, mnist_mini
from initlab.tasks.sources import idx

CPU = torch.device("cpu")


def real_root() -> Path:
    named = os.environ.get("INITLAB_DATA")
    if named is None:
        pytest.skip("INITLAB_DATA is not set: no directory of downloaded data sets")
    if idx.missing_files(idx.MNIST, Path(named)):
        pytest.skip(f"INITLAB_DATA={named} holds no MNIST")
    return Path(named)


def opened(data: ImageData, seed: int = 0) -> Splits:
    return ImageTask(data=data).open(seed=seed, device=CPU)


def prints(part: Part) -> set[bytes]:
    return {image.numpy().tobytes() for image in part.x}


@pytest.fixture(scope="module")
def mini() -> Splits:
    return opened(mnist_mini())


def test_mnist_mini(mini: Splits) -> None:
    assert [len(p) for p in (mini.train, mini.val, mini.test)] == [3600, 400, 1000]
    assert mini.train.x.dtype == torch.uint8
    assert mini.train.y.dtype == torch.int64
    assert mini.io.input_shape == (1, 28, 28)
    assert mini.io.classes == 10
    assert torch.bincount(mini.test.y).tolist() == [100] * 10
    assert torch.bincount(mini.val.y).tolist() == [40] * 10
    assert mini.augment is None
    assert len(mini.provenance.digest) <= 36


def test_no_image_is_in_two_parts(mini: Splits) -> None:
    train, val, test = prints(mini.train), prints(mini.val), prints(mini.test)
    assert not train & val
    assert not train & test
    assert not val & test


def test_statistics_come_from_the_training_part_alone() -> None:
    data = digits()
    plain = opened(data)
    pool = data.load().pool
    outside = torch.ones(len(pool), dtype=torch.bool)
    seen = prints(plain.train)
    for i, image in enumerate(pool.x):
        outside[i] = image.numpy().tobytes() not in seen
    # every image outside the training part becomes something else entirely
    changed = Part(x=torch.where(outside[:, None, None, None], 255 - pool.x, pool.x), y=pool.y)
    altered = opened(replace(data, load=lambda: replace(data.load(), pool=changed)))
    assert torch.equal(plain.train.x, altered.train.x)
    assert not torch.equal(plain.test.x, altered.test.x)
    assert torch.equal(plain.prepare(plain.train.x), altered.prepare(plain.train.x))


def test_statistics_come_after_shots() -> None:
    splits = opened(digits(shots=2))
    z = splits.prepare(splits.train.x)
    assert len(splits.train) == 20
    torch.testing.assert_close(z.mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.std(correction=0), torch.tensor(1.0), atol=1e-5, rtol=0)


def test_digits_have_seventeen_levels() -> None:
    splits = opened(digits())
    assert sum(len(p) for p in (splits.train, splits.val, splits.test)) == 1797
    assert splits.train.x.unique().tolist() == list(range(17))
    assert splits.io.input_shape == (1, 8, 8)


def test_same_seed_same_everything() -> None:
    first, again, other = (opened(digits(limit=200), seed=s) for s in (4, 4, 5))
    assert torch.equal(first.train.x, again.train.x)
    assert torch.equal(first.val.x, again.val.x)
    assert torch.equal(first.test.x, other.test.x)
    assert not torch.equal(first.val.x, other.val.x)
    assert first.provenance == other.provenance


def test_augmentation_acts_on_prepared_batches() -> None:
    splits = opened(digits(augment="shift"))
    assert splits.augment is not None
    batch = splits.prepare(splits.train.x[:16])
    assert splits.augment(batch, seeds.generator(0, "data", "augment")).shape == batch.shape


def test_loss_and_correct() -> None:
    task = ImageTask(data=digits())
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0]])
    y = torch.tensor([0, 1, 1])
    assert isinstance(task, Task)
    assert int(task.correct(logits, y)) == 2
    expected = -torch.log_softmax(logits, 1)[torch.arange(3), y].mean()
    torch.testing.assert_close(task.loss(logits, y), expected)
    smooth = ImageTask(data=digits(), label_smoothing=0.2).loss(logits, y)
    torch.testing.assert_close(smooth, 0.8 * expected - 0.2 * torch.log_softmax(logits, 1).mean())


def test_data_of_another_kind() -> None:
    with pytest.raises(ConfigError, match="not a set of images"):
        ImageTask(data=object())  # pyright: ignore[reportArgumentType]


def test_mnist_from_a_directory_that_is_only_read() -> None:
    root = real_root()
    before = sorted(p.name for p in (root / "MNIST" / "raw").iterdir())
    splits = opened(mnist(root=root))
    assert [len(p) for p in (splits.train, splits.val, splits.test)] == [54_000, 6_000, 10_000]
    assert splits.provenance.digest == "3ee7f568b8fdc8915ba79f8c2e5cfce6"
    # the mean and deviation of MNIST that everyone quotes, 0.1307 and 0.3081 in units of 255
    deviation = 1 / float(splits.prepare.scale.item()) / 255  # pyright: ignore[reportFunctionMemberAccess]
    assert deviation == pytest.approx(0.3081, abs=2e-3)
    assert sorted(p.name for p in (root / "MNIST" / "raw").iterdir()) == before


def test_mnist_through_the_environment_variable() -> None:
    real_root()
    splits = opened(mnist(shots=5))
    assert torch.bincount(splits.train.y).tolist() == [5] * 10


def test_a_root_that_does_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"data\.root=.*nowhere: is not a directory"):
        opened(mnist(root=tmp_path / "nowhere"))
    monkeypatch.setenv("INITLAB_DATA", str(tmp_path / "gone"))
    with pytest.raises(DataError, match=r"environment variable INITLAB_DATA=.*gone is not a directory"):
        opened(mnist())
    assert not (tmp_path / "nowhere").exists()
    assert not (tmp_path / "gone").exists()


def test_the_listing_knows_what_is_here(tmp_path: Path) -> None:
    entries = {e.name: e for e in listing(tmp_path)}
    assert list(entries)[:2] == ["digits", "mnist_mini"]
    assert entries["digits"].present
    assert entries["mnist_mini"].present
    assert not entries["mnist"].present
    assert entries["mnist"].where == str(tmp_path / "MNIST" / "raw")
    assert entries["cifar10"].where == str(tmp_path / "cifar-10-python.tar.gz")
    assert entries["mnist_mini"].size == "5,000 examples of 1 x 28 x 28, 10 classes"
    assert not list(tmp_path.iterdir())


def test_sigmoid_outputs_are_normalised_to_sum_to_one() -> None:
    """-ln(σ(z_y) / Σ σ(z)), written out; and it is not the softmax cross entropy."""
    z = torch.empty(16, 10).normal_(generator=torch.Generator().manual_seed(0))
    y = torch.arange(16) % 10
    data = digits()
    p = torch.sigmoid(z) / torch.sigmoid(z).sum(1, keepdim=True)
    expected = -torch.log(p[torch.arange(16), y]).mean()
    assert float(ImageTask(data=data, output="sigmoid").loss(z, y)) == pytest.approx(float(expected), rel=1e-5)
    assert abs(float(ImageTask(data=data).loss(z, y)) - float(expected)) > 0.01

"""The contract of `initlab.testing` for initlab's own tasks, on their small data sets."""

from __future__ import annotations

from pathlib import Path

import torch

from initlab.models import gru, lstm, rnn
from initlab.spec import IO, Task
from initlab.tasks import ImageTask, digits, mnist_mini
from initlab.tasks.synthetic import (
    SyntheticTask,
    adding,
    coordinates,
    copy_memory,
    sequential_mnist,
    teacher,
    whitened_linear,
)
from initlab.testing import ModelCases, TaskCases

CPU = torch.device("cpu")


def opened(task: Task) -> object:
    return task.open(seed=0, device=CPU)


class TestDigits(TaskCases):
    factory = staticmethod(lambda: ImageTask(data=digits()))
    bad_inputs = (
        lambda: opened(ImageTask(data=digits(shots=1000))),
        lambda: digits(val_fraction=0.0),
        lambda: ImageTask(data=adding()),  # pyright: ignore[reportArgumentType]
        lambda: opened(ImageTask(data=digits(limit=3))),
    )


class TestShiftedDigits(TaskCases):
    factory = staticmethod(lambda: ImageTask(data=digits(augment="shift", limit=300)))
    stratified = False  # the limit cuts the training part alone


class TestMnistMini(TaskCases):
    factory = staticmethod(lambda: ImageTask(data=mnist_mini()))


class TestAdding(TaskCases):
    factory = staticmethod(
        lambda: SyntheticTask(data=adding(length=10, examples=200, val_examples=50, test_examples=60))
    )
    classification = False
    bad_inputs = (lambda: adding(length=1),)


class TestCopyMemory(TaskCases):
    factory = staticmethod(lambda: SyntheticTask(data=copy_memory(examples=200, val_examples=50, test_examples=60)))
    classification = False


class TestSequentialMnist(TaskCases):
    stratified = False  # the limit cuts the training part alone
    factory = staticmethod(lambda: SyntheticTask(data=sequential_mnist(pool=4, limit=500)))


class TestWhitenedLinear(TaskCases):
    factory = staticmethod(lambda: SyntheticTask(data=whitened_linear(source="digits", components=20)))
    classification = False
    resplits = False  # all parts follow the split's seed
    bad_inputs = (
        lambda: opened(SyntheticTask(data=whitened_linear(source="digits", components=64))),
        lambda: opened(SyntheticTask(data=whitened_linear(source="digits", components=50, limit=30))),
        lambda: whitened_linear(val_fraction=0.0),
    )


class TestTeacher(TaskCases):
    factory = staticmethod(
        lambda: SyntheticTask(data=teacher(outputs=3, examples=200, val_examples=50, test_examples=60, noise=0.1))
    )
    classification = False


class TestCoordinates(TaskCases):
    factory = staticmethod(lambda: SyntheticTask(data=coordinates(side=16)))
    classification = False
    resplits = False  # nothing is drawn
    bad_inputs = (
        lambda: coordinates(side=3),
        lambda: opened(SyntheticTask(data=coordinates(path=Path("nowhere.png")))),
    )


SENTENCE = IO(input_shape=(8,), classes=2, vocabulary=11)
LANGUAGE = IO(input_shape=(8,), classes=11, vocabulary=11, per_step=True)
SPEECH = IO(input_shape=(3, 8), classes=4)


class TestLstm(ModelCases):
    factory = staticmethod(lambda: lstm(hidden_size=5, layers=2))
    supports = (SENTENCE, LANGUAGE, SPEECH)


class TestGru(ModelCases):
    factory = staticmethod(lambda: gru(hidden_size=5))
    supports = (SENTENCE, LANGUAGE, SPEECH)


class TestRnn(ModelCases):
    factory = staticmethod(lambda: rnn(hidden_size=5))
    supports = (SENTENCE, LANGUAGE, SPEECH)
    refuses = (IO(input_shape=(1, 8, 8), classes=3),)

"""Student-teacher regression: the targets are the outputs of a random network."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from initlab.core import seeds
from initlab.core.factories import factory
from initlab.spec import (
    IO,
    Baseline,
    NonNegativeFloat,
    NonNegativeInt,
    Part,
    PositiveFloat,
    PositiveInt,
    Provenance,
    Splits,
)
from initlab.tasks.raw import digest
from initlab.tasks.synthetic.task import SyntheticData, as_float

SOURCE = "made here; Seung, Sompolinsky & Tishby, Physical Review A, 1992"
TeacherActivation = Literal["tanh", "relu", "sigmoid", "erf", "sin", "identity"]
_FUNCTIONS: dict[TeacherActivation, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "erf": torch.erf,
    "sin": torch.sin,
    "identity": torch.clone,
}
#: inputs from which mean and deviation of the teacher are taken
_REFERENCE = 10_000


@factory
def teacher(
    *,
    features: PositiveInt = 20,
    depth: PositiveInt = 2,
    width: PositiveInt = 32,
    activation: TeacherActivation = "tanh",
    gain: PositiveFloat = 1.0,
    outputs: PositiveInt = 1,
    noise: NonNegativeFloat = 0.0,
    examples: PositiveInt = 10_000,
    val_examples: PositiveInt = 1000,
    test_examples: PositiveInt = 1000,
    split_seed: NonNegativeInt = 0,
) -> SyntheticData:
    """Inputs x ~ N(0, 1), targets the outputs of a random network, the teacher, with mean 0 and variance 1.

    Seung, Sompolinsky & Tishby, Statistical mechanics of learning from examples, Physical Review A, 1992.

    Args:
        features: inputs of an example.
        depth: hidden layers of the teacher.
        width: units of each.
        activation: behind each hidden layer.
        gain: weights are N(0, gain²/fan_in): the larger, the less linear the teacher. It has no biases.
        outputs: numbers to predict, each with mean 0 and variance 1.
        noise: deviation of what is added to the targets of the training part; validation and test have none, so that
            their error is that against the teacher itself.
        examples: to train on, inputs and noise under the run's seed.
        val_examples: to validate on, under `split_seed`.
        test_examples: to test with, likewise.
        split_seed: of the teacher and of these two parts, the same for every run.
    """
    build = partial(
        Teacher, features=features, depth=depth, width=width, activation=activation, gain=gain, outputs=outputs,
        seed=split_seed,
    )  # fmt: skip
    make = partial(_make, build, noise, (examples, val_examples, test_examples), split_seed)
    return SyntheticData(name="teacher", make=make, numbers=True)


class Teacher:
    """A random perceptron without biases; its outputs have mean 0 and variance 1 over N(0, 1) inputs.

    Attributes:
        weights: of each layer, (units, fan_in), the output layer last.
        mean, std: (outputs,) of the outputs before they are standardised, over 10,000 inputs.
    """

    def __init__(
        self,
        *,
        features: int,
        depth: int,
        width: int,
        activation: TeacherActivation,
        gain: float,
        outputs: int,
        seed: int,
    ) -> None:
        generator = seeds.generator(seed, "data", "teacher", "weights")
        sizes = [features, *[width] * depth, outputs]
        self.features = features
        self.weights = [torch.randn(o, i, generator=generator) * (gain / math.sqrt(i)) for i, o in pairwise(sizes)]
        self._phi = _FUNCTIONS[activation]
        answers = self._raw(torch.randn(_REFERENCE, features, generator=generator)).double()
        self.mean, self.std = answers.mean(0).float(), answers.std(0, correction=0).float()

    def _raw(self, x: Tensor) -> Tensor:
        for weight in self.weights[:-1]:
            x = self._phi(x @ weight.T)
        return x @ self.weights[-1].T

    def __call__(self, x: Tensor) -> Tensor:
        """Inputs (N, features) to targets (N, outputs)."""
        return (self._raw(x) - self.mean) / self.std


def _part(network: Teacher, count: int, noise: float, generator: torch.Generator) -> Part:
    x = torch.randn(count, network.features, generator=generator)
    y = network(x)
    return Part(x=x, y=y + noise * torch.randn(y.shape, generator=generator) if noise else y)


def _make(
    build: Callable[[], Teacher], noise: float, counts: tuple[int, int, int], split_seed: int, seed: int
) -> Splits:
    network = build()
    train, val, test = (
        _part(network, count, added, seeds.generator(of, "data", "teacher", part))
        for part, count, added, of in zip(
            ("train", "val", "test"), counts, (noise, 0.0, 0.0), (seed, split_seed, split_seed), strict=True
        )
    )
    outputs = len(network.weights[-1])
    return Splits(
        train=train,
        val=val,
        test=test,
        io=IO(input_shape=(network.features,), classes=outputs),
        prepare=as_float,
        augment=None,
        class_names=tuple(f"y{i}" for i in range(outputs)),
        provenance=Provenance(name="teacher", source=SOURCE, digest=digest(train, val, test)),
        baseline=Baseline(
            untrained=float(val.y.square().mean()),
            constant=float((val.y - val.y.mean(0)).square().mean()),
            accuracy=None,
            words="E y² = 1",
        ),
    )

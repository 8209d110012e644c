"""Two moons: points on two half circles that interlock, to be told apart."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from initlab.core import seeds
from initlab.errors import ConfigError
from initlab.spec import IO, Monitor, NonNegativeFloat, Part, PositiveInt, Provenance, Splits
from initlab.tasks import classes
from initlab.tasks.normalise import standardise
from initlab.tasks.raw import RawData, digest
from initlab.tasks.splitting import Plan, partition


@dataclass(frozen=True, kw_only=True)
class Moons:
    """Settings of the two moons; see `moons`."""

    examples: int
    noise: float
    plan: Plan


def moons(*, examples: PositiveInt = 1000, noise: NonNegativeFloat = 0.15, split_seed: int = 0) -> Moons:
    """(cos t, sin t) and (1 - cos t, 1/2 - sin t) for t in [0, π], plus noise. Zhou et al., NIPS 2003, figure 1.

    Args:
        examples: in all parts together, half of them on each moon.
        noise: standard deviation of the Gaussian noise on both coordinates.
        split_seed: decides the points and the test part, the same for every run.

    Raises:
        ConfigError: too few examples to be in every part.
    """
    if examples < 20:
        raise ConfigError("examples", examples, "must be 20 or more, so that each part holds both moons")
    return Moons(examples=examples, noise=noise, plan=Plan(split_seed=split_seed))


@dataclass(frozen=True, kw_only=True)
class MoonsTask(classes.Classification):
    """Tell the two moons apart: cross entropy in nats, accuracy."""

    data: Moons
    name: str = field(default="moons", init=False)
    monitor: Monitor = field(default="val/accuracy", init=False)
    episodes: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.data, Moons):
            raise ConfigError("data", type(self.data).__name__, "is no set of moons; add data=moons")

    def open(self, *, seed: int, device: torch.device) -> Splits:
        """The points as tensors on `device`: x float32 (N, 2), y int64 (N,). One test part for all seeds."""
        raw = _points(self.data)
        train, val, test = partition(raw, self.data.plan, seed=seed)
        return Splits(
            train=classes.move_part(train, device),
            val=classes.move_part(val, device),
            test=classes.move_part(test, device),
            io=IO(input_shape=(2,), classes=2),
            prepare=standardise(train.x).to(device),
            augment=None,
            class_names=raw.class_names,
            provenance=raw.provenance,
            baseline=classes.baseline(val.y, 2),
        )

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean cross entropy (nats) of logits (B, 2) and class indices (B,)."""
        return classes.cross_entropy(output, target)


def _points(data: Moons) -> RawData:
    generator = seeds.generator(data.plan.split_seed, "data", "moons")
    t = math.pi * torch.rand(data.examples, generator=generator)
    y = torch.arange(data.examples) % 2
    upper = torch.stack([t.cos(), t.sin()], dim=1)
    lower = torch.stack([1 - t.cos(), 0.5 - t.sin()], dim=1)
    x = torch.where((y == 0)[:, None], upper, lower)
    x = x + data.noise * torch.randn(x.shape, generator=generator)
    pool = Part(x=x, y=y)
    source = "drawn here; Zhou, Bousquet, Lal, Weston & Schölkopf, NIPS 2003"
    provenance = Provenance(name="moons", source=source, digest=digest(pool))
    return RawData(pool=pool, class_names=("upper", "lower"), provenance=provenance, key="data.examples")

"""A task of one's own: pictures of rings, whose radius is the class."""

from dataclasses import dataclass, field
from itertools import pairwise

import torch

from initlab.spec import IO, Monitor, Part, Provenance, Splits
from initlab.tasks import classes


@dataclass(frozen=True, kw_only=True)
class Rings(classes.Classification):
    """Tell the radii of noisy rings apart: cross entropy in nats, accuracy. Brings its data."""

    examples: int = 1000
    radii: int = 4
    noise: float = 0.5
    name: str = field(default="rings", init=False)
    monitor: Monitor = field(default="val/accuracy", init=False)
    episodes: int | None = field(default=None, init=False)

    def open(self, *, seed: int, device: torch.device) -> Splits:
        """Pictures (N, 1, 16, 16) and their classes, the same for every seed."""
        generator = torch.Generator().manual_seed(0)
        y = torch.arange(self.examples) % self.radii
        row = torch.linspace(-1, 1, 16)
        radius = (row[:, None] ** 2 + row[None, :] ** 2).sqrt()
        wanted = (y + 1.0) / (self.radii + 1)
        x = torch.exp(-(((radius - wanted[:, None, None]) / 0.1) ** 2))[:, None]
        x = (x + self.noise * torch.randn(x.shape, generator=generator)).to(device)
        y = y.to(device)
        cuts = (0, self.examples * 6 // 10, self.examples * 8 // 10, self.examples)
        train, val, test = (Part(x=x[a:b], y=y[a:b]) for a, b in pairwise(cuts))
        return Splits(
            train=train,
            val=val,
            test=test,
            io=IO(input_shape=(1, 16, 16), classes=self.radii),
            prepare=lambda batch: batch,
            augment=None,
            class_names=tuple(f"radius {i + 1}" for i in range(self.radii)),
            provenance=Provenance(
                name="rings", source="drawn here", digest=f"{self.examples}-{self.radii}-{self.noise}"
            ),
            baseline=classes.baseline(val.y, self.radii),
        )

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean cross entropy (nats)."""
        return classes.cross_entropy(output, target)

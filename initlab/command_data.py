"""`python -m initlab data`: what data sets there are, where they are looked for, and fetching one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initlab import config as configuration

if TYPE_CHECKING:
    from omegaconf import DictConfig


def data_command(config: DictConfig, *, verify: bool) -> int:
    """List the data sets, or open the one that was named, which fetches and verifies it."""
    return _verify(config) if verify else _list()


def _list() -> int:
    from initlab.tasks import listing

    entries = listing()
    width = max(len(e.name) for e in entries)
    for entry in entries:
        state = "here" if entry.present else "not here"
        about = "; ".join(part for part in (entry.title, entry.size, entry.licence) if part)
        print(f"{entry.name:<{width}}  {state:<8}  {about}")
        print(f"{'':<{width}}            {entry.where}")
    print("Fetch and verify one: python -m initlab data NAME")
    return 0


def _verify(config: DictConfig) -> int:
    import torch

    splits = configuration.task_object(config).open(seed=int(config.seed), device=torch.device("cpu"))
    where = splits.provenance
    shape = "×".join(str(n) for n in splits.io.input_shape)
    print(f"{where.name}: {len(splits.train)} training, {len(splits.val)} validation, {len(splits.test)} test examples")
    print(f"inputs {shape}, {splits.io.classes} classes: {', '.join(splits.class_names)}")
    print(f"source {where.source}; licence {where.licence or 'unknown'}; digest {where.digest}")
    return 0

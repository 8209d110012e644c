"""`python -m initlab data`: lists the data sets, or fetches and verifies one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initlab import config as configuration
from initlab.cli.arguments import Arguments
from initlab.cli.compose import compose_and_run
from initlab.report.note import shell_line

#: class names or tokens that are shown
_NAMES = 40

if TYPE_CHECKING:
    from omegaconf import DictConfig


def data_command(arguments: Arguments) -> int:
    """List the data sets, or open the one that was named, which fetches and verifies it. Returns the exit code."""
    if not arguments.words:
        return compose_and_run(arguments.overrides, lambda _config: _list())
    name = arguments.words[0]
    task = configuration.task_of_data(name, configuration.conf_dir() / "data")
    typed = any(a.startswith("task=") for a in arguments.overrides)
    chosen = [f"task={task}"] if task and not typed else []
    return compose_and_run([*arguments.overrides, *chosen, f"data={name}"], _verify)


def _list() -> int:
    from initlab.tasks import listing

    entries = listing()
    width = max(len(e.name) for e in entries)
    for entry in entries:
        state = "here" if entry.present else "not here"
        about = "; ".join(part for part in (entry.title, entry.size, entry.licence) if part)
        print(f"{entry.name:<{width}}  {state:<8}  {about}")
        print(f"{'':<{width}}            {entry.where}")
    absent = next((e.name for e in entries if not e.present), entries[0].name)
    print(f"Next: python -m initlab data {absent}   (fetches and verifies it; data NAME for another)")
    return 0


def _visible(name: str) -> str:
    return name if name.isprintable() and name.strip() else repr(name)


def _verify(config: DictConfig) -> int:
    import torch
    from hydra.core.hydra_config import HydraConfig

    splits = configuration.task_object(config).open(seed=int(config.seed), device=torch.device("cpu"))
    where = splits.provenance
    shape = "×".join(str(n) for n in splits.io.input_shape)
    print(f"{where.name}: {len(splits.train)} training, {len(splits.val)} validation, {len(splits.test)} test examples")
    names = splits.class_names[:_NAMES]
    more = "" if len(splits.class_names) <= _NAMES else f", and {len(splits.class_names) - _NAMES} more"
    what = "tokens" if splits.io.vocabulary is not None else "classes"
    answers = f"{splits.io.classes} {what}: {', '.join(map(_visible, names))}{more}"
    if splits.baseline.accuracy is None and splits.io.classes == 1:
        answers = "one number to answer"
    print(f"inputs {shape}, {answers}")
    for counted in splits.notes:
        print(counted)
    print(f"source {where.source}; licence {where.licence or 'unknown'}; digest {where.digest}")
    chosen = HydraConfig.get().runtime.choices
    settings = [f"{group}={chosen[group]}" for group in ("task", "data") if chosen[group] != "image"]
    settings += [str(o) for o in HydraConfig.get().overrides.task if not str(o).startswith(("task=", "data="))]
    print(f"Next: {shell_line(settings)}   (trains a network on it)")
    return 0

"""The `Experiment` type: the complete, typed settings of one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from initlab.spec.activations import Activation
from initlab.spec.inits import Initializer
from initlab.spec.models import ModelBuilder
from initlab.spec.probes import ProbeFactory
from initlab.spec.ranges import Scalar
from initlab.spec.settings import InspectSettings, ProbeSettings, TrackingSettings, TrainerSettings
from initlab.spec.tasks import Task

if TYPE_CHECKING:
    import torch

OptimizerFactory = Callable[[Sequence[Mapping[str, object]]], "torch.optim.Optimizer"]


class LrSchedule(Protocol):
    """Learning-rate multiplier for update `step` (0-based) of `total`; pure, so that resuming needs no state."""

    def __call__(self, step: int, total: int, /) -> float: ...


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Complete settings of one run: everything that `run()` needs, without a configuration library.

    Attributes:
        arm: hash of the resolved configuration without its seed; two seeds of one arm share it.
        params: the resolved configuration, flattened to dotted keys.
        config_yaml: the resolved configuration as YAML text.
        choices: which file was chosen in each group, such as ``{"init": "he"}``.
        overrides: what was typed, to write the command again.
        extra_probes: factories of `probes.extra`; each makes a probe of its own for every run.
    """

    name: str
    seed: int
    device: str
    threads: int | None
    task: Task
    model: ModelBuilder
    init: Initializer
    activation: Activation
    optimizer: OptimizerFactory
    lr_schedule: LrSchedule
    trainer: TrainerSettings
    probes: ProbeSettings
    tracking: TrackingSettings
    inspect: InspectSettings
    arm: str
    params: Mapping[str, Scalar]
    config_yaml: str
    choices: Mapping[str, str]
    overrides: tuple[str, ...] = ()
    resume: str | None = None
    extra_probes: tuple[ProbeFactory, ...] = ()

"""Settings of a command: one dataclass for each group of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from initlab.spec.ranges import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, UnitFloat


@dataclass(frozen=True, kw_only=True)
class InspectSettings:
    """Settings of `inspect`; each key is explained in conf/inspect/default.yaml."""

    examples: Annotated[int, Ge(8), Le(256)] = 256
    jacobian: bool = True
    ntk_examples: Annotated[int, Ge(0), Le(256)] = 32
    gradient_quotient: bool = True
    sweep: Mapping[str, tuple[str | float | int | bool, ...]] | None = None


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """Settings of the training loop; each key is explained in conf/trainer/default.yaml."""

    epochs: PositiveInt = 10
    batch_size: PositiveInt = 64
    eval_batch_size: PositiveInt | Literal["auto"] = "auto"
    max_steps: PositiveInt | None = None
    clip_grad_norm: PositiveFloat | None = None
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    early_stopping: PositiveInt | None = None
    until: str | None = None
    monitor: Literal["auto", "val/accuracy", "val/loss"] = "auto"
    test_with: Literal["best", "last"] = "best"
    checkpoint: bool = True
    checkpoint_every: PositiveInt | None = None
    deterministic: bool = False
    channels_last: bool | Literal["auto"] = "auto"
    compile: bool = False
    flush_denormal: bool = True
    fast_dev_run: bool = False
    log_every: PositiveInt = 10
    ddp: bool = False


@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """Schedule of the probe steps: each step below `dense_until`, then every `every` steps; none unless `enabled`.

    `extra` names further probes: dotted names of factories of installed plug-ins or of packages that the user named.
    """

    enabled: bool = True
    dense_until: NonNegativeInt = 10
    every: PositiveInt = 50
    activations: bool = True
    gradients: bool = True
    updates: bool = True
    histograms: bool = True
    dead_share: bool = True
    recurrent: bool = True
    attention: bool = True
    interpret: bool = False
    max_metric_sites: PositiveInt = 32
    extra: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TrackingSettings:
    """Settings of the tracking store.

    `uri` None means MLFLOW_TRACKING_URI, else sqlite:///mlflow.db here; `experiment` None means MLFLOW_EXPERIMENT_NAME
    or MLFLOW_EXPERIMENT_ID, else initlab.
    """

    uri: str | None = None
    experiment: str | None = None
    run_name: str | None = None
    enabled: bool = True
    offline: bool = False
    report: bool | Literal["auto"] = "auto"
    log_model: bool = False
    system_metrics: bool = True
    flush_seconds: PositiveFloat = 2.0
    drain_seconds: PositiveFloat = 30.0
    ui_port: PositiveInt = 5000
    tags: Mapping[str, str] = field(default_factory=dict)


SamplerName = Literal["grid", "random", "tpe", "gp", "cmaes", "nsga2", "qmc"]
PrunerName = Literal["none", "median", "hyperband", "wilcoxon", "diagnostic"]
DirectionName = Literal["auto", "maximize", "minimize"]


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """Settings of a study; each key is explained in conf/study/grid.yaml."""

    sampler: SamplerName = "grid"
    name: str | None = None
    trials: PositiveInt | None = None
    timeout: PositiveFloat | None = None
    metric: str | tuple[str, ...] = "auto"
    direction: DirectionName | tuple[DirectionName, ...] = "auto"
    objective: Literal["mean", "lcb"] = "mean"
    pruner: PrunerName = "none"
    spare: UnitFloat = 0.1
    tune_lr: bool = False
    lr_factors: tuple[PositiveFloat, ...] = (0.1, 0.3162, 1.0, 3.162, 10.0)
    tune_epochs: PositiveInt | None = None
    workers: NonNegativeInt = 1
    cohort: Literal["auto", "off"] | PositiveInt = "auto"
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    cpus: PositiveFloat = 1.0
    gpus: NonNegativeFloat = 0.0
    storage: str | None = None
    rerun: bool = False
    space: Mapping[str, str | float | int | bool] = field(default_factory=dict)
    conditions: Mapping[str, Mapping[str, tuple[str | float | int | bool, ...]]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """Settings of `compare`; each key is explained in conf/compare/default.yaml."""

    study: tuple[str, ...] = ()
    filter: str | None = None
    experiments: tuple[str, ...] = ()
    metric: str = "auto"
    direction: DirectionName = "auto"
    baseline: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    target: float | None = None
    alpha: Annotated[float, Gt(0), Lt(1)] = 0.05
    margin: Annotated[float, Gt(0)] | None = None
    curves: bool = True
    rows: PositiveInt = 30
    out: str | None = None
    log: bool = True

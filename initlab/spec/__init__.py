"""Shared types: frozen dataclasses and protocols that pass between packages, with almost no computation.

Shapes are written with B (batch), C (channels or classes), H and W (height, width), F (features), T (steps of time),
N (units). Sequences of numbers lie as (B, F, T), sequences of tokens as (B, T).
"""

from initlab.spec.activations import Activation, ElementwiseFn, GaussianMoments, TorchNonlinearity
from initlab.spec.data import IO, Baseline, Part, PartName, Provenance, Splits
from initlab.spec.experiment import Experiment, LrSchedule, OptimizerFactory
from initlab.spec.inits import Adapt, Batch, Draw, InitContext, Initializer, LrScale, StepKind, StepScale, Training
from initlab.spec.models import Carrying, ModelBuilder
from initlab.spec.predictions import LayerPrediction, Outlook, Prediction, Trainability
from initlab.spec.probes import LayerReading, Probe, ProbeFactory
from initlab.spec.profile import Histogram, Interpretation, LinearProbe, Profile, ProfileRow, Record, UnitActivity
from initlab.spec.ranges import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
    Scalar,
    UnitFloat,
)
from initlab.spec.results import Finding, Remedy, RunResult, RunStatus, Severity
from initlab.spec.settings import (
    CompareSettings,
    DirectionName,
    InspectSettings,
    ProbeSettings,
    PrunerName,
    SamplerName,
    StudySettings,
    TrackingSettings,
    TrainerSettings,
)
from initlab.spec.sites import Branch, Gate, Reading, Role, Site
from initlab.spec.stream import BlockForecast, StreamForecast
from initlab.spec.target import UNTIL_EPOCH, UNTIL_STEP, Target
from initlab.spec.tasks import Monitor, StackedTask, Task
from initlab.spec.tracking import RecordStream, RunHeader, Sink

__all__ = [
    "IO",
    "UNTIL_EPOCH",
    "UNTIL_STEP",
    "Activation",
    "Adapt",
    "Baseline",
    "Batch",
    "BlockForecast",
    "Branch",
    "Carrying",
    "CompareSettings",
    "DirectionName",
    "Draw",
    "ElementwiseFn",
    "Experiment",
    "Finding",
    "Gate",
    "GaussianMoments",
    "Histogram",
    "InitContext",
    "Initializer",
    "InspectSettings",
    "Interpretation",
    "LayerPrediction",
    "LayerReading",
    "LinearProbe",
    "LrScale",
    "LrSchedule",
    "ModelBuilder",
    "Monitor",
    "NonNegativeFloat",
    "NonNegativeInt",
    "OptimizerFactory",
    "Outlook",
    "Part",
    "PartName",
    "PositiveFloat",
    "PositiveInt",
    "Prediction",
    "Probability",
    "Probe",
    "ProbeFactory",
    "ProbeSettings",
    "Profile",
    "ProfileRow",
    "Provenance",
    "PrunerName",
    "Reading",
    "Record",
    "RecordStream",
    "Remedy",
    "Role",
    "RunHeader",
    "RunResult",
    "RunStatus",
    "SamplerName",
    "Scalar",
    "Severity",
    "Sink",
    "Site",
    "Splits",
    "StackedTask",
    "StepKind",
    "StepScale",
    "StreamForecast",
    "StudySettings",
    "Target",
    "Task",
    "TorchNonlinearity",
    "TrackingSettings",
    "Trainability",
    "TrainerSettings",
    "Training",
    "UnitActivity",
    "UnitFloat",
]

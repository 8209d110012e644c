"""The nouns that cross a room's border: frozen dataclasses and protocols, and next to nothing that computes.

Shapes are written with B (batch), C (channels or classes), H and W (height, width), F (features), T (steps of time),
N (units). Sequences of numbers lie as (B, F, T), sequences of tokens as (B, T).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, runtime_checkable

from annotated_types import Ge, Gt, Le, Lt

from initlab.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# ---------------------------------------------------------------- numbers with a range, checked by config.py
PositiveInt = Annotated[int, Gt(0)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
UnitFloat = Annotated[float, Ge(0), Le(1)]
Probability = Annotated[float, Ge(0), Lt(1)]

Scalar = str | int | float | bool | None

# ---------------------------------------------------------------- data
PartName = Literal["train", "val", "test"]


@dataclass(frozen=True, kw_only=True)
class IO:
    """What a model is given and must return.

    Attributes:
        input_shape: of one example: (C, H, W) for images, (D,) for vectors, (F, T) for F features over T steps, (T,)
            for tokens. Steps at the end of a sequence at which all features are exactly zero are padding.
        classes: outputs: logits of so many classes, or so many numbers.
        vocabulary: how many tokens there are, where inputs are tokens (int64); None where they are numbers.
        per_step: whether every step has an output, (B, T, classes), and not only the whole sequence, (B, classes).
    """

    input_shape: tuple[int, ...]
    classes: int
    vocabulary: int | None = None
    per_step: bool = False


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a data set, whole, on its device.

    `x` keeps the dtype of its storage (uint8 for images) until a batch is taken; `y` holds int64 class indices, (B,) or
    one a step, (B, T), or float targets (B, 1).
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return int(self.y.shape[0])


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a data set came from, for the tracker's dataset record."""

    name: str
    source: str
    digest: str
    licence: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What is reached without looking at the input, on the validation part.

    Attributes:
        untrained: loss of a network that says nothing of its input: what the loss before training should be near.
        constant: loss of the best answer that is the same for every input.
        accuracy: share of right answers of that one; None where answers are not right or wrong.
        words: `untrained` in a figure's legend, such as ``ln 10 = 2.30``.
    """

    untrained: float
    constant: float
    accuracy: float | None
    words: str


@dataclass(frozen=True, kw_only=True)
class Splits:
    """A data set made ready: three disjoint parts and the two maps from storage to network input.

    `prepare(x)` turns a stored batch into the float batch the network sees (scaling and standardisation with statistics
    of the training part only). `augment(x, generator)` acts on prepared training batches and draws from the CPU
    generator it is handed; None where augmentation is off.

    Where `streams` is true the examples of a part are windows of one long sequence, in order. A batch then holds the
    next window of as many parallel streams, and a network can carry its state from batch to batch. `notes` say what was
    counted while reading: files passed over, sequences cut, unknown words.
    """

    train: Part
    val: Part
    test: Part
    io: IO
    prepare: Callable[[Tensor], Tensor]
    augment: Callable[[Tensor, torch.Generator], Tensor] | None
    class_names: tuple[str, ...]
    provenance: Provenance
    baseline: Baseline
    streams: bool = False
    notes: tuple[str, ...] = ()

    def part(self, name: PartName) -> Part:
        return {"train": self.train, "val": self.val, "test": self.test}[name]


Monitor = Literal["val/accuracy", "val/loss"]


@runtime_checkable
class Task(Protocol):
    """A problem with data and a metric: opens the splits, gives the loss and the metric of a batch."""

    @property
    def name(self) -> str: ...

    @property
    def monitor(self) -> Monitor:
        """What tells the best epoch."""
        ...

    @property
    def episodes(self) -> int | None:
        """How often training is repeated on another draw of few examples; None for an ordinary run."""
        ...

    def open(self, *, seed: int, device: torch.device) -> Splits:
        """The data set as tensors on `device`. Raises DataError, which says which file to put where."""
        ...

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean training loss of a batch, a scalar tensor: nats for classes and tokens, squared error for numbers."""
        ...

    def correct(self, output: Tensor, target: Tensor) -> Tensor:
        """How many of the batch's ``target.numel()`` answers are right, a scalar tensor; 0 where they are numbers."""
        ...

    def scores(self, loss: float, accuracy: float) -> dict[str, float]:
        """What is reported beside the loss, by the end of its metric key: accuracy, bits_per_char, perplexity.

        Args:
            loss: mean over a part, as `loss` gives it.
            accuracy: share of right answers.
        """
        ...

    def closing(self, model: nn.Module, splits: Splits, *, seed: int) -> dict[str, str]:
        """Texts to keep at the end of a run, by file name: a sampled continuation. The model is in eval mode."""
        ...


@runtime_checkable
class Carrying(Protocol):
    """A network that can go on from one batch's last hidden state to the next batch (truncated backpropagation).

    With `carry` set, a forward pass begins with `state` (zeros where it is empty) and leaves its own last state there,
    detached. A batch smaller than the state takes its first rows. Without `carry` every pass begins with zeros and
    `state` is left alone.
    """

    carry: bool
    state: tuple[Tensor, ...]


# ---------------------------------------------------------------- activations
TorchNonlinearity = Literal["linear", "relu", "leaky_relu", "selu", "sigmoid", "tanh"]
ElementwiseFn = Callable[["Tensor"], "Tensor"]


#: (E[φ], E[φ²], E‖∂φ/∂h‖²) per output unit for independent h ~ N(0, q)
GaussianMoments = Callable[[float], tuple[float, float, float]]


@dataclass(frozen=True, kw_only=True)
class Activation:
    """An activation: its name, a factory of modules, and the plain function.

    Attributes:
        name: as in the catalogue.
        make: ``make(features)`` returns a new module at every call (modules are never shared, so that probes can tell
            them apart). `features` is the number of units (channels) it receives; only those that keep parameters for
            each unit look at it. Units lie along dimension 1 of (B, N) and (B, C, H, W), else along the last.
        fn: the same function on tensors, elementwise; quadrature and the saturation threshold are computed from it.
            A learnable activation's is the function it starts as; a width-changing one's is that of one output unit
            of one input (crelu: relu), or the nearest elementwise function, and `moments` says the rest.
        kinks: where φ or φ' jumps.
        torch_name: its name in `torch.nn.init.calculate_gain`, None where torch has none.
        units: (units received, units sent) in lowest terms: (1, 1), (2, 1) for GLU, (1, 2) for CReLU.
        moments: its Gaussian moments where `fn` alone does not give them.
        layers: the activations of the layers in order, of a per-layer mixture; empty elsewhere.
        repeats: whether `layers` begins again where the network is deeper (an alternation).
    """

    name: str
    make: Callable[..., nn.Module]
    fn: ElementwiseFn
    kinks: tuple[float, ...] = ()
    torch_name: TorchNonlinearity | None = None
    torch_param: float | None = None
    units: tuple[int, int] = (1, 1)
    moments: GaussianMoments | None = None
    layers: tuple[Activation, ...] = ()
    repeats: bool = False

    def sequence(self, count: int) -> tuple[Activation, ...]:
        """The activations of a network that has `count` of them, first layer first.

        Raises:
            ConfigError: under ``activation.layers`` where a per-layer list has another length.
        """
        if not self.layers:
            return (self,) * count
        if self.repeats:
            return tuple(self.layers[i % len(self.layers)] for i in range(count))
        if len(self.layers) != count:
            raise ConfigError(
                "activation.layers",
                f"[{','.join(a.name for a in self.layers)}]",
                f"names {len(self.layers)} activations; this model has {count}",
            )
        return self.layers

    def units_before(self, units: int) -> int:
        """How many units it must receive to send `units` on.

        Raises:
            ConfigError: under ``model.width`` where no whole number will do.
        """
        received, sent = self.units
        if units * received % sent:
            raise ConfigError("model.width", units, f"must be a multiple of {sent} for activation={self.name}")
        return units * received // sent


# ---------------------------------------------------------------- models, sites, inits
class ModelBuilder(Protocol):
    """Builds a network for the given input and output, with the given activation after each hidden layer."""

    def __call__(self, io: IO, activation: Activation) -> nn.Module: ...


Role = Literal["weight", "recurrent", "embedding", "head", "bias", "norm", "scale"]


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A block of rows ``[start, stop)`` of a stacked parameter: a gate of an LSTM/GRU, or one of q, k, v."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Branch:
    """Where a parameter stands in a residual branch, one of the two summands that the input reaches through weights.

    Attributes:
        index: which branch, counted from 0 in the order of the forward pass.
        position: of its weight layer within the branch, from 0; a norm or scale has that of the weight before it.
        length: weight layers in the branch (the m of Fixup).
        count: branches of the whole network (the L of Fixup).
    """

    index: int
    position: int
    length: int
    count: int

    @property
    def is_last(self) -> bool:
        return self.position == self.length - 1


@dataclass(frozen=True, kw_only=True)
class Site:
    """One parameter and what it is.

    Attributes:
        name: dotted parameter name.
        layer: dotted name of the module that owns it.
        kind: ``linear``, ``conv2d``, ``conv_transpose2d``, ``embedding``, ``rnn``, ``lstm``, ``gru``, ``attention``,
            ``norm``, ``scale`` (a residual branch's multiplier), ``activation`` or ``free``.
        role: what it does there.
        shape: shape of the parameter.
        fan_in: how many inputs one output unit sums over, of one gate, computed from the module.
        fan_out: how many output units one input unit feeds.
        groups: number of groups of a convolution (1 elsewhere). Each group is a linear map of its own.
        gates: blocks along dimension 0, in order; empty where the parameter is one block.
        order: position in the forward pass (or of registration, where no example was traced).
        activation: name of the activation module its output reaches next (dotted module name), None for a head.
        activation_before: the activation module that its input comes from, None for the first layer.
        transposed: weight is stored (in, out / groups, ...), as transposed convolutions do.
        stride: of a convolution, per dimension; empty elsewhere.
        padding: with zeros, of a convolution, per dimension; empty where there is none or where it is circular.
        branch: where it stands in a residual branch, None outside of one (and where no example was traced).
    """

    name: str
    layer: str
    kind: str
    role: Role
    shape: tuple[int, ...]
    fan_in: float = 0.0
    fan_out: float = 0.0
    groups: int = 1
    gates: tuple[Gate, ...] = ()
    order: int = 0
    activation: str | None = None
    activation_before: str | None = None
    transposed: bool = False
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    branch: Branch | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Examples that an initialiser may look at: network inputs, targets, and the loss that relates the two."""

    inputs: Tensor
    targets: Tensor
    loss: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class InitContext:
    """What an initialiser may look at besides the site.

    Attributes:
        activation: of the network; the one that is meant where a site reaches none.
        activations: activation module's dotted name → what it is; differs from `activation` in mixed networks.
        sites: every site of the network.
        batches: i → the i-th batch of training data, the same for every initialiser under one seed; None where there
            are no data.
        seed: of the run.
    """

    activation: Activation
    activations: Mapping[str, Activation] = field(default_factory=dict)
    sites: tuple[Site, ...] = ()
    batches: Callable[[int], Batch] | None = None
    seed: int = 0

    def after(self, site: Site) -> Activation | None:
        """The activation that the site's output reaches, None where there is none."""
        return self._named(site.activation)

    def before(self, site: Site) -> Activation | None:
        """The activation that the site's input comes from, None where there is none."""
        return self._named(site.activation_before)

    def _named(self, name: str | None) -> Activation | None:
        return None if name is None else self.activations.get(name.partition("#")[0], self.activation)


class Draw(Protocol):
    """Draws the values of one parameter: float32 on the CPU, of `site.shape`, from `generator` alone."""

    def __call__(self, site: Site, generator: torch.Generator, context: InitContext) -> Tensor: ...


class Adapt(Protocol):
    """A step of an initialiser that looks at the whole network, after every parameter was drawn.

    Changes parameters in place. Mode, buffers, gradients and random number generators are given back by `inits.apply`;
    randomness comes from ``seeds.generator(context.seed, "init", <own name>)``.

    Returns:
        Sentences that say what was done, for the record.
    """

    def __call__(self, model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> tuple[str, ...]: ...


#: whether an optimiser's step follows the gradient's size (sgd) or not (adaptive: Adam and its kin)
StepKind = Literal["sgd", "adaptive"]
LrScale = Callable[[Site, StepKind], float]


@dataclass(frozen=True, kw_only=True)
class Initializer:
    """How every parameter gets its first value.

    Attributes:
        name: as in the configuration.
        weight: for the roles weight, recurrent and head.
        bias: for biases of linear maps; biases of norms are always zero.
        embedding: for embeddings, whose units sum over a single active input.
        norm: for the scale γ of norms; one where None.
        scale: for multipliers of residual branches; one where None.
        keep: glob patterns of parameter names that keep the value their own module gave them.
        check: raises ConfigError where the network is not one that the scheme is for, before anything is drawn.
        adapt: what is done after all draws, in order.
        lr_scale: multiplier of the learning rate for a site, of schemes that are one thing with it (μP); None is 1.
        plan: looks at the network and returns the initialiser to use instead, with its reasons (`auto`).
        sigmas: activation → the (σ_w, σ_b) that the scheme means, where it means any, for theory without the sampling
            noise of one draw.
    """

    name: str
    weight: Draw
    bias: Draw
    embedding: Draw
    norm: Draw | None = None
    scale: Draw | None = None
    keep: tuple[str, ...] = ()
    check: Callable[[tuple[Site, ...], InitContext], None] | None = None
    adapt: tuple[Adapt, ...] = ()
    lr_scale: LrScale | None = None
    plan: Callable[[nn.Module, tuple[Site, ...], InitContext], tuple[Initializer, tuple[str, ...]]] | None = None
    sigmas: Callable[[Activation], tuple[float, float]] | None = None


# ---------------------------------------------------------------- what theory says
@dataclass(frozen=True, kw_only=True)
class LayerPrediction:
    """What mean-field theory says of one layer before training.

    Attributes:
        site: name of its weight; order: position in the forward pass.
        sigma_w2, sigma_b2: fan_in · E[W²] and E[b²], as drawn.
        q: mean square of the pre-activation h that reaches its activation; mean: its mean.
        c: correlation of two different inputs there.
        log10_gradient: log10 of ‖∂E/∂h‖² over that of the last hidden layer.
        saturated: share of h where |φ'| is below 5 % of its maximum.
        chi: factor of the squared gradient through this layer's activation and the weight before it.
    """

    site: str
    order: int
    sigma_w2: float
    sigma_b2: float
    q: float
    mean: float
    c: float
    log10_gradient: float
    saturated: float
    chi: float


Trainability = Literal["trainable", "marginal", "untrainable"]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What is said of a network before its first step.

    Attributes:
        layers: the hidden layers, first layer first.
        output_q: mean square of the network's output (the logits).
        depth: hidden layers in a row.
        trainable_depth: 6 ξ_c at the last layer; inf at criticality, NaN where the network has shortcuts or norms.
        gradient_depth: 6 ξ_∇ with ξ_∇ = 1/|ln χ| at the middle layer; inf and NaN likewise.
        log_q_sd: standard deviation of ln q at the last layer over draws of the weights, from finite width.
        born_dead: probability that a ReLU network of these widths is off for an input whatever its weights.
        stable: whether the signal's scale stays where it is; None where it is not one map repeated.
        out_of_scope: what the network does that the theory does not know; its effect was measured instead.
    """

    layers: tuple[LayerPrediction, ...]
    output_q: float
    depth: int
    trainable_depth: float
    gradient_depth: float
    log_q_sd: float
    born_dead: float
    stable: bool | None
    out_of_scope: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What to expect of training, said before the first step.

    Attributes:
        verdict: in one word.
        score: between 0 and 1, the higher the better; how well it ranks what happens is in docs/predictor.md.
        reasons: sentences with the evidence, the gravest first.
    """

    verdict: Trainability
    score: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class InspectSettings:
    """How thoroughly `inspect` looks; see conf/inspect/default.yaml for each key in words."""

    examples: Annotated[int, Ge(8), Le(256)] = 256
    jacobian: bool = True
    ntk_examples: Annotated[int, Ge(0), Le(256)] = 32
    gradient_quotient: bool = True
    sweep: Mapping[str, tuple[str | float | int | bool, ...]] | None = None


# ---------------------------------------------------------------- training
OptimizerFactory = Callable[[Sequence[Mapping[str, object]]], "torch.optim.Optimizer"]


class LrSchedule(Protocol):
    """Learning-rate multiplier for update `step` (0-based) of `total`; pure, so that resuming needs no state."""

    def __call__(self, step: int, total: int, /) -> float: ...


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """How long and how to train; see conf/trainer/default.yaml for each key in words."""

    epochs: PositiveInt = 10
    batch_size: PositiveInt = 64
    eval_batch_size: PositiveInt = 1024
    max_steps: PositiveInt | None = None
    clip_grad_norm: PositiveFloat | None = None
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    early_stopping: PositiveInt | None = None
    monitor: Literal["auto", "val/accuracy", "val/loss"] = "auto"
    test_with: Literal["best", "last"] = "best"
    checkpoint: bool = True
    checkpoint_every: PositiveInt | None = None
    deterministic: bool = False
    channels_last: bool = False
    flush_denormal: bool = True
    fast_dev_run: bool = False
    log_every: PositiveInt = 10
    ddp: bool = False


@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """When to look: every step below `dense_until`, then every `every` steps; never where `enabled` is false."""

    enabled: bool = True
    dense_until: NonNegativeInt = 10
    every: PositiveInt = 50
    activations: bool = True
    gradients: bool = True
    updates: bool = True
    histograms: bool = True
    dead_share: bool = True
    recurrent: bool = True
    interpret: bool = False
    max_metric_sites: PositiveInt = 32


@dataclass(frozen=True, kw_only=True)
class TrackingSettings:
    """Where runs are recorded. `uri` None means MLFLOW_TRACKING_URI, else sqlite:///mlflow.db here."""

    uri: str | None = None
    experiment: str = "initlab"
    run_name: str | None = None
    enabled: bool = True
    offline: bool = False
    report: bool = True
    log_model: bool = False
    flush_seconds: PositiveFloat = 2.0
    drain_seconds: PositiveFloat = 30.0
    ui_port: PositiveInt = 5000
    tags: Mapping[str, str] = field(default_factory=dict)


SamplerName = Literal["grid", "random", "tpe", "gp", "cmaes", "nsga2", "qmc"]
PrunerName = Literal["none", "median", "hyperband", "wilcoxon", "diagnostic"]
DirectionName = Literal["auto", "maximize", "minimize"]


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """How a space is searched; see conf/study/grid.yaml for each key in words."""

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
    """What is compared, and by what; see conf/compare/default.yaml for each key in words."""

    study: tuple[str, ...] = ()
    filter: str | None = None
    experiments: tuple[str, ...] = ()
    metric: str = "auto"
    direction: DirectionName = "auto"
    baseline: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    target: float | None = None
    alpha: Annotated[float, Gt(0), Lt(1)] = 0.05
    curves: bool = True
    rows: PositiveInt = 30
    out: str | None = None
    log: bool = True


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One run, fully decided: everything `run()` needs, with no configuration library left in it.

    Attributes:
        arm: hash of the resolved configuration without its seed; two seeds of one arm share it.
        params: the resolved configuration, flattened to dotted keys.
        config_yaml: the resolved configuration as YAML text.
        choices: which file was chosen in each group, such as ``{"init": "he"}``.
        overrides: what was typed, to write the command again.
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


# ---------------------------------------------------------------- what comes out
@dataclass(frozen=True, kw_only=True)
class Record:
    """What happened at one step: metrics by key. Values are finite; what was not is listed in `nonfinite`.

    `serial` counts the records of a run from 0, so that a resumed run does not write a record twice.
    """

    serial: int
    step: int
    epoch: float
    time_ms: int
    metrics: Mapping[str, float]
    nonfinite: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ProfileRow:
    """One statistic of one site at one step. Together the rows of a run are its profile.

    `position` is a step of time or a time lag, for statistics that have one; -1 elsewhere.
    """

    step: int
    site: str
    order: int
    statistic: str
    value: float
    position: int = -1


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts of values in equal bins between `low` and `high`, of `quantity` at `site` and `moment`."""

    moment: Literal["init", "end"]
    quantity: Literal["weight", "activation"]
    site: str
    order: int
    low: float
    high: float
    counts: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """All that was seen in a run: `rows` and `histograms` of the probes, `curves` of metrics (key → (step, value)s)."""

    rows: tuple[ProfileRow, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    curves: Mapping[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LinearProbe:
    """What a linear classifier makes of a layer's output.

    Attributes:
        site: whose output, after its activation; empty for the input itself.
        order: of the site in the forward pass, -1 for the input.
        moment: of the network.
        accuracy: on validation examples; by_class: the recall of each class.
    """

    site: str
    order: int
    moment: Literal["init", "end"]
    accuracy: float
    by_class: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class UnitActivity:
    """A unit (or channel) of a layer: mean of |what it sends on|, and the share of examples for which that is not 0."""

    site: str
    unit: int
    mean: float
    active: float


@dataclass(frozen=True, kw_only=True)
class Interpretation:
    """What training made of a network.

    Attributes:
        filters: weights of the first layer as images (units, channels, height, width), None where they are none.
        travelled: site → (‖W - W₀‖ / ‖W₀‖, cosine of W and W₀).
        linear: probes by layer, at the start and at the end; empty where there is no one answer an example.
        units: of each layer the most and the least active.
        path: (α, loss, accuracy) on validation examples at W₀ + α (W - W₀).
    """

    filters: Tensor | None = None
    travelled: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    linear: tuple[LinearProbe, ...] = ()
    units: tuple[UnitActivity, ...] = ()
    path: tuple[tuple[float, float, float], ...] = ()


Severity = Literal["ok", "note", "warning", "failure"]


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """What to try next: `overrides` to append to the same command, and `why` in words."""

    overrides: tuple[str, ...]
    why: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a rule of verdict.py concluded, on which evidence, citing which source, and what to try."""

    name: str
    severity: Severity
    evidence: str
    source: str
    remedies: tuple[Remedy, ...] = ()


RunStatus = Literal["finished", "diverged", "stopped", "killed", "failed"]


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The end of a run: its id in the tracker (or in the spool), status, final metrics, findings.

    `outlook` is what was said before the first step; None for a resumed, untracked or unprobed run.
    """

    run_id: str
    status: RunStatus
    metrics: Mapping[str, float]
    findings: tuple[Finding, ...]
    profile: Profile
    steps: int
    seconds: float
    diverged_step: int | None = None
    outlook: Outlook | None = None
    tracking_note: str = ""
    tracking_fault: bool = False
    #: [true class][answer] counts on the test part, of classifiers
    confusion: tuple[tuple[int, ...], ...] = ()
    #: where it was asked for (probes=interpret)
    interpretation: Interpretation | None = None
    #: what the task had to say at the end, by file name
    texts: Mapping[str, str] = field(default_factory=dict)


# ---------------------------------------------------------------- tracking
@dataclass(frozen=True, kw_only=True)
class RunHeader:
    """What is known of a run before its first record."""

    name: str
    experiment: str
    params: Mapping[str, Scalar]
    tags: Mapping[str, str]
    dataset: Provenance | None
    start_ms: int
    inputs: Mapping[str, int] = field(default_factory=dict)


class Sink(Protocol):
    """Where records go. Every call returns at once; nothing that a server does stops or slows training."""

    @property
    def run_id(self) -> str: ...

    def write(self, record: Record) -> None: ...

    def tag(self, tags: Mapping[str, str]) -> None: ...

    def artifact(self, path: Path, folder: str = "") -> None:
        """Keep the file `path` under `folder` of the run's artifacts. The file is copied or moved into the spool."""
        ...

    def close(self, status: RunStatus) -> str:
        """End the run in the tracker; returns a sentence for the user where something stayed in the spool."""
        ...


RecordStream = Iterator[Record]

"""The `Initializer` type: rules for the first value of each parameter, and the context that they may read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from initlab.spec.activations import Activation
from initlab.spec.sites import Site

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Training examples that an initialiser may read: network inputs, targets, and their loss.

    `inputs` is a tensor, or what `network.inputs.call` takes; `loss` gets what the network returns, and `targets`.
    """

    inputs: Any
    targets: Any
    loss: Callable[[Any, Any], Tensor]


@dataclass(frozen=True, kw_only=True)
class Training:
    """How the network will be trained, as far as it decides whether it trains.

    Attributes:
        optimizer: makes the optimiser of the parameter groups that it is given, with its rate.
        updates: of the whole run.
        untrained_loss: of an answer that is independent of the input, in nats.
        clip: norm to which gradients are clipped; None where they are not.
    """

    optimizer: Callable[[list[dict[str, Any]]], torch.optim.Optimizer]
    updates: int
    untrained_loss: float
    clip: float | None = None


@dataclass(frozen=True, kw_only=True)
class InitContext:
    """The network and data that an initialiser may read besides the site.

    Attributes:
        activation: of the network; the one that is meant where a site reaches none.
        activations: activation module's dotted name → what it is; differs from `activation` in mixed networks.
        sites: every site of the network.
        batches: i → the i-th batch of training data, the same for every initialiser under one seed; None where there
            are no data.
        seed: of the run.
        training: optimiser and length of the run; None where they are not known.
        example: inputs of a forward pass, for initialisers that read the network by one; None where there are none.
    """

    activation: Activation
    activations: Mapping[str, Activation] = field(default_factory=dict)
    sites: tuple[Site, ...] = ()
    batches: Callable[[int], Batch] | None = None
    seed: int = 0
    training: Training | None = None
    example: Any = None

    def after(self, site: Site) -> Activation | None:
        """The activation that the site's output feeds, None where there is none."""
        return self.named(site.activation)

    def before(self, site: Site) -> Activation | None:
        """The activation that produces the site's input, None where there is none."""
        return self.named(site.activation_before)

    def named(self, name: str | None) -> Activation | None:
        """The activation of a name in `Site.activation`."""
        return None if name is None else self.activations.get(name.partition("#")[0], self.activation)


class Draw(Protocol):
    """Draws the values of one parameter: float32 on the CPU, of `site.shape`, from `generator` alone."""

    def __call__(self, site: Site, generator: torch.Generator, context: InitContext) -> Tensor: ...


class Adapt(Protocol):
    """A step of an initialiser that changes the whole network after all parameters were drawn.

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
class StepScale:
    """Multipliers of an optimiser's settings for each parameter, in the place of an `LrScale`.

    With it, AdamW's decay is independent of the rate: where `lr` multiplies the learning rate, the decay is divided by
    the same number, so that their product, the share of a weight that an update takes away, is that of the base.

    Attributes:
        lr: of the learning rate.
        eps: of the ε of Adam, AdamW and RMSprop.
    """

    lr: LrScale
    eps: Callable[[Site], float]

    def __call__(self, site: Site, kind: StepKind) -> float:
        return self.lr(site, kind)


@dataclass(frozen=True, kw_only=True)
class Initializer:
    """Rules for the first value of every parameter.

    Attributes:
        name: as in the configuration.
        weight: for the roles weight, recurrent and head.
        bias: for biases of linear maps; biases of norms are always zero.
        embedding: for embeddings, whose units sum over a single active input.
        norm: for the scale γ of norms; one where None.
        scale: for multipliers of residual branches; one where None.
        position: for class tokens and position tables; N(0, 0.02²) where None.
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
    position: Draw | None = None
    keep: tuple[str, ...] = ()
    check: Callable[[tuple[Site, ...], InitContext], None] | None = None
    adapt: tuple[Adapt, ...] = ()
    lr_scale: LrScale | None = None
    plan: Callable[[nn.Module, tuple[Site, ...], InitContext], tuple[Initializer, tuple[str, ...]]] | None = None
    sigmas: Callable[[Activation], tuple[float, float]] | None = None

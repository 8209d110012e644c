"""What the public functions share: batches read as they are needed, losses, and a look at one's own network."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from initlab.activations import activations_of, naming
from initlab.api.gains import ActivationLike, as_activation
from initlab.errors import ConfigError, InitlabError
from initlab.network import findings
from initlab.network.inputs import batch_size, call, cloned, main_output, own_loss, tensors
from initlab.network.sites import survey
from initlab.network.state import preserve_state
from initlab.spec import Activation, Batch, InitContext, Site

#: of what the network returns, and targets
LossFunction = Callable[[Any, Any], Tensor]


@dataclass(frozen=True, kw_only=True)
class Look:
    """A network as it was found: its parameters, activations, what is to be said of them, and of their numbers."""

    sites: tuple[Site, ...]
    context: InitContext
    notes: tuple[str, ...]
    at_start: findings.Start


def look_at(
    model: nn.Module,
    example: Any,
    *,
    activation: ActivationLike | None,
    batches: Callable[[int], Batch] | None = None,
    seed: int = 0,
) -> Look:
    """Describes `model`; an `activation` that is said wins over what is seen.

    Raises:
        ConfigError: where `model` is no module, or cannot be called with `example`.
    """
    if not isinstance(model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError("model", type(model).__name__, "must be a torch.nn.Module")
    default = as_activation(activation) if activation is not None else None
    try:
        found = survey(model, example, given=default is not None)
    except ConfigError:
        raise
    except Exception as error:
        shapes = ", ".join(str(tuple(t.shape)) for t in tensors(example)) or type(example).__name__
        if _can_be_called(model, example):
            raise InitlabError(
                f"the forward pass of {type(model).__name__} cannot be read, though it runs: "
                f"{type(error).__name__}: {_first_line(error)}; without example= the order of registration is taken"
            ) from error
        raise ConfigError(
            "example", shapes, f"the network cannot be called with it: {type(error).__name__}: {_first_line(error)}"
        ) from error
    seen = {**found.activations, **activations_of(model, default)}
    notes = found.notes
    if default is not None:
        others = {
            a.name for s in found.sites for n in (s.activation, s.activation_before) if n and (a := _known(seen, n))
        }
        if others - {default.name}:
            notes += (
                f"activation={default.name} was said, and is used; the network computes {', '.join(sorted(others))}",
            )
        seen = {**dict.fromkeys(seen, default), "given": default}
    first = next((a for s in found.sites if (a := _known(seen, s.activation or "")) is not None), None)
    context = InitContext(
        activation=default or first or next(iter(seen.values()), naming.parse_activation("identity")),
        activations=seen, batches=batches, sites=found.sites, seed=seed, example=example,
    )  # fmt: skip
    return Look(
        sites=found.sites, context=context, notes=notes, at_start=findings.at_start(model, found.sites)
    )  # fmt: skip


def _can_be_called(model: nn.Module, example: Any) -> bool:
    with torch.no_grad(), preserve_state(model):
        try:
            call(model, cloned(example))
        except Exception:  # of somebody's forward
            return False
    return True


def _known(activations: Mapping[str, Activation], name: str) -> Activation | None:
    return activations.get(name.partition("#")[0])


class Batches:
    """Batches of an iterable, read one by one as they are asked for, and from the start again where it ends.

    Args:
        data: batches (inputs, targets), or mappings that the network takes as keyword arguments.
    """

    def __init__(self, data: Iterable[Any], loss: LossFunction | None, key: str = "data") -> None:
        if isinstance(data, Tensor) or (isinstance(data, tuple) and data and isinstance(data[0], Tensor)):
            raise ConfigError(
                key,
                None,
                "must be an iterable of batches (inputs, targets), such as a data loader; one batch is [(x, y)]",
            )
        if not isinstance(data, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(key, type(data).__name__, "must be an iterable of batches (inputs, targets)")
        self._rest: Iterator[Any] | None = iter(data)
        self._read: list[Batch] = []
        self._loss = loss
        self._key = key
        self(0)  # raises where there is none

    def __call__(self, i: int) -> Batch:
        while self._rest is not None and len(self._read) <= i:
            try:
                self._read.append(as_batch(next(self._rest), self._loss, self._key))
            except StopIteration:
                self._rest = None
        if not self._read:
            raise ConfigError(self._key, "[]", "must hold at least one (inputs, targets) batch")
        return self._read[i % len(self._read)]


def as_batch(value: Any, loss: LossFunction | None, key: str) -> Batch:
    """One batch of somebody's data: (inputs, targets), or a mapping of keyword arguments."""
    if isinstance(value, Batch):
        return value
    if isinstance(value, Mapping):
        targets = value.get("labels", value.get("targets", value.get("target")))
        return Batch(inputs=value, targets=targets, loss=loss or default_loss)
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return Batch(inputs=value[0], targets=value[1], loss=loss or default_loss)
    if isinstance(value, Tensor):
        raise ConfigError(key, None, "a batch must be a pair (inputs, targets); this is a tensor alone")
    raise ConfigError(key, type(value).__name__, "a batch must be a pair (inputs, targets), or a mapping")


def half_square(output: Any, targets: Any) -> Tensor:
    """Half the mean square of the output, or the network's own loss: a loss where there are no targets."""
    del targets
    own, scores = own_loss(output), main_output(output)
    if own is not None:
        return own
    if scores is None:
        raise ConfigError("model", None, "returns no tensor of numbers")
    return scores.float().square().mean() / 2


def fitting_batch(model: nn.Module, value: Any, loss: LossFunction | None) -> Batch:
    """A batch with a loss that fits the network: inputs and targets, or both as arguments of one with its own loss.

    A tensor alone is taken as inputs; the loss is then half the mean square of the output.
    """
    if isinstance(value, Tensor):
        return Batch(inputs=value, targets=None, loss=loss or half_square)
    batch = as_batch(value, loss, "batch")
    if loss is not None or not isinstance(value, (tuple, list)):
        return batch
    with torch.no_grad(), preserve_state(model):
        try:
            output = call(model.eval(), cloned(batch.inputs))
            if batch.targets is None:
                return Batch(inputs=batch.inputs, targets=None, loss=half_square)
            default_loss(output, batch.targets)
        except Exception as error:
            both = tuple(value)
            try:
                if own_loss(call(model, cloned(both))) is not None:
                    return Batch(inputs=both, targets=None, loss=default_loss)
            except Exception:  # it does not take the targets either: the first error is the one to tell
                raise error from None
            raise
    return batch


def default_loss(output: Any, targets: Any) -> Tensor:
    """The network's own loss where it returns one; cross entropy for classes, mean squared error for numbers.

    Raises:
        ConfigError: where none of these fits; `loss=` then says what it is.
    """
    own = own_loss(output)
    if own is not None:
        return own
    scores = main_output(output)
    if scores is None or not isinstance(targets, Tensor):
        raise ConfigError("loss", None, "must be given: the network returns no loss, and the targets are no tensor")
    if targets.is_floating_point():
        if targets.shape != scores.shape:
            raise ConfigError(
                "loss", None, f"must be given: outputs are {tuple(scores.shape)}, targets {tuple(targets.shape)}"
            )
        return F.mse_loss(scores, targets)
    if targets.shape == scores.shape[:-1]:
        return F.cross_entropy(scores.flatten(0, -2), targets.flatten().long())
    if scores.dim() > 1 and targets.shape == (scores.shape[0], *scores.shape[2:]):
        return F.cross_entropy(scores, targets.long())
    raise ConfigError("loss", None, f"must be given: outputs are {tuple(scores.shape)}, targets {tuple(targets.shape)}")


@contextmanager
def unchanged(model: nn.Module) -> Generator[None]:
    """Gives `model` back as it was, parameters included."""
    before = [(p, p.detach().clone()) for p in model.parameters()]
    try:
        with preserve_state(model):
            yield
    finally:
        with torch.no_grad():
            for parameter, value in before:
                parameter.copy_(value)


def require_two(inputs: Any, key: str) -> None:
    """Correlations take two examples."""
    size = batch_size(inputs)
    if size is not None and size < 2:
        raise ConfigError(key, f"{size} example", "must hold two examples or more")


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

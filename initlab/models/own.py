"""One's own network in the place of a model: a class of `nn.Module`, or a function that returns one.

What the data say is passed to parameters with usual names, and the activation to a parameter for one. What was given in
the configuration always wins.
"""

from __future__ import annotations

import collections.abc
import inspect
import math
import typing
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from initlab.core.memory import raise_if_memory
from initlab.errors import ConfigError, InitlabError
from initlab.network.state import preserve_state
from initlab.spec import IO, Activation

#: names of a parameter for the number of outputs
CLASSES = (
    "classes", "num_classes", "n_classes", "nclasses", "num_labels", "n_labels", "num_outputs", "n_outputs",
    "out_features", "out_dim", "output_dim", "output_size", "dim_out",
)  # fmt: skip
#: for the shape of one example; for its first dimension: channels of an image, features of a sequence
SHAPE, CHANNELS = ("input_shape", "in_shape"), ("in_channels", "in_chans", "input_channels")
#: for the numbers of one example: all of a vector or an image, those of a step of a sequence
FEATURES = ("in_features", "input_size", "input_dim", "in_dim", "dim_in", "n_features")
#: for the side of a square image, the steps of a sequence, the number of tokens
IMAGE_SIZE, STEPS = ("image_size", "img_size"), ("seq_len", "sequence_length", "block_size", "context_length")
TOKENS = (
    "vocab_size",
    "vocabulary",
    "vocabulary_size",
    "n_vocab",
    "num_embeddings",
    "num_tokens",
    "n_tokens",
    "ntoken",
)
DATA = (*CLASSES, *SHAPE, *CHANNELS, *FEATURES, *IMAGE_SIZE, *STEPS, *TOKENS, "io")
#: names of a parameter for the activation
ACTIVATION = ("activation", "act", "act_layer", "act_fn", "activation_fn", "activation_layer", "nonlinearity")


@dataclass(frozen=True, kw_only=True)
class OwnNetwork:
    """A model builder made of a class or function that knows nothing of initlab.

    Attributes:
        target: the class or function.
        name: dotted, for errors.
        arguments: from the configuration, checked.
        hints: annotations of its parameters, evaluated.
        named: whether an activation was named; else a network's own default stays.
    """

    target: Callable[..., Any]
    name: str
    arguments: Mapping[str, Any]
    hints: Mapping[str, Any]
    named: bool = False

    @cached_property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(self.target).parameters

    @property
    def activation_key(self) -> str | None:
        """The parameter that takes the activation; None where there is none, or it is given in the configuration."""
        return next((n for n in ACTIVATION if n in self.parameters and n not in self.arguments), None)

    @property
    def passes_activation(self) -> bool:
        key = self.activation_key
        return key is not None and (self.named or self.parameters[key].default is inspect.Parameter.empty)

    def with_activation(self) -> OwnNetwork:
        """The same, where an activation was named."""
        return replace(self, named=True)

    def __call__(self, io: IO, activation: Activation) -> nn.Module:
        """Builds the network.

        Raises:
            ConfigError: a parameter that neither the configuration nor the data give, or whatever the code raises.
        """
        given = dict(self.arguments)
        for name, parameter in self.parameters.items():
            if name in given or name not in DATA:
                continue
            value = io if name == "io" else of_data(name, io)
            if value is not None:
                given[name] = value
            elif parameter.default is inspect.Parameter.empty:
                raise ConfigError(f"model.{name}", None, f"is not known from {_words(io)}: add model.{name}=...")
        key = self.activation_key
        if key is not None and self.passes_activation:
            given[key] = activation_argument(self.parameters[key], self.hints.get(key), activation)
        try:
            made = self.target(**given)
            if not isinstance(made, nn.Module) and callable(made):  # a factory without annotations
                made = made(io, activation)
        except InitlabError:
            raise
        except Exception as error:  # of somebody's code
            raise_if_memory(error)
            shown = ", ".join(f"{k}={v!r}"[:60] for k, v in given.items())
            raise ConfigError(
                "model", f"{self.name}({shown})", f"cannot be built: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(made, nn.Module):
            raise ConfigError("model._target_", self.name, f"gives a {type(made).__name__}, and no torch.nn.Module")
        return made


def require_fit(model: nn.Module, example: Tensor, io: IO, name: str) -> None:
    """One pass, after which parameters that are made by the first one are there.

    Raises:
        ConfigError: the network does not take the inputs, or gives something else than an answer for each class.
    """
    wanted = (len(example), example.shape[-1], io.classes) if io.per_step else (len(example), io.classes)
    given = f"inputs of shape {tuple(example.shape)}"
    lazy = any(is_lazy(p) for p in (*model.parameters(), *model.buffers()))
    try:
        with torch.no_grad(), nullcontext() if lazy else preserve_state(model):
            output = model(example)
    except InitlabError:
        raise
    except Exception as error:  # of somebody's code
        raise_if_memory(error)
        text = (str(error).strip().splitlines() or [""])[0]
        raise ConfigError("model", name, f"cannot take {given}: {type(error).__name__}: {text}") from error
    if not isinstance(output, Tensor):
        raise ConfigError("model", name, f"gives a {type(output).__name__} for {given}; training needs one tensor")
    if tuple(output.shape) != wanted:
        raise ConfigError(
            "model", name, f"gives {tuple(output.shape)} for {given}, and {_words(io)} ask for {wanted}: parameters "
            "of other names than the usual ones (docs/own_network.md) have to be given",
        )  # fmt: skip


def of_data(name: str, io: IO) -> Any:
    """What the data say of a parameter called `name`; None where they say nothing."""
    shape, tokens = io.input_shape, io.vocabulary is not None
    if name in CLASSES:
        return io.classes
    if name in SHAPE:
        return shape
    if name in TOKENS:
        return io.vocabulary
    if name in STEPS:
        return shape[-1] if tokens or len(shape) == 2 else None
    if tokens:
        return None
    if name in CHANNELS:
        return shape[0] if len(shape) > 1 else None
    if name in FEATURES:
        return shape[0] if len(shape) == 2 else math.prod(shape)
    if name in IMAGE_SIZE and len(shape) == 3:
        return shape[1] if shape[1] == shape[2] else shape[1:]
    return None


def activation_argument(parameter: inspect.Parameter, hint: Any, activation: Activation) -> Any:
    """The activation as `parameter` wants it: a name, a factory of modules, ours, or a module.

    The annotation decides: ``str`` (or a Literal) a name, ``type[nn.Module]`` or a callable that does not take a tensor
    a factory, `initlab.spec.Activation` ours, else a module. Without one the default does likewise: a text, a class.
    """
    kinds = _alternatives(hint)
    if Activation in kinds:
        return activation
    default = None if parameter.default is inspect.Parameter.empty else parameter.default  # empty is a class
    if any(k is str or typing.get_origin(k) is typing.Literal for k in kinds) or (
        not kinds and isinstance(default, str)
    ):
        options = [v for k in kinds if typing.get_origin(k) is typing.Literal for v in typing.get_args(k)]
        if options and str not in kinds and activation.name not in options:
            raise ConfigError(
                "activation", activation.name, f"model.{parameter.name} takes {', '.join(map(str, options))}"
            )
        return activation.name
    if activation.units != (1, 1) or activation.layers:
        raise ConfigError(
            "activation", activation.name, f"is not one function of a unit; model.{parameter.name} has to be annotated "
            "initlab.spec.Activation to take it",
        )  # fmt: skip
    factory = not kinds and isinstance(default, type)
    for kind in kinds:
        origin = typing.get_origin(kind)
        factory = factory or kind is type or origin is type
        if kind is collections.abc.Callable or origin is collections.abc.Callable:
            takes = typing.get_args(kind)[:1]
            factory = factory or not (takes and isinstance(takes[0], list) and takes[0][:1] == [Tensor])
    return _factory(activation) if factory else activation.make(1)


def _factory(activation: Activation) -> Callable[..., nn.Module]:
    def make(*arguments: Any, **options: Any) -> nn.Module:
        """A new module; a first whole number is how many units it gets, ``inplace`` and the like are ignored."""
        del options
        units = arguments[0] if arguments and isinstance(arguments[0], int) and arguments[0] is not True else 1
        return activation.make(max(1, int(units)))

    return make


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """The alternatives of a union without None; empty where nothing is annotated."""
    if hint is None or hint is Any:
        return ()
    kind = typing.get_origin(hint)
    if kind is typing.Annotated:
        return _alternatives(typing.get_args(hint)[0])
    if kind in (typing.Union, type(int | str)):
        return tuple(a for arg in typing.get_args(hint) if arg is not type(None) for a in _alternatives(arg))
    return (hint,)


def _words(io: IO) -> str:
    tokens = "" if io.vocabulary is None else f", {io.vocabulary} tokens"
    return f"the data (input shape {io.input_shape}, {io.classes} classes{tokens})"

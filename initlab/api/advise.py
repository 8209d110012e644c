"""Which initialisation one's own network should have, from a look before training."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from initlab import advice
from initlab.advice import Advice
from initlab.api.gains import ActivationLike
from initlab.api.look import LossFunction, fitting_batch, look_at, require_two, unchanged
from initlab.errors import ConfigError
from initlab.network.inputs import call, cloned, map_tensors, own_loss
from initlab.spec import Batch


def advise(
    model: nn.Module,
    batch: Any,
    *,
    activation: ActivationLike | None = None,
    loss: LossFunction | None = None,
    seed: int = 0,
    keep: tuple[str, ...] = (),
    frozen: bool = False,
) -> Advice:
    """Which initialisation to give `model`, from a look at each candidate before training; `model` stays as it is.

    Takes a draw, two forward passes and a backward pass for each of about seven candidates.

    Args:
        batch: inputs and targets, on the model's device; a few dozen examples or more. Inputs are what `describe`
            takes; a mapping alone is passed as keyword arguments (the network then returns its loss, or `loss` takes
            it).
        activation: as in `initialize`. What the model has is not put in question.
        loss: of what the network returns and targets; as in `initialize`.
        seed: of the draws.
        keep: name patterns of parameters that keep their value. frozen: whether frozen ones are drawn too.

    Returns:
        The advice: `init` for `initialize`, what to expect, a confidence in words with its reason, and all options with
        their risk. Where theory is silent (recurrent layers, attention, what it does not recognise) it says so: `knows`
        is False, and `init` is what is customary.

    Raises:
        ConfigError: where no initialiser of the catalogue fits the network.

    Example:
        >>> x, y = torch.randn(64, 4), torch.randint(2, (64,))
        >>> initlab.advise(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), (x, y)).knows
        True
    """
    given = fitting_batch(model, batch, loss)
    require_two(given.inputs, "batch")
    with unchanged(model):
        seen = look_at(model, given.inputs, activation=activation, batches=lambda _i: given, seed=seed)
        if not seen.sites:
            raise ConfigError("model", None, "has no parameter that could be initialised")
        options = advice.evaluate_options(
            model, seen.sites, seen.context, activation=seen.context.activation.name, seed=seed,
            untrained_loss=untrained_loss(model, given), keep=(keep,) if isinstance(keep, str) else keep, frozen=frozen,
        )  # fmt: skip
    if all(option.refused for option in options):
        raise ConfigError("model", None, f"no initialiser fits this network: {options[0].refused}")
    return advice.decide(options, {}, silent=advice.unpredicted(seen.sites, options))


def untrained_loss(model: nn.Module, batch: Batch) -> float:
    """Loss of an answer that says nothing of its input (all scores zero); NaN where the network computes the loss."""
    with torch.no_grad():
        output = call(model, cloned(batch.inputs))
        if own_loss(output) is not None and not isinstance(output, Tensor):
            return math.nan
        silent = map_tensors(output, lambda t: torch.zeros_like(t) if t.is_floating_point() else t)
        try:
            return float(batch.loss(silent, batch.targets))
        except ConfigError:
            raise
        except Exception as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ConfigError("loss", None, f"cannot be computed of what the network returns: {first}") from error

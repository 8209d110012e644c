"""MetaInit: finds weight norms at which the gradient changes little along itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from initlab.core import seeds
from initlab.core.factories import factory
from initlab.inits.composition import Scheme, resolve
from initlab.inits.gradient_quotient import gradient_quotient
from initlab.inits.streaming import batch_of, combine_checks, exclude_kept, require_data
from initlab.network.inputs import map_tensors
from initlab.network.state import preserve_state
from initlab.spec import Batch, InitContext, Initializer, PositiveFloat, PositiveInt, Probability, Site

_CHECK_EVERY = 10
#: of its first value, that a norm may fall to
_SMALLEST = 0.01


@factory
def metainit(
    *,
    base: Scheme = "he",
    steps: PositiveInt = 500,
    lr: PositiveFloat = 0.1,
    momentum: Probability = 0.9,
    patience: PositiveInt = 10,
    examples: PositiveInt = 64,
    keep: tuple[str, ...] = (),
) -> Initializer:
    """Minimise the gradient quotient over the *norms* of the weight tensors. Dauphin & Schoenholz, NeurIPS 2019.

        ‖W_l‖ ← ‖W_l‖ + m_l,   m_l ← μ·m_l - lr·sign(∂GQ/∂‖W_l‖)

    Inputs are random numbers of the shape of the data and labels random classes: nothing of the data is used but their
    shape. GQ (`gradient_quotient`) is the mean over all parameters, biases and norms included; what moves are the norms
    of those of two dimensions and more, whose direction stays that of the draw. The network is in eval mode, as in the
    authors' code: dropout is off and batch norms use their running statistics.

    Args:
        base: what draws the weights first.
        steps: at most.
        lr: change of a norm in a step, without momentum.
        momentum: μ.
        patience: once something better than the draw was found: looks without further improvement, one in ten steps,
            after which the search ends. The best norms are kept. (On the way there the quotient may rise a
            hundredfold, being a mean with heavy tails.)
        examples: in a random batch.

    Refuses to work without data. Cost: `steps` times about eight steps of training.
    """
    first = resolve(base, "init.base")

    def step(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> tuple[str, ...]:
        like = batch_of(context, "metainit")
        weights = _weights(model, sites)
        if not weights:
            return ("metainit: there is no weight whose norm could be changed",)
        with preserve_state(model):
            model.eval()
            note = _search(model, weights, like, context.seed)
        return (note,)

    def _search(model: nn.Module, weights: list[nn.Parameter], like: Batch, seed: int) -> str:
        held_out = _random_batch(like, examples, seeds.generator(seed, "init", "metainit", "look"))
        generator = seeds.generator(seed, "init", "metainit")
        speeds, smallest = [0.0] * len(weights), [_SMALLEST * float(w.detach().norm()) for w in weights]
        begin = best = _quotient(model, held_out)
        best_values, stale, done = _values(weights), 0, 0
        while done < steps and stale < patience:
            batch = _random_batch(like, examples, generator)
            quotient = gradient_quotient(model, batch, create_graph=True)
            gradients = torch.autograd.grad(quotient, weights, allow_unused=True, materialize_grads=True)
            if not all(bool(torch.isfinite(g).all()) for g in gradients):
                break
            with torch.no_grad():
                for i, (w, g) in enumerate(zip(weights, gradients, strict=True)):
                    norm = float(w.norm())
                    # ∂GQ/∂‖W‖ = ⟨∂GQ/∂W, W⟩/‖W‖
                    speeds[i] = momentum * speeds[i] - lr * float(torch.sign((g * w).sum()))
                    # a norm that passed through zero would turn the tensor round, one of zero would hold it there
                    w.mul_(max(norm + speeds[i], smallest[i]) / norm)
            done += 1
            if done % _CHECK_EVERY == 0 or done == steps:
                now = _quotient(model, held_out)
                stale = 0 if now < 0.95 * best or best == begin else stale + 1
                if now < best:
                    best, best_values = now, _values(weights)
        with torch.no_grad():
            for w, value in zip(weights, best_values, strict=True):
                w.copy_(value)
        return f"metainit: gradient quotient {begin:.4g} before, {best:.4g} after {done} steps"

    keep = (*first.keep, *keep)
    return replace(
        first,
        name="metainit",
        sigmas=None,
        keep=keep,
        adapt=(*first.adapt, exclude_kept(step, keep)),
        check=combine_checks(require_data("metainit"), first.check),
    )


def _weights(model: nn.Module, sites: tuple[Site, ...]) -> list[nn.Parameter]:
    shown = {s.name for s in sites if s.role in ("weight", "recurrent", "head", "embedding")}
    named = model.named_parameters()
    return [p for n, p in named if n in shown and p.requires_grad and p.dim() >= 2 and bool(p.detach().any())]


def _quotient(model: nn.Module, batch: Batch) -> float:
    value = float(gradient_quotient(model, batch))
    return value if math.isfinite(value) else math.inf


def _values(weights: Sequence[nn.Parameter]) -> list[Tensor]:
    return [w.detach().clone() for w in weights]


def _random_batch(like: Batch, examples: int, generator: torch.Generator) -> Batch:
    """Random batch in the shape of the data: N(0, 1) for numbers, uniform for tokens and classes."""
    return Batch(
        inputs=map_tensors(like.inputs, lambda t: _noise(t, examples, generator)),
        targets=map_tensors(like.targets, lambda t: _noise(t, examples, generator)),
        loss=like.loss,
    )


def _noise(like: Tensor, examples: int, generator: torch.Generator) -> Tensor:
    if not like.dim():
        return like
    shape = (min(examples, like.shape[0]), *like.shape[1:])
    if like.is_floating_point():
        return torch.empty(shape).normal_(generator=generator).to(like)
    high = int(like.max()) + 1 if like.numel() else 1
    return torch.randint(high, shape, generator=generator).to(like)

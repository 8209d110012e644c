"""Interpretation of a trained network: filters, unit activity, distances, linear probes, loss path."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from initlab.network.hooks import tap
from initlab.network.sites import weights
from initlab.network.state import preserve_state
from initlab.spec import Interpretation, LinearProbe, Part, Site, Splits, Task, UnitActivity

#: training and validation examples of a linear probe, and its features at most
TRAIN, VAL, FEATURES = 1500, 500, 1024
#: units that are named of each layer, from either end
NAMED = 3
#: places on the line from the first weights to the last
PATH = tuple(round(-0.25 + 0.0625 * i, 4) for i in range(25))


def interpret(
    model: nn.Module, sites: tuple[Site, ...], splits: Splits, task: Task, start: Mapping[str, Tensor]
) -> Interpretation:
    """Interprets a trained network. Its weights, buffers and modes are restored.

    The line from the first weights to the last keeps the buffers of the end (Goodfellow, Vinyals & Saxe, ICLR 2015).

    Args:
        model: with its last weights.
        sites: of `describe`.
        splits: the data; nothing of the test part is looked at.
        task: for the loss.
        start: parameters by name, as they were before the first update.
    """
    travelled = _weight_distances(model, sites, start)
    if splits.streams or splits.io.per_step or splits.train.y.dim() != 1:
        return Interpretation(travelled=travelled)
    end = {name: p.detach().clone() for name, p in model.named_parameters()}
    try:
        with preserve_state(model), torch.no_grad():
            model.eval()
            path: list[tuple[float, float, float]] = []
            for alpha in PATH:
                _set_parameters(model, {name: torch.lerp(start[name], value, alpha) for name, value in end.items()})
                path.append((alpha, *_loss_and_accuracy(model, splits, task)))
            _set_parameters(model, start)
            before = _linear_probes(model, sites, splits, "init")
            _set_parameters(model, end)
            after, units = _linear_probes(model, sites, splits, "end"), _units(model, sites, splits)
    finally:
        with torch.no_grad():
            _set_parameters(model, end)
    return Interpretation(
        filters=_filters(model, sites, splits),
        travelled=travelled,
        linear=(*before, *after),
        units=units,
        path=tuple(path),
    )


# ------------------------------------------------------------------ weights
def _weight_distances(
    model: nn.Module, sites: tuple[Site, ...], start: Mapping[str, Tensor]
) -> dict[str, tuple[float, float]]:
    parameters = dict(model.named_parameters())
    found: dict[str, tuple[float, float]] = {}
    for site in weights(sites):
        now, then = parameters[site.name].detach().double().flatten(), start[site.name].double().flatten()
        size, turned = float(then.norm()), float(now.norm() * then.norm())
        found[site.name] = (
            float((now - then).norm()) / size if size > 0 else math.inf,
            float(now @ then) / turned if turned > 0 else math.nan,
        )
    return found


def _filters(model: nn.Module, sites: tuple[Site, ...], splits: Splits) -> Tensor | None:
    """The first layer's weights where its inputs are images: (units, channels, height, width)."""
    known = weights(sites)
    if not known or len(splits.io.input_shape) != 3:
        return None
    weight = dict(model.named_parameters())[known[0].name].detach().float().cpu()
    if weight.dim() == 2 and weight.shape[1] == math.prod(splits.io.input_shape):
        weight = weight.unflatten(1, splits.io.input_shape)
    return weight if weight.dim() == 4 and weight.shape[1] in (1, 3) else None


def _loss_and_accuracy(model: nn.Module, splits: Splits, task: Task) -> tuple[float, float]:
    """Loss and accuracy on validation examples."""
    x, y = _sample_examples(splits, splits.val, VAL)
    output: Tensor = model(x)
    return float(task.loss(output, y)), float(task.correct(output, y)) / len(y)


def _set_parameters(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    for name, parameter in model.named_parameters():
        parameter.copy_(values[name])


# ------------------------------------------------------------------ what layers send on
def _sample_examples(splits: Splits, part: Part, count: int) -> tuple[Tensor, Tensor]:
    """At most `count` examples, inputs prepared: the same draw always, since data often lie class by class."""
    index = torch.randperm(len(part), generator=torch.Generator().manual_seed(0))[:count].to(part.y.device)
    return splits.prepare(part.x[index]), part.y[index]


def _layer_outputs(model: nn.Module, sites: tuple[Site, ...], inputs: Tensor) -> dict[str, Tensor]:
    """Outputs of each hidden weight's activation: (examples, features) by site."""
    hidden = tuple(s for s in weights(sites) if s.activation is not None)
    found: dict[str, list[Tensor]] = {s.name: [] for s in hidden}

    def read(site: Site, _received: Tensor, sent: Tensor) -> None:
        found[site.name].append(sent.detach())

    for part in inputs.split(250):
        with tap(model, hidden, read):
            model(part)
    return {k: torch.cat(v) for k, v in found.items() if v and all(t.shape[1:] == v[0].shape[1:] for t in v)}


def _pool_features(sent: Tensor) -> Tensor:
    """At most `FEATURES` features an example: maps are averaged over squares until few enough."""
    while sent.dim() == 4 and sent[0].numel() > FEATURES and min(sent.shape[2:]) > 1:
        sent = nn.functional.avg_pool2d(sent, 2, ceil_mode=True)
    flat = sent.flatten(1)
    step = -(-flat.shape[1] // FEATURES)
    return flat[:, ::step]


def _linear_probes(
    model: nn.Module, sites: tuple[Site, ...], splits: Splits, moment: Literal["init", "end"]
) -> tuple[LinearProbe, ...]:
    """A ridge classifier on the input and on each layer (Alain & Bengio, 2016)."""
    train, y = _sample_examples(splits, splits.train, TRAIN)
    val, truth = _sample_examples(splits, splits.val, VAL)
    order = {s.name: s.order for s in sites}
    learnt, asked = _layer_outputs(model, sites, train), _layer_outputs(model, sites, val)
    pairs = {"": (train, val)} | {k: (learnt[k], asked[k]) for k in learnt if k in asked}
    y, truth = y.cpu().numpy(), truth.cpu().numpy()
    return tuple(
        LinearProbe(site=name, order=order.get(name, -1), moment=moment, accuracy=found[0], by_class=found[1])
        for name, (a, b) in pairs.items()
        if (found := _ridge_accuracy(_pool_features(a), y, _pool_features(b), truth, splits.io.classes)) is not None
    )


def _ridge_accuracy(a: Tensor, y: Any, b: Tensor, truth: Any, classes: int) -> tuple[float, tuple[float, ...]] | None:
    from sklearn.linear_model import RidgeClassifier

    learnt, asked = a.float().cpu().numpy(), b.float().cpu().numpy()
    centre, scale = learnt.mean(0), float(learnt.std())
    if not (math.isfinite(float(abs(asked).max())) and math.isfinite(scale)) or len(set(y.tolist())) < 2:
        return None
    # one scale for all: a layer whose signal is all but gone is read as it is, not blown up unit by unit
    learnt, asked = ((t - centre) / (scale or 1.0) for t in (learnt, asked))
    answers = RidgeClassifier(alpha=1.0).fit(learnt, y).predict(asked)
    right = answers == truth
    recall = tuple(float(right[truth == c].mean()) if (truth == c).any() else math.nan for c in range(classes))
    return float(right.mean()), recall


def _units(model: nn.Module, sites: tuple[Site, ...], splits: Splits) -> tuple[UnitActivity, ...]:
    """The most and the least active units of each layer."""
    found: list[UnitActivity] = []
    for name, sent in _layer_outputs(model, sites, _sample_examples(splits, splits.val, VAL)[0]).items():
        by_unit = sent.flatten(2).abs().mean(2) if sent.dim() > 2 else sent.abs()
        means, active = by_unit.mean(0).tolist(), (by_unit > 0).float().mean(0).tolist()
        ranked = sorted(range(len(means)), key=lambda u: -means[u])
        chosen = ranked if len(ranked) <= 2 * NAMED else [*ranked[:NAMED], *ranked[-NAMED:]]
        found += [UnitActivity(site=name, unit=u, mean=means[u], active=active[u]) for u in chosen]
    return tuple(found)

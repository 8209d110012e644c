"""`inspect` and the forecast of a training run: theory beside measurement, what is kept, and what is left alone."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import initlab
from initlab import activations, models
from initlab.activations import activations_of
from initlab.core import seeds
from initlab.network.hooks import tap
from initlab.network.sites import describe, weights
from initlab.probes import snapshot
from initlab.probes.jacobian import condition_number, layer_jacobians, tangent_kernel
from initlab.run.inspect import Inspection, as_json, inspect, record
from initlab.run.prepare import foresee, predict, prepare
from initlab.run.train import run
from initlab.spec import IO, Activation, Batch, InitContext, InspectSettings, RunResult, Site
from tests.cases import Recorder, experiment, untracked

QUICK = InspectSettings(examples=64, jacobian=False, ntk_examples=0, gradient_quotient=False)
SB = 0.05**0.5
DEEP = ("data=digits", "model=mlp", "activation=tanh", "init=mean_field", f"init.sigma_b={SB}")

# σ_w² → χ₁, ξ_c of tanh at σ_b² = 0.05 (REFERENCE 3.2; Schoenholz et al., ICLR 2017)
PHASES = {
    1.0: ("ordered", 0.7590316471853937, 3.626975618052972),
    1.7609546396067386: ("critical", 1.0, math.inf),
    4.0: ("chaotic", 1.34240241, 6.9803),
}


# ------------------------------------------------------------------ the phase diagram
@pytest.mark.parametrize("sw2", PHASES)
def test_fifty_layers_below_on_and_above_criticality(sw2: float) -> None:
    phase, chi_1, xi_c = PHASES[sw2]
    said = inspect(
        experiment(*DEEP, "model.depth=50", "model.width=100", f"init.sigma_w={sw2**0.5!r}", "tracking=none"), QUICK
    )
    (field,) = said.fields
    assert field.phase == phase
    assert field.chi_1 == pytest.approx(chi_1, rel=1e-6)
    assert math.isinf(field.xi_c) or field.xi_c > 1e6 if math.isinf(xi_c) else field.xi_c == pytest.approx(xi_c, 1e-4)
    assert len(said.prediction.layers) == len(said.seen.layers) == 50
    # the walk along the network's own scales, which a width of 100 draws with an error of a few per cent
    assert said.prediction.layers[-1].chi == pytest.approx(chi_1, rel=0.08)
    assert phase in said.advice[0] and "tanh at σ_w = " in said.advice[0]


def _measured(prepared: Any, inputs: Tensor, seed: int) -> tuple[list[float], list[float], list[float]]:
    """q, c and log10 squared gradient by layer, with a random cotangent at the last hidden layer."""
    hs: list[Tensor] = []
    hidden = tuple(s for s in weights(prepared.sites) if s.activation is not None)
    with tap(prepared.model, hidden, lambda _site, h, _sent: hs.append(h)):
        prepared.model(inputs)
    top = torch.empty(hs[-1].shape).normal_(generator=torch.Generator().manual_seed(seed))
    grads = torch.autograd.grad(hs[-1], hs, top)
    q, c = [], []
    for h in hs:
        gram = (h @ h.T).detach() / h.shape[1]
        off = (gram.sum() - gram.trace()) / (len(h) * (len(h) - 1))
        q.append(float(gram.trace()) / len(h))
        c.append(float(off) / q[-1])
    norms = [float(g.square().sum()) for g in grads]
    return q, c, [math.log10(n / norms[-1]) for n in norms]


@pytest.mark.slow
@pytest.mark.parametrize("sw2", PHASES)
def test_profiles_of_wide_networks_agree_with_the_prediction(sw2: float) -> None:
    """Width 1000, 30 layers, six seeds: the tolerances of REFERENCE 3.5."""
    said, seen = [], []
    for seed in range(6):
        prepared = prepare(
            experiment(
                *DEEP, "model.depth=30", "model.width=1000", f"init.sigma_w={sw2**0.5!r}", f"seed={seed}",
                "tracking=none",
            )
        )  # fmt: skip
        assert prepared.context.batches is not None
        rows = predict(prepared).layers
        said.append(([r.q for r in rows], [r.c for r in rows], [r.log10_gradient for r in rows]))
        seen.append(_measured(prepared, prepared.context.batches(0).inputs[:64], seed))
    theory, found = (torch.tensor(x, dtype=torch.float64).mean(0) for x in (said, seen))
    assert (found[0] / theory[0] - 1).abs().max() < 0.06
    assert (found[1] - theory[1])[:10].abs().max() < 0.05 and (found[1] - theory[1]).abs().max() < 0.08
    assert (found[2] - theory[2]).abs().max() < (0.25 if sw2 == 4.0 else 0.15)


# ------------------------------------------------------------------ what is kept of an inspection
@pytest.fixture(scope="module")
def inspected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Inspection, str]:
    folder = tmp_path_factory.mktemp("inspected")
    decided = experiment("data=digits", "model=mlp", "model.depth=6", "model.width=48", "activation=tanh", "init=he")
    found = inspect(decided, InspectSettings(examples=64, ntk_examples=8))
    run_id, uri, told = record(found, workdir=folder)
    assert told == "" and uri.startswith("sqlite:///")
    return folder, found, run_id


def store(folder: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")


@pytest.mark.process
@pytest.mark.xdist_group("inspected")
def test_an_inspection_is_a_run_of_its_own_kind(inspected: tuple[Path, Inspection, str]) -> None:
    folder, found, run_id = inspected
    kept = store(folder).get_run(run_id)
    assert kept.info.status == "FINISHED" and kept.data.tags["initlab.kind"] == "inspect"
    assert kept.data.tags["initlab.verdict"] == found.outlook.verdict
    assert found.outlook.reasons[0] in kept.data.tags["mlflow.note.content"]
    assert kept.info.run_name.startswith("inspect-")
    # theory and measurement by layer: the step is the layer
    for key, rows in (("predicted", found.prediction.layers), ("measured", found.seen.layers)):
        for name in ("q", "c", "log10_gradient", "saturated"):
            history = store(folder).get_metric_history(run_id, f"{key}/{name}")
            assert [m.step for m in sorted(history, key=lambda m: m.step)] == list(range(6)), (key, name)
            values = {m.step: m.value for m in history}
            assert [values[i] for i in range(6)] == pytest.approx([getattr(r, name) for r in rows])
    assert kept.data.metrics["inspect/score"] == pytest.approx(found.outlook.score)
    assert kept.data.metrics["inspect/ntk_condition"] == pytest.approx(found.ntk_condition)
    assert not [k for k in kept.data.metrics if k.startswith(("train/", "val/", "test/"))], "nothing was trained"


@pytest.mark.process
@pytest.mark.xdist_group("inspected")
def test_artifacts_of_an_inspection(inspected: tuple[Path, Inspection, str]) -> None:
    folder, found, run_id = inspected
    (place,) = (folder / "mlruns").rglob(f"{run_id}/artifacts")
    names = {p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file()}
    assert {"config.yaml", "sites.json", "environment.json", "inspect.json", "report.html"} <= names
    assert (place / "figures" / "predicted_and_measured.svg").read_bytes().startswith(b"<svg")
    kept = json.loads((place / "inspect.json").read_text())
    assert kept == json.loads(json.dumps(as_json(found)))
    assert len(kept["prediction"]["layers"]) == len(kept["measured"]["layers"]) == 6
    assert kept["outlook"]["verdict"] == found.outlook.verdict
    assert [s["site"] for s in kept["spectra"]][-1] == "", "the last is from the first layer to the last"


def test_inspecting_trains_nothing_and_writes_nothing(workdir: Path) -> None:
    decided = experiment("data=digits", "model=mlp", "model.depth=3", "model.norm=batch", "tracking=none")
    found = inspect(decided, InspectSettings(examples=32, ntk_examples=4))
    fresh = prepare(decided).model.state_dict()
    for name, value in found.prepared.model.state_dict().items():
        assert torch.equal(value, fresh[name]), f"{name}: parameters and running statistics are as initialised"
    assert all(p.grad is None for p in found.prepared.model.parameters())
    _, _, told = record(found, workdir=workdir)
    assert told == "" and list(workdir.iterdir()) == []


# ------------------------------------------------------------------ the forecast of a training run
TRAINED = ("data=digits", "model=mlp", "model.depth=4", "model.width=32", "trainer.epochs=2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult, Recorder]:
    folder, recorder = tmp_path_factory.mktemp("trained"), Recorder()
    return folder, run(experiment(*TRAINED), workdir=folder, narrator=recorder), recorder


@pytest.mark.process
@pytest.mark.xdist_group("forecast")
def test_a_training_run_keeps_its_prediction(trained: tuple[Path, RunResult, Recorder]) -> None:
    folder, result, _ = trained
    kept = store(folder).get_run(result.run_id)
    (place,) = (folder / "mlruns").rglob(f"{result.run_id}/artifacts")
    said = json.loads((place / "prediction.json").read_text())
    forecast = foresee(prepare(experiment(*TRAINED)))
    assert kept.data.tags["initlab.outlook"] == said["outlook"]["verdict"] == forecast.outlook.verdict
    assert [r["q"] for r in said["prediction"]["layers"]] == [r.q for r in forecast.prediction.layers]
    assert [r["q"] for r in said["measured"]["layers"]] == pytest.approx([r.q for r in forecast.seen.layers])
    for source, layers in (("predicted", forecast.prediction.layers), ("measured", forecast.seen.layers)):
        for key in ("q", "c", "log10_gradient", "saturated"):
            rows = [r for r in result.profile.rows if r.statistic == f"{source}_{key}"]
            assert {r.step for r in rows} == {0}
            assert [r.value for r in rows] == pytest.approx([getattr(r, key) for r in layers])
    assert (place / "figures" / "predicted_and_measured.svg").read_bytes().startswith(b"<svg")


@pytest.mark.process
@pytest.mark.xdist_group("forecast")
def test_training_is_bit_for_bit_the_same_with_and_without_a_forecast(
    trained: tuple[Path, RunResult, Recorder],
) -> None:
    _, result, recorder = trained
    plain, other = untracked(*TRAINED)  # no tracker, no forecast

    def losses(r: Recorder) -> list[tuple[int, float]]:
        return [(x.step, x.metrics["train/loss"]) for x in r.records if "train/loss" in x.metrics]

    assert losses(recorder) == losses(other) and len(losses(other)) > 3
    assert result.metrics["test/accuracy"] == plain.metrics["test/accuracy"]
    mine, its = recorder.prepared.model.state_dict(), other.prepared.model.state_dict()
    assert all(torch.equal(mine[k], its[k]) for k in mine)


# ------------------------------------------------------------------ probes against autograd
def _context(model: nn.Module) -> InitContext:
    found = activations_of(model, None)
    return InitContext(activation=next(iter(found.values()), activations.identity()), activations=found)


@pytest.mark.parametrize("activation", ["identity", "tanh"])
def test_jacobian_spectra_are_those_of_the_product_of_weights(activation: str) -> None:
    g = torch.Generator().manual_seed(0)
    act: Activation = getattr(activations, activation)()
    model = models.mlp(depth=4, width=20)(IO(input_shape=(12,), classes=3), act)
    for p in model.parameters():
        nn.init.normal_(p, 0, 0.3, generator=g)
    x = torch.empty(5, 12).normal_(generator=g)
    found = layer_jacobians(model, describe(model, x), x)
    assert [s.site for s in found] == [*(f"layers.{i}.weight" for i in (1, 2, 3)), ""]
    product, h = torch.eye(20, dtype=torch.float64), model.layers[0](x)[0]
    for i in (1, 2, 3):
        slope = 1 - torch.tanh(h) ** 2 if activation == "tanh" else torch.ones_like(h)
        step = (model.layers[i].weight * slope).detach().double()
        _same_spectrum(found[i - 1], step)
        product, h = step @ product, model.layers[i](act.fn(h))
    _same_spectrum(found[-1], product)


def _same_spectrum(said: Any, jacobian: Tensor) -> None:
    s = torch.linalg.svdvals(jacobian)
    assert said.mean_square == pytest.approx(float((s**2).mean()), rel=1e-4)
    assert said.condition == pytest.approx(float(s[0] / s[-1]), rel=1e-2)
    assert said.isometry == pytest.approx(float((s**2).var(correction=0) / (s**2).mean() ** 2), rel=1e-3)


def test_wide_jacobians_are_estimated_and_convolutions_are_flattened() -> None:
    torch.manual_seed(0)  # of the weights
    g = torch.Generator().manual_seed(0)
    model = nn.Sequential(
        nn.Linear(10, 600), nn.Identity(), nn.Tanh(), nn.Linear(600, 600), nn.Tanh(), nn.Linear(600, 2)
    )
    x = torch.empty(2, 10).normal_(generator=g)
    (spectrum,) = layer_jacobians(model, describe(model, x), x)
    slope = 1 - torch.tanh(model[0](x)[0]) ** 2
    exact = float((model[3].weight * slope).detach().square().sum()) / 600
    assert spectrum.mean_square == pytest.approx(exact, rel=0.05) and math.isnan(spectrum.condition)
    conv = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(3, 2, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(50, 2),
    )
    y = torch.empty(2, 1, 5, 5).normal_(generator=g)
    (small,) = layer_jacobians(conv, describe(conv, y), y)
    h = conv[0](y[:1]).detach()
    jacobian = torch.autograd.functional.jacobian(lambda t: conv[2](torch.relu(t)), h).reshape(50, 75)
    assert small.mean_square == pytest.approx(float(jacobian.square().sum()) / 50, rel=1e-4)
    assert math.isinf(small.condition) or small.condition > 1


def test_tangent_kernel_is_the_gram_matrix_of_gradients_by_example() -> None:
    g = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 1))
    x = torch.empty(5, 6).normal_(generator=g)
    rows = torch.stack([
        torch.cat([p.flatten() for p in torch.autograd.grad(model(x[i : i + 1]).sum(), list(model.parameters()))])
        for i in range(5)
    ]).double()  # fmt: skip
    kernel = tangent_kernel(model, x)
    torch.testing.assert_close(kernel, rows @ rows.T, rtol=1e-4, atol=1e-5)
    eigenvalues = torch.linalg.eigvalsh(rows @ rows.T)
    assert condition_number(kernel) == pytest.approx(float(eigenvalues[-1] / eigenvalues[0]), rel=1e-2)
    assert math.isinf(condition_number(torch.zeros(3, 3))) and condition_number(torch.eye(4)) == 1.0
    assert math.isinf(condition_number(torch.full((2, 2), math.nan)))


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_snapshot_is_what_autograd_says(norm: str) -> None:
    g = torch.Generator().manual_seed(0)
    model = models.mlp(depth=3, width=20, norm=norm)(IO(input_shape=(12,), classes=4), activations.tanh())  # type: ignore[arg-type]
    x, y = torch.empty(32, 12).normal_(0, 2, generator=g), torch.randint(0, 4, (32,), generator=g)
    sites, before = describe(model, x), {k: v.clone() for k, v in model.state_dict().items()}
    model.eval()
    seen = snapshot(model, sites, Batch(inputs=x, targets=y, loss=F.cross_entropy), replace(_context(model), seed=7))
    assert not model.training and all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    # by hand, in training mode
    model.train()
    hs: list[Tensor] = []
    sent: list[Tensor] = []

    def read(_module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        hs.append(inputs[0])
        sent.append(out)

    handles = [a.register_forward_hook(read) for a in model.activations]
    output = model(x)
    for handle in handles:
        handle.remove()
    loss = F.cross_entropy(output, y)
    # random signs at the last hidden layer's output
    signs = torch.empty(sent[-1].shape).bernoulli_(0.5, generator=seeds.generator(7, "probe", "cotangent")) * 2 - 1
    deltas = torch.autograd.grad(sent[-1], hs, signs, retain_graph=True)
    named = dict(model.named_parameters())
    grads = dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))
    assert seen.loss == pytest.approx(float(loss.detach()), rel=1e-5) and seen.examples == 32
    assert seen.output_q == pytest.approx(float(output.detach().square().mean()), rel=1e-5)
    assert seen.grad_norm == pytest.approx(math.sqrt(sum(float(v.square().sum()) for v in grads.values())), rel=1e-4)
    for i, row in enumerate(seen.layers):
        h = hs[i].detach().double()
        centred = h - h.mean()
        gram = centred @ centred.T
        assert row.site == f"layers.{i}.weight"
        assert (row.q, row.mean) == pytest.approx((float(h.square().mean()), float(h.mean())), rel=1e-4, abs=1e-6)
        c = float((gram.sum() - gram.trace()) / 31 / gram.trace())
        assert row.c == pytest.approx(c, abs=1e-4)
        gradient = math.log10(float(deltas[i].square().sum() / deltas[-1].square().sum()))
        assert row.log10_gradient == pytest.approx(gradient, abs=1e-4)
        assert row.grad_norm == pytest.approx(float(grads[row.site].norm()), rel=1e-4)
        assert row.weight_norm == pytest.approx(float(named[row.site].detach().norm()), rel=1e-5)
        slope = 1 - torch.tanh(h) ** 2
        assert row.saturated == pytest.approx(float((slope < 0.05).double().mean()), abs=1e-6)
        assert row.off == pytest.approx(float((slope < 1e-3).all(0).double().mean()), abs=1e-6)
        s = torch.linalg.svdvals(torch.tanh(h))
        p = s / s.sum()
        assert row.effective_rank == pytest.approx(float(torch.exp(-(p * p.log()).sum())), rel=2e-3)


# ------------------------------------------------------------------ prediction and measurement of other networks
def _compared(model: nn.Module, x: Tensor, *, seed: int = 0) -> list[tuple[Any, float, float, float]]:
    """(predicted row, measured q, c, log10 squared gradient) by layer; a random cotangent at what the head receives."""
    said = initlab.predict(model, x)
    sites = describe(model, x)
    chosen = {s.activation: s for s in reversed(weights(sites)) if s.activation is not None}
    hs: dict[str, Tensor] = {}
    sent: dict[str, Tensor] = {}

    def read(site: Site, h: Tensor, out: Tensor) -> None:
        hs[site.name], sent[site.name] = h, out

    model.train()
    tops: list[Tensor] = []
    head = next((s.layer for s in reversed(sites) if s.role == "head"), None)
    if head is not None:
        model.get_submodule(head).register_forward_pre_hook(lambda _module, inputs: tops.append(inputs[0]))
    with tap(model, tuple(chosen.values()), read):
        model(x)
    names = [r.site for r in said.layers]
    end = tops[0] if tops else sent[names[-1]]
    top = torch.empty(end.shape).normal_(generator=torch.Generator().manual_seed(seed))
    grads = dict(zip(names, torch.autograd.grad(end, [hs[n] for n in names], top), strict=True))
    last = float(grads[names[-1]].square().sum())
    found = []
    for row in said.layers:
        h = hs[row.site].detach().double().flatten(1)
        pairs = float(h.sum(0).square().sum() - h.square().sum()) / (len(h) * (len(h) - 1) * h.shape[1])
        q, mean = float(h.square().mean()), float(h.mean())
        gradient = math.log10(float(grads[row.site].square().sum()) / last)
        found.append((row, q, (pairs - mean**2) / (q - mean**2), gradient))
    return found


def _images(n: int = 64, channels: int = 3, size: int = 8) -> Tensor:
    return torch.empty(n, channels, size, size).normal_(generator=torch.Generator().manual_seed(5))


def test_prediction_of_convolutions_with_circular_padding() -> None:
    """Correlation and mean square within 10 % (Xiao et al., ICML 2018)."""
    io = IO(input_shape=(3, 8, 8), classes=10)
    model = models.convnet(depth=12, width=192, downsample=0, padding_mode="circular")(io, activations.tanh())
    initlab.initialize(model, "mean_field", sigma_w=1.7609546396067386**0.5, sigma_b=SB)
    base = _images(1)
    x = 0.6**0.5 * base + 0.4**0.5 * _images(24)  # examples of correlation 0.6
    rows = _compared(model, x)
    assert len(rows) == 12 and initlab.predict(model, x).out_of_scope == ()
    for row, q, c, _ in rows:
        assert row.q == pytest.approx(q, rel=0.10), row.site
        assert row.c == pytest.approx(c, rel=0.10), row.site


@pytest.mark.parametrize("residual", [False, True])
def test_prediction_of_convolutions_with_batch_norm(residual: bool) -> None:
    io = IO(input_shape=(3, 8, 8), classes=10)
    model = models.convnet(
        depth=13, width=128, norm="batch", residual=residual, downsample=0, padding_mode="circular"
    )(io, activations.relu())  # fmt: skip
    initlab.initialize(model, "he", example=_images(2))
    for row, q, c, gradient in _compared(model, _images(64)):
        assert row.q == pytest.approx(q, rel=1e-3), row.site
        assert row.c == pytest.approx(c, abs=0.01), row.site
        assert row.log10_gradient == pytest.approx(gradient, abs=0.06), row.site


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_prediction_of_a_resnet(norm: str) -> None:
    """Zero padding, strides and 32 channels: units at the border are taken for units like all others.

    With batch norm that is felt: it subtracts one mean for all positions, so that positions at the border keep a mean
    of their own, which all examples share. (With circular padding the test above agrees to a hundredth.)
    """
    io = IO(input_shape=(3, 16, 16), classes=10)
    model = models.resnet(depth=14, width=32, norm=norm)(io, activations.relu())  # type: ignore[arg-type]
    initlab.initialize(model, "he", example=_images(2, 3, 16))
    x = _images(64, 3, 16)
    rows = _compared(model, x)
    assert len(rows) == 13, "a branch and its shortcut meet in one activation"
    for row, q, c, gradient in rows:
        assert math.log10(row.q / q) == pytest.approx(0, abs=0.15), row.site
        assert row.c == pytest.approx(c, abs=0.3 if norm == "batch" else 0.15), row.site
        # the gradient of an average over positions is the same at all of them, which the borders feel the more
        assert row.log10_gradient == pytest.approx(gradient, abs=0.55 if norm == "batch" else 0.25), row.site
    assert math.isnan(initlab.predict(model, x).trainable_depth), "not one map repeated"


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_prediction_of_a_normed_residual_perceptron(norm: str) -> None:
    io = IO(input_shape=(64,), classes=10)
    model = models.mlp(depth=13, width=400, residual=True, branch_depth=2, norm=norm)(io, activations.gelu())  # type: ignore[arg-type]
    x = torch.empty(128, 64).normal_(generator=torch.Generator().manual_seed(1))
    initlab.initialize(model, "he", example=x)
    for row, q, c, gradient in _compared(model, x):
        assert row.q == pytest.approx(q, rel=0.01), row.site
        assert row.c == pytest.approx(c, abs=0.06), row.site
        assert row.log10_gradient == pytest.approx(gradient, abs=0.1), row.site


@pytest.mark.parametrize(("name", "depth"), [("glu", 6), ("swiglu", 2), ("crelu", 6), ("maxout", 6)])
def test_prediction_of_units_that_act_together_says_what_it_does_not_know(name: str, depth: int) -> None:
    """Two swish-gated layers are enough: q is squared from layer to layer, and finite width with it."""
    act: Activation = getattr(activations, name)()
    model = models.mlp(depth=depth, width=400)(IO(input_shape=(64,), classes=10), act)
    x = torch.empty(64, 64).normal_(generator=torch.Generator().manual_seed(1))
    initlab.initialize(model, "he", activation=act, example=x)
    assert initlab.predict(model, x).out_of_scope == (f"correlation through {name}",)
    for row, q, c, gradient in _compared(model, x):
        assert row.q == pytest.approx(q, rel=0.2), row.site
        assert row.c == pytest.approx(c, abs=0.05), row.site
        assert row.log10_gradient == pytest.approx(gradient, abs=0.1), row.site


def test_a_prediction_is_finite_where_the_network_is_not() -> None:
    model = nn.Sequential(*[m for _ in range(8) for m in (nn.Linear(30, 30), nn.ReLU())], nn.Linear(30, 3))
    x = torch.empty(16, 30).normal_(generator=torch.Generator().manual_seed(1))
    for std in (0.0, 1e-12, 1e10):
        initlab.initialize(model, "normal", std=max(std, 1e-30))
        if std == 0.0:
            initlab.initialize(model, "zeros")
        said = initlab.predict(model, x)
        assert len(said.layers) == 8
        assert not any(math.isnan(r.q) for r in said.layers), std


def _mapping(x: object) -> Mapping[str, Any]:
    assert isinstance(x, dict)
    return x


def test_settings_choose_what_is_looked_at() -> None:
    decided = experiment("data=digits", "model=mlp", "tracking=none")
    bare = inspect(decided, QUICK)
    assert bare.spectra == () and math.isnan(bare.ntk_condition) and math.isnan(bare.gradient_quotient)
    assert "inspect/ntk_condition" not in bare.numbers()
    full = inspect(decided, replace(QUICK, jacobian=True, ntk_examples=4, gradient_quotient=True))
    assert full.spectra and full.ntk_condition > 1 and full.gradient_quotient >= 0
    assert bare.prediction == full.prediction and bare.seen == full.seen
    assert _mapping(as_json(bare))["ntk_condition"] == "nan", "plain JSON has no NaN"

"""Kinds of networks that are easily misread: each is recognised, or refused by a sentence, and left as it was."""

from __future__ import annotations

import copy
import dataclasses
import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import initlab
from initlab.errors import ConfigError, InitlabError, UnclaimedParameterError

D = 96


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.empty(*shape).normal_(generator=torch.Generator().manual_seed(seed))


class Written(nn.Module):
    """Three layers whose forward pass is a function."""

    def __init__(self, forward: Callable[[Written, Tensor], Any], **more: nn.Module) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, 5)
        for name, module in more.items():
            self.add_module(name, module)
        self.said = forward

    def forward(self, x: Tensor) -> Any:
        return self.said(self, x)


def scale(model: Written, layer: str = "b") -> float:
    return float(model.get_submodule(layer).weight.detach().square().mean()) * D  # type: ignore[union-attr, operator]


def drawn(model: nn.Module, example: Any, init: str = "he", **options: Any) -> Any:
    return initlab.initialize(model, init, example=example, **options)


# ------------------------------------------------------------------ activations, however they are called
class OwnGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x * (1.0 + torch.erf(x / math.sqrt(2.0)))


class Cube(torch.autograd.Function):
    """An activation as a function of autograd's own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x)
        return x.clamp(min=0.0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        return grad * (ctx.saved_tensors[0] > 0)


def _swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


with warnings.catch_warnings():  # scripts are no longer made, but the networks that have them are still used
    warnings.simplefilter("ignore")
    scripted: Any = torch.jit.script(_swish)


ACTIVATIONS: list[tuple[str, Callable[[Tensor], Tensor], str | Callable[[Tensor], Tensor]]] = [
    ("torch.relu", torch.relu, "relu"),
    ("method", lambda x: x.relu(), "relu"),
    ("in place", lambda x: F.relu(x, inplace=True), "relu"),
    ("in-place method", lambda x: x.relu_(), "relu"),
    ("maximum", lambda x: torch.maximum(x, torch.zeros_like(x)), "relu"),
    ("where", lambda x: torch.where(x > 0, x, 0.2 * x), lambda x: F.leaky_relu(x, 0.2)),
    ("mask", lambda x: x * (x > 0), "relu"),
    ("a class of its own", OwnGELU(), "gelu"),
    ("scripted", scripted, "silu"),
    ("autograd.Function", Cube.apply, "relu"),
    ("half the input", lambda x: torch.tanh(0.5 * x), lambda x: torch.tanh(0.5 * x)),
    ("a sum of two", lambda x: torch.tanh(x) + 0.1 * x, lambda x: torch.tanh(x) + 0.1 * x),
    ("power", lambda x: F.relu(x) ** 2, "squared_relu"),
    ("function", F.silu, "silu"),
]


@pytest.mark.parametrize(("fn", "like"), [pytest.param(f, n, id=i) for i, f, n in ACTIVATIONS])
def test_an_activation_is_known_by_what_it_does(fn: Callable[[Tensor], Tensor], like: Any) -> None:
    model = Written(lambda m, x: m.c(fn(m.b(fn(m.a(x))))))
    drawn(model, normal(8, D))
    assert scale(model) == pytest.approx(initlab.gain(like) ** 2, rel=0.08)
    assert initlab.predict(model, normal(8, D)).depth == 2


WAYS: list[tuple[str, Callable[[Written, Tensor], Any]]] = [
    ("keywords", lambda m, x: m.c(input=F.relu(input=m.b(input=F.relu(input=m.a(input=x)))))),
    ("checkpoint", lambda m, x: m.c(checkpoint(lambda h: F.relu(m.b(h)), F.relu(m.a(x)), use_reentrant=False))),
    ("reentrant", lambda m, x: m.c(checkpoint(lambda h: F.relu(m.b(h)), F.relu(m.a(x)), use_reentrant=True))),
    ("matmul", lambda m, x: m.c(F.relu(F.relu(x @ m.a.weight.mT + m.a.bias).matmul(m.b.weight.T)))),
    ("einsum", lambda m, x: m.c(F.relu(torch.einsum("bi,oi->bo", F.relu(m.a(x)), m.b.weight)))),
    ("views", lambda m, x: m.c(F.relu(m.b(F.relu(m.a(x)).view(-1, D // 4, 4).flatten(1))))),
    ("scalar", lambda m, x: m.c(F.relu(m.b(F.relu(m.a(x / x.abs().max())))))),
    ("branch on data", lambda m, x: m.c(F.relu(m.b(F.relu(m.a(x)))) if x.mean() < 9 else x)),
    ("slices written", lambda m, x: m.c(_written(m, F.relu(m.a(x))))),
]


def _written(m: Written, h: Tensor) -> Tensor:
    out = torch.zeros_like(h)
    out[:, : D // 2] = F.relu(m.b(h))[:, : D // 2]
    out[:, D // 2 :] = F.relu(m.b(h))[:, D // 2 :]
    return out


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("forward", [pytest.param(f, id=n) for n, f in WAYS])
def test_the_wiring_does_not_depend_on_how_it_is_written(forward: Callable[[Written, Tensor], Any]) -> None:
    model, x = Written(forward), normal(8, D)
    drawn(model, x)
    assert scale(model) == pytest.approx(2, rel=0.1)
    assert {s.name for s in initlab.describe(model, x) if s.role == "head"} == {"c.weight"}
    initlab.predict(model, x)
    assert initlab.advise(model, (normal(32, D), torch.arange(32) % 5)).options


def test_no_grad_and_inference_mode() -> None:
    def forward(m: Written, x: Tensor) -> Tensor:
        with torch.no_grad():
            h = F.relu(m.a(x))
        return m.c(F.relu(m.b(h)))

    model = Written(forward)
    drawn(model, normal(8, D))
    assert scale(model) == pytest.approx(2, rel=0.1) and scale(model, "a") == pytest.approx(2, rel=0.1)
    with torch.inference_mode():
        sites = initlab.describe(model, normal(8, D))
    assert next(s for s in sites if s.name == "b.weight").activation_before is not None


def _own_norm(x: Tensor, *, dim: int, centred: bool) -> Tensor:
    x = x - x.mean(dim, keepdim=True) if centred else x
    return x * torch.rsqrt(x.square().mean(dim, keepdim=True) + 1e-6)


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("dim", [1, -1])
def test_a_norm_of_ones_own_is_no_activation(dim: int, centred: bool) -> None:
    """Over channels or over the last dimension, with or without the mean."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 64, 1), nn.Linear(64, 4)
            self.scale = nn.Parameter(torch.ones(64, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            h = torch.relu(self.a(x))
            h = torch.relu(self.b(_own_norm(h, dim=dim, centred=centred) * self.scale))
            return self.head(h.mean((2, 3)))

    model, x = Net(), normal(8, 3, 12, 12)
    sites = {s.name: s for s in initlab.describe(model, x)}
    assert sites["b.weight"].normed and sites["scale"].role == "norm"
    drawn(model, x)
    assert float(model.b.weight.detach().square().mean()) * 64 == pytest.approx(1, rel=0.1)
    assert initlab.predict(model, x).depth == 2


# ------------------------------------------------------------------ inputs and outputs
@dataclasses.dataclass
class Pair:
    left: Tensor
    right: Tensor


class Two(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.a, self.b, self.c = kind, nn.Linear(8, 32), nn.Linear(4, 32), nn.Linear(64, 3)

    def forward(self, first: Any, second: Any = None) -> Any:
        if self.kind == "object":
            first, second = first.left, first.right
        if self.kind == "dict":
            first, second = first["x"], first["y"]
        return self.c(F.relu(torch.cat([self.a(first), self.b(second)], 1)))


X, Y = normal(32, 8), normal(32, 4)
INPUTS = {
    "args": (X, Y), "kwargs": {"first": X, "second": Y}, "dict": {"x": X, "y": Y}, "object": Pair(X, Y),
}  # fmt: skip


@pytest.mark.parametrize("kind", INPUTS)
def test_inputs_as_people_have_them(kind: str) -> None:
    inputs, targets = INPUTS[kind], torch.arange(32) % 3
    model = Two(kind)
    assert {s.name for s in initlab.describe(model, inputs) if s.role == "head"} == {"c.weight"}
    for init in ("he", "lsuv", "auto", "data_dependent"):
        initlab.initialize(model, init, data=[(inputs, targets)])
    assert initlab.predict(model, inputs).layers
    assert initlab.advise(model, (inputs, targets)).options
    assert initlab.inspect(model, (inputs, targets)).seen.layers


def test_only_the_batches_that_are_needed_are_read() -> None:
    read: list[int] = []

    def loader() -> Any:
        for i in range(1000):
            read.append(i)
            yield normal(16, D, seed=i), torch.arange(16) % 5

    initlab.initialize(Written(lambda m, x: m.c(torch.tanh(m.b(torch.tanh(m.a(x)))))), "auto", data=loader())
    assert len(read) <= 3
    for data, message in (
        ((X, Y), "one batch is"),
        (3, "must be an iterable"),
        ([], "at least one"),
        ([X], "tensor alone"),
    ):
        with pytest.raises(ConfigError, match=f"data.*{message}"):
            initlab.initialize(nn.Linear(8, 3), "lsuv", data=data)  # type: ignore[arg-type]


# ------------------------------------------------------------------ what stays as it was
class Stateful(nn.Module):
    """Counts, caches, registers and keeps a list in its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.n, self.seen, self.cache = nn.Linear(8, 8), nn.Linear(8, 2), 0, [0], None
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.register_buffer("table", torch.ones(1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.n += 1
        self.seen.append(self.n)
        self.cache = x
        self.table = torch.ones(len(x), 1)
        if not hasattr(self, "mask"):
            self.register_buffer("mask", torch.ones(len(x), 1))
        return self.b(torch.relu(self.a(x))) * self.table


def test_a_look_changes_nothing() -> None:
    x, y = normal(16, 8), torch.arange(16) % 2
    calls: dict[str, Callable[[nn.Module], Any]] = {
        "describe": lambda m: initlab.describe(m, x), "predict": lambda m: initlab.predict(m, x),
        "advise": lambda m: initlab.advise(m, (x, y)), "inspect": lambda m: initlab.inspect(m, (x, y)),
        "lsuv": lambda m: initlab.initialize(m, "lsuv", data=[(x, y)]),
    }  # fmt: skip
    for name, call in calls.items():
        model = Stateful()
        before = {k: v.clone() for k, v in model.state_dict().items()}
        rng = torch.get_rng_state()
        given = x.clone().requires_grad_(True)
        call(model)
        assert (int(model.calls), model.n, model.seen, model.cache) == (0, 0, [0], None), name
        assert model.table.shape == (1, 1) and not hasattr(model, "mask"), name
        assert torch.equal(rng, torch.get_rng_state()) and given.grad is None, name
        assert all(p.grad is None for p in model.parameters()) and model.training, name
        if name != "lsuv":
            assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items()), name


def test_a_refusal_leaves_every_bit() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.p = nn.Linear(6, 6), nn.Parameter(torch.full((6,), 0.5))
            self.norm = nn.BatchNorm1d(6)

        def forward(self, x: Tensor) -> Tensor:
            return torch.atan2(self.norm(self.a(x)), self.p)

    for init in ("he", "lsuv", "fixup", "orthogonal"):
        model = Odd()
        before = copy.deepcopy(model.state_dict())
        with pytest.raises(InitlabError) as told:
            initlab.initialize(model, init, data=[(normal(8, 6), torch.arange(8) % 6)])
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items()), init
        if isinstance(told.value, UnclaimedParameterError):
            assert "p" in str(told.value) and "keep" in str(told.value)
    assert initlab.initialize(Odd(), "he", example=normal(8, 6), keep="p").rules["p"] == "kept"
    with pytest.raises(ConfigError, match="meta device"):
        initlab.initialize(nn.Linear(3, 3, device="meta"), "he")
    with pytest.raises(ConfigError, match="no shape yet"):
        initlab.initialize(nn.LazyLinear(3), "he")


# ------------------------------------------------------------------ parameters with a meaning of their own
def test_frozen_and_copied_layers() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 2))
    model[2].requires_grad_(False)
    kept = model[2].weight.clone()
    done = drawn(model, normal(4, 8), "orthogonal")
    assert torch.equal(kept, model[2].weight) and any("frozen" in n and "2.weight" in n for n in done.notes)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2)
    assert any("same numbers" in n for n in initlab.inspect(encoder, normal(4, 5, 16)).notes)
    drawn(encoder, normal(4, 5, 16), "xavier")
    assert not torch.equal(encoder.layers[0].linear1.weight, encoder.layers[1].linear1.weight)
    assert not any("same numbers" in n for n in initlab.inspect(encoder, normal(4, 5, 16)).notes)


@pytest.mark.parametrize("init", ["he", "torch_default", "normal(std=0.3)", "orthogonal"])
def test_the_padding_row_stays_zero(init: str) -> None:
    model = nn.Sequential(nn.Embedding(12, 8, padding_idx=3), nn.Flatten(), nn.Linear(40, 2))
    drawn(model, torch.randint(0, 12, (4, 5)), init)
    assert not model[0].weight[3].any() and model[0].weight[2].all()


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_recurrent_cells(cell: type[nn.Module]) -> None:
    module: Any = cell(6, 10)
    initlab.initialize(module, "recurrent")
    w = module.weight_hh.detach().view(-1, 10, 10)
    assert all(torch.allclose(g @ g.T, torch.eye(10), atol=1e-5) for g in w)
    if cell is nn.LSTMCell:
        assert bool(((module.bias_ih + module.bias_hh)[10:20] == 1).all())


@pytest.mark.parametrize("make", ["old weight norm", "weight norm", "orthogonal", "spectral norm"])
def test_reparametrised_weights(make: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrap: Any = {
            "old weight norm": nn.utils.weight_norm, "weight norm": nn.utils.parametrizations.weight_norm,
            "orthogonal": nn.utils.parametrizations.orthogonal,
            "spectral norm": nn.utils.parametrizations.spectral_norm,
        }[make]  # fmt: skip
        model = nn.Sequential(wrap(nn.Linear(64, 64)), nn.ReLU(), nn.Linear(64, 10))
        x = normal(256, 64)
        if make == "orthogonal":
            drawn(model, x, "orthogonal(gain=1.0)")
        else:
            drawn(model, x)
        model(x)
        used = model[0].weight.detach()
        if "weight norm" in make:
            assert float(used.square().mean()) * 64 == pytest.approx(2, rel=0.1)
        if make == "orthogonal":
            assert torch.allclose(used @ used.T, torch.eye(64), atol=1e-4)
        said, seen = initlab.predict(model, x), float(model.train()[0](x).detach().square().mean())
        assert said.out_of_scope or said.layers[0].q == pytest.approx(seen, rel=0.3)


def test_half_and_complex_parameters() -> None:
    half = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4)).to(torch.bfloat16)
    drawn(half, normal(4, 64).to(torch.bfloat16))
    assert half[2].weight.dtype == torch.bfloat16 and float(
        half[2].weight.detach().float().var()
    ) * 64 == pytest.approx(2, rel=0.3)
    wide = nn.Linear(64, 64, dtype=torch.complex64)
    initlab.initialize(wide, "xavier")
    assert float(wide.weight.detach().abs().square().mean()) * 64 == pytest.approx(1, rel=0.1)
    assert float(wide.weight.detach().imag.std()) > 0


def test_dropout_and_what_is_said_wins() -> None:
    model = nn.Sequential(
        *[m for _ in range(10) for m in (nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.5))], nn.Linear(64, 3)
    )
    x = normal(256, 64)
    drawn(model, x)
    said = initlab.predict(model, x).layers[-1].q
    with torch.no_grad():
        seen = float(model.train()[:-3](x).square().mean())
    assert 0.4 < said / seen < 2.5
    told = Written(lambda m, x: m.c(torch.sigmoid(m.b(torch.sigmoid(m.a(x))))))
    done = drawn(told, normal(8, D), activation="tanh")
    assert scale(told) == pytest.approx(initlab.gain("tanh") ** 2, rel=0.08)
    assert any("activation=tanh was said" in n and "sigmoid" in n for n in done.notes)
    with pytest.warns(UserWarning, match="no activation was seen"):
        initlab.initialize(Written(lambda m, x: m.c(F.relu(m.b(F.relu(m.a(x)))))), "he")


def test_what_is_not_understood_is_not_called_trainable() -> None:
    model = Written(lambda m, x: m.c(torch.cumsum(m.b(torch.sort(m.a(x)).values), 1)))
    assert initlab.inspect(model, (normal(32, D), torch.arange(32) % 5)).verdict != "trainable"
    assert not initlab.advise(model, (normal(32, D), torch.arange(32) % 5)).knows


def test_wrong_arguments_get_a_sentence() -> None:
    assert initlab.gain(nn.ReLU) == pytest.approx(math.sqrt(2))  # type: ignore[arg-type]
    for call, message in (
        (lambda: initlab.gain("relu", "forwards"), "kind=forwards"),  # type: ignore[arg-type]
        (lambda: initlab.gain(torch.softmax), "no elementwise function"),  # type: ignore[arg-type]
        (lambda: initlab.gain(3), "must be a function"),  # type: ignore[arg-type]
        (lambda: initlab.describe("net"), "must be a torch.nn.Module"),  # type: ignore[arg-type]
        (lambda: initlab.initialize(nn.Linear(2, 2), nn.ReLU()), "must be the name"),  # type: ignore[arg-type]
        (lambda: initlab.describe(nn.Linear(4, 2), normal(3, 5)), "cannot be called with it"),
        (lambda: initlab.predict(nn.Linear(4, 2), normal(1, 4)), "two examples"),
        (lambda: initlab.inspect(nn.Linear(4, 2), (normal(8, 4), normal(8, 3))), "loss"),
    ):
        with pytest.raises(ConfigError, match=message):
            call()


@pytest.mark.parametrize(
    "pooled",
    [
        lambda h: (h.relu().square().mean(0, keepdim=True).expand_as(h) + 1e-5).sqrt(),
        lambda h: (h.relu().mean(1, keepdim=True).expand_as(h) + 1e-5).log(),
        lambda h: h.relu().var(0, keepdim=True).expand_as(h).add(1e-5).pow(0.5),
    ],
    ids=["root of a mean", "logarithm of a mean", "deviation"],
)
def test_a_function_of_positive_numbers_alone_is_no_activation(pooled: Callable[[Tensor], Tensor]) -> None:
    """Statistics pooling: a root or a logarithm has no value for half of a signal, and no Gaussian moments."""
    model = Written(lambda m, x: m.c(pooled(m.b(torch.relu(m.a(x))))))
    for init in ("he", "orthogonal", "xavier", "lsuv"):
        initlab.initialize(model, init, data=[(normal(64, D), torch.randint(5, (64,)))])
        assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
    initlab.initialize(model, "he", data=[(normal(64, D), torch.randint(5, (64,)))])
    assert scale(model) == pytest.approx(2.0, rel=0.2)

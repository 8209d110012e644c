"""`torch_default` beside the modules' own `reset_parameters`: every parameter of every kind of torch.nn's layers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import initlab
from initlab import activations, inits
from initlab.init.modules import for_module
from initlab.spec import InitContext

Make = Callable[[], nn.Module]

#: id → (module, shapes of its inputs; a shape of integers under 20 where it begins with None)
MODULES: dict[str, tuple[Make, tuple[tuple[int | None, ...], ...]]] = {
    "linear": (lambda: nn.Linear(12, 7), ((4, 12),)),
    "bilinear": (lambda: nn.Bilinear(5, 6, 7), ((4, 5), (4, 6))),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3), ((2, 4, 9),)),
    "conv2d_groups": (lambda: nn.Conv2d(4, 6, 3, groups=2), ((2, 4, 9, 9),)),
    "conv3d": (lambda: nn.Conv3d(4, 6, 2), ((2, 4, 5, 5, 5),)),
    "conv_transpose1d": (lambda: nn.ConvTranspose1d(4, 6, 3, stride=2), ((2, 4, 9),)),
    "conv_transpose2d_groups": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), ((2, 4, 9, 9),)),
    "conv_transpose3d": (lambda: nn.ConvTranspose3d(4, 6, 2), ((2, 4, 5, 5, 5),)),
    "embedding": (lambda: nn.Embedding(20, 8, padding_idx=0), ((None, 3, 5),)),
    "embedding_bag": (lambda: nn.EmbeddingBag(20, 8), ((None, 3, 5),)),
    "batch_norm": (lambda: nn.BatchNorm1d(6), ((4, 6),)),
    "layer_norm": (lambda: nn.LayerNorm(6), ((4, 6),)),
    "group_norm": (lambda: nn.GroupNorm(2, 6), ((4, 6, 3),)),
    "instance_norm": (lambda: nn.InstanceNorm1d(6, affine=True), ((4, 6, 3),)),
    "rms_norm": (lambda: nn.RMSNorm(6), ((4, 6),)),
    "prelu": (lambda: nn.PReLU(4), ((3, 4),)),
    "rnn": (lambda: nn.RNN(5, 8, num_layers=2, bidirectional=True), ((3, 2, 5),)),
    "lstm": (lambda: nn.LSTM(5, 8, num_layers=2), ((3, 2, 5),)),
    "lstm_projected": (lambda: nn.LSTM(5, 8, num_layers=2, proj_size=3), ((3, 2, 5),)),
    "gru": (lambda: nn.GRU(5, 8), ((3, 2, 5),)),
    "rnn_cell": (lambda: nn.RNNCell(5, 8), ((3, 5),)),
    "lstm_cell": (lambda: nn.LSTMCell(5, 8), ((3, 5),)),
    "gru_cell": (lambda: nn.GRUCell(5, 8), ((3, 5),)),
    "attention": (lambda: nn.MultiheadAttention(8, 2), ((3, 2, 8),) * 3),
    "attention_kdim_vdim": (
        lambda: nn.MultiheadAttention(8, 2, kdim=5, vdim=6, add_bias_kv=True),
        ((3, 2, 8), (3, 2, 5), (3, 2, 6)),
    ),
    "attention_bias_kv": (lambda: nn.MultiheadAttention(8, 2, add_bias_kv=True), ((3, 2, 8),) * 3),
    "attention_no_bias": (lambda: nn.MultiheadAttention(8, 2, bias=False, add_bias_kv=True), ((3, 2, 8),) * 3),
    "encoder_layer": (lambda: nn.TransformerEncoderLayer(8, 2, 16), ((3, 2, 8),)),
    "decoder_layer": (lambda: nn.TransformerDecoderLayer(8, 2, 16), ((3, 2, 8),) * 2),
    "transformer": (lambda: nn.Transformer(8, 2, 1, 1, 16), ((3, 2, 8),) * 2),
    "adaptive_softmax": (lambda: nn.AdaptiveLogSoftmaxWithLoss(16, 20, [5, 10]), ((4, 16),)),
}
#: those whose parameters `for_module` can draw from the layer alone
ALONE = tuple(n for n in MODULES if n != "adaptive_softmax")
SEEDS = 80


class First(nn.Module):
    """A module, of whose outputs the first is used."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *x: Tensor) -> Tensor:
        inner: Any = self.inner
        return _first(inner.log_prob(*x) if isinstance(inner, nn.AdaptiveLogSoftmaxWithLoss) else inner(*x))


def _first(out: Any) -> Tensor:
    return out if isinstance(out, Tensor) else _first(next(iter(out)))


def example(shapes: tuple[tuple[int | None, ...], ...]) -> Any:
    def one(shape: tuple[int | None, ...]) -> Tensor:
        sizes = [n for n in shape if n is not None]
        return torch.randint(1, 20, sizes) if None in shape else torch.randn(sizes)

    found = tuple(one(s) for s in shapes)
    return found[0] if len(found) == 1 else found


def drawn(draw: Callable[[nn.Module, int], nn.Module], make: Make) -> dict[str, Tensor]:
    """Parameter → its values after `draw`, of every seed."""
    found: dict[str, list[Tensor]] = {}
    for seed in range(SEEDS):
        torch.manual_seed(1000 + seed)
        for name, p in draw(make(), seed).named_parameters():
            found.setdefault(name, []).append(p.detach().flatten())
    return {n: torch.cat(v).double() for n, v in found.items()}


def same_law(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Two samples a parameter: the same constants, or one law, with one bound if it has a bound."""
    assert ours.keys() == theirs.keys()
    for name, values in theirs.items():
        a, b = ours[name], values
        if float(b.var()) == 0:
            assert torch.equal(a, b), name
            continue
        assert torch.equal(a == 0, b == 0), name  # the row of padding
        a, b = a[a != 0], b[b != 0]
        square, spread = float(b.square().mean()), float(b.square().std()) * (2 / len(b)) ** 0.5
        assert float(a.square().mean()) == pytest.approx(square, abs=4.5 * spread), name
        assert float(stats.ks_2samp(a.numpy(), b.numpy())[1]) > 1e-4, name  # pyright: ignore[reportArgumentType]
        if float(stats.kurtosis(b.numpy())) < -0.9:  # uniform: the largest of n is within a few 1/n of the bound
            assert float(a.abs().max()) == pytest.approx(float(b.abs().max()), rel=15 / len(b)), name


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning", "ignore:enable_nested_tensor:UserWarning")
def test_every_parameter_has_the_law_of_its_module(name: str) -> None:
    make, shapes = MODULES[name]
    x = example(shapes)

    sites = initlab.describe(First(make()), x)
    context = InitContext(activation=activations.relu())

    def ours(module: nn.Module, seed: int) -> nn.Module:
        other = First(module)
        with torch.no_grad():  # what the constructor left must not pass for a draw
            for p in module.parameters():
                if p.dim() > 1:
                    p.fill_(1.0)
        if seed == 0:
            initlab.initialize(other, "torch_default", seed=seed, example=x)
        else:  # the same network, read once
            inits.apply(other, sites, inits.torch_default(), context=context, seed=seed)
        return module

    same_law(drawn(ours, make), drawn(lambda module, _: module, make))


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.filterwarnings("ignore:enable_nested_tensor:UserWarning")
def test_a_single_module_without_its_network(name: str) -> None:
    """`initlab.init.for_module` sees a layer by itself."""
    make, _ = MODULES[name]

    def ours(module: nn.Module, seed: int) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return module.apply(for_module("torch_default", generator=generator))

    same_law(drawn(ours, make), drawn(lambda module, _: module, make))

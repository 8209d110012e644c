"""What `describe` says of each kind of layer, and who feeds whom."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from initlab.network.sites import describe, weights
from initlab.spec import Site


def only(model: nn.Module, name: str, example: Tensor | None = None) -> Site:
    return next(s for s in describe(model, example) if s.name == name)


def brute_force_fans(layer: nn.Module, x: Tensor) -> tuple[float, float]:
    """Fans by their meaning: inputs that an output unit depends on, outputs that an input unit feeds, in the interior.

    Averaged over the interior of the output (and input) through the Jacobian of the layer with unit weights.
    """
    with torch.no_grad():
        for p in layer.parameters():
            p.fill_(1.0)
    jacobian = torch.autograd.functional.jacobian(layer.forward, x)
    assert isinstance(jacobian, Tensor)
    y = layer(x)
    links = (jacobian.reshape(y.numel(), x.numel()) != 0).double()
    middle_out = torch.zeros_like(y, dtype=torch.bool)
    middle_in = torch.zeros_like(x, dtype=torch.bool)
    for tensor, mask in ((y, middle_out), (x, middle_in)):
        index = tuple(slice(None) if d < 2 else slice(n // 4, n - n // 4) for d, n in enumerate(tensor.shape))
        mask[index] = True
    return float(links.sum(1)[middle_out.flatten()].mean()), float(links.sum(0)[middle_in.flatten()].mean())


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(5, 7), (1, 5)),
        (nn.Conv1d(4, 6, 3, padding=1), (1, 4, 24)),
        (nn.Conv2d(4, 6, 3, padding=1), (1, 4, 12, 12)),
        (nn.Conv2d(4, 8, 3, padding=1, groups=2), (1, 4, 12, 12)),
        (nn.Conv2d(6, 6, 3, padding=1, groups=6), (1, 6, 12, 12)),
        (nn.Conv3d(2, 3, 3, padding=1), (1, 2, 8, 8, 8)),
        (nn.ConvTranspose2d(4, 6, 3, padding=1), (1, 4, 12, 12)),
        (nn.ConvTranspose2d(4, 6, 3, padding=1, groups=2), (1, 4, 12, 12)),
        (nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1), (1, 4, 12, 12)),
        (nn.ConvTranspose1d(4, 6, 3, padding=1), (1, 4, 24)),
    ],
    ids=str,
)
def test_fans_are_what_the_layer_does(layer: nn.Module, shape: tuple[int, ...]) -> None:
    site = only(layer, "weight")
    assert (site.fan_in, site.fan_out) == pytest.approx(brute_force_fans(layer, torch.randn(shape)), rel=1e-6)


def test_torch_reads_a_transposed_and_a_depthwise_convolution_wrongly() -> None:
    # the trap this module exists for
    transposed, depthwise = nn.ConvTranspose2d(4, 6, 3), nn.Conv2d(6, 6, 3, groups=6)
    fan_in, _ = nn.init._calculate_fan_in_and_fan_out(transposed.weight)
    assert fan_in != only(transposed, "weight").fan_in
    _, fan_out = nn.init._calculate_fan_in_and_fan_out(depthwise.weight)
    assert fan_out == 6 * only(depthwise, "weight").fan_out


def test_gates_of_recurrent_layers() -> None:
    lstm = nn.LSTM(5, 7, num_layers=2, bidirectional=True)
    sites = {s.name: s for s in describe(lstm)}
    assert set(sites) == {n for n, _ in lstm.named_parameters()}
    w = sites["weight_hh_l1_reverse"]
    assert (w.role, w.kind, w.fan_in, w.fan_out) == ("recurrent", "lstm", 7, 7)
    assert [(g.name, g.start, g.stop) for g in w.gates] == [("i", 0, 7), ("f", 7, 14), ("g", 14, 21), ("o", 21, 28)]
    assert sites["weight_ih_l1"].fan_in == 14
    assert sites["bias_ih_l0"].role == "bias"
    assert [g.name for g in only(nn.GRU(5, 7), "weight_hh_l0").gates] == ["r", "z", "n"]
    assert only(nn.RNN(5, 7), "weight_hh_l0").gates == ()
    assert only(nn.LSTM(5, 7, proj_size=3), "weight_hr_l0").fan_in == 7


def test_attention_embedding_and_norms() -> None:
    attention = nn.MultiheadAttention(8, 2)
    assert [g.name for g in only(attention, "in_proj_weight").gates] == ["q", "k", "v"]
    assert only(attention, "in_proj_weight").fan_out == 8
    assert only(attention, "out_proj.weight").fan_in == 8
    assert only(nn.MultiheadAttention(8, 2, kdim=4, vdim=5), "k_proj_weight").fan_in == 4
    assert only(nn.Embedding(100, 8), "weight").role == "embedding"
    for norm in (nn.BatchNorm2d(3), nn.LayerNorm(3), nn.GroupNorm(1, 3), nn.RMSNorm(3)):
        assert only(norm, "weight").role == "norm"
    assert only(nn.PReLU(), "weight").role == "scale"


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        # registered in an order that is not that of the forward pass
        self.head = nn.Linear(4, 3)
        self.act = nn.Tanh()
        self.out = nn.ReLU()
        self.second = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.first = nn.Linear(4, 4)
        self.shortcut = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.norm(self.first(x)))
        return self.head(self.out(self.second(h) + self.shortcut(x)))


def test_wiring_is_read_from_the_graph_and_not_from_the_order_of_registration() -> None:
    model = Residual()
    model.train()
    sites = {s.name: s for s in describe(model, torch.randn(3, 4))}
    assert sites["first.weight"].activation == "act"
    assert sites["second.weight"].activation == sites["shortcut.weight"].activation == "out"
    assert sites["second.weight"].activation_before == "act"
    assert sites["shortcut.weight"].activation_before is None
    assert sites["head.weight"].role == "head" and sites["head.weight"].activation_before == "out"
    ordered = [s.layer for s in weights(tuple(describe(model, torch.randn(3, 4))))]
    assert ordered == ["first", "second", "shortcut", "head"]
    assert model.training and model.norm.training and int(model.norm.num_batches_tracked or 0) == 0


def test_a_shared_activation_is_told_apart_by_its_use() -> None:
    relu = nn.ReLU()
    model = nn.Sequential(nn.Linear(4, 4), relu, nn.Linear(4, 4), relu, nn.Linear(4, 2))
    after = {s.name: s.activation for s in weights(describe(model, torch.randn(2, 4)))}
    assert after == {"0.weight": "1", "2.weight": "1#1", "4.weight": None}


def test_a_tied_weight_appears_once() -> None:
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10, bias=False))
    model[1].weight = model[0].weight
    assert [s.name for s in describe(model)] == ["0.weight"]


def test_describe_leaves_random_numbers_and_hooks_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 2))
    before = torch.get_rng_state()
    describe(model, torch.zeros(2, 4))
    assert torch.equal(before, torch.get_rng_state())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())

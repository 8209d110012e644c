"""Networks for recordings: padding changes nothing, every parameter learns, shapes are as the papers draw them."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import Tensor, nn

from initlab import activations
from initlab.errors import ConfigError
from initlab.models.cnn import cnn
from initlab.models.crnn import crnn
from initlab.models.m5 import m5
from initlab.models.masks import last_step, mask_steps, masked_mean, masked_std, pooled_mask
from initlab.models.mlp import mlp
from initlab.models.speech_cnn import speech_cnn
from initlab.models.tdnn import tdnn
from initlab.network.padding import step_mask
from initlab.spec import IO, Activation, ModelBuilder

MFCC = IO(input_shape=(13, 40), classes=10)
MEL = IO(input_shape=(40, 63), classes=35)
WAVE = IO(input_shape=(1, 8000), classes=10)


class Bent(nn.Module):
    """An activation that is not 0 at 0, so that a network that forgets to silence the padding hears it."""

    def __init__(self, features: int | None = None) -> None:
        super().__init__()
        self.features = features

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x + 0.5)


BENT = Activation(name="bent", make=Bent, fn=torch.tanh)

BUILDERS: list[tuple[str, ModelBuilder, IO, int]] = [
    ("speech_cnn", speech_cnn(), MFCC, 3),
    ("speech_cnn-mel", speech_cnn(width=4, dense=6, kernel=3, norm="batch", pool="average"), MEL, 3),
    ("m5", m5(width=8), WAVE, 4),
    ("m5-plain", m5(width=4, norm="none"), WAVE, 4),
    ("tdnn", tdnn(), MFCC, 5),
    ("tdnn-batch", tdnn(width=8, dense=4, norm="batch"), MEL, 5),
    ("crnn", crnn(), MFCC, 2),
    ("crnn-lstm", crnn(width=4, hidden_size=6, rnn="lstm", readout="last", norm="batch"), MEL, 2),
]
IDS = [b[0] for b in BUILDERS]


def recordings(io: IO, lengths: list[int], seed: int = 0) -> Tensor:
    """A batch of noise with zeros after each example's length."""
    x = torch.randn(len(lengths), *io.input_shape, generator=torch.Generator().manual_seed(seed))
    for row, length in zip(x, lengths, strict=True):
        row[:, length:] = 0
    return x


def lengths_for(io: IO) -> list[int]:
    steps = io.input_shape[1]
    return [steps, steps // 2, steps // 2 - 1, steps // 3 + 1, steps // 4, max(4, steps // 7)]


def ready(builder: ModelBuilder, io: IO, activation: Activation = BENT) -> nn.Module:
    torch.manual_seed(0)
    model = builder(io, activation).eval()
    for module in model.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight)  # torch's own would let the signal fade
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            nn.init.uniform_(module.running_mean, -1, 1)  # pyright: ignore[reportArgumentType]
    return model


@pytest.mark.parametrize(("builder", "io", "uses"), [b[1:] for b in BUILDERS], ids=IDS)
class TestEveryBuilder:
    def test_forward_and_backward(self, builder: ModelBuilder, io: IO, uses: int) -> None:
        model = builder(io, activations.parse_activation("tanh"))
        output = model(recordings(io, lengths_for(io)))
        assert output.shape == (6, io.classes)
        output.square().sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None and bool(parameter.grad.isfinite().all()), name
            assert bool((parameter.grad != 0).any()), name

    def test_an_activation_for_each_hidden_layer(self, builder: ModelBuilder, io: IO, uses: int) -> None:
        seen: list[Tensor] = []
        model = builder(io, BENT)
        for module in model.modules():
            if isinstance(module, Bent):
                module.register_forward_hook(lambda m, i, o: seen.append(o))
        model(recordings(io, lengths_for(io)))
        assert len(seen) == uses
        assert all(x.dim() in (2, 4) for x in seen), "units must lie along dimension 1"

    @pytest.mark.parametrize("more", [1, 2, 3, 8, 37])
    def test_padding_changes_no_output(self, builder: ModelBuilder, io: IO, uses: int, more: int) -> None:
        model = ready(builder, io)
        x = recordings(io, lengths_for(io))
        expected = model(x)
        assert float(expected.detach().std(0).max()) > 0.005, "the examples should differ"
        longer = torch.cat([x, torch.zeros(*x.shape[:2], more)], 2)
        torch.testing.assert_close(model(longer), expected, atol=2e-5, rtol=1e-4)

    def test_nor_do_the_neighbours(self, builder: ModelBuilder, io: IO, uses: int) -> None:
        model = ready(builder, io)
        lengths = lengths_for(io)
        x = recordings(io, lengths)
        together = model(x)
        for i, length in enumerate(lengths):
            alone = model(x[i : i + 1, :, :length])
            torch.testing.assert_close(together[i : i + 1], alone, atol=2e-5, rtol=1e-4)

    def test_what_is_heard_changes_it(self, builder: ModelBuilder, io: IO, uses: int) -> None:
        model = ready(builder, io)
        x = recordings(io, lengths_for(io))
        other = model(recordings(io, lengths_for(io), seed=1))
        assert bool(((model(x) - other).abs().max(1).values > 0.01).all())

    def test_silence_and_the_shortest(self, builder: ModelBuilder, io: IO, uses: int) -> None:
        model = builder(io, BENT)
        x = recordings(io, [0, 1, 2, 3])
        output = model(x)
        assert bool(output.isfinite().all())
        output.sum().backward()
        assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)

    def test_names_and_order(self, builder: ModelBuilder, io: IO, uses: int) -> None:
        model = builder(io, BENT)
        names = [n for n, _ in model.named_parameters()]
        assert names[-2:] == ["head.weight", "head.bias"]
        called: list[str] = []
        for name, module in model.named_modules():
            if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear, nn.GRU, nn.LSTM)):
                module.register_forward_hook(lambda m, i, o, name=name: called.append(name))
        model(recordings(io, lengths_for(io)))
        registered = [
            n for n, m in model.named_modules() if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Linear, nn.RNNBase))
        ]
        assert called == registered

    def test_no_module_is_shared(self, builder: ModelBuilder, io: IO, uses: int) -> None:
        modules = [m for _, m in builder(io, BENT).named_modules(remove_duplicate=False)]
        assert len({id(m) for m in modules}) == len(modules)

    def test_builds_without_memory(self, builder: ModelBuilder, io: IO, uses: int) -> None:
        with torch.device("meta"):
            model = builder(io, BENT)
            assert model(torch.zeros(2, *io.input_shape)).shape == (2, io.classes)
        assert all(p.is_meta for p in model.parameters())

    def test_the_builder_can_be_sent_to_another_process(self, builder: ModelBuilder, io: IO, uses: int) -> None:
        again = pickle.loads(pickle.dumps(builder))(io, BENT)
        assert [n for n, _ in again.named_parameters()] == [n for n, _ in builder(io, BENT).named_parameters()]

    @pytest.mark.parametrize("name", ["glu", "crelu", "maxout", "maxmin", "prelu", "meta_acon"])
    def test_activations_that_change_or_know_their_units(
        self, builder: ModelBuilder, io: IO, uses: int, name: str
    ) -> None:
        model = builder(io, activations.parse_activation(name))
        output = model(recordings(io, lengths_for(io)))
        assert output.shape == (6, io.classes)
        output.square().sum().backward()
        assert all(p.grad is not None for p in model.parameters())


# ------------------------------------------------------------------ masks
def test_frame_mask_ends_at_the_last_step_heard() -> None:
    x = torch.zeros(4, 2, 5)
    x[0, 1, 3] = -1.0
    x[1, 0, 0] = x[1, 0, 4] = 2.0  # silence between two sounds is heard
    x[2, 0, 0] = 1e-30
    expected = [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert step_mask(x).int().tolist() == expected


@pytest.mark.parametrize("by", [2, 4])
def test_a_pooled_mask_is_as_long_as_what_was_pooled(by: int) -> None:
    for steps in range(by, 23):
        for length in range(steps + 1):
            mask = torch.arange(steps)[None] < length
            pooled = pooled_mask(mask, by)
            assert pooled.shape[1] == steps // by
            assert int(pooled.sum()) == length // by


def test_means_over_the_steps_heard() -> None:
    x = torch.randn(3, 4, 2, 9)
    lengths = [9, 4, 1]
    mask = torch.arange(9) < torch.tensor(lengths)[:, None]
    for row, mean, length in zip(x, masked_mean(x, mask), lengths, strict=True):
        torch.testing.assert_close(mean, row[..., :length].mean(-1))
    flat = x[:, :, 0]
    for row, std, length in zip(flat, masked_std(flat, mask), lengths, strict=True):
        expected = (row[..., :length].var(-1, unbiased=False) + 1e-5).sqrt()
        torch.testing.assert_close(std, expected)
    last = last_step(flat.transpose(1, 2), mask)
    torch.testing.assert_close(last, torch.stack([flat[i, :, n - 1] for i, n in enumerate(lengths)]))
    assert bool((mask_steps(x, mask)[1, :, :, 4:] == 0).all())
    assert torch.equal(mask_steps(flat, mask)[1, :, :4], flat[1, :, :4])
    nothing = torch.zeros(3, 9, dtype=torch.bool)
    assert bool((masked_mean(x, nothing) == 0).all())


# ------------------------------------------------------------------ shapes and arguments
def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {n: tuple(p.shape) for n, p in model.named_parameters() if n.endswith("weight") or "weight_" in n}


def test_speech_cnn_is_as_described() -> None:
    model = speech_cnn()(MFCC, BENT)
    assert shapes(model) == {
        "conv1.weight": (32, 1, 5, 5),
        "conv2.weight": (64, 32, 5, 5),
        "dense.weight": (64, 64 * 3),
        "head.weight": (10, 64),
    }
    assert sum(p.numel() for p in model.parameters()) == 65_098


def test_m5_is_the_paper_s() -> None:
    """Table 1 of Dai et al. with 128 channels: about half a million weights on 4 s at 8 kHz."""
    model = m5(width=128)(IO(input_shape=(1, 32000), classes=10), BENT)
    expected = [(128, 1, 80), (128, 128, 3), (256, 128, 3), (512, 256, 3)]
    assert [tuple(m.weight.shape) for m in model.modules() if isinstance(m, nn.Conv1d)] == expected
    steps: list[int] = []
    for module in model.modules():
        if isinstance(module, (nn.Conv1d, nn.MaxPool1d)):
            module.register_forward_hook(lambda m, i, o: steps.append(o.shape[2]))
    model(torch.randn(1, 1, 32000))
    assert steps == [8000, 2000, 2000, 500, 500, 125, 125, 31]


def test_crnn_and_tdnn_are_as_described() -> None:
    assert shapes(crnn(rnn="lstm")(MFCC, BENT)) == {
        "conv1.weight": (16, 1, 3, 3),
        "conv2.weight": (32, 16, 3, 3),
        "rnn.weight_ih_l0": (256, 96),
        "rnn.weight_hh_l0": (256, 64),
        "head.weight": (10, 64),
    }
    assert shapes(tdnn()(MFCC, BENT)) == {
        "layers.0.weight": (64, 13, 5),
        "layers.1.weight": (64, 64, 3),
        "layers.2.weight": (64, 64, 3),
        "layers.3.weight": (64, 64, 1),
        "dense.weight": (64, 128),
        "head.weight": (10, 64),
    }


def test_no_bias_before_a_norm() -> None:
    for builder in (speech_cnn(norm="batch"), tdnn(norm="batch"), crnn(norm="batch")):
        model = builder(MFCC, BENT)
        assert all(m.bias is None for m in model.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d)))


IMAGES = IO(input_shape=(1, 28, 28), classes=10)
TOKENS = IO(input_shape=(40,), classes=65, vocabulary=65, per_step=True)
TOKEN_PAIRS = IO(input_shape=(2, 40), classes=65, vocabulary=65)


@pytest.mark.parametrize(
    ("builder", "name"), [(speech_cnn(), "speech_cnn"), (m5(), "m5"), (tdnn(), "tdnn"), (crnn(), "crnn")]
)
def test_images_and_tokens_are_refused(builder: ModelBuilder, name: str) -> None:
    for io, what in ((IMAGES, r"the shape \(1, 28, 28\)"), (TOKENS, "tokens"), (TOKEN_PAIRS, "tokens")):
        with pytest.raises(ConfigError, match=rf"model={name}: needs sequences .*the data have {what}") as caught:
            builder(io, BENT)
        assert caught.value.key == "model"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: speech_cnn(kernel=4), "kernel=4: must be odd"),
        (lambda: speech_cnn(width=0), "width=0"),
        (lambda: crnn(hidden_size=0), "hidden_size=0"),
        (lambda: speech_cnn()(WAVE, BENT), "model=speech_cnn: needs 4 features and steps or more, .* 1 and 8000"),
        (lambda: crnn()(WAVE, BENT), "model=crnn: needs 4 features"),
        (lambda: tdnn()(WAVE, BENT), "model=tdnn: needs frames of features, these are samples"),
        (lambda: m5()(MFCC, BENT), "model=m5: needs waveforms, these have 13 features; use data.features=waveform"),
        (lambda: m5()(IO(input_shape=(1, 900), classes=2), BENT), "model=m5: needs 1024 samples or more"),
        (lambda: cnn()(MFCC, BENT), "model=cnn: needs images"),
    ],
)
def test_what_cannot_be_built(build: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()  # pyright: ignore[reportCallIssue]


def test_a_perceptron_takes_recordings() -> None:
    assert mlp()(MFCC, BENT)(recordings(MFCC, lengths_for(MFCC))).shape == (6, 10)

"""torchvision's networks: adapted to the data, activation by activation, and otherwise theirs."""

from __future__ import annotations

import pytest
import torch
import torchvision.models as theirs
from torch import Tensor, nn

from initlab.errors import ConfigError
from initlab.models import torchvision
from initlab.spec import IO, Activation

_THEIRS = (nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish, nn.LeakyReLU, nn.ELU, nn.Mish)


class Bent(nn.Module):
    """An activation that counts its calls."""

    def __init__(self, features: int | None = None) -> None:
        super().__init__()
        self.features = features
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return torch.tanh(x)


BENT = Activation(name="bent", make=Bent, fn=torch.tanh)
RELU = Activation(name="relu", make=nn.ReLU, fn=torch.relu)


def colour(side: int, classes: int = 7) -> IO:
    return IO(input_shape=(3, side, side), classes=classes)


@pytest.mark.parametrize(
    ("name", "side", "activations"),
    [
        ("resnet18", 28, 17),
        ("mobilenet_v3_small", 32, None),
        ("densenet121", 32, 121),
        ("squeezenet1_0", 32, 26),
        ("googlenet", 32, 57),
        ("vgg11", 32, 10),
        ("efficientnet_b0", 32, None),
        ("vit_b_16", 32, 12),
    ],
)
def test_every_activation_is_swapped_and_used_once(name: str, side: int, activations: int | None) -> None:
    model = torchvision(name=name)(IO(input_shape=(1, side, side), classes=7), BENT)
    bent = [m for m in model.modules() if isinstance(m, Bent)]
    assert not [n for n, m in model.named_modules() if isinstance(m, _THEIRS)]
    assert not [n for n, m in model.named_modules() if getattr(m, "inplace", False)]
    output = model(torch.randn(2, 1, side, side))
    assert output.shape == (2, 7)
    assert [m.calls for m in bent] == [1] * len(bent)
    assert activations is None or len(bent) == activations
    # a backward pass fails where something was overwritten in place; the fully connected layers of vgg11 are only large
    if name != "vgg11":
        output.sum().backward()


@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d", "densenet121", "googlenet"])
def test_with_relu_it_computes_what_torchvisions_own_computes(name: str) -> None:
    ours = torchvision(name=name)(colour(40), RELU).eval()
    extra = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        own = theirs.get_model(name, weights=None, num_classes=7, **extra).eval()
    own.load_state_dict(ours.state_dict(), assign=True)
    x = torch.randn(2, 3, 40, 40)
    with torch.no_grad():
        assert torch.equal(ours(x), own(x))


def test_no_functional_relu_is_left() -> None:
    """With an activation that is zero everywhere, the head sees zeros: nothing passes beside the modules."""

    class Zero(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 0 - 1

    for name in ("densenet121", "googlenet"):
        activation = Activation(name="zero", make=Zero, fn=lambda x: x * 0 - 1)
        model = torchvision(name=name)(colour(32), activation).eval()
        head = next(m for m in reversed(list(model.modules())) if isinstance(m, nn.Linear))
        seen: list[Tensor] = []
        head.register_forward_pre_hook(lambda _m, args, seen=seen: seen.append(args[0]))
        model(torch.randn(1, 3, 32, 32))
        assert bool((seen[0] == -1).all()), name


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_first_convolution_takes_the_datas_channels(channels: int) -> None:
    model = torchvision(name="resnet18")(IO(input_shape=(channels, 32, 32), classes=4), RELU)
    first = model.get_submodule("conv1")
    assert first.weight.shape == (64, channels, 7, 7)
    assert first.bias is None
    assert model.get_submodule("fc").out_features == 4


def test_builds_without_memory() -> None:
    for name in ("resnet18", "regnet_x_400mf", "vit_b_16"):
        with torch.device("meta"):
            model = torchvision(name=name)(colour(32), RELU)
        assert all(p.is_meta for p in model.parameters()), name


def test_an_unknown_name_tells_the_near_ones() -> None:
    with pytest.raises(ConfigError, match=r"name=resnet19: is no classification network .* near it: resnet1"):
        torchvision(name="resnet19")
    # networks for segmentation and detection give no logits
    with pytest.raises(ConfigError, match="no classification network"):
        torchvision(name="deeplabv3_resnet50")


@pytest.mark.parametrize(
    ("name", "side", "message"),
    [
        ("alexnet", 28, "needs images of at least 63 x 63; these are 28 x 28"),
        ("vgg11", 28, "at least 32 x 32"),
        ("inception_v3", 64, "at least 75 x 75"),
        ("vit_b_16", 28, "multiple of 16"),
        ("maxvit_t", 64, "multiple of 224"),
    ],
)
def test_images_too_small_say_what_is_needed(name: str, side: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        torchvision(name=name)(colour(side), RELU)


def test_flat_data() -> None:
    with pytest.raises(ConfigError, match="needs images"):
        torchvision(name="resnet18")(IO(input_shape=(64,), classes=3), RELU)

"""All classification networks of torchvision, untrained, with any activation.

The networks are torchvision's own, so parameter names are those of its checkpoints. Three things are changed: the
first convolution takes as many channels as the data have, every activation is a module of its own, and none works in
place.
Gates stay what they are: the sigmoids of squeeze-and-excitation are part of a product, not of a layer.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from initlab.core.factories import factory
from initlab.core.memory import raise_if_memory
from initlab.errors import ConfigError
from initlab.models.pieces import image_shape, require_elementwise
from initlab.spec import IO, Activation, ModelBuilder

#: what stands after a layer in torchvision's networks, apart from gates (sigmoid, hardsigmoid) and softmax
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish)
#: auxiliary heads and torchvision's own (slow) initialisation are left out
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "transform_input": False, "init_weights": False},
    "inception_v3": {"aux_logits": False, "transform_input": False, "init_weights": False},
}


@factory
def torchvision(*, name: str = "resnet18") -> ModelBuilder:
    """Builder of torchvision's classification network `name`, without pretrained weights.

    Args:
        name: as in `torchvision.models.list_models`, such as resnet18, mobilenet_v3_small, vit_b_16.

    Raises:
        ConfigError: no such network; names the nearest.
    """
    known = _names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=5, cutoff=0.4)
        hint = f"; near it: {', '.join(near)}" if near else ""
        raise ConfigError(
            "name",
            name,
            f"is no classification network of torchvision{hint} "
            f"({len(known)} are: python -c 'from torchvision import models as m; print(m.list_models(module=m))')",
        )
    return partial(build, name)


def build(name: str, io: IO, activation: Activation) -> nn.Module:
    """torchvision's network `name` for images `io.input_shape`, with a new `activation` module at every use.

    Raises:
        ConfigError: the network cannot take images of that size; says which it can. Or the activation is not one that
            fits into a finished network.
    """
    require_elementwise((activation, *activation.layers), "torchvision")
    shape = image_shape(io.input_shape, f"torchvision, model.name={name}")
    # a network without memory behind it shows in milliseconds whether the shapes fit
    with torch.device("meta"):
        trial = _build(name, shape, io.classes, activation).eval()
        image = torch.zeros(2, *shape)
    try:
        with torch.no_grad():
            trial(image)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise_if_memory(error)
        raise _too_small(name, shape, error) from error
    return _build(name, shape, io.classes, activation)


# ------------------------------------------------------------------ pieces
def _names() -> list[str]:
    from torchvision import models

    return list(models.list_models(module=models))


def _build(name: str, shape: tuple[int, int, int], classes: int, activation: Activation) -> nn.Module:
    from torchvision import models

    channels, height, width = shape
    arguments = dict(_ARGUMENTS.get(name, {}))
    if name.startswith("vgg"):
        arguments["init_weights"] = False
    if name.startswith("vit"):
        arguments["image_size"] = height
    if name == "maxvit_t":
        arguments["input_size"] = (height, width)
    make = partial(models.get_model, name, weights=None, num_classes=classes, **arguments)
    try:
        model = _build_on_default_device(make)
    except (RuntimeError, ValueError, AssertionError, ZeroDivisionError) as error:
        raise_if_memory(error)
        raise _too_small(name, shape, error) from error
    model = _activations_as_modules(model)
    _adapt_first_convolution(model, channels)
    _swap_activations(model, activation)
    for module in model.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # pyright: ignore[reportArgumentType]
    return model


def _build_on_default_device(make: Callable[[], nn.Module]) -> nn.Module:
    """What `make` builds, on torch's default device. RegNet reads tensors while it is built, which meta forbids."""
    try:
        return make()
    except NotImplementedError:
        with torch.device("cpu"):
            model = make()
        return model.to(torch.get_default_device())


def _too_small(name: str, shape: tuple[int, int, int], error: Exception) -> ConfigError:
    from torchvision import models

    published = next(iter(models.get_model_weights(name)))
    least = max(published.meta.get("min_size", (1, 1)))
    reason = (str(error).strip() or "the shapes do not fit").splitlines()[0]
    if name.startswith("vit"):
        need = "square images whose side is a multiple of 16 (14 for vit_h_14, 32 for vit_b_32, vit_l_32)"
    elif name == "maxvit_t":
        need = "images whose side is a multiple of 224"
    else:
        need = f"images of at least {least} x {least}"
    return ConfigError(
        "name",
        name,
        f"needs {need}; these are {shape[1]} x {shape[2]} ({reason}). Use larger images "
        "(data=image_folder has data.size), or model=cnn, model=convnet or model=resnet",
    )


def _adapt_first_convolution(model: nn.Module, channels: int) -> None:
    """Replaces the first convolution where the image does not have three channels."""
    name, first = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    if first.in_channels == channels:
        return
    taken: Any = first  # kernel_size and its kin are tuples of two, which the stubs leave open
    replacement = nn.Conv2d(
        channels,
        first.out_channels,
        taken.kernel_size,
        stride=taken.stride,
        padding=taken.padding,
        dilation=taken.dilation,
        bias=first.bias is not None,
        padding_mode=taken.padding_mode,
    )
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, replacement)


def _swap_activations(model: nn.Module, activation: Activation) -> None:
    """A new module in every place, also where torchvision registered one module under two names.

    Places are counted in the order of registration, which is that of the forward pass but for parallel branches.
    """
    everything = model.named_modules(remove_duplicate=False)
    places = [name for name, module in everything if isinstance(module, _ACTIVATIONS)]
    for place, chosen in zip(places, activation.sequence(len(places)), strict=True):
        parent, _, attribute = place.rpartition(".")
        setattr(model.get_submodule(parent), attribute, chosen.make())


# ------------------------------------------------------------------ where activations are not modules of their own
class _ConvNormActivation(nn.Module):
    """BasicConv2d of GoogLeNet and Inception, with a module in the place of ``F.relu``; names are kept."""

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        self.conv = original.get_submodule("conv")
        self.bn = original.get_submodule("bn")
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.bn(self.conv(x)))


class _Residual(nn.Module):
    """BasicBlock and Bottleneck of ResNet, with a module for each use of their one ``relu``; names are kept."""

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        children = dict(original.named_children())
        self.convolutions = 3 if "conv3" in children else 2
        for i in range(1, self.convolutions + 1):
            self.add_module(f"conv{i}", children[f"conv{i}"])
            self.add_module(f"bn{i}", children[f"bn{i}"])
            self.add_module(f"relu{i}", nn.ReLU())
        if "downsample" in children:
            self.downsample = children["downsample"]

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.downsample(x) if hasattr(self, "downsample") else x
        for i in range(1, self.convolutions + 1):
            x = self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(x))
            if i == self.convolutions:
                x = x + shortcut
            x = self.get_submodule(f"relu{i}")(x)
        return x


class _DenseNet(nn.Module):
    """DenseNet, with a module in the place of the last ``F.relu``; names are kept."""

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        self.features = original.get_submodule("features")
        self.activation = nn.ReLU()
        self.classifier = original.get_submodule("classifier")

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.activation(self.features(x)).mean((2, 3)))


def _activations_as_modules(model: nn.Module) -> nn.Module:
    """The same network, with a separate module for each use of an activation."""
    from torchvision.models import DenseNet
    from torchvision.models.googlenet import BasicConv2d as GoogLeNetConv
    from torchvision.models.inception import BasicConv2d as InceptionConv
    from torchvision.models.resnet import BasicBlock, Bottleneck

    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, (GoogLeNetConv, InceptionConv)):
                setattr(parent, name, _ConvNormActivation(child))
            elif isinstance(child, (BasicBlock, Bottleneck)):
                setattr(parent, name, _Residual(child))
    return _DenseNet(model) if isinstance(model, DenseNet) else model

"""A plain deep convolutional network, to study the effect of depth on signal and gradient."""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import Tensor, nn

from initlab.core.factories import factory
from initlab.models.pieces import NormName, branch_end, image_norm, image_shape, require
from initlab.models.standardised import convolution
from initlab.spec import IO, Activation, ModelBuilder, NonNegativeInt, PositiveInt

Downsampler = Literal["stride", "max", "average"]
Readout = Literal["average", "flatten"]
PaddingMode = Literal["zeros", "circular"]


@factory
def convnet(
    *,
    depth: PositiveInt = 8,
    width: PositiveInt = 32,
    kernel: PositiveInt = 3,
    norm: NormName = "none",
    residual: bool = False,
    branch_scale: bool = False,
    downsample: NonNegativeInt = 2,
    downsample_by: Downsampler = "stride",
    widen: bool = False,
    readout: Readout = "average",
    padding_mode: PaddingMode = "zeros",
    weight_standardisation: bool = False,
) -> ModelBuilder:
    """Builder of a plain network of `depth` convolutions and a linear head; see `ConvNet`.

    Args:
        depth: number of convolutions, 1 or more; the head is not counted.
        width: channels that each sends on (of the first stage, where `widen`).
        kernel: side of the kernels, odd; the side of the image is kept.
        norm: before each activation, ``batch`` or ``layer`` (over C, H, W).
        residual: add each layer's input to its output where both have the same shape.
        branch_scale: a learnable multiplier of each output that an input is added to.
        downsample: how often the side is halved; the layers are divided evenly between the sides.
        downsample_by: ``stride`` 2 of the first convolution of a stage, or pooling before it.
        widen: double the channels at each halving.
        readout: what the head sees, the ``average`` over all positions or every position (``flatten``).
        padding_mode: ``circular`` is the setting of mean-field theory (Xiao et al., ICML 2018).
        weight_standardisation: use the weights of each unit less their mean, divided by their deviation (Qiao et al.,
            2019), in all layers but the head. Their mean square is 1, so that a norm should follow.

    Raises:
        ConfigError: an even kernel, fewer layers than stages, or branch_scale without residual.
    """
    require("depth", depth, "must be 1 or more (depth counts the convolutions)", holds=depth >= 1)
    require("width", width, "must be 1 or more", holds=width >= 1)
    require("kernel", kernel, "must be odd, so that the side of the image is kept", holds=kernel % 2 == 1)
    most = f"must be less than depth={depth}: each halving needs a layer of its own after the first"
    require("downsample", downsample, most, holds=0 <= downsample < depth)
    require("branch_scale", branch_scale, "needs model.residual=true", holds=residual or not branch_scale)
    return partial(
        ConvNet,
        depth=depth,
        width=width,
        kernel=kernel,
        norm=norm,
        residual=residual,
        branch_scale=branch_scale,
        downsample=downsample,
        downsample_by=downsample_by,
        widen=widen,
        readout=readout,
        padding_mode=padding_mode,
        weight_standardisation=weight_standardisation,
    )


class ConvNet(nn.Module):
    """Each layer is (pool →) convolution → norm → activation; the head is linear.

    Parameters are named ``layers.0.weight`` ..., ``norms.<i>.weight``, ``scales.<i>.weight``, ``head.weight``.
    """

    def __init__(
        self,
        io: IO,
        activation: Activation,
        *,
        depth: int = 8,
        width: int = 32,
        kernel: int = 3,
        norm: NormName = "none",
        residual: bool = False,
        branch_scale: bool = False,
        downsample: int = 2,
        downsample_by: Downsampler = "stride",
        widen: bool = False,
        readout: Readout = "average",
        padding_mode: PaddingMode = "zeros",
        weight_standardisation: bool = False,
    ) -> None:
        super().__init__()
        channels, height, width_in = image_shape(io.input_shape, "convnet")
        least = 2**downsample
        sides = f"halves the images {downsample} times, which needs {least} x {least}; these are {height} x {width_in}"
        require("downsample", downsample, sides, holds=min(height, width_in) >= least)
        self.readout = readout
        activations = activation.sequence(depth)
        #: which layers have their input added to their output
        self.adds: list[bool] = []
        self.pools = nn.ModuleList()
        self.layers = nn.ModuleList()
        self.norms = nn.ModuleList()
        self.activations = nn.ModuleList()
        self.scales = nn.ModuleList()
        stage = 0
        for i in range(depth):
            halve = i * (downsample + 1) // depth > stage
            stage += halve
            out = width * 2**stage if widen else width
            pools = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}
            self.pools.append(pools[downsample_by](2) if halve and downsample_by != "stride" else nn.Identity())
            stride = 2 if halve and downsample_by == "stride" else 1
            made = activations[i].units_before(out)
            self.layers.append(
                convolution(
                    channels,
                    made,
                    kernel,
                    standardised=weight_standardisation,
                    stride=stride,
                    padding=kernel // 2,
                    padding_mode=padding_mode,
                    bias=norm == "none",
                )
            )
            self.norms.append(image_norm(norm, made))
            self.activations.append(activations[i].make(made))
            self.adds.append(residual and channels == out and stride == 1)
            self.scales.append(branch_end(scaled=branch_scale and self.adds[i]))
            channels = out
            if halve:
                up = 1 if downsample_by == "stride" else 0  # a convolution rounds the side up, pooling down
                height, width_in = (height + up) // 2, (width_in + up) // 2
        positions = height * width_in if readout == "flatten" else 1
        self.head = nn.Linear(channels * positions, io.classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to logits (B, classes)."""
        for i, (pool, layer) in enumerate(zip(self.pools, self.layers, strict=True)):
            x = pool(x)
            y = self.activations[i](self.norms[i](layer(x)))
            x = x + self.scales[i](y) if self.adds[i] else y
        return self.head(x.flatten(1) if self.readout == "flatten" else x.mean((2, 3)))

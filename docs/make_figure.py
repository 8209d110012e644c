"""Draws docs/signal.png, the figure of the README: signal and gradient by layer in a deep network, with two draws.

    python docs/make_figure.py

A ReLU perceptron of 30 layers of 256 units on scikit-learn's digits, before training. Lines are mean-field theory,
dots are one batch.
"""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import nn

import initlab

ARMS = (("xavier", "#b2182b"), ("he", "#2166ac"))


def network() -> nn.Sequential:
    """30 hidden layers and a head."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for fan_in in (64, *[256] * 29):
        layers += [nn.Linear(fan_in, 256), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(256, 10))


def main() -> None:
    """Writes the figure."""
    images, labels = load_digits(return_X_y=True)
    x = torch.from_numpy((images - images.mean()) / images.std()).float()[:256]
    batch = x, torch.from_numpy(labels)[:256]
    figure = Figure(figsize=(9, 3.3), layout="constrained")
    signal, gradient = figure.subplots(1, 2)
    for init, colour in ARMS:
        model = network()
        initlab.initialize(model, init, example=x)
        seen = initlab.inspect(model, batch)
        said = seen.prediction.layers
        depth = range(1, len(said) + 1)
        measured = {r.site: r for r in seen.seen.layers}
        for axes, values in (
            (signal, [(r.q, measured[r.site].q) for r in said]),
            (gradient, [(10**r.log10_gradient, 10 ** measured[r.site].log10_gradient) for r in said]),
        ):
            axes.plot(depth, [v[0] for v in values], color=colour, linewidth=1.5)
            axes.plot(depth, [v[1] for v in values], "o", color=colour, markersize=3.5)
        text, at = {"xavier": ("Xavier: vanishes", (3, 1e-7)), "he": ("He: is kept", (20, 0.2))}[init]
        signal.text(*at, text, color=colour)
    signal.set(yscale="log", xlabel="layer", title="signal: mean square of what a layer receives")
    gradient.set(yscale="log", xlabel="layer", title="gradient: squared, relative to the last layer")
    for axes in (signal, gradient):
        axes.grid(color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(Path(__file__).with_name("signal.png"), dpi=130)


if __name__ == "__main__":
    main()
